// File: expr/dictionary_verdicts.h
// What tests say of the entries of dictionaries, kept for as long as a filter goes over the pages of a segment.
// Thread rule: verdicts belong to the calling thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "schema/column.h"

namespace quiver::expr {

/// What a test says of the entries of a dictionary, so that an entry is tested once and not once for each of its rows.
struct DictionaryVerdicts {
  enum Verdict : uint8_t { kUnknown, kFalse, kTrue };
  uint64_t evaluator_id = 0;
  uint64_t dictionary_id = 0;
  std::vector<uint8_t> of_entry;
};

/// The calling thread's verdicts of an evaluator about a dictionary, all unknown at first. A thread keeps a few of
/// them: a filter with several string terms goes over a segment page by page. Ids are never given twice, so none is
/// stale.
inline DictionaryVerdicts& VerdictsOf(uint64_t evaluator_id, const ColumnDictionary& dictionary) {
  constexpr size_t kKept = 8;
  thread_local std::array<DictionaryVerdicts, kKept> kept;
  thread_local size_t next = 0;
  for (DictionaryVerdicts& verdicts : kept) {
    if (verdicts.evaluator_id == evaluator_id && verdicts.dictionary_id == dictionary.id) return verdicts;
  }
  DictionaryVerdicts& verdicts = kept[next++ % kKept];
  verdicts.evaluator_id = evaluator_id;
  verdicts.dictionary_id = dictionary.id;
  verdicts.of_entry.assign(dictionary.size, DictionaryVerdicts::kUnknown);
  return verdicts;
}

/// An id that no other evaluator of the process has.
inline uint64_t NextEvaluatorId() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace quiver::expr
