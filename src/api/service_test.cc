// The service from the wire to the engine and back: a real server on a free port, a real engine over files in memory.
#include "api/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/net/grpc_client.h"
#include "api/net/server.h"
#include "base/thread_pool.h"
#include "collection.pb.h"
#include "common.pb.h"
#include "database.pb.h"
#include "engine/engine.h"
#include "index.pb.h"
#include "io/fault_file_system.h"
#include "milvus.pb.h"
#include "mutation.pb.h"
#include "operation.pb.h"
#include "schema.pb.h"
#include "search.pb.h"
#include "storage/meta_store.h"

namespace quiver::api {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

namespace pb = ::milvus::proto::milvus;
namespace common = ::milvus::proto::common;
namespace schema = ::milvus::proto::schema;

constexpr int kDim = 4;

template <typename Reply>
common::Status StatusOf(const Reply& reply) {
  if constexpr (std::is_same_v<Reply, common::Status>) {
    return reply;
  } else {
    return reply.status();
  }
}

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    engine::EngineOptions options;
    options.data_dir = "data";
    options.open_meta_store = [](const std::string&) -> Result<std::unique_ptr<storage::MetaStore>> {
      return std::unique_ptr<storage::MetaStore>(std::make_unique<storage::MemoryMetaStore>());
    };
    auto opened = engine::Engine::Open(files_, options);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    engine_ = *std::move(opened);
    service_ = std::make_unique<Service>(*engine_, compute_, control_, ServiceOptions{});
    auto server = Server::Start({}, [this](std::shared_ptr<RpcCall> call) { service_->Handle(std::move(call)); }, {});
    ASSERT_TRUE(server.ok()) << server.status().message();
    server_ = *std::move(server);
    auto client = GrpcClient::Connect("127.0.0.1", server_->port());
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }

  void TearDown() override {
    client_.reset();
    if (server_) server_->Shutdown(std::chrono::seconds(5));
    server_.reset();
    compute_.Stop();
    control_.Stop();
  }

  GrpcReply Raw(const std::string& method, const std::string& message,
                std::vector<std::pair<std::string, std::string>> metadata = {}) {
    const std::string path = "/milvus.proto.milvus.MilvusService/" + method;
    return client_->Call({.method = path, .message = message, .metadata = std::move(metadata)});
  }

  template <typename Reply, typename Request>
  Reply Call(const std::string& method, const Request& request,
             std::vector<std::pair<std::string, std::string>> metadata = {}) {
    const GrpcReply answer = Raw(method, request.SerializeAsString(), std::move(metadata));
    EXPECT_EQ(answer.code, GrpcCode::kOk) << method << ": " << answer.error;
    Reply reply;
    EXPECT_TRUE(reply.ParseFromString(answer.message));
    return reply;
  }

  /// As Call, for calls that have to succeed.
  template <typename Reply, typename Request>
  Reply Ok(const std::string& method, const Request& request,
           std::vector<std::pair<std::string, std::string>> metadata = {}) {
    Reply reply = Call<Reply>(method, request, std::move(metadata));
    EXPECT_EQ(StatusOf(reply).code(), 0) << method << ": " << StatusOf(reply).reason();
    return reply;
  }

  template <typename Request>
  static Request Named(const std::string& collection) {
    Request request;
    request.set_collection_name(collection);
    return request;
  }

  static void AddParam(google::protobuf::RepeatedPtrField<common::KeyValuePair>* params, const std::string& key,
                       const std::string& value) {
    auto* pair = params->Add();
    pair->set_key(key);
    pair->set_value(value);
  }

  static pb::CreateCollectionRequest Docs(const std::string& name, bool auto_id = false) {
    schema::CollectionSchema collection;
    collection.set_name(name);
    collection.set_enable_dynamic_field(true);
    auto* id = collection.add_fields();
    id->set_name("id");
    id->set_data_type(schema::Int64);
    id->set_is_primary_key(true);
    id->set_autoid(auto_id);
    auto* text = collection.add_fields();
    text->set_name("text");
    text->set_data_type(schema::VarChar);
    text->set_nullable(true);
    AddParam(text->mutable_type_params(), "max_length", "64");
    auto* vector = collection.add_fields();
    vector->set_name("vector");
    vector->set_data_type(schema::FloatVector);
    AddParam(vector->mutable_type_params(), "dim", std::to_string(kDim));
    auto request = Named<pb::CreateCollectionRequest>(name);
    request.set_schema(collection.SerializeAsString());
    request.set_shards_num(1);
    return request;
  }

  void MakeDocs(const std::string& name, bool auto_id = false) {
    Ok<common::Status>("CreateCollection", Docs(name, auto_id));
    auto index = Named<pb::CreateIndexRequest>(name);
    index.set_field_name("vector");
    AddParam(index.mutable_extra_params(), "index_type", "FLAT");
    AddParam(index.mutable_extra_params(), "metric_type", "L2");
    Ok<common::Status>("CreateIndex", index);
    Ok<common::Status>("LoadCollection", Named<pb::LoadCollectionRequest>(name));
  }

  /// Rows with these keys; row k has the vector (k, k, k, k) and the text "t<k>", and k % 2 as the dynamic key `odd`.
  template <typename Request>
  static Request Rows(const std::string& name, const std::vector<int64_t>& keys, bool with_keys = true) {
    auto request = Named<Request>(name);
    request.set_num_rows(static_cast<uint32_t>(keys.size()));
    if (with_keys) {
      auto* id = request.add_fields_data();
      id->set_field_name("id");
      id->set_type(schema::Int64);
      for (const int64_t key : keys) id->mutable_scalars()->mutable_long_data()->add_data(key);
    }
    auto* text = request.add_fields_data();
    text->set_field_name("text");
    text->set_type(schema::VarChar);
    auto* vector = request.add_fields_data();
    vector->set_field_name("vector");
    vector->set_type(schema::FloatVector);
    vector->mutable_vectors()->set_dim(kDim);
    auto* dynamic = request.add_fields_data();
    dynamic->set_is_dynamic(true);
    dynamic->set_type(schema::JSON);
    for (const int64_t key : keys) {
      text->mutable_scalars()->mutable_string_data()->add_data("t" + std::to_string(key));
      text->add_valid_data(true);
      for (int i = 0; i < kDim; ++i) {
        vector->mutable_vectors()->mutable_float_vector()->add_data(static_cast<float>(key));
      }
      dynamic->mutable_scalars()->mutable_json_data()->add_data("{\"odd\": " + std::to_string(key % 2) + "}");
    }
    return request;
  }

  static pb::SearchRequest SearchFor(const std::string& name, float value, int limit) {
    auto request = Named<pb::SearchRequest>(name);
    common::PlaceholderGroup group;
    auto* placeholder = group.add_placeholders();
    placeholder->set_tag("$0");
    placeholder->set_type(common::PlaceholderType::FloatVector);
    placeholder->add_values(Floats(std::vector<float>(kDim, value)));
    request.set_placeholder_group(group.SerializeAsString());
    request.set_nq(1);
    AddParam(request.mutable_search_params(), "topk", std::to_string(limit));
    AddParam(request.mutable_search_params(), "anns_field", "vector");
    return request;
  }

  int64_t Count(const std::string& name) {
    auto request = Named<pb::QueryRequest>(name);
    request.add_output_fields("count(*)");
    const auto reply = Ok<pb::QueryResults>("Query", request);
    return reply.fields_data_size() == 1 ? reply.fields_data(0).scalars().long_data().data(0) : -1;
  }

  io::FaultFileSystem files_;
  ThreadPool compute_{{.name = "compute", .threads = 2}};
  ThreadPool control_{{.name = "control", .threads = 2}};
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<GrpcClient> client_;
};

