#include "api/service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "api/handlers.h"
#include "api/protobuf_log.h"
#include "milvus.pb.h"
#include "schema/limits.h"

namespace quiver::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

constexpr std::string_view kPrefix = "/milvus.proto.milvus.MilvusService/";
/// Messages up to this size are decoded on the network thread: a hand-over costs more than that.
constexpr size_t kInlineMessageBytes = 64 << 10;

/// Methods that an SDK tries first and replaces by another one when gRPC says that they do not exist.
bool HasFallback(std::string_view method) { return method == "AlterCollectionSchema"; }

/// Makes a reply of the method's type that holds nothing but the status: the reply itself, or its field of that type.
/// Nothing where the type has no place for it.
std::optional<std::string> ReplyWith(const MethodDescriptor& method, const Status& status) {
  const Descriptor* type = method.output_type();
  const std::unique_ptr<Message> reply(MessageFactory::generated_factory()->GetPrototype(type)->New());
  const Descriptor* status_type = wire::common::Status::descriptor();
  if (type == status_type) {
    EncodeStatus(status, static_cast<wire::common::Status*>(reply.get()));
    return reply->SerializeAsString();
  }
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->is_repeated() || field->message_type() != status_type) continue;
    EncodeStatus(status,
                 static_cast<wire::common::Status*>(reply->GetReflection()->MutableMessage(reply.get(), field)));
    return reply->SerializeAsString();
  }
  return std::nullopt;
}

struct Entry {
  Method method;
  MethodMetrics metrics;
  const MethodDescriptor* descriptor = nullptr;
};

}  // namespace

MethodMetrics MetricsOf(const std::string& name) {
  auto& registry = metrics::Registry::Global();
  const metrics::Labels labels{{"rpc", name}};
  return {registry.GetCounter("quiver_rpc_requests_total", "gRPC calls answered, by method.", labels),
          registry.GetCounter("quiver_rpc_errors_total", "gRPC calls answered with an error, by method.", labels),
          registry.GetHistogram("quiver_rpc_seconds", "Time from the arrival of a gRPC call to its answer, by method.",
                                metrics::LatencyBounds(), labels)};
}

class Service::Impl {
 public:
  Impl(engine::Engine& engine, ThreadPool& compute, ThreadPool& control, const ServiceOptions& options)
      : compute_(compute),
        control_(control),
        handlers_(engine, compute, control, options),
        unserved_(MetricsOf("unserved")) {
    const ServiceDescriptor* service = wire::MilvusService::descriptor();
    std::vector<Method> methods = Handlers::Methods(&handlers_);
    entries_.reserve(methods.size());
    for (Method& method : methods) {
      std::string name = method.name;
      MethodMetrics metrics = MetricsOf(name);
      const MethodDescriptor* descriptor = service->FindMethodByName(name);
      entries_.emplace(name, Entry{std::move(method), metrics, descriptor});
    }
  }

  void Explain(const std::shared_ptr<HttpCall>& call) { handlers_.Explain(call); }

  void Handle(std::shared_ptr<RpcCall> call) {
    const std::string_view path = call->method();
    if (!path.starts_with(kPrefix)) {
      call->FinishWithError(GrpcCode::kUnimplemented, "unknown service or method " + std::string(path));
      return;
    }
    const std::string name(path.substr(kPrefix.size()));
    const auto found = entries_.find(name);
    if (found == entries_.end()) return AnswerUnserved(*call, name);

    const Entry& entry = found->second;
    ThreadPool* pool = nullptr;
    if (entry.method.lane == Lane::kControl) pool = &control_;
    if (entry.method.lane == Lane::kData && call->message().size() > kInlineMessageBytes) pool = &compute_;
    if (pool == nullptr) {
      entry.method.run(std::move(call), entry.metrics);
      return;
    }
    if (pool->Submit([call, &entry] { entry.method.run(call, entry.metrics); })) return;
    entry.metrics.requests.Add();
    entry.metrics.errors.Add();
    const Status overloaded = Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded");
    if (auto reply = ReplyWith(*entry.descriptor, overloaded)) return call->Finish(*std::move(reply));
    call->FinishWithError(GrpcCode::kResourceExhausted, overloaded.message());
  }

