// File: cli/serve.h
// `quiver serve`: runs one server process until it is told to stop.
#pragma once

#include <string>
#include <vector>

namespace quiver::cli {

/// Version of this build.
std::string Version();

/// Runs the server with the arguments after "serve". Returns the exit code: 0 after a graceful stop, 1 when it could
/// not start (the reason is on standard error), 2 for wrong arguments. To be called from the main thread, before any
/// other thread exists: it takes SIGTERM, SIGINT and SIGHUP for itself.
int Serve(const std::vector<std::string>& arguments);

}  // namespace quiver::cli
