// File: api/net/loopback.h
// For tests: a server connection without a socket. Time is a number that the test moves; bytes travel when it says so.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/net/connection.h"
#include "api/net/grpc_client.h"

namespace quiver::api {

/// Collects finished calls until the test delivers them.
class CollectingSink : public CompletionSink {
 public:
  void Complete(Completion completion) override {
    const std::lock_guard lock(mutex_);
    completions_.push_back(std::move(completion));
  }

  std::vector<Completion> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(completions_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Completion> completions_;
};

class Loopback {
 public:
  /// Echoes gRPC messages and answers HTTP with "METHOD target" and the body, unless `hold` is set.
  explicit Loopback(ConnectionLimits limits = {}, bool with_rpc = true) {
    context->limits = limits;
    if (with_rpc) {
      context->rpc_handler = [this](std::shared_ptr<RpcCall> call) {
        if (hold) {
          held.push_back(std::move(call));
        } else {
          call->Finish(std::string(call->message()));
        }
      };
    }
    context->http_handler = [this](std::shared_ptr<HttpCall> call) {
      if (hold) {
        held_http.push_back(std::move(call));
        return;
      }
      HttpResponse response;
      response.body = call->request().method + " " + call->request().target + "\n" + call->request().body;
      call->Finish(std::move(response));
    };
    auto info = std::make_shared<ConnectionInfo>();
    info->id = 1;
    info->peer = "127.0.0.1:1";
    info->sink = sink;
    info->budget = context->budget;
    connection = std::make_unique<Connection>(context, std::move(info), now);
  }

  /// Delivers what handlers have finished.
  bool DeliverAll() {
    std::vector<Completion> completions = sink->Take();
    for (Completion& completion : completions) connection->Deliver(std::move(completion), now);
    return !completions.empty();
  }

  void Send(std::string_view bytes) {
    connection->Consume({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, now);
  }

  /// Returns all that the server has to say now, taken in pieces of `room` bytes.
  std::string Receive(size_t room = 4096) {
    std::string out;
    std::vector<uint8_t> buffer(room);
    while (true) {
      DeliverAll();
      const size_t size = connection->Produce(buffer, now);
      out.append(reinterpret_cast<const char*>(buffer.data()), size);
      if (size < room && !DeliverAll()) return out;
    }
  }

  /// Sends over HTTP/1.1 and returns the answer.
  std::string Exchange(std::string_view bytes) {
    Send(bytes);
    return Receive();
  }

  /// Lets the time pass, with the timers due in it.
  void Advance(std::chrono::milliseconds time) {
    const SteadyTime end = now + time;
    while (!connection->finished() && connection->deadline() <= end) {
      now = connection->deadline();
      connection->OnTimer(now);
      if (connection->deadline() <= now) break;  // nothing but the peer can move it
    }
    now = end;
  }

  /// Moves bytes between client and server in pieces until both are quiet.
  void Pump(GrpcClientSession& client, size_t piece = 16u << 10) {
    bool moved = true;
    while (moved) {
      moved = false;
      for (std::span<const uint8_t> bytes = client.Produce(); !bytes.empty(); bytes = client.Produce()) {
        moved = true;
        // The next Produce or Consume of the client ends the bytes.
        const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
        for (size_t i = 0; i < copy.size(); i += piece) {
          connection->Consume(std::span(copy).subspan(i, std::min(piece, copy.size() - i)), now);
        }
      }
      const std::string answer = Receive(piece);
      for (size_t i = 0; i < answer.size(); i += piece) {
        moved = true;
        const std::string_view part = std::string_view(answer).substr(i, piece);
        client.Consume({reinterpret_cast<const uint8_t*>(part.data()), part.size()});
      }
    }
  }

  /// Makes one call and returns its reply; kUnknown with "no reply" if it stays open.
  GrpcReply Call(GrpcClientSession& client, const GrpcRequest& request, size_t piece = 16u << 10) {
    GrpcReply result;
    result.error = "no reply";
    client.Start(request, [&](GrpcReply reply) { result = std::move(reply); });
    Pump(client, piece);
    return result;
  }

  std::shared_ptr<ServerContext> context = std::make_shared<ServerContext>();
  std::shared_ptr<CollectingSink> sink = std::make_shared<CollectingSink>();
  SteadyTime now = SteadyTime(std::chrono::hours(1000));
  bool hold = false;
  std::vector<std::shared_ptr<RpcCall>> held;
  std::vector<std::shared_ptr<HttpCall>> held_http;
  std::unique_ptr<Connection> connection;
};

}  // namespace quiver::api