 private:
  void AnswerUnserved(RpcCall& call, const std::string& name) {
    unserved_.requests.Add();
    unserved_.errors.Add();
    const MethodDescriptor* method = wire::MilvusService::descriptor()->FindMethodByName(name);
    if (method == nullptr || HasFallback(name)) {
      call.FinishWithError(GrpcCode::kUnimplemented,
                           "unknown method " + name + " for service milvus.proto.milvus.MilvusService");
      return;
    }
    const Status unserved = Error(StatusCode::kUnimplemented, "{} is not supported yet", name);
    if (auto reply = ReplyWith(*method, unserved)) return call.Finish(*std::move(reply));
    call.FinishWithError(GrpcCode::kUnimplemented, unserved.message());
  }

  ThreadPool& compute_;
  ThreadPool& control_;
  Handlers handlers_;
  const MethodMetrics unserved_;
  std::unordered_map<std::string, Entry> entries_;
};

Service::Service(engine::Engine& engine, ThreadPool& compute, ThreadPool& control, const ServiceOptions& options)
    : impl_(std::make_unique<Impl>(engine, compute, control, options)) {
  RouteProtobufLog();
}

Service::~Service() = default;

void Service::Handle(std::shared_ptr<RpcCall> call) { impl_->Handle(std::move(call)); }

void Service::HandleExplain(const std::shared_ptr<HttpCall>& call) { impl_->Explain(call); }

std::vector<std::string> Service::ServedMethods() {
  std::vector<std::string> names;
  for (const Method& method : Handlers::Methods(nullptr)) names.push_back(method.name);
  std::sort(names.begin(), names.end());
  return names;
}

// Handlers: what all areas share --------------------------------------------------------------------------------------

namespace {
/// A third of the processor time of a thread that does not give way, where both want it.
constexpr int kBulkNice = 5;
}  // namespace

Handlers::Handlers(engine::Engine& engine, ThreadPool& compute, ThreadPool& control, ServiceOptions options)
    : engine_(engine),
      compute_(compute),
      control_(control),
      options_(std::move(options)),
      bulk_requests_(metrics::Registry::Global().GetCounter("quiver_bulk_requests_total",
                                                            "Reads that were expected to take long, and gave way.")),
      leases_(engine.memory_budget()),
      keeper_({[this] { return views_.EndUnused(); }, [this] { return leases_.EndUnused(); }}),
      results_(engine.memory_budget(), std::min(options_.result_cache_bytes, engine.memory_budget()->limit() / 16)),
      scans_(compute.max_queue()),
      bulk_({.name = "bulk", .threads = compute.thread_count(), .max_queue = compute.max_queue(), .nice = kBulkNice}) {}

PageLimits Handlers::PageLimitsOf(const engine::CollectionInfo& info) const {
  PageLimits page{options_.max_topk, options_.max_result_window};
  if (info.large_topk()) {
    page.max_topk = std::max(page.max_topk, limits::kLargeTopK);
    page.max_window = std::max(page.max_window, limits::kLargeTopK);
  }
  return page;
}

std::vector<Method> Handlers::Methods(Handlers* handlers) {
  std::vector<Method> methods;
  AddDatabaseMethods(handlers, &methods);
  AddCollectionMethods(handlers, &methods);
  AddPartitionMethods(handlers, &methods);
  AddAliasMethods(handlers, &methods);
  AddLoadMethods(handlers, &methods);
  AddIndexMethods(handlers, &methods);
  AddWriteMethods(handlers, &methods);
  AddSearchMethods(handlers, &methods);
  AddHybridMethods(handlers, &methods);
  AddQueryMethods(handlers, &methods);
  AddSystemMethods(handlers, &methods);
  AddSegmentMethods(handlers, &methods);
  AddSnapshotMethods(handlers, &methods);
  return methods;
}

}  // namespace quiver::api
