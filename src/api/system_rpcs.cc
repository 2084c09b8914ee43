// Connections, version, health, metrics, timestamps, resource groups.

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "api/handlers.h"
#include "operation.pb.h"
#include "rg.pb.h"
#include "schema/index_params.h"
#include "text/analyzer.h"

namespace quiver::api {
namespace {

constexpr std::string_view kDefaultResourceGroup = "__default_resource_group";
/// The one node that a standalone server is.
constexpr int64_t kNodeId = 1;

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

void Put(JsonWriter& json, const char* key, std::string_view value) {
  json.Key(key);
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void Put(JsonWriter& json, const char* key, uint64_t value) {
  json.Key(key);
  json.Uint64(value);
}

}  // namespace

Status Handlers::Connect(const wire::ConnectRequest&, wire::ConnectResponse* response, const RpcCall& call) {
  if (const std::string_view db = call.header("dbname"); !db.empty()) {
    QUIVER_RETURN_IF_ERROR(engine_.DescribeDatabase(std::string(db)).status());
  }
  auto* server = response->mutable_server_info();
  server->set_build_tags(options_.version);
  server->set_build_time(options_.build_time);
  server->set_git_commit(options_.git_commit);
  server->set_deploy_mode("STANDALONE");
  response->set_identifier(static_cast<int64_t>(engine_.AllocateTimestamp()));
  return Status::Ok();
}

Status Handlers::GetVersion(const wire::GetVersionRequest&, wire::GetVersionResponse* response, const RpcCall&) {
  response->set_version(options_.version);
  return Status::Ok();
}

Status Handlers::CheckHealth(const wire::CheckHealthRequest&, wire::CheckHealthResponse* response, const RpcCall&) {
  const Status health = engine_.health();
  response->set_ishealthy(health.ok());
  if (!health.ok()) {
    response->add_reasons(health.message());
    response->add_quota_states(wire::QuotaState::DenyToWrite);
  }
  return Status::Ok();
}

Status Handlers::AllocTimestamp(const wire::AllocTimestampRequest&, wire::AllocTimestampResponse* response,
                                const RpcCall&) {
  response->set_timestamp(engine_.AllocateTimestamp());
  return Status::Ok();
}

Status Handlers::GetComponentStates(const wire::GetComponentStatesRequest&, wire::ComponentStates* response,
                                    const RpcCall&) {
  auto* state = response->mutable_state();
  state->set_nodeid(kNodeId);
  state->set_role("standalone");
  state->set_state_code(engine_.health().ok() ? wire::common::Healthy : wire::common::Abnormal);
  return Status::Ok();
}

Status Handlers::GetMetrics(const wire::GetMetricsRequest& request, wire::GetMetricsResponse* response,
                            const RpcCall&) {
  if (request.request().find("system_info") == std::string::npos) {
    return Error(StatusCode::kUnimplemented, "metric type is not supported yet, request: {}", request.request());
  }
  const engine::EngineStatistics statistics = engine_.statistics();
  const std::string name = "standalone" + std::to_string(kNodeId);
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json.Key("nodes_info");
  json.StartArray();
  json.StartObject();
  Put(json, "identifier", static_cast<uint64_t>(kNodeId));
  json.Key("connected");
  json.StartArray();
  json.EndArray();
  json.Key("infos");
  json.StartObject();
  json.Key("has_error");
  json.Bool(false);
  Put(json, "error_reason", "");
  Put(json, "name", name);
  json.Key("hardware_infos");
  json.StartObject();
  Put(json, "ip", HostName());
  Put(json, "cpu_core_count", static_cast<uint64_t>(AvailableCores()));
  const auto pages = sysconf(_SC_PHYS_PAGES);
  const auto page_size = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page_size > 0) Put(json, "memory", static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_size));
  json.EndObject();
  json.Key("system_info");
  json.StartObject();
  Put(json, "system_version", options_.version);
  Put(json, "deploy_mode", "STANDALONE");
  Put(json, "created_time",
      fmt::format("{}", std::chrono::duration_cast<std::chrono::seconds>(started_.time_since_epoch()).count()));
  json.EndObject();
  Put(json, "type", "standalone");
  Put(json, "id", static_cast<uint64_t>(kNodeId));
  json.Key("quota_metrics");
  json.StartObject();
  Put(json, "collections", statistics.collections);
  Put(json, "rows", statistics.rows);
  Put(json, "growing_bytes", statistics.memory_bytes[static_cast<size_t>(MemoryConsumer::kGrowing)]);
  Put(json, "sealed_bytes", statistics.sealed_bytes);
  Put(json, "log_bytes", statistics.log_bytes);
  json.EndObject();
  json.EndObject();
  json.EndObject();
  json.EndArray();
  json.EndObject();
  response->set_response(buffer.GetString(), buffer.GetSize());
  response->set_component_name(name);
  return Status::Ok();
}

