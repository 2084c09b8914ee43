#include "api/net/event_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <system_error>

namespace quiver::api {

namespace {

// epoll tags that are not connections: their position half is beyond any real one.
constexpr uint64_t kWakeTag = UINT64_MAX;
constexpr uint64_t kListenerTag = UINT64_MAX - 1;
constexpr size_t kReadBufferBytes = 256u << 10;
constexpr size_t kWriteBufferBytes = 256u << 10;
constexpr size_t kMaxReadPerRound = 1u << 20;  // then the other connections have their turn
constexpr size_t kMaxWritePerRound = 4u << 20;
constexpr int kMaxEvents = 256;
constexpr int kMaxAcceptsPerRound = 64;
constexpr auto kListenerPause = std::chrono::milliseconds(100);
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr int kTcpIdleSeconds = 60;
constexpr int kTcpIntervalSeconds = 10;
constexpr int kTcpProbes = 3;

void SetOption(int fd, int level, int name, int value) {
  // Tuning only: a socket without it still works.
  (void)setsockopt(fd, level, name, &value, sizeof(value));
}

std::string FormatAddress(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port));
  }
  return "unknown";
}

thread_local EventLoop* current_loop = nullptr;

}  // namespace

void Descriptor::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

struct EventLoop::Peer {
  Peer(Descriptor socket_in, std::shared_ptr<ServerContext> context, std::shared_ptr<const ConnectionInfo> info,
       SteadyTime now)
      : socket(std::move(socket_in)), id(info->id), connection(std::move(context), std::move(info), now) {}

  Descriptor socket;
  uint64_t id;
  Connection connection;
  std::vector<uint8_t> unsent;  // what the socket did not take
  size_t unsent_offset = 0;
  uint32_t interest = 0;                 // as registered with epoll
  SteadyTime timer = SteadyTime::max();  // earliest entry in timers_
  SteadyTime linger_until = SteadyTime::max();
  bool dirty = false;
  bool lingering = false;  // our side is closed; what the peer still sends is thrown away

  [[nodiscard]] bool has_unsent() const { return unsent_offset < unsent.size(); }
  [[nodiscard]] SteadyTime deadline() const { return lingering ? linger_until : connection.deadline(); }
};

EventLoop::EventLoop(std::shared_ptr<ServerContext> context, size_t max_connections)
    : context_(std::move(context)),
      max_connections_(max_connections),
      read_buffer_(kReadBufferBytes),
      write_buffer_(kWriteBufferBytes) {}

EventLoop::~EventLoop() {
  if (thread_.joinable()) {
    StartShutdown(SteadyTime::min());
    Join();
  }
}

Status EventLoop::Start(std::string thread_name, Descriptor listener, std::vector<std::shared_ptr<EventLoop>> all) {
  epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  wake_ = Descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!epoll_.valid() || !wake_.valid()) {
    return Error(StatusCode::kIo, "cannot create an event loop: {}", std::strerror(errno));
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // each write to it is one edge, so it is never read
  event.data.u64 = kWakeTag;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return Error(StatusCode::kIo, "cannot create an event loop: {}", std::strerror(errno));
  }
  listener_ = std::move(listener);
  if (listener_.valid()) {
    reserve_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    event.events = EPOLLIN;
    event.data.u64 = kListenerTag;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) != 0) {
      return Error(StatusCode::kIo, "cannot watch the listening socket: {}", std::strerror(errno));
    }
    listener_armed_ = true;
  }
  all_ = std::move(all);
  try {
    thread_ = std::thread([this, name = std::move(thread_name)] {
      pthread_setname_np(pthread_self(), name.c_str());
      Run();
    });
  } catch (const std::system_error& error) {
    all_.clear();
    return Error(StatusCode::kIo, "cannot start a network thread: {}", error.what());
  }
  return Status::Ok();
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake already.
  (void)!::write(wake_.get(), &one, sizeof(one));
}

void EventLoop::Adopt(Descriptor socket, std::string peer) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      context_->connections_open.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    newcomers_.push_back({std::move(socket), std::move(peer)});
    wake = std::exchange(sleeping_, false);
  }
  if (wake) Wake();
}

