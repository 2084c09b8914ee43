// File: io/mapping_registry.cc
#include "io/mapping_registry.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace quiver::io {
namespace {

struct sigaction previous_action;

/// Only what is async-signal-safe: atomics and system calls.
void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool repaired = MappingRegistry::Global().Repair(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (repaired) return;
  // Not ours. A handler that was there before decides; otherwise the access is repeated under the default action, which
  // ends the process with a core.
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  } else {
    struct sigaction plain{};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGBUS, &plain, nullptr);
  }
}

}  // namespace

MappingRegistry& MappingRegistry::Global() {
  // Never destroyed: mappings of other static objects may outlive any order of destruction. The handler only runs once
  // a mapping exists, so it never meets the initialisation.
  static MappingRegistry* const registry = [] {
    auto* made = new MappingRegistry();  // NOLINT: see above
    struct sigaction action{};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
    return made;
  }();
  return *registry;
}

MappingRegistry::Slot* MappingRegistry::Add(const void* address, size_t length) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    if (block_count_ == kMaxBlocks) return nullptr;
    auto* block = new Block();  // NOLINT: lives as long as the registry
    blocks_[block_count_++].store(block, std::memory_order_release);
    for (size_t i = kSlotsPerBlock; i-- > 0;) free_.push_back(&(*block)[i]);
  }
  Slot* slot = free_.back();
  free_.pop_back();
  slot->faulted.store(false, std::memory_order_relaxed);
  slot->length.store(length, std::memory_order_relaxed);
  slot->begin.store(reinterpret_cast<uintptr_t>(address), std::memory_order_release);
  return slot;
}

void MappingRegistry::Remove(Slot* slot) {
  if (slot == nullptr) return;
  slot->begin.store(0, std::memory_order_release);
  const std::lock_guard lock(mutex_);
  free_.push_back(slot);
}

bool MappingRegistry::Repair(uintptr_t address) {
  for (const auto& place : blocks_) {
    Block* block = place.load(std::memory_order_acquire);
    if (block == nullptr) break;
    for (Slot& slot : *block) {
      const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (begin == 0 || address < begin) continue;
      const size_t length = slot.length.load(std::memory_order_relaxed);
      if (address - begin >= length) continue;
      // The mark comes first: whoever sees zeros can see it.
      slot.faulted.store(true, std::memory_order_release);
      // All of the rest at once: behind a missing page of a truncated file there is nothing, and one fault for each of
      // a million pages would take minutes. The mapping is not used any more, whatever the cause.
      constexpr uintptr_t kPage = 4096;
      const uintptr_t from = address / kPage * kPage;
      const size_t rest = begin + length - from;
      // The plain system call: the wrappers of the sanitizers are not made for signal handlers.
      const long mapped = syscall(SYS_mmap, from, rest, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L);
      return mapped != -1;
    }
  }
  return false;
}

}  // namespace quiver::io