Status Handlers::ListResourceGroups(const wire::ListResourceGroupsRequest&, wire::ListResourceGroupsResponse* response,
                                    const RpcCall&) {
  response->add_resource_groups(kDefaultResourceGroup.data(), kDefaultResourceGroup.size());
  return Status::Ok();
}

Status Handlers::DescribeResourceGroup(const wire::DescribeResourceGroupRequest& request,
                                       wire::DescribeResourceGroupResponse* response, const RpcCall&) {
  if (request.resource_group() != kDefaultResourceGroup) {
    return Error(StatusCode::kResourceGroupNotFound, "resource group not found[rg={}]", request.resource_group());
  }
  auto* group = response->mutable_resource_group();
  group->set_name(request.resource_group());
  group->set_capacity(1);
  group->set_num_available_node(1);
  for (const engine::DatabaseInfo& database : engine_.ListDatabases()) {
    const auto collections = engine_.ListCollections(database.name);
    if (!collections.ok()) continue;  // dropped meanwhile
    for (const auto& info : *collections) {
      if (info->load.any()) (*group->mutable_num_loaded_replica())[info->name()] = info->load.replica_number;
    }
  }
  group->mutable_config()->mutable_requests()->set_node_num(1);
  group->mutable_config()->mutable_limits()->set_node_num(1);
  auto* node = group->add_nodes();
  node->set_node_id(kNodeId);
  node->set_hostname(HostName());
  return Status::Ok();
}

Status Handlers::RunAnalyzer(const wire::RunAnalyzerRequest& request, wire::RunAnalyzerResponse* response,
                             const RpcCall&) {
  if (request.with_hash()) return Error(StatusCode::kUnimplemented, "with_hash in RunAnalyzer is not supported yet");
  if (request.analyzer_names_size() > 0) {
    return Error(StatusCode::kUnimplemented, "analyzer_names in RunAnalyzer are not supported yet");
  }
  std::string params = request.analyzer_params();
  if (!request.collection_name().empty()) {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
    const auto info = collection->info();
    const FieldSchema* field = info->schema->Find(request.field_name());
    if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", request.field_name());
    const std::string* enabled = FindValue(field->type_params, "enable_analyzer");
    if (enabled == nullptr || !ParseBool(*enabled).value_or(false)) {
      return InvalidParameter("field {} does not enable analyzer: invalid parameter", request.field_name());
    }
    const std::string* of_field = FindValue(field->type_params, "analyzer_params");
    params = of_field == nullptr ? "" : *of_field;
  }
  QUIVER_ASSIGN_OR_RETURN(const auto analyzer, text::Analyzer::Create(params));
  std::vector<text::Token> tokens;
  for (const std::string& text : request.placeholder()) {
    analyzer->Analyze(text, &tokens);
    auto* result = response->add_results();
    for (text::Token& token : tokens) {
      auto* shown = result->add_tokens();
      shown->set_token(std::move(token.text));
      if (!request.with_detail()) continue;
      shown->set_start_offset(static_cast<int64_t>(token.begin));
      shown->set_end_offset(static_cast<int64_t>(token.end));
      shown->set_position(token.position);
      shown->set_position_length(1);
    }
  }
  return Status::Ok();
}

void Handlers::AddSystemMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("Connect", Lane::kAtOnce, self, &Handlers::Connect));
  out->push_back(Sync("RunAnalyzer", Lane::kControl, self, &Handlers::RunAnalyzer));
  out->push_back(Sync("GetVersion", Lane::kAtOnce, self, &Handlers::GetVersion));
  out->push_back(Sync("CheckHealth", Lane::kAtOnce, self, &Handlers::CheckHealth));
  out->push_back(Sync("AllocTimestamp", Lane::kAtOnce, self, &Handlers::AllocTimestamp));
  out->push_back(Sync("GetComponentStates", Lane::kAtOnce, self, &Handlers::GetComponentStates));
  out->push_back(Sync("GetMetrics", Lane::kAtOnce, self, &Handlers::GetMetrics));
  out->push_back(Sync("ListResourceGroups", Lane::kAtOnce, self, &Handlers::ListResourceGroups));
  out->push_back(Sync("DescribeResourceGroup", Lane::kAtOnce, self, &Handlers::DescribeResourceGroup));
}

}  // namespace quiver::api
