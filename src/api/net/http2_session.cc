#include "api/net/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "api/net/grpc_wire.h"

namespace quiver::api {

namespace {

constexpr uint32_t kMaxFrameBytes = 256u << 10;
constexpr size_t kEagerReserveBytes = 1u << 20;
constexpr size_t kSpareStreams = 64;
// Clients reset streams when their deadlines pass, so the library's own limit (33 a second) would punish honest
// ones. Calls that a reset leaves at the handler are bounded by calls_in_flight_.
constexpr uint64_t kResetBurst = 20'000;
constexpr uint64_t kResetsPerSecond = 5'000;

template <size_t kNameSize, size_t kValueSize>
constexpr nghttp2_nv ConstantHeader(const char (&name)[kNameSize], const char (&value)[kValueSize]) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name)), reinterpret_cast<uint8_t*>(const_cast<char*>(value)),
          kNameSize - 1, kValueSize - 1, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

template <size_t kNameSize>
nghttp2_nv CopiedHeader(const char (&name)[kNameSize], std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name)),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), kNameSize - 1, value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

std::string_view AsText(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

bool IsGrpcContentType(std::string_view value) {
  constexpr std::string_view kGrpc = "application/grpc";
  return value.starts_with(kGrpc) &&
         (value.size() == kGrpc.size() || value[kGrpc.size()] == '+' || value[kGrpc.size()] == ';');
}

// Options and callbacks are the same for all connections.
const nghttp2_option* SessionOptions() {
  static const nghttp2_option* const options = [] {
    nghttp2_option* made = nullptr;
    if (nghttp2_option_new(&made) != 0) return static_cast<nghttp2_option*>(nullptr);
    nghttp2_option_set_no_closed_streams(made, 1);
    nghttp2_option_set_no_recv_client_magic(made, 0);
    nghttp2_option_set_stream_reset_rate_limit(made, kResetBurst, kResetsPerSecond);
    return made;
  }();
  return options;
}

}  // namespace

struct Http2Session::Stream {
  int32_t id = 0;
  size_t position = 0;                // in streams_
  std::shared_ptr<RpcCall> arriving;  // until it goes to the handler
  std::weak_ptr<RpcCall> dispatched;  // afterwards

  bool is_post = false;
  bool has_grpc_content_type = false;
  bool headers_too_large = false;
  bool malformed_timeout = false;
  bool request_ended = false;
  bool answered = false;  // an answer is on its way, or the stream was reset
  std::optional<MessageEncoding> encoding = MessageEncoding::kIdentity;

  std::array<uint8_t, kMessagePrefixBytes> prefix{};
  size_t prefix_size = 0;
  MessagePrefix message;

  std::array<uint8_t, kMessagePrefixBytes> response_prefix{};
  std::string response;
  size_t response_sent = 0;  // of prefix and response together
};

struct Http2Session::Callbacks {
  static Http2Session& Self(void* user_data) { return *static_cast<Http2Session*>(user_data); }

