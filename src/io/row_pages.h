// File: io/row_pages.h
// Reading scattered rows of a mapped file that may not be in memory: all of their pages are asked for at once, so that
// the disk works on them together instead of one page fault after another.
//
//   io::AskForRows(vectors, width, rows);   // returns before they are there
//   ... read vectors + rows[i] * width ...  // waits for what is still on its way
//
// It is advice alone: values, faults (io/mapping_registry.h) and checksums are those of the mapping, with it or
// without. Thread rule: from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quiver::io {

/// Starts to read the pages of `width` bytes at base + row * width for all `rows`, unless a look at a few of them finds
/// them in memory. A thread that found all it looked at in memory looks less often for a while. Returns whether it
/// asked. Memory that is not of a file may be given as well.
bool AskForRows(const std::byte* base, size_t width, std::span<const uint32_t> rows);

/// Makes AskForRows do nothing, or what it says: for measuring what it brings.
void EnableAskForRows(bool enabled);

}  // namespace quiver::io
