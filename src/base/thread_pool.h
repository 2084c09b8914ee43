// File: base/thread_pool.h
// ThreadPool: a fixed number of threads that run tasks in the order given.
//
//   ThreadPool pool({.name = "compute", .threads = 8, .max_queue = 10'000});
//   if (!pool.Submit([request = std::move(request)] { ... })) return Error(StatusCode::kRateLimit, "...");
//   pool.ParallelFor(rows, 4096, [&](size_t begin, size_t end) { ... });
//
// Tasks must not throw. Thread rule: all methods may be called from any thread, pool threads included (except Stop and
// the destructor, which wait for the pool's own threads).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace quiver {

/// A move-only void() callable: unlike std::function it can own what cannot be copied (a request, a promise).
class Task {
 public:
  Task() = default;
  template <typename Fn>
    requires(!std::is_same_v<std::decay_t<Fn>, Task>)
  Task(Fn&& fn)  // NOLINT: implicit by design, so that Submit takes lambdas
      : body_(std::make_unique<Body<std::decay_t<Fn>>>(std::forward<Fn>(fn))) {}
  void operator()() { body_->Run(); }
  explicit operator bool() const { return body_ != nullptr; }

 private:
  struct Runnable {
    virtual ~Runnable() = default;
    virtual void Run() = 0;
  };
  template <typename Fn>
  struct Body final : Runnable {
    explicit Body(const Fn& fn) : fn_(fn) {}
    explicit Body(Fn&& fn) : fn_(std::move(fn)) {}
    void Run() override { fn_(); }
    Fn fn_;
  };
  std::unique_ptr<Runnable> body_;
};

class ThreadPool {
 public:
  struct Options {
    std::string name = "pool";  ///< shown by top -H and debuggers (at most 15 bytes)
    size_t threads = 0;         ///< 0 = one per available core
    size_t max_queue = 0;       ///< tasks that may wait; 0 = unlimited
    int nice = 0;               ///< raises the nice value of the threads: background work yields
  };

  explicit ThreadPool(Options options);
  /// As Stop.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Queues a task. Returns false, and drops the task, when the queue is full or the pool is stopping.
  [[nodiscard]] bool Submit(Task task);

  /// Runs fn(begin, end) over [0, count) in pieces of at most `grain` (>= 1) and returns when all are done. The caller
  /// works too, so it also makes progress from inside a pool thread or when every thread is busy.
  void ParallelFor(size_t count, size_t grain, const std::function<void(size_t begin, size_t end)>& fn);

  /// Takes no more tasks, runs those that wait, joins the threads. Idempotent.
  void Stop();

  [[nodiscard]] size_t thread_count() const { return threads_.size(); }
  [[nodiscard]] size_t max_queue() const { return options_.max_queue; }
  /// Tasks that wait, for metrics.
  [[nodiscard]] size_t queue_length() const;

 private:
  void Run(int index);

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::once_flag joined_;
  std::vector<std::thread> threads_;
};

/// Cores this process may use (its CPU affinity), at least 1.
size_t AvailableCores();

}  // namespace quiver
