// File: schema/limits.h
// The published limits, in one place. Sizes are bytes unless said. Those that a server may be configured to raise are
// settings too (base/config.h); the values here are their defaults.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quiver::limits {

// Names and texts.
inline constexpr size_t kMaxNameLength = 255;  ///< collection, alias, partition, field, index, database, role
inline constexpr size_t kMaxUserNameLength = 32;
inline constexpr size_t kMinPasswordLength = 6;
inline constexpr size_t kMaxPasswordLength = 72;
inline constexpr size_t kMaxDescriptionLength = 1024;

// Schema.
inline constexpr size_t kMaxFields = 64;  ///< without the hidden `$meta`
inline constexpr size_t kMaxVectorFields = 10;
inline constexpr int64_t kMinDimension = 2;
inline constexpr int64_t kMaxDimension = 32768;                    ///< of float, f16, bf16, int8 vectors
inline constexpr int64_t kMaxBinaryDimension = kMaxDimension * 8;  ///< bits, a multiple of 8
inline constexpr int64_t kMaxVarCharLength = 65535;
inline constexpr int64_t kMaxTextLength = 2 << 20;       ///< of a TEXT value
inline constexpr size_t kMaxJsonLength = 65536;          ///< of one JSON value, `$meta` included
inline constexpr int64_t kMaxArrayCapacity = 4096;       ///< elements of an ARRAY value
inline constexpr uint32_t kMaxSparseIndex = 0xFFFFFFFE;  ///< greatest index of a sparse vector: indices are < 2^32 - 1
inline constexpr int kMaxJsonDepth = 512;  ///< nesting of one JSON value; ours, so that readers may recurse

// Objects.
inline constexpr int64_t kMaxShards = 16;
inline constexpr int64_t kMaxPartitions = 1024;       ///< per collection, `_default` included
inline constexpr int64_t kDefaultKeyPartitions = 16;  ///< logical partitions where a partition key is used
inline constexpr int64_t kMaxDatabases = 64;          ///< `default` included
inline constexpr int64_t kMaxCollections = 65536;
inline constexpr int64_t kMaxRoles = 10;
inline constexpr int64_t kMaxUsers = 100;
inline constexpr size_t kMaxIndexParamsSize = 100 << 10;  ///< names and values of one CreateIndex
inline constexpr int64_t kMaxTtlSeconds = 3'155'760'000;  ///< 100 years

// Requests.
inline constexpr int64_t kMaxTopK = 16384;
inline constexpr int64_t kMaxQueries = 16384;       ///< nq
inline constexpr int64_t kMaxResultWindow = 16384;  ///< offset + limit
inline constexpr int64_t kLargeTopK = 1'000'000;    ///< topk of collections with query_mode=large_topk
inline constexpr int64_t kMaxHybridRequests = 1024;
inline constexpr int64_t kMaxGroupSize = 10;
inline constexpr size_t kMaxOutputSize = 100 << 20;  ///< of one query result
inline constexpr size_t kMaxMessageSize = 64 << 20;  ///< of one request

}  // namespace quiver::limits
