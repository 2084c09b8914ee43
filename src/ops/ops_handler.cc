#include "ops/ops_handler.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <utility>

namespace quiver::ops {

namespace {

constexpr std::string_view kPaths = "/healthz, /readyz, /livez, /api/v1/health, /metrics";

/// {"a":"b",...}
std::string JsonObject(std::initializer_list<std::pair<std::string_view, std::string_view>> members) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  for (const auto& [key, value] : members) {
    writer.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  }
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

bool IsRead(const api::HttpRequest& request) { return request.method == "GET" || request.method == "HEAD"; }

api::HttpResponse NotAllowed() {
  api::HttpResponse response;
  response.status = 405;
  response.body = "method not allowed\n";
  response.headers.emplace_back("Allow", "GET, HEAD");
  return response;
}

}  // namespace

OpsHandler::OpsHandler(metrics::Registry& registry)
    : registry_(registry), health_([] { return Error(StatusCode::kNotReady, "the server is starting"); }) {}

void OpsHandler::SetHealth(std::function<Status()> health) {
  const std::lock_guard lock(mutex_);
  health_ = std::move(health);
}

Status OpsHandler::Health() const {
  const std::lock_guard lock(mutex_);
  return health_();
}

void OpsHandler::Handle(const std::shared_ptr<api::HttpCall>& call) const { call->Finish(Answer(call->request())); }

api::HttpResponse OpsHandler::Answer(const api::HttpRequest& request) const {
  api::HttpResponse response;
  const std::string_view path = request.path();
  const bool json = path == "/api/v1/health";
  const bool health = path == "/healthz" || path == "/readyz" || json;
  if (!health && path != "/livez" && path != "/metrics") {
    response.status = 404;
    response.body = fmt::format("no such path: {}; served here: {}\n", path, kPaths);
    return response;
  }
  if (!IsRead(request)) return NotAllowed();

  if (path == "/metrics") {
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = registry_.Text();
    return response;
  }
  const Status status = health ? Health() : Status::Ok();
  response.status = status.ok() ? 200 : 503;
  if (json) {
    response.content_type = "application/json";
    response.body = status.ok() ? JsonObject({{"status", "ok"}})
                                : JsonObject({{"status", "unhealthy"}, {"reason", status.message()}});
  } else {
    response.body = status.ok() ? "OK" : status.message();
  }
  return response;
}

api::HttpResponse AnswerDataPort(const api::HttpRequest& request, const std::string& version) {
  api::HttpResponse response;
  response.content_type = "application/json";
  if (request.path() != "/") {
    response.status = 404;
    response.body = JsonObject({{"message", fmt::format("no such path: {}", request.path())}});
    return response;
  }
  if (!IsRead(request)) {
    response = NotAllowed();
    return response;
  }
  response.body = JsonObject({{"name", "quiver"}, {"version", version}, {"protocol", "gRPC, milvus.proto.milvus"}});
  return response;
}

}  // namespace quiver::ops
