// The evaluator of element_filter and MATCH_*, and of the former for single elements: the elements of many rows are
// laid side by side as columns, so that the condition is evaluated by the same evaluators as any other, a chunk of
// elements at a time.
#include <algorithm>
#include <cstring>
#include <vector>

#include "expr/element_condition.h"
#include "expr/row_loops.h"

namespace quiver::expr {
namespace {

void CollectFields(const Predicate& predicate, std::vector<int64_t>* ids) {
  if (predicate.field.type != DataType::kNone) ids->push_back(predicate.field.field_id);
  if (predicate.right_field.type != DataType::kNone) ids->push_back(predicate.right_field.field_id);
  for (const PredicatePtr& child : predicate.children) CollectFields(*child, ids);
}

/// Elements of one sub-field, of some rows one after the other.
struct ElementColumn {
  DataType type = DataType::kNone;
  std::vector<std::byte> fixed;
  std::vector<std::string_view> strings;

  void Clear(DataType element_type) {
    type = element_type;
    fixed.clear();
    strings.clear();
  }

  /// Appends elements [begin, end) of an encoded array, whose encoding `position` walks along.
  void Append(std::string_view array, size_t count, size_t* position) {
    const size_t width = FixedWidth(type, 0);
    if (width != 0) {
      const auto* from = reinterpret_cast<const std::byte*>(array.data() + *position);
      fixed.insert(fixed.end(), from, from + count * width);
      *position += count * width;
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      uint32_t length = 0;
      std::memcpy(&length, array.data() + *position, sizeof(length));
      *position += sizeof(length);
      strings.push_back(array.substr(*position, length));
      *position += length;
    }
  }

  [[nodiscard]] ColumnView View(size_t rows) const {
    ColumnView view;
    view.type = type;
    view.width = FixedWidth(type, 0);
    view.rows = rows;
    if (view.width != 0) {
      view.fixed = fixed.data();
    } else {
      view.strings = strings.data();
    }
    return view;
  }
};

/// Ids of the fields that a condition reads, ascending.
std::vector<int64_t> FieldsOf(const Predicate& condition) {
  std::vector<int64_t> ids;
  CollectFields(condition, &ids);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

/// Builds the evaluator of a condition whose columns are those of `ids`, in their order.
EvaluatorPtr BuildCondition(const Predicate& condition, const std::vector<int64_t>& ids) {
  Slots own;
  own.column = [ids](int64_t id) {
    return static_cast<size_t>(std::lower_bound(ids.begin(), ids.end(), id) - ids.begin());
  };
  own.path = [](const FieldRef&) { return kNoPathSlot; };  // elements are no JSON
  return BuildEvaluator(condition, own);
}

/// One pass over rows: gathers elements of the condition's columns until a chunk of them is full, then calls
/// `hit(index, element)` for those that hold, `index` counting the rows that were added.
template <typename Hit>
class ElementPass {
 public:
  /// `columns` are pointers to those of the condition; all outlives the pass.
  ElementPass(const Evaluator& condition, std::vector<const ColumnView*> columns, Hit hit)
      : condition_(condition), sources_(std::move(columns)), hit_(std::move(hit)) {
    columns_.resize(sources_.size());
    positions_.resize(sources_.size());
    views_.resize(sources_.size());
    Clear();
  }

  /// Adds a row with `count` elements.
  void AddRow(size_t row, size_t count) {
    const size_t index = added_++;
    std::fill(positions_.begin(), positions_.end(), sizeof(uint32_t));
    // An array longer than a chunk goes in parts.
    for (size_t done = 0; done < count;) {
      const size_t part = std::min(count - done, kChunkRows - elements_);
      for (size_t i = 0; i < columns_.size(); ++i) columns_[i].Append(sources_[i]->Bytes(row), part, &positions_[i]);
      parts_.push_back({index, elements_, done});
      elements_ += part;
      done += part;
      if (elements_ == kChunkRows) Flush();
    }
  }

  void Flush() {
    if (elements_ == 0) return;
    Chunk elements;
    elements.rows = elements_;
    elements.words = (elements_ + kWordBits - 1) / kWordBits;
    for (size_t i = 0; i < columns_.size(); ++i) views_[i] = columns_[i].View(elements_);
    elements.columns = views_.data();
    BitWords active;
    for (size_t word = 0; word < elements.words; ++word) active[word] = ~uint64_t{0};
    if (const size_t tail = elements_ % kWordBits; tail != 0) active[elements.words - 1] = (uint64_t{1} << tail) - 1;
    Truth truth;
    condition_.Evaluate(elements, active, false, &truth);
    size_t part = 0;
    for (size_t word = 0; word < elements.words; ++word) {
      for (uint64_t hits = truth.is_true[word] & active[word]; hits != 0; hits &= hits - 1) {
        const size_t place = word * kWordBits + static_cast<size_t>(std::countr_zero(hits));
        while (part + 1 < parts_.size() && parts_[part + 1].first <= place) ++part;
        hit_(parts_[part].index, place - parts_[part].first + parts_[part].element);
      }
    }
    Clear();
  }

 private:
  /// Elements of one row in the chunk: they begin at place `first`, with the row's element `element`.
  struct Part {
    size_t index;
    size_t first;
    size_t element;
  };

  void Clear() {
    elements_ = 0;
    parts_.clear();
    for (size_t i = 0; i < columns_.size(); ++i) columns_[i].Clear(sources_[i]->element_type);
  }

  const Evaluator& condition_;
  std::vector<const ColumnView*> sources_;
  Hit hit_;
  size_t added_ = 0;
  size_t elements_ = 0;
  std::vector<ElementColumn> columns_;
  std::vector<size_t> positions_;
  std::vector<ColumnView> views_;
  std::vector<Part> parts_;
};

class ElementsEvaluator final : public Evaluator {
 public:
  ElementsEvaluator(const Predicate& predicate, const Slots& slots)
      : quota_(predicate.quota), count_(predicate.count), length_slot_(slots.column(predicate.field.field_id)) {
    const std::vector<int64_t> ids = FieldsOf(*predicate.children[0]);
    for (const int64_t id : ids) slots_.push_back(slots.column(id));
    condition_ = BuildCondition(*predicate.children[0], ids);
  }

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    struct RowCount {
      size_t row;
      size_t elements;
      size_t hits;
    };
    std::vector<RowCount> counts;
    std::vector<const ColumnView*> columns;
    for (const size_t slot : slots_) columns.push_back(&chunk.columns[slot]);
    ElementPass pass(*condition_, std::move(columns), [&counts](size_t index, size_t) { ++counts[index].hits; });
    for (size_t word = 0; word < chunk.words; ++word) {
      const uint64_t valid = ValidWord(chunk.columns[length_slot_], word, chunk.rows);
      out->is_true[word] = 0;
      if (need_known) out->is_known[word] = valid;
      for (uint64_t left = active[word] & valid; left != 0; left &= left - 1) {
        const size_t row = word * kWordBits + static_cast<size_t>(std::countr_zero(left));
        counts.push_back({row, ArrayReader(chunk.columns[length_slot_].Bytes(row), DataType::kNone).size(), 0});
        pass.AddRow(row, counts.back().elements);
      }
    }
    pass.Flush();
    for (const RowCount& row : counts) {
      if (Holds(row.hits, row.elements)) out->is_true[row.row / kWordBits] |= uint64_t{1} << (row.row % kWordBits);
    }
  }
  [[nodiscard]] int cost() const override { return kArrayCost + condition_->cost(); }

 private:
  [[nodiscard]] bool Holds(size_t hits, size_t elements) const {
    const auto wanted = static_cast<size_t>(count_);
    switch (quota_) {
      case ElementQuota::kAll: return hits == elements;
      case ElementQuota::kAtLeast: return hits >= wanted;
      case ElementQuota::kAtMost: return hits <= wanted;
      case ElementQuota::kExactly: return hits == wanted;
      default: return hits > 0;
    }
  }

  ElementQuota quota_;
  int64_t count_;
  size_t length_slot_;
  std::vector<size_t> slots_;
  EvaluatorPtr condition_;
};

class StoredElementCondition final : public ElementCondition {
 public:
  explicit StoredElementCondition(const Predicate& predicate)
      : ids_(FieldsOf(*predicate.children[0])), condition_(BuildCondition(*predicate.children[0], ids_)) {
    if (ids_.empty()) ids_.push_back(predicate.field.field_id);  // for the lengths
  }

