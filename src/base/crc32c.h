// File: base/crc32c.h
// CRC-32C (Castagnoli), the checksum of everything Quiver stores. Uses the SSE4.2 instruction where the build targets
// it (x86-64-v2), three streams at a time; tables elsewhere. Same values as RFC 3720 and as RocksDB (unmasked). Thread
// rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quiver {

/// Returns the CRC of the bytes behind `crc` (0 to begin), so that pieces can be summed one after another:
/// Crc32c(b, nb, Crc32c(a, na)) == Crc32c(ab, na + nb).
uint32_t Crc32c(const void* data, size_t size, uint32_t crc = 0);
inline uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0) { return Crc32c(bytes.data(), bytes.size(), crc); }

/// The table form, for tests and other processors.
uint32_t Crc32cPortable(const void* data, size_t size, uint32_t crc = 0);

}  // namespace quiver
