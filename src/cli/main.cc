// The quiver program: quiver COMMAND [arguments].
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "api/service.h"
#include "base/memory_budget.h"
#include "cli/check.h"
#include "cli/dump.h"
#include "cli/explain.h"
#include "cli/index_command.h"
#include "cli/serve.h"

namespace {

constexpr std::string_view kUsage =
    "usage: quiver COMMAND [arguments]\n"
    "\n"
    "  serve      run the server; 'quiver serve --help' lists every setting\n"
    "  check      verify a data directory, and repair it\n"
    "  dump       show a file of a data directory as text or JSON\n"
    "  explain    ask a running server how it answers a query or a search\n"
    "  index      build, search, measure and tune vector indexes over files of vectors\n"
    "  rpcs       list the RPCs that are served\n"
    "  version    print the version\n"
    "  help       print this text\n";

int Fail(std::string_view message) {
  fmt::print(stderr, "quiver: {}\n\n{}", message, kUsage);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) return Fail("no command given");
  const std::string& command = arguments[0];
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());

  quiver::ConfigureAllocator();
  if (command == "serve") return quiver::cli::Serve(rest);
  if (command == "check") return quiver::cli::Check(rest);
  if (command == "dump") return quiver::cli::Dump(rest);
  if (command == "explain") return quiver::cli::Explain(rest);
  if (command == "index") return quiver::cli::Index(rest);
  if (command == "help" || command == "--help" || command == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command == "version" || command == "--version") {
    fmt::print("quiver {}\n", quiver::cli::Version());
    return 0;
  }
  if (command == "rpcs") {
    for (const std::string& name : quiver::api::Service::ServedMethods()) fmt::print("{}\n", name);
    return 0;
  }
  return Fail(fmt::format("unknown command '{}'", command));
}