  [[nodiscard]] const std::vector<int64_t>& field_ids() const override { return ids_; }

  void Evaluate(std::span<const ColumnView> columns, size_t rows, const uint64_t* mask,
                RowElements* out) const override {
    std::vector<size_t> added;
    std::vector<uint32_t> counts(rows, 0);
    out->numbers.clear();
    std::vector<const ColumnView*> sources;
    for (const ColumnView& column : columns) sources.push_back(&column);
    ElementPass pass(*condition_, std::move(sources), [&](size_t index, size_t element) {
      ++counts[added[index]];
      out->numbers.push_back(static_cast<uint16_t>(element));
    });
    for (size_t row = 0; row < rows; ++row) {
      const bool wanted = mask == nullptr || (mask[row / kWordBits] >> (row % kWordBits) & 1) != 0;
      if (!wanted || columns[0].IsNull(row)) continue;
      added.push_back(row);
      pass.AddRow(row, ArrayReader(columns[0].Bytes(row), DataType::kNone).size());
    }
    pass.Flush();
    out->begin.assign(1, 0);
    for (const uint32_t count : counts) out->begin.push_back(out->begin.back() + count);
  }

 private:
  std::vector<int64_t> ids_;
  EvaluatorPtr condition_;
};

/// The element_filter of a struct array, which the parser allows as the whole filter or an operand of its `and`.
const Predicate* FindElementFilter(const Predicate& predicate, const CollectionSchema& schema,
                                   std::string_view struct_name) {
  if (predicate.kind == Predicate::Kind::kElements && predicate.is_element_filter) {
    const FieldSchema* field = schema.FindById(predicate.field.field_id);
    return field != nullptr && field->struct_name == struct_name ? &predicate : nullptr;
  }
  if (predicate.kind != Predicate::Kind::kAnd) return nullptr;
  for (const PredicatePtr& child : predicate.children) {
    if (const Predicate* found = FindElementFilter(*child, schema, struct_name); found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<const ElementCondition> ElementCondition::Of(const Filter& filter, const CollectionSchema& schema,
                                                             std::string_view struct_name) {
  const Predicate* found = FindElementFilter(filter.predicate(), schema, struct_name);
  if (found == nullptr) return nullptr;
  return std::make_unique<StoredElementCondition>(*found);
}

EvaluatorPtr BuildElementsEvaluator(const Predicate& predicate, const Slots& slots) {
  return std::make_unique<ElementsEvaluator>(predicate, slots);
}

}  // namespace quiver::expr
