#include "api/protobuf_log.h"

#include <google/protobuf/stubs/logging.h>

#include <chrono>
#include <mutex>
#include <string>

#include "base/logging.h"

namespace quiver::api {
namespace {

/// Lets a few messages per second through and counts the others.
class Limiter {
 public:
  /// Whether a message may be written; `dropped` is how many were not since the last one that was.
  bool Admit(uint64_t& dropped) {
    constexpr int kMaxPerSecond = 10;
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    if (written_ == 0 || now - window_ >= std::chrono::seconds(1)) {
      window_ = now;
      written_ = 0;
    }
    if (written_ == kMaxPerSecond) {
      ++dropped_;
      return false;
    }
    ++written_;
    dropped = dropped_;
    dropped_ = 0;
    return true;
  }

 private:
  std::mutex mutex_;
  std::chrono::steady_clock::time_point window_;
  int written_ = 0;
  uint64_t dropped_ = 0;
};

void WriteMessage(google::protobuf::LogLevel level, const char* file, int line, const std::string& message) {
  // Protobuf ends the process after a fatal message: that one is never left out.
  if (level == google::protobuf::LOGLEVEL_FATAL) {
    QUIVER_LOG(error, "protobuf: {} ({}:{})", message, file, line);
    return;
  }
  if (!log::Enabled(log::Level::kDebug)) return;
  static Limiter limiter;
  uint64_t dropped = 0;
  if (!limiter.Admit(dropped)) return;
  if (dropped == 0) {
    QUIVER_LOG(debug, "protobuf: {}", message);
  } else {
    QUIVER_LOG(debug, "protobuf: {} ({} messages before it were left out)", message, dropped);
  }
}

}  // namespace

void RouteProtobufLog() {
  // SetLogHandler itself is not safe to call from two threads.
  static std::once_flag once;
  std::call_once(once, [] { google::protobuf::SetLogHandler(&WriteMessage); });
}

}  // namespace quiver::api
