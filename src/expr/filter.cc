#include "expr/filter.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "expr/canonical_key.h"
#include "expr/evaluator.h"
#include "expr/filter_trace.h"
#include "expr/predicate.h"
#include "schema/default_column.h"

namespace quiver::expr {
namespace {

/// Values of a field that a page does not have (the field is younger than the page): its default, or NULL, for as many
/// rows as a chunk has. Made when first needed.
class AbsentColumn {
 public:
  explicit AbsentColumn(FieldSchema field) : field_(std::move(field)) { field_.nullable = !field_.is_dynamic; }

  ColumnView View() const {
    std::call_once(once_, [this] { column_ = DefaultColumn(field_, kChunkRows); });
    return ViewOf(column_);
  }

 private:
  FieldSchema field_;
  mutable std::once_flag once_;
  mutable Column column_;
};

/// The part of a view that begins at row `begin`.
ColumnView Advance(ColumnView view, size_t begin) {
  if (view.valid != nullptr) view.valid += begin;
  if (view.fixed != nullptr) view.fixed += begin * view.width;
  if (view.strings != nullptr) view.strings += begin;
  if (view.offsets != nullptr) view.offsets += begin;
  if (view.offsets32 != nullptr) view.offsets32 += begin;
  if (view.codes8 != nullptr) view.codes8 += begin;
  if (view.codes16 != nullptr) view.codes16 += begin;
  return view;
}

/// So few rows of a page are tested one by one, not in passes over its words.
constexpr size_t kMostListed = 256;

/// The positions of the rows of a bit map, in order, and how many there are; nothing where there are too many.
std::optional<size_t> ListRows(const uint64_t* bits, size_t words, std::array<uint16_t, kMostListed>* rows) {
  size_t count = 0;
  for (size_t word = 0; word < words; ++word) {
    if (count + static_cast<size_t>(std::popcount(bits[word])) > kMostListed) return std::nullopt;
    for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
      (*rows)[count++] = static_cast<uint16_t>(word * kWordBits + static_cast<size_t>(std::countr_zero(left)));
    }
  }
  return count;
}

/// Asks for the values of rows of all columns at once: they lie far apart, and terms are tested one after another.
void Prefetch(const ColumnView& view, std::span<const uint16_t> rows) {
  for (const uint16_t row : rows) {
    if (view.fixed != nullptr) {
      __builtin_prefetch(view.fixed + row * view.width);
    } else if (view.codes8 != nullptr) {
      __builtin_prefetch(view.codes8 + row);
    } else if (view.offsets32 != nullptr) {
      __builtin_prefetch(view.offsets32 + row);
    } else if (view.offsets != nullptr) {
      __builtin_prefetch(view.offsets + row);
    }
  }
}

/// Facts of a page by slot.
class PageKnowledge {
 public:
  explicit PageKnowledge(size_t slots) {
    if (slots <= kInline) return;
    many_facts_.resize(slots);
    many_pointers_.resize(slots);
  }
  /// Returns whether there are any.
  bool Read(const ColumnSource& page, const std::vector<int64_t>& field_ids) {
    PageFacts* facts = many_facts_.data();
    if (many_facts_.empty()) {
      facts = reinterpret_cast<PageFacts*>(inline_facts_);
      static_assert(std::is_trivially_destructible_v<PageFacts>);
      std::uninitialized_default_construct_n(facts, field_ids.size());
    }
    const PageFacts** const pointers = many_facts_.empty() ? pointers_.data() : many_pointers_.data();
    bool any = false;
    for (size_t i = 0; i < field_ids.size(); ++i) {
      const bool known = page.Facts(field_ids[i], &facts[i]);
      pointers[i] = known ? &facts[i] : nullptr;
      any = any || known;
    }
    return any;
  }
  /// Adds what is known of whole segments; after Read.
  void ReadStatistics(const ColumnSource& page, const std::vector<int64_t>& field_ids) {
    auto* facts = many_facts_.empty() ? reinterpret_cast<PageFacts*>(inline_facts_) : many_facts_.data();
    for (size_t i = 0; i < field_ids.size(); ++i) {
      if (by_slot()[i] != nullptr) facts[i].values = page.Statistics(field_ids[i]);
    }
  }
  [[nodiscard]] const PageFacts* const* by_slot() const {
    return many_facts_.empty() ? pointers_.data() : many_pointers_.data();
  }

