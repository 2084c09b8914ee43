#include "api/net/http1_session.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

namespace quiver::api {

namespace {

constexpr size_t kMaxUnparsedBytes = 64u << 10;
constexpr size_t kMaxPipelinedOutputBytes = 1u << 20;
constexpr size_t kEagerReserveBytes = 1u << 20;

std::string_view ReasonPhrase(int status) {
  switch (status) {
#define QUIVER_HTTP_STATUS(number, name, text) \
  case number: return #text;
    HTTP_STATUS_MAP(QUIVER_HTTP_STATUS)
#undef QUIVER_HTTP_STATUS
    default: return "Unknown";
  }
}

bool EqualsIgnoringCase(std::string_view a, std::string_view lower_case) {
  return std::equal(a.begin(), a.end(), lower_case.begin(), lower_case.end(),
                    [](char x, char y) { return (x >= 'A' && x <= 'Z' ? x + ('a' - 'A') : x) == y; });
}

// The Date header, formatted once a second per thread.
std::string_view DateText() {
  thread_local std::time_t formatted = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != formatted) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    constexpr size_t kRoom = 40;
    text.resize(kRoom);
    text.resize(std::strftime(text.data(), kRoom, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    formatted = now;
  }
  return text;
}

// What a callback of http_parser returns to stop it. Not 1: from the end of the headers that means "no body follows".
constexpr int kStop = -1;

// A value that a handler took from a request must not start another header line.
void AppendHeader(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ");
  for (const char c : value) {
    if (c != '\r' && c != '\n' && c != '\0') head.push_back(c);
  }
  head.append("\r\n");
}

}  // namespace

struct Http1Session::Callbacks {
  static Http1Session& Self(http_parser* parser) { return *static_cast<Http1Session*>(parser->data); }

  // No exception may pass through the C library.
  template <typename Function>
  static int Guard(Function function) noexcept {
    try {
      return function();
    } catch (...) {
      return kStop;
    }
  }

  static int OnMessageBegin(http_parser* parser) {
    Http1Session& self = Self(parser);
    self.state_ = State::kHeaders;
    self.waiting_since_ = self.first_request_ ? self.waiting_since_ : self.now_;
    return 0;
  }

  static int OnUrl(http_parser* parser, const char* text, size_t size) {
    Http1Session& self = Self(parser);
    return Guard([&] {
      if (!self.AddHeaderBytes(size)) return kStop;
      self.request_.target.append(text, size);
      return 0;
    });
  }

  static int OnHeaderField(http_parser* parser, const char* text, size_t size) {
    Http1Session& self = Self(parser);
    return Guard([&] {
      const bool starts_header = self.header_has_value_ || self.header_name_.empty();
      if (!self.AddHeaderBytes(size + (starts_header ? HeaderList::kOverheadBytes : 0))) return kStop;
      if (self.header_has_value_) self.FlushHeader();
      self.header_name_.append(text, size);
      return 0;
    });
  }

  static int OnHeaderValue(http_parser* parser, const char* text, size_t size) {
    Http1Session& self = Self(parser);
    return Guard([&] {
      if (!self.AddHeaderBytes(size)) return kStop;
      self.header_value_.append(text, size);
      self.header_has_value_ = true;
      return 0;
    });
  }

  static int OnHeadersComplete(http_parser* parser) {
    return Guard([&] { return Self(parser).CheckHeaders(); });
  }

  static int OnBody(http_parser* parser, const char* text, size_t size) {
    return Guard([&] { return Self(parser).AddBody({text, size}); });
  }

  static int OnMessageComplete(http_parser* parser) {
    return Guard([&] { return Self(parser).EndRequest(); });
  }