TEST_F(ServiceTest, ConnectTellsAVersionAndAnIdentifier) {
  const auto reply = Ok<pb::ConnectResponse>("Connect", pb::ConnectRequest());
  EXPECT_NE(reply.identifier(), 0);
  EXPECT_EQ(reply.server_info().build_tags(),
            Ok<pb::GetVersionResponse>("GetVersion", pb::GetVersionRequest()).version());
  const auto unknown = Call<pb::ConnectResponse>("Connect", pb::ConnectRequest(), {{"dbname", "nowhere"}});
  EXPECT_EQ(unknown.status().code(), 800);
  EXPECT_THAT(unknown.status().reason(), HasSubstr("database not found[database=nowhere]"));
}

TEST_F(ServiceTest, EveryPublishedMethodHasAnAnswer) {
  const std::vector<std::string> served = Service::ServedMethods();
  const auto* service = pb::MilvusService::descriptor();
  for (int i = 0; i < service->method_count(); ++i) {
    const std::string name = service->method(i)->name();
    if (std::find(served.begin(), served.end(), name) != served.end()) continue;
    const GrpcReply answer = Raw(name, "");
    if (name == "AlterCollectionSchema") {
      EXPECT_EQ(answer.code, GrpcCode::kUnimplemented);
      continue;
    }
    if (name == "GetReplicateInfo") {  // no Status in its reply
      EXPECT_EQ(answer.code, GrpcCode::kUnimplemented);
      continue;
    }
    ASSERT_EQ(answer.code, GrpcCode::kOk) << name << " " << answer.error;
    common::Status status;
    if (service->method(i)->output_type()->full_name() == "milvus.proto.common.Status") {
      ASSERT_TRUE(status.ParseFromString(answer.message));
    } else {
      pb::BoolResponse reply;  // the status is field 1 of nearly every reply
      ASSERT_TRUE(reply.ParseFromString(answer.message)) << name;
      status = reply.status();
    }
    EXPECT_EQ(status.code(), 10) << name;
    EXPECT_EQ(status.reason(), name + " is not supported yet");
  }
  for (const std::string& name : served) EXPECT_NE(service->FindMethodByName(name), nullptr) << name;
}

