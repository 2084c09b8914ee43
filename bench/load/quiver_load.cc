// quiver_load: the load generator. Each mode prints a table line for people and a JSON line for scripts, and fails if
// any reply was wrong.
//   quiver_load search --depth 64 --connections 4          searches (on an empty collection unless --rows is given)
//   quiver_load insert --batch 1000 --clients 4 --rows 1000000
//   quiver_load version --depth 64                         GetVersion: the floor of any request
// Without --port it starts `quiver serve` itself, on a data folder that is removed afterwards.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "load/load_runner.h"
#include "load/load_settings.h"
#include "load/milvus_messages.h"
#include "load/replay_load.h"
#include "load/server_process.h"
#include "load/storage_load.h"

namespace quiver::bench {
namespace {

// Inserts `rows` rows as fast as it goes, to have something to search.
Status Fill(const Settings& settings) {
  LoadOptions options = OptionsOf(settings);
  options.server_pid = 0;
  options.connections = options.depth = 2;
  constexpr int kFillBatch = 1000;
  options.max_calls = static_cast<uint64_t>((settings.rows + kFillBatch - 1) / kFillBatch);
  std::string message;
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              options, kInsertMethod,
                              [&](uint64_t index) {
                                message = InsertMessage(settings.collection, settings.dim, kFillBatch, index);
                                return std::string_view(message);
                              },
                              [](uint64_t, const api::GrpcReply& reply) { return CheckInsert(reply, kFillBatch); }));
  return CheckErrors(result);
}

Status RunSearch(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const auto client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_RETURN_IF_ERROR(MakeCollection(*client, settings.collection, settings.dim));
  int64_t rows = 0;
  if (settings.rows > 0) {
    QUIVER_RETURN_IF_ERROR(Fill(settings));
    QUIVER_ASSIGN_OR_RETURN(rows, CountRows(*client, settings.collection));
  }
  constexpr uint64_t kDifferent = 64;
  std::vector<std::string> messages;
  for (uint64_t i = 0; i < kDifferent; ++i) {
    messages.push_back(SearchMessage(settings.collection, settings.dim, settings.nq, settings.limit, i));
  }
  const int64_t expected = std::min<int64_t>(settings.limit, rows);
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      RunLoad(
          OptionsOf(settings), kSearchMethod,
          [&](uint64_t index) { return std::string_view(messages[index % kDifferent]); },
          [&](uint64_t, const api::GrpcReply& reply) { return CheckSearch(reply, settings.nq, expected); }));
  PrintResult(fmt::format("search rows={} dim={} nq={} k={} depth={}", rows, settings.dim, settings.nq, settings.limit,
                          settings.depth),
              result,
              fmt::format("  {:.0f} queries/s",
                          static_cast<double>(result.calls * static_cast<uint64_t>(settings.nq)) / result.seconds),
              fmt::format(",\"rows\":{},\"dim\":{},\"nq\":{},\"depth\":{},\"connections\":{}", rows, settings.dim,
                          settings.nq, settings.depth, settings.connections));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  return DropCollection(*client, settings.collection);
}

