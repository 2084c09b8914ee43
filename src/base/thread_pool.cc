#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>

namespace quiver {

size_t AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    const int count = CPU_COUNT(&set);
    if (count > 0) return static_cast<size_t>(count);
  }
  return std::max(1U, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(Options options) : options_(std::move(options)) {
  const size_t count = options_.threads == 0 ? AvailableCores() : options_.threads;
  threads_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    threads_.emplace_back([this, i] { Run(static_cast<int>(i)); });
  }
}

ThreadPool::~ThreadPool() { Stop(); }

bool ThreadPool::Submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || (options_.max_queue != 0 && queue_.size() >= options_.max_queue)) return false;
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

size_t ThreadPool::queue_length() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void ThreadPool::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  std::call_once(joined_, [this] {
    for (std::thread& thread : threads_) thread.join();
  });
}

void ThreadPool::Run(int index) {
  const std::string name = options_.name.substr(0, 12) + "-" + std::to_string(index);
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  // On Linux the nice value belongs to the thread. Failing to lower the priority only costs fairness.
  if (options_.nice != 0) static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), options_.nice));
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

namespace {
// Shared by the caller and its helper tasks. A helper that starts only after everything is taken finds no piece and
// never touches `fn`, which may be gone by then.
struct ParallelWork {
  const std::function<void(size_t, size_t)>* fn = nullptr;
  size_t count = 0;
  size_t grain = 1;
  size_t pieces = 0;
  std::atomic<size_t> next_piece = 0;
  std::mutex mutex;
  std::condition_variable all_done;
  size_t done = 0;

  void Drain() {
    size_t finished = 0;
    for (;;) {
      const size_t piece = next_piece.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces) break;
      const size_t begin = piece * grain;
      (*fn)(begin, std::min(count, begin + grain));
      ++finished;
    }
    if (finished == 0) return;
    const std::lock_guard lock(mutex);
    done += finished;
    if (done == pieces) all_done.notify_all();
  }
};
}  // namespace

void ThreadPool::ParallelFor(size_t count, size_t grain, const std::function<void(size_t, size_t)>& fn) {
  assert(grain >= 1);
  if (count == 0) return;
  if (count <= grain) {
    fn(0, count);
    return;
  }
  auto work = std::make_shared<ParallelWork>();
  work->fn = &fn;
  work->count = count;
  work->grain = grain;
  work->pieces = (count + grain - 1) / grain;
  const size_t helpers = std::min(threads_.size(), work->pieces - 1);
  for (size_t i = 0; i < helpers; ++i) {
    if (!Submit([work] { work->Drain(); })) break;  // a full queue: the caller does more of it
  }
  work->Drain();
  std::unique_lock lock(work->mutex);
  work->all_done.wait(lock, [&work] { return work->done == work->pieces; });
}

}  // namespace quiver
