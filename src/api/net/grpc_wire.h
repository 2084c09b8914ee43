// File: api/net/grpc_wire.h
// The parts of the gRPC wire format above HTTP/2: message prefix, timeouts, error texts, compression.
// Thread rule: pure functions.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace quiver::api {

/// Every message is preceded by one byte (1 = compressed) and its length as 32 bits, big endian.
constexpr size_t kMessagePrefixBytes = 5;

struct MessagePrefix {
  uint8_t flag = 0;
  uint32_t length = 0;
};

std::array<uint8_t, kMessagePrefixBytes> EncodeMessagePrefix(MessagePrefix prefix);
MessagePrefix DecodeMessagePrefix(const uint8_t* bytes);

/// Encodes an error text for `grpc-message`: bytes outside 0x20..0x7e and '%' become %XX.
std::string PercentEncode(std::string_view text);

/// Decodes `grpc-message`; an escape that is not one stays as it stands.
std::string PercentDecode(std::string_view text);

/// Parses `grpc-timeout`: 1 to 8 digits and a unit H, M, S, m, u or n. Nothing if it is malformed.
std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text);

/// Formats a timeout for `grpc-timeout`, rounded up to the finest unit that fits in 8 digits.
std::string FormatTimeout(std::chrono::nanoseconds timeout);

/// What `grpc-encoding` can say.
enum class MessageEncoding : uint8_t { kIdentity, kGzip, kDeflate };

/// Returns the encoding of that name ("" is identity), or nothing if we do not know it.
std::optional<MessageEncoding> ParseEncoding(std::string_view name);

/// Decompresses a message. kTooLarge if the result would pass `limit` bytes (no more than that is ever held),
/// kInvalidParameter if the bytes are damaged, cut off, or followed by others.
Result<std::string> Decompress(MessageEncoding encoding, std::string_view bytes, size_t limit);

/// Compresses a message.
Result<std::string> Compress(MessageEncoding encoding, std::string_view bytes);

}  // namespace quiver::api
