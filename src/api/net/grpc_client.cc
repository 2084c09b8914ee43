#include "api/net/grpc_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "api/net/grpc_wire.h"

namespace quiver::api {

namespace {

constexpr size_t kReadBufferBytes = 256u << 10;
constexpr size_t kWriteBytes = 256u << 10;

nghttp2_nv Header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::string_view AsText(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

int ParseNumber(std::string_view text) {
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || value > 10'000) return -1;
    value = value * 10 + (c - '0');
  }
  return text.empty() ? -1 : value;
}

}  // namespace

struct GrpcClientSession::Call {
  int32_t stream_id = 0;
  size_t position = 0;  // in calls_
  Callback callback;
  std::string body;
  size_t body_sent = 0;
  bool keep_open = false;
  bool has_status = false;
  bool cancelled = false;
  std::string received;  // with its prefix
  GrpcReply reply;
};

struct GrpcClientSession::Callbacks {
  static GrpcClientSession& Self(void* user_data) { return *static_cast<GrpcClientSession*>(user_data); }

  static Call* Find(nghttp2_session* session, int32_t stream_id) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream_id));
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void*) {
    Call* const call = Find(session, frame->hd.stream_id);
    if (call == nullptr) return 0;
    const std::string_view key = AsText(name, name_size);
    const std::string_view text = AsText(value, value_size);
    if (key == ":status") {
      call->reply.http_status = ParseNumber(text);
    } else if (key == "grpc-status") {
      const int code = ParseNumber(text);
      call->has_status = code >= 0 && code <= static_cast<int>(GrpcCode::kUnauthenticated);
      if (call->has_status) call->reply.code = static_cast<GrpcCode>(code);
    } else if (key == "grpc-message") {
      call->reply.error = PercentDecode(text);
    }
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* bytes, size_t size, void*) {
    if (Call* const call = Find(session, stream_id)) call->received.append(AsText(bytes, size));
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    GrpcClientSession& self = Self(user_data);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++self.ping_acks_;
    if (frame->hd.type == NGHTTP2_GOAWAY) self.goaway_received_ = true;
    return 0;
  }

  static int OnStreamClose(nghttp2_session* session, int32_t stream_id, uint32_t error_code, void* user_data) {
    if (Call* const call = Find(session, stream_id)) Self(user_data).End(*call, error_code);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* room, size_t room_size, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    Call& call = *static_cast<Call*>(source->ptr);
    const size_t size = std::min(room_size, call.body.size() - call.body_sent);
    if (size == 0 && call.keep_open) return NGHTTP2_ERR_DEFERRED;
    call.body.copy(reinterpret_cast<char*>(room), size, call.body_sent);
    call.body_sent += size;
    if (call.body_sent == call.body.size() && !call.keep_open) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }
};

GrpcClientSession::GrpcClientSession(GrpcClientOptions options) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  alive_ = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0;
  if (alive_) {
    nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnStreamClose);
    nghttp2_option_set_no_auto_window_update(option, options.auto_window_update ? 0 : 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, 1024);  // until the server's settings arrive
    alive_ = nghttp2_session_client_new2(&session_, callbacks, this, option) == 0;
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  if (!alive_) return;
  const std::array<nghttp2_settings_entry, 2> settings = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window_bytes},
  }};
  alive_ = nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0;
  // The connection's window can only be raised above the 65535 that it starts with.
  if (options.connection_window_bytes > NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE) {
    alive_ = alive_ && nghttp2_session_set_local_window_size(
                           session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(options.connection_window_bytes)) == 0;
  }
}

GrpcClientSession::~GrpcClientSession() { nghttp2_session_del(session_); }

int32_t GrpcClientSession::Start(const GrpcRequest& request, Callback callback) {
  if (!alive_) return -1;
  auto call = std::make_unique<Call>();
  call->callback = std::move(callback);
  call->keep_open = request.keep_open;
  if (request.raw_body.has_value()) {
    call->body = *request.raw_body;
  } else {
    const auto prefix = EncodeMessagePrefix({0, static_cast<uint32_t>(request.message.size())});
    call->body.reserve(prefix.size() + request.message.size());
    call->body.assign(prefix.begin(), prefix.end());
    call->body.append(request.message);
  }
  std::vector<nghttp2_nv> headers = {Header(":method", request.http_method),
                                     Header(":scheme", "http"),
                                     Header(":path", request.method),
                                     Header(":authority", "quiver"),
                                     Header("content-type", request.content_type),
                                     Header("te", "trailers")};
  std::string timeout;
  if (request.timeout.has_value()) {
    timeout = FormatTimeout(*request.timeout);
    headers.push_back(Header("grpc-timeout", timeout));
  }
  for (const auto& [name, value] : request.metadata) headers.push_back(Header(name, value));
  nghttp2_data_provider provider;
  provider.source.ptr = call.get();
  provider.read_callback = Callbacks::ReadBody;
  const int32_t stream_id =
      nghttp2_submit_request(session_, nullptr, headers.data(), headers.size(), &provider, call.get());
  if (stream_id < 0) return stream_id;
  call->stream_id = stream_id;
  call->position = calls_.size();
  calls_.push_back(std::move(call));
  return stream_id;
}

void GrpcClientSession::Cancel(int32_t stream_id) {
  if (Call* const call = Callbacks::Find(session_, stream_id)) call->cancelled = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
}

void GrpcClientSession::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

void GrpcClientSession::ReturnWindow(int32_t stream_id, size_t bytes) {
  nghttp2_session_consume(session_, stream_id, bytes);
}

