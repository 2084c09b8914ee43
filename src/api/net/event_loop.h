// File: api/net/event_loop.h
// One network thread: an epoll loop with its connections, its timers and the mailbox for finished calls. Used by
// Server only.
//
// In one round the loop reads every ready connection (which runs the handlers), takes the finished calls, and then
// writes each connection that has something to say once: answers of one round share a system call. An answer given on
// the loop's own thread needs no wake-up; one from another thread wakes the loop only if it sleeps.
// Without work the thread sleeps until the nearest timer of a connection; there is no tick.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <queue>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "api/net/connection.h"
#include "base/status.h"

namespace quiver::api {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

class EventLoop : public CompletionSink, public std::enable_shared_from_this<EventLoop> {
 public:
  EventLoop(std::shared_ptr<ServerContext> context, size_t max_connections);
  ~EventLoop() override;

  /// Starts the thread. A loop with a listener accepts for all loops in turn (`all` includes this one).
  Status Start(std::string thread_name, Descriptor listener, std::vector<std::shared_ptr<EventLoop>> all);

  /// Takes over a connected socket. Any thread.
  void Adopt(Descriptor socket, std::string peer);

  /// Any thread; drops the answer if the connection is gone.
  void Complete(Completion completion) override;

  /// Stops accepting, ends the connections after their calls, or all at once at `deadline`. The thread then ends.
  void StartShutdown(SteadyTime deadline);

  /// Waits for the thread.
  void Join();

 private:
  struct Peer;  // a connection with its socket
  struct Newcomer {
    Descriptor socket;
    std::string peer;
  };
  struct Timer {
    SteadyTime when;
    uint64_t id;
    bool operator>(const Timer& other) const { return when > other.when; }
  };

  void Run();
  void RunRound();
  int WaitMilliseconds() const;
  void TakeMail();
  void DeliverLocal();
  void Accept();
  void PauseListener();
  void Handle(uint64_t id, uint32_t events);
  void Read(Peer& peer);
  void Flush(Peer& peer);
  void FlushAll();
  void MarkDirty(Peer& peer);
  void RunTimers();
  void Schedule(Peer& peer);
  void UpdateInterest(Peer& peer);
  void Close(Peer& peer);
  void StartLinger(Peer& peer);
  void AddPeer(Newcomer newcomer);
  void BeginShutdown();
  Peer* Find(uint64_t id);
  void Wake();

  const std::shared_ptr<ServerContext> context_;
  const size_t max_connections_;
  Descriptor epoll_;
  Descriptor wake_;
  Descriptor listener_;
  Descriptor reserve_;  // given up to accept and refuse a connection when there are no descriptors left
  bool listener_armed_ = false;
  SteadyTime listener_retry_ = SteadyTime::max();
  std::vector<std::shared_ptr<EventLoop>> all_;
  size_t next_loop_ = 0;
  std::thread thread_;

  // Other threads leave things here.
  std::mutex mutex_;
  std::vector<Completion> mail_;
  std::vector<Newcomer> newcomers_;
  bool sleeping_ = false;
  bool closed_ = false;
  bool shutdown_requested_ = false;
  SteadyTime shutdown_deadline_ = SteadyTime::max();

  // The rest belongs to the loop's thread.
  SteadyTime now_;
  std::vector<std::unique_ptr<Peer>> peers_;  // position = low half of the connection's id
  std::vector<uint32_t> free_positions_;
  size_t open_ = 0;
  uint32_t next_generation_ = 1;
  std::vector<Completion> local_;
  std::vector<Completion> delivering_;
  std::vector<uint64_t> dirty_;
  std::vector<uint64_t> flushing_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  std::vector<uint8_t> read_buffer_;
  std::vector<uint8_t> write_buffer_;
  bool shutting_down_ = false;
  SteadyTime close_all_at_ = SteadyTime::max();
};

}  // namespace quiver::api