TEST_F(ServiceTest, NoneOfOurMethodsIsUnimplemented) {
  EXPECT_EQ(Raw("NoSuchMethod", "").code, GrpcCode::kUnimplemented);
  EXPECT_EQ(client_->Call({.method = "/other.Service/Get"}).code, GrpcCode::kUnimplemented);
  EXPECT_EQ(Raw("Insert", "\xff\xff\xff").code, GrpcCode::kInvalidArgument);
  EXPECT_EQ(Raw("GetVersion", "").code, GrpcCode::kOk);  // and the connection lives
}

TEST_F(ServiceTest, DescribeShowsTheSchemaWithoutHiddenFields) {
  Ok<common::Status>("CreateCollection", Docs("docs"));
  Ok<common::Status>("CreateCollection", Docs("docs"));  // again: the same
  const auto reply =
      Ok<pb::DescribeCollectionResponse>("DescribeCollection", Named<pb::DescribeCollectionRequest>("docs"));
  ASSERT_EQ(reply.schema().fields_size(), 3);
  EXPECT_EQ(reply.schema().fields(0).fieldid(), 100);
  EXPECT_TRUE(reply.schema().enable_dynamic_field());
  EXPECT_EQ(reply.collection_name(), "docs");
  EXPECT_EQ(reply.db_name(), "default");
  EXPECT_GT(reply.update_timestamp(), 0U);
  EXPECT_EQ(reply.virtual_channel_names_size(), 1);
}

