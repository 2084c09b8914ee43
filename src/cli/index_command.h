// File: cli/index_command.h
// `quiver index`: builds, searches, measures and tunes vector indexes over files of vectors, without a server.
#pragma once

#include <string>
#include <vector>

namespace quiver::cli {

/// Returns the exit code: 0 done, 1 it failed (the reason is on standard error), 2 wrong arguments.
int Index(const std::vector<std::string>& arguments);

}  // namespace quiver::cli
