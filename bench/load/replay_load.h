// File: bench/load/replay_load.h
// The modes of quiver_load that send requests which somebody else made: a file of them, each a length (uint32, little
// endian) and so many bytes of a serialized message. What the requests mean is the business of whoever wrote them.
#pragma once

#include "base/status.h"
#include "load/load_settings.h"

namespace quiver::bench {

/// Sends each InsertRequest of `file` once, `clients` at a time. A reply that is not a success fails the run.
Status RunReplayInsert(const Settings& settings);

/// Sends the SearchRequests of `file` for `seconds`, over and over. With `answers` it sends each of them once instead
/// and writes to that file, in the order of the requests, the number of hits (uint32) and their int64 keys, all queries
/// of a request one after the other.
Status RunReplaySearch(const Settings& settings);

}  // namespace quiver::bench