TEST_F(ServiceTest, MissingCollectionsAreToldAsClientsExpect) {
  const auto describe =
      Call<pb::DescribeCollectionResponse>("DescribeCollection", Named<pb::DescribeCollectionRequest>("nothing"));
  EXPECT_EQ(describe.status().code(), 100);
  EXPECT_EQ(describe.status().error_code(), common::UnexpectedError);
  EXPECT_EQ(describe.status().reason(), "can't find collection[database=default][collection=nothing]");
  EXPECT_FALSE(Ok<pb::BoolResponse>("HasCollection", Named<pb::HasCollectionRequest>("nothing")).value());
  EXPECT_EQ(Ok<pb::GetLoadStateResponse>("GetLoadState", Named<pb::GetLoadStateRequest>("nothing")).state(),
            common::LoadStateNotExist);
  Ok<common::Status>("DropCollection", Named<pb::DropCollectionRequest>("nothing"));
  const auto search = Call<pb::SearchResults>("Search", SearchFor("nothing", 1, 1));
  EXPECT_EQ(search.status().code(), 100);
  EXPECT_EQ(search.status().error_code(), common::CollectionNotExists);
}

TEST_F(ServiceTest, TheConnectionsDatabaseFillsAnEmptyName) {
  pb::CreateDatabaseRequest create;
  create.set_db_name("other");
  Ok<common::Status>("CreateDatabase", create);
  Ok<common::Status>("CreateCollection", Docs("here"), {{"dbname", "other"}});
  EXPECT_FALSE(Ok<pb::BoolResponse>("HasCollection", Named<pb::HasCollectionRequest>("here")).value());
  EXPECT_TRUE(
      Ok<pb::BoolResponse>("HasCollection", Named<pb::HasCollectionRequest>("here"), {{"dbname", "other"}}).value());
  auto named = Named<pb::HasCollectionRequest>("here");
  named.set_db_name("default");  // the request wins
  EXPECT_FALSE(Ok<pb::BoolResponse>("HasCollection", named, {{"dbname", "other"}}).value());
  // A nameless drop must not mean the database of the connection.
  EXPECT_NE(Call<common::Status>("DropDatabase", pb::DropDatabaseRequest(), {{"dbname", "other"}}).code(), 0);
  const auto list = Ok<pb::ListDatabasesResponse>("ListDatabases", pb::ListDatabasesRequest());
  EXPECT_THAT(list.db_names(), IsSupersetOf({"default", "other"}));
}

TEST_F(ServiceTest, WritesAreSeenByTheNextRead) {
  MakeDocs("docs");
  const auto inserted = Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {1, 2, 3, 4}));
  EXPECT_EQ(inserted.insert_cnt(), 4);
  EXPECT_THAT(inserted.ids().int_id().data(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(inserted.succ_index(), ElementsAre(0, 1, 2, 3));
  EXPECT_GT(inserted.timestamp(), 0U);
  EXPECT_EQ(Count("docs"), 4);

  auto search = SearchFor("docs", 3, 2);
  search.add_output_fields("text");
  search.add_output_fields("odd");
  const auto found = Ok<pb::SearchResults>("Search", search);
  EXPECT_THAT(found.results().ids().int_id().data(), ElementsAre(3, 2));
  EXPECT_THAT(found.results().scores(), ElementsAre(0.0F, 4.0F));
  EXPECT_THAT(found.results().topks(), ElementsAre(2));
  EXPECT_EQ(found.results().primary_field_name(), "id");
  EXPECT_THAT(found.results().output_fields(), ElementsAre("text", "odd"));
  ASSERT_EQ(found.results().fields_data_size(), 2);
  EXPECT_THAT(found.results().fields_data(0).scalars().string_data().data(), ElementsAre("t3", "t2"));
  EXPECT_TRUE(found.results().fields_data(1).is_dynamic());

  auto upsert = Rows<pb::UpsertRequest>("docs", {4, 5});
  const auto upserted = Ok<pb::MutationResult>("Upsert", upsert);
  EXPECT_EQ(upserted.upsert_cnt(), 2);
  EXPECT_EQ(upserted.delete_cnt(), 1);
  EXPECT_EQ(Count("docs"), 5);
}

TEST_F(ServiceTest, DeletesCountWhatWasNamedOrWhatWasFound) {
  MakeDocs("docs");
  Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {1, 2, 3, 4, 5}));
  auto erase = Named<pb::DeleteRequest>("docs");
  erase.set_expr("id in [1, 99]");
  EXPECT_EQ(Ok<pb::MutationResult>("Delete", erase).delete_cnt(), 2);
  EXPECT_EQ(Count("docs"), 4);
  erase.set_expr("odd == 1");
  EXPECT_EQ(Ok<pb::MutationResult>("Delete", erase).delete_cnt(), 2);
  EXPECT_EQ(Count("docs"), 2);
  erase.set_expr("");
  EXPECT_THAT(Call<pb::MutationResult>("Delete", erase).status().reason(),
              HasSubstr("delete plan can't be empty or always true"));
  EXPECT_EQ(Count("docs"), 2);
}

