// File: base/crc32c.cc
#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace quiver {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

using ByteTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr ByteTables MakeByteTables() {
  ByteTables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t i = 1; i < 8; ++i) {
      const uint32_t below = tables[i - 1][byte];
      tables[i][byte] = (below >> 8) ^ tables[0][below & 0xFF];
    }
  }
  return tables;
}

constexpr ByteTables kByteTables = MakeByteTables();

#if defined(__SSE4_2__)

// A CRC register behind which n zero bytes pass is a linear map of the register over GF(2). Its table form lets three
// independent streams be computed at once (the instruction takes 3 cycles, but a new one can begin in each cycle) and
// joined: crc(ABC) = shift(shift(crc(A)) ^ crc(B)) ^ crc(C).
using Matrix = std::array<uint32_t, 32>;
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr uint32_t Multiply(const Matrix& matrix, uint32_t vector) {
  uint32_t sum = 0;
  for (size_t i = 0; vector != 0; ++i, vector >>= 1) {
    if ((vector & 1) != 0) sum ^= matrix[i];
  }
  return sum;
}

/// Makes the table for `bytes` zero bytes; a power of two.
constexpr ShiftTable MakeShiftTable(size_t bytes) {
  Matrix matrix{};  // one zero bit
  matrix[0] = kPolynomial;
  for (size_t i = 1; i < 32; ++i) matrix[i] = uint32_t{1} << (i - 1);
  for (size_t bits = 1; bits < bytes * 8; bits *= 2) {
    Matrix square{};
    for (size_t i = 0; i < 32; ++i) square[i] = Multiply(matrix, matrix[i]);
    matrix = square;
  }
  ShiftTable table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (uint32_t i = 0; i < 4; ++i) table[i][byte] = Multiply(matrix, byte << (8 * i));
  }
  return table;
}

constexpr size_t kLongBlock = 8192;
constexpr size_t kShortBlock = 256;
constexpr ShiftTable kLongShift = MakeShiftTable(kLongBlock);
constexpr ShiftTable kShortShift = MakeShiftTable(kShortBlock);

uint64_t Shift(const ShiftTable& table, uint64_t crc) {
  return table[0][crc & 0xFF] ^ table[1][(crc >> 8) & 0xFF] ^ table[2][(crc >> 16) & 0xFF] ^
         table[3][(crc >> 24) & 0xFF];
}

uint64_t Load(const unsigned char* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

/// Consumes as many runs of three blocks as fit.
template <size_t kBlock>
uint64_t ThreeStreams(const unsigned char*& bytes, size_t& size, uint64_t crc0, const ShiftTable& table) {
  while (size >= 3 * kBlock) {
    uint64_t crc1 = 0;
    uint64_t crc2 = 0;
    const unsigned char* end = bytes + kBlock;
    do {
      crc0 = _mm_crc32_u64(crc0, Load(bytes));
      crc1 = _mm_crc32_u64(crc1, Load(bytes + kBlock));
      crc2 = _mm_crc32_u64(crc2, Load(bytes + 2 * kBlock));
      bytes += 8;
    } while (bytes < end);
    crc0 = Shift(table, crc0) ^ crc1;
    crc0 = Shift(table, crc0) ^ crc2;
    bytes += 2 * kBlock;
    size -= 3 * kBlock;
  }
  return crc0;
}

#endif

}  // namespace

uint32_t Crc32cPortable(const void* data, size_t size, uint32_t crc) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  const ByteTables& t = kByteTables;
  crc = ~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    const uint32_t low =
        crc ^ (uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24);
    crc = t[7][low & 0xFF] ^ t[6][(low >> 8) & 0xFF] ^ t[5][(low >> 16) & 0xFF] ^ t[4][low >> 24] ^ t[3][bytes[4]] ^
          t[2][bytes[5]] ^ t[1][bytes[6]] ^ t[0][bytes[7]];
  }
  for (; size > 0; --size, ++bytes) crc = (crc >> 8) ^ t[0][(crc ^ *bytes) & 0xFF];
  return ~crc;
}

uint32_t Crc32c(const void* data, size_t size, uint32_t crc) {
#if defined(__SSE4_2__)
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint64_t state = ~crc;
  state = ThreeStreams<kLongBlock>(bytes, size, state, kLongShift);
  state = ThreeStreams<kShortBlock>(bytes, size, state, kShortShift);
  for (; size >= 8; size -= 8, bytes += 8) state = _mm_crc32_u64(state, Load(bytes));
  auto state32 = static_cast<uint32_t>(state);
  for (; size > 0; --size, ++bytes) state32 = _mm_crc32_u8(state32, *bytes);
  return ~state32;
#else
  return Crc32cPortable(data, size, crc);
#endif
}

}  // namespace quiver
