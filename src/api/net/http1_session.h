// File: api/net/http1_session.h
// The HTTP/1.1 server side of one connection, on http_parser: keep-alive, pipelining (requests are served one after the
// other, in order), Content-Length and chunked bodies, Expect: 100-continue, HEAD. Used by Connection only.
#pragma once

#include <http_parser.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "api/net/connection.h"

namespace quiver::api {

class Http1Session : public Session {
 public:
  Http1Session(ServerContext& context, std::shared_ptr<const ConnectionInfo> info, SteadyTime accepted);
  ~Http1Session() override;

  void Consume(std::span<const uint8_t> bytes, SteadyTime now) override;
  void ConsumeEnd(SteadyTime now) override;
  size_t Produce(std::span<uint8_t> room, SteadyTime now) override;
  void Deliver(Completion completion, SteadyTime now) override;
  void OnTimer(SteadyTime now) override;
  void StartShutdown() override;
  [[nodiscard]] SteadyTime deadline() const override;
  [[nodiscard]] bool wants_read() const override;
  [[nodiscard]] bool finished() const override { return closing_ && output_.empty(); }

 private:
  enum class State : uint8_t { kIdle, kHeaders, kBody, kServing };
  struct Callbacks;  // the functions that http_parser calls

  void Parse(std::span<const uint8_t> bytes);
  void ResumeInput();
  bool AddHeaderBytes(size_t count);
  void FlushHeader();
  int CheckHeaders();
  int AddBody(std::string_view bytes);
  int EndRequest();

  // Answers by the session itself and ends the connection; whatever follows in the input is not looked at.
  void Refuse(int status, std::string_view text);
  void Write(const HttpResponse& response, bool head_only);
  [[nodiscard]] size_t unwritten() const;

  ServerContext& context_;
  const std::shared_ptr<const ConnectionInfo> info_;
  http_parser parser_;
  State state_ = State::kIdle;

  // The request that is arriving.
  HttpRequest request_;
  std::string header_name_;
  std::string header_value_;
  bool header_has_value_ = false;  // the next name belongs to the next header
  size_t header_bytes_ = 0;
  uint64_t charged_bytes_ = 0;
  bool keep_alive_ = true;  // as this request asks
  bool is_head_ = false;

  std::weak_ptr<HttpCall> serving_;
  std::string unparsed_;  // input that arrived while a request is being served
  std::deque<std::string> output_;
  size_t output_sent_ = 0;  // of output_.front()

  SteadyTime now_;
  SteadyTime waiting_since_;  // start of the wait that deadline() limits
  bool first_request_ = true;
  bool input_ended_ = false;
  bool shutting_down_ = false;
  bool closing_ = false;  // write what is left, then close
};

}  // namespace quiver::api