TEST_F(ServiceTest, AutoIdsAreGivenAndARepeatedInsertIsNotStoredTwice) {
  MakeDocs("docs", true);
  const auto rows = Rows<pb::InsertRequest>("docs", {1, 2}, false);
  const auto first = Ok<pb::MutationResult>("Insert", rows, {{"client-request-id", "abc"}});
  const auto again = Ok<pb::MutationResult>("Insert", rows, {{"client-request-id", "abc"}});
  EXPECT_EQ(first.ids().SerializeAsString(), again.ids().SerializeAsString());
  EXPECT_EQ(Count("docs"), 2);
  EXPECT_NE(Ok<pb::MutationResult>("Insert", rows).ids().int_id().data(0), first.ids().int_id().data(0));
  EXPECT_EQ(Count("docs"), 4);
}

TEST_F(ServiceTest, PartialUpdateKeepsWhatIsNotSent) {
  MakeDocs("docs");
  Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {1, 2}));
  auto update = Named<pb::UpsertRequest>("docs");
  update.set_num_rows(1);
  update.set_partial_update(true);
  auto* id = update.add_fields_data();
  id->set_field_name("id");
  id->mutable_scalars()->mutable_long_data()->add_data(2);
  auto* dynamic = update.add_fields_data();
  dynamic->set_is_dynamic(true);
  dynamic->mutable_scalars()->mutable_json_data()->add_data(R"({"more": 12345678901234567})");
  Ok<pb::MutationResult>("Upsert", update);
  auto query = Named<pb::QueryRequest>("docs");
  query.set_expr("id == 2");
  query.add_output_fields("*");
  const auto rows = Ok<pb::QueryResults>("Query", query);
  std::string text;
  std::string meta;
  for (const auto& column : rows.fields_data()) {
    if (column.field_name() == "text") text = column.scalars().string_data().data(0);
    if (column.is_dynamic()) meta = column.scalars().json_data().data(0);
    if (column.field_name() == "vector") {
      EXPECT_EQ(column.vectors().float_vector().data(0), 2.0F);
    }
  }
  EXPECT_EQ(text, "t2");
  EXPECT_EQ(meta, R"({"odd":0,"more":12345678901234567})");

  id->mutable_scalars()->mutable_long_data()->set_data(0, 77);  // not there: the vector is missing
  EXPECT_THAT(Call<pb::MutationResult>("Upsert", update).status().reason(),
              HasSubstr("fieldSchema(vector) has no corresponding fieldData pass in"));
  EXPECT_EQ(Count("docs"), 2);
}

TEST_F(ServiceTest, AStaleSchemaIsRefused) {
  MakeDocs("docs");
  const auto described =
      Ok<pb::DescribeCollectionResponse>("DescribeCollection", Named<pb::DescribeCollectionRequest>("docs"));
  auto rows = Rows<pb::InsertRequest>("docs", {1});
  rows.set_schema_timestamp(described.update_timestamp());
  Ok<pb::MutationResult>("Insert", rows);
  auto add = Named<pb::AddCollectionFieldRequest>("docs");
  schema::FieldSchema field;
  field.set_name("extra");
  field.set_data_type(schema::Int32);
  field.set_nullable(true);
  add.set_schema(field.SerializeAsString());
  Ok<common::Status>("AddCollectionField", add);
  const auto refused = Call<pb::MutationResult>("Insert", rows);
  EXPECT_EQ(refused.status().code(), 109);
  EXPECT_EQ(refused.status().error_code(), common::SchemaMismatch);
}

