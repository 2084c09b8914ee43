#include "api/net/call.h"

namespace quiver::api {

namespace {

char LowerCase(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

void HeaderList::Add(std::string_view name, std::string_view value) {
  Entry entry;
  entry.offset = static_cast<uint32_t>(text_.size());
  entry.name_size = static_cast<uint32_t>(name.size());
  entry.value_size = static_cast<uint32_t>(value.size());
  for (const char c : name) text_.push_back(LowerCase(c));
  text_.append(value);
  entries_.push_back(entry);
}

std::string_view HeaderList::Find(std::string_view lower_case_name) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].name_size != lower_case_name.size()) continue;
    const auto [name, value] = at(i);
    if (name == lower_case_name) return value;
  }
  return {};
}

std::pair<std::string_view, std::string_view> HeaderList::at(size_t i) const {
  const Entry& entry = entries_[i];
  const std::string_view text = text_;
  return {text.substr(entry.offset, entry.name_size), text.substr(entry.offset + entry.name_size, entry.value_size)};
}

RpcCall::RpcCall(std::shared_ptr<const ConnectionInfo> connection, int32_t stream_id,
                 std::chrono::steady_clock::time_point arrival)
    : connection_(std::move(connection)), stream_id_(stream_id), arrival_(arrival) {}

RpcCall::~RpcCall() {
  if (dispatched_.load(std::memory_order_relaxed)) {
    FinishWithError(GrpcCode::kInternal, "the call ended without an answer");
  }
  ReleaseMessage();
}

void RpcCall::ReleaseMessage() {
  std::string().swap(message_);
  if (charged_bytes_ != 0) connection_->budget->used.fetch_sub(charged_bytes_, std::memory_order_relaxed);
  charged_bytes_ = 0;
}

void RpcCall::Finish(std::string response_message) { Complete(GrpcCode::kOk, std::move(response_message)); }

void RpcCall::FinishWithError(GrpcCode code, std::string_view message) { Complete(code, std::string(message)); }

void RpcCall::Complete(GrpcCode code, std::string payload) {
  if (finished_.exchange(true, std::memory_order_relaxed)) return;
  Completion completion;
  completion.connection_id = connection_->id;
  completion.stream_id = stream_id_;
  completion.code = code;
  completion.payload = std::move(payload);
  connection_->sink->Complete(std::move(completion));
}

HttpCall::HttpCall(std::shared_ptr<const ConnectionInfo> connection, HttpRequest request)
    : connection_(std::move(connection)), request_(std::move(request)) {
  connection_->budget->used.fetch_add(request_.body.size(), std::memory_order_relaxed);
}

HttpCall::~HttpCall() {
  if (!finished_.load(std::memory_order_relaxed)) {
    HttpResponse response;
    response.status = 500;
    response.body = "the request ended without an answer\n";
    Finish(std::move(response));
  }
  connection_->budget->used.fetch_sub(request_.body.size(), std::memory_order_relaxed);
}

void HttpCall::Finish(HttpResponse response) {
  if (finished_.exchange(true, std::memory_order_relaxed)) return;
  Completion completion;
  completion.connection_id = connection_->id;
  completion.http = std::move(response);
  connection_->sink->Complete(std::move(completion));
}

}  // namespace quiver::api
