// File: io/mapping_registry.h
// MappingRegistry: keeps a read fault (SIGBUS) in a mapped file from ending the process. When the system cannot give a
// page of a registered mapping (the file was truncated behind our back, or its disk fails), the handler notes that the
// mapping has faulted and puts zeros in place of the rest of it; the reader goes on and finds out from Faulted().
//
//   MappingRegistry::Slot* slot = MappingRegistry::Global().Add(address, length);
//   ... read ...
//   if (MappingRegistry::Faulted(slot)) return error;   // what was read may be zeros
//   MappingRegistry::Global().Remove(slot);              // before munmap
//
// A SIGBUS anywhere else ends the process as it would have without us.
// Thread rule: everything may be called from any thread. Nobody may read a mapping while it is removed.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace quiver::io {

class MappingRegistry {
 public:
  /// One mapping; all that the signal handler reads or writes.
  struct Slot {
    std::atomic<uintptr_t> begin{0};  ///< 0 = free
    std::atomic<size_t> length{0};
    std::atomic<bool> faulted{false};
  };

  /// The registry of the process; the first call installs the signal handler.
  static MappingRegistry& Global();

  /// Takes a page-aligned mapping into care. nullptr when the registry is full: the mapping is then unprotected.
  Slot* Add(const void* address, size_t length);
  void Remove(Slot* slot);
  /// Returns whether a read of the mapping has failed: what was read from it since may be zeros. Sees every fault that
  /// happened before in this thread, or in one that this thread has waited for.
  static bool Faulted(const Slot* slot) { return slot != nullptr && slot->faulted.load(std::memory_order_acquire); }

  /// Signal handler only: marks and repairs the mapping that holds `address`. False when there is none.
  bool Repair(uintptr_t address);

 private:
  MappingRegistry() = default;

  static constexpr size_t kSlotsPerBlock = 1024;
  static constexpr size_t kMaxBlocks = 1024;  // a million mappings; the system allows 65,530 by default
  using Block = std::array<Slot, kSlotsPerBlock>;

  std::array<std::atomic<Block*>, kMaxBlocks> blocks_{};
  std::mutex mutex_;
  size_t block_count_ = 0;
  std::vector<Slot*> free_;
};

}  // namespace quiver::io