TEST_F(ServiceTest, BadSearchesHaveThePublishedTexts) {
  MakeDocs("docs");
  const auto reason = [&](const pb::SearchRequest& request) {
    const auto reply = Call<pb::SearchResults>("Search", request);
    EXPECT_NE(reply.status().code(), 0);
    EXPECT_FALSE(reply.has_results());
    return reply.status().reason();
  };
  EXPECT_THAT(reason(SearchFor("docs", 1, 0)),
              HasSubstr("topk [0] is invalid, it should be in range [1, 16384], but got 0"));
  EXPECT_THAT(reason(SearchFor("docs", 1, 16385)), HasSubstr("should be in range [1, 16384], but got 16385"));
  auto request = SearchFor("docs", 1, 16384);
  AddParam(request.mutable_search_params(), "offset", "1");
  EXPECT_THAT(reason(request), HasSubstr("(offset+limit) should be in range [1, 16384], but got 16385"));
  request = SearchFor("docs", 1, 1);
  AddParam(request.mutable_search_params(), "metric_type", "IP");
  EXPECT_THAT(reason(request), HasSubstr("metric type not match: invalid parameter[expected=L2][actual=IP]"));
  request = SearchFor("docs", 1, 1);
  request.set_dsl("nothing ==");
  EXPECT_THAT(reason(request), HasSubstr("failed to create query plan: "));
  request = SearchFor("docs", 1, 1);
  request.add_output_fields("a[\"b\"]");
  EXPECT_NE(reason(request), "");
  request = SearchFor("docs", 1, 1);
  request.add_partition_names("nowhere");
  EXPECT_THAT(reason(request), HasSubstr("partition not found[partition=nowhere]"));
  request = SearchFor("docs", 1, 1);
  (void)request.mutable_highlighter();
  EXPECT_EQ(Call<pb::SearchResults>("Search", request).status().code(), 10);
  request = SearchFor("docs", 1, 1);
  AddParam(request.mutable_search_params(), "group_by_field", "text");
  AddParam(request.mutable_search_params(), "group_size", "11");
  EXPECT_THAT(reason(request), HasSubstr("input group size:11 exceeds configured max group size:10"));
  request = SearchFor("docs", 1, 1);
  request.clear_placeholder_group();
  EXPECT_NE(reason(request), "");
  Ok<common::Status>("ReleaseCollection", Named<pb::ReleaseCollectionRequest>("docs"));
  EXPECT_EQ(Call<pb::SearchResults>("Search", SearchFor("docs", 1, 1)).status().code(), 101);
}

TEST_F(ServiceTest, SearchIteratorGoesThroughEqualScores) {
  MakeDocs("docs");
  // Five rows at each of four places: pages of three end among equal scores.
  auto rows = Rows<pb::InsertRequest>("docs", {});
  std::vector<int64_t> keys;
  for (int64_t key = 0; key < 20; ++key) keys.push_back(key);
  rows = Rows<pb::InsertRequest>("docs", keys);
  for (auto& column : *rows.mutable_fields_data()) {
    if (column.field_name() != "vector") continue;
    auto* floats = column.mutable_vectors()->mutable_float_vector()->mutable_data();
    for (int i = 0; i < floats->size(); ++i) floats->Set(i, static_cast<float>(i / kDim % 4));
  }
  Ok<pb::MutationResult>("Insert", rows);
  std::vector<int64_t> seen;
  std::vector<float> scores;
  std::string token;
  std::string bound;
  for (int page = 0; page < 20; ++page) {
    auto request = SearchFor("docs", 0, 3);
    AddParam(request.mutable_search_params(), "iterator", "True");
    AddParam(request.mutable_search_params(), "search_iter_v2", "True");
    AddParam(request.mutable_search_params(), "search_iter_batch_size", "3");
    if (!token.empty()) {
      AddParam(request.mutable_search_params(), "search_iter_id", token);
      AddParam(request.mutable_search_params(), "search_iter_last_bound", bound);
    }
    const auto reply = Ok<pb::SearchResults>("Search", request);
    EXPECT_GT(reply.session_ts(), 0U);
    const auto& state = reply.results().search_iterator_v2_results();
    token = state.token();
    bound = std::to_string(state.last_bound());
    if (reply.results().ids().int_id().data().empty()) break;
    EXPECT_LE(reply.results().ids().int_id().data_size(), 3);
    for (const int64_t key : reply.results().ids().int_id().data()) seen.push_back(key);
    for (const float score : reply.results().scores()) scores.push_back(score);
  }
  EXPECT_TRUE(std::is_sorted(scores.begin(), scores.end()));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, keys);
}

