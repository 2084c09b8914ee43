// File: api/service.h
// Service: MilvusService over an engine. Takes calls from the network server, finds the method, decodes, runs, answers.
//
//   Service service(*engine, compute, control, {.version = "3.0.0"});
//   auto server = Server::Start(options, [&](std::shared_ptr<RpcCall> call) { service.Handle(std::move(call)); },
//   http);
//
// Every call of a published method is answered with gRPC OK and a common.Status, also where the method is not served
// yet (code 10). gRPC errors are left for unknown methods, messages that are not protobuf, and the methods whose
// absence an SDK knows how to work around.
//
// Thread rule: Handle may be called from any thread and does not block: what waits for the disk runs on the control
// pool, large scans and large messages on the compute pool, the rest at once. The service, the engine and both pools
// outlive every call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/net/call.h"

namespace quiver {
class ThreadPool;
}
namespace quiver::engine {
class Engine;
}

namespace quiver::api {

struct ServiceOptions {
  std::string version = "3.0.0-quiver";  ///< shown by Connect and GetVersion; tools read it as a semantic version
  std::string build_time;
  std::string git_commit;
  int64_t max_topk = 16384;
  int64_t max_result_window = 16384;  ///< offset + limit
  int64_t max_queries = 16384;        ///< nq
  int64_t max_output_bytes = 100LL << 20;
  uint64_t result_cache_bytes =
      64ULL << 20;  ///< at most; never more than 1/16 of the engine's memory limit; 0 = no cache
};

class Service {
 public:
  Service(engine::Engine& engine, ThreadPool& compute, ThreadPool& control, const ServiceOptions& options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Answers one call, now or later.
  void Handle(std::shared_ptr<RpcCall> call);

  /// Answers `POST /explain`: a query or a search as a JSON object, answered with the explanation as JSON. Members:
  /// collection, db, filter, partitions, limit, offset, output_fields, params (further parameters by name); of a search
  /// also vector_field and either vector (numbers) or like (a primary key whose vector is the query). Status 400 or 500
  /// with {"code", "message"} for errors.
  void HandleExplain(const std::shared_ptr<HttpCall>& call);

  /// Names of the methods that are served, sorted.
  static std::vector<std::string> ServedMethods();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::api