void EventLoop::Complete(Completion completion) {
  if (current_loop == this) {
    local_.push_back(std::move(completion));
    return;
  }
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    mail_.push_back(std::move(completion));
    wake = std::exchange(sleeping_, false);
  }
  if (wake) Wake();
}

void EventLoop::StartShutdown(SteadyTime deadline) {
  {
    const std::lock_guard lock(mutex_);
    shutdown_requested_ = true;
    shutdown_deadline_ = deadline;
    sleeping_ = false;
  }
  Wake();
}

void EventLoop::Join() {
  if (thread_.joinable()) thread_.join();
}

void EventLoop::Run() {
  current_loop = this;
  now_ = std::chrono::steady_clock::now();
  while (!shutting_down_ || (open_ > 0 && now_ < close_all_at_)) RunRound();
  // Calls that are still at a handler become cancelled; answers that still come are dropped.
  for (const std::unique_ptr<Peer>& peer : peers_) {
    if (peer != nullptr) Close(*peer);
  }
  std::vector<Newcomer> refused;
  std::vector<Completion> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    refused.swap(newcomers_);
    dropped.swap(mail_);
  }
  context_->connections_open.fetch_sub(refused.size(), std::memory_order_relaxed);
  local_.clear();
  all_.clear();  // loops know each other; this ends the circle
  current_loop = nullptr;
}

int EventLoop::WaitMilliseconds() const {
  SteadyTime next = std::min(listener_retry_, close_all_at_);
  if (!timers_.empty()) next = std::min(next, timers_.top().when);
  if (next == SteadyTime::max()) return -1;
  if (next <= now_) return 0;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now_).count();
  return static_cast<int>(std::min<int64_t>(wait, 3'600'000));
}

void EventLoop::RunRound() {
  int wait = !dirty_.empty() || !local_.empty() ? 0 : WaitMilliseconds();
  {
    const std::lock_guard lock(mutex_);
    if (!mail_.empty() || !newcomers_.empty() || (shutdown_requested_ && !shutting_down_)) wait = 0;
    sleeping_ = wait != 0;
  }
  std::array<epoll_event, kMaxEvents> events;
  const int count = epoll_wait(epoll_.get(), events.data(), kMaxEvents, wait);
  now_ = std::chrono::steady_clock::now();
  if (wait != 0) {
    const std::lock_guard lock(mutex_);
    sleeping_ = false;  // answers that come from here on are seen in this round
  }
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kWakeTag) continue;
    if (event.data.u64 == kListenerTag) {
      Accept();
    } else {
      Handle(event.data.u64, event.events);
    }
  }
  TakeMail();
  RunTimers();
  // Writing can make room for the next pipelined request, which can be answered at once.
  DeliverLocal();
  FlushAll();
}

void EventLoop::TakeMail() {
  std::vector<Newcomer> newcomers;
  bool begin_shutdown = false;
  {
    const std::lock_guard lock(mutex_);
    delivering_.swap(mail_);
    newcomers.swap(newcomers_);
    begin_shutdown = shutdown_requested_ && !shutting_down_;
    if (shutdown_requested_) close_all_at_ = shutdown_deadline_;
  }
  for (Completion& completion : delivering_) {
    if (Peer* const peer = Find(completion.connection_id)) {
      peer->connection.Deliver(std::move(completion), now_);
      MarkDirty(*peer);
    }
  }
  delivering_.clear();
  for (Newcomer& newcomer : newcomers) AddPeer(std::move(newcomer));
  if (begin_shutdown) BeginShutdown();
}

void EventLoop::DeliverLocal() {
  while (!local_.empty()) {
    delivering_.swap(local_);
    for (Completion& completion : delivering_) {
      if (Peer* const peer = Find(completion.connection_id)) {
        peer->connection.Deliver(std::move(completion), now_);
        MarkDirty(*peer);
      }
    }
    delivering_.clear();
  }
}

