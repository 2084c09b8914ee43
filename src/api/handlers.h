// File: api/handlers.h
// Handlers: the served methods, one function each, and the table that finds them by name. Private to the service; the
// functions stand in the *_rpcs.cc files by area.
// Thread rule: handlers are called from several threads at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/compiled_filters.h"
#include "api/exchange.h"
#include "api/lease_keeper.h"
#include "api/read_options.h"
#include "api/request_cost.h"
#include "api/result_cache.h"
#include "api/search_leases.h"
#include "api/service.h"
#include "api/shared_scans.h"
#include "api/view_leases.h"
#include "api/wire.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "engine/collection.h"
#include "engine/engine.h"

namespace quiver::api {

/// Where a method runs.
enum class Lane : uint8_t {
  kAtOnce,   ///< on the calling thread: microseconds, never waits
  kControl,  ///< on the control pool: waits for the disk
  kData,  ///< on the calling thread while the message is small, else on the compute pool; then as the handler decides
};

/// One served method.
struct Method {
  std::string name;
  Lane lane = Lane::kAtOnce;
  /// Decodes and runs; answers in any case.
  std::function<void(std::shared_ptr<RpcCall>, const MethodMetrics&)> run;
};

/// The counters of a method, by its name.
MethodMetrics MetricsOf(const std::string& name);

class Handlers {
 public:
  Handlers(engine::Engine& engine, ThreadPool& compute, ThreadPool& control, ServiceOptions options);

  /// All served methods. `handlers` may be null where only the names are wanted.
  static std::vector<Method> Methods(Handlers* handlers);

  /// Answers a query or search that an HTTP request gives as JSON with its explanation; explain_http.cc.
  void Explain(const std::shared_ptr<HttpCall>& call);

 private:
  template <typename RequestType, typename ResponseType>
  using SyncHandler = Status (Handlers::*)(const RequestType&, ResponseType*, const RpcCall&);
  template <typename RequestType, typename ResponseType>
  using AsyncHandler = void (Handlers::*)(const std::shared_ptr<Exchange<RequestType, ResponseType>>&);

  /// Parses the message and fills an empty db_name from the connection's metadata.
  template <typename RequestType, typename ResponseType>
  static std::shared_ptr<Exchange<RequestType, ResponseType>> Accept(std::shared_ptr<RpcCall> call,
                                                                     const MethodMetrics& metrics);
  /// A method that answers when its handler returns.
  template <typename RequestType, typename ResponseType>
  static Method Sync(const char* name, Lane lane, Handlers* self, SyncHandler<RequestType, ResponseType> handler);
  /// A method whose handler answers by itself.
  template <typename RequestType, typename ResponseType>
  static Method Async(const char* name, Lane lane, Handlers* self, AsyncHandler<RequestType, ResponseType> handler);

  static void AddDatabaseMethods(Handlers* self, std::vector<Method>* out);
  static void AddCollectionMethods(Handlers* self, std::vector<Method>* out);
  static void AddPartitionMethods(Handlers* self, std::vector<Method>* out);
  static void AddAliasMethods(Handlers* self, std::vector<Method>* out);
  static void AddLoadMethods(Handlers* self, std::vector<Method>* out);
  static void AddIndexMethods(Handlers* self, std::vector<Method>* out);
  static void AddWriteMethods(Handlers* self, std::vector<Method>* out);
  static void AddSearchMethods(Handlers* self, std::vector<Method>* out);
  static void AddHybridMethods(Handlers* self, std::vector<Method>* out);
  static void AddQueryMethods(Handlers* self, std::vector<Method>* out);
  static void AddSystemMethods(Handlers* self, std::vector<Method>* out);
  static void AddSegmentMethods(Handlers* self, std::vector<Method>* out);
  static void AddSnapshotMethods(Handlers* self, std::vector<Method>* out);

  /// Checks the name, then finds the collection by name or alias.
  Result<std::shared_ptr<engine::Collection>> Find(const std::string& db, const std::string& name) const;
  /// Runs `work(pool)` on the compute pool, or, where it is expected to read more than kBulkBytes, on the bulk pool,
  /// whose threads give way to those of the compute pool: so no quick request waits for a slow one to end. Answers
  /// "overloaded" where that pool takes no more.
  template <typename ExchangePtr, typename Work>
  void OnCompute(const ExchangePtr& exchange, uint64_t bytes, Work work);

