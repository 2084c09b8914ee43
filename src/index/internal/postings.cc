#include "index/internal/postings.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include "base/bytes.h"

namespace quiver::index {

namespace {

// Sections; the numbers are part of the file format.
constexpr uint32_t kSizesSection = 2;
constexpr uint32_t kValuesSection = 3;
constexpr uint32_t kTextSection = 4;
constexpr uint32_t kStartsSection = 5;
constexpr uint32_t kListedSection = 6;
constexpr uint32_t kDenseSection = 7;
constexpr uint32_t kDenseCountsSection = 8;
constexpr uint32_t kDenseWordsSection = 9;

/// A value of at least one row in so many has a bit map: it is not larger than the list.
constexpr uint64_t kDenseShare = 32;
/// Fewer rows than these are read from a list faster than from any bit map.
constexpr uint64_t kLeastDense = 256;

constexpr double kListedPrice = 1.2;
constexpr double kDenseWordPrice = 0.3;

}  // namespace

ValueDomain DomainOf(DataType type) {
  if (IsFloating(type)) return ValueDomain::kReals;
  return type == DataType::kVarChar || type == DataType::kString ? ValueDomain::kTexts : ValueDomain::kIntegers;
}

template <typename Value>
Status PostingsLayout<Value>::Add(const Value& value, std::span<const uint32_t> rows) {
  size_ += rows.size();
  if (size_ >= std::numeric_limits<uint32_t>::max()) {
    return Error(StatusCode::kIndexNotSupported, "it has {} entries, too many for one index", size_);
  }
  if constexpr (std::is_same_v<Value, std::string_view>) {
    text_ += value;
    if (text_.size() > std::numeric_limits<uint32_t>::max()) {
      return Error(StatusCode::kIndexNotSupported, "its values have more than 4 GiB");
    }
    text_offsets_.push_back(static_cast<uint32_t>(text_.size()));
  } else {
    values_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  if (rows.size() >= kLeastDense && rows.size() * kDenseShare >= rows_) {
    dense_.push_back(value_count_);
    dense_counts_.push_back(static_cast<uint32_t>(rows.size()));
    const size_t base = dense_words_.size();
    dense_words_.resize(base + (size_t{rows_} + 63) / 64);
    for (const uint32_t row : rows) dense_words_[base + row / 64] |= uint64_t{1} << (row % 64);
  } else {
    listed_.insert(listed_.end(), rows.begin(), rows.end());
  }
  starts_.push_back(static_cast<uint32_t>(listed_.size()));
  ++value_count_;
  return Status::Ok();
}

template <typename Value>
void PostingsLayout<Value>::Finish(SectionFileWriter& writer) {
  ByteWriter sizes;
  sizes.Value(value_count_);
  sizes.Value(static_cast<uint32_t>(listed_.size()));
  sizes.Value(static_cast<uint32_t>(dense_.size()));
  sizes.Value(size_);
  writer.Add(kSizesSection, sizes.Take());
  if constexpr (std::is_same_v<Value, std::string_view>) {
    writer.AddValues<uint32_t>(kValuesSection, text_offsets_);
    writer.Add(kTextSection, std::move(text_));
  } else {
    writer.Add(kValuesSection, std::move(values_));
  }
  // Where every value has one row, its place in the list is its own.
  if (!dense_.empty() || value_count_ != listed_.size()) writer.AddValues<uint32_t>(kStartsSection, starts_);
  writer.AddValues<uint32_t>(kListedSection, listed_);
  writer.AddValues<uint32_t>(kDenseSection, dense_);
  writer.AddValues<uint32_t>(kDenseCountsSection, dense_counts_);
  writer.AddValues<uint64_t>(kDenseWordsSection, dense_words_);
}

template class PostingsLayout<int64_t>;

template <typename Value>
Status PostingsBuilder::FinishValues(std::vector<std::pair<Value, uint32_t>>& pairs, SectionFileWriter& writer) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  PostingsLayout<Value> layout(rows_);
  std::vector<uint32_t> rows;
  for (size_t begin = 0; begin < pairs.size();) {
    rows.clear();
    size_t end = begin;
    for (; end < pairs.size() && pairs[end].first == pairs[begin].first; ++end) rows.push_back(pairs[end].second);
    QUIVER_RETURN_IF_ERROR(layout.Add(pairs[begin].first, rows));
    begin = end;
  }
  pairs = {};
  layout.Finish(writer);
  return Status::Ok();
}

Status PostingsBuilder::Finish(SectionFileWriter& writer) {
  switch (domain_) {
    case ValueDomain::kIntegers: return FinishValues(integers_, writer);
    case ValueDomain::kReals: return FinishValues(reals_, writer);
    default: return FinishValues(texts_, writer);
  }
}

Result<Postings> Postings::Open(const SectionFile& file, ValueDomain domain, uint32_t rows) {
  Postings postings;
  postings.rows_ = rows;
  ByteReader sizes(file.Section(kSizesSection));
  postings.value_count_ = sizes.Value<uint32_t>();
  const auto listed = sizes.Value<uint32_t>();
  const auto dense = sizes.Value<uint32_t>();
  postings.size_ = sizes.Value<uint64_t>();
  if (!sizes.ok() || !sizes.AtEnd() || dense > postings.value_count_) return file.Damaged("its sizes are wrong");
  const size_t count = postings.value_count_;
  const size_t words = (size_t{rows} + 63) / 64;
  switch (domain) {
    case ValueDomain::kIntegers: {
      QUIVER_ASSIGN_OR_RETURN(postings.integers_, file.Values<int64_t>(kValuesSection, count));
      break;
    }
    case ValueDomain::kReals: {
      QUIVER_ASSIGN_OR_RETURN(postings.reals_, file.Values<double>(kValuesSection, count));
      break;
    }
    default: {
      QUIVER_ASSIGN_OR_RETURN(postings.text_offsets_, file.Values<uint32_t>(kValuesSection, count + 1));
      postings.text_bytes_ = file.Section(kTextSection);
    }
  }
  QUIVER_ASSIGN_OR_RETURN(postings.listed_, file.Values<uint32_t>(kListedSection, listed));
  if (dense != 0 || count != listed) {
    QUIVER_ASSIGN_OR_RETURN(postings.starts_, file.Values<uint32_t>(kStartsSection, count + 1));
  }
  QUIVER_ASSIGN_OR_RETURN(postings.dense_, file.Values<uint32_t>(kDenseSection, dense));
  QUIVER_ASSIGN_OR_RETURN(postings.dense_counts_, file.Values<uint32_t>(kDenseCountsSection, dense));
  QUIVER_ASSIGN_OR_RETURN(postings.dense_words_, file.Values<uint64_t>(kDenseWordsSection, dense * words));
  return postings;
}

Postings::Range Postings::DenseIn(Range range) const {
  const auto first = std::lower_bound(dense_.begin(), dense_.end(), range.begin);
  const auto last = std::lower_bound(first, dense_.end(), range.end);
  return {static_cast<uint32_t>(first - dense_.begin()), static_cast<uint32_t>(last - dense_.begin())};
}

std::span<const uint32_t> Postings::ListedIn(Range range) const {
  if (starts_.empty()) return listed_.subspan(range.begin, range.end - range.begin);
  return listed_.subspan(starts_[range.begin], starts_[range.end] - starts_[range.begin]);
}

uint32_t Postings::FirstNotBelow(std::string_view text) const {
  uint32_t low = 0;
  uint32_t high = value_count_;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (Text(middle) < text) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

uint64_t Postings::CountOf(Range range) const {
  if (range.begin >= range.end) return 0;
  uint64_t count = ListedIn(range).size();
  const Range dense = DenseIn(range);
  for (uint32_t i = dense.begin; i < dense.end; ++i) count += dense_counts_[i];
  return count;
}

double Postings::PriceOf(Range range) const {
  if (range.begin >= range.end) return 0;
  const Range dense = DenseIn(range);
  return static_cast<double>(ListedIn(range).size()) * kListedPrice +
         static_cast<double>(dense.end - dense.begin) * (static_cast<double>(rows_) / 64) * kDenseWordPrice;
}

void Postings::AddTo(std::span<const Range> ranges, expr::RowSet* rows) const {
  uint64_t count = 0;
  for (const Range& range : ranges) count += CountOf(range);
  rows->Expect(count);
  const size_t words = (size_t{rows_} + 63) / 64;
  constexpr uint64_t kFew = 4096;
  std::vector<uint32_t> few;  // many short lists, added as one
  for (const Range& range : ranges) {
    if (range.begin >= range.end) continue;
    const std::span<const uint32_t> listed = ListedIn(range);
    if (count <= kFew) {
      few.insert(few.end(), listed.begin(), listed.end());
    } else {
      rows->Add(listed);
    }
    const Range dense = DenseIn(range);
    for (uint32_t i = dense.begin; i < dense.end; ++i) rows->AddWords(dense_words_.data() + i * words);
  }
  if (!few.empty()) rows->Add(few);
}

void Postings::AddCommonTo(std::span<const Range> ranges, expr::RowSet* rows) const {
  std::optional<expr::RowSet> common;
  for (const Range& range : ranges) {
    expr::RowSet found(rows->rows());
    AddTo({&range, 1}, &found);
    if (common) {
      common->Intersect(found);
    } else {
      common = std::move(found);
    }
  }
  if (common) rows->Unite(*common);
}

}  // namespace quiver::index
