#include "engine/segment_copy.h"

#include <algorithm>
#include <map>
#include <thread>
#include <variant>

#include "schema/default_column.h"
#include "segment/row_expiry.h"

namespace quiver::engine {

namespace {

/// Runs of at least this many neighbouring rows are written from where they lie; shorter ones are gathered first.
constexpr size_t kDirectRun = 256;
/// Most rows of a page that is written from where it lies.
constexpr size_t kDirectPage = 65536;

/// One field of a copy, page by page.
class CopiedColumn final : public storage::ColumnPages {
 public:
  struct Piece {
    uint32_t first;  ///< into the copy's rows
    uint32_t rows;
    bool direct;
  };

  CopiedColumn(const SegmentCopy& copy, const FieldSchema& field, std::span<const Piece> pieces, const CopyPacer& pacer)
      : copy_(copy), field_(field), pieces_(pieces), pacer_(pacer), views_(copy.sources.size()) {}

  [[nodiscard]] size_t count() const override { return std::max<size_t>(pieces_.size(), 1); }

  [[nodiscard]] Result<ColumnView> Page(size_t index) override {
    if (pieces_.empty()) return Empty();
    const Piece& piece = pieces_[index];
    QUIVER_RETURN_IF_ERROR(pacer_(last_bytes_));
    const RowReference& first = copy_.rows[piece.first];
    if (piece.direct) {
      QUIVER_ASSIGN_OR_RETURN(const ColumnView view,
                              copy_.sources[first.source]->View(field_.field_id, first.row, piece.rows));
      if (view.present()) {
        last_bytes_ = view.width != 0 ? view.width * view.rows : 8 * view.rows;
        if (view.offsets != nullptr) last_bytes_ += view.offsets[view.rows] - view.offsets[0];
        if (view.offsets32 != nullptr) last_bytes_ += view.offsets32[view.rows] - view.offsets32[0];
        return view;
      }
    }
    return Gather(piece);
  }

 private:
  Result<ColumnView> Empty() {
    scratch_ = Column::Make(field_.field_id, field_.type, field_.dim, field_.element_type);
    return ViewOf(scratch_);
  }

  Result<ColumnView> Gather(const Piece& piece) {
    scratch_ = Column::Make(field_.field_id, field_.type, field_.dim, field_.element_type);
    scratch_.Reserve(piece.rows);
    for (uint32_t i = piece.first; i < piece.first + piece.rows; ++i) {
      const RowReference& reference = copy_.rows[i];
      QUIVER_ASSIGN_OR_RETURN(const Place place, PlaceOf(reference));
      if (!place.view->present()) {
        if (fallback_.rows == 0) fallback_ = DefaultColumn(field_, 1);
        if (fallback_.IsNull(0)) {
          scratch_.AppendNull();
        } else {
          scratch_.Append(fallback_.Bytes(0));
        }
      } else if (place.view->IsNull(place.row)) {
        scratch_.AppendNull();
      } else {
        scratch_.Append(place.view->Bytes(place.row));
      }
    }
    last_bytes_ = scratch_.ByteSize();
    return ViewOf(scratch_);
  }

  struct Place {
    const ColumnView* view;
    uint32_t row;
  };
  /// The view of the row's page, kept for the neighbours.
  Result<Place> PlaceOf(const RowReference& reference) {
    Cached& cached = views_[reference.source];
    const uint32_t page = reference.row / segment::kPageRows;
    const uint32_t first = page * segment::kPageRows;
    if (cached.page != page) {
      const segment::Segment& source = *copy_.sources[reference.source];
      QUIVER_ASSIGN_OR_RETURN(
          cached.view, source.View(field_.field_id, first, std::min(source.row_count() - first, segment::kPageRows)));
      cached.page = page;
    }
    return Place{&cached.view, reference.row - first};
  }

  struct Cached {
    uint32_t page = UINT32_MAX;
    ColumnView view;
  };