  static const http_parser_settings& Get() {
    static const http_parser_settings settings = [] {
      http_parser_settings made;
      http_parser_settings_init(&made);
      made.on_message_begin = OnMessageBegin;
      made.on_url = OnUrl;
      made.on_header_field = OnHeaderField;
      made.on_header_value = OnHeaderValue;
      made.on_headers_complete = OnHeadersComplete;
      made.on_body = OnBody;
      made.on_message_complete = OnMessageComplete;
      return made;
    }();
    return settings;
  }
};

Http1Session::Http1Session(ServerContext& context, std::shared_ptr<const ConnectionInfo> info, SteadyTime accepted)
    : context_(context), info_(std::move(info)), now_(accepted), waiting_since_(accepted) {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
}

Http1Session::~Http1Session() {
  if (const std::shared_ptr<HttpCall> call = serving_.lock()) call->cancelled_.store(true, std::memory_order_relaxed);
  info_->budget->used.fetch_sub(charged_bytes_, std::memory_order_relaxed);
}

void Http1Session::Consume(std::span<const uint8_t> bytes, SteadyTime now) {
  now_ = now;
  if (closing_) return;
  if (state_ == State::kServing || !unparsed_.empty()) {
    unparsed_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return;
  }
  Parse(bytes);
}

void Http1Session::ConsumeEnd(SteadyTime now) {
  now_ = now;
  input_ended_ = true;
  // A client may close its side after the request and still wait for the answer.
  if (state_ != State::kServing && unparsed_.empty()) closing_ = true;
}

void Http1Session::Parse(std::span<const uint8_t> bytes) {
  const size_t parsed =
      http_parser_execute(&parser_, &Callbacks::Get(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (closing_) return;
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  if (error == HPE_PAUSED) {
    unparsed_.assign(reinterpret_cast<const char*>(bytes.data()) + parsed, bytes.size() - parsed);
    return;
  }
  switch (error) {
    case HPE_OK: return;
    case HPE_HEADER_OVERFLOW: return Refuse(431, "request header too large");
    case HPE_INVALID_VERSION: return Refuse(505, "HTTP/1.1 is spoken here");
    case HPE_INVALID_METHOD: return Refuse(400, "neither HTTP/1.1 nor HTTP/2");
    default: return Refuse(400, http_errno_description(error));
  }
}

void Http1Session::ResumeInput() {
  if (closing_ || state_ == State::kServing || unparsed_.empty() || unwritten() > kMaxPipelinedOutputBytes) return;
  const std::string bytes = std::exchange(unparsed_, {});
  Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

bool Http1Session::AddHeaderBytes(size_t count) {
  header_bytes_ += count;
  if (header_bytes_ <= context_.limits.max_header_bytes) return true;
  Refuse(431, "request header too large");
  return false;
}

void Http1Session::FlushHeader() {
  // Trailers of a chunked body come after the headers were looked at and are dropped.
  if (header_has_value_ && state_ == State::kHeaders) request_.headers.Add(header_name_, header_value_);
  header_name_.clear();
  header_value_.clear();
  header_has_value_ = false;
}

int Http1Session::CheckHeaders() {
  FlushHeader();
  request_.method = http_method_str(static_cast<http_method>(parser_.method));
  is_head_ = parser_.method == HTTP_HEAD;
  keep_alive_ = http_should_keep_alive(&parser_) != 0;
  state_ = State::kBody;
  waiting_since_ = now_;
  const bool is_http_1_1 = parser_.http_major == 1 && parser_.http_minor >= 1;
  if (parser_.http_major != 1) {
    Refuse(505, "HTTP/1.1 is spoken here");
    return kStop;
  }
  if (parser_.method == HTTP_CONNECT) {
    Refuse(405, "CONNECT is not served");
    return kStop;
  }
  if (is_http_1_1 && request_.headers.Find("host").data() == nullptr) {
    Refuse(400, "no Host header");
    return kStop;
  }
  const bool has_length = (parser_.flags & F_CONTENTLENGTH) != 0;
  if (has_length && parser_.content_length > context_.limits.max_message_bytes) {
    Refuse(413, fmt::format("request body larger than max ({} vs. {})", parser_.content_length,
                            context_.limits.max_message_bytes));
    return kStop;
  }
  const std::string_view expect = request_.headers.Find("expect");
  if (!expect.empty() && is_http_1_1) {
    if (!EqualsIgnoringCase(expect, "100-continue")) {
      Refuse(417, "unknown expectation");
      return kStop;
    }
    if ((parser_.flags & F_CHUNKED) != 0 || (has_length && parser_.content_length > 0)) {
      output_.emplace_back("HTTP/1.1 100 Continue\r\n\r\n");
    }
  }
  if (has_length) request_.body.reserve(std::min<size_t>(parser_.content_length, kEagerReserveBytes));
  parser_.upgrade = 0;  // offers to change the protocol are not taken up: the request is answered as it is
  return 0;
}

int Http1Session::AddBody(std::string_view bytes) {
  waiting_since_ = now_;
  if (bytes.size() > context_.limits.max_message_bytes - request_.body.size()) {
    Refuse(413, fmt::format("request body larger than max ({})", context_.limits.max_message_bytes));
    return kStop;
  }
  const uint64_t held = info_->budget->used.fetch_add(bytes.size(), std::memory_order_relaxed) + bytes.size();
  charged_bytes_ += bytes.size();
  if (held > info_->budget->limit) {
    Refuse(503, fmt::format("requests in flight hold more than max ({})", info_->budget->limit));
    return kStop;
  }
  request_.body.append(bytes);
  return 0;
}

int Http1Session::EndRequest() {
  FlushHeader();
  header_bytes_ = 0;
  first_request_ = false;
  state_ = State::kServing;
  http_parser_pause(&parser_, 1);
  auto call = std::make_shared<HttpCall>(info_, std::exchange(request_, {}));
  info_->budget->used.fetch_sub(std::exchange(charged_bytes_, 0), std::memory_order_relaxed);  // the call has it now
  serving_ = call;
  if (context_.http_handler == nullptr) {
    HttpResponse response;
    response.status = 404;
    response.body = "not found\n";
    call->Finish(std::move(response));
    return 0;
  }
  context_.http_requests.fetch_add(1, std::memory_order_relaxed);
  context_.http_handler(std::move(call));
  return 0;
}

void Http1Session::Deliver(Completion completion, SteadyTime now) {
  now_ = now;
  if (state_ != State::kServing || closing_) return;
  serving_.reset();
  if (shutting_down_ || (input_ended_ && unparsed_.empty())) keep_alive_ = false;
  Write(completion.http, is_head_);
  waiting_since_ = now;
  state_ = State::kIdle;
  if (!keep_alive_) {
    closing_ = true;
    return;
  }
  http_parser_pause(&parser_, 0);
  ResumeInput();
}

void Http1Session::Refuse(int status, std::string_view text) {
  if (closing_) return;
  context_.refused.fetch_add(1, std::memory_order_relaxed);
  HttpResponse response;
  response.status = status;
  response.body.append(text).append("\n");
  keep_alive_ = false;
  Write(response, false);
  closing_ = true;
}

void Http1Session::Write(const HttpResponse& response, bool head_only) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, ReasonPhrase(response.status));
  AppendHeader(head, "Date", DateText());
  for (const auto& [name, value] : response.headers) AppendHeader(head, name, value);
  // 1xx, 204 and 304 have no body by definition.
  const bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  if (has_body) {
    if (!response.content_type.empty()) AppendHeader(head, "Content-Type", response.content_type);
    AppendHeader(head, "Content-Length", std::to_string(response.body.size()));
  }
  AppendHeader(head, "Connection", keep_alive_ ? "keep-alive" : "close");
  head.append("\r\n");
  if (has_body && !head_only) head.append(response.body);
  output_.push_back(std::move(head));
}

size_t Http1Session::unwritten() const {
  size_t size = 0;
  for (const std::string& chunk : output_) size += chunk.size();
  return size - output_sent_;
}

size_t Http1Session::Produce(std::span<uint8_t> room, SteadyTime now) {
  now_ = now;
  size_t size = 0;
  while (!output_.empty() && size < room.size()) {
    const std::string& chunk = output_.front();
    const size_t copied = std::min(chunk.size() - output_sent_, room.size() - size);
    std::memcpy(room.data() + size, chunk.data() + output_sent_, copied);
    size += copied;
    output_sent_ += copied;
    if (output_sent_ < chunk.size()) break;
    output_.pop_front();
    output_sent_ = 0;
    ResumeInput();  // which may answer by itself
  }
  if (size > 0) waiting_since_ = now;
  if (input_ended_ && state_ != State::kServing && unparsed_.empty()) closing_ = true;
  return size;
}

void Http1Session::OnTimer(SteadyTime now) {
  now_ = now;
  if (now < deadline()) return;
  if (state_ == State::kHeaders && output_.empty()) {
    Refuse(408, "request header took too long");
  } else {
    output_.clear();
    closing_ = true;
  }
}

SteadyTime Http1Session::deadline() const {
  if (!output_.empty()) return waiting_since_ + context_.limits.http_idle_timeout;
  if (state_ == State::kServing) return SteadyTime::max();
  const bool awaits_header = state_ == State::kHeaders || (state_ == State::kIdle && first_request_);
  return waiting_since_ + (awaits_header ? context_.limits.handshake_timeout : context_.limits.http_idle_timeout);
}

void Http1Session::StartShutdown() {
  shutting_down_ = true;
  if (state_ == State::kIdle) {
    unparsed_.clear();
    closing_ = true;
  } else if (state_ == State::kHeaders || state_ == State::kBody) {
    // The request has not arrived; it is the client's to repeat.
    Refuse(503, "the server is shutting down");
  }
}

bool Http1Session::wants_read() const { return !closing_ && !input_ended_ && unparsed_.size() < kMaxUnparsedBytes; }

}  // namespace quiver::api
