#include "cli/check.h"

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "engine/directory_check.h"

namespace quiver::cli {

namespace {

constexpr std::string_view kUsage =
    "usage: quiver check --data DIR [--json] [--repair]\n"
    "\n"
    "Verifies a data directory that no server uses: catalog, manifests, every segment, delta and index file,\n"
    "the log.\n"
    "Names every fault: file, section, offset, collection, segment. Changes nothing without --repair.\n"
    "\n"
    "  --data DIR   the data directory\n"
    "  --json       print the report as JSON\n"
    "  --repair     make again what can be made from sound data; move segments that cannot to DIR/quarantine and\n"
    "               take them out of the catalog, so that the server serves the rest; says how many rows are lost;\n"
    "               make a damaged log and a damaged catalog anew from what is sound of them, and say what is not\n"
    "\n"
    "Exit codes: 0 nothing is wrong, or all of it was repaired; 1 there are faults; 2 wrong arguments, or nothing "
    "could\n"
    "be checked.\n";

int Fail(std::string_view message) {
  fmt::print(stderr, "quiver check: {}\n", message);
  return 2;
}

using Counts = std::vector<std::pair<const char*, uint64_t>>;

Counts CountsOf(const engine::DirectoryReport& report) {
  return {{"keys", report.keys},           {"collections", report.collections}, {"segments", report.segments},
          {"rows", report.rows},           {"deltas", report.deltas},           {"indexes", report.indexes},
          {"orphans", report.orphans},     {"log_records", report.log_records}, {"torn_bytes", report.torn_bytes},
          {"rows_lost", report.rows_lost}, {"faults", report.faults.size()}};
}

void PrintJson(const engine::DirectoryReport& report) {
  rapidjson::StringBuffer buffer;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
  const auto text = [&](const char* key, const std::string& value) {
    writer.Key(key);
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  writer.StartObject();
  for (const auto& [name, count] : CountsOf(report)) {
    writer.Key(std::string_view(name) == "faults" ? "fault_count" : name);
    writer.Uint64(count);
  }
  writer.Key("faults");
  writer.StartArray();
  for (const engine::DirectoryFault& fault : report.faults) {
    writer.StartObject();
    text("file", fault.file);
    text("section", fault.section);
    writer.Key("offset");
    writer.Uint64(fault.offset);
    writer.Key("collection_id");
    writer.Int64(fault.collection_id);
    text("collection", fault.collection);
    writer.Key("segment_id");
    writer.Int64(fault.segment_id);
    text("what", fault.what);
    text("repair", fault.repair);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  fmt::print("{}\n", buffer.GetString());
}

void PrintText(const engine::DirectoryReport& report) {
  for (const engine::DirectoryFault& fault : report.faults) {
    std::string place = fault.file;
    if (!fault.section.empty()) place += fmt::format(", {} at byte {}", fault.section, fault.offset);
    if (fault.segment_id != 0) {
      place +=
          fmt::format(" (segment {} of collection {} {})", fault.segment_id, fault.collection_id, fault.collection);
    }
    fmt::print("fault: {}: {}\n", place, fault.what);
    if (!fault.repair.empty()) fmt::print("  repaired: {}\n", fault.repair);
  }
  const char* between = "";
  for (const auto& [name, count] : CountsOf(report)) {
    fmt::print("{}{} {}", between, name, count);
    between = ", ";
  }
  fmt::print("\n");
}

}  // namespace

int Check(const std::vector<std::string>& arguments) {
  engine::DirectoryCheckOptions options;
  bool json = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      fmt::print("{}", kUsage);
      return 0;
    }
    if (argument == "--json") {
      json = true;
    } else if (argument == "--repair") {
      options.repair = true;
    } else if (argument == "--data" && i + 1 < arguments.size()) {
      options.data_dir = arguments[++i];
    } else if (argument.starts_with("--data=")) {
      options.data_dir = argument.substr(7);
    } else {
      return Fail(fmt::format("unknown argument '{}'\n\n{}", argument, kUsage));
    }
  }
  if (options.data_dir.empty()) return Fail(fmt::format("--data is missing\n\n{}", kUsage));
  const auto report = engine::CheckDirectory(io::PosixFileSystem(), options);
  if (!report.ok()) return Fail(report.status().message());
  if (json) {
    PrintJson(*report);
  } else {
    PrintText(*report);
  }
  return (options.repair ? report->unrepaired : report->faults.size()) == 0 ? 0 : 1;
}

}  // namespace quiver::cli
