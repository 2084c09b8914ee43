#include "index/internal/grams.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <span>

namespace quiver::index {

namespace {

constexpr size_t kGramCount = size_t{1} << (8 * kGramBytes);

}  // namespace

GramInterval GramsOf(std::string_view bytes) {
  GramInterval grams;
  for (size_t i = 0; i < kGramBytes; ++i) {
    const bool given = i < bytes.size();
    grams.first = grams.first << 8 | (given ? static_cast<uint8_t>(bytes[i]) : 0);
    grams.last = grams.last << 8 | (given ? static_cast<uint8_t>(bytes[i]) : 0xFF);
  }
  return grams;
}

GramBuilder::GramBuilder(uint32_t rows) : ends_(rows < kLeastTableRows ? 0 : kGramCount) {}

const std::vector<uint32_t>& GramBuilder::Collect(std::string_view text) {
  grams_.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    grams_.push_back(static_cast<uint32_t>(GramsOf(text.substr(i, kGramBytes)).first));
  }
  std::sort(grams_.begin(), grams_.end());
  grams_.erase(std::unique(grams_.begin(), grams_.end()), grams_.end());
  return grams_;
}

void GramBuilder::Count(std::string_view text) {
  if (ends_.empty()) return;
  for (const uint32_t gram : Collect(text)) ++ends_[gram];
  total_ += grams_.size();
}

Status GramBuilder::FinishCounting() {
  if (total_ >= std::numeric_limits<uint32_t>::max()) {
    return Error(StatusCode::kIndexNotSupported, "it has {} entries, too many for one index", total_);
  }
  uint32_t begin = 0;
  for (uint32_t& end : ends_) {
    const uint32_t count = end;
    end = begin;
    begin += count;
  }
  rows_.resize(total_);
  return Status::Ok();
}

void GramBuilder::Place(std::string_view text, uint32_t row) {
  if (ends_.empty()) {
    for (const uint32_t gram : Collect(text)) pairs_.push_back(uint64_t{gram} << 32 | row);
    return;
  }
  for (const uint32_t gram : Collect(text)) rows_[ends_[gram]++] = row;
}

Status GramBuilder::FinishPairs(uint32_t rows, SectionFileWriter& writer) {
  // By the lower half of the gram, then by the upper one; each pass leaves equal ones in their order.
  constexpr uint32_t kDigitBits = 12;
  std::vector<uint64_t> sorted(pairs_.size());
  for (uint32_t shift = 32; shift < 32 + 8 * kGramBytes; shift += kDigitBits) {
    std::array<size_t, size_t{1} << kDigitBits> places{};
    const auto digit = [&](uint64_t pair) { return pair >> shift & (places.size() - 1); };
    for (const uint64_t pair : pairs_) ++places[digit(pair)];
    std::exclusive_scan(places.begin(), places.end(), places.begin(), size_t{0});
    for (const uint64_t pair : pairs_) sorted[places[digit(pair)]++] = pair;
    pairs_.swap(sorted);
  }
  PostingsLayout<int64_t> layout(rows);
  std::vector<uint32_t> holders;
  for (size_t begin = 0; begin < pairs_.size();) {
    const uint64_t gram = pairs_[begin] >> 32;
    holders.clear();
    for (; begin < pairs_.size() && pairs_[begin] >> 32 == gram; ++begin) {
      holders.push_back(static_cast<uint32_t>(pairs_[begin]));
    }
    QUIVER_RETURN_IF_ERROR(layout.Add(static_cast<int64_t>(gram), holders));
  }
  pairs_ = {};
  layout.Finish(writer);
  return Status::Ok();
}

Status GramBuilder::Finish(uint32_t rows, SectionFileWriter& writer) {
  if (ends_.empty()) return FinishPairs(rows, writer);
  PostingsLayout<int64_t> layout(rows);
  uint32_t begin = 0;
  for (size_t gram = 0; gram < kGramCount; ++gram) {
    const uint32_t end = ends_[gram];
    if (end != begin) {
      QUIVER_RETURN_IF_ERROR(layout.Add(static_cast<int64_t>(gram), std::span(rows_).subspan(begin, end - begin)));
    }
    begin = end;
  }
  ends_ = {};
  rows_ = {};
  layout.Finish(writer);
  return Status::Ok();
}

}  // namespace quiver::index
