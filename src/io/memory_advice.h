// File: io/memory_advice.h
// Advice to the system about memory that was allocated elsewhere.
// Thread rule: from any thread.
#pragma once

#include <cstddef>

namespace quiver::io {

constexpr size_t kHugePage = size_t{2} << 20;

/// Asks for huge pages behind those of `bytes` from `memory` on (aligned to kHugePage) that make whole ones. For blocks
/// that will be filled: one page fault instead of 512. Only advice; where the system has no huge pages, nothing
/// changes.
void AdviseHugePages(void* memory, size_t bytes);

}  // namespace quiver::io