  const SegmentCopy& copy_;
  const FieldSchema& field_;
  const std::span<const Piece> pieces_;
  const CopyPacer& pacer_;
  std::vector<Cached> views_;
  Column scratch_;
  Column fallback_;
  uint64_t last_bytes_ = 0;
};

/// Cuts the rows into pieces that lie together in one source, and pieces that must be gathered.
std::vector<CopiedColumn::Piece> CutPieces(const SegmentCopy& copy) {
  std::vector<CopiedColumn::Piece> pieces;
  const auto& rows = copy.rows;
  for (uint32_t at = 0; at < rows.size();) {
    const RowReference& begin = rows[at];
    // A growing segment gives views inside one page only.
    const bool sealed = copy.sources[begin.source]->sealed();
    const uint32_t most = sealed ? kDirectPage : segment::kPageRows - begin.row % segment::kPageRows;
    uint32_t run = 1;
    while (at + run < rows.size() && run < most && rows[at + run].source == begin.source &&
           rows[at + run].row == begin.row + run) {
      ++run;
    }
    if (run >= kDirectRun) {
      pieces.push_back({at, run, true});
    } else if (!pieces.empty() && !pieces.back().direct && pieces.back().rows + run <= segment::kPageRows) {
      pieces.back().rows += run;
    } else {
      pieces.push_back({at, run, false});
    }
    at += run;
  }
  return pieces;
}

/// Sorts rows by the value of the partition key, then in the order in which they came.
Status SortByKey(const SegmentCopy& copy, const FieldSchema& key, std::vector<RowReference>& rows) {
  using Value = std::variant<int64_t, std::string_view>;
  std::vector<std::pair<Value, RowReference>> keyed;
  keyed.reserve(rows.size());
  uint32_t source = UINT32_MAX;
  uint32_t page = UINT32_MAX;
  ColumnView view;
  for (const RowReference& reference : rows) {
    const uint32_t first = reference.row / segment::kPageRows * segment::kPageRows;
    if (reference.source != source || first != page) {
      source = reference.source;
      page = first;
      const segment::Segment& from = *copy.sources[source];
      QUIVER_ASSIGN_OR_RETURN(view,
                              from.View(key.field_id, first, std::min(from.row_count() - first, segment::kPageRows)));
    }
    keyed.emplace_back(segment::KeyAt(view, reference.row - first), reference);
  }
  std::sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    return a.second.source != b.second.source ? a.second.source < b.second.source : a.second.row < b.second.row;
  });
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = keyed[i].second;
  return Status::Ok();
}

}  // namespace

Status Pacer::operator()(uint64_t bytes) {
  constexpr auto kMemoryPoll = std::chrono::milliseconds(20);
  for (;;) {
    if (stop_.load(std::memory_order_relaxed)) {
      return Error(StatusCode::kNotReady, "service not ready: the server is stopping");
    }
    if (!budget_.above_high_mark()) break;
    std::this_thread::sleep_for(kMemoryPoll);
  }
  if (rate_ == 0) return Status::Ok();
  written_ += bytes;
  const auto due = start_ + std::chrono::microseconds(written_ * 1'000'000 / rate_);
  // Short sleeps are not worth their system call.
  if (due > std::chrono::steady_clock::now() + std::chrono::milliseconds(2)) std::this_thread::sleep_until(due);
  return Status::Ok();
}

Result<SegmentCopy> PlanCopy(std::vector<std::shared_ptr<const segment::Segment>> sources,
                             const CollectionSchema& schema, const segment::RowExpiry& expiry, const RowFilter& keep) {
  SegmentCopy copy;
  copy.sources = std::move(sources);
  std::map<int64_t, std::vector<RowReference>> by_partition;
  for (uint32_t source = 0; source < copy.sources.size(); ++source) {
    const segment::Segment& from = *copy.sources[source];
    if (from.fenced()) return from.fence();
    std::vector<RowReference>* rows = nullptr;
    int64_t partition = 0;
    const uint32_t count = from.row_count();
    segment::RowEnds ends(from, expiry);
    for (uint32_t row = 0; row < count; ++row) {
      QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, from.inserted_at(row));
      const int64_t id = from.partition_of(row);
      const Timestamp deleted = from.delete_ts(row);
      QUIVER_ASSIGN_OR_RETURN(const Timestamp end, ends.Of(row));
      if (!keep({source, row, id, inserted, deleted, std::min(deleted, end)})) continue;
      if (rows == nullptr || id != partition) {
        partition = id;
        rows = &by_partition[id];
      }
      rows->push_back({source, row});
    }
  }
  for (auto& [partition, rows] : by_partition) {
    if (const FieldSchema* key = schema.partition_key(); key != nullptr) {
      QUIVER_RETURN_IF_ERROR(SortByKey(copy, *key, rows));
    }
    copy.partitions.push_back({partition, static_cast<uint32_t>(copy.rows.size()), static_cast<uint32_t>(rows.size())});
    if (copy.rows.empty()) {
      copy.rows = std::move(rows);
    } else {
      copy.rows.insert(copy.rows.end(), rows.begin(), rows.end());
      rows = {};
    }
  }
  return copy;
}

