// File: segment/segment_index.h
// SegmentIndex: the vector or scalar index over one field of one sealed segment, with the mapped object that it lies
// in, or a scalar one over a block of a growing segment, in memory. It is derived data: once it is found damaged nobody
// uses it any more and the segment is scanned, with the same rows, until it has been built anew.
// A vector index may have parts: indexes over the rows of single values of the partition key, each a SegmentIndex of
// its own whose rows count from the first of them. Thread rule: may be used from any thread while it is held.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "index/scalar_index.h"
#include "index/tuning.h"
#include "index/vector_index.h"
#include "io/file_system.h"

namespace quiver::segment {

class SegmentIndex {
 public:
  struct Identity {
    int64_t index_id = 0;
    int64_t field_id = 0;
    std::string object;  ///< name of the object it lies in; in memory: what errors call it
  };

  /// Where an index lies in a file, and the rows of the segment that it covers.
  struct Place {
    uint64_t offset = 0;
    uint64_t bytes = 0;
    uint32_t first_row = 0;
    uint32_t rows = 0;
    bool is_part = false;
  };
  /// Indexes over parts of the rows, ascending by their first rows, apart.
  using Parts = std::vector<std::shared_ptr<const SegmentIndex>>;

  /// Opens the index that `file` holds, over a segment of `rows` rows. `on_damage` is called once, from any thread,
  /// when it is found damaged. Error: kCorruption.
  static Result<std::shared_ptr<const SegmentIndex>> Open(Identity identity, std::shared_ptr<const io::MappedFile> file,
                                                          uint32_t rows, const std::shared_ptr<MemoryBudget>& budget,
                                                          std::function<void()> on_damage);

  /// As above, of an index that shares its file with others.
  static Result<std::shared_ptr<const SegmentIndex>> OpenAt(const Place& place, Identity identity,
                                                            std::shared_ptr<const io::MappedFile> file,
                                                            const std::shared_ptr<MemoryBudget>& budget,
                                                            std::function<void()> on_damage);

  /// Takes over a scalar index that was built in memory, over `rows` rows; its bytes are counted in the budget. Error:
  /// kCorruption.
  static Result<std::shared_ptr<const SegmentIndex>> FromMemory(Identity identity, std::string bytes, uint32_t rows,
                                                                const std::shared_ptr<MemoryBudget>& budget);

  [[nodiscard]] int64_t index_id() const { return identity_.index_id; }
  [[nodiscard]] int64_t field_id() const { return identity_.field_id; }
  [[nodiscard]] const std::string& object() const { return identity_.object; }
  [[nodiscard]] uint64_t byte_size() const { return place_.bytes; }
  /// Row 0 of the index is this one of the segment.
  [[nodiscard]] uint32_t first_row() const { return place_.first_row; }
  [[nodiscard]] uint32_t row_count() const { return place_.rows; }
  /// Whether it is one of the parts of another index.
  [[nodiscard]] bool is_part() const { return place_.is_part; }
  /// The index, of a vector field.
  [[nodiscard]] const index::VectorIndex& index() const { return *vector_; }
  /// The index of a scalar field; nullptr where it is a vector index.
  [[nodiscard]] const index::ScalarIndex* scalar() const { return scalar_.get(); }

  /// How hard it must be searched, where that was measured; nullptr until then.
  [[nodiscard]] const index::IndexTuning* tuning() const { return tuning_.load(std::memory_order_acquire); }
  /// Gives it what was measured, for the rest of its life; the first call counts.
  void SetTuning(index::IndexTuning tuning) const;
  /// The options that a search with these is to run with: a wanted recall becomes an effort, by what was measured.
  [[nodiscard]] index::IndexSearchOptions Tuned(const index::IndexSearchOptions& options) const {
    const index::IndexTuning* measured = tuning();
    return measured != nullptr ? measured->Apply(options) : options;
  }

  /// Its parts; nullptr: it is not known yet whether there are to be any.
  [[nodiscard]] std::shared_ptr<const Parts> parts() const;
  /// Gives it parts, in the place of those that it had. Searches that run keep the ones they have.
  void SetParts(std::shared_ptr<const Parts> parts) const;
  /// The part that covers these rows; nullptr where there is none that may be used.
  [[nodiscard]] std::shared_ptr<const SegmentIndex> FindPart(uint32_t first_row, uint32_t rows) const;

  /// Returns whether it must not be used. Whoever has searched it asks afterwards, before using the outcome: its file
  /// may become unreadable while it is read.
  [[nodiscard]] bool damaged() const {
    return damaged_.load(std::memory_order_acquire) || (file_ != nullptr && file_->faulted());
  }
  /// Takes it out of use; the first report goes into the log.
  void ReportDamage(const std::string& what) const;

 private:
  SegmentIndex(const Place& place, Identity identity, std::shared_ptr<const io::MappedFile> file,
               std::unique_ptr<const std::string> memory, std::unique_ptr<index::VectorIndex> vector,
               std::unique_ptr<index::ScalarIndex> scalar, MemoryCharge charge, std::function<void()> on_damage);

  const Place place_;
  const Identity identity_;
  const std::shared_ptr<const io::MappedFile> file_;
  const std::unique_ptr<const std::string> memory_;         ///< one of the two
  const std::unique_ptr<const index::VectorIndex> vector_;  ///< one of the two
  const std::unique_ptr<const index::ScalarIndex> scalar_;
  const MemoryCharge charge_;
  const std::function<void()> on_damage_;
  mutable std::mutex mutex_;  ///< of the next two
  mutable std::shared_ptr<const Parts> parts_;
  mutable std::unique_ptr<const index::IndexTuning> tuning_owner_;
  mutable std::atomic<const index::IndexTuning*> tuning_{nullptr};
  mutable std::atomic<bool> damaged_{false};
  mutable std::atomic<bool> reported_{false};
};

}  // namespace quiver::segment
