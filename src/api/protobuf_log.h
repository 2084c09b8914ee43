// File: api/protobuf_log.h
// Where the protobuf library's own messages go. It prints an error for each string field that is not UTF-8, so without
// this a client could fill the server's standard error. They go to our log at level debug, a few per second; the client
// is told by the answer to its call.
#pragma once

namespace quiver::api {

/// Sends protobuf's messages to our log from now on, in the whole process. Any thread may call it, any number of times.
void RouteProtobufLog();

}  // namespace quiver::api
