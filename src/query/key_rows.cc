#include "query/key_rows.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <variant>

#include "expr/predicate.h"
#include "segment/segment_index.h"

namespace quiver::query {

namespace {

/// Looking up more values than this one by one takes as long as a scan of a usual segment.
constexpr size_t kMostKeys = 256;

using expr::Predicate;

/// Whether a term is `key == x` or `key in [...]` with so many values.
bool NamesPartitionKeys(const Predicate& term, size_t values) {
  if (!term.field.is_partition_key) return false;
  if (term.kind == Predicate::Kind::kCompare) {
    const bool value =
        std::holds_alternative<int64_t>(term.value.value) || std::holds_alternative<std::string>(term.value.value);
    return term.op == expr::CompareOp::kEqual && value && values == 1;
  }
  if (term.kind != Predicate::Kind::kIn) return false;
  const auto* ints = std::get_if<expr::Literal::Ints>(&term.value.value);
  const auto* strings = std::get_if<expr::Literal::Strings>(&term.value.value);
  return (ints != nullptr ? ints->size() : strings != nullptr ? strings->size() : 0) == values;
}

/// The runs of one value.
Result<std::optional<std::vector<storage::RowRange>>> RunsOf(const engine::CollectionInfo& info,
                                                             const segment::Segment& segment,
                                                             const ScalarValue& value) {
  if (const auto* text = std::get_if<std::string>(&value); text != nullptr) {
    const int64_t partition = info.PartitionOfKey(*text);
    return segment.FindPartitionKey(std::string_view(*text), {&partition, 1});
  }
  const auto* number = std::get_if<int64_t>(&value);
  if (number == nullptr) return std::optional<std::vector<storage::RowRange>>();
  const int64_t partition = info.PartitionOfKey({reinterpret_cast<const char*>(number), sizeof(*number)});
  return segment.FindPartitionKey(*number, {&partition, 1});
}

}  // namespace

Result<std::optional<KeyRows>> FindKeyRows(const engine::CollectionInfo& info, const segment::Segment& segment,
                                           const expr::Filter& filter) {
  const std::vector<ScalarValue>* values = filter.partition_key_values();
  if (values == nullptr || values->size() > kMostKeys || !segment.sealed()) return std::optional<KeyRows>();
  KeyRows found;
  const Predicate& root = filter.predicate();
  if (root.kind == Predicate::Kind::kAnd) {
    const auto names = [&](const expr::PredicatePtr& term) { return NamesPartitionKeys(*term, values->size()); };
    const auto operand = std::ranges::find_if(root.children, names) - root.children.begin();
    if (operand < std::min<ptrdiff_t>(64, std::ssize(root.children))) found.settled = uint64_t{1} << operand;
  } else {
    found.exact = true;
  }
  for (const ScalarValue& value : *values) {
    QUIVER_ASSIGN_OR_RETURN(const auto runs, RunsOf(info, segment, value));
    if (!runs) return std::optional<KeyRows>();
    found.runs.insert(found.runs.end(), runs->begin(), runs->end());
  }
  std::ranges::sort(found.runs, {}, &storage::RowRange::first_row);
  for (const storage::RowRange& run : found.runs) found.count += run.rows;
  return std::optional(std::move(found));
}

const SegmentKeyRows* FindKnown(const std::vector<SegmentKeyRows>& found, const engine::ReadView& view, size_t index) {
  const segment::Segment* const wanted = view.segments[index].get();
  // Nearly always the segments are those of the view.
  if (index < found.size() && found[index].segment.get() == wanted) return &found[index];
  const auto known = std::ranges::find(found, wanted, [](const SegmentKeyRows& one) { return one.segment.get(); });
  return known == found.end() ? nullptr : &*known;
}

uint64_t MostMatches(const engine::CollectionInfo& info, const segment::Segment& segment, const expr::Filter& filter,
                     std::optional<KeyRows>* keys) {
  uint64_t most = segment.row_count();
  if (!segment.sealed()) return most;
  if (auto found = FindKeyRows(info, segment, filter); found.ok() && *found) {
    most = (*found)->count;
    if (keys != nullptr) *keys = *std::move(found);
  }
  const Predicate& root = filter.predicate();
  const auto ask = [&](const Predicate& term, const index::ScalarIndex& index) {
    if (term.kind == Predicate::Kind::kOr || term.kind == Predicate::Kind::kNot) return;
    if (term.kind == Predicate::Kind::kCompare && term.op == expr::CompareOp::kNotEqual) return;
    if (const auto answer = index.Answer(term); answer != nullptr) most = std::min(most, answer->most);
  };
  const std::vector<int64_t>& fields = filter.field_ids();
  const auto ranges = segment.ScalarIndexes();
  if (ranges == nullptr || ranges->empty()) return most;
  for (const auto& index : ranges->front().indexes) {
    if (!std::ranges::binary_search(fields, index->field_id()) || index->damaged()) continue;
    if (!index->scalar()->found_sound()) continue;
    if (root.kind != Predicate::Kind::kAnd) ask(root, *index->scalar());
    for (const expr::PredicatePtr& term : root.children) {
      if (root.kind == Predicate::Kind::kAnd) ask(*term, *index->scalar());
    }
  }
  return most;
}

}  // namespace quiver::query
