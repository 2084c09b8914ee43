// File: index/internal/file_index.h
// FileIndex: what the structures of scalar indexes have in common: the file they lie in, the rows without a value, and
// whether a term speaks of what was indexed. Thread rule: immutable; may be shared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "expr/term_index.h"
#include "index/internal/section_file.h"
#include "index/scalar_index.h"

namespace quiver::index {

/// Nanoseconds to find one value.
inline constexpr double kFindPrice = 150;

class NullAnswer final : public expr::TermAnswer {
 public:
  explicit NullAnswer(std::span<const uint32_t> nulls) : nulls_(nulls) {
    least = most = nulls.size();
    nanoseconds = static_cast<double>(nulls.size());
  }
  void AddTo(expr::RowSet* rows) const override { rows->Add(nulls_); }

 private:
  std::span<const uint32_t> nulls_;
};

/// An open index file.
struct IndexBase {
  SectionFile file;
  ScalarRecipe recipe;
  uint32_t rows;
  std::span<const uint32_t> nulls;
};

class FileIndex : public ScalarIndex {
 public:
  explicit FileIndex(IndexBase base) : base_(std::move(base)) {}
  [[nodiscard]] const ScalarRecipe& recipe() const final { return base_.recipe; }
  [[nodiscard]] uint32_t row_count() const final { return base_.rows; }
  [[nodiscard]] Status EnsureSound() const final { return base_.file.EnsureSound(); }
  [[nodiscard]] bool found_sound() const final { return base_.file.found_sound(); }
  [[nodiscard]] std::span<const uint32_t> null_rows() const final { return base_.nulls; }
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> Answer(const expr::Predicate& term) const final {
    if (term.field.field_id != base_.recipe.field_id || term.field.type != base_.recipe.type) return nullptr;
    if (term.kind == expr::Predicate::Kind::kIsNull) {
      if (!term.field.path.empty()) return nullptr;
      return std::make_unique<NullAnswer>(base_.nulls);
    }
    return Covers(term.field.path) ? AnswerTerm(term) : nullptr;
  }

 protected:
  /// Whether what stands at a place is in the index.
  [[nodiscard]] virtual bool Covers(const std::vector<expr::PathStep>& place) const {
    const auto same = [](const expr::PathStep& step, const std::string& key) { return step.key == key; };
    const std::vector<std::string>& path = base_.recipe.path;
    return std::equal(place.begin(), place.end(), path.begin(), path.end(), same);
  }
  /// As Answer, for a term other than kIsNull that speaks of what is indexed.
  [[nodiscard]] virtual std::unique_ptr<expr::TermAnswer> AnswerTerm(const expr::Predicate& term) const = 0;
  [[nodiscard]] const IndexBase& base() const { return base_; }

 private:
  const IndexBase base_;
};

}  // namespace quiver::index
