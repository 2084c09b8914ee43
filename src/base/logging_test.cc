#include "base/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace quiver::log {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class LoggingTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::temp_directory_path() /
        fmt::format("quiver_logging_{}_{}", ::getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(directory_);
    options_.file = (directory_ / "log").string();
  }
  void TearDown() override {
    ASSERT_TRUE(Configure({}).ok());
    std::filesystem::remove_all(directory_);
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  std::filesystem::path directory_;
  Options options_;
};

TEST_F(LoggingTest, TextLinesHoldTimeLevelAndFields) {
  ASSERT_TRUE(Configure(options_).ok());
  QUIVER_LOG(info, "listening on {}:{}", "host", 1);
  Write(Level::kWarn, "slow", {{"collection", "my docs"}, {"ms", "12"}});
  QUIVER_LOG(debug, "not shown");
  EXPECT_THAT(Read(options_.file),
              MatchesRegex("[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z info  \\[[0-9]+\\] listening on host:1\n"
                           "[^\n]* warn  \\[[0-9]+\\] slow collection=\"my docs\" ms=12\n"));
}

TEST_F(LoggingTest, JsonLinesEscapeEverything) {
  options_.json = true;
  ASSERT_TRUE(Configure(options_).ok());
  Write(Level::kError, "a \"b\"\\\n\x01", {{"k", "v\t"}});
  EXPECT_THAT(Read(options_.file), HasSubstr(R"("message":"a \"b\"\\\u000a\u0001","k":"v\u0009"})"));
}

TEST_F(LoggingTest, OneEventIsOneLine) {
  ASSERT_TRUE(Configure(options_).ok());
  QUIVER_LOG(info, "{}", "first\n2026-01-01T00:00:00.000Z error forged");
  const std::string text = Read(options_.file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text, HasSubstr("first\\x0a2026"));
}

TEST_F(LoggingTest, SecretsAreBlanked) {
  ASSERT_TRUE(Configure(options_).ok());
  Write(Level::kInfo, "login", {{"user", "root"}, {"password", "Milvus"}, {"authorization", "cm9vdDpNaWx2dXM="}});
  const std::string text = Read(options_.file);
  EXPECT_THAT(text, HasSubstr("user=root password=*** authorization=***"));
  EXPECT_EQ(text.find("Milvus"), std::string::npos);
}

TEST_F(LoggingTest, ArgumentsAreNotEvaluatedBelowTheLevel) {
  options_.level = Level::kWarn;
  ASSERT_TRUE(Configure(options_).ok());
  int calls = 0;
  const auto count = [&calls] { return ++calls; };
  QUIVER_LOG(info, "{}", count());
  EXPECT_EQ(calls, 0);
  QUIVER_LOG(warn, "{}", count());
  EXPECT_EQ(calls, 1);
}

TEST_F(LoggingTest, RotatesBySizeAndKeepsSomeFiles) {
  options_.max_file_bytes = 1000;
  options_.max_files = 2;
  ASSERT_TRUE(Configure(options_).ok());
  for (int i = 0; i < 100; ++i) QUIVER_LOG(info, "line number {:04}", i);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    EXPECT_LE(entry.file_size(), 1000U) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 3U);
  EXPECT_THAT(Read(options_.file), HasSubstr("line number 0099"));
  EXPECT_EQ(Read(options_.file + ".2").find("line number 0000"), std::string::npos) << "the oldest lines are gone";
}

TEST_F(LoggingTest, ReopenFollowsTheName) {
  ASSERT_TRUE(Configure(options_).ok());
  QUIVER_LOG(info, "before");
  std::filesystem::rename(options_.file, options_.file + ".moved");
  QUIVER_LOG(info, "to the moved file");
  ASSERT_TRUE(Reopen().ok());
  QUIVER_LOG(info, "after");
  EXPECT_THAT(Read(options_.file + ".moved"), HasSubstr("to the moved file"));
  EXPECT_THAT(Read(options_.file), HasSubstr("after"));
  EXPECT_EQ(Read(options_.file).find("before"), std::string::npos);
}

TEST_F(LoggingTest, BadFileIsAnErrorAndTheOldLogStays) {
  ASSERT_TRUE(Configure(options_).ok());
  Options bad;
  bad.file = (directory_ / "missing" / "log").string();
  EXPECT_EQ(Configure(bad).code(), StatusCode::kIo);
  QUIVER_LOG(info, "still here");
  EXPECT_THAT(Read(options_.file), HasSubstr("still here"));
}

TEST_F(LoggingTest, LinesOfManyThreadsDoNotMix) {
  ASSERT_TRUE(Configure(options_).ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) QUIVER_LOG(info, "{}", std::string(50, static_cast<char>('a' + t)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(Read(options_.file));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::string tail = line.substr(line.size() - 50);
    EXPECT_EQ(tail, std::string(50, tail[0]));
  }
  EXPECT_EQ(count, 2000);
}

TEST(LogLevels, ParseByName) {
  EXPECT_EQ(ParseLevel("warn"), Level::kWarn);
  EXPECT_EQ(ParseLevel("off"), Level::kOff);
  EXPECT_EQ(ParseLevel("loud"), std::nullopt);
}

}  // namespace
}  // namespace quiver::log
