#include "load/milvus_messages.h"

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "milvus.pb.h"

namespace quiver::bench {

namespace {

namespace milvus = ::milvus::proto::milvus;
namespace common = ::milvus::proto::common;
namespace schema = ::milvus::proto::schema;

constexpr std::string_view kServicePrefix = "/milvus.proto.milvus.MilvusService/";
constexpr const char* kKeyField = "id";
constexpr const char* kVectorField = "vector";

std::string StatusProblem(const common::Status& status) {
  if (status.code() == 0 && status.error_code() == common::Success) return {};
  return fmt::format("code {}: {}", status.code(), status.reason());
}

const common::Status& StatusOf(const common::Status& reply) { return reply; }
template <typename Reply>
const common::Status& StatusOf(const Reply& reply) {
  return reply.status();
}

template <typename Reply>
std::string Parse(const api::GrpcReply& reply, Reply* parsed) {
  if (reply.code != api::GrpcCode::kOk) {
    return fmt::format("gRPC code {}: {}", static_cast<int>(reply.code), reply.error);
  }
  if (!parsed->ParseFromString(reply.message)) return "the reply is not protobuf";
  return StatusProblem(StatusOf(*parsed));
}

template <typename Reply, typename Request>
Result<Reply> Call(api::GrpcClient& client, const std::string& method, const Request& request) {
  const std::string name = std::string(kServicePrefix) + method;
  const std::string message = request.SerializeAsString();
  Reply parsed;
  const std::string problem = Parse(client.Call({.method = name, .message = message}), &parsed);
  if (!problem.empty()) return Error(StatusCode::kInternal, "{}: {}", method, problem);
  return parsed;
}

template <typename List>
void AddPair(List* list, const char* key, const std::string& value) {
  auto* const pair = list->Add();
  pair->set_key(key);
  pair->set_value(value);
}

std::vector<float> RandomVectors(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

}  // namespace

Status MakeCollection(api::GrpcClient& client, const std::string& name, int dim) {
  QUIVER_RETURN_IF_ERROR(DropCollection(client, name));
  schema::CollectionSchema collection;
  collection.set_name(name);
  schema::FieldSchema* const key = collection.add_fields();
  key->set_fieldid(100);
  key->set_name(kKeyField);
  key->set_is_primary_key(true);
  key->set_autoid(true);
  key->set_data_type(schema::Int64);
  schema::FieldSchema* const vector = collection.add_fields();
  vector->set_fieldid(101);
  vector->set_name(kVectorField);
  vector->set_data_type(schema::FloatVector);
  AddPair(vector->mutable_type_params(), "dim", std::to_string(dim));

  milvus::CreateCollectionRequest create;
  create.set_collection_name(name);
  create.set_schema(collection.SerializeAsString());
  create.set_shards_num(1);
  QUIVER_RETURN_IF_ERROR((Call<common::Status>(client, "CreateCollection", create)).status());

  milvus::CreateIndexRequest index;
  index.set_collection_name(name);
  index.set_field_name(kVectorField);
  AddPair(index.mutable_extra_params(), "index_type", "FLAT");
  AddPair(index.mutable_extra_params(), "metric_type", "L2");
  QUIVER_RETURN_IF_ERROR((Call<common::Status>(client, "CreateIndex", index)).status());

  milvus::LoadCollectionRequest load;
  load.set_collection_name(name);
  load.set_replica_number(1);
  QUIVER_RETURN_IF_ERROR((Call<common::Status>(client, "LoadCollection", load)).status());
  milvus::GetLoadingProgressRequest progress;
  progress.set_collection_name(name);
  constexpr int kComplete = 100;
  while (true) {
    QUIVER_ASSIGN_OR_RETURN(const auto answer,
                            (Call<milvus::GetLoadingProgressResponse>(client, "GetLoadingProgress", progress)));
    if (answer.progress() >= kComplete) return Status::Ok();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the interval of polling
  }
}

Status DropCollection(api::GrpcClient& client, const std::string& name) {
  milvus::DropCollectionRequest drop;
  drop.set_collection_name(name);
  return Call<common::Status>(client, "DropCollection", drop).status();
}

Result<int64_t> CountRows(api::GrpcClient& client, const std::string& name) {
  milvus::QueryRequest query;
  query.set_collection_name(name);
  query.add_output_fields("count(*)");
  query.set_consistency_level(common::Strong);
  QUIVER_ASSIGN_OR_RETURN(const auto answer, (Call<milvus::QueryResults>(client, "Query", query)));
  if (answer.fields_data_size() != 1 || answer.fields_data(0).scalars().long_data().data_size() != 1) {
    return Error(StatusCode::kInternal, "Query: no count in the reply");
  }
  return answer.fields_data(0).scalars().long_data().data(0);
}

std::string InsertMessage(const std::string& collection, int dim, int rows, uint64_t seed) {
  const std::vector<float> values = RandomVectors(static_cast<size_t>(dim) * static_cast<size_t>(rows), seed);
  milvus::InsertRequest insert;
  insert.set_collection_name(collection);
  insert.set_num_rows(static_cast<uint32_t>(rows));
  schema::FieldData* const field = insert.add_fields_data();
  field->set_field_name(kVectorField);
  field->set_type(schema::FloatVector);
  field->mutable_vectors()->set_dim(dim);
  field->mutable_vectors()->mutable_float_vector()->mutable_data()->Assign(values.begin(), values.end());
  return insert.SerializeAsString();
}

std::string SearchMessage(const std::string& collection, int dim, int nq, int limit, uint64_t seed) {
  const std::vector<float> values = RandomVectors(static_cast<size_t>(dim) * static_cast<size_t>(nq), seed);
  common::PlaceholderGroup group;
  common::PlaceholderValue* const placeholder = group.add_placeholders();
  placeholder->set_tag("$0");
  placeholder->set_type(common::FloatVector);
  const size_t row_bytes = static_cast<size_t>(dim) * sizeof(float);
  for (size_t i = 0; i < static_cast<size_t>(nq); ++i) {
    placeholder->add_values(values.data() + i * static_cast<size_t>(dim), row_bytes);
  }
  // As pymilvus sends it.
  milvus::SearchRequest search;
  search.set_collection_name(collection);
  search.set_dsl_type(common::BoolExprV1);
  search.set_placeholder_group(group.SerializeAsString());
  search.set_nq(nq);
  search.set_use_default_consistency(true);
  AddPair(search.mutable_search_params(), "topk", std::to_string(limit));
  AddPair(search.mutable_search_params(), "params", "{}");
  AddPair(search.mutable_search_params(), "round_decimal", "-1");
  AddPair(search.mutable_search_params(), "ignore_growing", "False");
  AddPair(search.mutable_search_params(), "anns_field", kVectorField);
  return search.SerializeAsString();
}

std::string CheckInsert(const api::GrpcReply& reply, int rows) {
  milvus::MutationResult result;
  std::string problem = Parse(reply, &result);
  if (problem.empty() && result.insert_cnt() != rows) problem = fmt::format("inserted {} rows", result.insert_cnt());
  if (problem.empty() && result.ids().int_id().data_size() != rows) problem = "keys are missing";
  return problem;
}

std::string CheckSearch(const api::GrpcReply& reply, int nq, int64_t results_per_query) {
  milvus::SearchResults result;
  std::string problem = Parse(reply, &result);
  if (!problem.empty()) return problem;
  if (result.results().topks_size() != nq) return fmt::format("results of {} queries", result.results().topks_size());
  for (const int64_t count : result.results().topks()) {
    if (count != results_per_query) return fmt::format("{} results instead of {}", count, results_per_query);
  }
  if (result.results().scores_size() != nq * results_per_query) return "scores are missing";
  return {};
}

std::string CheckVersion(const api::GrpcReply& reply) {
  milvus::GetVersionResponse result;
  std::string problem = Parse(reply, &result);
  if (problem.empty() && result.version().empty()) problem = "no version";
  return problem;
}

}  // namespace quiver::bench
