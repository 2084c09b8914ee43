// File: cli/dump.h
// `quiver dump`: shows what a file of a data directory holds.
#pragma once

#include <string>
#include <vector>

namespace quiver::cli {

/// Returns the exit code: 0 shown, 1 the file is damaged, 2 wrong arguments or not one of our files.
int Dump(const std::vector<std::string>& arguments);

}  // namespace quiver::cli
