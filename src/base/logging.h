// File: base/logging.h
// Structured log of the process: one line per event, as text or JSON, to standard error or to a file with size
// rotation.
//
//   QUIVER_LOG(info, "listening on {}:{}", host, port);
//   log::Write(log::Level::kWarn, "slow query", {{"collection", name}, {"ms", std::to_string(ms)}});
//
// A line is one write(2): lines of many threads never mix and none is lost in a crash of the process. Never log
// passwords, tokens or `authorization` headers; Field values whose key names a secret are blanked as a second line of
// defence. Thread rule: all functions may be called from any thread; before Configure the log goes to standard error.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace quiver::log {

enum class Level : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kOff };

/// Parses "trace", "debug", "info", "warn", "error" or "off".
std::optional<Level> ParseLevel(std::string_view name);

struct Options {
  Level level = Level::kInfo;
  bool json = false;
  std::string file;                        ///< empty = standard error
  uint64_t max_file_bytes = 100ULL << 20;  ///< the file is rotated to file.1, file.2, ... at this size; 0 = never
  int max_files = 5;                       ///< rotated files kept
};

/// One named value of an event.
struct Field {
  std::string_view key;
  std::string value;
};

/// Sets where and how to log. Error: kIo when the file cannot be opened; the old settings stay then.
Status Configure(const Options& options);
/// Opens the file anew under its name (after an outside rotation moved it). Called on SIGHUP. Standard error: no
/// effect.
Status Reopen();

namespace internal {
extern std::atomic<Level> threshold;
}
/// Whether events of this level are written.
inline bool Enabled(Level level) { return level >= internal::threshold.load(std::memory_order_relaxed); }

/// Writes one event.
void Write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

// Lower-case names of the levels for QUIVER_LOG.
// NOLINTBEGIN(readability-identifier-naming): they are arguments of a macro, not constants to be used by name.
namespace level {
inline constexpr Level trace = Level::kTrace;
inline constexpr Level debug = Level::kDebug;
inline constexpr Level info = Level::kInfo;
inline constexpr Level warn = Level::kWarn;
inline constexpr Level error = Level::kError;
}  // namespace level
// NOLINTEND(readability-identifier-naming)

}  // namespace quiver::log

/// Logs a formatted message; the arguments are evaluated only where the level is enabled.
#define QUIVER_LOG(level_name, ...)                                                       \
  do {                                                                                    \
    if (::quiver::log::Enabled(::quiver::log::level::level_name))                         \
      ::quiver::log::Write(::quiver::log::level::level_name, ::fmt::format(__VA_ARGS__)); \
  } while (false)
