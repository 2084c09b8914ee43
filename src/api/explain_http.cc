// POST /explain: a query, a search or a hybrid search as JSON, answered with its explanation.

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "api/handlers.h"
#include "api/status_codec.h"
#include "base/status.h"
#include "common.pb.h"
#include "schema.pb.h"
#include "search.pb.h"

namespace quiver::api {

namespace {

using rapidjson::Value;

HttpResponse Refusal(int32_t code, std::string_view message, bool input_error) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  json.Key("code");
  json.Int(code);
  json.Key("message");
  json.String(message.data(), static_cast<rapidjson::SizeType>(message.size()));
  json.EndObject();
  return {.status = input_error ? 400 : 500,
          .content_type = "application/json",
          .body = {buffer.GetString(), buffer.GetSize()}};
}

HttpResponse Refusal(const Status& status) {
  return Refusal(static_cast<int32_t>(status.code()), status.message(), IsInputError(status.code()));
}

/// Takes the answer of a read and gives its explanation to the HTTP call that asked for it.
template <typename Response>
class ExplanationSink final : public CompletionSink {
 public:
  explicit ExplanationSink(std::shared_ptr<HttpCall> call) : call_(std::move(call)) {}

  void Complete(Completion completion) override {
    Response response;
    if (completion.code != GrpcCode::kOk || !response.ParseFromString(completion.payload)) {
      return call_->Finish(Refusal(Error(StatusCode::kInternal, "{}", completion.payload)));
    }
    const wire::common::Status& status = response.status();
    const auto explanation = status.extra_info().find("explain");
    if (explanation == status.extra_info().end()) {
      return call_->Finish(Refusal(status.code(), status.reason(), status.extra_info().contains("is_input_error")));
    }
    call_->Finish({.status = 200, .content_type = "application/json", .body = explanation->second});
  }