  static Stream* Find(nghttp2_session* session, int32_t stream_id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, stream_id));
  }

  // No exception may pass through the C library; running out of memory ends the connection.
  template <typename Function>
  static int Guard(Function function) noexcept {
    try {
      return function();
    } catch (...) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    return Guard([&] { return Self(user_data).BeginRequest(frame->hd.stream_id); });
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Stream* const stream = Find(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    return Guard([&] {
      Self(user_data).AddHeader(*stream, AsText(name, name_size), AsText(value, value_size));
      return 0;
    });
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* bytes, size_t size,
                    void* user_data) {
    Http2Session& self = Self(user_data);
    self.last_frame_ = self.now_;  // a large frame on a slow line is progress too
    Stream* const stream = Find(session, stream_id);
    if (stream == nullptr) return 0;
    return Guard([&] {
      self.AddData(*stream, AsText(bytes, size));
      return 0;
    });
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    Http2Session& self = Self(user_data);
    self.last_frame_ = self.now_;
    self.ping_outstanding_ = false;  // whatever arrives whole shows that the peer is alive
    if (frame->hd.type == NGHTTP2_SETTINGS) self.settings_received_ = true;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Stream* const stream = Find(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    return Guard([&] {
      if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) self.CheckHeaders(*stream);
      if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) self.EndRequest(*stream);
      return 0;
    });
  }

  static int OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    // An answer before the end of the request: tell the client to stop sending.
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    Stream* const stream = Find(session, frame->hd.stream_id);
    if (stream != nullptr && !stream->request_ended) Self(user_data).Reset(*stream, NGHTTP2_NO_ERROR);
    return 0;
  }

  static int OnStreamClose(nghttp2_session* session, int32_t stream_id, uint32_t, void* user_data) {
    Stream* const stream = Find(session, stream_id);
    if (stream != nullptr) Self(user_data).CloseStream(*stream);
    return 0;
  }

  static ssize_t ReadResponse(nghttp2_session*, int32_t, uint8_t* room, size_t room_size, uint32_t* flags,
                              nghttp2_data_source* source, void* user_data) {
    auto* const stream = static_cast<Stream*>(source->ptr);
    return static_cast<ssize_t>(Self(user_data).ReadResponse(*stream, {room, room_size}, flags));
  }

  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* const callbacks = [] {
      nghttp2_session_callbacks* made = nullptr;
      if (nghttp2_session_callbacks_new(&made) != 0) return static_cast<nghttp2_session_callbacks*>(nullptr);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, OnHeader);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, OnData);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, OnFrame);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, OnFrameSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, OnStreamClose);
      return made;
    }();
    return callbacks;
  }
};

Http2Session::Http2Session(ServerContext& context, std::shared_ptr<const ConnectionInfo> info, SteadyTime accepted)
    : context_(context), info_(std::move(info)), now_(accepted), accepted_(accepted), last_frame_(accepted) {
  if (Callbacks::Get() == nullptr || SessionOptions() == nullptr ||
      nghttp2_session_server_new2(&session_, Callbacks::Get(), this, SessionOptions()) != 0) {
    session_ = nullptr;
    finished_ = true;
    return;
  }
  const ConnectionLimits& limits = context_.limits;
  const std::array<nghttp2_settings_entry, 5> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrameBytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits.max_header_bytes)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0 ||
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<int32_t>(limits.connection_window_bytes)) != 0) {
    finished_ = true;
  }
}

Http2Session::~Http2Session() {
  for (const std::unique_ptr<Stream>& stream : streams_) {
    if (const std::shared_ptr<RpcCall> call = stream->dispatched.lock()) {
      call->cancelled_.store(true, std::memory_order_relaxed);
    }
  }
  nghttp2_session_del(session_);
}

void Http2Session::Consume(std::span<const uint8_t> bytes, SteadyTime now) {
  if (finished_) return;
  now_ = now;
  if (nghttp2_session_mem_recv(session_, bytes.data(), bytes.size()) < 0) {
    // Not HTTP/2 after all, a flood, or no memory. Protocol errors that deserve a GOAWAY are not reported here.
    finished_ = true;
    return;
  }
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) finished_ = true;
}

void Http2Session::ConsumeEnd(SteadyTime) { finished_ = true; }

size_t Http2Session::Produce(std::span<uint8_t> room, SteadyTime now) {
  if (finished_) return 0;
  now_ = now;
  size_t size = 0;
  while (size < room.size()) {
    if (unwritten_.empty()) {
      const uint8_t* bytes = nullptr;
      const ssize_t count = nghttp2_session_mem_send(session_, &bytes);
      if (count < 0) {
        finished_ = true;
        break;
      }
      if (count == 0) {
        if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) finished_ = true;
        break;
      }
      unwritten_ = {bytes, static_cast<size_t>(count)};
    }
    const size_t copied = std::min(unwritten_.size(), room.size() - size);
    std::memcpy(room.data() + size, unwritten_.data(), copied);
    unwritten_ = unwritten_.subspan(copied);
    size += copied;
  }
  return size;
}

void Http2Session::OnTimer(SteadyTime now) {
  now_ = now;
  if (finished_ || now < deadline()) return;
  if (!settings_received_ || ping_outstanding_) {
    finished_ = true;
    return;
  }
  ping_outstanding_ = true;
  ping_sent_ = now;
  if (nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr) != 0) finished_ = true;
}

