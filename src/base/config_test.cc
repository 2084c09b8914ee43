#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace quiver {
namespace {

using testing::HasSubstr;

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() / fmt::format("quiver_config_{}.yaml", ::getpid())).string();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  // The error of loading with a file of this text.
  std::string FileFault(const std::string& text) {
    Write(text);
    const Result<Config> config = Config::Load({"--config", path_}, {});
    return config.ok() ? "" : config.status().message();
  }
  std::string path_;
};

std::string FlagFault(const std::vector<std::string>& arguments) {
  const Result<Config> config = Config::Load(arguments, {});
  return config.ok() ? "" : config.status().message();
}

TEST_F(ConfigTest, DefaultsStandWhenNothingIsSaid) {
  const Result<Config> config = Config::Load({}, {"PATH=/bin", "HOME=/"});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->host, "127.0.0.1");
  EXPECT_EQ(config->port, 19530);
  EXPECT_EQ(config->ops_port, 9091);
  EXPECT_EQ(config->durability, "sync");
  EXPECT_FALSE(config->auto_load);
  EXPECT_EQ(config->max_message_bytes, 64 << 20);
  EXPECT_EQ(config->sources.at("port"), "default");
}

TEST_F(ConfigTest, FlagsBeatEnvironmentBeatsFileBeatsDefaults) {
  Write("port: 1\nhost: file\ndata: /file\nlog:\n  level: debug\n");
  const std::vector<std::string> environment{"QUIVER_PORT=2", "QUIVER_HOST=environment"};
  const Result<Config> config = Config::Load({"--config=" + path_, "--port", "3"}, environment);
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->port, 3);
  EXPECT_EQ(config->host, "environment");
  EXPECT_EQ(config->data_dir, "/file");
  EXPECT_EQ(config->log_level, "debug");
  EXPECT_EQ(config->log_format, "text");
  EXPECT_EQ(config->sources.at("port"), "flag");
  EXPECT_EQ(config->sources.at("host"), "environment");
  EXPECT_EQ(config->sources.at("data"), "file");
}

TEST_F(ConfigTest, TheFileMayBeNamedByTheEnvironment) {
  Write("port: 77\n");
  const Result<Config> config = Config::Load({}, {"QUIVER_CONFIG=" + path_});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->port, 77);
}

TEST_F(ConfigTest, DashesUnderscoresAndDotsNestAndMatch) {
  EXPECT_EQ(Config::Load({"--ops-port=1"}, {})->ops_port, 1);
  EXPECT_EQ(Config::Load({"--ops_port=1"}, {})->ops_port, 1);
  EXPECT_EQ(Config::Load({"--segment.seal-bytes=2MB"}, {})->segment_seal_bytes, 2 << 20);
  EXPECT_EQ(Config::Load({}, {"QUIVER_SEGMENT_SEAL_BYTES=3MiB"})->segment_seal_bytes, 3 << 20);
  Write("segment.seal_bytes: 4194304\nops-port: 5\ncompat:\n  auto_load: true\n");
  const Result<Config> config = Config::Load({"--config", path_}, {});
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->segment_seal_bytes, 4 << 20);
  EXPECT_EQ(config->ops_port, 5);
  EXPECT_TRUE(config->auto_load);
}

TEST_F(ConfigTest, UnknownNamesNameTheNearest) {
  EXPECT_THAT(FlagFault({"--prot=1"}), HasSubstr("unknown flag --prot; did you mean --port?"));
  EXPECT_THAT(FlagFault({"--level=debug"}), HasSubstr("did you mean --log.level?"));
  EXPECT_THAT(FlagFault({"--ops-prt", "1"}), HasSubstr("did you mean --ops-port?"));
  EXPECT_THAT(FileFault("log:\n  levle: debug\n"),
              HasSubstr(":2: log.levle: unknown setting; did you mean log.level?"));
  EXPECT_THAT(Config::Load({}, {"QUIVER_PRT=1"}).status().message(),
              HasSubstr("unknown environment variable QUIVER_PRT; did you mean QUIVER_PORT?"));
  EXPECT_TRUE(Config::Load({}, {"QUIVER_CACHE=/tmp"}).ok()) << "belongs to the repository's tools";
}

