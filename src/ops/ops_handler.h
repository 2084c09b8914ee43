// File: ops/ops_handler.h
// OpsHandler: the operations port. Health for people, load balancers and orchestrators; metrics for Prometheus.
//
//   path             answers
//   /healthz         200 "OK" while the server is ready and can write, else 503 and the reason
//   /readyz          the same
//   /livez           200 "OK" as long as the process answers
//   /api/v1/health   as /healthz, in JSON: {"status":"ok"} or {"status":"unhealthy","reason":"..."}
//   /metrics         Prometheus text
//   others           404; other methods than GET and HEAD: 405
//
// Thread rule: all methods may be called from any thread; Handle answers at once.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "api/net/call.h"
#include "base/metrics.h"
#include "base/status.h"

namespace quiver::ops {

class OpsHandler {
 public:
  /// Until SetHealth the server counts as starting.
  explicit OpsHandler(metrics::Registry& registry);

  /// Sets what decides about health: ok, or why not. `health` must be quick.
  void SetHealth(std::function<Status()> health);

  /// Answers one request.
  void Handle(const std::shared_ptr<api::HttpCall>& call) const;

  /// The answer to one request, for tests and for Handle.
  [[nodiscard]] api::HttpResponse Answer(const api::HttpRequest& request) const;

 private:
  [[nodiscard]] Status Health() const;

  metrics::Registry& registry_;
  mutable std::mutex mutex_;
  std::function<Status()> health_;
};

/// Answers HTTP/1.1 on the port of the data protocol: `GET /` says what listens here, other paths are unknown as long
/// as no REST route is served.
api::HttpResponse AnswerDataPort(const api::HttpRequest& request, const std::string& version);

}  // namespace quiver::ops
