// File: base/status.h
// Status and Result<T>: how every module reports failure. No exception crosses a module border.
//
//   Result<Schema> ParseSchema(std::string_view text);
//   QUIVER_ASSIGN_OR_RETURN(Schema schema, ParseSchema(text));
//   QUIVER_RETURN_IF_ERROR(store.Put(schema));
//
// Codes are the numbers that Milvus clients read in common.Status.code, so that no layer has to translate them.
// Thread rule: values; const access from many threads is safe.
#pragma once

#include <fmt/format.h>

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace quiver {

/// Error kinds; the values are the published Milvus codes.
enum class StatusCode : int32_t {
  kOk = 0,
  kNotReady = 1,        ///< the service is starting or stopping; retriable
  kUnavailable = 2,     ///< temporarily unavailable; retriable
  kMemoryLimit = 3,     ///< over the memory budget; retriable
  kInternal = 5,        ///< a fault of ours
  kDiskFull = 7,        ///< no space left; retriable
  kRateLimit = 8,       ///< overload; retriable
  kForceDeny = 9,       ///< writes are refused (for example after a failed fsync)
  kUnimplemented = 10,  ///< published, but not served yet
  kCollectionNotFound = 100,
  kCollectionNotLoaded = 101,
  kCollectionLimit = 102,
  kCollectionLoaded = 104,
  kIllegalSchema = 105,
  kSchemaMismatch = 109,  ///< the client's cached schema is stale
  kPartitionNotFound = 200,
  kPartitionNotLoaded = 201,
  kCapacityExceeded = 250,
  kResourceGroupNotFound = 300,
  kReplicaNotFound = 400,
  kIndexNotFound = 700,
  kIndexNotSupported = 701,
  kIndexDuplicate = 702,
  kDatabaseNotFound = 800,
  kDatabaseLimit = 801,
  kDatabaseInvalidName = 802,
  kIo = 1000,          ///< reading or writing a file failed
  kCorruption = 1001,  ///< a checksum or format check failed
  kInvalidParameter = 1100,
  kMissingParameter = 1101,
  kTooLarge = 1102,
  kNotAuthenticated = 1400,
  kPrivilegeNotPermitted = 1401,
  kAliasNotFound = 1600,
  kAliasCollectionClash = 1601,
  kAliasExists = 1602,
  kFieldNotFound = 1700,
  kFieldInvalidName = 1701,
  kSnapshotNotFound = 2600,
  kUnsupported = 3000,
  kCancelled = 10000,
  kTimeout = 10001,
  kConflict = 10002,  ///< what was read before has changed; read again and repeat
};

/// Success, or a code with a message that is shown to the client as it stands.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }

  [[nodiscard]] bool ok() const { return code_ == StatusCode::kOk; }
  [[nodiscard]] StatusCode code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  /// Returns whether repeating the same request later may succeed without any change by the caller.
  [[nodiscard]] bool retriable() const;

  /// Returns the same code with "context: " before the message.
  [[nodiscard]] Status WithContext(std::string_view context) const;

  /// Returns "ok" or "code N: message", for logs.
  [[nodiscard]] std::string ToString() const;

  bool operator==(const Status&) const = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

/// Builds a Status with a formatted message: Error(StatusCode::kIo, "cannot open {}", path).
template <typename... Args>
Status Error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return {code, fmt::format(format, std::forward<Args>(args)...)};
}

/// Shorthand for the most frequent error: code 1100.
template <typename... Args>
Status InvalidParameter(fmt::format_string<Args...> format, Args&&... args) {
  return {StatusCode::kInvalidParameter, fmt::format(format, std::forward<Args>(args)...)};
}

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit by design, so that `return value;` works
  Result(Status status) : status_(std::move(status)) {  // NOLINT
    assert(!status_.ok() && "a Result without a value needs an error");
  }

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }

  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace quiver

#define QUIVER_CONCAT_INNER(a, b) a##b
#define QUIVER_CONCAT(a, b) QUIVER_CONCAT_INNER(a, b)
#define QUIVER_RETURN_IF_ERROR(expr)                                               \
  do {                                                                             \
    if (::quiver::Status status_or_ = (expr); !status_or_.ok()) return status_or_; \
  } while (false)
#define QUIVER_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                                 \
  if (!result.ok()) return result.status();             \
  lhs = *std::move(result)
#define QUIVER_ASSIGN_OR_RETURN(lhs, expr) QUIVER_ASSIGN_OR_RETURN_IMPL(QUIVER_CONCAT(result_, __LINE__), lhs, expr)
