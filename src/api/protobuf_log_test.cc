#include "api/protobuf_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "api/wire.h"
#include "base/logging.h"
#include "collection.pb.h"

namespace quiver::api {
namespace {

using testing::HasSubstr;

class ProtobufLog : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() /
                 fmt::format("quiver_protobuf_log_{}_{}", ::getpid(),
                             testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    RouteProtobufLog();
  }
  void TearDown() override {
    ASSERT_TRUE(log::Configure({}).ok());
    std::filesystem::remove_all(directory_);
  }

  void LogTo(log::Level level) {
    log::Options options;
    options.level = level;
    options.file = (directory_ / "log").string();
    ASSERT_TRUE(log::Configure(options).ok());
  }
  [[nodiscard]] std::string Logged() const {
    std::ifstream in(directory_ / "log", std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  /// Parses messages whose collection_name is not UTF-8; returns what went to standard error meanwhile.
  static std::string ParseInvalid(int times) {
    testing::internal::CaptureStderr();
    for (int i = 0; i < times; ++i) {
      wire::HasCollectionRequest request;
      EXPECT_FALSE(request.ParseFromString("\x1a\x02\xc3\x28"));
    }
    return testing::internal::GetCapturedStderr();
  }

  std::filesystem::path directory_;
};

TEST_F(ProtobufLog, InvalidTextReachesNeitherStandardErrorNorTheUsualLog) {
  LogTo(log::Level::kInfo);
  EXPECT_EQ(ParseInvalid(3), "");
  EXPECT_EQ(Logged(), "");
}

TEST_F(ProtobufLog, DebugLogNamesTheFieldButIsNotFlooded) {
  LogTo(log::Level::kDebug);
  EXPECT_EQ(ParseInvalid(10'000), "");
  const std::string logged = Logged();
  EXPECT_THAT(logged, HasSubstr("HasCollectionRequest.collection_name"));
  const auto lines = std::count(logged.begin(), logged.end(), '\n');
  EXPECT_GE(lines, 1);
  // Ten per second; a slow machine may need several seconds, but not a hundred.
  EXPECT_LE(lines, 1000);
}

}  // namespace
}  // namespace quiver::api
