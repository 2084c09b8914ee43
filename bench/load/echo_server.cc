// quiver_echo: the bare network server, answering each call with its own message. Shows what the transport alone costs.
//   quiver_echo [--port P] [--threads N] [--pool]     --pool answers from another thread, as a search does
#include <CLI/CLI.hpp>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>
#include <mutex>
#include <thread>

#include "api/net/server.h"

namespace {

using quiver::api::HttpCall;
using quiver::api::HttpResponse;
using quiver::api::RpcCall;

// One worker that answers what the network thread hands over.
class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }

  void Add(std::shared_ptr<RpcCall> call) {
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
    }
    ready_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      ready_.wait(lock, [this] { return stop_ || !calls_.empty(); });
      if (calls_.empty()) return;
      const std::shared_ptr<RpcCall> call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      call->Finish(std::string(call->message()));
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::shared_ptr<RpcCall>> calls_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) {
  quiver::api::ServerOptions options;
  options.port = 19555;
  bool pool = false;
  CLI::App app("The bare network server: echoes each call");
  app.add_option("--host", options.host);
  app.add_option("--port", options.port);
  app.add_option("--threads", options.network_threads);
  app.add_flag("--pool", pool, "answer from another thread");
  CLI11_PARSE(app, argc, argv);

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Worker worker;
  auto server = quiver::api::Server::Start(
      options,
      [&](std::shared_ptr<RpcCall> call) {
        if (pool) return worker.Add(std::move(call));
        call->Finish(std::string(call->message()));
      },
      [](const std::shared_ptr<HttpCall>& call) {
        HttpResponse response;
        response.body = call->request().method + " " + call->request().target + "\n" + call->request().body;
        call->Finish(std::move(response));
      });
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().message().c_str());
    return 1;
  }
  std::printf("listening on %s:%d\n", options.host.c_str(), (*server)->port());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  (*server)->Shutdown(std::chrono::seconds(5));
  return 0;
}
