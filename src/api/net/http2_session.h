// File: api/net/http2_session.h
// The gRPC server side of one HTTP/2 connection, on nghttp2. Used by Connection only.
//
// Life of a call: headers are collected in an RpcCall, DATA frames are de-framed into its message; at the end of the
// stream the call goes to the handler and only a weak reference stays (to mark it cancelled). The answer comes back
// through Deliver and is written as HEADERS, DATA, trailers; an error as trailers only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/net/connection.h"

extern "C" {
struct nghttp2_session;
}

namespace quiver::api {

class Http2Session : public Session {
 public:
  Http2Session(ServerContext& context, std::shared_ptr<const ConnectionInfo> info, SteadyTime accepted);
  ~Http2Session() override;

  void Consume(std::span<const uint8_t> bytes, SteadyTime now) override;
  void ConsumeEnd(SteadyTime now) override;
  size_t Produce(std::span<uint8_t> room, SteadyTime now) override;
  void Deliver(Completion completion, SteadyTime now) override;
  void OnTimer(SteadyTime now) override;
  void StartShutdown() override;
  [[nodiscard]] SteadyTime deadline() const override;
  [[nodiscard]] bool wants_read() const override { return !finished_; }
  [[nodiscard]] bool finished() const override { return finished_; }

 private:
  struct Stream;
  struct Callbacks;  // the functions that nghttp2 calls

  int BeginRequest(int32_t stream_id);
  void AddHeader(Stream& stream, std::string_view name, std::string_view value);
  void CheckHeaders(Stream& stream);
  void AddData(Stream& stream, std::string_view bytes);
  void EndRequest(Stream& stream);
  void CloseStream(Stream& stream);

  // Answers a call that never reached the handler.
  void Refuse(Stream& stream, GrpcCode code, std::string_view message);
  void RefuseHttp(Stream& stream, std::string_view status);
  void Reset(Stream& stream, uint32_t error_code);
  void SendResponse(Stream& stream, std::string message);
  void SendError(Stream& stream, GrpcCode code, std::string_view message);
  size_t ReadResponse(Stream& stream, std::span<uint8_t> room, uint32_t* flags);

  ServerContext& context_;
  const std::shared_ptr<const ConnectionInfo> info_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Stream>> streams_;  // open ones; each knows its position
  std::vector<std::unique_ptr<Stream>> spare_streams_;
  std::span<const uint8_t> unwritten_;  // rest of a frame that did not fit into the room; nghttp2 keeps the bytes
  size_t calls_in_flight_ = 0;          // at the handler, reset streams included
  size_t pending_response_bytes_ = 0;
  SteadyTime now_;
  SteadyTime accepted_;
  SteadyTime last_frame_;
  SteadyTime ping_sent_;
  bool settings_received_ = false;
  bool ping_outstanding_ = false;
  bool finished_ = false;
};

}  // namespace quiver::api
