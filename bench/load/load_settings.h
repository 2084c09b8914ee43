// File: bench/load/load_settings.h
// What the command line of quiver_load says, and how its modes print what they measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "load/load_runner.h"

namespace quiver::bench {

struct Settings {
  std::string server_program;
  std::vector<std::string> server_arguments;
  std::string folder = std::filesystem::temp_directory_path().string();
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  uint16_t ops_port = 0;
  int server_pid = 0;
  std::string collection = "quiver_load";
  double seconds = 5;
  int connections = 1;
  int depth = 1;
  int clients = 1;
  int dim = 128;
  int64_t rows = 0;
  int batch = 1000;
  int nq = 1;
  int limit = 10;
  std::string file;
  std::string answers;
  int64_t first_key = 0;
  int64_t key_range = 0;
  int64_t count = 0;
  bool existing = false;
  bool keep = false;
};

LoadOptions OptionsOf(const Settings& settings);

/// Prints the table line and the JSON line of a result; further text and JSON members are appended to them.
void PrintResult(const std::string& title, const LoadResult& result, const std::string& further_text,
                 const std::string& further_json);

/// An error if a call of the load failed.
Status CheckErrors(const LoadResult& result);

}  // namespace quiver::bench
