// The server with real sockets and threads.
#include "api/net/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/net/event_loop.h"
#include "api/net/grpc_client.h"
#include "api/net/grpc_wire.h"

namespace quiver::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kEcho = "/quiver.Echo/Echo";

// Holds calls until the test takes them.
class CallQueue {
 public:
  void Add(std::shared_ptr<RpcCall> call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
    ready_.notify_all();
  }

  std::shared_ptr<RpcCall> Take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !calls_.empty(); });
    std::shared_ptr<RpcCall> call = std::move(calls_.back());
    calls_.pop_back();
    return call;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<std::shared_ptr<RpcCall>> calls_;
};

void EchoRpc(const std::shared_ptr<RpcCall>& call) { call->Finish(std::string(call->message())); }

void EchoHttp(const std::shared_ptr<HttpCall>& call) {
  HttpResponse response;
  response.body = call->request().method + " " + call->request().target;
  call->Finish(std::move(response));
}

std::unique_ptr<Server> StartServer(const ServerOptions& options = {}, RpcHandler rpc = EchoRpc) {
  Result<std::unique_ptr<Server>> server = Server::Start(options, std::move(rpc), EchoHttp);
  EXPECT_TRUE(server.ok()) << server.status().message();
  return server.ok() ? *std::move(server) : nullptr;
}

std::unique_ptr<GrpcClient> Dial(const Server& server, GrpcClientOptions options = {}) {
  Result<std::unique_ptr<GrpcClient>> client = GrpcClient::Connect("127.0.0.1", server.port(), options);
  EXPECT_TRUE(client.ok()) << client.status().message();
  return client.ok() ? *std::move(client) : nullptr;
}

// A plain TCP connection.
class RawPeer {
 public:
  RawPeer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  explicit RawPeer(uint16_t port) : RawPeer() { EXPECT_TRUE(Connect(port)); }

  bool Connect(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }

  void Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }

  // Reads until the server closes, or gives up.
  std::string ReadToEnd(milliseconds patience = seconds(10)) const {
    std::string out;
    const auto end = std::chrono::steady_clock::now() + patience;
    while (true) {
      const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
      pollfd waiting{socket_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0) {
        ADD_FAILURE() << "the server did not close the connection";
        return out;
      }
      std::array<char, 4096> buffer;
      const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0) return out;
      out.append(buffer.data(), static_cast<size_t>(count));
    }
  }

  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Descriptor socket_;
};

// Waits until `condition` holds; for states that only the server's own thread changes.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

TEST(Server, EchoesGrpcAndAnswersHttpOnOnePort) {
  const auto server = StartServer();
  const auto client = Dial(*server);
  EXPECT_EQ(client->Call({.method = kEcho, .message = "hello"}).message, "hello");
  const RawPeer http(server->port());
  http.Send("GET /path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(http.ReadToEnd(), testing::AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), testing::EndsWith("GET /path")));
  const ServerStats stats = server->stats();
  EXPECT_EQ(stats.connections_accepted, 2u);
  EXPECT_EQ(stats.rpc_calls, 1u);
  EXPECT_EQ(stats.http_requests, 1u);
  EXPECT_GT(stats.bytes_received, 100u);
  EXPECT_GT(stats.bytes_sent, 100u);
}

TEST(Server, CarriesTheLargestMessageBothWays) {
  const auto server = StartServer();
  const auto client = Dial(*server);
  std::string message(64u << 20, '\0');
  for (size_t i = 0; i < message.size(); i += 4096) message[i] = static_cast<char>(i >> 12);
  const GrpcReply reply = client->Call({.method = kEcho, .message = message});
  EXPECT_EQ(reply.code, GrpcCode::kOk) << reply.error;
  EXPECT_TRUE(reply.message == message);
  message.push_back('x');
  const GrpcReply refused = client->Call({.method = kEcho, .message = message});
  EXPECT_EQ(refused.code, GrpcCode::kResourceExhausted);
  EXPECT_EQ(refused.error, "Received message larger than max (67108865 vs. 67108864)");
  EXPECT_EQ(client->Call({.method = kEcho, .message = "still here"}).message, "still here");
  EXPECT_EQ(server->stats().buffered_request_bytes, 0u);
}

TEST(Server, ServesManyClientsFromOtherThreads) {
  // Answers come from the workers, requests over several loops.
  CallQueue queue;
  ServerOptions options;
  options.network_threads = 2;
  const auto server = StartServer(options, [&](std::shared_ptr<RpcCall> call) { queue.Add(std::move(call)); });
  constexpr int kClients = 8;
  constexpr int kCallsPerClient = 500;
  constexpr int kDepth = 16;
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      while (true) {
        const std::shared_ptr<RpcCall> call = queue.Take();
        if (call == nullptr) return;
        call->Finish(std::string(call->message()));
      }
    });
  }
  std::atomic<int> good = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      const auto client = Dial(*server);
      int started = 0;
      int finished = 0;
      std::function<void()> start = [&] {
        const std::string text = std::to_string(c) + "/" + std::to_string(started++) + std::string(200, 'x');
        client->session().Start({.method = kEcho, .message = text}, [&, text](const GrpcReply& reply) {
          ++finished;
          if (reply.code == GrpcCode::kOk && reply.message == text) ++good;
          if (started < kCallsPerClient) start();
        });
      };
      for (int i = 0; i < kDepth; ++i) start();
      while (finished < kCallsPerClient && client->Poll(seconds(1))) {
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < workers.size(); ++i) queue.Add(nullptr);
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(good, kClients * kCallsPerClient);
}

