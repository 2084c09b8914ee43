#include "query/aggregate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>

#include "query/explanation.h"
#include "query/group_key.h"
#include "query/match.h"
#include "query/ordering.h"
#include "query/sound_view.h"
#include "schema/default_column.h"

namespace quiver::query {

namespace {

using segment::kPageRows;
// No sum of 2^63 rows leaves it.
// NOLINTNEXTLINE(modernize-use-using): only a typedef can be marked as an extension.
__extension__ typedef __int128 Wide;

/// What an aggregate keeps of one group; which members count depends on the field's type.
struct Cell {
  int64_t count = 0;
  Wide whole_sum = 0;
  double real_sum = 0;
  int64_t whole = 0;
  double real = 0;
  std::string text;
};

/// Rows of a page that match, and the group of each.
struct Selection {
  std::vector<uint32_t> rows;
  std::vector<uint32_t> groups;
};

/// Takes the value as the extreme of its cell if it is the first or beyond it.
template <typename Value, typename Kept>
void KeepExtreme(AggregateKind kind, bool first, const Value& value, Kept& kept) {
  if (first || (kind == AggregateKind::kMin ? value < kept : kept < value)) kept = value;
}

template <typename T>
void AddNumbers(AggregateKind kind, const ColumnView& values, const Selection& selection, std::vector<Cell>& cells) {
  for (size_t i = 0; i < selection.rows.size(); ++i) {
    const uint32_t row = selection.rows[i];
    if (values.IsNull(row)) continue;
    Cell& cell = cells[selection.groups[i]];
    const T value = values.Get<T>(row);
    if constexpr (std::is_floating_point_v<T>) {
      cell.real_sum += value;
      KeepExtreme(kind, cell.count == 0, static_cast<double>(value), cell.real);
    } else {
      cell.whole_sum += value;
      KeepExtreme(kind, cell.count == 0, static_cast<int64_t>(value), cell.whole);
    }
    ++cell.count;
  }
}

void AddTexts(AggregateKind kind, const ColumnView& values, const Selection& selection, std::vector<Cell>& cells) {
  for (size_t i = 0; i < selection.rows.size(); ++i) {
    const uint32_t row = selection.rows[i];
    if (values.IsNull(row)) continue;
    Cell& cell = cells[selection.groups[i]];
    KeepExtreme(kind, cell.count == 0, values.Bytes(row), cell.text);
    ++cell.count;
  }
}

void AddCounts(const ColumnView* values, const Selection& selection, std::vector<Cell>& cells) {
  for (size_t i = 0; i < selection.rows.size(); ++i) {
    if (values == nullptr || !values->IsNull(selection.rows[i])) ++cells[selection.groups[i]].count;
  }
}

void AddValues(AggregateKind kind, const ColumnView& values, const Selection& selection, std::vector<Cell>& cells) {
  if (kind == AggregateKind::kCount) return AddCounts(&values, selection, cells);
  switch (values.type) {
    case DataType::kInt8: return AddNumbers<int8_t>(kind, values, selection, cells);
    case DataType::kInt16: return AddNumbers<int16_t>(kind, values, selection, cells);
    case DataType::kInt32: return AddNumbers<int32_t>(kind, values, selection, cells);
    case DataType::kInt64:
    case DataType::kTimestamptz: return AddNumbers<int64_t>(kind, values, selection, cells);
    case DataType::kFloat: return AddNumbers<float>(kind, values, selection, cells);
    case DataType::kDouble: return AddNumbers<double>(kind, values, selection, cells);
    default: return AddTexts(kind, values, selection, cells);
  }
}

void AppendInt(DataType type, int64_t value, Column& out) {
  switch (type) {
    case DataType::kInt8: return out.AppendValue(static_cast<int8_t>(value));
    case DataType::kInt16: return out.AppendValue(static_cast<int16_t>(value));
    case DataType::kInt32: return out.AppendValue(static_cast<int32_t>(value));
    default: return out.AppendValue(value);
  }
}

bool IsReal(DataType type) { return type == DataType::kFloat || type == DataType::kDouble; }

/// Appends the aggregate of one group to a column of AggregateType.
Status AppendResult(AggregateKind kind, DataType type, const Cell& cell, Column& out) {
  if (kind == AggregateKind::kCount) {
    out.AppendValue(cell.count);
  } else if (cell.count == 0) {
    out.AppendNull();
  } else if (kind == AggregateKind::kAvg) {
    const double sum = IsReal(type) ? cell.real_sum : static_cast<double>(cell.whole_sum);
    out.AppendValue(sum / static_cast<double>(cell.count));
  } else if (kind == AggregateKind::kSum) {
    if (IsReal(type)) {
      out.AppendValue(cell.real_sum);
    } else if (cell.whole_sum > std::numeric_limits<int64_t>::max() ||
               cell.whole_sum < std::numeric_limits<int64_t>::min()) {
      return InvalidParameter("sum is out of the range of Int64: invalid parameter");
    } else {
      out.AppendValue(static_cast<int64_t>(cell.whole_sum));
    }
  } else if (type == DataType::kVarChar) {
    out.Append(cell.text);
  } else if (type == DataType::kFloat) {
    out.AppendValue(static_cast<float>(cell.real));
  } else if (type == DataType::kDouble) {
    out.AppendValue(cell.real);
  } else {
    AppendInt(type, cell.whole, out);
  }
  return Status::Ok();
}

/// Runs over the pages and keeps one cell per aggregate and group.
class Aggregator {
 public:
  explicit Aggregator(const AggregateRequest& request) : request_(request), cells_(request.aggregates.size()) {
    if (request.group_by.empty()) AddGroup();
  }

