#include "load/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "api/net/event_loop.h"

namespace quiver::bench {

namespace {

using api::Descriptor;
using Clock = std::chrono::steady_clock;

constexpr auto kStartPatience = std::chrono::seconds(30);

// The kernel gives out such ports in turn, so that it stays free for the moment until the server binds it.
Result<uint16_t> FreePort() {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return Error(StatusCode::kIo, "no free port: {}", std::strerror(errno));
  }
  return ntohs(address.sin_port);
}

}  // namespace

Result<std::unique_ptr<ServerProcess>> ServerProcess::Start(const std::filesystem::path& program,
                                                            const std::filesystem::path& parent,
                                                            const std::vector<std::string>& further_arguments) {
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  std::string folder = (parent / "quiver-load-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    return Error(StatusCode::kIo, "cannot make a folder in {}: {}", parent.string(), std::strerror(errno));
  }
  server->data_ = folder;
  QUIVER_ASSIGN_OR_RETURN(server->port_, FreePort());
  QUIVER_ASSIGN_OR_RETURN(server->ops_port_, FreePort());

  std::vector<std::string> arguments = {program.string(), "serve",
                                        "--data",         folder,
                                        "--host",         "127.0.0.1",
                                        "--port",         std::to_string(server->port_),
                                        "--ops-port",     std::to_string(server->ops_port_)};
  arguments.insert(arguments.end(), further_arguments.begin(), further_arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error(StatusCode::kIo, "no pipe: {}", std::strerror(errno));
  server->output_ = ends[0];
  const Descriptor write_end(ends[1]);
  server->pid_ = ::fork();
  if (server->pid_ == 0) {
    ::dup2(write_end.get(), STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    constexpr int kNotFound = 127;
    ::_exit(kNotFound);
  }
  if (server->pid_ < 0) return Error(StatusCode::kIo, "cannot start {}: {}", argv[0], std::strerror(errno));
  const_cast<Descriptor&>(write_end).Close();

  // It prints one line when it is ready.
  std::string output;
  const Clock::time_point end = Clock::now() + kStartPatience;
  while (output.find(" ready ") == std::string::npos) {
    pollfd waiting{server->output_, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    std::array<char, 4096> buffer;
    ssize_t count = -1;
    if (left > 0 && ::poll(&waiting, 1, static_cast<int>(left)) > 0) {
      count = ::read(server->output_, buffer.data(), buffer.size());
    }
    if (count <= 0) return Error(StatusCode::kIo, "{} did not become ready: {}", program.string(), output);
    output.append(buffer.data(), static_cast<size_t>(count));
  }
  return server;
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
  if (output_ >= 0) ::close(output_);
  if (!data_.empty()) {
    std::error_code ignored;  // a folder in the temporary directory
    std::filesystem::remove_all(data_, ignored);
  }
}

Result<double> ReadMetric(const std::string& host, uint16_t port, std::string_view series) {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Error(StatusCode::kIo, "cannot read metrics at {}:{}: {}", host, port, std::strerror(errno));
  }
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
  if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return Error(StatusCode::kIo, "cannot read metrics at {}:{}: {}", host, port, std::strerror(errno));
  }
  std::string text;
  std::array<char, 16384> buffer;
  for (ssize_t count = 1; count > 0;) {
    count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (count > 0) text.append(buffer.data(), static_cast<size_t>(count));
  }
  const std::string key = "\n" + std::string(series) + " ";
  const size_t at = text.find(key);
  if (at == std::string::npos) return Error(StatusCode::kIo, "there is no metric {}", series);
  return std::strtod(text.c_str() + at + key.size(), nullptr);
}

Result<double> MeasureSyncRate(const std::filesystem::path& folder) {
  std::string path = (folder / "quiver-sync-XXXXXX").string();
  const Descriptor file(::mkostemp(path.data(), O_CLOEXEC));
  if (!file.valid())
    return Error(StatusCode::kIo, "cannot make a file in {}: {}", folder.string(), std::strerror(errno));
  ::unlink(path.c_str());
  constexpr size_t kBlock = 4096;
  constexpr auto kTime = std::chrono::milliseconds(1000);
  const std::string block(kBlock, 'x');
  const Clock::time_point begin = Clock::now();
  int syncs = 0;
  while (Clock::now() - begin < kTime) {
    if (::write(file.get(), block.data(), block.size()) != static_cast<ssize_t>(kBlock) ||
        ::fdatasync(file.get()) != 0) {
      return Error(StatusCode::kIo, "cannot write in {}: {}", folder.string(), std::strerror(errno));
    }
    ++syncs;
  }
  return static_cast<double>(syncs) / std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace quiver::bench