Status RunInsert(Settings settings) {
  QUIVER_ASSIGN_OR_RETURN(const double sync_rate, MeasureSyncRate(settings.folder));
  QUIVER_ASSIGN_OR_RETURN(const auto client, api::GrpcClient::Connect(settings.host, settings.port));
  QUIVER_RETURN_IF_ERROR(MakeCollection(*client, settings.collection, settings.dim));
  // Made beforehand, so that the generator takes little of the machine. Keys are the server's, so batches may recur.
  constexpr uint64_t kDifferent = 32;
  std::vector<std::string> messages;
  for (uint64_t i = 0; i < kDifferent; ++i) {
    messages.push_back(InsertMessage(settings.collection, settings.dim, settings.batch, i));
  }
  settings.connections = settings.depth = settings.clients;
  LoadOptions options = OptionsOf(settings);
  if (settings.rows > 0) options.max_calls = static_cast<uint64_t>(settings.rows / settings.batch);
  constexpr std::string_view kSyncs = "quiver_log_syncs_total";
  const auto syncs = [&]() -> Result<double> {
    return settings.ops_port == 0 ? Result<double>(0.0) : ReadMetric("127.0.0.1", settings.ops_port, kSyncs);
  };
  options.warm_up = std::chrono::milliseconds(0);
  QUIVER_ASSIGN_OR_RETURN(const double syncs_before, syncs());
  uint64_t acknowledged = 0;
  QUIVER_ASSIGN_OR_RETURN(
      const LoadResult result,
      RunLoad(
          options, kInsertMethod, [&](uint64_t index) { return std::string_view(messages[index % kDifferent]); },
          [&](uint64_t, const api::GrpcReply& reply) {
            std::string problem = CheckInsert(reply, settings.batch);
            if (problem.empty()) ++acknowledged;
            return problem;
          }));
  QUIVER_ASSIGN_OR_RETURN(const double syncs_after, syncs());
  const double rows_per_second =
      static_cast<double>(result.calls) * static_cast<double>(settings.batch) / result.seconds;
  const double sync_count = syncs_after - syncs_before;
  const double syncs_per_call = sync_count / static_cast<double>(std::max<uint64_t>(result.calls, 1));
  PrintResult(fmt::format("insert batch={} dim={} clients={}", settings.batch, settings.dim, settings.clients), result,
              fmt::format("  {:.0f} rows/s  {:.0f} log syncs ({:.3f} per call, {:.0f}/s; the disk alone: {:.0f}/s)",
                          rows_per_second, sync_count, syncs_per_call, sync_count / result.seconds, sync_rate),
              fmt::format(",\"rows_per_second\":{:.1f},\"batch\":{},\"dim\":{},\"clients\":{},\"log_syncs\":{:.0f},"
                          "\"log_syncs_per_call\":{:.4f},\"disk_syncs_per_second\":{:.1f}",
                          rows_per_second, settings.batch, settings.dim, settings.clients, sync_count, syncs_per_call,
                          sync_rate));
  QUIVER_RETURN_IF_ERROR(CheckErrors(result));
  // All that was acknowledged must be there; replies that came after the end of the measurement add a few.
  QUIVER_ASSIGN_OR_RETURN(const int64_t rows, CountRows(*client, settings.collection));
  const auto least = static_cast<int64_t>(acknowledged) * settings.batch;
  if (rows < least || rows > least + int64_t{settings.batch} * settings.clients) {
    return Error(StatusCode::kInternal, "{} rows were acknowledged, {} are there", least, rows);
  }
  return DropCollection(*client, settings.collection);
}

