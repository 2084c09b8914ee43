#include "query/match.h"

#include <algorithm>
#include <bit>
#include <map>

#include "query/key_rows.h"
#include "schema/default_column.h"
#include "segment/row_expiry.h"
#include "segment/segment_index.h"

namespace quiver::query {

namespace {

using segment::kPageRows;
using segment::kPageWords;
using segment::Segment;

/// So few rows are evaluated in less time than it takes to ask indexes for rows.
constexpr uint64_t kFewRows = 1024;

/// One page of a segment as a source for filter evaluation; keeps the first read error.
class SegmentPage final : public expr::ColumnSource {
 public:
  SegmentPage(const Segment& segment, uint32_t page)
      : segment_(segment),
        page_(page),
        first_row_(page * kPageRows),
        rows_(std::min(segment.row_count() - first_row_, kPageRows)) {}
  [[nodiscard]] size_t row_count() const override { return rows_; }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    return Keep(segment_.View(field_id, first_row_, rows_));
  }
  [[nodiscard]] ColumnView json_path(int64_t field_id, std::span<const std::string> keys) const override {
    return Keep(segment_.JsonPath(field_id, keys, first_row_, rows_));
  }
  [[nodiscard]] expr::JsonForms json_forms(int64_t field_id) const override {
    return Keep(segment_.JsonForms(field_id, first_row_, rows_));
  }
  [[nodiscard]] ColumnView validity(int64_t field_id) const override {
    return Keep(segment_.Validity(field_id, first_row_, rows_));
  }
  [[nodiscard]] uint64_t first_row_id() const override {
    return (static_cast<uint64_t>(segment_.id()) << 32) + first_row_;
  }
  [[nodiscard]] bool Facts(int64_t field_id, expr::PageFacts* facts) const override {
    return segment_.Facts(field_id, page_, facts);
  }
  [[nodiscard]] const expr::ValueStatistics* Statistics(int64_t field_id) const override {
    return segment_.Statistics(field_id);
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  template <typename View>
  View Keep(const Result<View>& view) const {
    if (view.ok()) return *view;
    if (status_.ok()) status_ = view.status();
    return {};
  }

  const Segment& segment_;
  uint32_t page_;
  uint32_t first_row_;
  uint32_t rows_;
  mutable Status status_;
};

/// Leaves the rows of `mask` that satisfy the filter; `kept` (may be nullptr) is read, or told what was found.
Status Evaluate(const Segment& segment, uint32_t page, const expr::Filter& filter, segment::FilterBitmap* kept,
                SegmentExplanation* explained, uint64_t* mask, uint32_t& count) {
  uint64_t matching[kPageWords] = {};
  if (kept != nullptr && kept->Read(page, matching)) {
    if (explained != nullptr) explained->pages_from_cache.fetch_add(1, std::memory_order_relaxed);
  } else {
    const SegmentPage source(segment, page);
    filter.Evaluate(source, matching);
    QUIVER_RETURN_IF_ERROR(source.status());
    // What a damaged file gave is not kept; a fence that is put up later ends every read of the segment.
    if (kept != nullptr && !segment.fenced()) kept->Write(page, matching);
  }
  count = 0;
  for (uint32_t word = 0; word < kPageWords; ++word) {
    mask[word] &= matching[word];
    count += static_cast<uint32_t>(std::popcount(mask[word]));
  }
  return Status::Ok();
}

/// As Evaluate, with what indexes say: rows outside of theirs do not match.
Status EvaluateRest(const Segment& segment, uint32_t page, const expr::Filter& filter, const IndexedPages& pages,
                    uint64_t* mask, uint32_t& count) {
  const expr::IndexedRows& indexed = pages.found;
  uint64_t rows[kPageWords];
  count = 0;
  if (indexed.rows.CopyWords((page - pages.first_page) * kPageRows, kPageWords, rows) == 0) return Status::Ok();
  uint32_t left = 0;
  for (uint32_t word = 0; word < kPageWords; ++word) {
    mask[word] &= rows[word];
    left += static_cast<uint32_t>(std::popcount(mask[word]));
  }
  count = left;
  if (indexed.exact || left == 0) return Status::Ok();
  const SegmentPage source(segment, page);
  uint64_t matching[kPageWords] = {};
  filter.EvaluateRest(source, indexed.settled, mask, matching);
  QUIVER_RETURN_IF_ERROR(source.status());
  count = 0;
  for (uint32_t word = 0; word < kPageWords; ++word) {
    mask[word] = matching[word];
    count += static_cast<uint32_t>(std::popcount(mask[word]));
  }
  return Status::Ok();
}

/// Those of some indexes that a filter may ask, all sound.
std::vector<const segment::SegmentIndex*> IndexesFor(
    const expr::Filter& filter, const std::vector<std::shared_ptr<const segment::SegmentIndex>>& all) {
  const std::vector<int64_t>& fields = filter.field_ids();
  std::vector<const segment::SegmentIndex*> usable;
  for (const auto& index : all) {
    if (index->damaged() || !std::binary_search(fields.begin(), fields.end(), index->field_id())) continue;
    if (const Status sound = index->scalar()->EnsureSound(); !sound.ok()) {
      index->ReportDamage(sound.message());
    } else {
      usable.push_back(index.get());
    }
  }
  return usable;
}

Status Stopped() { return Error(StatusCode::kCancelled, "request was cancelled"); }

/// Visits the pages that hold the named keys.
Status VisitKeys(const engine::ReadView& view, const Segment& segment, const expr::Filter& filter,
                 const expr::Filter::PrimaryKeys& keys, bool evaluate, uint32_t first_page, uint32_t last_page,
                 SegmentExplanation* explained, const PageVisitor& visit) {
  std::map<uint32_t, std::vector<uint64_t>> pages;
  const segment::Visibility visibility = view.visibility();
  const auto look_up = [&](const segment::KeyView& key) -> Status {
    QUIVER_ASSIGN_OR_RETURN(const std::optional<uint32_t> row, segment.FindVisible(key, view.timestamp));
    if (!row || *row / kPageRows < first_page || *row / kPageRows >= last_page) return Status::Ok();
    if (!view.partition_ids.empty() && !segment::Contains(view.partition_ids, segment.partition_of(*row))) {
      return Status::Ok();
    }
    QUIVER_ASSIGN_OR_RETURN(const bool ended, segment::HasEnded(segment, *row, visibility));
    if (ended) return Status::Ok();
    std::vector<uint64_t>& mask = pages[*row / kPageRows];
    mask.resize(kPageWords);
    mask[*row % kPageRows / 64] |= 1ULL << (*row % 64);
    return Status::Ok();
  };
  {
    const StepTimer timer(explained != nullptr ? &explained->filter_nanoseconds : nullptr);
    for (const int64_t key : keys.ints) QUIVER_RETURN_IF_ERROR(look_up(key));
    for (const std::string& key : keys.strings) QUIVER_RETURN_IF_ERROR(look_up(std::string_view(key)));
  }
  for (auto& [page, mask] : pages) {
    uint32_t count = 0;
    for (const uint64_t word : mask) count += static_cast<uint32_t>(std::popcount(word));
    if (evaluate) QUIVER_RETURN_IF_ERROR(Evaluate(segment, page, filter, nullptr, nullptr, mask.data(), count));
    if (explained != nullptr) explained->CountPage(count);
    if (count > 0) QUIVER_RETURN_IF_ERROR(visit(page, mask.data(), count));
  }
  return Status::Ok();
}

}  // namespace

bool NamesKeys(const expr::Filter* filter) {
  return filter != nullptr && (filter->primary_keys() != nullptr || filter->primary_key_candidates() != nullptr);
}

SegmentFilter::SegmentFilter(const engine::ReadView& view, size_t segment, const expr::Filter* filter,
                             SegmentExplanation* explained, const SegmentKeyRows* known)
    : view_(view), segment_(segment), filter_(filter), explained_(explained) {
  if (filter_ != nullptr && filter_->always_true()) filter_ = nullptr;
  if (explained_ != nullptr) BeginExplaining();
  if (filter_ == nullptr || filter_->always_false() || NamesKeys(filter_)) return;
  const StepTimer timer(explained_ != nullptr ? &explained_->filter_nanoseconds : nullptr);
  AskKey(known);
  const bool few = !indexed_.empty() && (indexed_.front().found.exact || MostMatches() <= kFewRows);
  if (!few) AskIndexes();
  // What indexes answer is not dear enough to be kept.
  if (indexed_.empty()) AskCache();
  if (explained_ == nullptr) return;
  explained_->trace->CombineEstimates(this->segment().row_count());
}

/// What earlier passes over the segment counted is forgotten, but for the work of the filter, which adds up.
void SegmentFilter::BeginExplaining() {
  SegmentExplanation& out = *explained_;
  out.matches = 0;
  out.pages_visited = 0;
  out.pages_from_cache = 0;
  out.path = FilterPath::kEveryRow;
  if (filter_ == nullptr) return;
  out.path = filter_->always_false() ? FilterPath::kNoRow
             : NamesKeys(filter_)    ? FilterPath::kPrimaryKeys
                                     : FilterPath::kEvaluation;
  out.pages_indexed = 0;
  if (out.trace == nullptr) {
    out.trace = std::make_unique<expr::FilterTrace>(filter_->predicate(), segment().row_count());
    out.traced = filter_->Traced(out.trace.get());
    for (uint32_t page = 0; page < segment().page_count(); ++page) out.traced->Estimate(SegmentPage(segment(), page));
  } else {
    out.trace->ForgetIndexes();
  }
  filter_ = out.traced.get();
}

void SegmentFilter::AskCache() {
  if (view_.filter_cache == nullptr || !segment().sealed()) return;
  kept_ = view_.filter_cache->Find(view_.segments[segment_], filter_->canonical_key());
  if (kept_ != nullptr && explained_ != nullptr) explained_->answer_kept = true;
}

void SegmentFilter::AskKey(const SegmentKeyRows* known) {
  const Segment& segment = this->segment();
  SegmentKeyRows own;
  if (known == nullptr) {
    // A file that is damaged is found out again by whoever evaluates it.
    if (auto keys = FindKeyRows(*view_.info, segment, *filter_); keys.ok()) own.rows = *std::move(keys);
    known = &own;
  }
  if (!known->rows) return;
  const KeyRows& keys = *known->rows;
  expr::IndexedRows found{.rows = expr::RowSet(segment.row_count()), .exact = keys.exact, .settled = keys.settled};
  found.rows.Expect(keys.count);
  for (const storage::RowRange& run : keys.runs) found.rows.AddRange(run.first_row, run.first_row + run.rows);
  indexed_.push_back({0, segment.page_count(), std::move(found)});
  if (explained_ != nullptr) explained_->path = FilterPath::kPartitionKey;
}

void SegmentFilter::AskIndexes() {
  const std::shared_ptr<const segment::IndexedRanges> ranges = segment().ScalarIndexes();
  if (ranges == nullptr) return;
  // Of a sealed segment with a partition key, whose only range is that of all rows.
  std::optional<expr::IndexedRows> of_key;
  if (!indexed_.empty()) of_key = std::move(indexed_.front().found);
  std::vector<const expr::TermIndex*> terms;
  for (const segment::IndexedRange& range : *ranges) {
    const auto indexes = IndexesFor(*filter_, range.indexes);
    if (indexes.empty()) continue;
    terms.clear();
    for (const auto* index : indexes) terms.push_back(index->scalar());
    std::optional<expr::IndexedRows> found = expr::SelectByIndexes(
        filter_->predicate(), range.rows, terms, 1, explained_ != nullptr ? explained_->trace.get() : nullptr);
    // A file that became unreadable meanwhile gave any rows.
    for (const auto* index : indexes) {
      if (!index->damaged()) continue;
      index->ReportDamage("its file cannot be read");
      found.reset();
    }
    if (!found) continue;
    const uint32_t first_page = range.first_row / kPageRows;
    const uint32_t end_page = (range.first_row + range.rows + kPageRows - 1) / kPageRows;
    if (explained_ != nullptr) {
      explained_->path = FilterPath::kIndexes;
      explained_->pages_indexed += end_page - first_page;
    }
    if (of_key) {
      // The filter is an `and`, one of whose operands names values of the partition key.
      of_key->rows.Intersect(found->rows);
      of_key->settled |= found->settled;
      const size_t operands = filter_->predicate().children.size();
      of_key->exact = found->exact || static_cast<size_t>(std::popcount(of_key->settled)) == operands;
    } else {
      indexed_.push_back({first_page, end_page, *std::move(found)});
    }
  }
  if (of_key) indexed_.front().found = *std::move(of_key);
}

std::optional<uint64_t> SegmentFilter::MostMatches() const {
  const bool all = indexed_.size() == 1 && segment().sealed() && indexed_.front().first_page == 0 &&
                   indexed_.front().end_page == segment().page_count();
  return all ? std::optional(indexed_.front().found.rows.Count()) : std::nullopt;
}

Status VisitMatches(const SegmentFilter& segment_filter, uint32_t first_page, uint32_t last_page,
                    const Cancelled& cancelled, const PageVisitor& visit) {
  const engine::ReadView& view = segment_filter.view();
  const Segment& segment = segment_filter.segment();
  const expr::Filter* filter = segment_filter.filter();
  if (filter != nullptr && filter->always_false()) return Status::Ok();
  if (NamesKeys(filter)) {
    const bool exact = filter->primary_keys() != nullptr;
    const auto& keys = exact ? *filter->primary_keys() : *filter->primary_key_candidates();
    return VisitKeys(view, segment, *filter, keys, !exact, first_page, last_page, segment_filter.explained(), visit);
  }
  auto pages = segment_filter.indexed().begin();
  const auto last_pages = segment_filter.indexed().end();
  SegmentExplanation* const explained = segment_filter.explained();
  for (uint32_t page = first_page; page < last_page; ++page) {
    if (cancelled && cancelled()) return Stopped();
    while (pages != last_pages && pages->end_page <= page) ++pages;
    const IndexedPages* const indexed = pages != last_pages && pages->first_page <= page ? &*pages : nullptr;
    if (indexed != nullptr) {
      const expr::RowSet& rows = indexed->found.rows;
      const uint32_t next = rows.NextAfter((page - indexed->first_page) * kPageRows);
      page = next < rows.rows() ? indexed->first_page + next / kPageRows : indexed->end_page;
      if (page >= last_page) break;
      if (page == indexed->end_page) {
        --page;  // the pages behind are for the next round
        continue;
      }
    }
    uint64_t mask[kPageWords];
    uint32_t count = 0;
    {
      const StepTimer timer(explained != nullptr ? &explained->filter_nanoseconds : nullptr);
      count = segment.FillVisible(page, VisibilityOf(view), mask);
      if (count == 0) continue;
      if (indexed != nullptr) {
        QUIVER_RETURN_IF_ERROR(EvaluateRest(segment, page, *filter, *indexed, mask, count));
      } else if (filter != nullptr) {
        QUIVER_RETURN_IF_ERROR(Evaluate(segment, page, *filter, segment_filter.kept(), explained, mask, count));
      }
    }
    if (explained != nullptr) explained->CountPage(count);
    if (count > 0) QUIVER_RETURN_IF_ERROR(visit(page, mask, count));
  }
  return Status::Ok();
}

Status VisitMatches(const engine::ReadView& view, size_t segment_index, uint32_t first_page, uint32_t last_page,
                    const expr::Filter* filter, const Cancelled& cancelled, const PageVisitor& visit,
                    SegmentExplanation* explained) {
  return VisitMatches(SegmentFilter(view, segment_index, filter, explained), first_page, last_page, cancelled, visit);
}

Result<Column> FetchColumn(const engine::ReadView& view, const FieldSchema& field, std::span<const uint64_t> rows) {
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  column.Reserve(rows.size());
  std::optional<Column> fallback;
  for (const uint64_t id : rows) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView value, view.segments[SegmentOf(id)]->View(field.field_id, RowOf(id), 1));
    if (!value.present()) {
      if (!fallback) fallback = DefaultColumn(field, 1);
      column.AppendRows(*fallback, {0});
    } else if (value.IsNull(0)) {
      column.AppendNull();
    } else {
      column.Append(value.Bytes(0));
    }
  }
  return column;
}

}  // namespace quiver::query
