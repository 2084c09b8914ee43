// File: api/net/connection.h
// One connection as a state machine: bytes in, bytes out, requests to the handlers, answers back. It knows neither
// sockets nor threads, so that tests and fuzzers can drive it byte by byte; event_loop.h gives it both.
//
//   Connection connection(context, info, now);
//   connection.Consume(received, now);                        // may call the handlers
//   connection.Deliver(std::move(completion), now);           // an answer; the sink of `info` gave it
//   while (size_t n = connection.Produce(room, now)) Send(room, n);
//   if (connection.finished()) Close();
//
// The first bytes decide: the HTTP/2 preface starts an Http2Session, anything else an Http1Session.
// Thread rule: one thread at a time. The context may be shared by connections on many threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "api/net/call.h"
#include "api/net/server.h"

namespace quiver::api {

using SteadyTime = std::chrono::steady_clock::time_point;

/// What all connections of a server share. Counters are updated without order.
struct ServerContext {
  ConnectionLimits limits;
  RpcHandler rpc_handler;
  HttpHandler http_handler;
  std::shared_ptr<RequestBudget> budget = std::make_shared<RequestBudget>();

  std::atomic<uint64_t> connections_open = 0;
  std::atomic<uint64_t> connections_accepted = 0;
  std::atomic<uint64_t> connections_rejected = 0;
  std::atomic<uint64_t> rpc_calls = 0;
  std::atomic<uint64_t> http_requests = 0;
  std::atomic<uint64_t> refused = 0;
  std::atomic<uint64_t> bytes_received = 0;
  std::atomic<uint64_t> bytes_sent = 0;
};

/// The protocol spoken on a connection, once it is known. Methods as in Connection.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Consume(std::span<const uint8_t> bytes, SteadyTime now) = 0;
  virtual void ConsumeEnd(SteadyTime now) = 0;
  virtual size_t Produce(std::span<uint8_t> room, SteadyTime now) = 0;
  virtual void Deliver(Completion completion, SteadyTime now) = 0;
  virtual void OnTimer(SteadyTime now) = 0;
  virtual void StartShutdown() = 0;
  [[nodiscard]] virtual SteadyTime deadline() const = 0;
  [[nodiscard]] virtual bool wants_read() const = 0;
  [[nodiscard]] virtual bool finished() const = 0;
};

class Connection {
 public:
  Connection(std::shared_ptr<ServerContext> context, std::shared_ptr<const ConnectionInfo> info, SteadyTime now);

  /// Marks the calls that are still open as cancelled.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] const ConnectionInfo& info() const { return *info_; }

  /// Takes bytes from the peer; all of them are consumed.
  void Consume(std::span<const uint8_t> bytes, SteadyTime now);

  /// Notes that the peer will send nothing more.
  void ConsumeEnd(SteadyTime now);

  /// Writes bytes for the peer into `room` and returns how many; less than room.size() means that nothing else is
  /// waiting to be sent. Call it after each of the other methods.
  size_t Produce(std::span<uint8_t> room, SteadyTime now);

  /// Takes an answer of one of this connection's calls.
  void Deliver(Completion completion, SteadyTime now);

  /// To be called when deadline() has passed.
  void OnTimer(SteadyTime now);

  /// Returns when OnTimer has to be called, time_point::max() if never. Changes with each of the other methods.
  [[nodiscard]] SteadyTime deadline() const;

  /// Ends the connection after the calls in flight: GOAWAY, or `Connection: close`.
  void StartShutdown();

  /// Returns false while more input would only pile up.
  [[nodiscard]] bool wants_read() const { return !finished_ && (session_ == nullptr || session_->wants_read()); }

  /// Returns whether the connection is to be closed, once what Produce returned is written.
  [[nodiscard]] bool finished() const { return finished_ || (session_ != nullptr && session_->finished()); }

 private:
  std::shared_ptr<ServerContext> context_;
  std::shared_ptr<const ConnectionInfo> info_;
  SteadyTime accepted_;
  size_t preface_matched_ = 0;  // bytes of the HTTP/2 preface seen while the protocol is not known
  bool finished_ = false;
  std::unique_ptr<Session> session_;
};

}  // namespace quiver::api