 private:
  static constexpr size_t kInline = 8;
  alignas(PageFacts) std::byte inline_facts_[kInline * sizeof(PageFacts)];  ///< made for the slots that there are
  std::array<const PageFacts*, kInline> pointers_{};
  std::vector<PageFacts> many_facts_;
  std::vector<const PageFacts*> many_pointers_;
};

class CompiledFilter final : public Filter {
 public:
  CompiledFilter(PredicatePtr root, const CollectionSchema& schema) : root_(std::move(root)) {
    CollectFields(*root_);
    std::sort(field_ids_.begin(), field_ids_.end());
    field_ids_.erase(std::unique(field_ids_.begin(), field_ids_.end()), field_ids_.end());
    for (const int64_t field_id : field_ids_) {
      absent_.push_back(std::make_shared<AbsentColumn>(*schema.FindById(field_id)));
    }
    Build();
  }
  /// A traced form of `plain`.
  CompiledFilter(const CompiledFilter& plain, FilterTrace* trace)
      : root_(plain.root_), field_ids_(plain.field_ids_), absent_(plain.absent_), trace_(trace) {
    Build();
  }

  [[nodiscard]] std::shared_ptr<const Filter> Traced(FilterTrace* trace) const override {
    return std::make_shared<CompiledFilter>(*this, trace);
  }

  void Estimate(const ColumnSource& page) const override {
    if (trace_ == nullptr) return;
    PageKnowledge knowledge(field_ids_.size());
    Chunk chunk;
    chunk.rows = page.row_count();
    if (knowledge.Read(page, field_ids_)) {
      knowledge.ReadStatistics(page, field_ids_);
      chunk.facts = knowledge.by_slot();
    }
    EstimateNode(trace_->nodes.front(), chunk);
  }

  [[nodiscard]] bool always_true() const override { return root_->is_constant(true); }
  [[nodiscard]] bool always_false() const override { return root_->is_constant(false); }

  void Evaluate(const ColumnSource& page, uint64_t* mask) const override {
    const size_t page_rows = page.row_count();
    PageKnowledge knowledge(page_rows <= kChunkRows ? field_ids_.size() : 0);
    const bool known = page_rows <= kChunkRows && knowledge.Read(page, field_ids_);
    if (known) {
      // The whole page may be settled before any value of it is touched.
      Chunk chunk;
      chunk.rows = page_rows;
      chunk.words = (page_rows + kWordBits - 1) / kWordBits;
      chunk.facts = knowledge.by_slot();
      const Outcomes outcomes = evaluator_->Judge(chunk);
      if (trace_ != nullptr && (!outcomes.may_be_true || outcomes.decided())) ++trace_->pages_settled;
      if (!outcomes.may_be_true) return;
      if (outcomes.decided()) {
        for (size_t word = 0; word < chunk.words; ++word) mask[word] = ~uint64_t{0};
        if (const size_t tail = page_rows % kWordBits; tail != 0) mask[chunk.words - 1] = (uint64_t{1} << tail) - 1;
        return;
      }
    }
    EvaluateRows(page, known ? knowledge.by_slot() : nullptr, 0, nullptr, mask);
  }

  void EvaluateRest(const ColumnSource& page, uint64_t settled, const uint64_t* candidates,
                    uint64_t* mask) const override {
    EvaluateRows(page, nullptr, settled, candidates, mask);
  }

  [[nodiscard]] const PrimaryKeys* primary_keys() const override { return exact_keys_ ? &*primary_keys_ : nullptr; }
  [[nodiscard]] const PrimaryKeys* primary_key_candidates() const override {
    return primary_keys_.has_value() ? &*primary_keys_ : nullptr;
  }
  [[nodiscard]] const Predicate& predicate() const override { return *root_; }
  [[nodiscard]] const std::string& canonical_key() const override {
    std::call_once(key_once_, [this] { canonical_key_ = CanonicalKey(*root_); });
    return canonical_key_;
  }
  [[nodiscard]] const std::vector<int64_t>& field_ids() const override { return field_ids_; }
  [[nodiscard]] const std::vector<ScalarValue>* partition_key_values() const override {
    return partition_key_values_.has_value() ? &*partition_key_values_ : nullptr;
  }

 private:
  void Build() {
    json_.resize(field_ids_.size());
    whole_.resize(field_ids_.size());
    FindPaths(*root_);
    evaluator_ = BuildEvaluator(*root_, {.column = [this](int64_t field_id) { return SlotOf(field_id); },
                                         .path = [this](const FieldRef& field) { return PathSlotOf(field); },
                                         .trace = trace_});
    FindKeys(*root_, true);
    if (root_->kind == Predicate::Kind::kAnd) {
      for (const PredicatePtr& child : root_->children) {
        FindKeys(*child, false);
        operand_slots_.push_back(SlotsOf(*child));
      }
    }
  }

