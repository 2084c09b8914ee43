#include "api/net/connection.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "api/net/http1_session.h"
#include "api/net/http2_session.h"

namespace quiver::api {

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerContext> context, std::shared_ptr<const ConnectionInfo> info,
                       SteadyTime now)
    : context_(std::move(context)), info_(std::move(info)), accepted_(now) {
  if (context_->rpc_handler == nullptr) session_ = std::make_unique<Http1Session>(*context_, info_, accepted_);
}

Connection::~Connection() = default;

void Connection::Consume(std::span<const uint8_t> bytes, SteadyTime now) {
  if (session_ == nullptr) {
    const size_t compared = std::min(bytes.size(), kPreface.size() - preface_matched_);
    const bool matches = std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(compared),
                                    AsBytes(kPreface).begin() + static_cast<std::ptrdiff_t>(preface_matched_));
    if (matches && preface_matched_ + compared < kPreface.size()) {
      preface_matched_ += compared;
      return;
    }
    if (matches) {
      session_ = std::make_unique<Http2Session>(*context_, info_, accepted_);
    } else {
      session_ = std::make_unique<Http1Session>(*context_, info_, accepted_);
    }
    session_->Consume(AsBytes(kPreface.substr(0, preface_matched_)), now);
  }
  session_->Consume(bytes, now);
}

void Connection::ConsumeEnd(SteadyTime now) {
  if (session_ == nullptr) {
    finished_ = true;
  } else {
    session_->ConsumeEnd(now);
  }
}

size_t Connection::Produce(std::span<uint8_t> room, SteadyTime now) {
  return session_ == nullptr ? 0 : session_->Produce(room, now);
}

void Connection::Deliver(Completion completion, SteadyTime now) {
  if (session_ != nullptr) session_->Deliver(std::move(completion), now);
}

void Connection::OnTimer(SteadyTime now) {
  if (session_ != nullptr) {
    session_->OnTimer(now);
  } else if (now >= deadline()) {
    finished_ = true;
  }
}

SteadyTime Connection::deadline() const {
  return session_ == nullptr ? accepted_ + context_->limits.handshake_timeout : session_->deadline();
}

void Connection::StartShutdown() {
  if (session_ == nullptr) {
    finished_ = true;
  } else {
    session_->StartShutdown();
  }
}

}  // namespace quiver::api
