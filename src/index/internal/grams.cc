#include "index/internal/grams.h"

#include <algorithm>
#include <limits>
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

GramBuilder::GramBuilder() : ends_(kGramCount) {}

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
  for (const uint32_t gram : Collect(text)) rows_[ends_[gram]++] = row;
}

Status GramBuilder::Finish(uint32_t rows, SectionFileWriter& writer) {
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
