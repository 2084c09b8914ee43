#include "api/status_codec.h"

#include "common.pb.h"

namespace quiver::api {

int LegacyErrorCode(StatusCode code) {
  using wire::common::ErrorCode;
  switch (code) {
    case StatusCode::kOk: return ErrorCode::Success;
    case StatusCode::kNotReady: return ErrorCode::NotReadyServe;
    case StatusCode::kMemoryLimit: return ErrorCode::InsufficientMemoryToLoad;
    case StatusCode::kDiskFull: return ErrorCode::DiskQuotaExhausted;
    case StatusCode::kRateLimit: return ErrorCode::RateLimit;
    case StatusCode::kForceDeny: return ErrorCode::ForceDeny;
    case StatusCode::kCollectionNotFound: return ErrorCode::CollectionNotExists;
    case StatusCode::kSchemaMismatch: return ErrorCode::SchemaMismatch;
    case StatusCode::kPartitionNotFound:
    case StatusCode::kReplicaNotFound: return ErrorCode::MetaFailed;
    case StatusCode::kIndexNotFound: return ErrorCode::IndexNotExist;
    case StatusCode::kInvalidParameter:
    case StatusCode::kMissingParameter:
    case StatusCode::kTooLarge: return ErrorCode::IllegalArgument;
    default: return ErrorCode::UnexpectedError;
  }
}

bool IsInputError(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
    case StatusCode::kNotReady:
    case StatusCode::kUnavailable:
    case StatusCode::kMemoryLimit:
    case StatusCode::kInternal:
    case StatusCode::kDiskFull:
    case StatusCode::kRateLimit:
    case StatusCode::kForceDeny:
    case StatusCode::kUnimplemented:
    case StatusCode::kIo:
    case StatusCode::kCorruption:
    case StatusCode::kCancelled:
    case StatusCode::kConflict:
    case StatusCode::kTimeout: return false;
    default: return true;
  }
}

void EncodeStatus(const Status& status, wire::common::Status* out) {
  if (status.ok()) return;  // all zero: what clients read as success
  out->set_error_code(static_cast<wire::common::ErrorCode>(LegacyErrorCode(status.code())));
  out->set_code(static_cast<int32_t>(status.code()));
  out->set_reason(status.message());
  out->set_detail(status.message());
  out->set_retriable(status.retriable());
  if (IsInputError(status.code())) (*out->mutable_extra_info())["is_input_error"] = "true";
}

}  // namespace quiver::api