  // database_rpcs.cc
  Status CreateDatabase(const wire::CreateDatabaseRequest&, wire::common::Status*, const RpcCall&);
  Status DropDatabase(const wire::DropDatabaseRequest&, wire::common::Status*, const RpcCall&);
  Status ListDatabases(const wire::ListDatabasesRequest&, wire::ListDatabasesResponse*, const RpcCall&);
  Status AlterDatabase(const wire::AlterDatabaseRequest&, wire::common::Status*, const RpcCall&);
  Status DescribeDatabase(const wire::DescribeDatabaseRequest&, wire::DescribeDatabaseResponse*, const RpcCall&);

  // collection_rpcs.cc
  Status CreateCollection(const wire::CreateCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status DropCollection(const wire::DropCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status HasCollection(const wire::HasCollectionRequest&, wire::BoolResponse*, const RpcCall&);
  Status DescribeCollection(const wire::DescribeCollectionRequest&, wire::DescribeCollectionResponse*, const RpcCall&);
  Status BatchDescribeCollection(const wire::BatchDescribeCollectionRequest&, wire::BatchDescribeCollectionResponse*,
                                 const RpcCall&);
  Status ShowCollections(const wire::ShowCollectionsRequest&, wire::ShowCollectionsResponse*, const RpcCall&);
  Status RenameCollection(const wire::RenameCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status GetCollectionStatistics(const wire::GetCollectionStatisticsRequest&, wire::GetCollectionStatisticsResponse*,
                                 const RpcCall&);
  Status AlterCollection(const wire::AlterCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status AlterCollectionField(const wire::AlterCollectionFieldRequest&, wire::common::Status*, const RpcCall&);
  Status AddCollectionField(const wire::AddCollectionFieldRequest&, wire::common::Status*, const RpcCall&);
  Status AddCollectionStructField(const wire::AddCollectionStructFieldRequest&, wire::common::Status*, const RpcCall&);

  // partition_rpcs.cc
  Status CreatePartition(const wire::CreatePartitionRequest&, wire::common::Status*, const RpcCall&);
  Status TruncateCollection(const wire::TruncateCollectionRequest&, wire::TruncateCollectionResponse*, const RpcCall&);
  Status DropPartition(const wire::DropPartitionRequest&, wire::common::Status*, const RpcCall&);
  Status HasPartition(const wire::HasPartitionRequest&, wire::BoolResponse*, const RpcCall&);
  Status ShowPartitions(const wire::ShowPartitionsRequest&, wire::ShowPartitionsResponse*, const RpcCall&);
  Status GetPartitionStatistics(const wire::GetPartitionStatisticsRequest&, wire::GetPartitionStatisticsResponse*,
                                const RpcCall&);

  // alias_rpcs.cc
  Status CreateAlias(const wire::CreateAliasRequest&, wire::common::Status*, const RpcCall&);
  Status DropAlias(const wire::DropAliasRequest&, wire::common::Status*, const RpcCall&);
  Status AlterAlias(const wire::AlterAliasRequest&, wire::common::Status*, const RpcCall&);
  Status DescribeAlias(const wire::DescribeAliasRequest&, wire::DescribeAliasResponse*, const RpcCall&);
  Status ListAliases(const wire::ListAliasesRequest&, wire::ListAliasesResponse*, const RpcCall&);

  // load_rpcs.cc
  Status LoadCollection(const wire::LoadCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status ReleaseCollection(const wire::ReleaseCollectionRequest&, wire::common::Status*, const RpcCall&);
  Status LoadPartitions(const wire::LoadPartitionsRequest&, wire::common::Status*, const RpcCall&);
  Status ReleasePartitions(const wire::ReleasePartitionsRequest&, wire::common::Status*, const RpcCall&);
  Status GetLoadingProgress(const wire::GetLoadingProgressRequest&, wire::GetLoadingProgressResponse*, const RpcCall&);
  Status GetLoadState(const wire::GetLoadStateRequest&, wire::GetLoadStateResponse*, const RpcCall&);

  // index_rpcs.cc
  Status CreateIndex(const wire::CreateIndexRequest&, wire::common::Status*, const RpcCall&);
  Status AlterIndex(const wire::AlterIndexRequest&, wire::common::Status*, const RpcCall&);
  Status DescribeIndex(const wire::DescribeIndexRequest&, wire::DescribeIndexResponse*, const RpcCall&);
  Status DropIndex(const wire::DropIndexRequest&, wire::common::Status*, const RpcCall&);
  Status GetIndexStatistics(const wire::GetIndexStatisticsRequest&, wire::GetIndexStatisticsResponse*, const RpcCall&);
  Status GetIndexState(const wire::GetIndexStateRequest&, wire::GetIndexStateResponse*, const RpcCall&);
  Status GetIndexBuildProgress(const wire::GetIndexBuildProgressRequest&, wire::GetIndexBuildProgressResponse*,
                               const RpcCall&);

  // write_rpcs.cc
  void Insert(const std::shared_ptr<Exchange<wire::InsertRequest, wire::MutationResult>>&);
  void RunUpsert(const std::shared_ptr<Exchange<wire::UpsertRequest, wire::MutationResult>>&,
                 const std::shared_ptr<engine::WriteRequest>& sent);
  void Upsert(const std::shared_ptr<Exchange<wire::UpsertRequest, wire::MutationResult>>&);
  void Delete(const std::shared_ptr<Exchange<wire::DeleteRequest, wire::MutationResult>>&);
  Status Flush(const wire::FlushRequest&, wire::FlushResponse*, const RpcCall&);
  Status FlushAll(const wire::FlushAllRequest&, wire::FlushAllResponse*, const RpcCall&);
  Status GetFlushState(const wire::GetFlushStateRequest&, wire::GetFlushStateResponse*, const RpcCall&);
  Status GetFlushAllState(const wire::GetFlushAllStateRequest&, wire::GetFlushAllStateResponse*, const RpcCall&);

  // search_rpcs.cc, query_rpcs.cc
  void Search(const std::shared_ptr<Exchange<wire::SearchRequest, wire::SearchResults>>&);
  /// Queues a search by scan, to be run along with those that ask the same of other vectors.
  void ShareScan(WaitingSearch search, bool bulk);
  void RunShared(const std::string& name, ThreadPool* pool);

  // hybrid_rpcs.cc
  void HybridSearch(const std::shared_ptr<Exchange<wire::HybridSearchRequest, wire::SearchResults>>&);
  void Query(const std::shared_ptr<Exchange<wire::QueryRequest, wire::QueryResults>>&);

  // system_rpcs.cc
  Status Connect(const wire::ConnectRequest&, wire::ConnectResponse*, const RpcCall&);
  Status RunAnalyzer(const wire::RunAnalyzerRequest&, wire::RunAnalyzerResponse*, const RpcCall&);
  Status GetVersion(const wire::GetVersionRequest&, wire::GetVersionResponse*, const RpcCall&);
  Status CheckHealth(const wire::CheckHealthRequest&, wire::CheckHealthResponse*, const RpcCall&);
  Status AllocTimestamp(const wire::AllocTimestampRequest&, wire::AllocTimestampResponse*, const RpcCall&);
  Status GetComponentStates(const wire::GetComponentStatesRequest&, wire::ComponentStates*, const RpcCall&);
  Status GetMetrics(const wire::GetMetricsRequest&, wire::GetMetricsResponse*, const RpcCall&);
  Status ListResourceGroups(const wire::ListResourceGroupsRequest&, wire::ListResourceGroupsResponse*, const RpcCall&);
  Status DescribeResourceGroup(const wire::DescribeResourceGroupRequest&, wire::DescribeResourceGroupResponse*,
                               const RpcCall&);

  // segment_rpcs.cc
  Status GetPersistentSegmentInfo(const wire::GetPersistentSegmentInfoRequest&, wire::GetPersistentSegmentInfoResponse*,
                                  const RpcCall&);
  Status GetQuerySegmentInfo(const wire::GetQuerySegmentInfoRequest&, wire::GetQuerySegmentInfoResponse*,
                             const RpcCall&);
  Status GetReplicas(const wire::GetReplicasRequest&, wire::GetReplicasResponse*, const RpcCall&);
  // snapshot_rpcs.cc
  Status CreateSnapshot(const wire::CreateSnapshotRequest&, wire::common::Status*, const RpcCall&);
  Status DropSnapshot(const wire::DropSnapshotRequest&, wire::common::Status*, const RpcCall&);
  Status ListSnapshots(const wire::ListSnapshotsRequest&, wire::ListSnapshotsResponse*, const RpcCall&);
  Status DescribeSnapshot(const wire::DescribeSnapshotRequest&, wire::DescribeSnapshotResponse*, const RpcCall&);
  Status RestoreSnapshot(const wire::RestoreSnapshotRequest&, wire::RestoreSnapshotResponse*, const RpcCall&);
  Status GetRestoreSnapshotState(const wire::GetRestoreSnapshotStateRequest&, wire::GetRestoreSnapshotStateResponse*,
                                 const RpcCall&);
  Status ListRestoreSnapshotJobs(const wire::ListRestoreSnapshotJobsRequest&, wire::ListRestoreSnapshotJobsResponse*,
                                 const RpcCall&);

  Status ManualCompaction(const wire::ManualCompactionRequest&, wire::ManualCompactionResponse*, const RpcCall&);
  Status GetCompactionState(const wire::GetCompactionStateRequest&, wire::GetCompactionStateResponse*, const RpcCall&);
  Status GetCompactionStateWithPlans(const wire::GetCompactionPlansRequest&, wire::GetCompactionPlansResponse*,
                                     const RpcCall&);

  /// Bounds of limit and offset in reads of a collection.
  [[nodiscard]] PageLimits PageLimitsOf(const engine::CollectionInfo& info) const;

  /// Of a kilobyte or two each.
  static constexpr size_t kKeptFilters = 1024;

  engine::Engine& engine_;
  ThreadPool& compute_;
  ThreadPool& control_;
  const ServiceOptions options_;
  metrics::Counter& bulk_requests_;
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  ViewLeases views_;
  SearchLeases leases_;
  LeaseKeeper keeper_;
  ResultCache results_;
  CompiledFilters filters_{kKeptFilters};
  SharedScans scans_;
  ThreadPool bulk_;  // last: its threads end before what they use
};

// Implementation of the templates -------------------------------------------------------------------------------------

/// Requests whose db_name is what they are about: an empty one is not filled from the connection.
template <typename RequestType>
inline constexpr bool kNamesDatabase = false;
template <>
inline constexpr bool kNamesDatabase<wire::CreateDatabaseRequest> = true;
template <>
inline constexpr bool kNamesDatabase<wire::DropDatabaseRequest> = true;
template <>
inline constexpr bool kNamesDatabase<wire::AlterDatabaseRequest> = true;

template <typename RequestType, typename ResponseType>
std::shared_ptr<Exchange<RequestType, ResponseType>> Handlers::Accept(std::shared_ptr<RpcCall> call,
                                                                      const MethodMetrics& metrics) {
  RpcCall& incoming = *call;
  const std::string_view message = incoming.message();
  auto exchange = std::make_shared<Exchange<RequestType, ResponseType>>(std::move(call), metrics);
  RequestType* request = exchange->mutable_request();
  if (!request->ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    metrics.requests.Add();
    metrics.errors.Add();
    incoming.FinishWithError(GrpcCode::kInvalidArgument, "the request message cannot be decoded");
    return nullptr;
  }
  const auto fill = [&incoming](std::string* name) {
    if (!name->empty()) return;
    const std::string_view connection_db = incoming.header("dbname");
    *name = connection_db.empty() ? "default" : connection_db;
  };
  if constexpr (!kNamesDatabase<RequestType>) {
    if constexpr (requires { request->mutable_db_name(); }) fill(request->mutable_db_name());
    if constexpr (requires { request->mutable_dbname(); }) fill(request->mutable_dbname());
  }
  return exchange;
}

template <typename RequestType, typename ResponseType>
Method Handlers::Sync(const char* name, Lane lane, Handlers* self, SyncHandler<RequestType, ResponseType> handler) {
  return {name, lane, [self, handler](std::shared_ptr<RpcCall> call, const MethodMetrics& metrics) {
            auto exchange = Accept<RequestType, ResponseType>(std::move(call), metrics);
            if (exchange == nullptr) return;
            exchange->Finish((self->*handler)(exchange->request(), exchange->response(), exchange->call()));
          }};
}

template <typename RequestType, typename ResponseType>
Method Handlers::Async(const char* name, Lane lane, Handlers* self, AsyncHandler<RequestType, ResponseType> handler) {
  return {name, lane, [self, handler](std::shared_ptr<RpcCall> call, const MethodMetrics& metrics) {
            auto exchange = Accept<RequestType, ResponseType>(std::move(call), metrics);
            if (exchange != nullptr) (self->*handler)(exchange);
          }};
}

template <typename ExchangePtr, typename Work>
void Handlers::OnCompute(const ExchangePtr& exchange, uint64_t bytes, Work work) {
  const bool bulk = bytes > kBulkBytes;
  ThreadPool* pool = bulk ? &bulk_ : &compute_;
  if (bulk) bulk_requests_.Add();
  if (!pool->Submit([work = std::move(work), pool] { work(pool); })) {
    exchange->Finish(Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"));
  }
}

}  // namespace quiver::api
