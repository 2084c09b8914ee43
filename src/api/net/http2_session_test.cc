// gRPC over HTTP/2, driven without sockets.
#include "api/net/http2_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "api/net/grpc_wire.h"
#include "api/net/loopback.h"

namespace quiver::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kEcho = "/quiver.Echo/Echo";
constexpr uint32_t kRefusedStream = 7;

std::string Framed(std::string_view message, uint8_t flag = 0) {
  const auto prefix = EncodeMessagePrefix({flag, static_cast<uint32_t>(message.size())});
  return std::string(prefix.begin(), prefix.end()).append(message);
}

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 2'654'435'761u >> 13);
  return text;
}

TEST(Http2Session, EchoesWithTheRequestSplitAtEveryByte) {
  const std::string message = Pattern(50);
  size_t total = 1;
  for (size_t split = 0; split <= total; ++split) {
    Loopback loopback;
    GrpcClientSession client;
    GrpcReply reply;
    client.Start({.method = kEcho, .message = message}, [&](GrpcReply got) { reply = std::move(got); });
    std::string bytes;
    for (auto piece = client.Produce(); !piece.empty(); piece = client.Produce()) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    total = bytes.size();
    loopback.Send(std::string_view(bytes).substr(0, split));
    const std::string early = loopback.Receive();
    loopback.Send(std::string_view(bytes).substr(split));
    client.Consume({reinterpret_cast<const uint8_t*>(early.data()), early.size()});
    loopback.Pump(client);
    EXPECT_EQ(reply.code, GrpcCode::kOk) << split;
    EXPECT_EQ(reply.message, message) << split;
    EXPECT_EQ(loopback.context->rpc_calls, 1u) << split;
  }
  EXPECT_GT(total, 100u);
}

TEST(Http2Session, EchoesInPiecesOfAnySize) {
  const std::string message = Pattern(40'000);
  for (const size_t piece : {1, 2, 3, 5, 8, 9, 10, 17, 1000, 16'384, 16'393}) {
    Loopback loopback;
    GrpcClientSession client;
    const GrpcReply reply = loopback.Call(client, {.method = kEcho, .message = message}, piece);
    EXPECT_EQ(reply.code, GrpcCode::kOk) << piece << reply.error;
    EXPECT_EQ(reply.http_status, 200);
    EXPECT_TRUE(reply.message == message) << piece;
  }
}

TEST(Http2Session, EchoesMessagesAroundTheFrameSizes) {
  Loopback loopback;
  GrpcClientSession client;
  for (const size_t size : {0, 1, 4, 5, 6, 16'378, 16'379, 16'380, 16'384, 65'535, 262'144, 5'000'000}) {
    const std::string message = Pattern(size);
    const GrpcReply reply = loopback.Call(client, {.method = kEcho, .message = message});
    EXPECT_EQ(reply.code, GrpcCode::kOk) << size << reply.error;
    EXPECT_TRUE(reply.message == message) << size;
  }
  EXPECT_EQ(loopback.context->budget->used, 0u);
}

TEST(Http2Session, HandsOverMethodHeadersPeerAndMessage) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  client.Start({.method = kEcho, .message = "payload", .metadata = {{"dbname", "books"}, {"empty", ""}}}, nullptr);
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 1u);
  const RpcCall& call = *loopback.held[0];
  EXPECT_EQ(call.method(), kEcho);
  EXPECT_EQ(call.message(), "payload");
  EXPECT_EQ(call.header("dbname"), "books");
  EXPECT_NE(call.header("empty").data(), nullptr);
  EXPECT_EQ(call.header("empty"), "");
  EXPECT_EQ(call.header("missing").data(), nullptr);
  EXPECT_EQ(call.header(":path").data(), nullptr);
  EXPECT_EQ(call.peer(), "127.0.0.1:1");
  EXPECT_EQ(call.deadline(), SteadyTime::max());
  EXPECT_FALSE(call.cancelled());
}

