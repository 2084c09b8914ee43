// File: api/net/grpc_client.h
// A small gRPC client for unary calls over one HTTP/2 connection without TLS: for tests and the load generator. Many
// calls may be in flight; replies come through callbacks.
//
//   QUIVER_ASSIGN_OR_RETURN(auto client, GrpcClient::Connect("127.0.0.1", 19530));
//   GrpcReply reply = client->Call({.method = "/milvus.proto.milvus.MilvusService/GetVersion", .message = bytes});
//
// GrpcClientSession is the protocol without a socket; GrpcClient adds one.
// Thread rule: one thread at a time; callbacks run inside Consume, Poll and Call.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/net/call.h"
#include "base/status.h"

extern "C" {
struct nghttp2_session;
}

namespace quiver::api {

struct GrpcReply {
  /// What `grpc-status` says; kUnavailable if the connection went away, kUnknown if there was no gRPC status.
  GrpcCode code = GrpcCode::kUnknown;
  std::string error;        ///< decoded `grpc-message`
  std::string message;      ///< the response, de-framed
  int http_status = 0;      ///< of the response headers, 0 without any
  uint32_t reset_code = 0;  ///< of the RST_STREAM that ended the call, 0 for a regular end
};

struct GrpcRequest {
  std::string_view method = {};   ///< full name with leading slash
  std::string_view message = {};  ///< serialized request
  std::vector<std::pair<std::string, std::string>> metadata = {};
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;  ///< sent as `grpc-timeout`; not enforced here

  // For tests of what a sane client never sends.
  std::optional<std::string> raw_body = std::nullopt;  ///< instead of the framed message
  std::string_view content_type = "application/grpc";
  std::string_view http_method = "POST";
  bool keep_open = false;  ///< the request stream is not ended
};

struct GrpcClientOptions {
  uint32_t stream_window_bytes = 16u << 20;
  uint32_t connection_window_bytes = 64u << 20;
  bool auto_window_update = true;  ///< false: nothing is given back until ReturnWindow
};

class GrpcClientSession {
 public:
  using Callback = std::function<void(GrpcReply)>;

  explicit GrpcClientSession(GrpcClientOptions options = {});
  ~GrpcClientSession();
  GrpcClientSession(const GrpcClientSession&) = delete;
  GrpcClientSession& operator=(const GrpcClientSession&) = delete;

  /// Queues a call and returns its stream, negative if the connection takes no more calls. The bytes of `request` are
  /// copied.
  int32_t Start(const GrpcRequest& request, Callback callback);

  /// Resets a call; its callback runs with kCancelled.
  void Cancel(int32_t stream_id);

  /// Queues a PING.
  void Ping();

  /// Gives `bytes` of flow-control window back to the server on one stream and on the connection.
  void ReturnWindow(int32_t stream_id, size_t bytes);

  /// Takes bytes from the server; false if they are no valid HTTP/2.
  bool Consume(std::span<const uint8_t> bytes);

  /// Returns the next bytes for the server, valid until the next call of any method; empty if there are none.
  std::span<const uint8_t> Produce();

  /// Ends all calls with kUnavailable.
  void Disconnect(std::string_view reason);

  [[nodiscard]] size_t calls_in_flight() const { return calls_.size(); }
  [[nodiscard]] uint64_t ping_acks() const { return ping_acks_; }
  [[nodiscard]] bool goaway_received() const { return goaway_received_; }
  [[nodiscard]] bool alive() const { return alive_; }

 private:
  struct Call;
  struct Callbacks;

  void End(Call& call, uint32_t reset_code);

  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Call>> calls_;
  uint64_t ping_acks_ = 0;
  bool goaway_received_ = false;
  bool alive_ = true;
};

class GrpcClient {
 public:
  /// Connects (blocking) to an address or host name.
  static Result<std::unique_ptr<GrpcClient>> Connect(const std::string& host, uint16_t port,
                                                     GrpcClientOptions options = {});
  ~GrpcClient();
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  [[nodiscard]] GrpcClientSession& session() { return session_; }
  [[nodiscard]] int descriptor() const { return fd_; }

  /// Sends what is queued, waits up to `timeout` for the server and handles what came. Returns false when the
  /// connection is gone (open calls have then ended with kUnavailable).
  bool Poll(std::chrono::milliseconds timeout);

  /// Sends what is queued and handles what has come, without waiting. For callers with a poll set of their own.
  bool Work();

  /// Returns whether queued bytes wait for the socket to become writable.
  [[nodiscard]] bool wants_write() const { return unsent_offset_ < unsent_.size(); }

  /// Makes one call and waits for its reply.
  GrpcReply Call(const GrpcRequest& request);

 private:
  GrpcClient(int fd, GrpcClientOptions options);
  bool Send();
  bool Receive();

  int fd_;
  GrpcClientSession session_;
  std::vector<uint8_t> unsent_;
  size_t unsent_offset_ = 0;
  std::vector<uint8_t> read_buffer_;
};

}  // namespace quiver::api