TEST_F(ServiceTest, SearchByPrimaryKeysUsesTheStoredVectors) {
  MakeDocs("docs");
  Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {1, 2, 10}));
  auto request = SearchFor("docs", 0, 2);
  request.mutable_ids()->mutable_int_id()->add_data(10);
  request.mutable_ids()->mutable_int_id()->add_data(1);
  const auto reply = Ok<pb::SearchResults>("Search", request);
  EXPECT_THAT(reply.results().ids().int_id().data(), ElementsAre(10, 2, 1, 2));
  request.mutable_ids()->mutable_int_id()->add_data(5);
  EXPECT_THAT(Call<pb::SearchResults>("Search", request).status().reason(), HasSubstr("primary key 5"));
}

TEST_F(ServiceTest, EmptyCollectionsAnswerWithEveryColumn) {
  MakeDocs("docs");
  auto search = SearchFor("docs", 1, 5);
  search.add_output_fields("*");
  const auto found = Ok<pb::SearchResults>("Search", search);
  EXPECT_THAT(found.results().topks(), ElementsAre(0));
  EXPECT_EQ(found.results().fields_data_size(), 4);
  auto query = Named<pb::QueryRequest>("docs");
  query.set_expr("id > 0");
  EXPECT_EQ(Ok<pb::QueryResults>("Query", query).fields_data_size(), 1);  // the key
}

TEST_F(ServiceTest, QueriesWithoutAFilterNeedALimit) {
  MakeDocs("docs");
  Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {3, 1, 2}));
  auto query = Named<pb::QueryRequest>("docs");
  EXPECT_THAT(Call<pb::QueryResults>("Query", query).status().reason(),
              HasSubstr("empty expression should be used with limit: invalid parameter"));
  AddParam(query.mutable_query_params(), "limit", "2");
  AddParam(query.mutable_query_params(), "offset", "1");
  const auto reply = Ok<pb::QueryResults>("Query", query);
  EXPECT_THAT(reply.fields_data(0).scalars().long_data().data(), ElementsAre(2, 3));
  query.add_output_fields("count(*)");
  EXPECT_THAT(Call<pb::QueryResults>("Query", query).status().reason(),
              HasSubstr("count entities with pagination is not allowed"));
}