void EventLoop::Accept() {
  for (int i = 0; i < kMaxAcceptsPerRound; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    Descriptor socket(
        accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
      if (errno != EMFILE && errno != ENFILE) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) PauseListener();
        return;
      }
      // Out of descriptors, and maybe nobody is waiting: the kernel looks for a descriptor first. With the reserved one
      // a client that waits gets an end instead of silence.
      if (!reserve_.valid()) {
        context_->connections_rejected.fetch_add(1, std::memory_order_relaxed);
        return PauseListener();
      }
      reserve_.Close();
      const bool refused = Descriptor(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).valid();
      reserve_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!refused) return;
      context_->connections_rejected.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    if (context_->connections_open.load(std::memory_order_relaxed) >= max_connections_) {
      context_->connections_rejected.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    context_->connections_accepted.fetch_add(1, std::memory_order_relaxed);
    context_->connections_open.fetch_add(1, std::memory_order_relaxed);
    EventLoop& loop = *all_[next_loop_++ % all_.size()];
    if (&loop == this) {
      AddPeer({std::move(socket), FormatAddress(address)});
    } else {
      loop.Adopt(std::move(socket), FormatAddress(address));
    }
  }
}

void EventLoop::PauseListener() {
  if (!listener_armed_) return;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  listener_armed_ = false;
  listener_retry_ = now_ + kListenerPause;
}

void EventLoop::AddPeer(Newcomer newcomer) {
  if (shutting_down_) {
    context_->connections_open.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  const int fd = newcomer.socket.get();
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kTcpIdleSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kTcpIntervalSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, kTcpProbes);

  uint32_t position = 0;
  if (free_positions_.empty()) {
    position = static_cast<uint32_t>(peers_.size());
    peers_.emplace_back();
  } else {
    position = free_positions_.back();
    free_positions_.pop_back();
  }
  auto info = std::make_shared<ConnectionInfo>();
  // The generation keeps a late answer from reaching the next connection in the same place.
  info->id = static_cast<uint64_t>(next_generation_++) << 32 | position;
  info->peer = std::move(newcomer.peer);
  info->sink = shared_from_this();
  info->budget = context_->budget;
  peers_[position] = std::make_unique<Peer>(std::move(newcomer.socket), context_, std::move(info), now_);
  ++open_;
  Peer& peer = *peers_[position];
  epoll_event event{};
  event.events = peer.interest = EPOLLIN;
  event.data.u64 = peer.id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Close(peer);
  Schedule(peer);
}

EventLoop::Peer* EventLoop::Find(uint64_t id) {
  const auto position = static_cast<uint32_t>(id);
  if (position >= peers_.size()) return nullptr;
  Peer* const peer = peers_[position].get();
  return peer != nullptr && peer->id == id ? peer : nullptr;
}

void EventLoop::Handle(uint64_t id, uint32_t events) {
  Peer* const peer = Find(id);
  if (peer == nullptr) return;
  // Errors surface in the read.
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 && (peer->interest & EPOLLIN) == 0) return Close(*peer);
    Read(*peer);
  }
  // The connection may be closed by now.
  if (Peer* const still_there = Find(id)) {
    if ((events & EPOLLOUT) != 0 || still_there->connection.finished()) MarkDirty(*still_there);
  }
}

void EventLoop::Read(Peer& peer) {
  for (size_t total = 0; total < kMaxReadPerRound;) {
    const ssize_t count = ::recv(peer.socket.get(), read_buffer_.data(), read_buffer_.size(), MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      return Close(peer);
    }
    if (peer.lingering) {
      if (count == 0) return Close(peer);
      total += static_cast<size_t>(count);
      continue;
    }
    MarkDirty(peer);
    if (count == 0) {
      peer.connection.ConsumeEnd(now_);
      return;
    }
    const auto size = static_cast<size_t>(count);
    context_->bytes_received.fetch_add(size, std::memory_order_relaxed);
    peer.connection.Consume({read_buffer_.data(), size}, now_);
    total += size;
    // A short read means that the socket is empty; the next one would only say so.
    if (size < read_buffer_.size() || !peer.connection.wants_read()) return;
  }
}

void EventLoop::MarkDirty(Peer& peer) {
  if (peer.dirty) return;
  peer.dirty = true;
  dirty_.push_back(peer.id);
}

void EventLoop::FlushAll() {
  flushing_.swap(dirty_);
  for (const uint64_t id : flushing_) {
    Peer* const peer = Find(id);
    if (peer == nullptr) continue;
    peer->dirty = false;
    Flush(*peer);
  }
  flushing_.clear();
}

