// File: api/wire.h
// Short names for the generated message types, declared without including them:
//
//   Result<Column> DecodeColumn(const wire::schema::FieldData& data, ...);
#pragma once

namespace milvus::proto {
namespace common {
class KeyValuePair;
class PlaceholderGroup;
class Status;
}  // namespace common
namespace schema {
class CollectionSchema;
class FieldData;
class FieldSchema;
class StructArrayFieldSchema;
class IDs;
class TemplateValue;
class ValueField;
}  // namespace schema
namespace milvus {
class AddCollectionFieldRequest;
class AddCollectionStructFieldRequest;
class AllocTimestampRequest;
class AllocTimestampResponse;
class AlterAliasRequest;
class AlterCollectionFieldRequest;
class AlterCollectionRequest;
class AlterDatabaseRequest;
class AlterIndexRequest;
class BatchDescribeCollectionRequest;
class BatchDescribeCollectionResponse;
class BoolResponse;
class CheckHealthRequest;
class CheckHealthResponse;
class ComponentStates;
class ConnectRequest;
class ConnectResponse;
class CreateAliasRequest;
class CreateCollectionRequest;
class CreateDatabaseRequest;
class CreateIndexRequest;
class CreatePartitionRequest;
class DeleteRequest;
class DescribeAliasRequest;
class DescribeAliasResponse;
class DescribeCollectionRequest;
class DescribeCollectionResponse;
class DescribeDatabaseRequest;
class DescribeDatabaseResponse;
class DescribeIndexRequest;
class DescribeIndexResponse;
class DescribeResourceGroupRequest;
class DescribeResourceGroupResponse;
class DropAliasRequest;
class DropCollectionRequest;
class DropDatabaseRequest;
class DropIndexRequest;
class DropPartitionRequest;
class FlushAllRequest;
class FlushAllResponse;
class FlushRequest;
class FlushResponse;
class GetCollectionStatisticsRequest;
class GetCollectionStatisticsResponse;
class GetCompactionPlansRequest;
class GetCompactionPlansResponse;
class GetCompactionStateRequest;
class GetCompactionStateResponse;
class GetComponentStatesRequest;
class GetFlushAllStateRequest;
class GetFlushAllStateResponse;
class GetFlushStateRequest;
class GetFlushStateResponse;
class GetIndexBuildProgressRequest;
class GetIndexBuildProgressResponse;
class GetIndexStateRequest;
class GetIndexStateResponse;
class GetIndexStatisticsRequest;
class GetIndexStatisticsResponse;
class GetLoadStateRequest;
class GetLoadStateResponse;
class GetLoadingProgressRequest;
class GetLoadingProgressResponse;
class GetMetricsRequest;
class GetMetricsResponse;
class GetPartitionStatisticsRequest;
class GetPartitionStatisticsResponse;
class GetPersistentSegmentInfoRequest;
class GetPersistentSegmentInfoResponse;
class GetQuerySegmentInfoRequest;
class GetQuerySegmentInfoResponse;
class GetReplicasRequest;
class GetReplicasResponse;
class GetVersionRequest;
class GetVersionResponse;
class HasCollectionRequest;
class HasPartitionRequest;
class HybridSearchRequest;
class InsertRequest;
class ListAliasesRequest;
class ListAliasesResponse;
class ListDatabasesRequest;
class ListDatabasesResponse;
class ListResourceGroupsRequest;
class ListResourceGroupsResponse;
class LoadCollectionRequest;
class LoadPartitionsRequest;
class CreateSnapshotRequest;
class DropSnapshotRequest;
class ListSnapshotsRequest;
class ListSnapshotsResponse;
class DescribeSnapshotRequest;
class DescribeSnapshotResponse;
class RestoreSnapshotRequest;
class RestoreSnapshotResponse;
class GetRestoreSnapshotStateRequest;
class GetRestoreSnapshotStateResponse;
class ListRestoreSnapshotJobsRequest;
class ListRestoreSnapshotJobsResponse;
class RunAnalyzerRequest;
class RunAnalyzerResponse;
class TruncateCollectionRequest;
class TruncateCollectionResponse;
class ManualCompactionRequest;
class ManualCompactionResponse;
class MutationResult;
class QueryRequest;
class QueryResults;
class ReleaseCollectionRequest;
class ReleasePartitionsRequest;
class RenameCollectionRequest;
class SearchRequest;
class SearchResults;
class ShowCollectionsRequest;
class ShowCollectionsResponse;
class ShowPartitionsRequest;
class ShowPartitionsResponse;
class UpsertRequest;
}  // namespace milvus
}  // namespace milvus::proto

namespace quiver::api {
namespace wire {
namespace common = ::milvus::proto::common;
namespace schema = ::milvus::proto::schema;
using namespace ::milvus::proto::milvus;  // NOLINT: the service's own messages, wire::InsertRequest
}  // namespace wire
}  // namespace quiver::api
