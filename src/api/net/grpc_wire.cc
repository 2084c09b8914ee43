#include "api/net/grpc_wire.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace quiver::api {

namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";
constexpr int kWindowBits = 15;
constexpr int kGzipFlag = 16;  // zlib's way to ask for the gzip wrapper instead of its own

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int WindowBits(MessageEncoding encoding) {
  return encoding == MessageEncoding::kGzip ? kWindowBits + kGzipFlag : kWindowBits;
}

struct TimeoutUnit {
  char name;
  int64_t nanoseconds;
};

constexpr std::array<TimeoutUnit, 6> kTimeoutUnits = {
    TimeoutUnit{'n', 1},
    TimeoutUnit{'u', 1'000},
    TimeoutUnit{'m', 1'000'000},
    TimeoutUnit{'S', 1'000'000'000},
    TimeoutUnit{'M', 60'000'000'000},
    TimeoutUnit{'H', 3'600'000'000'000},
};
constexpr int64_t kMaxTimeoutDigits = 99'999'999;

}  // namespace

std::array<uint8_t, kMessagePrefixBytes> EncodeMessagePrefix(MessagePrefix prefix) {
  return {prefix.flag, static_cast<uint8_t>(prefix.length >> 24), static_cast<uint8_t>(prefix.length >> 16),
          static_cast<uint8_t>(prefix.length >> 8), static_cast<uint8_t>(prefix.length)};
}

MessagePrefix DecodeMessagePrefix(const uint8_t* bytes) {
  return {bytes[0], static_cast<uint32_t>(bytes[1]) << 24 | static_cast<uint32_t>(bytes[2]) << 16 |
                        static_cast<uint32_t>(bytes[3]) << 8 | static_cast<uint32_t>(bytes[4])};
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '%') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHexDigits[byte >> 4]);
      out.push_back(kHexDigits[byte & 15]);
    }
  }
  return out;
}

std::string PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  for (const TimeoutUnit& unit : kTimeoutUnits) {
    if (unit.name != text.back()) continue;
    // 99,999,999 hours do not fit in 64 bits of nanoseconds; such a limit is none.
    if (value > std::numeric_limits<int64_t>::max() / unit.nanoseconds) return std::chrono::nanoseconds::max();
    return std::chrono::nanoseconds(value * unit.nanoseconds);
  }
  return std::nullopt;
}

std::string FormatTimeout(std::chrono::nanoseconds timeout) {
  const int64_t count = std::max<int64_t>(timeout.count(), 0);
  for (const TimeoutUnit& unit : kTimeoutUnits) {
    const int64_t value = count / unit.nanoseconds + (count % unit.nanoseconds != 0 ? 1 : 0);
    if (value <= kMaxTimeoutDigits) return std::to_string(value) + unit.name;
  }
  return "99999999H";
}

std::optional<MessageEncoding> ParseEncoding(std::string_view name) {
  if (name.empty() || name == "identity") return MessageEncoding::kIdentity;
  if (name == "gzip") return MessageEncoding::kGzip;
  if (name == "deflate") return MessageEncoding::kDeflate;
  return std::nullopt;
}

Result<std::string> Decompress(MessageEncoding encoding, std::string_view bytes, size_t limit) {
  if (encoding == MessageEncoding::kIdentity) {
    if (bytes.size() > limit) return Error(StatusCode::kTooLarge, "message larger than max ({})", limit);
    return std::string(bytes);
  }
  z_stream stream{};
  if (inflateInit2(&stream, WindowBits(encoding)) != Z_OK) {
    return Error(StatusCode::kMemoryLimit, "no memory to decompress a message");
  }
  struct Guard {
    z_stream* stream;
    ~Guard() { inflateEnd(stream); }
  } guard{&stream};

  std::string out;
  size_t produced = 0;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib only reads it
  stream.avail_in = static_cast<uInt>(bytes.size());
  while (true) {
    if (produced == out.size()) {
      if (produced > limit) return Error(StatusCode::kTooLarge, "message larger than max ({})", limit);
      // One byte past the limit tells a message that just fits from one that does not.
      out.resize(std::min(std::max<size_t>({out.size() * 2, bytes.size() * 2, 4096}), limit + 1));
    }
    const size_t room = out.size() - produced;
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + produced);
    stream.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream, Z_NO_FLUSH);
    produced += room - stream.avail_out;
    if (produced > limit) return Error(StatusCode::kTooLarge, "message larger than max ({})", limit);
    if (code == Z_STREAM_END) break;
    if (code != Z_OK || (stream.avail_in == 0 && stream.avail_out != 0)) {
      return InvalidParameter("compressed message is damaged");
    }
  }
  if (stream.avail_in != 0) return InvalidParameter("compressed message is followed by {} more bytes", stream.avail_in);
  out.resize(produced);
  return out;
}

Result<std::string> Compress(MessageEncoding encoding, std::string_view bytes) {
  if (encoding == MessageEncoding::kIdentity) return std::string(bytes);
  z_stream stream{};
  constexpr int kMemoryLevel = 8;
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, WindowBits(encoding), kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Error(StatusCode::kMemoryLimit, "no memory to compress a message");
  }
  std::string out(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return Error(StatusCode::kInternal, "compression stopped with zlib code {}", code);
  return out;
}

}  // namespace quiver::api