Status RunVersion(const Settings& settings) {
  QUIVER_ASSIGN_OR_RETURN(const LoadResult result,
                          RunLoad(
                              OptionsOf(settings), kGetVersionMethod, [](uint64_t) { return std::string_view(); },
                              [](uint64_t, const api::GrpcReply& reply) { return CheckVersion(reply); }));
  PrintResult(fmt::format("version depth={}", settings.depth), result, "",
              fmt::format(",\"depth\":{},\"connections\":{}", settings.depth, settings.connections));
  return CheckErrors(result);
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Load generator for a Quiver server");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--host", settings.host, "server to load")->capture_default_str();
  app.add_option("--port", settings.port, "its port; without it a server is started");
  app.add_option("--ops-port", settings.ops_port, "its operations port, to count log syncs");
  app.add_option("--server-pid", settings.server_pid, "its process, to measure its CPU time");
  app.add_option("--server", settings.server_program, "program to start (default: ../quiver beside this one)");
  app.add_option("--server-arg", settings.server_arguments, "further argument of `quiver serve`; may be repeated");
  app.add_option("--folder", settings.folder, "where a started server keeps its data")->capture_default_str();
  app.add_option("--collection", settings.collection, "collection; dropped and made anew")->capture_default_str();
  app.add_option("--seconds", settings.seconds, "how long to measure")->capture_default_str();
  app.add_option("--dim", settings.dim)->capture_default_str();
  app.add_option("--rows", settings.rows, "search: rows to insert before; insert: rows in all instead of --seconds");
  app.add_option("--first-key", settings.first_key, "first key (or bucket, or number) used")->capture_default_str();
  app.add_option("--key-range", settings.key_range, "keys there are, from the first one on");
  app.add_option("--count", settings.count, "collections, partitions, snapshots, buckets or calls");
  app.add_option("--file", settings.file, "replay: requests, each after its length (uint32)");
  app.add_option("--answers", settings.answers, "replay-search: file for the keys that were found");
  app.add_flag("--existing", settings.existing, "the collection is there: neither dropped nor made");
  app.add_flag("--keep", settings.keep, "leave the collection in place");

  CLI::App* const search = app.add_subcommand("search", "vector searches");
  CLI::App* const version = app.add_subcommand("version", "GetVersion calls");
  for (CLI::App* const command : {search, version}) {
    command->add_option("--depth", settings.depth, "calls in flight")->capture_default_str();
    command->add_option("--connections", settings.connections)->capture_default_str();
  }
  search->add_option("--nq", settings.nq, "vectors per call")->capture_default_str();
  search->add_option("--limit", settings.limit)->capture_default_str();
  CLI::App* const insert = app.add_subcommand("insert", "durable inserts");
  insert->add_option("--batch", settings.batch, "rows per call")->capture_default_str();
  insert->add_option("--clients", settings.clients, "connections with one call in flight each")->capture_default_str();

  // Rows with keys of the client: what the storage benchmark consists of.
  struct Mode {
    const char* name;
    const char* description;
    Status (*run)(const Settings&);
  };
  constexpr std::array kModes{
      Mode{"insert-keys", "durable inserts of the keys from --first-key on", RunKeyedInsert},
      Mode{"upsert", "replaces --rows rows among --key-range", RunUpsert},
      Mode{"delete-keys", "deletes --rows rows among --key-range by lists of keys", RunDeleteKeys},
      Mode{"delete-filter", "deletes --count buckets by a filter", RunDeleteFilter},
      Mode{"query", "looks rows up by key", RunQuery},
      Mode{"find", "searches for the vectors of stored rows", RunFind},
      Mode{"snapshots", "creates --count snapshots", RunSnapshots},
      Mode{"collections", "creates --count empty collections", RunCollections},
      Mode{"partitions", "creates, fills and reads --count partitions", RunPartitions},
      Mode{"replay-insert", "sends the inserts of --file once each", RunReplayInsert},
      Mode{"replay-search", "sends the searches of --file, or once each with --answers", RunReplaySearch},
      Mode{"compact", "compacts the collection and waits for the end", RunCompact},
  };
  std::array<CLI::App*, kModes.size()> modes{};
  for (size_t i = 0; i < kModes.size(); ++i) {
    modes[i] = app.add_subcommand(kModes[i].name, kModes[i].description);
    modes[i]->add_option("--batch", settings.batch, "rows per call")->capture_default_str();
    modes[i]->add_option("--clients", settings.clients, "connections with one call in flight each");
    modes[i]->add_option("--depth", settings.depth, "reads in flight")->capture_default_str();
    modes[i]->add_option("--connections", settings.connections)->capture_default_str();
    modes[i]->add_option("--limit", settings.limit)->capture_default_str();
  }
  CLI11_PARSE(app, argc, argv);

  std::unique_ptr<ServerProcess> server;
  if (settings.port == 0) {
    std::filesystem::path program = settings.server_program;
    if (program.empty())
      program = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "quiver";
    Result<std::unique_ptr<ServerProcess>> started =
        ServerProcess::Start(program, settings.folder, settings.server_arguments);
    if (!started.ok()) {
      std::fprintf(stderr, "%s\n", started.status().message().c_str());
      return 1;
    }
    server = *std::move(started);
    settings.host = "127.0.0.1";
    settings.port = server->port();
    settings.ops_port = server->ops_port();
    settings.server_pid = server->pid();
  }
  const auto mode = std::find_if(modes.begin(), modes.end(), [](const CLI::App* app) { return app->parsed(); });
  const Status status = mode != modes.end() ? kModes[static_cast<size_t>(mode - modes.begin())].run(settings)
                        : search->parsed()  ? RunSearch(settings)
                        : insert->parsed()  ? RunInsert(settings)
                                            : RunVersion(settings);
  if (!status.ok()) std::fprintf(stderr, "failed: %s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) { return quiver::bench::Main(argc, argv); }
