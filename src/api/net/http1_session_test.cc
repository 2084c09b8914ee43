// HTTP/1.1, driven without sockets.
#include "api/net/http1_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "api/net/loopback.h"

namespace quiver::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

size_t Count(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

TEST(Http1Session, AnswersWithTheRequestSplitAtEveryByte) {
  const std::string request = "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Empty:\r\n\r\nhello";
  for (size_t split = 0; split <= request.size(); ++split) {
    Loopback loopback;
    std::string answer = loopback.Exchange(request.substr(0, split));
    answer += loopback.Exchange(request.substr(split));
    EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 19\r\n"),
                              HasSubstr("Connection: keep-alive\r\n"), HasSubstr("\r\nDate: "),
                              EndsWith("\r\n\r\nPOST /a/b?c=d\nhello")))
        << split;
    EXPECT_FALSE(loopback.connection->finished());
  }
}

TEST(Http1Session, HandsOverTheRequest) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("PUT /p/q?x=1 HTTP/1.1\r\nHOST: h\r\nX-Empty:\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 2\r\n\r\nhi");
  ASSERT_EQ(loopback.held_http.size(), 1u);
  const HttpRequest& request = loopback.held_http[0]->request();
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/p/q?x=1");
  EXPECT_EQ(request.path(), "/p/q");
  EXPECT_EQ(request.headers.Find("host"), "h");
  EXPECT_EQ(request.headers.Find("x-two"), "a");
  EXPECT_EQ(request.headers.Find("x-empty"), "");
  EXPECT_NE(request.headers.Find("x-empty").data(), nullptr);
  EXPECT_EQ(request.headers.size(), 5u);
  EXPECT_EQ(request.body, "hi");
  EXPECT_EQ(loopback.held_http[0]->peer(), "127.0.0.1:1");
}