void EventLoop::Flush(Peer& peer) {
  if (peer.lingering) return;
  size_t written = 0;
  while (true) {
    std::span<const uint8_t> bytes;
    bool last = false;
    const bool resend = peer.has_unsent();
    if (resend) {
      bytes = std::span<const uint8_t>(peer.unsent).subspan(peer.unsent_offset);
    } else {
      const size_t size = peer.connection.Produce(write_buffer_, now_);
      bytes = std::span<const uint8_t>(write_buffer_).first(size);
      last = size < write_buffer_.size();
    }
    if (!bytes.empty()) {
      ssize_t count = 0;
      do {
        count = ::send(peer.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      } while (count < 0 && errno == EINTR);
      if (count < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) return Close(peer);
        count = 0;
      }
      const auto sent = static_cast<size_t>(count);
      context_->bytes_sent.fetch_add(sent, std::memory_order_relaxed);
      written += sent;
      if (resend) {
        peer.unsent_offset += sent;
        if (!peer.has_unsent()) {
          peer.unsent = {};
          peer.unsent_offset = 0;
        }
      } else if (sent < bytes.size()) {
        peer.unsent.assign(bytes.begin() + static_cast<std::ptrdiff_t>(sent), bytes.end());
        peer.unsent_offset = 0;
      }
      if (sent < bytes.size()) break;  // the socket is full
    }
    if (last) break;
    if (written >= kMaxWritePerRound) {
      MarkDirty(peer);
      break;
    }
  }
  if (!peer.has_unsent() && peer.connection.finished()) return StartLinger(peer);
  UpdateInterest(peer);
  Schedule(peer);
}

void EventLoop::StartLinger(Peer& peer) {
  // Closing while the peer still sends would reset the connection and could take the last answer with it. So: say that
  // nothing more comes, and throw away what arrives until the peer closes too.
  if (::shutdown(peer.socket.get(), SHUT_WR) != 0) return Close(peer);
  peer.lingering = true;
  peer.linger_until = now_ + kLingerTime;
  UpdateInterest(peer);
  Schedule(peer);
}

void EventLoop::UpdateInterest(Peer& peer) {
  const uint32_t wanted = (peer.lingering || peer.connection.wants_read() ? EPOLLIN : 0u) |
                          (peer.has_unsent() && !peer.lingering ? EPOLLOUT : 0u);
  if (wanted == peer.interest) return;
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = peer.id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, peer.socket.get(), &event) != 0) return Close(peer);
  peer.interest = wanted;
}

void EventLoop::Schedule(Peer& peer) {
  // Deadlines mostly move away, so an entry that comes too early is set again when it is due (RunTimers).
  const SteadyTime deadline = peer.deadline();
  if (deadline >= peer.timer) return;
  peer.timer = deadline;
  timers_.push({deadline, peer.id});
}

void EventLoop::RunTimers() {
  if (listener_retry_ <= now_) {
    listener_retry_ = SteadyTime::max();
    if (!reserve_.valid()) reserve_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerTag;
    if (listener_.valid() && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) == 0) {
      listener_armed_ = true;
    }
  }
  while (!timers_.empty() && timers_.top().when <= now_) {
    const Timer timer = timers_.top();
    timers_.pop();
    Peer* const peer = Find(timer.id);
    if (peer == nullptr || peer->timer != timer.when) continue;
    peer->timer = SteadyTime::max();
    if (peer->deadline() <= now_) {
      if (peer->lingering) {
        Close(*peer);
        continue;
      }
      peer->connection.OnTimer(now_);
      if (peer->connection.finished()) {
        Close(*peer);  // a peer that let its time pass is not waited for
        continue;
      }
      MarkDirty(*peer);
    }
    Schedule(*peer);
  }
}

void EventLoop::Close(Peer& peer) {
  const auto position = static_cast<uint32_t>(peer.id);
  context_->connections_open.fetch_sub(1, std::memory_order_relaxed);
  --open_;
  const std::unique_ptr<Peer> owned = std::move(peers_[position]);
  free_positions_.push_back(position);
}

void EventLoop::BeginShutdown() {
  shutting_down_ = true;
  listener_.Close();
  listener_armed_ = false;
  listener_retry_ = SteadyTime::max();
  for (const std::unique_ptr<Peer>& peer : peers_) {
    if (peer == nullptr || peer->lingering) continue;
    peer->connection.StartShutdown();
    MarkDirty(*peer);
  }
}

}  // namespace quiver::api