 private:
  const std::shared_ptr<HttpCall> call_;
};

/// The text of a JSON value as parameters are sent: strings bare, everything else as JSON.
std::string TextOf(const Value& value) {
  if (value.IsString()) return {value.GetString(), value.GetStringLength()};
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

template <typename Request>
void AddParameter(const char* key, std::string value, Request* request) {
  wire::common::KeyValuePair* pair = nullptr;
  if constexpr (std::is_same_v<Request, wire::SearchRequest>) {
    pair = request->add_search_params();
  } else if constexpr (std::is_same_v<Request, wire::HybridSearchRequest>) {
    pair = request->add_rank_params();
  } else {
    pair = request->add_query_params();
  }
  pair->set_key(key);
  pair->set_value(std::move(value));
}

Status ReadNames(const Value& value, const char* key, google::protobuf::RepeatedPtrField<std::string>* out) {
  if (!value.IsArray()) return InvalidParameter("{} must be a list of strings: invalid parameter", key);
  for (const Value& name : value.GetArray()) {
    if (!name.IsString()) return InvalidParameter("{} must be a list of strings: invalid parameter", key);
    out->Add(TextOf(name));
  }
  return Status::Ok();
}

/// What searches and queries have in common; `key` is one of the request's members. Returns false for others.
template <typename Request>
Result<bool> ReadMember(const std::string& key, const Value& value, Request* request) {
  if (key == "collection" && value.IsString()) {
    request->set_collection_name(TextOf(value));
  } else if (key == "db" && value.IsString()) {
    request->set_db_name(TextOf(value));
  } else if (key == "filter" && value.IsString()) {
    if constexpr (std::is_same_v<Request, wire::SearchRequest>) {
      request->set_dsl(TextOf(value));
    } else if constexpr (std::is_same_v<Request, wire::HybridSearchRequest>) {
      return false;  // each search has its own
    } else {
      request->set_expr(TextOf(value));
    }
  } else if (key == "partitions") {
    QUIVER_RETURN_IF_ERROR(ReadNames(value, "partitions", request->mutable_partition_names()));
  } else if (key == "output_fields") {
    QUIVER_RETURN_IF_ERROR(ReadNames(value, "output_fields", request->mutable_output_fields()));
  } else if ((key == "limit" || key == "offset") && value.IsInt64()) {
    AddParameter(key.c_str(), TextOf(value), request);
  } else if (key == "params" && value.IsObject()) {
    for (const auto& [name, parameter] : value.GetObject()) AddParameter(name.GetString(), TextOf(parameter), request);
  } else {
    return false;
  }
  return true;
}

Status ReadVector(const Value& value, wire::SearchRequest* request) {
  std::string bytes;
  for (const Value& number : value.GetArray()) {
    if (!number.IsNumber()) return InvalidParameter("vector must be a list of numbers: invalid parameter");
    const auto single = static_cast<float>(number.GetDouble());
    bytes.append(reinterpret_cast<const char*>(&single), sizeof(single));
  }
  wire::common::PlaceholderGroup group;
  wire::common::PlaceholderValue* vector = group.add_placeholders();
  vector->set_tag("$0");
  vector->set_type(wire::common::PlaceholderType::FloatVector);
  vector->add_values(std::move(bytes));
  request->set_placeholder_group(group.SerializeAsString());
  return Status::Ok();
}

Status UnknownMember(const std::string& key) {
  return InvalidParameter("{} is not a member of this request, or its value has another type: invalid parameter", key);
}

Status ReadSearchBody(const Value& body, wire::SearchRequest* request) {
  bool limited = false;
  for (const auto& [name, value] : body.GetObject()) {
    const std::string key(name.GetString(), name.GetStringLength());
    limited = limited || key == "limit";
    if (key == "vector_field" && value.IsString()) {
      AddParameter("anns_field", TextOf(value), request);
    } else if (key == "vector" && value.IsArray()) {
      QUIVER_RETURN_IF_ERROR(ReadVector(value, request));
    } else if (key == "like" && value.IsInt64()) {
      request->mutable_ids()->mutable_int_id()->add_data(value.GetInt64());
    } else if (key == "like" && value.IsString()) {
      request->mutable_ids()->mutable_str_id()->add_data(TextOf(value));
    } else {
      QUIVER_ASSIGN_OR_RETURN(const bool known, ReadMember(key, value, request));
      if (!known) return UnknownMember(key);
    }
  }
  if (!limited) AddParameter("limit", "10", request);
  request->set_nq(1);
  return Status::Ok();
}

Status ReadHybridBody(const Value& body, wire::HybridSearchRequest* request) {
  bool limited = false;
  for (const auto& [name, value] : body.GetObject()) {
    const std::string key(name.GetString(), name.GetStringLength());
    limited = limited || key == "limit";
    if (key == "searches" && value.IsArray()) {
      for (const Value& search : value.GetArray()) {
        if (!search.IsObject()) return InvalidParameter("searches must be a list of objects: invalid parameter");
        QUIVER_RETURN_IF_ERROR(ReadSearchBody(search, request->add_requests()));
      }
    } else {
      QUIVER_ASSIGN_OR_RETURN(const bool known, ReadMember(key, value, request));
      if (!known) return UnknownMember(key);
    }
  }
  if (!limited) AddParameter("limit", "10", request);
  return Status::Ok();
}

Status ReadQueryBody(const Value& body, wire::QueryRequest* request) {
  for (const auto& [name, value] : body.GetObject()) {
    const std::string key(name.GetString(), name.GetStringLength());
    QUIVER_ASSIGN_OR_RETURN(const bool known, ReadMember(key, value, request));
    if (!known) return UnknownMember(key);
  }
  // Nobody sees the rows.
  if (request->output_fields_size() == 0 && !body.HasMember("limit")) request->add_output_fields("count(*)");
  return Status::Ok();
}

/// The read that a body asks for, whose answer goes to the HTTP call; nullptr where that has been refused already.
template <typename Request, typename Response>
std::shared_ptr<Exchange<Request, Response>> OpenExchange(const std::shared_ptr<HttpCall>& call, const Value& body,
                                                          Status (*read)(const Value&, Request*)) {
  static const MethodMetrics metrics = MetricsOf("Explain");
  auto connection = std::make_shared<ConnectionInfo>();
  connection->peer = call->peer();
  connection->sink = std::make_shared<ExplanationSink<Response>>(call);
  auto rpc = std::make_shared<RpcCall>(std::move(connection), 0, std::chrono::steady_clock::now());
  auto exchange = std::make_shared<Exchange<Request, Response>>(std::move(rpc), metrics);
  exchange->mutable_request()->set_db_name("default");
  if (const Status status = read(body, exchange->mutable_request()); !status.ok()) {
    exchange->Finish(status);
    return nullptr;
  }
  AddParameter("explain", "true", exchange->mutable_request());
  return exchange;
}

}  // namespace

void Handlers::Explain(const std::shared_ptr<HttpCall>& call) {
  const std::string& text = call->request().body;
  rapidjson::Document body;
  body.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag>(text.data(), text.size());
  if (body.HasParseError() || !body.IsObject()) {
    return call->Finish(Refusal(InvalidParameter("the body is no JSON object: invalid parameter")));
  }
  if (body.HasMember("searches")) {
    const auto hybrid = OpenExchange<wire::HybridSearchRequest, wire::SearchResults>(call, body, ReadHybridBody);
    if (hybrid != nullptr) HybridSearch(hybrid);
  } else if (body.HasMember("vector") || body.HasMember("like")) {
    const auto search = OpenExchange<wire::SearchRequest, wire::SearchResults>(call, body, ReadSearchBody);
    if (search != nullptr) Search(search);
  } else {
    const auto query = OpenExchange<wire::QueryRequest, wire::QueryResults>(call, body, ReadQueryBody);
    if (query != nullptr) Query(query);
  }
}

}  // namespace quiver::api