TEST(Http1Session, ServesPipelinedRequestsInOrder) {
  Loopback loopback;
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string answer = loopback.Exchange(requests);
  EXPECT_EQ(Count(answer, "HTTP/1.1 200 OK"), 50u);
  size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = answer.find("GET /" + std::to_string(i) + "\n", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST(Http1Session, ServesOneRequestOfAPipelineAtATime) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(loopback.held_http.size(), 1u);
  loopback.held_http[0]->Finish({.body = "one"});
  EXPECT_THAT(loopback.Receive(), EndsWith("one"));
  ASSERT_EQ(loopback.held_http.size(), 2u);
  EXPECT_EQ(loopback.held_http[1]->request().target, "/2");
}

TEST(Http1Session, StopsReadingWhenThePipelineIsLong) {
  Loopback loopback;
  loopback.hold = true;
  const std::string request = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
  size_t sent = 0;
  while (loopback.connection->wants_read() && sent < 1'000'000) {
    loopback.Send(request);
    sent += request.size();
  }
  EXPECT_LT(sent, 100'000u);
  EXPECT_EQ(loopback.held_http.size(), 1u);
  loopback.hold = false;
  loopback.held_http[0]->Finish({.body = "one"});
  EXPECT_EQ(Count(loopback.Receive(), "HTTP/1.1 200 OK"), sent / request.size());
  EXPECT_TRUE(loopback.connection->wants_read());
}

TEST(Http1Session, TakesChunkedBodies) {
  Loopback loopback;
  const std::string answer = loopback.Exchange(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4\r\nWiki\r\nB;name=value\r\npedia in it\r\n0\r\nTrailer: dropped\r\n\r\n"
      "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("\r\n\r\nPOST /\nWikipedia in it"), EndsWith("GET /next\n")));
}

TEST(Http1Session, RefusesBodiesBeyondTheLimit) {
  ConnectionLimits limits;
  limits.max_message_bytes = 100;
  {
    Loopback loopback(limits);
    EXPECT_THAT(loopback.Exchange("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'b')),
                StartsWith("HTTP/1.1 200"));
  }
  {
    Loopback loopback(limits);
    const std::string answer = loopback.Exchange("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n");
    EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 413 "), HasSubstr("Connection: close\r\n"),
                              EndsWith("request body larger than max (101 vs. 100)\n")));
    EXPECT_TRUE(loopback.connection->finished());
  }
  {
    Loopback loopback(limits);
    std::string answer = loopback.Exchange("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; ++i) answer += loopback.Exchange("28\r\n" + std::string(40, 'b') + "\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_EQ(Count(answer, "HTTP/1.1"), 1u);
    EXPECT_TRUE(loopback.connection->finished());
    loopback.connection.reset();
    EXPECT_EQ(loopback.context->budget->used, 0u);
  }
}

TEST(Http1Session, RefusesHeadersBeyondTheLimit) {
  ConnectionLimits limits;
  limits.max_header_bytes = 2000;
  for (const std::string& start :
       {"GET /" + std::string(3000, 'a'), "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(3000, 'a'),
        "GET / HTTP/1.1\r\n" + std::string(3000, 'a')}) {
    Loopback loopback(limits);
    EXPECT_THAT(loopback.Exchange(start), StartsWith("HTTP/1.1 431 "));
    EXPECT_TRUE(loopback.connection->finished());
  }
  Loopback loopback(limits);  // many small ones, byte by byte
  std::string answer = loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\n");
  for (int i = 0; i < 2000 && answer.empty(); ++i)
    answer = loopback.Exchange(i % 4 == 0 ? "a" : i % 4 == 1 ? ":" : i % 4 == 2 ? "\r" : "\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 431 "));
}

TEST(Http1Session, AsksForTheBodyThatIsExpected) {
  ConnectionLimits limits;
  limits.max_message_bytes = 100;
  Loopback loopback(limits);
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: ";
  EXPECT_EQ(loopback.Exchange(head + "2\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(loopback.Exchange("hi"), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("hi")));
  EXPECT_THAT(loopback.Exchange(head + "0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(loopback.Exchange(head + "200\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  Loopback other;
  EXPECT_THAT(other.Exchange("POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n"),
              StartsWith("HTTP/1.1 417"));
}

TEST(Http1Session, MeasuresTheBodyForHeadAndDoesNotSendIt) {
  Loopback loopback;
  const std::string answer = loopback.Exchange("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("Content-Length: 8\r\n"), Not(HasSubstr("HEAD /x")), EndsWith("GET /y\n")));
}

TEST(Http1Session, ClosesWhenTheClientAsks) {
  {
    Loopback loopback;
    EXPECT_THAT(loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(loopback.connection->finished());
  }
  {
    Loopback loopback;
    EXPECT_THAT(loopback.Exchange("GET / HTTP/1.0\r\n\r\n"), HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(loopback.connection->finished());
  }
  {
    Loopback loopback;
    EXPECT_THAT(loopback.Exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                HasSubstr("Connection: keep-alive\r\n"));
    EXPECT_FALSE(loopback.connection->finished());
  }
}

TEST(Http1Session, AnswersAClientThatHasClosedItsSide) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  loopback.connection->ConsumeEnd(loopback.now);
  EXPECT_FALSE(loopback.connection->finished());
  EXPECT_FALSE(loopback.connection->wants_read());
  loopback.hold = false;
  loopback.held_http[0]->Finish({.body = "one\n"});
  EXPECT_THAT(loopback.Receive(), AllOf(HasSubstr("\r\n\r\none\n"), EndsWith("GET /2\n")));
  EXPECT_TRUE(loopback.connection->finished());
}

TEST(Http1Session, EndsWhenTheClientGoesInTheMiddle) {
  for (const char* start :
       {"", "GE", "GET / HTTP/1.1\r\nHost", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"}) {
    Loopback loopback;
    loopback.Send(start);
    loopback.connection->ConsumeEnd(loopback.now);
    EXPECT_EQ(loopback.Receive(), "");
    EXPECT_TRUE(loopback.connection->finished()) << start;
  }
}

TEST(Http1Session, RefusesWhatIsNotHttp) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\x16\x03\x01\x02garbage", "400"},
      {std::string("\0\0\0\0", 4), "400"},
      {"hello\r\n", "400"},
      {"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n\r\n", "400"},  // no Host
      {"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
      {"GET / HTTP/3.7\r\n\r\n", "505"},
      {"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
  };
  for (const auto& [request, status] : cases) {
    Loopback loopback;
    EXPECT_THAT(loopback.Exchange(request), StartsWith("HTTP/1.1 " + status + " ")) << request;
    EXPECT_TRUE(loopback.connection->finished()) << request;
    EXPECT_EQ(loopback.context->http_requests, 0u) << request;
    EXPECT_EQ(loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "");
  }
}

TEST(Http1Session, DoesNotTakeUpAnOfferToChangeTheProtocol) {
  Loopback loopback;
  const std::string answer = loopback.Exchange(
      "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, AllOf(HasSubstr("GET /up\n"), EndsWith("GET /next\n")));
}

TEST(Http1Session, OnlyHttp1WithoutAnRpcHandler) {
  Loopback loopback({}, false);
  EXPECT_THAT(loopback.Exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(loopback.connection->finished());
  Loopback other({}, false);
  EXPECT_THAT(other.Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST(Http1Session, NotFoundWithoutAHandler) {
  Loopback loopback;
  loopback.context->http_handler = nullptr;
  EXPECT_THAT(loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_FALSE(loopback.connection->finished());
}

TEST(Http1Session, WritesStatusHeadersAndNothingMore) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_EQ(loopback.held_http.size(), 1u);
  HttpResponse response;
  response.status = 503;
  response.content_type = "application/json";
  response.body = "{}";
  response.headers = {{"Retry-After", "3\r\nX-Injected: 1"}};
  loopback.held_http[0]->Finish(std::move(response));
  loopback.held_http[0]->Finish({.body = "twice"});
  const std::string answer = loopback.Receive();
  EXPECT_THAT(answer, AllOf(StartsWith("HTTP/1.1 503 Service Unavailable\r\n"),
                            HasSubstr("\r\nRetry-After: 3X-Injected: 1\r\n"),
                            HasSubstr("\r\nContent-Type: application/json\r\n"), EndsWith("\r\n\r\n{}")));
  loopback.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  loopback.held_http[1]->Finish({.status = 204, .body = "ignored"});
  EXPECT_THAT(loopback.Receive(),
              AllOf(StartsWith("HTTP/1.1 204 No Content\r\n"), Not(HasSubstr("Content-Length")), EndsWith("\r\n\r\n")));
}

TEST(Http1Session, AnswersADroppedRequest) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  loopback.held_http.clear();
  EXPECT_THAT(loopback.Receive(), StartsWith("HTTP/1.1 500 "));
}

TEST(Http1Session, LostConnectionCancelsTheRequest) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_EQ(loopback.held_http.size(), 1u);
  EXPECT_EQ(loopback.context->budget->used, 3u);
  loopback.connection.reset();
  EXPECT_TRUE(loopback.held_http[0]->cancelled());
  loopback.held_http.clear();
  EXPECT_EQ(loopback.context->budget->used, 0u);
}

TEST(Http1Session, EndsASlowHeader) {
  Loopback loopback;
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(100, 'x');
  std::string answer;
  int seconds_used = 0;
  for (const char c : request) {
    answer = loopback.Exchange(std::string(1, c));
    loopback.Advance(seconds(1));
    answer += loopback.Receive();
    ++seconds_used;
    if (!answer.empty()) break;
  }
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(seconds_used, 60);
  EXPECT_TRUE(loopback.connection->finished());
}

TEST(Http1Session, EndsAnIdleConnectionAndAStalledBody) {
  {
    Loopback loopback;
    loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    loopback.Advance(seconds(119));
    EXPECT_FALSE(loopback.connection->finished());
    loopback.Advance(seconds(2));
    EXPECT_TRUE(loopback.connection->finished());
  }
  {
    Loopback loopback;
    loopback.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n");
    loopback.Advance(seconds(100));
    loopback.Send("a");
    loopback.Advance(seconds(119));
    EXPECT_FALSE(loopback.connection->finished());
    loopback.Advance(seconds(2));
    EXPECT_TRUE(loopback.connection->finished());
  }
}

TEST(Http1Session, WaitsForTheHandlerAsLongAsItTakes) {
  Loopback loopback;
  loopback.hold = true;
  loopback.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(loopback.connection->deadline(), SteadyTime::max());
  loopback.Advance(seconds(10'000));
  loopback.held_http[0]->Finish({.body = "late"});
  EXPECT_THAT(loopback.Receive(), EndsWith("late"));
  EXPECT_FALSE(loopback.connection->finished());
}

TEST(Http1Session, ShutdownFinishesTheRequestInFlight) {
  {
    Loopback loopback;
    loopback.hold = true;
    loopback.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    loopback.connection->StartShutdown();
    EXPECT_FALSE(loopback.connection->finished());
    loopback.held_http[0]->Finish({.body = "done"});
    EXPECT_THAT(loopback.Receive(), AllOf(HasSubstr("Connection: close"), EndsWith("done")));
    EXPECT_TRUE(loopback.connection->finished());
    EXPECT_EQ(loopback.held_http.size(), 1u);
  }
  {
    Loopback loopback;
    loopback.Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    loopback.connection->StartShutdown();
    EXPECT_TRUE(loopback.connection->finished());
  }
  {
    Loopback loopback;
    loopback.Send("GET / HTTP/1.1\r\nHo");
    loopback.connection->StartShutdown();
    EXPECT_THAT(loopback.Receive(), StartsWith("HTTP/1.1 503 "));
    EXPECT_TRUE(loopback.connection->finished());
  }
}

}  // namespace
}  // namespace quiver::api
