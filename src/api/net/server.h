// File: api/net/server.h
// The network server: one port that carries gRPC (HTTP/2 with prior knowledge) and HTTP/1.1, told apart by the first
// bytes of each connection. Own epoll loops, no protobuf.
//
//   ServerOptions options{.host = "127.0.0.1", .port = 19530};
//   QUIVER_ASSIGN_OR_RETURN(auto server, Server::Start(options, rpc_handler, http_handler));
//   ...
//   server->Shutdown(std::chrono::seconds(30));
//
// Without an RPC handler the port speaks HTTP/1.1 only (the operations port). Each Server has its own threads and port.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "api/net/call.h"
#include "base/status.h"

namespace quiver::api {

/// Handlers run on a network thread: they decode, hand the work to a pool (or answer at once when it is a matter of
/// microseconds) and return. They must not throw.
using RpcHandler = std::function<void(std::shared_ptr<RpcCall>)>;
using HttpHandler = std::function<void(std::shared_ptr<HttpCall>)>;

/// What one connection may do.
struct ConnectionLimits {
  size_t max_message_bytes = 64u << 20;     ///< gRPC message (after decompression) and HTTP body
  size_t max_header_bytes = 64u << 10;      ///< all header names and values of one request
  uint32_t max_concurrent_streams = 1024;   ///< gRPC calls open at once on one connection
  uint32_t stream_window_bytes = 4u << 20;  ///< HTTP/2 flow control per call
  uint32_t connection_window_bytes = 16u << 20;
  /// Responses that wait for a slow reader; beyond it new calls of that connection are refused (retriable).
  size_t max_pending_response_bytes = 256u << 20;
  /// A connection must have sent its preface, or a whole HTTP/1.1 request header, within this time.
  std::chrono::milliseconds handshake_timeout = std::chrono::seconds(60);
  /// An HTTP/1.1 connection without a request, or in the middle of a body without progress, is closed after this.
  std::chrono::milliseconds http_idle_timeout = std::chrono::seconds(120);
  /// An HTTP/2 peer that sent no complete frame for this long is sent a PING ...
  std::chrono::milliseconds keepalive_time = std::chrono::seconds(60);
  /// ... and must answer it within this time. Pings of the client are answered, however frequent, within reason.
  std::chrono::milliseconds keepalive_timeout = std::chrono::seconds(10);
};

struct ServerOptions {
  std::string host = "127.0.0.1";   ///< address or name to bind; "0.0.0.0" and "::" for all interfaces
  uint16_t port = 0;                ///< 0: the kernel chooses, see Server::port()
  int network_threads = 1;          ///< event loops
  size_t max_connections = 10'000;  ///< further connections are closed at once
  /// Request bytes held by calls that are arriving or being served, over all connections; beyond it a call is answered
  /// RESOURCE_EXHAUSTED.
  size_t max_buffered_request_bytes = 2u << 30;
  ConnectionLimits limits;
};

/// Counters since the start.
struct ServerStats {
  uint64_t connections_open = 0;
  uint64_t connections_accepted = 0;
  uint64_t connections_rejected = 0;  ///< over max_connections, or no file descriptor left
  uint64_t rpc_calls = 0;             ///< handed to the RPC handler
  uint64_t http_requests = 0;         ///< handed to the HTTP handler
  uint64_t refused = 0;               ///< answered by the server itself: malformed, too large, over a limit
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t buffered_request_bytes = 0;  ///< held right now
};

class Server {
 public:
  /// Binds, listens and starts the network threads. `rpc_handler` or `http_handler` may be null, not both. Fails with
  /// kIo if the address cannot be bound (the message names it).
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, RpcHandler rpc_handler,
                                               HttpHandler http_handler);

  /// Shuts down without grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Returns the port that is listened on.
  [[nodiscard]] uint16_t port() const;

  /// Stops accepting, tells HTTP/2 peers (GOAWAY), waits up to `grace` for calls in flight to be answered and written,
  /// then closes everything and ends the threads. Calls that are still open become cancelled(); their answers are
  /// dropped. Idempotent; not to be called from a handler.
  void Shutdown(std::chrono::milliseconds grace);

  [[nodiscard]] ServerStats stats() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::api