TEST(Http2Session, CountsTheDeadlineFromArrival) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  client.Start({.method = kEcho, .timeout = milliseconds(1500)}, nullptr);
  client.Start({.method = kEcho, .metadata = {{"grpc-timeout", "99999999H"}}}, nullptr);
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 2u);
  EXPECT_EQ(loopback.held[0]->deadline(), loopback.now + milliseconds(1500));
  EXPECT_EQ(loopback.held[1]->deadline(), SteadyTime::max());
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .metadata = {{"grpc-timeout", "soon"}}}).code, GrpcCode::kInternal);
}

TEST(Http2Session, SendsErrorsAsTrailersOnly) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  GrpcReply reply;
  client.Start({.method = kEcho}, [&](GrpcReply got) { reply = std::move(got); });
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 1u);
  loopback.held[0]->FinishWithError(GrpcCode::kUnauthenticated, "no p\xc3\xa4ss: 100%\nline");
  loopback.held[0]->Finish("too late");  // the first answer stands
  loopback.Pump(client);
  EXPECT_EQ(reply.code, GrpcCode::kUnauthenticated);
  EXPECT_EQ(reply.error, "no p\xc3\xa4ss: 100%\nline");
  EXPECT_EQ(reply.message, "");
  EXPECT_EQ(reply.http_status, 200);
}

TEST(Http2Session, AnswersADroppedCall) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  GrpcReply reply;
  client.Start({.method = kEcho}, [&](GrpcReply got) { reply = std::move(got); });
  loopback.Pump(client);
  loopback.held.clear();
  loopback.Pump(client);
  EXPECT_EQ(reply.code, GrpcCode::kInternal);
}

TEST(Http2Session, AnswersInAnyOrder) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  std::vector<std::string> replies;
  for (const char* text : {"a", "b", "c"}) {
    client.Start({.method = kEcho, .message = text}, [&](GrpcReply got) { replies.push_back(std::move(got.message)); });
  }
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 3u);
  for (const size_t i : {2, 0, 1}) {
    loopback.held[i]->Finish(std::string(loopback.held[i]->message()));
    loopback.Pump(client);
  }
  EXPECT_THAT(replies, testing::ElementsAre("c", "a", "b"));
}

TEST(Http2Session, ResetCancelsTheCall) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  GrpcReply reply;
  const int32_t stream = client.Start({.method = kEcho}, [&](GrpcReply got) { reply = std::move(got); });
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 1u);
  EXPECT_FALSE(loopback.held[0]->cancelled());
  client.Cancel(stream);
  loopback.Pump(client);
  EXPECT_TRUE(loopback.held[0]->cancelled());
  EXPECT_EQ(reply.code, GrpcCode::kCancelled);
  loopback.held[0]->Finish("nobody reads this");
  loopback.hold = false;
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "x"}).message, "x");
}

TEST(Http2Session, LostConnectionCancelsTheCalls) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  client.Start({.method = kEcho}, nullptr);
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 1u);
  loopback.connection->ConsumeEnd(loopback.now);
  EXPECT_TRUE(loopback.connection->finished());
  loopback.connection.reset();
  EXPECT_TRUE(loopback.held[0]->cancelled());
  loopback.held[0]->Finish("nobody reads this");
}

TEST(Http2Session, RefusesWhatIsNotGrpc) {
  Loopback loopback;
  GrpcClientSession client;
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .content_type = "application/json"}).http_status, 415);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .content_type = "application/grpcx"}).http_status, 415);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .http_method = "PUT"}).http_status, 405);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .content_type = "application/grpc+proto"}).code, GrpcCode::kOk);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .content_type = "application/grpc;x=y"}).code, GrpcCode::kOk);
}

TEST(Http2Session, RefusesATooLargeMessageFromItsPrefixOn) {
  ConnectionLimits limits;
  limits.max_message_bytes = 1000;
  Loopback loopback(limits);
  GrpcClientSession client;
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = Pattern(1000)}).code, GrpcCode::kOk);
  const GrpcReply reply = loopback.Call(client, {.method = kEcho, .message = Pattern(1001)});
  EXPECT_EQ(reply.code, GrpcCode::kResourceExhausted);
  EXPECT_EQ(reply.error, "Received message larger than max (1001 vs. 1000)");
  // The rest of the request need not come.
  const GrpcReply early = loopback.Call(client, {.method = kEcho,
                                                 .raw_body = std::string("\0\x40\0\0\x01"
                                                                         "rest",
                                                                         9),
                                                 .keep_open = true});
  EXPECT_EQ(early.error, "Received message larger than max (1073741825 vs. 1000)");
  EXPECT_EQ(early.reset_code, 0u);  // RST_STREAM with NO_ERROR
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "next"}).message, "next");
  EXPECT_EQ(loopback.context->budget->used, 0u);
}

