#include "load/replay_load.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "load/load_runner.h"
#include "load/milvus_messages.h"

namespace quiver::bench {

namespace {

/// The requests of a file.
class Requests {
 public:
  static Result<Requests> Read(const std::string& path) {
    Requests requests;
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return Error(StatusCode::kIo, "cannot open {}", path);
    requests.bytes_.resize(static_cast<size_t>(file.tellg()));
    file.seekg(0);
    if (!file.read(requests.bytes_.data(), static_cast<std::streamsize>(requests.bytes_.size()))) {
      return Error(StatusCode::kIo, "cannot read {}", path);
    }
    for (size_t at = 0; at < requests.bytes_.size();) {
      uint32_t size = 0;
      if (requests.bytes_.size() - at < sizeof(size)) return Error(StatusCode::kIo, "{} ends in a length", path);
      std::memcpy(&size, requests.bytes_.data() + at, sizeof(size));
      at += sizeof(size);
      if (requests.bytes_.size() - at < size) return Error(StatusCode::kIo, "{} ends in a request", path);
      requests.places_.push_back({at, size});
      at += size;
    }
    if (requests.places_.empty()) return Error(StatusCode::kIo, "{} holds no request", path);
    return requests;
  }

  [[nodiscard]] uint64_t size() const { return places_.size(); }
  [[nodiscard]] std::string_view operator[](uint64_t index) const {
    const Place& place = places_[index % places_.size()];
    return std::string_view(bytes_).substr(place.offset, place.size);
  }

 private:
  struct Place {
    size_t offset;
    size_t size;
  };
  std::string bytes_;
  std::vector<Place> places_;
};

Status WriteAnswers(const std::string& path, const std::vector<std::vector<int64_t>>& answers) {
  std::ofstream file(path, std::ios::binary);
  for (const std::vector<int64_t>& keys : answers) {
    const auto count = static_cast<uint32_t>(keys.size());
    file.write(reinterpret_cast<const char*>(&count), sizeof(count));
    file.write(reinterpret_cast<const char*>(keys.data()), static_cast<std::streamsize>(keys.size() * sizeof(int64_t)));
  }
  file.flush();
  return file ? Status::Ok() : Error(StatusCode::kIo, "cannot write {}", path);
}

}  // namespace

Status RunReplayInsert(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Requests requests, Requests::Read(settings.file));
  LoadOptions options = OptionsOf(settings);
  options.connections = options.depth = settings.clients;
  options.max_calls = requests.size();
  int64_t rows = 0;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              options, kInsertMethod, [&](uint64_t index) { return requests[index]; },
                              [&](uint64_t, const api::GrpcReply& reply) { return CountInserted(reply, &rows); }));
  const double rate = static_cast<double>(rows) / result.seconds;
  PrintResult(fmt::format("replay of {} inserts, {} clients", requests.size(), settings.clients), result,
              fmt::format("  {:.0f} rows/s", rate), fmt::format(",\"rows\":{},\"rows_per_second\":{:.1f}", rows, rate));
  return CheckErrors(result);
}

Status RunReplaySearch(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const Requests requests, Requests::Read(settings.file));
  LoadOptions options = OptionsOf(settings);
  std::vector<std::vector<int64_t>> answers;
  if (!settings.answers.empty()) {
    options.max_calls = requests.size();
    answers.resize(requests.size());
  }
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              options, kSearchMethod, [&](uint64_t index) { return requests[index]; },
                              [&](uint64_t index, const api::GrpcReply& reply) {
                                return answers.empty() ? CheckFoundAny(reply) : ReadKeys(reply, &answers[index]);
                              }));
  PrintResult(fmt::format("replay of {} searches, depth {}", requests.size(), settings.depth), result, "",
              fmt::format(",\"depth\":{},\"connections\":{}", settings.depth, options.connections));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  return settings.answers.empty() ? Status::Ok() : WriteAnswers(settings.answers, answers);
}

}  // namespace quiver::bench
