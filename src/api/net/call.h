// File: api/net/call.h
// The two kinds of request that the network server hands over: a unary gRPC call and an HTTP/1.1 request. Bytes in,
// bytes out; what they mean (protobuf, JSON) is the handler's business.
//
//   void Handle(std::shared_ptr<RpcCall> call) {
//     if (call->method() != "/milvus.proto.milvus.MilvusService/GetVersion") {
//       return call->FinishWithError(GrpcCode::kUnimplemented, "unknown method");
//     }
//     pool.Run([call] { call->Finish(Answer(call->message())); });
//   }
//
// Thread rule: a handler runs on a network thread and must not block. A call may be kept, read and finished on any
// thread; it is finished exactly once (later attempts are ignored), and a call whose last reference goes away without
// an answer is answered INTERNAL (gRPC) or 500 (HTTP), so that no client waits for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quiver::api {

/// Status codes of gRPC, as they stand in the `grpc-status` trailer.
enum class GrpcCode : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// Headers of one request in the order of arrival: names in lower case, without HTTP/2 pseudo headers.
class HeaderList {
 public:
  /// Adds one header; the name is stored in lower case.
  void Add(std::string_view name, std::string_view value);

  /// Returns the value of the first header of that (lower-case) name, or nothing-at-all as a view with null data.
  [[nodiscard]] std::string_view Find(std::string_view lower_case_name) const;

  [[nodiscard]] size_t size() const { return entries_.size(); }

  /// Returns name and value of header `i`, valid as long as the list is not changed.
  [[nodiscard]] std::pair<std::string_view, std::string_view> at(size_t i) const;

  /// What a header counts beyond its name and value, as in HTTP/2's SETTINGS_MAX_HEADER_LIST_SIZE.
  static constexpr size_t kOverheadBytes = 32;

  /// Returns the size of the list as limits count it.
  [[nodiscard]] size_t bytes() const { return text_.size() + entries_.size() * kOverheadBytes; }

 private:
  struct Entry {
    uint32_t offset = 0;
    uint32_t name_size = 0;
    uint32_t value_size = 0;
  };

  std::string text_;  // all names and values, back to back: one allocation instead of two per header
  std::vector<Entry> entries_;
};

struct HttpRequest {
  std::string method;  ///< "GET", "POST", ...
  std::string target;  ///< path and query as sent, for example "/v2/vectordb/entities/search?x=1"
  HeaderList headers;
  std::string body;  ///< de-chunked

  /// Returns the target without its query string.
  [[nodiscard]] std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};  ///< further headers; not Content-Length or Connection
};

/// A finished call on its way back to its connection.
struct Completion {
  uint64_t connection_id = 0;
  int32_t stream_id = 0;  ///< of the HTTP/2 connection; 0 for HTTP/1.1
  GrpcCode code = GrpcCode::kOk;
  std::string payload;  ///< the response message, or the error text if `code` is not kOk
  HttpResponse http;    ///< for HTTP/1.1
};

/// Where finished calls go: the event loop of the connection, or a test. Complete may be called from any thread.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  virtual void Complete(Completion completion) = 0;
};

/// Request bytes held by calls, over all connections of a server.
struct RequestBudget {
  uint64_t limit = UINT64_MAX;
  std::atomic<uint64_t> used = 0;
};

/// What every call knows of its connection.
struct ConnectionInfo {
  uint64_t id = 0;
  std::string peer;  ///< "127.0.0.1:51234" or "[::1]:51234"
  std::shared_ptr<CompletionSink> sink;
  std::shared_ptr<RequestBudget> budget;
};

/// One unary gRPC call in flight.
class RpcCall {
 public:
  /// Used by the connection, and by what stands in for one.
  RpcCall(std::shared_ptr<const ConnectionInfo> connection, int32_t stream_id,
          std::chrono::steady_clock::time_point arrival);
  ~RpcCall();
  RpcCall(const RpcCall&) = delete;
  RpcCall& operator=(const RpcCall&) = delete;

  /// Returns the full method name, for example "/milvus.proto.milvus.MilvusService/Insert".
  [[nodiscard]] std::string_view method() const { return method_; }

  /// Returns a metadata value, empty if there is none. Values of names ending in "-bin" are base64 as sent.
  [[nodiscard]] std::string_view header(std::string_view lower_case_name) const {
    return headers_.Find(lower_case_name);
  }
  [[nodiscard]] const HeaderList& headers() const { return headers_; }

  /// Returns the request message: de-framed and decompressed.
  [[nodiscard]] std::string_view message() const { return message_; }

  /// Frees the request message, for a handler that has decoded it and has long work before it. Views of message() end.
  void ReleaseMessage();

  /// Returns when the client stops waiting (`grpc-timeout` counted from arrival); time_point::max() without a limit.
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const { return deadline_; }

  /// Returns when the request's headers arrived.
  [[nodiscard]] std::chrono::steady_clock::time_point arrival() const { return arrival_; }

  /// Returns whether the client gave up (RST_STREAM) or its connection is gone; an answer is then dropped.
  [[nodiscard]] bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  [[nodiscard]] std::string_view peer() const { return connection_->peer; }

  /// Answers OK with the serialized response message.
  void Finish(std::string response_message);

  /// Answers a gRPC error. The message is percent-encoded on the wire, so any UTF-8 text will do.
  void FinishWithError(GrpcCode code, std::string_view message);

 private:
  friend class Http2Session;

  void Complete(GrpcCode code, std::string payload);

  const std::shared_ptr<const ConnectionInfo> connection_;
  const int32_t stream_id_;
  std::atomic<bool> dispatched_ = false;  // before this the connection answers by itself
  std::atomic<bool> finished_ = false;
  std::atomic<bool> cancelled_ = false;
  std::string method_;
  HeaderList headers_;
  std::string message_;
  uint64_t charged_bytes_ = 0;
  const std::chrono::steady_clock::time_point arrival_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

/// One HTTP/1.1 request in flight. Requests of one connection are handed over one after the other.
class HttpCall {
 public:
  /// Used by the connection only.
  HttpCall(std::shared_ptr<const ConnectionInfo> connection, HttpRequest request);
  ~HttpCall();
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  [[nodiscard]] const HttpRequest& request() const { return request_; }

  /// Returns whether the connection is gone; an answer is then dropped.
  [[nodiscard]] bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  [[nodiscard]] std::string_view peer() const { return connection_->peer; }

  /// Answers the request. For HEAD the body is measured and not sent.
  void Finish(HttpResponse response);

 private:
  friend class Http1Session;

  const std::shared_ptr<const ConnectionInfo> connection_;
  const HttpRequest request_;
  std::atomic<bool> finished_ = false;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace quiver::api