SteadyTime Http2Session::deadline() const {
  if (!settings_received_) return accepted_ + context_.limits.handshake_timeout;
  if (ping_outstanding_) return ping_sent_ + context_.limits.keepalive_timeout;
  return last_frame_ + context_.limits.keepalive_time;
}

void Http2Session::StartShutdown() {
  if (finished_) return;
  const int32_t last_stream = nghttp2_session_get_last_proc_stream_id(session_);
  if (nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last_stream, NGHTTP2_NO_ERROR, nullptr, 0) != 0) {
    finished_ = true;
  }
}

int Http2Session::BeginRequest(int32_t stream_id) {
  std::unique_ptr<Stream> stream;
  if (spare_streams_.empty()) {
    stream = std::make_unique<Stream>();
  } else {
    stream = std::move(spare_streams_.back());
    spare_streams_.pop_back();
  }
  stream->id = stream_id;
  stream->arriving = std::make_shared<RpcCall>(info_, stream_id, now_);
  if (nghttp2_session_set_stream_user_data(session_, stream_id, stream.get()) != 0) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  stream->position = streams_.size();
  streams_.push_back(std::move(stream));
  return 0;
}

void Http2Session::AddHeader(Stream& stream, std::string_view name, std::string_view value) {
  if (stream.arriving == nullptr || stream.headers_too_large) return;
  RpcCall& call = *stream.arriving;
  const size_t added = name.size() + value.size() + HeaderList::kOverheadBytes;
  if (call.headers_.bytes() + call.method_.size() + added > context_.limits.max_header_bytes) {
    stream.headers_too_large = true;
    return;
  }
  if (name.starts_with(':')) {
    if (name == ":path") {
      call.method_ = value;
    } else if (name == ":method") {
      stream.is_post = value == "POST";
    }
    return;
  }
  call.headers_.Add(name, value);
  if (name == "content-type") {
    stream.has_grpc_content_type = IsGrpcContentType(value);
  } else if (name == "grpc-encoding") {
    stream.encoding = ParseEncoding(value);
  } else if (name == "grpc-timeout") {
    const std::optional<std::chrono::nanoseconds> timeout = ParseTimeout(value);
    stream.malformed_timeout = !timeout.has_value();
    if (timeout.has_value() && *timeout < SteadyTime::max() - now_) call.deadline_ = now_ + *timeout;
  }
}

void Http2Session::CheckHeaders(Stream& stream) {
  if (stream.headers_too_large) {
    return Refuse(stream, GrpcCode::kResourceExhausted,
                  fmt::format("Received headers larger than max ({})", context_.limits.max_header_bytes));
  }
  if (!stream.is_post) return RefuseHttp(stream, "405");
  if (!stream.has_grpc_content_type) return RefuseHttp(stream, "415");
  if (stream.malformed_timeout) return Refuse(stream, GrpcCode::kInternal, "malformed grpc-timeout");
  if (!stream.encoding.has_value()) {
    return Refuse(stream, GrpcCode::kUnimplemented,
                  fmt::format("grpc-encoding is not supported: {}", stream.arriving->header("grpc-encoding")));
  }
}