TEST(Server, KeepsManyConnections) {
  const auto server = StartServer();
  std::vector<std::unique_ptr<GrpcClient>> clients;
  for (int i = 0; i < 300; ++i) clients.push_back(Dial(*server));
  for (int round = 0; round < 2; ++round) {
    for (const auto& client : clients) ASSERT_EQ(client->Call({.method = kEcho, .message = "x"}).message, "x");
  }
  EXPECT_EQ(server->stats().connections_open, 300u);
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections_open == 0; }));
}

TEST(Server, RefusesConnectionsBeyondTheLimit) {
  ServerOptions options;
  options.max_connections = 2;
  const auto server = StartServer(options);
  const auto first = Dial(*server);
  auto second = Dial(*server);
  EXPECT_EQ(first->Call({.method = kEcho, .message = "1"}).message, "1");
  EXPECT_EQ(second->Call({.method = kEcho, .message = "2"}).message, "2");
  const RawPeer third(server->port());
  EXPECT_EQ(third.ReadToEnd(), "");
  EXPECT_EQ(server->stats().connections_rejected, 1u);
  second.reset();
  EXPECT_TRUE(Eventually([&] { return server->stats().connections_open == 1; }));
  EXPECT_EQ(Dial(*server)->Call({.method = kEcho, .message = "4"}).message, "4");
}

TEST(Server, ClosesConnectionsWhenOutOfDescriptors) {
  const auto server = StartServer();
  const auto open_before = Dial(*server);
  EXPECT_EQ(open_before->Call({.method = kEcho, .message = "x"}).message, "x");
  RawPeer peer;  // has its descriptor already
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit few = old;
  few.rlim_cur = std::min<rlim_t>(old.rlim_cur, 200);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<Descriptor> all;
  for (int fd = ::dup(peer.fd()); fd >= 0; fd = ::dup(peer.fd())) all.emplace_back(fd);
  const bool connected = peer.Connect(server->port());
  const std::string answer = peer.ReadToEnd();  // at once, not after a time-out
  all.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_TRUE(connected);
  EXPECT_EQ(answer, "");
  EXPECT_EQ(server->stats().connections_rejected, 1u);
  EXPECT_EQ(open_before->Call({.method = kEcho, .message = "y"}).message, "y");
}

TEST(Server, AcceptsAgainWhenDescriptorsAreBack) {
  const auto server = StartServer();
  const auto open_before = Dial(*server);
  EXPECT_EQ(open_before->Call({.method = kEcho, .message = "x"}).message, "x");
  RawPeer peer;
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = 3;  // not even the server's reserve can be used
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool connected = peer.Connect(server->port());
  const bool rejected = Eventually([&] { return server->stats().connections_rejected > 0; });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_TRUE(connected);
  EXPECT_TRUE(rejected);
  EXPECT_EQ(open_before->Call({.method = kEcho, .message = "y"}).message, "y");
  EXPECT_EQ(Dial(*server)->Call({.method = kEcho, .message = "z"}).message, "z");
}

