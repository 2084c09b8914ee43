// File: base/config.h
// Settings of the server: one table holds every option's name, type, default, help, flag and environment variable.
//
//   QUIVER_ASSIGN_OR_RETURN(Config config, Config::Load(arguments, environment));
//   const int64_t port = config.port;
//
// A value comes from the first of: command line (--log.level=debug or --log.level debug), environment
// (QUIVER_LOG_LEVEL), YAML file (log: {level: debug}, or log.level: debug), default. An unknown key in any of them is
// an error that names the nearest known one. Thread rule: a plain value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/logging.h"
#include "base/status.h"

namespace quiver {

/// All settings, filled with their defaults.
struct Config {
  std::string config_file;               ///< --config
  std::string data_dir = "quiver-data";  ///< --data
  std::string host = "127.0.0.1";
  int64_t port = 19530;     ///< gRPC and HTTP/1.1; 0 = chosen by the kernel
  int64_t ops_port = 9091;  ///< health and metrics; 0 = chosen by the kernel, -1 = none
  std::string log_level = "info";
  std::string log_format = "text";  ///< text or json
  std::string log_file;             ///< empty = standard error
  int64_t log_max_bytes = 100LL << 20;
  int64_t log_max_files = 5;
  std::string durability = "sync";  ///< sync: acknowledged after fdatasync; async: before it
  int64_t max_message_bytes = 64LL << 20;
  int64_t max_connections = 10'000;
  int64_t network_threads = 0;     ///< 0 = chosen from the cores
  int64_t compute_threads = 0;     ///< 0 = one per core
  std::string simd = "auto";       ///< instruction set of the kernels; auto = the strongest of the processor
  int64_t memory_limit_bytes = 0;  ///< 0 = three quarters of the machine's memory
  int64_t filter_cache_bytes = 64LL << 20;
  int64_t result_cache_bytes = 64LL << 20;
  int64_t segment_seal_bytes = 128LL << 20;
  int64_t segment_flush_min_bytes = 4LL << 20;  ///< Flush leaves less than this growing
  int64_t max_log_bytes = 256LL << 20;          ///< of the write-ahead log, before it is cut by sealing
  int64_t max_growing_seconds = 3600;           ///< age at which growing rows are sealed
  int64_t retention_seconds = 60;               ///< of collections that do not set one
  bool compaction = true;                       ///< in the background
  int64_t max_segment_bytes = 1LL << 30;        ///< largest segment that compaction makes
  int64_t compaction_bytes_per_second = 128LL << 20;
  int64_t index_build_threads = 0;  ///< of one index build; 0 = half of the cores
  int64_t index_min_rows = 4096;    ///< segments with fewer rows are scanned
  bool growing_graphs = true;       ///< index.growing_graphs
  bool key_indexes = true;          ///< index.key_indexes
  bool serve_damaged = false;       ///< storage.serve_damaged
  bool auto_load = false;           ///< compat.auto_load
  int64_t shutdown_grace_ms = 30'000;
  int64_t max_result_window = 16384;
  int64_t max_topk = 16384;
  int64_t max_queries = 16384;
  int64_t max_output_bytes = 100LL << 20;
  int64_t max_databases = 64;
  int64_t max_collections = 65536;
  int64_t max_partitions = 1024;

  /// Reads the settings. `arguments` are those after the subcommand; `environment` is a list of NAME=value (others than
  /// QUIVER_... are ignored). Errors: kInvalidParameter, with key, value and what was expected; kIo for the file.
  static Result<Config> Load(const std::vector<std::string>& arguments, const std::vector<std::string>& environment);

  /// The text of `quiver serve --help`: every option with type, default, flag and environment variable.
  static std::string Help();

  /// Every setting in effect as "name = value" lines with its source, for the log; secrets blanked.
  [[nodiscard]] std::string Describe() const;

  /// Settings of the log.
  [[nodiscard]] log::Options LogOptions() const;

  /// Where each setting came from ("default", "file", "environment", "flag"), by name.
  std::map<std::string, std::string> sources;
};

}  // namespace quiver