void Http2Session::AddData(Stream& stream, std::string_view bytes) {
  if (stream.answered || stream.arriving == nullptr) return;
  RpcCall& call = *stream.arriving;
  if (stream.prefix_size < kMessagePrefixBytes) {
    const size_t taken = std::min(kMessagePrefixBytes - stream.prefix_size, bytes.size());
    std::memcpy(stream.prefix.data() + stream.prefix_size, bytes.data(), taken);
    stream.prefix_size += taken;
    bytes.remove_prefix(taken);
    if (stream.prefix_size < kMessagePrefixBytes) return;
    stream.message = DecodeMessagePrefix(stream.prefix.data());
    if (stream.message.flag > 1) return Refuse(stream, GrpcCode::kInternal, "malformed message prefix");
    if (stream.message.flag == 1 && stream.encoding == MessageEncoding::kIdentity) {
      return Refuse(stream, GrpcCode::kInternal, "compressed message without grpc-encoding");
    }
    if (stream.message.length > context_.limits.max_message_bytes) {
      return Refuse(stream, GrpcCode::kResourceExhausted,
                    fmt::format("Received message larger than max ({} vs. {})", stream.message.length,
                                context_.limits.max_message_bytes));
    }
    // The length is only a claim: memory beyond a first part is taken as the bytes arrive.
    call.message_.reserve(std::min<size_t>(stream.message.length, kEagerReserveBytes));
  }
  if (bytes.empty()) return;
  if (bytes.size() > stream.message.length - call.message_.size()) {
    return Refuse(stream, GrpcCode::kInternal, "more than one message in a unary call");
  }
  const uint64_t held = info_->budget->used.fetch_add(bytes.size(), std::memory_order_relaxed) + bytes.size();
  call.charged_bytes_ += bytes.size();
  if (held > info_->budget->limit) {
    return Refuse(stream, GrpcCode::kResourceExhausted,
                  fmt::format("requests in flight hold more than max ({})", info_->budget->limit));
  }
  const size_t needed = call.message_.size() + bytes.size();
  if (needed > call.message_.capacity()) {
    call.message_.reserve(std::min<size_t>(std::max(needed, call.message_.capacity() * 2), stream.message.length));
  }
  call.message_.append(bytes);
}

void Http2Session::EndRequest(Stream& stream) {
  stream.request_ended = true;
  if (stream.answered || stream.arriving == nullptr) return;
  RpcCall& call = *stream.arriving;
  if (stream.prefix_size < kMessagePrefixBytes || call.message_.size() < stream.message.length) {
    return Refuse(stream, GrpcCode::kInternal, "the call ended before its message");
  }
  if (calls_in_flight_ >= size_t{2} * context_.limits.max_concurrent_streams ||
      pending_response_bytes_ > context_.limits.max_pending_response_bytes) {
    context_.refused.fetch_add(1, std::memory_order_relaxed);
    return Reset(stream, NGHTTP2_REFUSED_STREAM);  // never processed: clients may repeat it by themselves
  }
  if (stream.message.flag == 1) {
    Result<std::string> message = Decompress(*stream.encoding, call.message_, context_.limits.max_message_bytes);
    if (!message.ok()) {
      const bool too_large = message.status().code() == StatusCode::kTooLarge;
      return Refuse(stream, too_large ? GrpcCode::kResourceExhausted : GrpcCode::kInternal,
                    too_large ? fmt::format("Received message larger than max after decompression ({})",
                                            context_.limits.max_message_bytes)
                              : message.status().message());
    }
    if (message->size() > call.charged_bytes_) {
      info_->budget->used.fetch_add(message->size() - call.charged_bytes_, std::memory_order_relaxed);
      call.charged_bytes_ = message->size();
    }
    call.message_ = *std::move(message);
  }
  ++calls_in_flight_;
  context_.rpc_calls.fetch_add(1, std::memory_order_relaxed);
  call.dispatched_.store(true, std::memory_order_relaxed);
  stream.dispatched = stream.arriving;
  context_.rpc_handler(std::move(stream.arriving));
}

void Http2Session::Deliver(Completion completion, SteadyTime now) {
  now_ = now;
  if (calls_in_flight_ > 0) --calls_in_flight_;
  if (finished_) return;
  auto* const stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, completion.stream_id));
  if (stream == nullptr || stream->answered) return;  // reset in the meantime
  stream->dispatched.reset();
  if (completion.code == GrpcCode::kOk) {
    SendResponse(*stream, std::move(completion.payload));
  } else {
    SendError(*stream, completion.code, completion.payload);
  }
}

void Http2Session::Refuse(Stream& stream, GrpcCode code, std::string_view message) {
  context_.refused.fetch_add(1, std::memory_order_relaxed);
  stream.arriving.reset();
  SendError(stream, code, message);
}

void Http2Session::RefuseHttp(Stream& stream, std::string_view status) {
  context_.refused.fetch_add(1, std::memory_order_relaxed);
  stream.arriving.reset();
  stream.answered = true;
  const nghttp2_nv header = CopiedHeader(":status", status);
  if (nghttp2_submit_response(session_, stream.id, &header, 1, nullptr) != 0) Reset(stream, NGHTTP2_INTERNAL_ERROR);
}