TEST(Http2Session, RefusesBrokenFraming) {
  Loopback loopback;
  GrpcClientSession client;
  const std::string good = Framed("hello");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(loopback.Call(client, {.method = kEcho, .raw_body = good.substr(0, size)}).code, GrpcCode::kInternal)
        << size;
  }
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .raw_body = good + "x"}).code, GrpcCode::kInternal);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .raw_body = good + good}).code, GrpcCode::kInternal);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .raw_body = Framed("hello", 2)}).code, GrpcCode::kInternal);
  EXPECT_EQ(loopback.context->rpc_calls, 0u);
  EXPECT_EQ(loopback.context->budget->used, 0u);
}

TEST(Http2Session, TakesCompressedMessages) {
  Loopback loopback;
  GrpcClientSession client;
  const std::string text = Pattern(3000) + std::string(50'000, 'z');
  for (const auto& [name, encoding] :
       {std::pair("gzip", MessageEncoding::kGzip), std::pair("deflate", MessageEncoding::kDeflate)}) {
    const Result<std::string> compressed = Compress(encoding, text);
    ASSERT_TRUE(compressed.ok());
    const GrpcReply reply = loopback.Call(
        client, {.method = kEcho, .metadata = {{"grpc-encoding", name}}, .raw_body = Framed(*compressed, 1)});
    EXPECT_EQ(reply.code, GrpcCode::kOk) << reply.error;
    EXPECT_TRUE(reply.message == text);
    // A message may go uncompressed in spite of the header.
    EXPECT_EQ(
        loopback.Call(client, {.method = kEcho, .metadata = {{"grpc-encoding", name}}, .raw_body = Framed("plain")})
            .message,
        "plain");
  }
  EXPECT_EQ(loopback.context->budget->used, 0u);
}

TEST(Http2Session, RefusesBadCompression) {
  ConnectionLimits limits;
  limits.max_message_bytes = 10'000;
  Loopback loopback(limits);
  GrpcClientSession client;
  const Result<std::string> bomb = Compress(MessageEncoding::kGzip, std::string(10'001, '\0'));
  ASSERT_TRUE(bomb.ok());
  const GrpcReply too_large =
      loopback.Call(client, {.method = kEcho, .metadata = {{"grpc-encoding", "gzip"}}, .raw_body = Framed(*bomb, 1)});
  EXPECT_EQ(too_large.code, GrpcCode::kResourceExhausted);
  EXPECT_EQ(too_large.error, "Received message larger than max after decompression (10000)");
  EXPECT_EQ(
      loopback
          .Call(client, {.method = kEcho, .metadata = {{"grpc-encoding", "gzip"}}, .raw_body = Framed("not gzip", 1)})
          .code,
      GrpcCode::kInternal);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .raw_body = Framed(*bomb, 1)}).code, GrpcCode::kInternal);
  const GrpcReply unknown =
      loopback.Call(client, {.method = kEcho, .metadata = {{"grpc-encoding", "snappy"}}, .raw_body = Framed("x", 1)});
  EXPECT_EQ(unknown.code, GrpcCode::kUnimplemented);
  EXPECT_THAT(unknown.error, HasSubstr("snappy"));
}

TEST(Http2Session, RefusesTooManyHeaders) {
  ConnectionLimits limits;
  limits.max_header_bytes = 2000;
  Loopback loopback(limits);
  GrpcClientSession client;
  const GrpcReply reply = loopback.Call(
      client, {.method = kEcho, .metadata = {{"a", std::string(1500, 'x')}, {"b", std::string(600, 'y')}}});
  EXPECT_EQ(reply.code, GrpcCode::kResourceExhausted);
  EXPECT_EQ(reply.error, "Received headers larger than max (2000)");
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "next"}).message, "next");
}

