#include "cli/explain.h"

#include <fmt/format.h>
#include <netdb.h>
#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace quiver::cli {

namespace {

using rapidjson::Value;

constexpr std::string_view kUsage =
    "usage: quiver explain --collection NAME [--filter EXPRESSION] [arguments]\n"
    "\n"
    "Asks a running server how it answers a query, a search where --like or --vector is given, or a hybrid search "
    "where\n"
    "there are several --search.\n"
    "\n"
    "  --url HOST:PORT         the client port of the server; 127.0.0.1:19530\n"
    "  --db NAME               default\n"
    "  --filter EXPRESSION     which rows\n"
    "  --partition NAME        only these; may be repeated\n"
    "  --like KEY              search for what is near the row with this primary key\n"
    "  --vector N,N,...        search for what is near this vector\n"
    "  --vector-field NAME     where the collection has several\n"
    "  --search JSON           one search of a hybrid one, such as {\"vector\": [1, 2], \"vector_field\": \"v\", "
    "\"limit\": 5};\n"
    "                          repeated; the ranker is told by --param strategy=rrf, --param params={\"k\":60}\n"
    "  --limit N, --offset N   as in the request; searches take 10 rows unless told otherwise\n"
    "  --param NAME=VALUE      a further parameter of the request, such as ef=64; may be repeated\n"
    "  --json                  the answer as the server sends it\n";

int Fail(std::string_view message) {
  fmt::print(stderr, "quiver explain: {}\n", message);
  return 2;
}

std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// What the arguments ask for.
struct Question {
  std::string host = "127.0.0.1";
  std::string port = "19530";
  bool json = false;
  bool help = false;
  rapidjson::Document body;

  Question() { body.SetObject(); }
  Value TextValue(std::string_view text) {
    return Value(text.data(), static_cast<rapidjson::SizeType>(text.size()), body.GetAllocator());
  }
  void Set(std::string_view key, Value value) { body.AddMember(TextValue(key), std::move(value), body.GetAllocator()); }
};

Status ReadVector(std::string_view text, Question& question) {
  const std::string list = fmt::format("[{}]", text);
  rapidjson::Document vector(&question.body.GetAllocator());
  vector.Parse(list.c_str());
  if (vector.HasParseError()) return InvalidParameter("--vector takes numbers with commas between them: {}", text);
  question.Set("vector", Value(std::move(static_cast<Value&>(vector))));
  return Status::Ok();
}

Status ReadArguments(const std::vector<std::string>& arguments, Question& question) {
  auto& allocator = question.body.GetAllocator();
  Value partitions(rapidjson::kArrayType);
  Value params(rapidjson::kObjectType);
  Value searches(rapidjson::kArrayType);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--json" || name == "--help" || name == "-h") {
      (name == "--json" ? question.json : question.help) = true;
      continue;
    }
    if (!name.starts_with("--") || i + 1 == arguments.size()) {
      return InvalidParameter("unknown argument or value missing: {}", name);
    }
    const std::string& value = arguments[++i];
    if (name == "--collection" || name == "--db" || name == "--filter") {
      question.Set(std::string_view(name).substr(2), question.TextValue(value));
    } else if (name == "--vector-field") {
      question.Set("vector_field", question.TextValue(value));
    } else if (name == "--limit" || name == "--offset") {
      const auto number = ParseNumber(value);
      if (!number) return InvalidParameter("{} takes a number: {}", name, value);
      question.Set(std::string_view(name).substr(2), Value(*number));
    } else if (name == "--like") {
      const auto number = ParseNumber(value);
      question.Set("like", number ? Value(*number) : question.TextValue(value));
    } else if (name == "--vector") {
      QUIVER_RETURN_IF_ERROR(ReadVector(value, question));
    } else if (name == "--search") {
      rapidjson::Document search(&allocator);
      search.Parse(value.c_str());
      if (search.HasParseError() || !search.IsObject()) return InvalidParameter("--search takes JSON: {}", value);
      searches.PushBack(Value(std::move(static_cast<Value&>(search))), allocator);
    } else if (name == "--partition") {
      partitions.PushBack(question.TextValue(value), allocator);
    } else if (name == "--param") {
      const size_t at = value.find('=');
      if (at == std::string::npos) return InvalidParameter("--param takes NAME=VALUE: {}", value);
      params.AddMember(question.TextValue(std::string_view(value).substr(0, at)),
                       question.TextValue(std::string_view(value).substr(at + 1)), allocator);
    } else if (name == "--url") {
      std::string_view address = value;
      if (const size_t scheme = address.find("://"); scheme != std::string_view::npos)
        address.remove_prefix(scheme + 3);
      while (address.ends_with('/')) address.remove_suffix(1);
      const size_t colon = address.rfind(':');
      if (colon == std::string_view::npos) return InvalidParameter("--url takes HOST:PORT: {}", value);
      question.host = address.substr(0, colon);
      question.port = address.substr(colon + 1);
      if (question.host.starts_with('[') && question.host.ends_with(']')) {
        question.host = question.host.substr(1, question.host.size() - 2);
      }
    } else {
      return InvalidParameter("unknown argument: {}", name);
    }
  }
  if (!question.help && !question.body.HasMember("collection")) return InvalidParameter("--collection is missing");
  if (!partitions.Empty()) question.Set("partitions", std::move(partitions));
  if (!searches.Empty()) question.Set("searches", std::move(searches));
  if (!params.ObjectEmpty()) question.Set("params", std::move(params));
  return Status::Ok();
}