bool GrpcClientSession::Consume(std::span<const uint8_t> bytes) {
  if (!alive_) return false;
  if (nghttp2_session_mem_recv(session_, bytes.data(), bytes.size()) < 0) Disconnect("not HTTP/2");
  return alive_;
}

std::span<const uint8_t> GrpcClientSession::Produce() {
  if (!alive_) return {};
  const uint8_t* bytes = nullptr;
  const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
  if (size < 0) {
    Disconnect("out of memory");
    return {};
  }
  return {bytes, static_cast<size_t>(size)};
}

void GrpcClientSession::Disconnect(std::string_view reason) {
  alive_ = false;
  while (!calls_.empty()) {
    const std::unique_ptr<Call> call = std::move(calls_.back());
    calls_.pop_back();
    nghttp2_session_set_stream_user_data(session_, call->stream_id, nullptr);
    call->reply.code = GrpcCode::kUnavailable;
    call->reply.error = reason;
    if (call->callback) call->callback(std::move(call->reply));
  }
}

void GrpcClientSession::End(Call& call, uint32_t reset_code) {
  std::unique_ptr<Call> owned = std::move(calls_[call.position]);
  if (owned->position + 1 != calls_.size()) {
    calls_[owned->position] = std::move(calls_.back());
    calls_[owned->position]->position = owned->position;
  }
  calls_.pop_back();
  GrpcReply& reply = owned->reply;
  reply.reset_code = reset_code;
  if (owned->cancelled) {
    reply.code = GrpcCode::kCancelled;
  } else if (!owned->has_status && (reset_code == NGHTTP2_REFUSED_STREAM || goaway_received_)) {
    reply.code = GrpcCode::kUnavailable;
  }
  if (owned->received.size() >= kMessagePrefixBytes) {
    const MessagePrefix prefix = DecodeMessagePrefix(reinterpret_cast<const uint8_t*>(owned->received.data()));
    if (prefix.length == owned->received.size() - kMessagePrefixBytes) {
      owned->received.erase(0, kMessagePrefixBytes);
      reply.message = std::move(owned->received);
    } else {
      reply.code = GrpcCode::kInternal;
      reply.error = "response is cut off";
    }
  } else if (owned->has_status && reply.code == GrpcCode::kOk) {
    reply.code = GrpcCode::kInternal;
    reply.error = "no response message";
  }
  if (owned->callback) owned->callback(std::move(reply));
}

Result<std::unique_ptr<GrpcClient>> GrpcClient::Connect(const std::string& host, uint16_t port,
                                                        GrpcClientOptions options) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) return Error(StatusCode::kIo, "cannot resolve {}: {}", host, gai_strerror(code));
  struct Guard {
    addrinfo* list;
    ~Guard() { freeaddrinfo(list); }
  } guard{found};
  int error = 0;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int fd = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
      error = errno;
      if (fd >= 0) ::close(fd);
      continue;
    }
    const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return std::unique_ptr<GrpcClient>(new GrpcClient(fd, options));
  }
  return Error(StatusCode::kIo, "cannot connect to {}:{}: {}", host, port, std::strerror(error));
}

GrpcClient::GrpcClient(int fd, GrpcClientOptions options)
    : fd_(fd), session_(options), read_buffer_(kReadBufferBytes) {}

GrpcClient::~GrpcClient() { ::close(fd_); }

bool GrpcClient::Send() {
  while (true) {
    if (!wants_write()) {
      unsent_.clear();
      unsent_offset_ = 0;
      while (unsent_.size() < kWriteBytes) {
        const std::span<const uint8_t> bytes = session_.Produce();
        if (bytes.empty()) break;
        unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
      }
      if (unsent_.empty()) return session_.alive();
    }
    const ssize_t count =
        ::send(fd_, unsent_.data() + unsent_offset_, unsent_.size() - unsent_offset_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      unsent_offset_ += static_cast<size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != EINTR) {
      session_.Disconnect(std::strerror(errno));
      return false;
    }
  }
}

bool GrpcClient::Receive() {
  while (true) {
    const ssize_t count = ::recv(fd_, read_buffer_.data(), read_buffer_.size(), MSG_DONTWAIT);
    if (count > 0) {
      if (!session_.Consume({read_buffer_.data(), static_cast<size_t>(count)})) return false;
      if (static_cast<size_t>(count) < read_buffer_.size()) return true;
    } else if (count == 0) {
      session_.Disconnect("connection closed");
      return false;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return true;
    } else if (errno != EINTR) {
      session_.Disconnect(std::strerror(errno));
      return false;
    }
  }
}

bool GrpcClient::Work() { return Send() && Receive() && Send(); }

bool GrpcClient::Poll(std::chrono::milliseconds timeout) {
  if (!Send()) return false;
  pollfd waiting{fd_, static_cast<int16_t>(wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
  const int ready = ::poll(&waiting, 1, static_cast<int>(timeout.count()));
  if (ready == 0) return true;
  return Receive() && Send();
}

GrpcReply GrpcClient::Call(const GrpcRequest& request) {
  std::optional<GrpcReply> result;
  if (session_.Start(request, [&](GrpcReply reply) { result = std::move(reply); }) < 0) {
    GrpcReply reply;
    reply.code = GrpcCode::kUnavailable;
    reply.error = "the connection takes no more calls";
    return reply;
  }
  constexpr auto kWait = std::chrono::seconds(1);
  while (!result.has_value() && Poll(kWait)) {
  }
  return *std::move(result);
}

}  // namespace quiver::api
