// File: bench/load/milvus_messages.h
// The requests that the load generator sends, and what it checks in the replies.
// The collection: `id` (int64 primary key, given by the server) and `vector` (f32, L2, FLAT).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "api/net/grpc_client.h"
#include "base/status.h"

namespace quiver::bench {

constexpr std::string_view kInsertMethod = "/milvus.proto.milvus.MilvusService/Insert";
constexpr std::string_view kSearchMethod = "/milvus.proto.milvus.MilvusService/Search";
constexpr std::string_view kGetVersionMethod = "/milvus.proto.milvus.MilvusService/GetVersion";

/// Drops the collection if there is one, makes it anew, indexes and loads it.
Status MakeCollection(api::GrpcClient& client, const std::string& name, int dim);

Status DropCollection(api::GrpcClient& client, const std::string& name);

/// Counts the rows with a query.
Result<int64_t> CountRows(api::GrpcClient& client, const std::string& name);

/// Returns a serialized insert of `rows` vectors, random from `seed` on.
std::string InsertMessage(const std::string& collection, int dim, int rows, uint64_t seed);

/// Returns a serialized search of `nq` vectors, random from `seed` on.
std::string SearchMessage(const std::string& collection, int dim, int nq, int limit, uint64_t seed);

/// The following return what is wrong with a reply, nothing if it is as it should be.
std::string CheckInsert(const api::GrpcReply& reply, int rows);
std::string CheckSearch(const api::GrpcReply& reply, int nq, int64_t results_per_query);
std::string CheckVersion(const api::GrpcReply& reply);

}  // namespace quiver::bench