/// A connection that closes itself.
class Connection {
 public:
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (socket_ >= 0) close(socket_);
  }

  Status Open(const std::string& host, const std::string& port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
      return Error(StatusCode::kUnavailable, "{}:{}: {}", host, port, gai_strerror(error));
    }
    for (const addrinfo* one = found; one != nullptr && socket_ < 0; one = one->ai_next) {
      socket_ = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
      if (socket_ < 0 || connect(socket_, one->ai_addr, one->ai_addrlen) == 0) continue;
      close(socket_);
      socket_ = -1;
    }
    freeaddrinfo(found);
    if (socket_ < 0) return Error(StatusCode::kUnavailable, "nothing answers at {}:{}", host, port);
    return Status::Ok();
  }
  Status Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return Error(StatusCode::kUnavailable, "the connection broke");
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return Status::Ok();
  }
  /// Everything until the other side closes.
  [[nodiscard]] std::string Receive() const {
    std::string all;
    char some[16384];
    for (;;) {
      const ssize_t got = recv(socket_, some, sizeof(some), 0);
      if (got <= 0) return all;
      all.append(some, static_cast<size_t>(got));
    }
  }

 private:
  int socket_ = -1;
};

template <typename Writer>
std::string JsonText(const Value& value) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

/// Asks the server; returns the body of its answer.
Result<std::string> Ask(const Question& question) {
  Connection connection;
  QUIVER_RETURN_IF_ERROR(connection.Open(question.host, question.port));
  const std::string body = JsonText<rapidjson::Writer<rapidjson::StringBuffer>>(question.body);
  QUIVER_RETURN_IF_ERROR(connection.Send(
      fmt::format("POST /explain HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
                  "Connection: close\r\n\r\n{}",
                  question.host, body.size(), body)));
  const std::string answer = connection.Receive();
  const size_t head = answer.find("\r\n\r\n");
  if (head == std::string::npos) return Error(StatusCode::kUnavailable, "the server ended the connection");
  return answer.substr(head + 4);
}

uint64_t CountOf(const Value& value, const char* key) {
  return value.HasMember(key) && value[key].IsUint64() ? value[key].GetUint64() : 0;
}

double MicrosecondsOf(const Value& value, const char* key = "microseconds") {
  return value.HasMember(key) && value[key].IsNumber() ? value[key].GetDouble() : 0;
}

std::string_view TextOf(const Value& value, const char* key) {
  return value.HasMember(key) && value[key].IsString() ? value[key].GetString() : "";
}

void PrintNode(const Value& node, int depth) {
  std::string term(static_cast<size_t>(depth) * 2, ' ');
  term += TextOf(node, "field");
  if (term.size() > static_cast<size_t>(depth) * 2) term += ' ';
  term += TextOf(node, "operator");
  if (const std::string_view value = TextOf(node, "value"); !value.empty()) term += fmt::format(" {}", value);
  std::string methods;
  if (node.HasMember("segments_by_method")) {
    for (const auto& [method, segments] : node["segments_by_method"].GetObject()) {
      methods += fmt::format("{}{} in {}", methods.empty() ? "" : ", ", method.GetString(), segments.GetUint64());
    }
  }
  fmt::print("  {:<48} {:>10} {:>10} {:>10} {:>10} {:>12.1f}  {}\n", term, CountOf(node, "estimated_rows"),
             node.HasMember("rows_from_index") ? std::to_string(CountOf(node, "rows_from_index")) : "-",
             CountOf(node, "rows_tested"), CountOf(node, "rows_true"), MicrosecondsOf(node), methods);
  if (!node.HasMember("children")) return;
  for (const Value& child : node["children"].GetArray()) PrintNode(child, depth + 1);
}

