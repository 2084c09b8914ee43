// Feeds arbitrary bytes to a connection. The first byte chooses the limits and whether the HTTP/2 preface (which no
// fuzzer would guess soon) goes first; the second one the size of the pieces; some calls stay open, and time moves.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/net/loopback.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t flags = data[0];
  const size_t piece = size_t{data[1]} + 1;
  quiver::api::ConnectionLimits limits;
  limits.max_message_bytes = 4096;
  limits.max_header_bytes = 2048;
  limits.max_concurrent_streams = 8;
  limits.max_pending_response_bytes = 8192;
  quiver::api::Loopback loopback(limits, (flags & 1) == 0);
  if ((flags & 2) != 0) loopback.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  if ((flags & 4) != 0) loopback.Send(std::string_view("\0\0\0\x04\0\0\0\0\0", 9));  // empty SETTINGS
  std::string_view rest(reinterpret_cast<const char*>(data + 2), size - 2);
  for (size_t round = 0; !rest.empty(); ++round) {
    loopback.hold = (flags & 8) != 0 && round % 2 == 0;
    loopback.Send(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
    if ((flags & 16) != 0) loopback.Advance(std::chrono::seconds(7));
    if ((flags & 32) == 0) loopback.Receive(64);
    if (round % 3 == 2) loopback.held.clear();
    if (round % 3 == 1) loopback.held_http.clear();
    if (loopback.connection->finished()) break;
  }
  if ((flags & 64) != 0) loopback.connection->StartShutdown();
  loopback.Receive();
  if ((flags & 128) != 0) loopback.connection->ConsumeEnd(loopback.now);
  loopback.hold = false;  // requests that waited behind a held one are answered
  loopback.held.clear();
  loopback.held_http.clear();
  loopback.Receive();
  loopback.connection.reset();
  if (loopback.context->budget->used != 0) __builtin_trap();  // every byte that was charged is given back
  return 0;
}
