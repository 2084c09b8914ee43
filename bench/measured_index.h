// File: bench/measured_index.h
// What the benchmarks of vector indexes share: exact answers, and MeasuredIndex, an index that is built, saved
// and loaded by command lines.
// Thread rule: all of it belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "data_sets.h"
#include "index/flat_search.h"
#include "index/vector_index.h"

namespace quiver::bench {

/// The error as a line of JSON.
std::string ErrorLine(const Status& status);

/// The rows as a column of the engine.
ColumnView ViewOf(const Vectors& vectors);

/// Queries [first, first + count) as the engine takes them.
Result<index::FlatQueries> QueriesOf(const Vectors& vectors, size_t first, size_t count, MetricType metric);

/// The k best rows of queries [first, first + count) among those that the mask keeps (nullptr: all); places without a
/// row are ~0.
Result<std::vector<uint32_t>> ExactRows(const Vectors& base, const Vectors& queries, size_t first, size_t count,
                                        size_t k, MetricType metric, const uint64_t* mask);

/// A vector index over the rows of a data set.
class MeasuredIndex {
 public:
  MeasuredIndex(const Vectors& base, MetricType metric) : base_(base), metric_(metric) {}

  /// "build" arguments: graph DEGREE EF_CONSTRUCTION THREADS, or lists NLIST CODE_BITS THREADS, or pq
  /// NLIST QUANTIZERS BITS THREADS. Answers a line of JSON.
  std::string Build(std::istream& in);
  /// Writes the index file to, or reads it from, the path that follows in `in`. Answers a line of JSON.
  std::string Save(std::istream& in);
  std::string Load(std::istream& in);

  [[nodiscard]] const index::VectorIndex* index() const { return index_.get(); }

 private:
  Status Open();

  const Vectors& base_;
  MetricType metric_;
  std::string file_;
  std::unique_ptr<index::VectorIndex> index_;
};

}  // namespace quiver::bench