TEST(Server, ClosesHalfOpenConnectionsInTime) {
  ServerOptions options;
  options.limits.handshake_timeout = milliseconds(50);
  options.limits.http_idle_timeout = milliseconds(100);
  const auto server = StartServer(options);
  const RawPeer silent(server->port());
  const RawPeer half_preface(server->port());
  const RawPeer half_request(server->port());
  const RawPeer idle(server->port());
  half_preface.Send("PRI * HT");
  half_request.Send("GET / HTT");
  idle.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_EQ(half_preface.ReadToEnd(), "");
  EXPECT_THAT(half_request.ReadToEnd(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(idle.ReadToEnd(), StartsWith("HTTP/1.1 200 "));
}

TEST(Server, ClosesAPeerThatAnswersNoPing) {
  ServerOptions options;
  options.limits.keepalive_time = milliseconds(50);
  options.limits.keepalive_timeout = milliseconds(50);
  const auto server = StartServer(options);
  const RawPeer peer(server->port());
  peer.Send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 33));
  EXPECT_THAT(peer.ReadToEnd(), HasSubstr(std::string("\0\0\x08\x06\0\0\0\0\0", 9)));
}

TEST(Server, SurvivesGarbage) {
  const auto server = StartServer();
  uint64_t state = 42;
  for (int round = 0; round < 200; ++round) {
    std::string bytes = round % 2 == 0 ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" : "";
    for (int i = 0; i < 300; ++i) {
      state = state * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
      bytes.push_back(static_cast<char>(state >> 56));
    }
    const RawPeer peer(server->port());
    peer.Send(bytes);
    ::shutdown(peer.fd(), SHUT_WR);
    peer.ReadToEnd();
  }
  EXPECT_EQ(Dial(*server)->Call({.method = kEcho, .message = "x"}).message, "x");
  EXPECT_TRUE(Eventually([&] { return server->stats().connections_open == 0; }));
}

TEST(Server, RefusalReachesAClientThatIsStillSending) {
  ServerOptions options;
  options.limits.max_message_bytes = 1000;
  const auto server = StartServer(options);
  const RawPeer peer(server->port());
  peer.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
  peer.Send(std::string(8'000'000, 'x'));
  ::shutdown(peer.fd(), SHUT_WR);
  EXPECT_THAT(peer.ReadToEnd(), StartsWith("HTTP/1.1 413 "));
}