void PrintSegment(const Value& segment) {
  fmt::print("  {} {}: {} rows, {} visible, {} match (expected {})\n", TextOf(segment, "state"),
             segment["id"].GetInt64(), CountOf(segment, "rows"), CountOf(segment, "visible_rows"),
             CountOf(segment, "matches"), CountOf(segment, "estimated_matches"));
  const Value& filter = segment["filter"];
  fmt::print("    filter: {}, {:.1f} us", TextOf(filter, "by"), MicrosecondsOf(filter));
  if (filter.HasMember("pages")) {
    fmt::print("; of {} pages {} visited, {} settled by statistics, {} evaluated, {} from a kept answer",
               CountOf(filter, "pages"), CountOf(filter, "pages_visited"),
               CountOf(filter, "pages_settled_by_statistics"), CountOf(filter, "pages_evaluated"),
               CountOf(filter, "pages_from_kept_answer"));
  }
  if (filter.HasMember("expected_microseconds_by_scan")) {
    fmt::print("; expected {:.1f} us by index, {:.1f} us by scan",
               MicrosecondsOf(filter, "expected_microseconds_by_index"),
               MicrosecondsOf(filter, "expected_microseconds_by_scan"));
  }
  fmt::print("\n");
  if (!segment.HasMember("search")) return;
  const Value& search = segment["search"];
  fmt::print("    search: {}", TextOf(search, "plan"));
  if (search.HasMember("index")) fmt::print(" on {} ({})", TextOf(search, "index"), TextOf(search, "index_type"));
  if (search.HasMember("rows_of_key_index")) {
    fmt::print(" by key indexes of {} rows", CountOf(search, "rows_of_key_index"));
  }
  if (const std::string_view why = TextOf(search, "why"); !why.empty()) fmt::print(", since {}", why);
  fmt::print(", {:.1f} us; distances: {} of codes, {} exact; {} expansions", MicrosecondsOf(search),
             CountOf(search, "code_distances"), CountOf(search, "exact_distances"), CountOf(search, "expansions"));
  for (const char* key : {"ef", "nprobe", "nlist"}) {
    if (search.HasMember(key)) fmt::print("; {} {}", key, CountOf(search, key));
  }
  fmt::print("\n");
  if (!search.HasMember("expected_microseconds")) return;
  fmt::print("      expected us:");
  for (const auto& [plan, cost] : search["expected_microseconds"].GetObject()) {
    fmt::print(" {} {:.1f}", plan.GetString(), cost.GetDouble());
  }
  fmt::print("\n");
}

void PrintSteps(const Value& told) {
  fmt::print("steps, us:");
  for (const Value& step : told["steps"].GetArray()) {
    fmt::print(" {} {:.1f}", TextOf(step, "step"), MicrosecondsOf(step));
  }
  fmt::print("\n");
}

void Print(const Value& told) {
  fmt::print("{}: {} rows, {} visible, {} match (expected {}), {} returned\n", TextOf(told, "collection"),
             CountOf(told, "rows"), CountOf(told, "visible_rows"), CountOf(told, "matches"),
             CountOf(told, "estimated_matches"), CountOf(told, "results"));
  if (told.HasMember("filter")) {
    fmt::print("\n  {:<48} {:>10} {:>10} {:>10} {:>10} {:>12}  {}\n", "filter", "expected", "by index", "tested",
               "true", "us", "how, in how many segments");
    PrintNode(told["filter"], 0);
  }
  fmt::print("\nsegments\n");
  for (const Value& segment : told["segments"].GetArray()) PrintSegment(segment);
  fmt::print("\n");
  PrintSteps(told);
}

void PrintHybrid(const Value& told) {
  size_t number = 0;
  for (const Value& search : told["searches"].GetArray()) {
    fmt::print("search {} of {}, by {}\n", ++number, told["searches"].Size(), TextOf(search, "vector_field"));
    Print(search);
    fmt::print("\n");
  }
  const Value& ranker = told["ranker"];
  fmt::print("ranker: {}, {} rows given, {} ranked, {} returned\n", TextOf(ranker, "strategy"),
             CountOf(ranker, "rows_given"), CountOf(ranker, "rows_ranked"), CountOf(told, "results"));
  PrintSteps(told);
}

}  // namespace

int Explain(const std::vector<std::string>& arguments) {
  Question question;
  if (const Status status = ReadArguments(arguments, question); !status.ok()) {
    return Fail(fmt::format("{}\n\n{}", status.message(), kUsage));
  }
  if (question.help) {
    fmt::print("{}", kUsage);
    return 0;
  }
  const auto answer = Ask(question);
  rapidjson::Document told;
  if (answer.ok()) told.Parse(answer->c_str());
  if (!answer.ok() || told.HasParseError() || !told.IsObject() ||
      !(told.HasMember("segments") || told.HasMember("searches"))) {
    fmt::print(stderr, "quiver explain: {}\n",
               answer.ok() && told.IsObject() && told.HasMember("message") ? std::string(TextOf(told, "message"))
               : answer.ok()                                               ? "the server sent no explanation"
                                                                           : answer.status().message());
    return 1;
  }
  if (question.json) {
    fmt::print("{}\n", JsonText<rapidjson::PrettyWriter<rapidjson::StringBuffer>>(told));
  } else if (told.HasMember("searches")) {
    PrintHybrid(told);
  } else {
    Print(told);
  }
  return 0;
}

}  // namespace quiver::cli
