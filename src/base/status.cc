#include "base/status.h"

namespace quiver {

bool Status::retriable() const {
  switch (code_) {
    case StatusCode::kNotReady:
    case StatusCode::kUnavailable:
    case StatusCode::kMemoryLimit:
    case StatusCode::kDiskFull:
    case StatusCode::kRateLimit:
    case StatusCode::kTimeout: return true;
    default: return false;
  }
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return *this;
  return {code_, fmt::format("{}: {}", context, message_)};
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  return fmt::format("code {}: {}", static_cast<int32_t>(code_), message_);
}

}  // namespace quiver