TEST_F(ConfigTest, WrongValuesNameKeyValueAndWhatIsExpected) {
  EXPECT_EQ(FlagFault({"--port=abc"}), "--port: 'abc' is not a whole number, 0 to 65535");
  EXPECT_THAT(FlagFault({"--port=70000"}), HasSubstr("'70000' is not"));
  EXPECT_THAT(FlagFault({"--port=12x"}), HasSubstr("'12x' is not"));
  EXPECT_THAT(FlagFault({"--port="}), HasSubstr("'' is not"));
  EXPECT_EQ(FlagFault({"--log.level=loud"}), "--log.level: 'loud' is not one of trace|debug|info|warn|error|off");
  EXPECT_THAT(FlagFault({"--durability=none"}), HasSubstr("one of sync|async"));
  EXPECT_EQ(Config::Load({}, {"QUIVER_SIMD=sse9"}).status().message(),
            "QUIVER_SIMD: 'sse9' is not one of auto|baseline|avx2|avx512|avx512popcnt");
  EXPECT_THAT(FlagFault({"--memory.limit=2PB"}), HasSubstr("bytes such as"));
  EXPECT_THAT(FlagFault({"--memory.limit=9223372036854775807G"}), HasSubstr("bytes such as"));
  EXPECT_THAT(FlagFault({"--compat.auto-load=maybe"}), HasSubstr("true or false"));
  EXPECT_THAT(FlagFault({"--port"}), HasSubstr("--port needs a value"));
  EXPECT_THAT(FlagFault({"serve"}), HasSubstr("unexpected argument 'serve'"));
  EXPECT_THAT(FileFault("port: [1, 2]\n"), HasSubstr(":1: port: a list is not a whole number"));
  EXPECT_THAT(FileFault("- port\n"), HasSubstr("'name: value'"));
  EXPECT_THAT(FileFault("port: 1\n  bad: [\n"), HasSubstr(path_ + ":"));
  EXPECT_THAT(FileFault("config: other.yaml\n"), HasSubstr("not allowed in a file"));
  EXPECT_EQ(Config::Load({"--config=/no/such/file"}, {}).status().code(), StatusCode::kIo);
}

TEST_F(ConfigTest, SwitchesMayStandAlone) {
  EXPECT_TRUE(Config::Load({"--compat.auto-load"}, {})->auto_load);
  EXPECT_TRUE(Config::Load({"--compat.auto-load", "--port=1"}, {})->auto_load);
  EXPECT_FALSE(Config::Load({"--compat.auto-load", "false"}, {})->auto_load);
}

TEST_F(ConfigTest, UnitsOfSizesAndTimes) {
  EXPECT_EQ(Config::Load({"--memory.limit=2GB"}, {})->memory_limit_bytes, 2LL << 30);
  EXPECT_EQ(Config::Load({"--memory.limit=512 MiB"}, {})->memory_limit_bytes, 512LL << 20);
  EXPECT_EQ(Config::Load({"--shutdown.grace=5s"}, {})->shutdown_grace_ms, 5000);
  EXPECT_EQ(Config::Load({"--shutdown.grace=250"}, {})->shutdown_grace_ms, 250);
}

TEST_F(ConfigTest, HelpListsEveryOptionWithItsDefault) {
  const std::string help = Config::Help();
  const Result<Config> config = Config::Load({}, {});
  for (const auto& [name, source] : config->sources) {
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    EXPECT_THAT(help, HasSubstr(flag + " <"));
  }
  EXPECT_THAT(help, HasSubstr("default: 19530; environment: QUIVER_PORT"));
  EXPECT_THAT(help, HasSubstr("default: 128MB; environment: QUIVER_SEGMENT_SEAL_BYTES"));
  EXPECT_THAT(config->Describe(), HasSubstr("port = 19530 (default)\n"));
}

}  // namespace
}  // namespace quiver