  /// The share of rows of a chunk that a node is expected to keep; adds them up in the trace.
  double EstimateNode(NodeTrace& node, const Chunk& chunk) const {
    double share = 0;
    switch (node.predicate->kind) {
      case Predicate::Kind::kConstant: share = node.predicate->constant ? 1 : 0; break;
      case Predicate::Kind::kNot: share = 1 - EstimateNode(trace_->nodes[node.children[0]], chunk); break;
      case Predicate::Kind::kAnd:
      case Predicate::Kind::kOr: {
        // As if the terms were independent.
        const bool all = node.predicate->kind == Predicate::Kind::kAnd;
        double left = 1;
        for (const size_t child : node.children) {
          const double one = EstimateNode(trace_->nodes[child], chunk);
          left *= all ? one : 1 - one;
        }
        share = all ? left : 1 - left;
        break;
      }
      default: share = node.evaluator->Selectivity(chunk);
    }
    node.estimated_rows += share * static_cast<double>(chunk.rows);
    return share;
  }

  /// Evaluates the rows of a page, or only those of `candidates`.
  void EvaluateRows(const ColumnSource& page, const PageFacts* const* facts, uint64_t settled,
                    const uint64_t* candidates, uint64_t* mask) const {
    if (trace_ != nullptr) ++trace_->pages_evaluated;
    // Only as many views are made as there are columns: a page of a narrow column is read in less time than it takes to
    // clear the room for sixteen.
    constexpr size_t kInlineColumns = 16;
    alignas(ColumnView) std::byte inline_views[kInlineColumns * sizeof(ColumnView)];
    std::vector<ColumnView> many_views;
    auto* views = reinterpret_cast<ColumnView*>(inline_views);
    const size_t fields = field_ids_.size();
    const size_t count = fields + paths_.size();
    if (count * 2 > kInlineColumns) {
      many_views.resize(count * 2);
      views = many_views.data();
    } else {
      static_assert(std::is_trivially_destructible_v<ColumnView>);
      std::uninitialized_default_construct_n(views, count * 2);
    }
    // Where documents come in binary form; looked at only where the filter reads JSON.
    std::array<const JsonKeyTable*, kInlineColumns> inline_keys;
    std::vector<const JsonKeyTable*> many_keys;
    const JsonKeyTable** json_keys = nullptr;
    if (reads_json_) {
      if (fields > kInlineColumns) many_keys.resize(fields);
      json_keys = fields > kInlineColumns ? many_keys.data() : inline_keys.data();
      std::fill_n(json_keys, fields, nullptr);
    }
    const uint64_t unread = UnreadSlots(settled);
    const auto is_read = [unread](size_t slot) { return slot >= 64 || ((unread >> slot) & 1U) == 0; };
    for (size_t i = 0; i < fields; ++i) {
      if (is_read(i)) views[i] = ColumnOf(page, i, views + fields, json_keys);
    }

    const size_t rows = page.row_count();
    const bool one_chunk = rows <= kChunkRows;  // as pages of segments are: no views of parts are needed
    const auto chunk_of = [&](size_t begin, size_t end) {
      Chunk chunk;
      chunk.rows = end - begin;
      chunk.words = (chunk.rows + kWordBits - 1) / kWordBits;
      ColumnView* const own = one_chunk ? views : views + count;
      chunk.columns = own;
      chunk.paths = own + fields;
      chunk.json_keys = json_keys;
      chunk.facts = facts;
      chunk.first_row_id = page.first_row_id() + begin;
      chunk.settled_chain = evaluator_->counted();
      chunk.settled = settled;
      for (size_t i = 0; i < count; ++i) {
        if (i < fields && !is_read(i)) continue;
        if (i < fields && !views[i].present()) {
          own[i] = absent_[i]->View();
        } else if (!one_chunk) {
          own[i] = Advance(views[i], begin);
        }
      }
      return chunk;
    };
    if (candidates != nullptr && one_chunk) {
      std::array<uint16_t, kMostListed> listed;
      if (const std::optional<size_t> size = ListRows(candidates, (rows + kWordBits - 1) / kWordBits, &listed)) {
        const Chunk chunk = chunk_of(0, rows);
        for (size_t i = 0; i < fields; ++i) {
          if (is_read(i)) Prefetch(chunk.columns[i], {listed.data(), *size});
        }
        const size_t kept = *size == 0 ? 0 : evaluator_->Keep(chunk, listed.data(), *size);
        std::fill_n(mask, chunk.words, 0);
        for (size_t i = 0; i < kept; ++i) mask[listed[i] / kWordBits] |= uint64_t{1} << (listed[i] % kWordBits);
        return;
      }
    }
    BitWords active;
    Truth truth;
    const auto evaluate = [&](size_t begin, size_t end) {
      const Chunk chunk = chunk_of(begin, end);
      if (candidates != nullptr) {
        std::copy_n(candidates + begin / kWordBits, chunk.words, active.begin());
      } else {
        std::fill_n(active.begin(), chunk.words, ~uint64_t{0});
      }
      if (const size_t tail = chunk.rows % kWordBits; tail != 0) {
        active[chunk.words - 1] &= (uint64_t{1} << tail) - 1;
      }
      evaluator_->Evaluate(chunk, active, false, &truth);
      uint64_t* out = mask + begin / kWordBits;
      for (size_t word = 0; word < chunk.words; ++word) out[word] = truth.is_true[word] & active[word];
    };
    for (size_t begin = 0; begin < rows; begin += kChunkRows) evaluate(begin, std::min(rows, begin + kChunkRows));
  }

