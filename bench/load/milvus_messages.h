// File: bench/load/milvus_messages.h
// The requests that the load generator sends, and what it checks in the replies.
// The collection: `id` (int64 primary key, given by the server) and `vector` (f32, L2, FLAT). With keys of the client
// there is also `bucket` (int64, key modulo kBuckets), a field to filter by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/net/grpc_client.h"
#include "base/status.h"

namespace quiver::bench {

constexpr std::string_view kInsertMethod = "/milvus.proto.milvus.MilvusService/Insert";
constexpr std::string_view kSearchMethod = "/milvus.proto.milvus.MilvusService/Search";
constexpr std::string_view kGetVersionMethod = "/milvus.proto.milvus.MilvusService/GetVersion";

constexpr std::string_view kUpsertMethod = "/milvus.proto.milvus.MilvusService/Upsert";
constexpr std::string_view kDeleteMethod = "/milvus.proto.milvus.MilvusService/Delete";
constexpr std::string_view kQueryMethod = "/milvus.proto.milvus.MilvusService/Query";
constexpr std::string_view kCreateCollectionMethod = "/milvus.proto.milvus.MilvusService/CreateCollection";
constexpr std::string_view kCreatePartitionMethod = "/milvus.proto.milvus.MilvusService/CreatePartition";
constexpr std::string_view kCreateSnapshotMethod = "/milvus.proto.milvus.MilvusService/CreateSnapshot";
constexpr std::string_view kDropSnapshotMethod = "/milvus.proto.milvus.MilvusService/DropSnapshot";

/// Different values of the field `bucket`.
constexpr int64_t kBuckets = 1024;

/// Whose keys a collection has.
enum class Keys : uint8_t { kServer, kClient };

/// Drops the collection if there is one, makes it anew, indexes and loads it.
Status MakeCollection(api::GrpcClient& client, const std::string& name, int dim, Keys keys = Keys::kServer);

Status DropCollection(api::GrpcClient& client, const std::string& name);

/// Counts the rows with a query.
Result<int64_t> CountRows(api::GrpcClient& client, const std::string& name);

/// Returns a serialized insert of `rows` vectors, random from `seed` on.
std::string InsertMessage(const std::string& collection, int dim, int rows, uint64_t seed);

/// Makes the rows of keys: a key decides its whole row, and no two rows are equal (up to 2^24 rows).
/// Messages are put together from prepared parts, so that the generator takes little of the machine.
class KeyedRows {
 public:
  explicit KeyedRows(int dim);

  /// Returns a serialized insert or upsert (the bytes are the same) of the rows of `keys`. The view is valid until the
  /// next call.
  std::string_view Write(const std::string& collection, const std::string& partition, std::span<const int64_t> keys);

  /// Returns a serialized search for the vector of the row of `key`.
  std::string Search(const std::string& collection, const std::string& partition, int64_t key, int limit) const;

 private:
  void CopyVector(int64_t key, char* to) const;

  size_t dim_;
  std::vector<float> vectors_;
  std::string message_;
};

/// Returns a serialized delete by `filter`.
std::string DeleteMessage(const std::string& collection, const std::string& filter);

/// Returns a serialized query for the vector of one row, strongly consistent; of one partition if it is named.
std::string QueryMessage(const std::string& collection, const std::string& partition, int64_t key);

/// Return the serialized requests that create an empty collection, a partition, a snapshot; DropSnapshot takes the same
/// name and collection.
std::string CreateCollectionMessage(const std::string& name, int dim, Keys keys);
std::string CreatePartitionMessage(const std::string& collection, const std::string& partition);
std::string CreateSnapshotMessage(const std::string& collection, const std::string& snapshot);
std::string DropSnapshotMessage(const std::string& collection, const std::string& snapshot);

/// Starts a compaction of the whole collection and waits until it has ended.
Status Compact(api::GrpcClient& client, const std::string& name);

/// Returns a serialized search of `nq` vectors, random from `seed` on.
std::string SearchMessage(const std::string& collection, int dim, int nq, int limit, uint64_t seed);

/// The following return what is wrong with a reply, nothing if it is as it should be.
std::string CheckInsert(const api::GrpcReply& reply, int rows);
std::string CheckUpsert(const api::GrpcReply& reply, int rows);
std::string CheckDelete(const api::GrpcReply& reply);
std::string CheckQuery(const api::GrpcReply& reply, int64_t key);
std::string CheckFound(const api::GrpcReply& reply, int64_t key);  ///< a search whose nearest row must be that of `key`
std::string CheckStatus(const api::GrpcReply& reply);
std::string CheckSearch(const api::GrpcReply& reply, int nq, int64_t results_per_query);
std::string CheckVersion(const api::GrpcReply& reply);
std::string CountInserted(const api::GrpcReply& reply, int64_t* rows);  ///< adds to `rows` what an insert took
std::string CheckFoundAny(const api::GrpcReply& reply);                 ///< a search, whatever it finds
std::string ReadKeys(const api::GrpcReply& reply, std::vector<int64_t>* int_keys);  ///< sets the keys a search found

}  // namespace quiver::bench
