// File: cli/check.h
// `quiver check`: verifies a data directory and repairs it on request.
#pragma once

#include <string>
#include <vector>

namespace quiver::cli {

/// Returns the exit code: 0 nothing is wrong (or all of it was repaired), 1 faults, 2 wrong arguments or nothing could
/// be checked.
int Check(const std::vector<std::string>& arguments);

}  // namespace quiver::cli
