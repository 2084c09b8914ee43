// File: index/internal/coded_stream.h
// CodedStream: the part of a HitStream that all structures share. A structure names rows with bounds of their keys
// (what codes say); those that may come next are scored exactly and given once no row that was not scored can come
// before them.
//
//   known, not scored   Estimate: the key lies in [least, most]; a heap, least first
//   scored              a heap, best first; certain when its `most` is not above the least key that was not scored
//
// Keys are the structure's own scale, smaller is better; they need not be scores. Where a stream has to be exact,
// bounds must hold and all rows be known; otherwise a structure makes rows known in steps (Reach). Thread rule: belongs
// to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "index/vector_index.h"

namespace quiver::index {

/// What every stream is opened on.
struct StreamCall {
  const FlatQueries& queries;
  size_t query = 0;
  ColumnView vectors;
  RowFilter filter;
  StreamOptions options;
  uint64_t first_row = 0;

  [[nodiscard]] bool Matches(uint32_t row) const {
    return filter.bits == nullptr || ((filter.bits[row / 64] >> (row % 64)) & 1) != 0;
  }
};

class CodedStream : public HitStream {
 public:
  Status Next(size_t count, std::vector<Hit>& hits) final;
  [[nodiscard]] bool ended() const final { return !growing_ && known_.empty() && scored_.empty(); }
  [[nodiscard]] uint64_t memory_bytes() const override;
  [[nodiscard]] const IndexCounters& counters() const final { return counters_; }

 protected:
  /// An item (a row, or what a structure calls one) that was not scored.
  struct Estimate {
    float least = 0;
    float most = 0;
    uint32_t item = 0;
  };
  static constexpr float kAnyKey = std::numeric_limits<float>::infinity();

  explicit CodedStream(StreamCall call);

  /// Makes rows known (Know, Take) until the `total` nearest are, as far as the recall that was asked for goes. Calls
  /// EndGrowth when all rows are known.
  virtual Status Reach(size_t total) = 0;
  /// Scores the items and takes their rows.
  virtual void Score(std::span<const Estimate> items) = 0;

  void Know(const Estimate& estimate) { fresh_.push_back(estimate); }
  /// Takes a scored row; a score of NaN is no hit. `most`: of its key; -infinity: it may come at any time.
  void Take(float score, uint32_t row, float most);
  /// Scores items that are rows and takes them.
  void TakeItems(std::span<const Estimate> items);
  /// Scores rows and takes them.
  void TakeRows(std::span<const uint32_t> rows, float most);
  /// Scores rows; the scores stand until the next call.
  const float* ScoresOf(std::span<const uint32_t> rows);
  void EndGrowth() { growing_ = false; }
  [[nodiscard]] const StreamCall& call() const { return call_; }
  [[nodiscard]] bool cancelled() const { return call_.options.search.cancelled && call_.options.search.cancelled(); }
  [[nodiscard]] IndexCounters& mutable_counters() { return counters_; }

 private:
  struct Scored {
    float key;  ///< the score, negated for similarities
    float most;
    uint32_t row;
  };
  static bool Later(const Estimate& a, const Estimate& b) {
    return a.least != b.least ? a.least > b.least : a.item > b.item;
  }
  static bool Worse(const Scored& a, const Scored& b) { return a.key != b.key ? a.key > b.key : a.row > b.row; }

  Status Grow(size_t total);
  Status ScoreUntilCertain();
  void SkipNearer();
  [[nodiscard]] bool Certain() const;

  const StreamCall call_;
  const bool similarity_;
  bool growing_ = true;
  float floor_ = -std::numeric_limits<float>::infinity();  ///< keys of scores below it are not wanted
  size_t passed_ = 0;                                      ///< rows given, and rows not wanted
  size_t reached_ = 0;                                     ///< the total that was last asked of Reach
  std::vector<Estimate> known_, fresh_, some_;
  std::vector<Scored> scored_;
  std::vector<uint32_t> rows_;
  std::vector<float> scores_;
  IndexCounters counters_;
};

/// Scores all rows of the filter at the first call.
std::unique_ptr<HitStream> OpenScoringStream(StreamCall call);

}  // namespace quiver::index
