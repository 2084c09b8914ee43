#include "simd/kernels.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ranges>
#include <string>

#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

bool Supported(Level level) {
#if defined(__x86_64__)
  switch (level) {
    case Level::kBaseline: return true;
    case Level::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt");
    case Level::kAvx512:
      return Supported(Level::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
    case Level::kAvx512Popcnt: return Supported(Level::kAvx512) && __builtin_cpu_supports("avx512vpopcntdq");
  }
  return false;
#else
  return level == Level::kBaseline;
#endif
}

/// Null until a level was selected.
std::atomic<const KernelTable*> selected_table{nullptr};

/// The names that may be asked for here, for messages.
std::string Available() {
  std::string names = "auto";
  for (const Level level : kLevels) {
    if (Supported(level)) names.append("|").append(LevelName(level));
  }
  return names;
}

Result<const KernelTable*> TableNamed(std::string_view name) {
  for (const Level level : kLevels | std::views::reverse) {
    if (name != "auto" && name != LevelName(level)) continue;
    if (const KernelTable* table = KernelsFor(level)) return table;
    if (name != "auto") {
      return InvalidParameter("this processor has no {}; expected one of {}", name, Available());
    }
  }
  return InvalidParameter("'{}' is not one of {}", name, Available());
}

const KernelTable& SelectFromEnvironment() {
  const char* name = std::getenv("QUIVER_SIMD");
  const Status status = SelectLevel(name == nullptr ? "auto" : name);
  if (!status.ok()) {
    std::fprintf(stderr, "QUIVER_SIMD: %s\n", status.message().c_str());
    std::_Exit(2);
  }
  return *selected_table.load(std::memory_order_relaxed);
}

}  // namespace

Status SelectLevel(std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const KernelTable* table, TableNamed(name));
  selected_table.store(table, std::memory_order_relaxed);
  return Status::Ok();
}

const KernelTable& Kernels() {
  // The tables are constants of the program, so the pointer is all that threads exchange.
  const KernelTable* table = selected_table.load(std::memory_order_relaxed);
  return table != nullptr ? *table : SelectFromEnvironment();
}

const KernelTable* KernelsFor(Level level) {
  if (!Supported(level)) return nullptr;
#if defined(__x86_64__)
  if (level == Level::kAvx2) return &kAvx2Table;
  if (level == Level::kAvx512) return &kAvx512Table;
  if (level == Level::kAvx512Popcnt) return &Avx512PopcntTable();
#endif
  return &kBaselineTable;
}

std::string_view LevelName(Level level) {
  switch (level) {
    case Level::kBaseline: return "baseline";
    case Level::kAvx2: return "avx2";
    case Level::kAvx512: return "avx512";
    case Level::kAvx512Popcnt: return "avx512popcnt";
  }
  return "";
}

void PackBitPlanes(const uint8_t* values, size_t bytes, uint8_t* planes) {
  for (size_t b = 0; b < bytes; ++b) {
    for (size_t p = 0; p < ByteCodeKernels::kBitPlanes; ++p) {
      unsigned byte = 0;
      for (size_t bit = 0; bit < 8; ++bit) byte |= ((values[b * 8 + bit] >> p) & 1u) << bit;
      uint8_t* at = planes + (b / 64 * ByteCodeKernels::kBitPlanes + p) * 128 + b % 64;
      at[0] = static_cast<uint8_t>(byte);
      at[64] = static_cast<uint8_t>(byte >> 4);
    }
  }
}

}  // namespace quiver::simd
