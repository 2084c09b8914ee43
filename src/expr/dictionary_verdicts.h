// File: expr/dictionary_verdicts.h
// What tests say of the entries of dictionaries, kept for as long as a filter goes over the pages of a segment, and the
// test of rows by it.
// Thread rule: verdicts belong to the calling thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "expr/row_loops.h"
#include "schema/column.h"
#include "simd/compare_kernels.h"

namespace quiver::expr {

/// What a test says of the entries of a dictionary, so that an entry is tested once and not once for each of its rows.
struct DictionaryVerdicts {
  enum Verdict : uint8_t { kUnknown, kFalse, kTrue };
  uint64_t evaluator_id = 0;
  uint64_t dictionary_id = 0;
  std::vector<uint8_t> of_entry;
  uint64_t rows = 0;  ///< that were tested page by page so far
  // Once every entry is decided:
  bool whole = false;
  simd::CodeSet codes;    ///< of the entries that pass, where the codes are bytes
  bool interval = false;  ///< their codes are [first, last], or there is none (last < first)
  int32_t first = 0;
  int32_t last = -1;

  template <typename Test>
  bool Decide(const ColumnDictionary& dictionary, uint32_t code, const Test& test) {
    uint8_t& verdict = of_entry[code];
    if (verdict == kUnknown) verdict = test(dictionary.Entry(code)) ? kTrue : kFalse;
    return verdict == kTrue;
  }
  template <typename Test>
  void DecideAll(const ColumnDictionary& dictionary, const Test& test) {
    uint32_t count = 0;
    for (uint32_t code = 0; code < dictionary.size; ++code) {
      if (!Decide(dictionary, code, test)) continue;
      if (code <= UINT8_MAX) codes.Insert(static_cast<uint8_t>(code));
      if (count++ == 0) first = static_cast<int32_t>(code);
      last = static_cast<int32_t>(code);
    }
    interval = count == static_cast<uint32_t>(last - first + 1);
    whole = true;
  }
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
  std::vector<uint8_t> memory = std::move(verdicts.of_entry);
  verdicts = {};
  verdicts.of_entry = std::move(memory);
  verdicts.evaluator_id = evaluator_id;
  verdicts.dictionary_id = dictionary.id;
  verdicts.of_entry.assign(dictionary.size, DictionaryVerdicts::kUnknown);
  return verdicts;
}

/// Tests the active rows of a column with a dictionary: of each entry, test(its text).
template <typename Test>
void TestDictionary(uint64_t evaluator_id, const ColumnView& view, const Chunk& chunk, const BitWords& active,
                    bool need_known, Truth* out, const Test& test) {
  const ColumnDictionary& dictionary = *view.dictionary;
  DictionaryVerdicts& verdicts = VerdictsOf(evaluator_id, dictionary);
  const bool sparse = IsSparse(chunk, active);
  if (!sparse && !verdicts.whole) {
    verdicts.rows += chunk.rows;
    if (verdicts.rows >= dictionary.size) verdicts.DecideAll(dictionary, test);
  }
  if (sparse || !verdicts.whole) {
    return TestActive(view, chunk, active, need_known, out,
                      [&](size_t row) { return verdicts.Decide(dictionary, view.Code(row), test); });
  }
  // With all entries decided, the rows need no branches and only their codes are read.
  if (view.codes8 != nullptr) {
    simd::Kernels().compare->codes(view.codes8, chunk.rows, verdicts.codes, out->is_true.data());
  } else if (verdicts.interval && verdicts.last <= INT16_MAX && dictionary.size <= INT16_MAX) {
    const auto* codes = reinterpret_cast<const std::byte*>(view.codes16);
    TestInterval(codes, chunk.rows, static_cast<int16_t>(verdicts.first), static_cast<int16_t>(verdicts.last), false,
                 &out->is_true);
  } else {
    const uint8_t* table = verdicts.of_entry.data();
    TestFixed<uint16_t>(reinterpret_cast<const std::byte*>(view.codes16), chunk.rows, &out->is_true,
                        [table](uint16_t code) { return table[code] == DictionaryVerdicts::kTrue; });
  }
  ApplyValidity(view, chunk, need_known, out);
}

/// An id that no other evaluator of the process has.
inline uint64_t NextEvaluatorId() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace quiver::expr
