#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace quiver {
namespace {

/// The definition, bit by bit.
uint32_t Reference(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

TEST(Crc32cTest, GivesThePublishedValues) {
  EXPECT_EQ(Crc32c(""), 0U);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43U);
}

TEST(Crc32cTest, EqualsTheDefinitionAtAllSizesAndAlignments) {
  std::mt19937 random(1);
  std::string bytes(3 * 8192 * 2 + 2000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  std::vector<size_t> sizes;
  for (size_t size = 0; size < 300; ++size) sizes.push_back(size);
  for (const size_t size : {767, 768, 769, 1536, 3000, 24575, 24576, 24577, 25344, 49152, 50000}) sizes.push_back(size);
  for (const size_t size : sizes) {
    const size_t start = random() % 17;
    const std::string_view piece = std::string_view(bytes).substr(start, size);
    EXPECT_EQ(Crc32c(piece), Reference(piece)) << size;
    EXPECT_EQ(Crc32cPortable(piece.data(), piece.size()), Reference(piece)) << size;
  }
}

TEST(Crc32cTest, ContinuesOverPieces) {
  std::mt19937 random(2);
  std::string bytes(60000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const std::string_view view = bytes;
  for (const size_t cut : {0, 1, 7, 768, 24576, 59999, 60000}) {
    EXPECT_EQ(Crc32c(view.substr(cut), Crc32c(view.substr(0, cut))), Crc32c(view)) << cut;
  }
}

}  // namespace
}  // namespace quiver
