#include "api/net/server.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "api/net/connection.h"
#include "api/net/event_loop.h"

namespace quiver::api {

namespace {

constexpr int kListenBacklog = 1024;

Result<Descriptor> Listen(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  const int code = getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found);
  if (code != 0) return Error(StatusCode::kIo, "cannot resolve {}: {}", host, gai_strerror(code));
  struct Guard {
    addrinfo* list;
    ~Guard() { freeaddrinfo(list); }
  } guard{found};

  int error = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    Descriptor socket(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) {
      error = errno;
      continue;
    }
    const int one = 1;
    // Without it a restart would have to wait for the old connections to time out.
    (void)setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (::bind(socket.get(), address->ai_addr, address->ai_addrlen) == 0 &&
        ::listen(socket.get(), kListenBacklog) == 0) {
      return socket;
    }
    error = errno;
  }
  return Error(StatusCode::kIo, "cannot listen on {}:{}: {}", host, port, std::strerror(error));
}

uint16_t BoundPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Status CheckOptions(const ServerOptions& options) {
  // HTTP/2 windows are 31 bits, and buffers are sized with 32.
  constexpr uint64_t kMax = INT32_MAX;
  const ConnectionLimits& limits = options.limits;
  if (options.network_threads < 1)
    return InvalidParameter("network threads must be at least 1: {}", options.network_threads);
  if (limits.max_message_bytes < 1 || limits.max_message_bytes > kMax) {
    return InvalidParameter("largest message must be between 1 and {} bytes: {}", kMax, limits.max_message_bytes);
  }
  if (limits.max_header_bytes < 1024 || limits.max_header_bytes > kMax) {
    return InvalidParameter("largest header must be between 1024 and {} bytes: {}", kMax, limits.max_header_bytes);
  }
  if (limits.stream_window_bytes > kMax || limits.connection_window_bytes > kMax ||
      limits.connection_window_bytes < 65'535) {
    return InvalidParameter("HTTP/2 windows must be between 65535 and {} bytes: {}, {}", kMax,
                            limits.stream_window_bytes, limits.connection_window_bytes);
  }
  if (limits.max_concurrent_streams < 1) return InvalidParameter("concurrent streams must be at least 1");
  return Status::Ok();
}

}  // namespace

struct Server::Impl {
  std::shared_ptr<ServerContext> context = std::make_shared<ServerContext>();
  std::vector<std::shared_ptr<EventLoop>> loops;
  uint16_t port = 0;

  void Stop(SteadyTime deadline) {
    for (const std::shared_ptr<EventLoop>& loop : loops) loop->StartShutdown(deadline);
    for (const std::shared_ptr<EventLoop>& loop : loops) loop->Join();
    loops.clear();
    // A call that outlives the server must not keep alive what the handlers hold.
    context->rpc_handler = nullptr;
    context->http_handler = nullptr;
  }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, RpcHandler rpc_handler,
                                              HttpHandler http_handler) {
  QUIVER_RETURN_IF_ERROR(CheckOptions(options));
  auto impl = std::make_unique<Impl>();
  ServerContext& context = *impl->context;
  context.limits = options.limits;
  context.rpc_handler = std::move(rpc_handler);
  context.http_handler = std::move(http_handler);
  context.budget->limit = options.max_buffered_request_bytes;

  QUIVER_ASSIGN_OR_RETURN(Descriptor listener, Listen(options.host, options.port));
  impl->port = BoundPort(listener.get());
  std::vector<std::shared_ptr<EventLoop>> loops;
  for (int i = 0; i < options.network_threads; ++i) {
    loops.push_back(std::make_shared<EventLoop>(impl->context, options.max_connections));
  }
  // The accepting loop comes last, when those that it feeds are running.
  Status started = Status::Ok();
  for (size_t i = loops.size() - 1; i > 0 && started.ok(); --i) {
    started = loops[i]->Start(fmt::format("quiver-net-{}", i), Descriptor(), {});
  }
  if (started.ok()) started = loops[0]->Start("quiver-net-0", std::move(listener), loops);
  impl->loops = std::move(loops);
  if (!started.ok()) {
    impl->Stop(SteadyTime::min());
    return started;
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const { return impl_->port; }

void Server::Shutdown(std::chrono::milliseconds grace) {
  if (impl_->loops.empty()) return;
  impl_->Stop(std::chrono::steady_clock::now() + grace);
}

ServerStats Server::stats() const {
  const ServerContext& context = *impl_->context;
  ServerStats stats;
  stats.connections_open = context.connections_open.load(std::memory_order_relaxed);
  stats.connections_accepted = context.connections_accepted.load(std::memory_order_relaxed);
  stats.connections_rejected = context.connections_rejected.load(std::memory_order_relaxed);
  stats.rpc_calls = context.rpc_calls.load(std::memory_order_relaxed);
  stats.http_requests = context.http_requests.load(std::memory_order_relaxed);
  stats.refused = context.refused.load(std::memory_order_relaxed);
  stats.bytes_received = context.bytes_received.load(std::memory_order_relaxed);
  stats.bytes_sent = context.bytes_sent.load(std::memory_order_relaxed);
  stats.buffered_request_bytes = context.budget->used.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace quiver::api
