// File: api/placeholder_codec.h
// Query vectors of a search: a serialized common.PlaceholderGroup. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "schema/collection_schema.h"

namespace quiver::api {

/// Query vectors of one search as bytes of the field's type, back to back in one buffer. Of a search by lists each
/// query is a list, whose vectors lie back to back.
class QueryVectors {
 public:
  [[nodiscard]] size_t size() const { return ends_.size(); }
  [[nodiscard]] std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }
  /// All of them; valid while this object lives unmoved.
  [[nodiscard]] std::vector<std::string_view> views() const;

  void Append(std::string_view vector) {
    bytes_.append(vector);
    ends_.push_back(bytes_.size());
  }
  void Reserve(size_t count, size_t bytes);

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

/// Decodes the query vectors for `field`: same type (float32 is converted for 16-bit float fields), same dimension,
/// finite values, sparse rows sorted. Of an array of vectors `metric` decides whether they are single vectors or lists
/// of at least one. Errors: kInvalidParameter in the published wording.
Result<QueryVectors> DecodeQueryVectors(std::string_view placeholder_group, const FieldSchema& field,
                                        MetricType metric = MetricType::kNone);

}  // namespace quiver::api
