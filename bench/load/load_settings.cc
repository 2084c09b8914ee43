#include "load/load_settings.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace quiver::bench {

namespace {

std::string CpuText(double microseconds) { return microseconds < 0 ? "-" : fmt::format("{:.2f}", microseconds); }

}  // namespace

LoadOptions OptionsOf(const Settings& settings) {
  LoadOptions options;
  options.host = settings.host;
  options.port = settings.port;
  options.connections = std::min(settings.connections, settings.depth);
  options.depth = settings.depth;
  options.duration = std::chrono::milliseconds(static_cast<int64_t>(settings.seconds * 1000));
  options.server_pid = settings.server_pid;
  return options;
}

void PrintResult(const std::string& title, const LoadResult& result, const std::string& further_text,
                 const std::string& further_json) {
  const double rate = static_cast<double>(result.calls) / result.seconds;
  std::printf("%-44s %9.0f calls/s  p50 %8.0f us  p99 %8.0f us  CPU us/call: server %s, client %.2f%s\n", title.c_str(),
              rate, result.p50_us, result.p99_us, CpuText(result.server_cpu_us).c_str(), result.client_cpu_us,
              further_text.c_str());
  std::printf(
      "{\"name\":\"%s\",\"calls\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"calls_per_second\":%.1f,"
      "\"p50_us\":%.1f,\"p95_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"longest_gap_us\":%.1f,"
      "\"server_cpu_us\":%.2f,"
      "\"client_cpu_us\":%.2f%s}\n",
      title.c_str(), static_cast<unsigned long long>(result.calls), static_cast<unsigned long long>(result.errors),
      result.seconds, rate, result.p50_us, result.p95_us, result.p99_us, result.p999_us, result.max_us,
      result.longest_gap_us, result.server_cpu_us, result.client_cpu_us, further_json.c_str());
}

Status CheckErrors(const LoadResult& result) {
  if (result.errors == 0) return Status::Ok();
  return Error(StatusCode::kInternal, "{} of {} calls failed, the first: {}", result.errors, result.calls,
               result.first_error);
}

}  // namespace quiver::bench
