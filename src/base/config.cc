#include "base/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <variant>

namespace quiver {

namespace {

enum class OptionKind : uint8_t { kText, kInteger, kBytes, kMilliseconds, kBool, kChoice };

/// Where an option's value lives in Config.
using Target = std::variant<std::string Config::*, int64_t Config::*, bool Config::*>;

struct Option {
  std::string_view name;  ///< as in the YAML file; the flag is --name with dashes, the variable QUIVER_NAME
  OptionKind kind;
  Target target;
  std::string_view help;
  int64_t low = 0;
  int64_t high = 0;
  std::string_view choices = {};  ///< separated by '|'
};

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

constexpr std::array kOptions{
    Option{"config", OptionKind::kText, &Config::config_file, "YAML file with settings"},
    Option{"data", OptionKind::kText, &Config::data_dir, "data directory; made if missing, locked while served"},
    Option{"host", OptionKind::kText, &Config::host, "address to listen on; 0.0.0.0 for all interfaces"},
    Option{"port", OptionKind::kInteger, &Config::port, "gRPC and HTTP port; 0 = any free port", 0, 65535},
    Option{"ops_port", OptionKind::kInteger, &Config::ops_port, "health and metrics port; 0 = any free port, -1 = none",
           -1, 65535},
    Option{"durability", OptionKind::kChoice, &Config::durability,
           "sync: a write is acknowledged once it is on disk; async: before that, the last moments may be lost", 0, 0,
           "sync|async"},
    Option{"log.level", OptionKind::kChoice, &Config::log_level, "least level that is logged", 0, 0,
           "trace|debug|info|warn|error|off"},
    Option{"log.format", OptionKind::kChoice, &Config::log_format, "form of the lines", 0, 0, "text|json"},
    Option{"log.file", OptionKind::kText, &Config::log_file, "log file; empty = standard error"},
    Option{"log.max_bytes", OptionKind::kBytes, &Config::log_max_bytes,
           "size at which the log file is rotated; 0 = never", 0, kNoLimit},
    Option{"log.max_files", OptionKind::kInteger, &Config::log_max_files, "rotated log files kept", 0, 1000},
    Option{"network.threads", OptionKind::kInteger, &Config::network_threads,
           "threads that read and write connections; 0 = chosen from the cores", 0, 1024},
    Option{"network.max_message_bytes", OptionKind::kBytes, &Config::max_message_bytes, "largest request", 1024,
           2'000'000'000},
    Option{"network.max_connections", OptionKind::kInteger, &Config::max_connections,
           "connections open at once; further ones are closed", 1, 1'000'000},
    Option{"compute.threads", OptionKind::kInteger, &Config::compute_threads,
           "threads that run searches and writes; 0 = one per core", 0, 1024},
    Option{"simd", OptionKind::kChoice, &Config::simd,
           "instruction set of distance computations; auto = the strongest that the processor has", 0, 0,
           "auto|baseline|avx2|avx512|avx512popcnt"},
    Option{"memory.limit", OptionKind::kBytes, &Config::memory_limit_bytes,
           "memory budget, of which requests in flight may hold a quarter; 0 = three quarters of the machine's memory",
           0, kNoLimit},
    Option{"query.filter_cache_bytes", OptionKind::kBytes, &Config::filter_cache_bytes,
           "memory for the answers of repeated filters over sealed segments, at most 1/16 of the budget; 0 = none kept",
           0, kNoLimit},
    Option{"query.result_cache_bytes", OptionKind::kBytes, &Config::result_cache_bytes,
           "memory for the answers of searches that ask for it by the parameter result_cache, at most 1/16 of the "
           "budget; 0 = none kept",
           0, kNoLimit},
    Option{"segment.seal_bytes", OptionKind::kBytes, &Config::segment_seal_bytes,
           "size at which growing rows are written as a sealed segment", 1 << 20, kNoLimit},
    Option{"segment.flush_min_bytes", OptionKind::kBytes, &Config::segment_flush_min_bytes,
           "Flush writes growing rows as a segment from this size on; fewer are safe in the log already", 0, kNoLimit},
    Option{"segment.max_growing_seconds", OptionKind::kInteger, &Config::max_growing_seconds,
           "age at which growing rows are written as a sealed segment", 1, 3'155'760'000},
    Option{"retention.seconds", OptionKind::kInteger, &Config::retention_seconds,
           "how long deleted and replaced rows stay readable by time travel, in collections without "
           "collection.retention.seconds",
           0, 3'155'760'000},
    Option{"compaction.enabled", OptionKind::kBool, &Config::compaction,
           "merge segments and drop dead rows in the background; off: only on request"},
    Option{"compaction.max_segment_bytes", OptionKind::kBytes, &Config::max_segment_bytes,
           "largest segment that compaction makes", 1 << 20, kNoLimit},
    Option{"compaction.bytes_per_second", OptionKind::kBytes, &Config::compaction_bytes_per_second,
           "pace of compaction; 0 = as fast as it goes", 0, kNoLimit},
    Option{"index.build_threads", OptionKind::kInteger, &Config::index_build_threads,
           "threads of low priority that build a vector index; 0 = half of the cores", 0, 1024},
    Option{"index.min_rows", OptionKind::kInteger, &Config::index_min_rows,
           "segments with fewer rows get no vector index and are scanned, exactly", 1, 1'000'000'000},
    Option{"index.growing_graphs", OptionKind::kBool, &Config::growing_graphs,
           "graphs and lists follow rows that are not sealed yet, in the background; off: such rows are scanned"},
    Option{"index.key_indexes", OptionKind::kBool, &Config::key_indexes,
           "partition keys with many rows in a segment get vector indexes of their own; off: those there are removed"},
    Option{"wal.max_bytes", OptionKind::kBytes, &Config::max_log_bytes,
           "size of the write-ahead log at which the oldest rows are sealed so that it can be cut", 1 << 20, kNoLimit},
    Option{"storage.serve_damaged", OptionKind::kBool, &Config::serve_damaged,
           "answer reads without the rows of damaged segments; off: such a read fails and names the segment"},
    Option{"compat.auto_load", OptionKind::kBool, &Config::auto_load,
           "search released collections as if they were loaded; off: error 101, as clients know it"},
    Option{"shutdown.grace", OptionKind::kMilliseconds, &Config::shutdown_grace_ms,
           "how long a stop waits for requests in flight", 0, 3'600'000},
    Option{"limits.max_result_window", OptionKind::kInteger, &Config::max_result_window, "greatest offset + limit", 1,
           1'000'000'000},
    Option{"limits.max_topk", OptionKind::kInteger, &Config::max_topk, "greatest limit of a search", 1, 1'000'000'000},
    Option{"limits.max_queries", OptionKind::kInteger, &Config::max_queries, "most vectors in one search", 1,
           1'000'000'000},
    Option{"limits.max_output_bytes", OptionKind::kBytes, &Config::max_output_bytes, "largest result of one query",
           1024, 2'000'000'000},
    Option{"limits.max_databases", OptionKind::kInteger, &Config::max_databases, "databases, default included", 1,
           1'000'000},
    Option{"limits.max_collections", OptionKind::kInteger, &Config::max_collections, "collections of the whole server",
           1, 1'000'000},
    Option{"limits.max_partitions", OptionKind::kInteger, &Config::max_partitions,
           "partitions of one collection, _default included", 1, 100'000},
};

// Variables of the repository's own tools, which may stand in the environment of a server that they start.
constexpr auto kToolVariables = std::to_array<std::string_view>(
    {"QUIVER_BINARY", "QUIVER_BUILD", "QUIVER_CACHE", "QUIVER_JOBS", "QUIVER_NODE_MODULES", "QUIVER_REQUIRE_CLIENTS"});

constexpr std::string_view kVariablePrefix = "QUIVER_";

// --- names -----------------------------------------------------------------------------------------------------------

std::string FlagOf(const Option& option) {
  std::string flag = "--" + std::string(option.name);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string VariableOf(const Option& option) {
  std::string name(kVariablePrefix);
  for (const char c : option.name) {
    if (c == '.') {
      name.push_back('_');
    } else {
      name.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    }
  }
  return name;
}

/// Dashes and underscores mean the same in flags and in the file.
std::string Canonical(std::string_view name) {
  std::string canonical(name);
  std::replace(canonical.begin(), canonical.end(), '-', '_');
  return canonical;
}

const Option* FindOption(std::string_view name) {
  const std::string canonical = Canonical(name);
  for (const Option& option : kOptions) {
    if (option.name == canonical) return &option;
  }
  return nullptr;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

/// The option nearest to a mistyped name. A name that leaves out the group ("level") is near to "log.level".
const Option& Nearest(std::string_view name) {
  const std::string canonical = Canonical(name);
  const Option* best = nullptr;
  size_t best_distance = std::numeric_limits<size_t>::max();
  for (const Option& option : kOptions) {
    const size_t dot = option.name.find('.');
    size_t distance = EditDistance(canonical, option.name);
    if (dot != std::string_view::npos) {
      distance = std::min(distance, EditDistance(canonical, option.name.substr(dot + 1)) + 1);
    }
    if (distance < best_distance) {
      best = &option;
      best_distance = distance;
    }
  }
  return *best;
}

// --- values ----------------------------------------------------------------------------------------------------------

/// Reads a whole number with an optional unit; `units` pairs a suffix with its factor.
std::optional<int64_t> ParseScaled(std::string_view text,
                                   std::initializer_list<std::pair<std::string_view, int64_t>> units) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  std::string suffix(end, text.data() + text.size());
  while (!suffix.empty() && suffix.front() == ' ') suffix.erase(0, 1);
  for (char& c : suffix) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (suffix.empty()) return value;
  for (const auto& [unit, factor] : units) {
    if (suffix != unit) continue;
    int64_t scaled = 0;
    if (__builtin_mul_overflow(value, factor, &scaled)) return std::nullopt;
    return scaled;
  }
  return std::nullopt;
}

std::optional<int64_t> ParseNumber(OptionKind kind, std::string_view text) {
  constexpr int64_t kKilo = 1 << 10;
  constexpr int64_t kMega = kKilo << 10;
  constexpr int64_t kGiga = kMega << 10;
  constexpr int64_t kTera = kGiga << 10;
  if (kind == OptionKind::kBytes) {
    return ParseScaled(text, {{"b", 1},
                              {"k", kKilo},
                              {"kb", kKilo},
                              {"kib", kKilo},
                              {"m", kMega},
                              {"mb", kMega},
                              {"mib", kMega},
                              {"g", kGiga},
                              {"gb", kGiga},
                              {"gib", kGiga},
                              {"t", kTera},
                              {"tb", kTera},
                              {"tib", kTera}});
  }
  if (kind == OptionKind::kMilliseconds) {
    return ParseScaled(text, {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"min", 60'000}, {"h", 3'600'000}});
  }
  return ParseScaled(text, {});
}

std::optional<bool> ParseSwitch(std::string_view text) {
  if (text == "true" || text == "True" || text == "on" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "False" || text == "off" || text == "no" || text == "0") return false;
  return std::nullopt;
}

bool IsChoice(std::string_view choices, std::string_view text) {
  while (!choices.empty()) {
    const size_t end = std::min(choices.find('|'), choices.size());
    if (choices.substr(0, end) == text) return true;
    choices.remove_prefix(std::min(end + 1, choices.size()));
  }
  return false;
}

/// What a value of the option looks like, for errors and help.
std::string Expected(const Option& option) {
  const auto range = [&option] {
    return option.high == kNoLimit ? fmt::format("at least {}", option.low)
                                   : fmt::format("{} to {}", option.low, option.high);
  };
  switch (option.kind) {
    case OptionKind::kText: return "text";
    case OptionKind::kInteger: return fmt::format("a whole number, {}", range());
    case OptionKind::kBytes: return fmt::format("bytes such as 1048576, 64MB or 2GB, {}", range());
    case OptionKind::kMilliseconds: return fmt::format("a time such as 500ms, 30s or 5m, {} ms", range());
    case OptionKind::kBool: return "true or false";
    case OptionKind::kChoice: return fmt::format("one of {}", option.choices);
  }
  return "";
}

Status Assign(Config& config, const Option& option, std::string_view text, std::string_view given_as,
              const std::string& source) {
  const auto wrong = [&] { return InvalidParameter("{}: '{}' is not {}", given_as, text, Expected(option)); };
  switch (option.kind) {
    case OptionKind::kChoice:
      if (!IsChoice(option.choices, text)) return wrong();
      [[fallthrough]];
    case OptionKind::kText: config.*std::get<std::string Config::*>(option.target) = std::string(text); break;
    case OptionKind::kBool: {
      const std::optional<bool> value = ParseSwitch(text);
      if (!value) return wrong();
      config.*std::get<bool Config::*>(option.target) = *value;
      break;
    }
    case OptionKind::kInteger:
    case OptionKind::kBytes:
    case OptionKind::kMilliseconds: {
      const std::optional<int64_t> value = ParseNumber(option.kind, text);
      if (!value || *value < option.low || *value > option.high) return wrong();
      config.*std::get<int64_t Config::*>(option.target) = *value;
      break;
    }
  }
  config.sources[std::string(option.name)] = source;
  return Status::Ok();
}

std::string ValueText(const Config& config, const Option& option) {
  if (const auto* text = std::get_if<std::string Config::*>(&option.target)) return config.**text;
  if (const auto* flag = std::get_if<bool Config::*>(&option.target)) return config.**flag ? "true" : "false";
  const int64_t value = config.*std::get<int64_t Config::*>(option.target);
  if (option.kind == OptionKind::kMilliseconds && value % 1000 == 0) return fmt::format("{}s", value / 1000);
  if (option.kind == OptionKind::kBytes && value != 0 && value % (1 << 20) == 0) {
    return fmt::format("{}MB", value >> 20);
  }
  return fmt::format("{}", value);
}

// --- sources ---------------------------------------------------------------------------------------------------------

struct Given {
  const Option* option;
  std::string value;
  std::string given_as;
};

Result<std::vector<Given>> ReadArguments(const std::vector<std::string>& arguments) {
  std::vector<Given> given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      return InvalidParameter("unexpected argument '{}': settings are given as --name=value or --name value", argument);
    }
    const size_t equals = argument.find('=');
    const std::string flag = argument.substr(0, equals);
    const Option* option = FindOption(flag.substr(2));
    if (option == nullptr) {
      return InvalidParameter("unknown flag {}; did you mean {}? (--help lists all)", flag,
                              FlagOf(Nearest(flag.substr(2))));
    }
    if (equals != std::string::npos) {
      given.push_back({option, argument.substr(equals + 1), flag});
    } else if (option->kind == OptionKind::kBool && (i + 1 == arguments.size() || !ParseSwitch(arguments[i + 1]))) {
      given.push_back({option, "true", flag});
    } else if (i + 1 < arguments.size()) {
      given.push_back({option, arguments[++i], flag});
    } else {
      return InvalidParameter("{} needs a value: {}", flag, Expected(*option));
    }
  }
  return given;
}

Result<std::vector<Given>> ReadEnvironment(const std::vector<std::string>& environment) {
  std::vector<Given> given;
  for (const std::string& entry : environment) {
    if (!entry.starts_with(kVariablePrefix)) continue;
    const size_t equals = std::min(entry.find('='), entry.size());
    const std::string name = entry.substr(0, equals);
    if (std::find(kToolVariables.begin(), kToolVariables.end(), name) != kToolVariables.end()) continue;
    const auto found = std::find_if(kOptions.begin(), kOptions.end(),
                                    [&name](const Option& option) { return VariableOf(option) == name; });
    if (found == kOptions.end()) {
      const Option* best = &kOptions.front();
      for (const Option& option : kOptions) {
        if (EditDistance(name, VariableOf(option)) < EditDistance(name, VariableOf(*best))) best = &option;
      }
      return InvalidParameter("unknown environment variable {}; did you mean {}?", name, VariableOf(*best));
    }
    given.push_back({&*found, equals < entry.size() ? entry.substr(equals + 1) : "", name});
  }
  return given;
}

Status FlattenYaml(const YAML::Node& node, const std::string& prefix, const std::string& file,
                   std::vector<Given>& given) {
  for (const auto& member : node) {
    const std::string name = prefix + member.first.as<std::string>();
    const YAML::Node& value = member.second;
    const std::string where = fmt::format("{}:{}: {}", file, member.first.Mark().line + 1, name);
    if (value.IsMap()) {
      QUIVER_RETURN_IF_ERROR(FlattenYaml(value, name + ".", file, given));
      continue;
    }
    const Option* option = FindOption(name);
    if (option == nullptr) {
      return InvalidParameter("{}: unknown setting; did you mean {}?", where, Nearest(name).name);
    }
    if (value.IsSequence()) return InvalidParameter("{}: a list is not {}", where, Expected(*option));
    given.push_back({option, value.IsNull() ? "" : value.as<std::string>(), where});
  }
  return Status::Ok();
}

Result<std::vector<Given>> ReadFile(const std::string& path) {
  std::vector<Given> given;
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return given;
    if (!root.IsMap()) return InvalidParameter("{}: settings are written as 'name: value' lines", path);
    QUIVER_RETURN_IF_ERROR(FlattenYaml(root, "", path, given));
  } catch (const YAML::BadFile&) {
    return Error(StatusCode::kIo, "cannot read the configuration file {}", path);
  } catch (const YAML::Exception& error) {
    return InvalidParameter("{}:{}: {}", path, error.mark.line + 1, error.msg);
  }
  return given;
}

Status Apply(Config& config, const std::vector<Given>& given, const std::string& source) {
  for (const Given& one : given) {
    QUIVER_RETURN_IF_ERROR(Assign(config, *one.option, one.value, one.given_as, source));
  }
  return Status::Ok();
}

}  // namespace

Result<Config> Config::Load(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  Config config;
  for (const Option& option : kOptions) config.sources[std::string(option.name)] = "default";
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Given> flags, ReadArguments(arguments));
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Given> variables, ReadEnvironment(environment));

  // The file's name comes from the stronger sources; its settings are weaker than theirs.
  QUIVER_RETURN_IF_ERROR(Apply(config, variables, "environment"));
  QUIVER_RETURN_IF_ERROR(Apply(config, flags, "flag"));
  if (config.config_file.empty()) return config;
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Given> settings, ReadFile(config.config_file));
  for (const Given& setting : settings) {
    if (setting.option->name == "config") return InvalidParameter("{}: not allowed in a file", setting.given_as);
  }
  QUIVER_RETURN_IF_ERROR(Apply(config, settings, "file"));
  QUIVER_RETURN_IF_ERROR(Apply(config, variables, "environment"));
  QUIVER_RETURN_IF_ERROR(Apply(config, flags, "flag"));
  return config;
}

std::string Config::Help() {
  std::string text =
      "A setting is taken from the first of: command line, environment, file (--config), default.\n"
      "In the file: 'log.level: debug', or nested under 'log:'. Dashes and underscores are the same.\n\n";
  const Config defaults;
  for (const Option& option : kOptions) {
    const std::string value = ValueText(defaults, option);
    text += fmt::format("  {} <{}>\n      {}\n      default: {}; environment: {}\n", FlagOf(option), Expected(option),
                        option.help, value.empty() ? "(empty)" : value, VariableOf(option));
  }
  return text;
}

std::string Config::Describe() const {
  std::string text;
  for (const Option& option : kOptions) {
    const auto source = sources.find(std::string(option.name));
    text += fmt::format("{} = {} ({})\n", option.name, ValueText(*this, option),
                        source == sources.end() ? "default" : source->second);
  }
  return text;
}

log::Options Config::LogOptions() const {
  log::Options options;
  options.level = log::ParseLevel(log_level).value_or(log::Level::kInfo);
  options.json = log_format == "json";
  options.file = log_file;
  options.max_file_bytes = static_cast<uint64_t>(log_max_bytes);
  options.max_files = static_cast<int>(log_max_files);
  return options;
}

}  // namespace quiver