TEST(Server, HoldsBackForAPeerThatDoesNotRead) {
  ServerOptions options;
  options.limits.max_pending_response_bytes = 2u << 20;
  const auto server = StartServer(options);
  const auto client = Dial(*server, {.stream_window_bytes = 1u << 30, .connection_window_bytes = 1u << 30});
  const std::string message(1u << 20, 'x');
  int good = 0;
  int refused = 0;
  const int small = 256 << 10;
  ASSERT_EQ(setsockopt(client->descriptor(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
  // The server's windows are known after a first call.
  ASSERT_EQ(client->Call({.method = kEcho, .message = "x"}).code, GrpcCode::kOk);
  constexpr int kCalls = 14;
  // All requests go out, one after the other, before the first answer is read; the server goes on reading meanwhile.
  std::string bytes;
  for (int i = 0; i < kCalls; ++i) {
    client->session().Start({.method = kEcho, .message = message}, [&](const GrpcReply& reply) {
      good += reply.code == GrpcCode::kOk ? 1 : 0;
      refused += reply.code == GrpcCode::kUnavailable ? 1 : 0;
    });
    for (auto piece = client->session().Produce(); !piece.empty(); piece = client->session().Produce()) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
  }
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t count = ::send(client->descriptor(), rest.data(), rest.size(), MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    rest.remove_prefix(static_cast<size_t>(count));
  }
  while (good + refused < kCalls && client->Poll(seconds(1))) {
  }
  EXPECT_EQ(good + refused, kCalls);
  EXPECT_GE(good, 2);
  EXPECT_GE(refused, 1);
}

TEST(Server, ShutdownWaitsForCallsInFlight) {
  CallQueue queue;
  const auto server = StartServer({}, [&](std::shared_ptr<RpcCall> call) { queue.Add(std::move(call)); });
  auto reply = std::async(std::launch::async, [&] { return Dial(*server)->Call({.method = kEcho, .message = "x"}); });
  std::shared_ptr<RpcCall> call = queue.Take();
  auto shutdown = std::async(std::launch::async, [&] { server->Shutdown(seconds(30)); });
  // The port is closed first.
  EXPECT_TRUE(Eventually([&] { return !RawPeer().Connect(server->port()); }));
  EXPECT_EQ(shutdown.wait_for(milliseconds(0)), std::future_status::timeout);
  EXPECT_FALSE(call->cancelled());
  call->Finish("answered");
  EXPECT_EQ(reply.get().message, "answered");
  shutdown.get();
}

TEST(Server, ShutdownCancelsCallsAfterItsGrace) {
  CallQueue queue;
  auto server = StartServer({}, [&](std::shared_ptr<RpcCall> call) { queue.Add(std::move(call)); });
  const auto client = Dial(*server);
  GrpcReply reply;
  client->session().Start({.method = kEcho}, [&](GrpcReply got) { reply = std::move(got); });
  client->Poll(milliseconds(0));
  const std::shared_ptr<RpcCall> call = queue.Take();
  server->Shutdown(milliseconds(20));
  EXPECT_TRUE(call->cancelled());
  server.reset();
  call->Finish("too late");  // the call outlives the server
  while (client->Poll(seconds(1))) {
  }
  EXPECT_EQ(reply.code, GrpcCode::kUnavailable);
}

TEST(Server, ReportsAnAddressThatIsTaken) {
  const auto server = StartServer();
  ServerOptions options;
  options.port = server->port();
  const Result<std::unique_ptr<Server>> second = Server::Start(options, EchoRpc, EchoHttp);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kIo);
  EXPECT_THAT(second.status().message(), HasSubstr("127.0.0.1:" + std::to_string(server->port())));
  options.host = "no.such.host.invalid";
  EXPECT_EQ(Server::Start(options, EchoRpc, EchoHttp).status().code(), StatusCode::kIo);
  options = {};
  options.limits.max_message_bytes = size_t{3} << 30;
  EXPECT_EQ(Server::Start(options, EchoRpc, EchoHttp).status().code(), StatusCode::kInvalidParameter);
}

TEST(Server, CanBeStartedAgainOnTheSamePort) {
  auto server = StartServer();
  ServerOptions options;
  options.port = server->port();
  const auto client = Dial(*server);
  EXPECT_EQ(client->Call({.method = kEcho, .message = "x"}).message, "x");
  server.reset();  // with the connection open: it will be in TIME_WAIT
  server = StartServer(options);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(Dial(*server)->Call({.method = kEcho, .message = "y"}).message, "y");
}

// Returns how often the network thread has gone to sleep.
uint64_t NetworkThreadSleeps() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream name_file(task.path() / "comm");
    std::string name;
    if (!std::getline(name_file, name) || name != "quiver-net-0") continue;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      constexpr std::string_view kKey = "voluntary_ctxt_switches:";
      if (line.starts_with(kKey)) return std::stoull(line.substr(kKey.size()));
    }
  }
  ADD_FAILURE() << "no network thread";
  return 0;
}

TEST(Server, SleepsWhenNothingHappens) {
  const auto server = StartServer();
  const auto client = Dial(*server);
  EXPECT_EQ(client->Call({.method = kEcho, .message = "x"}).message, "x");
  const RawPeer http(server->port());
  http.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return server->stats().http_requests == 1; }));
  std::this_thread::sleep_for(milliseconds(50));  // the last answer is on its way
  const uint64_t before = NetworkThreadSleeps();
  std::this_thread::sleep_for(milliseconds(500));  // the time that is measured
  EXPECT_LE(NetworkThreadSleeps(), before + 1);
}

}  // namespace
}  // namespace quiver::api
