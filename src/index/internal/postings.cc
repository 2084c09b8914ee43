#include "index/internal/postings.h"

#include <algorithm>
#include <limits>
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

template <typename Value>
Status PostingsBuilder::FinishValues(std::vector<std::pair<Value, uint32_t>>& pairs, SectionFileWriter& writer) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  if (pairs.size() >= std::numeric_limits<uint32_t>::max()) {
    return Error(StatusCode::kIndexNotSupported, "it has {} entries, too many for one index", pairs.size());
  }
  const size_t words = (size_t{rows_} + 63) / 64;
  std::string values;
  std::string text;
  std::vector<uint32_t> text_offsets{0};
  std::vector<uint32_t> starts{0};
  std::vector<uint32_t> listed;
  std::vector<uint32_t> dense;
  std::vector<uint32_t> dense_counts;
  std::vector<uint64_t> dense_words;
  uint32_t value_count = 0;
  for (size_t begin = 0; begin < pairs.size(); ++value_count) {
    size_t end = begin + 1;
    while (end < pairs.size() && pairs[end].first == pairs[begin].first) ++end;
    const Value& value = pairs[begin].first;
    if constexpr (std::is_same_v<Value, std::string_view>) {
      text += value;
      if (text.size() > std::numeric_limits<uint32_t>::max()) {
        return Error(StatusCode::kIndexNotSupported, "its values have more than 4 GiB");
      }
      text_offsets.push_back(static_cast<uint32_t>(text.size()));
    } else {
      values.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    const size_t count = end - begin;
    if (count >= kLeastDense && count * kDenseShare >= rows_) {
      dense.push_back(value_count);
      dense_counts.push_back(static_cast<uint32_t>(count));
      const size_t base = dense_words.size();
      dense_words.resize(base + words);
      for (size_t i = begin; i < end; ++i)
        dense_words[base + pairs[i].second / 64] |= uint64_t{1} << (pairs[i].second % 64);
    } else {
      for (size_t i = begin; i < end; ++i) listed.push_back(pairs[i].second);
    }
    starts.push_back(static_cast<uint32_t>(listed.size()));
    begin = end;
  }
  ByteWriter sizes;
  sizes.Value(value_count);
  sizes.Value(static_cast<uint32_t>(listed.size()));
  sizes.Value(static_cast<uint32_t>(dense.size()));
  sizes.Value(static_cast<uint64_t>(pairs.size()));
  writer.Add(kSizesSection, sizes.Take());
  pairs = {};
  if constexpr (std::is_same_v<Value, std::string_view>) {
    writer.AddValues<uint32_t>(kValuesSection, text_offsets);
    writer.Add(kTextSection, std::move(text));
  } else {
    writer.Add(kValuesSection, std::move(values));
  }
  // Where every value has one row, its place in the list is its own.
  if (!dense.empty() || value_count != listed.size()) writer.AddValues<uint32_t>(kStartsSection, starts);
  writer.AddValues<uint32_t>(kListedSection, listed);
  writer.AddValues<uint32_t>(kDenseSection, dense);
  writer.AddValues<uint32_t>(kDenseCountsSection, dense_counts);
  writer.AddValues<uint64_t>(kDenseWordsSection, dense_words);
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

}  // namespace quiver::index
