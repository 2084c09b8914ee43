#include "base/reclaimer.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <vector>

namespace quiver {

namespace {

thread_local int destroy_in_place = 0;

}  // namespace

struct Reclaimer::Queue {
  std::mutex mutex;
  std::condition_variable ready;
  std::vector<std::shared_ptr<const void>> waiting;
  bool stopped = false;

  void Run() {
    std::vector<std::shared_ptr<const void>> taken;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        ready.wait(lock, [&] { return stopped || !waiting.empty(); });
        if (waiting.empty()) return;
        taken.swap(waiting);
      }
      taken.clear();
    }
  }
};

Reclaimer::Reclaimer() : queue_(std::make_shared<Queue>()), thread_([queue = queue_] { queue->Run(); }) {
  (void)pthread_setname_np(thread_.native_handle(), "reclaimer");
}

Reclaimer::~Reclaimer() {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopped = true;
  }
  queue_->ready.notify_one();
  thread_.join();
}

void Reclaimer::Destroy(Queue& queue, std::shared_ptr<const void> object) {
  if (destroy_in_place > 0) return;  // by leaving
  {
    const std::lock_guard lock(queue.mutex);
    if (queue.stopped) return;
    queue.waiting.push_back(std::move(object));
  }
  queue.ready.notify_one();
}

Reclaimer::InPlace::InPlace() { ++destroy_in_place; }
Reclaimer::InPlace::~InPlace() { --destroy_in_place; }

}  // namespace quiver