  Status Prepare() {
    for (const int64_t id : request_.group_by) {
      QUIVER_ASSIGN_OR_RETURN(const FieldSchema* field, FieldOf(id));
      keys_.push_back(Column::Make(id, field->type));
    }
    for (const Aggregate& aggregate : request_.aggregates) {
      if (aggregate.field_id >= 0) QUIVER_RETURN_IF_ERROR(FieldOf(aggregate.field_id).status());
    }
    return Status::Ok();
  }

  Status Visit(size_t segment_index, uint32_t page, const uint64_t* mask) {
    const segment::Segment& segment = *request_.view.segments[segment_index];
    const uint32_t first = page * kPageRows;
    const uint32_t rows = std::min(segment.row_count() - first, kPageRows);
    selection_.rows.clear();
    for (uint32_t word = 0; word < segment::kPageWords; ++word) {
      for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
        selection_.rows.push_back(word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits)));
      }
    }
    QUIVER_RETURN_IF_ERROR(AssignGroups(segment, first, rows));
    for (size_t i = 0; i < request_.aggregates.size(); ++i) {
      const Aggregate& aggregate = request_.aggregates[i];
      if (aggregate.field_id < 0) {
        AddCounts(nullptr, selection_, cells_[i]);
        continue;
      }
      Column fallback;
      QUIVER_ASSIGN_OR_RETURN(const ColumnView values, Read(segment, aggregate.field_id, first, rows, fallback));
      AddValues(aggregate.kind, values, selection_, cells_[i]);
    }
    return Status::Ok();
  }

  Result<ColumnBatch> Finish() {
    std::vector<uint32_t> order(groups_);
    for (uint32_t i = 0; i < groups_; ++i) order[i] = i;
    std::vector<OrderKey> by;
    for (const Column& key : keys_) by.push_back({.field_id = key.field_id, .descending = false, .nulls_first = true});
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return CompareRows(by, keys_, a, b) < 0; });
    order.erase(order.begin(), order.begin() + static_cast<ptrdiff_t>(std::min(request_.offset, order.size())));
    if (request_.limit && *request_.limit < order.size()) order.resize(*request_.limit);

    ColumnBatch out;
    out.rows = order.size();
    for (const Column& key : keys_) {
      Column column = Column::Make(key.field_id, key.type);
      column.AppendRows(key, order);
      out.columns.push_back(std::move(column));
    }
    for (size_t i = 0; i < request_.aggregates.size(); ++i) {
      const Aggregate& aggregate = request_.aggregates[i];
      DataType type = DataType::kInt64;
      if (aggregate.field_id >= 0) {
        QUIVER_ASSIGN_OR_RETURN(const FieldSchema* field, FieldOf(aggregate.field_id));
        type = field->type;
      }
      Column column = Column::Make(aggregate.field_id, AggregateType(aggregate.kind, type));
      for (const uint32_t group : order) {
        QUIVER_RETURN_IF_ERROR(AppendResult(aggregate.kind, type, cells_[i][group], column));
      }
      out.columns.push_back(std::move(column));
    }
    return out;
  }

 private:
  Result<const FieldSchema*> FieldOf(int64_t id) const {
    const FieldSchema* field = request_.view.info->schema->FindById(id);
    if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", id);
    return field;
  }

  /// The values of a page; `fallback` holds them where the segment is older than the field.
  Result<ColumnView> Read(const segment::Segment& segment, int64_t id, uint32_t first, uint32_t rows,
                          Column& fallback) const {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, segment.View(id, first, rows));
    if (view.present()) return view;
    QUIVER_ASSIGN_OR_RETURN(const FieldSchema* field, FieldOf(id));
    fallback = DefaultColumn(*field, rows);
    return ViewOf(fallback);
  }

  void AddGroup() {
    ++groups_;
    for (std::vector<Cell>& cells : cells_) cells.emplace_back();
  }

  Status AssignGroups(const segment::Segment& segment, uint32_t first, uint32_t rows) {
    selection_.groups.assign(selection_.rows.size(), 0);
    if (keys_.empty()) return Status::Ok();
    std::vector<Column> fallbacks(keys_.size());
    std::vector<ColumnView> views;
    for (size_t i = 0; i < keys_.size(); ++i) {
      QUIVER_ASSIGN_OR_RETURN(const ColumnView view, Read(segment, keys_[i].field_id, first, rows, fallbacks[i]));
      views.push_back(view);
    }
    for (size_t i = 0; i < selection_.rows.size(); ++i) {
      const uint32_t row = selection_.rows[i];
      key_.clear();
      for (const ColumnView& view : views) AppendGroupKey(view, row, key_);
      const auto [entry, added] = by_key_.try_emplace(key_, groups_);
      if (added) {
        AddGroup();
        for (size_t k = 0; k < keys_.size(); ++k) {
          if (views[k].IsNull(row)) {
            keys_[k].AppendNull();
          } else {
            keys_[k].Append(views[k].Bytes(row));
          }
        }
      }
      selection_.groups[i] = entry->second;
    }
    return Status::Ok();
  }

  const AggregateRequest& request_;
  std::vector<Column> keys_;              ///< one row per group
  std::vector<std::vector<Cell>> cells_;  ///< [aggregate][group]
  std::unordered_map<std::string, uint32_t> by_key_;
  uint32_t groups_ = 0;
  Selection selection_;
  std::string key_;
};

