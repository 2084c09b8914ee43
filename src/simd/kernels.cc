#include "simd/kernels.h"

#include <cstdlib>

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
  }
  return false;
#else
  return level == Level::kBaseline;
#endif
}

const KernelTable& Choose() {
  Level cap = Level::kAvx512;
  if (const char* name = std::getenv("QUIVER_SIMD"); name != nullptr) {
    for (Level level : {Level::kBaseline, Level::kAvx2, Level::kAvx512}) {
      if (LevelName(level) == name) cap = level;
    }
  }
  for (Level level : {Level::kAvx512, Level::kAvx2}) {
    if (level > cap) continue;
    if (const KernelTable* table = KernelsFor(level)) return *table;
  }
  return kBaselineTable;
}

}  // namespace

const KernelTable& Kernels() {
  static const KernelTable& table = Choose();
  return table;
}

const KernelTable* KernelsFor(Level level) {
  if (!Supported(level)) return nullptr;
#if defined(__x86_64__)
  if (level == Level::kAvx2) return &kAvx2Table;
  if (level == Level::kAvx512) return &kAvx512Table;
#endif
  return &kBaselineTable;
}

std::string_view LevelName(Level level) {
  switch (level) {
    case Level::kBaseline: return "baseline";
    case Level::kAvx2: return "avx2";
    case Level::kAvx512: return "avx512";
  }
  return "";
}

}  // namespace quiver::simd