void Http2Session::Reset(Stream& stream, uint32_t error_code) {
  stream.answered = true;
  stream.arriving.reset();
  if (nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error_code) != 0) finished_ = true;
}

void Http2Session::SendResponse(Stream& stream, std::string message) {
  if (message.size() > UINT32_MAX) {
    return SendError(stream, GrpcCode::kResourceExhausted,
                     fmt::format("Response larger than max ({} vs. {})", message.size(), UINT32_MAX));
  }
  stream.answered = true;
  stream.response_prefix = EncodeMessagePrefix({0, static_cast<uint32_t>(message.size())});
  stream.response = std::move(message);
  stream.response_sent = 0;
  pending_response_bytes_ += stream.response.size();
  static constexpr char kStatusName[] = ":status";
  static constexpr char kStatusValue[] = "200";
  static constexpr char kTypeName[] = "content-type";
  static constexpr char kTypeValue[] = "application/grpc";
  const std::array<nghttp2_nv, 2> headers = {ConstantHeader(kStatusName, kStatusValue),
                                             ConstantHeader(kTypeName, kTypeValue)};
  nghttp2_data_provider provider;
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::ReadResponse;
  if (nghttp2_submit_response(session_, stream.id, headers.data(), headers.size(), &provider) != 0) {
    Reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
}

size_t Http2Session::ReadResponse(Stream& stream, std::span<uint8_t> room, uint32_t* flags) {
  size_t size = 0;
  if (stream.response_sent < kMessagePrefixBytes) {
    size = std::min(kMessagePrefixBytes - stream.response_sent, room.size());
    std::memcpy(room.data(), stream.response_prefix.data() + stream.response_sent, size);
    stream.response_sent += size;
  }
  if (stream.response_sent >= kMessagePrefixBytes) {
    const size_t offset = stream.response_sent - kMessagePrefixBytes;
    const size_t copied = std::min(stream.response.size() - offset, room.size() - size);
    std::memcpy(room.data() + size, stream.response.data() + offset, copied);
    stream.response_sent += copied;
    size += copied;
    if (offset + copied == stream.response.size()) {
      static constexpr char kName[] = "grpc-status";
      static constexpr char kValue[] = "0";
      const nghttp2_nv trailer = ConstantHeader(kName, kValue);
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      if (nghttp2_submit_trailer(session_, stream.id, &trailer, 1) != 0) Reset(stream, NGHTTP2_INTERNAL_ERROR);
    }
  }
  return size;
}

void Http2Session::SendError(Stream& stream, GrpcCode code, std::string_view message) {
  stream.answered = true;
  const std::string status = std::to_string(static_cast<int>(code));
  // A text near the client's limit for headers would only replace the error by another one.
  constexpr size_t kMaxErrorBytes = 4096;
  const std::string text = PercentEncode(message.substr(0, kMaxErrorBytes));
  static constexpr char kStatusName[] = ":status";
  static constexpr char kStatusValue[] = "200";
  static constexpr char kTypeName[] = "content-type";
  static constexpr char kTypeValue[] = "application/grpc";
  const std::array<nghttp2_nv, 4> headers = {ConstantHeader(kStatusName, kStatusValue),
                                             ConstantHeader(kTypeName, kTypeValue), CopiedHeader("grpc-status", status),
                                             CopiedHeader("grpc-message", text)};
  if (nghttp2_submit_response(session_, stream.id, headers.data(), headers.size(), nullptr) != 0) {
    Reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
}

void Http2Session::CloseStream(Stream& stream) {
  if (const std::shared_ptr<RpcCall> call = stream.dispatched.lock()) {
    call->cancelled_.store(true, std::memory_order_relaxed);
  }
  pending_response_bytes_ -= stream.response.size();
  std::unique_ptr<Stream> owned = std::move(streams_[stream.position]);
  if (owned->position + 1 != streams_.size()) {
    streams_[owned->position] = std::move(streams_.back());
    streams_[owned->position]->position = owned->position;
  }
  streams_.pop_back();
  if (spare_streams_.size() < kSpareStreams) {
    *owned = Stream();
    spare_streams_.push_back(std::move(owned));
  }
}

}  // namespace quiver::api