TEST_F(ServiceTest, IndexesAreDescribedAsGiven) {
  Ok<common::Status>("CreateCollection", Docs("docs"));
  auto describe = Named<pb::DescribeIndexRequest>("docs");
  const auto none = Call<pb::DescribeIndexResponse>("DescribeIndex", describe);
  EXPECT_EQ(none.status().code(), 700);
  EXPECT_EQ(none.status().reason(), "index not found[collection=docs]");
  auto create = Named<pb::CreateIndexRequest>("docs");
  create.set_field_name("vector");
  AddParam(create.mutable_extra_params(), "index_type", "HNSW");
  AddParam(create.mutable_extra_params(), "metric_type", "COSINE");
  AddParam(create.mutable_extra_params(), "params", R"({"M": 16, "efConstruction": 100})");
  Ok<common::Status>("CreateIndex", create);
  Ok<common::Status>("CreateIndex", create);
  const auto reply = Ok<pb::DescribeIndexResponse>("DescribeIndex", describe);
  ASSERT_EQ(reply.index_descriptions_size(), 1);
  const auto& index = reply.index_descriptions(0);
  EXPECT_EQ(index.index_name(), "vector");
  EXPECT_EQ(index.state(), common::Finished);
  std::vector<std::string> params;
  for (const auto& pair : index.params()) params.push_back(pair.key() + "=" + pair.value());
  EXPECT_THAT(params, IsSupersetOf({"index_type=HNSW", "metric_type=COSINE", "M=16"}));
  create.set_field_name("nothing");
  EXPECT_THAT(Call<common::Status>("CreateIndex", create).reason(),
              HasSubstr("data type JSON can't build with this index HNSW"))
      << "a name that is no field is a dynamic key";
}

TEST_F(ServiceTest, PollsEndAtOnce) {
  MakeDocs("docs");
  Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", {1, 2, 3}));
  pb::FlushRequest flush;
  flush.add_collection_names("docs");
  const auto flushed = Ok<pb::FlushResponse>("Flush", flush);
  EXPECT_TRUE(flushed.coll_segids().contains("docs"));
  EXPECT_TRUE(flushed.flush_coll_segids().contains("docs"));
  EXPECT_TRUE(Ok<pb::GetFlushStateResponse>("GetFlushState", pb::GetFlushStateRequest()).flushed());
  Ok<pb::FlushAllResponse>("FlushAll", pb::FlushAllRequest());
  EXPECT_TRUE(Ok<pb::GetFlushAllStateResponse>("GetFlushAllState", pb::GetFlushAllStateRequest()).flushed());
  EXPECT_EQ(
      Ok<pb::GetLoadingProgressResponse>("GetLoadingProgress", Named<pb::GetLoadingProgressRequest>("docs")).progress(),
      100);
  EXPECT_EQ(Ok<pb::GetCompactionStateResponse>("GetCompactionState", pb::GetCompactionStateRequest()).state(),
            common::Completed);
  EXPECT_GT(Ok<pb::AllocTimestampResponse>("AllocTimestamp", pb::AllocTimestampRequest()).timestamp(),
            flushed.coll_flush_ts().at("docs"));
  EXPECT_TRUE(Ok<pb::CheckHealthResponse>("CheckHealth", pb::CheckHealthRequest()).ishealthy());
  EXPECT_EQ(Ok<pb::ComponentStates>("GetComponentStates", pb::GetComponentStatesRequest()).state().state_code(),
            common::Healthy);
  EXPECT_THAT(
      Ok<pb::ListResourceGroupsResponse>("ListResourceGroups", pb::ListResourceGroupsRequest()).resource_groups(),
      Contains("__default_resource_group"));
}

TEST_F(ServiceTest, LargeMessagesAndManyRowsTakeTheOtherLanes) {
  MakeDocs("docs");
  std::vector<int64_t> keys;
  for (int64_t key = 0; key < 5000; ++key) keys.push_back(key);
  EXPECT_EQ(Ok<pb::MutationResult>("Insert", Rows<pb::InsertRequest>("docs", keys)).insert_cnt(), 5000);
  EXPECT_THAT(Ok<pb::SearchResults>("Search", SearchFor("docs", 4321, 1)).results().ids().int_id().data(),
              ElementsAre(4321));
  auto query = Named<pb::QueryRequest>("docs");
  query.set_expr("odd == 1 and id < 10");
  EXPECT_THAT(Ok<pb::QueryResults>("Query", query).fields_data(0).scalars().long_data().data(),
              ElementsAre(1, 3, 5, 7, 9));
  auto erase = Named<pb::DeleteRequest>("docs");
  erase.set_expr("odd == 1");
  EXPECT_EQ(Ok<pb::MutationResult>("Delete", erase).delete_cnt(), 2500);
}

}  // namespace
}  // namespace quiver::api