TEST(Http2Session, RespectsTinyClientWindows) {
  Loopback loopback;
  GrpcClientSession client({.stream_window_bytes = 7, .connection_window_bytes = 65'535});
  const std::string message = Pattern(3000);
  const GrpcReply reply = loopback.Call(client, {.method = kEcho, .message = message});
  EXPECT_EQ(reply.code, GrpcCode::kOk) << reply.error;
  EXPECT_TRUE(reply.message == message);
}

TEST(Http2Session, HoldsBackWhatThePeerDoesNotTake) {
  ConnectionLimits limits;
  limits.max_pending_response_bytes = 1u << 20;
  Loopback loopback(limits);
  GrpcClientSession client(
      {.stream_window_bytes = 1000, .connection_window_bytes = 65'535, .auto_window_update = false});
  const std::string message = Pattern(600'000);
  GrpcReply first;
  GrpcReply second;
  const int32_t stream =
      client.Start({.method = kEcho, .message = message}, [&](GrpcReply got) { first = std::move(got); });
  client.Start({.method = kEcho, .message = message}, [&](GrpcReply got) { second = std::move(got); });
  loopback.Pump(client);
  EXPECT_EQ(first.http_status + second.http_status, 0);  // both open: 1,000 bytes of each have come
  // 1.2 MB wait now, so a further call is not even begun; the client may repeat it.
  const GrpcReply refused = loopback.Call(client, {.method = kEcho, .message = "x"});
  EXPECT_EQ(refused.code, GrpcCode::kUnavailable);
  EXPECT_EQ(refused.reset_code, kRefusedStream);
  EXPECT_EQ(loopback.context->rpc_calls, 2u);
  for (int i = 0; i < 2000 && first.http_status == 0; ++i) {
    client.ReturnWindow(stream, 1000);
    loopback.Pump(client);
  }
  EXPECT_TRUE(first.message == message);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "x"}).message, "x");
}

TEST(Http2Session, RefusesCallsBeyondTheRequestBudget) {
  Loopback loopback;
  loopback.context->budget->limit = 10'000;
  loopback.hold = true;
  GrpcClientSession client;
  client.Start({.method = kEcho, .message = Pattern(9000)}, nullptr);
  loopback.Pump(client);
  ASSERT_EQ(loopback.held.size(), 1u);
  EXPECT_EQ(loopback.context->budget->used, 9000u);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = Pattern(2000)}).code, GrpcCode::kResourceExhausted);
  loopback.held[0]->ReleaseMessage();
  EXPECT_EQ(loopback.context->budget->used, 0u);
  loopback.hold = false;
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = Pattern(2000)}).code, GrpcCode::kOk);
}

TEST(Http2Session, BoundsCallsThatTheirClientsHaveReset) {
  ConnectionLimits limits;
  limits.max_concurrent_streams = 4;
  Loopback loopback(limits);
  loopback.hold = true;
  GrpcClientSession client;
  loopback.Pump(client);
  for (int i = 0; i < 20; ++i) {
    const int32_t stream = client.Start({.method = kEcho}, nullptr);
    loopback.Pump(client);
    client.Cancel(stream);
    loopback.Pump(client);
  }
  EXPECT_EQ(loopback.held.size(), 8u);
  for (const auto& call : loopback.held) EXPECT_TRUE(call->cancelled());
  loopback.held.clear();
  loopback.hold = false;
  loopback.Pump(client);
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "x"}).message, "x");
}

TEST(Http2Session, AnswersFrequentPingsWithoutCalls) {
  Loopback loopback;
  GrpcClientSession client;
  loopback.Pump(client);
  for (uint64_t i = 1; i <= 2000; ++i) {
    client.Ping();
    loopback.Pump(client);
    loopback.Advance(milliseconds(100));
    ASSERT_EQ(client.ping_acks(), i);
  }
  EXPECT_FALSE(loopback.connection->finished());
  EXPECT_EQ(loopback.Call(client, {.method = kEcho, .message = "x"}).message, "x");
}

TEST(Http2Session, EndsAFloodOfPingsWhoseAnswersAreNotRead) {
  Loopback loopback;
  GrpcClientSession client;
  loopback.Pump(client);
  const std::string ping(
      "\0\0\x08\x06\0\0\0\0\0"
      "12345678",
      17);
  int sent = 0;
  while (sent < 100'000 && !loopback.connection->finished()) {
    loopback.Send(ping);
    ++sent;
  }
  EXPECT_TRUE(loopback.connection->finished());
  EXPECT_LT(sent, 5000);
}

