#include "query/scan_queries.h"

#include <algorithm>
#include <utility>

#include "io/row_pages.h"
#include "query/ranking.h"

namespace quiver::query {

using index::ArrayQueries;
using index::FlatQueries;
using segment::kPageRows;

namespace {

/// What an array is taken to hold where work is foretold.
constexpr double kUsualElements = 8;

}  // namespace

Result<ScanQueries> ScanQueries::Make(const SearchRequest& request, const FieldSchema& field,
                                      const std::vector<std::string_view>& queries) {
  if (field.type != DataType::kArrayOfVector) {
    QUIVER_ASSIGN_OR_RETURN(FlatQueries flat, FlatQueries::Make(field.type, field.dim, request.metric, queries));
    return ScanQueries(field.field_id, std::move(flat));
  }
  QUIVER_ASSIGN_OR_RETURN(ArrayQueries arrays,
                          ArrayQueries::Make(field.element_type, field.dim, request.metric, queries));
  ScanQueries made(field.field_id, std::move(arrays));
  if (request.filter != nullptr && FindsElements(request)) {
    made.condition_ = expr::ElementCondition::Of(*request.filter, *request.view.info->schema, field.struct_name);
  }
  return made;
}

size_t ScanQueries::nq() const {
  const auto* arrays = std::get_if<ArrayQueries>(&queries_);
  return arrays != nullptr ? arrays->nq() : std::get<FlatQueries>(queries_).nq();
}

const FlatQueries& ScanQueries::vectors() const {
  const auto* arrays = std::get_if<ArrayQueries>(&queries_);
  return arrays != nullptr ? arrays->vectors() : std::get<FlatQueries>(queries_);
}

double ScanQueries::work_per_row() const {
  const double elements = std::holds_alternative<ArrayQueries>(queries_) ? kUsualElements : 1;
  return elements * static_cast<double>(std::max<int64_t>(vectors().dim(), 1)) * static_cast<double>(vectors().nq());
}

Result<bool> ScanQueries::Scan(const segment::Segment& segment, uint32_t first, uint32_t rows, const uint64_t* mask,
                               uint64_t first_id, std::span<index::TopK> results, ScanScratch& scratch) const {
  QUIVER_ASSIGN_OR_RETURN(const ColumnView view, segment.View(field_id_, first, rows));
  if (!view.present()) return false;
  const auto* arrays = std::get_if<ArrayQueries>(&queries_);
  if (arrays == nullptr) {
    index::FlatScan(std::get<FlatQueries>(queries_), view, mask, first_id, results, scratch.flat);
    return true;
  }
  index::KeptElements kept;
  if (condition_ != nullptr) {
    std::vector<ColumnView> columns;
    for (const int64_t id : condition_->field_ids()) {
      QUIVER_ASSIGN_OR_RETURN(const ColumnView column, segment.View(id, first, rows));
      if (!column.present()) return false;
      columns.push_back(column);
    }
    condition_->Evaluate(columns, rows, mask, &scratch.elements);
    kept = [&scratch](size_t row) { return scratch.elements.Of(row); };
  }
  index::ArrayScan(*arrays, view, mask, first_id, kept, results, scratch.arrays);
  return true;
}

Result<bool> ScanQueries::ScanListed(const segment::Segment& segment, std::span<const uint32_t> listed,
                                     uint64_t first_id, std::span<index::TopK> results, ScanScratch& scratch) const {
  const auto* flat = std::get_if<FlatQueries>(&queries_);
  if (listed.empty()) return true;
  if (flat == nullptr || !segment.sealed() || flat->type() == DataType::kSparseFloatVector) {
    return ScanListedByPage(segment, listed, first_id, results, scratch);
  }
  QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors, WholeColumn(segment, listed));
  if (!vectors.present()) return false;
  io::AskForRows(vectors.fixed, vectors.width, listed);
  index::FlatScanListed(*flat, vectors, listed, first_id, results, scratch.flat);
  return true;
}

/// The vectors of a sealed segment, which lie in one piece, as far as they are listed: only the pages of these are
/// checked and may be read. Rows are few and far apart, and wait for each other where they are read page by page.
Result<ColumnView> ScanQueries::WholeColumn(const segment::Segment& segment, std::span<const uint32_t> listed) const {
  ColumnView whole;
  for (auto row = listed.begin(); row != listed.end();) {
    const uint32_t first = *row / kPageRows * kPageRows;
    const uint32_t rows = std::min(segment.row_count() - first, kPageRows);
    QUIVER_ASSIGN_OR_RETURN(const ColumnView page, segment.View(field_id_, first, rows));
    if (!page.present()) return ColumnView();
    if (row == listed.begin()) {
      whole = page;
      whole.rows = segment.row_count();
      whole.fixed -= size_t{first} * whole.width;
      if (whole.valid != nullptr) whole.valid -= first;
    }
    row = std::find_if(row, listed.end(), [&](uint32_t at) { return at - first >= kPageRows; });
  }
  return whole;
}

Result<bool> ScanQueries::ScanListedByPage(const segment::Segment& segment, std::span<const uint32_t> listed,
                                           uint64_t first_id, std::span<index::TopK> results,
                                           ScanScratch& scratch) const {
  const auto* flat = std::get_if<FlatQueries>(&queries_);
  std::vector<uint32_t> here;
  while (!listed.empty()) {
    const uint32_t first = listed.front() / kPageRows * kPageRows;
    const uint32_t rows = std::min(segment.row_count() - first, kPageRows);
    here.clear();
    while (here.size() < listed.size() && listed[here.size()] - first < kPageRows) {
      here.push_back(listed[here.size()] - first);
    }
    listed = listed.subspan(here.size());
    if (flat == nullptr) {
      uint64_t mask[segment::kPageWords] = {};
      for (const uint32_t row : here) mask[row / 64] |= uint64_t{1} << (row % 64);
      QUIVER_ASSIGN_OR_RETURN(const bool present, Scan(segment, first, rows, mask, first_id + first, results, scratch));
      if (!present) return false;
      continue;
    }
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, segment.View(field_id_, first, rows));
    if (!view.present()) return false;
    index::FlatScanListed(*flat, view, here, first_id + first, results, scratch.flat);
  }
  return true;
}

}  // namespace quiver::query
