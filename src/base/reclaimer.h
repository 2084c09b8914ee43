// File: base/reclaimer.h
// Reclaimer: destroys objects on a thread of its own. Unmapping a file that was removed gives its blocks back to the
// disk, and freeing a large block of memory its pages: that takes from milliseconds to seconds, and a reader that
// happens to be the last owner shall not pay for it.
//
//   Reclaimer reclaimer;
//   std::shared_ptr<Segment> segment = reclaimer.Guard(std::make_shared<Segment>(...));
//   segment = nullptr;   // wherever this happens, ~Segment runs on the reclaimer's thread
//
// Objects that outlive the Reclaimer are destroyed where they are let go.
// Thread rule: Guard and the objects' owners may be on any thread.
#pragma once

#include <memory>
#include <thread>
#include <utility>

namespace quiver {

class Reclaimer {
 public:
  Reclaimer();
  /// Destroys what waits.
  ~Reclaimer();
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  /// Takes over an object that nobody else owns (or will let go of it before the result is let go).
  template <typename T>
  [[nodiscard]] std::shared_ptr<T> Guard(std::shared_ptr<T> object) const {
    if (object == nullptr) return nullptr;
    T* const address = object.get();
    return std::shared_ptr<T>(
        address, [queue = queue_, object = std::move(object)](T*) mutable { Destroy(*queue, std::move(object)); });
  }

  /// While one lives, its thread destroys guarded objects itself: a thread that nobody waits for, and that wants their
  /// memory back before it goes on.
  class InPlace {
   public:
    InPlace();
    ~InPlace();
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;
  };

 private:
  struct Queue;
  static void Destroy(Queue& queue, std::shared_ptr<const void> object);

  const std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace quiver