Result<std::shared_ptr<const storage::SegmentFile>> WriteCopy(io::FileSystem& file_system,
                                                              storage::ObjectStore& objects, const SegmentCopy& copy,
                                                              const CollectionSchema& schema, const CopyTarget& target,
                                                              const CopyPacer& pacer) {
  const std::string staging = objects.StagingPath(target.object_name);
  const FieldSchema* partition_key = schema.partition_key();
  QUIVER_ASSIGN_OR_RETURN(auto writer,
                          storage::SegmentFileWriter::Create(
                              file_system, staging,
                              {.rows = copy.rows.size(),
                               .pk_field_id = schema.primary().field_id,
                               .collection_id = target.collection_id,
                               .segment_id = target.segment_id,
                               .schema_version = schema.version,
                               .partition_key_field_id = partition_key == nullptr ? 0 : partition_key->field_id}));
  const std::vector<CopiedColumn::Piece> pieces = CutPieces(copy);
  for (const FieldSchema& field : schema.fields) {
    CopiedColumn column(copy, field, pieces, pacer);
    QUIVER_RETURN_IF_ERROR(writer->AddColumn(field.field_id, column));
  }
  std::vector<Timestamp> stamps;
  stamps.reserve(copy.rows.size());
  for (const RowReference& reference : copy.rows) {
    QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, copy.sources[reference.source]->inserted_at(reference.row));
    stamps.push_back(inserted);
  }
  // A source that became unreadable while it was copied gave zeros.
  for (const auto& source : copy.sources) QUIVER_RETURN_IF_ERROR(source->fence());
  QUIVER_RETURN_IF_ERROR(writer->Finish(stamps, copy.partitions));
  writer.reset();
  QUIVER_RETURN_IF_ERROR(objects.Put(target.object_name, staging));
  const auto open = [&]() -> Result<std::shared_ptr<const storage::SegmentFile>> {
    QUIVER_ASSIGN_OR_RETURN(auto mapped, objects.Materialise(target.object_name));
    QUIVER_ASSIGN_OR_RETURN(auto opened, storage::SegmentFile::Open(std::move(mapped)));
    // What takes the place of the sources is known to be whole, and no reader has to find that out at its own cost.
    QUIVER_RETURN_IF_ERROR(opened->VerifyChecksums([&] { return pacer(0); }));
    return opened;
  };
  auto file = open();
  if (!file.ok()) (void)objects.Remove(target.object_name);  // the next start sweeps what cannot be removed now
  return file;
}

std::vector<std::vector<uint32_t>> InvertCopy(const SegmentCopy& copy) {
  std::vector<std::vector<uint32_t>> new_rows;
  for (const auto& source : copy.sources) new_rows.emplace_back(source->row_count(), kNoRow);
  for (uint32_t row = 0; row < copy.rows.size(); ++row) new_rows[copy.rows[row].source][copy.rows[row].row] = row;
  return new_rows;
}

std::vector<storage::RowDelete> DeletesOfCopy(const SegmentCopy& copy, Timestamp until) {
  std::vector<storage::RowDelete> deletes;
  for (uint32_t row = 0; row < copy.rows.size(); ++row) {
    const RowReference& reference = copy.rows[row];
    const Timestamp deleted = copy.sources[reference.source]->delete_ts(reference.row);
    if (deleted <= until) deletes.push_back({row, deleted});
  }
  return deletes;
}

}  // namespace quiver::engine
