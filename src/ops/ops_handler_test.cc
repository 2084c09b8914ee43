#include "ops/ops_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/process_metrics.h"

namespace quiver::ops {
namespace {

using testing::HasSubstr;

api::HttpResponse Ask(const OpsHandler& handler, const char* target, const char* method = "GET") {
  api::HttpRequest request;
  request.method = method;
  request.target = target;
  return handler.Answer(request);
}

TEST(OpsHandler, StartsUnhealthyAndAlive) {
  metrics::Registry registry;
  const OpsHandler handler(registry);
  EXPECT_EQ(Ask(handler, "/healthz").status, 503);
  EXPECT_EQ(Ask(handler, "/readyz").body, "the server is starting");
  EXPECT_EQ(Ask(handler, "/livez").status, 200);
}

TEST(OpsHandler, HealthFollowsTheServer) {
  metrics::Registry registry;
  OpsHandler handler(registry);
  Status now;
  handler.SetHealth([&now] { return now; });
  for (const char* path : {"/healthz", "/readyz", "/livez", "/healthz?verbose=1"}) {
    EXPECT_EQ(Ask(handler, path).status, 200) << path;
    EXPECT_EQ(Ask(handler, path).body, "OK") << path;
  }
  EXPECT_EQ(Ask(handler, "/api/v1/health").body, R"({"status":"ok"})");
  EXPECT_EQ(Ask(handler, "/api/v1/health").content_type, "application/json");
  now = Error(StatusCode::kForceDeny, "fdatasync failed: \"disk\"");
  EXPECT_EQ(Ask(handler, "/healthz").status, 503);
  EXPECT_EQ(Ask(handler, "/healthz").body, "fdatasync failed: \"disk\"");
  EXPECT_EQ(Ask(handler, "/api/v1/health").status, 503);
  EXPECT_EQ(Ask(handler, "/api/v1/health").body, R"({"status":"unhealthy","reason":"fdatasync failed: \"disk\""})");
  EXPECT_EQ(Ask(handler, "/livez").status, 200);
}

TEST(OpsHandler, UnknownPathsAndMethods) {
  metrics::Registry registry;
  const OpsHandler handler(registry);
  EXPECT_EQ(Ask(handler, "/nope").status, 404);
  EXPECT_THAT(Ask(handler, "/nope").body, HasSubstr("/metrics"));
  EXPECT_EQ(Ask(handler, "/healthz", "POST").status, 405);
  EXPECT_EQ(Ask(handler, "/livez", "HEAD").status, 200);
}

TEST(OpsHandler, MetricsShowTheProcess) {
  metrics::Registry registry;
  const Registrations registrations = RegisterProcessMetrics(registry);
  const OpsHandler handler(registry);
  const api::HttpResponse response = Ask(handler, "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(response.body, HasSubstr("# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "));
}

TEST(ProcessStats, AreOfThisProcess) {
  const ProcessStats stats = ReadProcessStats();
  EXPECT_GT(stats.resident_bytes, 1U << 20);
  EXPECT_GT(stats.virtual_bytes, stats.resident_bytes);
  EXPECT_GE(stats.threads, 1U);
  EXPECT_GE(stats.open_fds, 3U);
  EXPECT_GE(stats.max_fds, stats.open_fds);
  EXPECT_GT(stats.start_time_seconds, 1.6e9);
}

TEST(ProcessStats, MemoryOfTheMachineIsKnown) { EXPECT_GT(AvailableMemory(), ReadProcessStats().resident_bytes); }

TEST(DataPort, RootSaysWhatListens) {
  api::HttpRequest request;
  request.method = "GET";
  request.target = "/";
  EXPECT_EQ(AnswerDataPort(request, "1.2").body,
            R"({"name":"quiver","version":"1.2","protocol":"gRPC, milvus.proto.milvus"})");
  request.target = "/v2/vectordb/collections/list";
  EXPECT_EQ(AnswerDataPort(request, "1.2").status, 404);
  EXPECT_THAT(AnswerDataPort(request, "1.2").body, HasSubstr("/v2/vectordb/collections/list"));
  request.target = "/";
  request.method = "DELETE";
  EXPECT_EQ(AnswerDataPort(request, "1.2").status, 405);
}

}  // namespace
}  // namespace quiver::ops