TEST(Http2Session, PingsASilentPeerAndClosesIfItDoesNotAnswer) {
  Loopback loopback;
  GrpcClientSession client;
  loopback.Pump(client);
  for (int i = 0; i < 5; ++i) {
    loopback.Advance(seconds(60));
    loopback.Pump(client);  // the client answers the PING
    EXPECT_FALSE(loopback.connection->finished());
  }
  loopback.Advance(seconds(60));
  EXPECT_FALSE(loopback.connection->finished());
  loopback.Advance(seconds(11));
  EXPECT_TRUE(loopback.connection->finished());
}

TEST(Http2Session, LetsAQuietCallRun) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  GrpcReply reply;
  client.Start({.method = kEcho, .message = "slow"}, [&](GrpcReply got) { reply = std::move(got); });
  loopback.Pump(client);
  for (int i = 0; i < 20; ++i) {
    loopback.Advance(seconds(60));
    loopback.Pump(client);
  }
  ASSERT_EQ(loopback.held.size(), 1u);
  loopback.held[0]->Finish("done");
  loopback.Pump(client);
  EXPECT_EQ(reply.message, "done");
}

TEST(Http2Session, ClosesHalfOpenConnections) {
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::string half_settings("\0\0\x06\x04\0", 5);
  for (const std::string& start :
       {std::string(), preface.substr(0, 1), preface.substr(0, 23), preface, preface + half_settings}) {
    Loopback loopback;
    loopback.Send(start);
    loopback.Receive();
    loopback.Advance(milliseconds(59'999));
    EXPECT_FALSE(loopback.connection->finished()) << start.size();
    loopback.Advance(milliseconds(2));
    EXPECT_TRUE(loopback.connection->finished()) << start.size();
  }
}

TEST(Http2Session, EndsOnFramesThatAreNone) {
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const std::string settings("\0\0\0\x04\0\0\0\0\0", 9);
  for (const std::string& garbage :
       {std::string(500, 'x'), std::string("\xff\xff\xff\0\0\0\0\0\1", 9),                 // a frame of 16 MiB
        settings + std::string("\0\0\x05\x01\x05\0\0\0\x01", 9) + "\xff\xff\xff\xff\xff",  // no HPACK
        settings + std::string("\0\0\x05\0\0\0\0\0\x02", 9) + "12345"}) {                  // DATA without a call
    Loopback loopback;
    loopback.Send(preface);
    loopback.Send(garbage);
    const std::string answer = loopback.Receive();
    EXPECT_TRUE(loopback.connection->finished()) << garbage.substr(0, 20);
    EXPECT_THAT(answer, HasSubstr(std::string("\x07\0\0\0\0\0", 6)));  // GOAWAY
    loopback.Send("more");
    EXPECT_EQ(loopback.Receive(), "");
  }
}

TEST(Http2Session, ShutdownLetsCallsInFlightFinish) {
  Loopback loopback;
  loopback.hold = true;
  GrpcClientSession client;
  GrpcReply reply;
  client.Start({.method = kEcho}, [&](GrpcReply got) { reply = std::move(got); });
  loopback.Pump(client);
  loopback.connection->StartShutdown();
  loopback.Pump(client);
  EXPECT_TRUE(client.goaway_received());
  EXPECT_FALSE(loopback.connection->finished());
  EXPECT_EQ(loopback.Call(client, {.method = kEcho}).code, GrpcCode::kUnavailable);
  loopback.held[0]->Finish("done");
  loopback.Pump(client);
  EXPECT_EQ(reply.message, "done");
  EXPECT_TRUE(loopback.connection->finished());
}

TEST(Http2Session, ShutdownEndsAnIdleConnection) {
  Loopback loopback;
  GrpcClientSession client;
  loopback.Pump(client);
  loopback.connection->StartShutdown();
  loopback.Pump(client);
  EXPECT_TRUE(client.goaway_received());
  EXPECT_TRUE(loopback.connection->finished());
}

}  // namespace
}  // namespace quiver::api
