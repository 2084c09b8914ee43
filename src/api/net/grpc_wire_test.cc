#include "api/net/grpc_wire.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace quiver::api {
namespace {

using std::chrono::nanoseconds;

TEST(GrpcWire, PrefixRoundTrips) {
  for (const uint32_t length : {0u, 1u, 255u, 256u, 65'536u, 0xfedcba98u}) {
    const auto bytes = EncodeMessagePrefix({1, length});
    EXPECT_EQ(DecodeMessagePrefix(bytes.data()).length, length);
    EXPECT_EQ(DecodeMessagePrefix(bytes.data()).flag, 1);
  }
  EXPECT_EQ(EncodeMessagePrefix({0, 0x01020304}), (std::array<uint8_t, 5>{0, 1, 2, 3, 4}));
}

TEST(GrpcWire, PercentEncodingKeepsPrintableAscii) {
  EXPECT_EQ(PercentEncode("no such collection: a[b=c]"), "no such collection: a[b=c]");
  EXPECT_EQ(PercentEncode("100%\n\x7f"), "100%25%0A%7F");
  EXPECT_EQ(PercentEncode("\xc3\xa9"), "%C3%A9");
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_EQ(PercentDecode(PercentEncode(all)), all);
}

TEST(GrpcWire, PercentDecodingLeavesBrokenEscapes) {
  EXPECT_EQ(PercentDecode("%"), "%");
  EXPECT_EQ(PercentDecode("a%4"), "a%4");
  EXPECT_EQ(PercentDecode("%zz%41"), "%zzA");
}

TEST(GrpcWire, TimeoutUnits) {
  EXPECT_EQ(ParseTimeout("1H"), std::chrono::hours(1));
  EXPECT_EQ(ParseTimeout("2M"), std::chrono::minutes(2));
  EXPECT_EQ(ParseTimeout("3S"), std::chrono::seconds(3));
  EXPECT_EQ(ParseTimeout("4m"), std::chrono::milliseconds(4));
  EXPECT_EQ(ParseTimeout("5u"), std::chrono::microseconds(5));
  EXPECT_EQ(ParseTimeout("99999999n"), nanoseconds(99'999'999));
  EXPECT_EQ(ParseTimeout("99999999H"), nanoseconds::max());
  for (const char* text : {"", "1", "S", "1x", "-1S", "1.5S", "123456789S", " 1S"}) {
    EXPECT_EQ(ParseTimeout(text), std::nullopt) << text;
  }
}

TEST(GrpcWire, TimeoutIsFormattedInTheFinestUnitThatFits) {
  EXPECT_EQ(FormatTimeout(nanoseconds(-5)), "0n");
  EXPECT_EQ(FormatTimeout(nanoseconds(99'999'999)), "99999999n");
  EXPECT_EQ(FormatTimeout(nanoseconds(100'000'001)), "100001u");
  EXPECT_EQ(FormatTimeout(std::chrono::hours(24)), "86400000m");
  EXPECT_EQ(FormatTimeout(nanoseconds::max()), "2562048H");
}

class Compression : public testing::TestWithParam<MessageEncoding> {};

TEST_P(Compression, RoundTripsAtAnySize) {
  for (const size_t size : {0, 1, 4095, 4096, 4097, 1'000'000}) {
    std::string text(size, 'a');
    for (size_t i = 0; i < size; i += 7) text[i] = static_cast<char>(i * 31 % 251);
    const Result<std::string> compressed = Compress(GetParam(), text);
    ASSERT_TRUE(compressed.ok());
    const Result<std::string> back = Decompress(GetParam(), *compressed, size);
    ASSERT_TRUE(back.ok()) << size << back.status().message();
    EXPECT_EQ(*back, text);
  }
}

TEST_P(Compression, StopsAtTheLimit) {
  const Result<std::string> bomb = Compress(GetParam(), std::string(8'000'000, '\0'));
  ASSERT_TRUE(bomb.ok());
  EXPECT_TRUE(Decompress(GetParam(), *bomb, 8'000'000).ok());
  EXPECT_EQ(Decompress(GetParam(), *bomb, 7'999'999).status().code(), StatusCode::kTooLarge);
  EXPECT_EQ(Decompress(GetParam(), *bomb, 10).status().code(), StatusCode::kTooLarge);
}

INSTANTIATE_TEST_SUITE_P(All, Compression,
                         testing::Values(MessageEncoding::kIdentity, MessageEncoding::kGzip,
                                         MessageEncoding::kDeflate));

TEST(GrpcWire, DamagedCompressionIsAnError) {
  const Result<std::string> good = Compress(MessageEncoding::kGzip, "some text that is long enough to be cut");
  ASSERT_TRUE(good.ok());
  for (size_t size = 0; size < good->size(); ++size) {
    EXPECT_EQ(Decompress(MessageEncoding::kGzip, good->substr(0, size), 1000).status().code(),
              StatusCode::kInvalidParameter)
        << size;
  }
  EXPECT_EQ(Decompress(MessageEncoding::kGzip, *good + "x", 1000).status().code(), StatusCode::kInvalidParameter);
  EXPECT_EQ(Decompress(MessageEncoding::kDeflate, *good, 1000).status().code(), StatusCode::kInvalidParameter);
}

TEST(GrpcWire, EncodingNames) {
  EXPECT_EQ(ParseEncoding(""), MessageEncoding::kIdentity);
  EXPECT_EQ(ParseEncoding("identity"), MessageEncoding::kIdentity);
  EXPECT_EQ(ParseEncoding("gzip"), MessageEncoding::kGzip);
  EXPECT_EQ(ParseEncoding("deflate"), MessageEncoding::kDeflate);
  EXPECT_EQ(ParseEncoding("zstd"), std::nullopt);
}

}  // namespace
}  // namespace quiver::api
