// The evaluator of element_filter and MATCH_*: the elements of many rows are laid side by side as columns, so that the
// condition is evaluated by the same evaluators as any other, a chunk of elements at a time.
#include <algorithm>
#include <cstring>
#include <vector>

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

class ElementsEvaluator final : public Evaluator {
 public:
  ElementsEvaluator(const Predicate& predicate, const Slots& slots)
      : quota_(predicate.quota), count_(predicate.count), length_slot_(slots.column(predicate.field.field_id)) {
    std::vector<int64_t> ids;
    CollectFields(*predicate.children[0], &ids);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const int64_t id : ids) slots_.push_back(slots.column(id));
    Slots own;
    own.column = [ids](int64_t id) {
      return static_cast<size_t>(std::lower_bound(ids.begin(), ids.end(), id) - ids.begin());
    };
    own.path = [](const FieldRef&) { return kNoPathSlot; };  // elements are no JSON
    condition_ = BuildEvaluator(*predicate.children[0], own);
  }

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    Run run(*this, chunk, out);
    for (size_t word = 0; word < chunk.words; ++word) {
      const uint64_t valid = ValidWord(chunk.columns[length_slot_], word, chunk.rows);
      out->is_true[word] = 0;
      if (need_known) out->is_known[word] = valid;
      for (uint64_t left = active[word] & valid; left != 0; left &= left - 1) {
        run.AddRow(word * kWordBits + static_cast<size_t>(std::countr_zero(left)));
      }
    }
    run.Flush();
  }
  [[nodiscard]] int cost() const override { return kArrayCost + condition_->cost(); }

 private:
  /// One pass over a chunk: gathers elements until a chunk of them is full, then counts those that hold.
  class Run {
   public:
    Run(const ElementsEvaluator& self, const Chunk& chunk, Truth* out) : self_(self), chunk_(chunk), out_(out) {
      columns_.resize(self.slots_.size());
      positions_.resize(self.slots_.size());
      views_.resize(self.slots_.size());
      Clear();
    }

    void AddRow(size_t row) {
      const ArrayReader lengths(chunk_.columns[self_.length_slot_].Bytes(row), DataType::kNone);
      size_t left = lengths.size();
      rows_.push_back({row, left, 0});
      std::fill(positions_.begin(), positions_.end(), sizeof(uint32_t));
      // An array longer than a chunk goes in parts; the row stays the last one until the next comes.
      while (left > 0) {
        const size_t part = std::min(left, kChunkRows - elements_);
        for (size_t i = 0; i < columns_.size(); ++i) {
          columns_[i].Append(chunk_.columns[self_.slots_[i]].Bytes(row), part, &positions_[i]);
        }
        owners_.insert(owners_.end(), part, static_cast<uint32_t>(rows_.size() - 1));
        elements_ += part;
        left -= part;
        if (elements_ == kChunkRows) Count();
      }
    }

    void Flush() {
      Count();
      for (const RowCount& row : rows_) {
        if (self_.Holds(row.hits, row.elements))
          out_->is_true[row.row / kWordBits] |= uint64_t{1} << (row.row % kWordBits);
      }
    }

   private:
    struct RowCount {
      size_t row;
      size_t elements;
      size_t hits;
    };

    void Clear() {
      elements_ = 0;
      owners_.clear();
      for (size_t i = 0; i < columns_.size(); ++i) {
        columns_[i].Clear(chunk_.columns[self_.slots_[i]].element_type);
      }
    }

    void Count() {
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
      self_.condition_->Evaluate(elements, active, false, &truth);
      for (size_t word = 0; word < elements.words; ++word) {
        for (uint64_t hits = truth.is_true[word] & active[word]; hits != 0; hits &= hits - 1) {
          ++rows_[owners_[word * kWordBits + static_cast<size_t>(std::countr_zero(hits))]].hits;
        }
      }
      Clear();
    }

    const ElementsEvaluator& self_;
    const Chunk& chunk_;
    Truth* out_;
    size_t elements_ = 0;
    std::vector<ElementColumn> columns_;
    std::vector<size_t> positions_;
    std::vector<ColumnView> views_;
    std::vector<uint32_t> owners_;  // index in rows_ of each element
    std::vector<RowCount> rows_;
  };

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

}  // namespace

EvaluatorPtr BuildElementsEvaluator(const Predicate& predicate, const Slots& slots) {
  return std::make_unique<ElementsEvaluator>(predicate, slots);
}

}  // namespace quiver::expr
