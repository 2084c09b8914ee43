// File: api/status_codec.h
// Status <-> common.Status, as clients read it: the number in `code`, the older enum in `error_code`, the message in
// `reason`, and whether the request itself was at fault. Thread rule: pure functions.
#pragma once

#include "api/wire.h"
#include "base/status.h"

namespace quiver::api {

/// The published legacy number (common.ErrorCode) of a code; 1 (UnexpectedError) where there is no better one.
int LegacyErrorCode(StatusCode code);

/// Whether the caller can mend the request (extra_info "is_input_error"), in contrast to a fault or overload of ours.
bool IsInputError(StatusCode code);

/// Fills `out`, which is empty.
void EncodeStatus(const Status& status, wire::common::Status* out);

}  // namespace quiver::api