Result<ColumnBatch> AggregateSegments(const AggregateRequest& request) {
  if (request.explanation != nullptr) request.explanation->Begin(request.view, request.filter);
  const Step step(request.explanation, "aggregate");
  Aggregator aggregator(request);
  QUIVER_RETURN_IF_ERROR(aggregator.Prepare());
  for (size_t i = 0; i < request.view.segments.size(); ++i) {
    QUIVER_RETURN_IF_ERROR(VisitMatches(
        request.view, i, 0, request.view.segments[i]->page_count(), request.filter.get(), request.cancelled,
        [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) { return aggregator.Visit(i, page, mask); },
        PartOf(request.explanation, i)));
  }
  return aggregator.Finish();
}

}  // namespace

DataType AggregateType(AggregateKind kind, DataType type) {
  const bool number = IsNumeric(type);
  switch (kind) {
    case AggregateKind::kCount: return DataType::kInt64;
    case AggregateKind::kSum:
      if (!number) return DataType::kNone;
      return IsReal(type) ? DataType::kDouble : DataType::kInt64;
    case AggregateKind::kAvg: return number ? DataType::kDouble : DataType::kNone;
    case AggregateKind::kMin:
    case AggregateKind::kMax:
      return number || type == DataType::kVarChar || type == DataType::kTimestamptz ? type : DataType::kNone;
  }
  return DataType::kNone;
}

bool CanGroupBy(DataType type) { return IsOrdered(type) && !IsReal(type); }

Result<ColumnBatch> RunAggregates(const AggregateRequest& request) {
  const bool rows_only = request.group_by.empty() && !request.limit && request.offset == 0 &&
                         std::all_of(request.aggregates.begin(), request.aggregates.end(),
                                     [](const Aggregate& aggregate) { return aggregate.field_id < 0; });
  if (rows_only) {  // the masks' bit counts are enough
    QUIVER_ASSIGN_OR_RETURN(const int64_t rows,
                            Count(request.view, request.filter, request.cancelled, request.explanation));
    ColumnBatch out;
    out.rows = 1;
    out.columns.assign(request.aggregates.size(), Column::Make(-1, DataType::kInt64));
    for (Column& column : out.columns) column.AppendValue(rows);
    return out;
  }
  return OnSoundSegments(request, AggregateSegments);
}

}  // namespace quiver::query
