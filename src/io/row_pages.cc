#include "io/row_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace quiver::io {
namespace {

std::atomic<bool> ask{true};

/// What a thread knows of a mapping.
struct Looked {
  const std::byte* base = nullptr;
  uint32_t streak = 0;  ///< looks in a row that found everything in memory
  uint32_t pause = 0;   ///< calls that go without a look
};

/// Looks that must find everything in memory before some are left out: a search asks for its rows more than once, and
/// what it asked for before says nothing of the next one.
constexpr uint32_t kStreak = 16;
constexpr uint32_t kLongestPause = 31;

uintptr_t PageBytes() {
  static const auto bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

/// The beginning of the page that a place lies in.
void* PageOf(const std::byte* place) {
  return const_cast<std::byte*>(place - reinterpret_cast<uintptr_t>(place) % PageBytes());
}

/// Whether the first page of a row is in memory; also where the system does not tell.
bool InMemory(const std::byte* row) {
  unsigned char state = 0;
  return ::mincore(PageOf(row), 1, &state) != 0 || (state & 1) != 0;
}

}  // namespace

bool AskForRows(const std::byte* base, size_t width, std::span<const uint32_t> rows) {
  if (rows.empty() || width == 0 || !ask.load(std::memory_order_relaxed)) return false;
  thread_local std::array<Looked, 64> all_looked;
  Looked& looked = all_looked[(reinterpret_cast<uint64_t>(base) * 0x9e3779b97f4a7c15U) >> 58U];
  if (looked.base != base) looked = {.base = base};
  if (looked.pause > 0) {
    --looked.pause;
    return false;
  }
  const std::array<uint32_t, 3> some{rows.front(), rows[rows.size() / 2], rows.back()};
  if (std::all_of(some.begin(), some.end(), [&](uint32_t row) { return InMemory(base + row * width); })) {
    looked.streak = std::min(looked.streak + 1, kStreak + kLongestPause);
    looked.pause = looked.streak > kStreak ? looked.streak - kStreak : 0;
    return false;
  }
  looked.streak = 0;
  for (const uint32_t row : rows) {
    const std::byte* first = base + row * width;
    void* page = PageOf(first);
    (void)::madvise(page, static_cast<size_t>(first + width - static_cast<std::byte*>(page)), MADV_WILLNEED);
  }
  return true;
}

void EnableAskForRows(bool enabled) { ask.store(enabled, std::memory_order_relaxed); }

}  // namespace quiver::io
