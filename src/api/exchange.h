// File: api/exchange.h
// Exchange: one typed call on its way: the decoded request, the reply being filled, and the answer. Shared between the
// handler and whatever finishes it later (a callback of the engine, a task on a pool).
//
//   void Insert(const std::shared_ptr<Exchange<InsertRequest, MutationResult>>& exchange) {
//     engine.Insert(..., [exchange](Result<WriteResult> result) { ...; exchange->Finish(Status::Ok()); });
//   }
//
// Thread rule: owned by one thread at a time; Finish is called exactly once.
#pragma once

#include <google/protobuf/arena.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "api/net/call.h"
#include "api/status_codec.h"
#include "base/metrics.h"
#include "base/status.h"
#include "common.pb.h"

namespace quiver::api {

/// Counters of one method.
struct MethodMetrics {
  metrics::Counter& requests;
  metrics::Counter& errors;  ///< answers with a Status that is not ok
  metrics::Histogram& seconds;
};

template <typename RequestType, typename ResponseType>
class Exchange {
 public:
  Exchange(std::shared_ptr<RpcCall> call, const MethodMetrics& metrics)
      : call_(std::move(call)),
        metrics_(metrics),
        request_(google::protobuf::Arena::CreateMessage<RequestType>(&arena_)),
        response_(google::protobuf::Arena::CreateMessage<ResponseType>(&arena_)) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  [[nodiscard]] const RequestType& request() const { return *request_; }
  [[nodiscard]] RequestType* mutable_request() { return request_; }
  [[nodiscard]] ResponseType* response() { return response_; }
  [[nodiscard]] const RpcCall& call() const { return *call_; }

  /// Whether nobody waits for the answer any more.
  [[nodiscard]] bool abandoned() const {
    return call_->cancelled() || std::chrono::steady_clock::now() > call_->deadline();
  }

  /// Answers with the reply as filled so far, or with nothing but the error.
  void Finish(const Status& status) {
    if (!status.ok()) {
      response_->Clear();
      if constexpr (std::is_same_v<ResponseType, ::milvus::proto::common::Status>) {
        EncodeStatus(status, response_);
      } else {
        EncodeStatus(status, response_->mutable_status());
      }
    } else if constexpr (!std::is_same_v<ResponseType, ::milvus::proto::common::Status>) {
      response_->mutable_status();  // clients look for the field, empty though it is
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - call_->arrival();
    metrics_.requests.Add();
    if (!status.ok()) metrics_.errors.Add();
    metrics_.seconds.Observe(seconds.count());
    call_->Finish(response_->SerializeAsString());
  }

 private:
  google::protobuf::Arena arena_;
  std::shared_ptr<RpcCall> call_;
  const MethodMetrics& metrics_;
  RequestType* request_;
  ResponseType* response_;
};

}  // namespace quiver::api