  /// Field slots, of the first 64, that nothing but settled operands of the top-level `and` reads.
  [[nodiscard]] uint64_t UnreadSlots(uint64_t settled) const {
    if (settled == 0) return 0;
    uint64_t read = 0;
    for (size_t i = 0; i < operand_slots_.size(); ++i) {
      if (i >= 64 || ((settled >> i) & 1U) == 0) read |= operand_slots_[i];
    }
    return ~read;
  }

  /// The first 64 field slots that a predicate reads.
  [[nodiscard]] uint64_t SlotsOf(const Predicate& predicate) const {
    uint64_t slots = 0;
    for (const FieldRef* field : {&predicate.field, &predicate.right_field}) {
      if (field->type == DataType::kNone) continue;
      if (const size_t slot = SlotOf(field->field_id); slot < 64) slots |= uint64_t{1} << slot;
    }
    for (const PredicatePtr& child : predicate.children) slots |= SlotsOf(*child);
    return slots;
  }

  /// A place in a JSON field that a page may keep as a column.
  struct Path {
    size_t slot;  ///< of the field
    std::vector<std::string> keys;
    bool operator==(const Path&) const = default;
  };

  [[nodiscard]] size_t SlotOf(int64_t field_id) const {
    return static_cast<size_t>(std::lower_bound(field_ids_.begin(), field_ids_.end(), field_id) - field_ids_.begin());
  }

  [[nodiscard]] Path PathOf(const FieldRef& field) const {
    Path path{.slot = SlotOf(field.field_id), .keys = {}};
    for (const PathStep& step : field.path) path.keys.push_back(step.key);
    return path;
  }

  /// Positions in arrays are not kept as columns.
  static bool MayBeColumn(const FieldRef& field) {
    return field.type == DataType::kJson && !field.path.empty() &&
           std::none_of(field.path.begin(), field.path.end(), [](const PathStep& step) { return step.index >= 0; });
  }

  [[nodiscard]] size_t PathSlotOf(const FieldRef& field) const {
    if (!MayBeColumn(field)) return kNoPathSlot;
    return static_cast<size_t>(std::find(paths_.begin(), paths_.end(), PathOf(field)) - paths_.begin());
  }

  /// Lists the paths, and the JSON fields that are also looked at in other ways.
  void FindPaths(const Predicate& predicate) {
    for (const FieldRef* field : {&predicate.field, &predicate.right_field}) {
      if (field->type != DataType::kJson) continue;
      reads_json_ = true;
      json_[SlotOf(field->field_id)] = true;
      if (!MayBeColumn(*field)) {
        if (predicate.kind != Predicate::Kind::kIsNull) whole_[SlotOf(field->field_id)] = true;
      } else if (PathSlotOf(*field) == paths_.size()) {
        paths_.push_back(PathOf(*field));
      }
    }
    for (const PredicatePtr& child : predicate.children) FindPaths(*child);
  }

