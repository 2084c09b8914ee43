// File: cli/explain.h
// `quiver explain`: asks a running server how it answers a query or a search, and shows that as a tree.
#pragma once

#include <string>
#include <vector>

namespace quiver::cli {

/// Returns the exit code: 0 shown, 1 the server refused or cannot be reached, 2 wrong arguments.
int Explain(const std::vector<std::string>& arguments);

}  // namespace quiver::cli
