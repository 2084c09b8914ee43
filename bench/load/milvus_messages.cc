#include "load/milvus_messages.h"

#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>
#include <type_traits>
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
constexpr const char* kBucketField = "bucket";

std::string StatusProblem(const common::Status& status) {
  if (status.code() == 0 && status.error_code() == common::Success) return {};
  return fmt::format("code {}: {}", status.code(), status.reason());
}

template <typename Reply>
common::Status StatusOf(const Reply& reply) {
  if constexpr (std::is_same_v<Reply, common::Status>) {
    return reply;
  } else {
    return reply.status();
  }
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

// `vectors` are the floats of `nq` queries.
std::string SearchVectors(const std::string& collection, const std::string& partition, std::string_view vectors, int nq,
                          int limit) {
  common::PlaceholderGroup group;
  common::PlaceholderValue* const placeholder = group.add_placeholders();
  placeholder->set_tag("$0");
  placeholder->set_type(common::FloatVector);
  const size_t row_bytes = vectors.size() / static_cast<size_t>(nq);
  for (size_t i = 0; i < static_cast<size_t>(nq); ++i) {
    placeholder->add_values(vectors.data() + i * row_bytes, row_bytes);
  }
  // As pymilvus sends it.
  milvus::SearchRequest search;
  search.set_collection_name(collection);
  if (!partition.empty()) search.add_partition_names(partition);
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

}  // namespace

Status MakeCollection(api::GrpcClient& client, const std::string& name, int dim, Keys keys) {
  QUIVER_RETURN_IF_ERROR(DropCollection(client, name));
  const std::string problem = CheckStatus(
      client.Call({.method = kCreateCollectionMethod, .message = CreateCollectionMessage(name, dim, keys)}));
  if (!problem.empty()) return Error(StatusCode::kInternal, "CreateCollection: {}", problem);

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

std::string CreateCollectionMessage(const std::string& name, int dim, Keys keys) {
  schema::CollectionSchema collection;
  collection.set_name(name);
  schema::FieldSchema* const key = collection.add_fields();
  key->set_fieldid(100);
  key->set_name(kKeyField);
  key->set_is_primary_key(true);
  key->set_autoid(keys == Keys::kServer);
  key->set_data_type(schema::Int64);
  schema::FieldSchema* const vector = collection.add_fields();
  vector->set_fieldid(101);
  vector->set_name(kVectorField);
  vector->set_data_type(schema::FloatVector);
  AddPair(vector->mutable_type_params(), "dim", std::to_string(dim));
  if (keys == Keys::kClient) {
    schema::FieldSchema* const bucket = collection.add_fields();
    bucket->set_fieldid(102);
    bucket->set_name(kBucketField);
    bucket->set_data_type(schema::Int64);
  }
  milvus::CreateCollectionRequest create;
  create.set_collection_name(name);
  create.set_schema(collection.SerializeAsString());
  create.set_shards_num(1);
  return create.SerializeAsString();
}

std::string CreatePartitionMessage(const std::string& collection, const std::string& partition) {
  milvus::CreatePartitionRequest create;
  create.set_collection_name(collection);
  create.set_partition_name(partition);
  return create.SerializeAsString();
}

std::string CreateSnapshotMessage(const std::string& collection, const std::string& snapshot) {
  milvus::CreateSnapshotRequest create;
  create.set_collection_name(collection);
  create.set_name(snapshot);
  return create.SerializeAsString();
}

std::string DropSnapshotMessage(const std::string& collection, const std::string& snapshot) {
  milvus::DropSnapshotRequest drop;
  drop.set_collection_name(collection);
  drop.set_name(snapshot);
  return drop.SerializeAsString();
}

std::string DeleteMessage(const std::string& collection, const std::string& filter) {
  milvus::DeleteRequest request;
  request.set_collection_name(collection);
  request.set_expr(filter);
  return request.SerializeAsString();
}

std::string QueryMessage(const std::string& collection, const std::string& partition, int64_t key) {
  milvus::QueryRequest query;
  query.set_collection_name(collection);
  if (!partition.empty()) query.add_partition_names(partition);
  query.set_expr(fmt::format("{} == {}", kKeyField, key));
  query.add_output_fields(kKeyField);
  query.add_output_fields(kVectorField);
  query.set_consistency_level(common::Strong);
  return query.SerializeAsString();
}

Status Compact(api::GrpcClient& client, const std::string& name) {
  milvus::ManualCompactionRequest compact;
  compact.set_collection_name(name);
  QUIVER_ASSIGN_OR_RETURN(const auto started,
                          (Call<milvus::ManualCompactionResponse>(client, "ManualCompaction", compact)));
  milvus::GetCompactionStateRequest ask;
  ask.set_compactionid(started.compactionid());
  while (true) {
    QUIVER_ASSIGN_OR_RETURN(const auto answer,
                            (Call<milvus::GetCompactionStateResponse>(client, "GetCompactionState", ask)));
    if (answer.failedplanno() > 0) return Error(StatusCode::kInternal, "{} merges failed", answer.failedplanno());
    if (answer.state() == common::Completed) return Status::Ok();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the interval of polling
  }
}

namespace {

// Rows that differ from one another before the key is put into them.
constexpr size_t kDifferentRows = 32000;
// Keys are told apart by the first component, a float.
constexpr int64_t kDifferentFirsts = int64_t{1} << 24;

}  // namespace

KeyedRows::KeyedRows(int dim) : dim_(static_cast<size_t>(dim)), vectors_(RandomVectors(kDifferentRows * dim_, 1)) {}

void KeyedRows::CopyVector(int64_t key, char* to) const {
  const float* const row = &vectors_[static_cast<size_t>(key) % kDifferentRows * dim_];
  std::memcpy(to, row, dim_ * sizeof(float));
  const float first = static_cast<float>(key % kDifferentFirsts) / static_cast<float>(kDifferentFirsts);
  std::memcpy(to, &first, sizeof(first));
  // Rows that share the rest must lie far enough apart for an engine that computes distances by norms.
  constexpr std::array<double, 3> kSteps{0.8191725134, 0.6710436067, 0.5497004779};
  const int64_t whole_rounds = key / static_cast<int64_t>(kDifferentRows);
  const auto round = static_cast<double>(whole_rounds);
  for (size_t i = 0; i < kSteps.size() && i + 1 < dim_; ++i) {
    const auto value = static_cast<float>(round * kSteps[i] - std::floor(round * kSteps[i]));
    std::memcpy(to + (i + 1) * sizeof(float), &value, sizeof(value));
  }
}

std::string_view KeyedRows::Write(const std::string& collection, const std::string& partition,
                                  std::span<const int64_t> keys) {
  milvus::InsertRequest insert;
  insert.set_collection_name(collection);
  insert.set_partition_name(partition);
  insert.set_num_rows(static_cast<uint32_t>(keys.size()));
  schema::FieldData* const ids = insert.add_fields_data();
  ids->set_field_name(kKeyField);
  ids->set_type(schema::Int64);
  ids->mutable_scalars()->mutable_long_data()->mutable_data()->Assign(keys.begin(), keys.end());
  schema::FieldData* const buckets = insert.add_fields_data();
  buckets->set_field_name(kBucketField);
  buckets->set_type(schema::Int64);
  for (const int64_t key : keys) buckets->mutable_scalars()->mutable_long_data()->add_data(key % kBuckets);
  insert.SerializeToString(&message_);

  // The vectors are appended as bytes: on the wire, parts of a message that follow one another are merged, and a packed
  // list of floats is their memory.
  const size_t vector_bytes = keys.size() * dim_ * sizeof(float);
  const auto varint = [](std::string* out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
    out->push_back(static_cast<char>(value));
  };
  const auto tag = [&varint](std::string* out, int number) { varint(out, static_cast<uint64_t>(number) << 3 | 2); };
  std::string array;  // FloatArray, without the floats
  tag(&array, schema::FloatArray::kDataFieldNumber);
  varint(&array, vector_bytes);
  std::string vectors;  // VectorField
  {
    schema::VectorField field;
    field.set_dim(static_cast<int64_t>(dim_));
    vectors = field.SerializeAsString();
  }
  tag(&vectors, schema::VectorField::kFloatVectorFieldNumber);
  varint(&vectors, array.size() + vector_bytes);
  vectors += array;
  std::string field;  // FieldData
  {
    schema::FieldData data;
    data.set_field_name(kVectorField);
    data.set_type(schema::FloatVector);
    field = data.SerializeAsString();
  }
  tag(&field, schema::FieldData::kVectorsFieldNumber);
  varint(&field, vectors.size() + vector_bytes);
  field += vectors;
  tag(&message_, milvus::InsertRequest::kFieldsDataFieldNumber);
  varint(&message_, field.size() + vector_bytes);
  message_ += field;

  const size_t begin = message_.size();
  message_.resize(begin + vector_bytes);
  char* to = message_.data() + begin;
  for (const int64_t key : keys) {
    CopyVector(key, to);
    to += dim_ * sizeof(float);
  }
  return message_;
}

std::string KeyedRows::Search(const std::string& collection, const std::string& partition, int64_t key,
                              int limit) const {
  std::string vector(dim_ * sizeof(float), 0);
  CopyVector(key, vector.data());
  return SearchVectors(collection, partition, vector, 1, limit);
}

std::string SearchMessage(const std::string& collection, int dim, int nq, int limit, uint64_t seed) {
  const std::vector<float> values = RandomVectors(static_cast<size_t>(dim) * static_cast<size_t>(nq), seed);
  return SearchVectors(collection, "", {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)},
                       nq, limit);
}

std::string CheckInsert(const api::GrpcReply& reply, int rows) {
  milvus::MutationResult result;
  std::string problem = Parse(reply, &result);
  if (problem.empty() && result.insert_cnt() != rows) problem = fmt::format("inserted {} rows", result.insert_cnt());
  if (problem.empty() && result.ids().int_id().data_size() != rows) problem = "keys are missing";
  return problem;
}

std::string CheckUpsert(const api::GrpcReply& reply, int rows) {
  milvus::MutationResult result;
  std::string problem = Parse(reply, &result);
  if (problem.empty() && result.upsert_cnt() != rows) problem = fmt::format("upserted {} rows", result.upsert_cnt());
  return problem;
}

std::string CheckDelete(const api::GrpcReply& reply) {
  milvus::MutationResult result;
  return Parse(reply, &result);
}

std::string CheckStatus(const api::GrpcReply& reply) {
  common::Status result;
  return Parse(reply, &result);
}

std::string CheckQuery(const api::GrpcReply& reply, int64_t key) {
  milvus::QueryResults result;
  std::string problem = Parse(reply, &result);
  if (!problem.empty()) return problem;
  for (const schema::FieldData& field : result.fields_data()) {
    if (field.field_name() != kKeyField) continue;
    const auto& found = field.scalars().long_data().data();
    if (found.size() == 1 && found[0] == key) return {};
    return fmt::format("{} rows for key {}", found.size(), key);
  }
  return "the key is missing in the reply";
}

std::string CheckFound(const api::GrpcReply& reply, int64_t key) {
  milvus::SearchResults result;
  std::string problem = Parse(reply, &result);
  if (!problem.empty()) return problem;
  const auto& ids = result.results().ids().int_id().data();
  if (ids.empty()) return fmt::format("no result for key {}", key);
  return ids[0] == key ? std::string() : fmt::format("the nearest row is {} instead of {}", ids[0], key);
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

std::string CountInserted(const api::GrpcReply& reply, int64_t* rows) {
  milvus::MutationResult result;
  std::string problem = Parse(reply, &result);
  *rows += result.insert_cnt();
  return problem;
}

std::string CheckFoundAny(const api::GrpcReply& reply) {
  milvus::SearchResults result;
  return Parse(reply, &result);
}

std::string ReadKeys(const api::GrpcReply& reply, std::vector<int64_t>* int_keys) {
  milvus::SearchResults result;
  std::string problem = Parse(reply, &result);
  const auto& keys = result.results().ids().int_id().data();
  int_keys->assign(keys.begin(), keys.end());
  return problem;
}

std::string CheckVersion(const api::GrpcReply& reply) {
  milvus::GetVersionResponse result;
  std::string problem = Parse(reply, &result);
  if (problem.empty() && result.version().empty()) problem = "no version";
  return problem;
}

}  // namespace quiver::bench