  /// The column of field slot `i`. Its values stay untouched where `path_views` has all that is asked of them, and its
  /// texts where there are documents in binary form: those are the values then, and json_keys[i] is set.
  [[nodiscard]] ColumnView ColumnOf(const ColumnSource& page, size_t i, ColumnView* path_views,
                                    const JsonKeyTable** json_keys) const {
    bool all = !paths_.empty() && !whole_[i];
    bool any = false;
    for (size_t p = 0; p < paths_.size(); ++p) {
      if (paths_[p].slot != i) continue;
      any = true;
      path_views[p] = page.json_path(field_ids_[i], paths_[p].keys);
      all = all && path_views[p].present();
    }
    if (any && all) return page.validity(field_ids_[i]);
    if (json_[i]) {
      const JsonForms forms = page.json_forms(field_ids_[i]);
      json_keys[i] = forms.keys;
      if (forms.keys != nullptr) return forms.view;
    }
    return page.column(field_ids_[i]);
  }

  void CollectFields(const Predicate& predicate) {
    if (predicate.field.type != DataType::kNone) field_ids_.push_back(predicate.field.field_id);
    if (predicate.right_field.type != DataType::kNone) field_ids_.push_back(predicate.right_field.field_id);
    for (const PredicatePtr& child : predicate.children) CollectFields(*child);
  }

  /// Notes the keys of a term `key == x` or `key in [...]`.
  void FindKeys(const Predicate& term, bool whole_filter) {
    const bool equality = term.kind == Predicate::Kind::kCompare && term.op == CompareOp::kEqual;
    if (!equality && term.kind != Predicate::Kind::kIn) return;
    if (!term.field.is_primary && !term.field.is_partition_key) return;
    PrimaryKeys keys;
    if (const auto* ints = std::get_if<Literal::Ints>(&term.value.value)) {
      keys.ints = *ints;
    } else if (const auto* strings = std::get_if<Literal::Strings>(&term.value.value)) {
      keys.strings = *strings;
    } else if (const auto* integer = std::get_if<int64_t>(&term.value.value)) {
      keys.ints.push_back(*integer);
    } else if (const auto* text = std::get_if<std::string>(&term.value.value)) {
      keys.strings.push_back(*text);
    } else {
      return;
    }
    const size_t size = keys.ints.size() + keys.strings.size();
    if (term.field.is_partition_key && (!partition_key_values_.has_value() || size < partition_key_values_->size())) {
      std::vector<ScalarValue>& values = partition_key_values_.emplace();
      values.assign(keys.ints.begin(), keys.ints.end());
      values.insert(values.end(), keys.strings.begin(), keys.strings.end());
    }
    if (term.field.is_primary &&
        (!primary_keys_.has_value() || size < primary_keys_->ints.size() + primary_keys_->strings.size())) {
      primary_keys_ = std::move(keys);
      exact_keys_ = whole_filter;
    }
  }

  std::shared_ptr<const Predicate> root_;
  std::vector<int64_t> field_ids_;
  bool reads_json_ = false;
  std::vector<bool> json_;   ///< by field slot: a JSON field
  std::vector<bool> whole_;  ///< by field slot: a JSON field of which more than paths_ is asked
  std::vector<Path> paths_;
  std::vector<std::shared_ptr<const AbsentColumn>> absent_;
  EvaluatorPtr evaluator_;
  std::vector<uint64_t> operand_slots_;  ///< of a top-level `and`
  std::optional<PrimaryKeys> primary_keys_;
  bool exact_keys_ = false;
  std::optional<std::vector<ScalarValue>> partition_key_values_;
  FilterTrace* trace_ = nullptr;  ///< of a traced filter
  mutable std::once_flag key_once_;
  mutable std::string canonical_key_;
};

bool IsBlank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

}  // namespace

Result<std::shared_ptr<const Filter>> Filter::Compile(std::string_view text, const CollectionSchema& schema,
                                                      const TemplateValues& values, const TimeZone& zone) {
  PredicatePtr root;
  if (IsBlank(text)) {
    root = std::make_unique<Predicate>();
    root->constant = true;
  } else {
    auto tree = SyntaxTree::Parse(text);
    if (!tree.ok()) {
      return tree.status().WithContext(fmt::format("cannot parse expression: {}, error", QuoteForError(text)));
    }
    QUIVER_ASSIGN_OR_RETURN(root, Analyze(**tree, text, schema, values, zone));
  }
  return std::shared_ptr<const Filter>(std::make_shared<CompiledFilter>(std::move(root), schema));
}

}  // namespace quiver::expr
