// File: index/internal/code_space.h
// CodeSpace: maps stored vectors and queries to points that SQ8 codes describe well and whose order is the metric's.
//
//   L2       p = (x - centre) / size                 ordered by |p - q|^2
//   COSINE   p = x / |x| - centre                    ordered by |p - q|^2
//   IP       where all lengths are equal: as COSINE. Otherwise p = x / longest - centre, ordered by -q.p; the product
//            of two rows is centre^2 + shift + shift + p.p, where shift = centre.p
// Points are rotated (codec/rotation.h) and encoded (codec/sq8.h). Centring takes out what all vectors share, which
// codes would otherwise spend their range on.
// Thread rule: immutable after Fit; each thread brings its own work buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "codec/rotation.h"
#include "codec/sq8.h"
#include "index/vector_index.h"

namespace quiver::index {

/// What a row can be to an index on codes.
enum class RowKind : uint8_t {
  kPoint,  ///< has a code
  kNull,   ///< null, or holds NaN: never a hit
  kZero,   ///< COSINE and no direction: scores 0 against everything
  kStray,  ///< values that codes cannot hold (infinite, or far out of range): compared exactly
};

/// key(row) = norm_weight * factors.norm - product_weight * factors.scale * (product of codes); smaller is better.
struct QueryTerms {
  float norm_weight = 1;
  float product_weight = 0;
  bool usable = true;  ///< false: values that codes cannot hold; scan exactly
};

class CodeSpace {
 public:
  /// Work buffer of one thread.
  struct Work {
    std::vector<float> values, point, rotated;
  };

  /// Looks at all rows of the column, or at a sample of many. `kinds` receives the kind of each row. With
  /// `lengths_differ`, rows of IP are compared by product even where all that are looked at are equally long.
  static CodeSpace Fit(const IndexRecipe& recipe, const ColumnView& vectors, std::vector<RowKind>& kinds,
                       bool lengths_differ = false);
  /// The serial form, and back. Error: kCorruption.
  [[nodiscard]] std::string Serialise() const;
  static Result<CodeSpace> Parse(const IndexRecipe& recipe, std::string_view bytes, std::string_view name);

  [[nodiscard]] size_t padded_dim() const { return rotation_.padded_dim(); }
  /// Returns whether points are compared by product, not by distance.
  [[nodiscard]] bool by_product() const { return mode_ == Mode::kProduct; }

  /// What a row that Fit has not seen is: not null, of the type of the column. A row that breaks what Fit has found of
  /// all rows is a stray.
  [[nodiscard]] RowKind KindOf(const std::byte* row, Work& work) const;
  /// Whether rows of IP are compared by direction, since all were equally long.
  [[nodiscard]] bool assumes_equal_lengths() const { return metric_ == MetricType::kIp && mode_ == Mode::kDirection; }

  /// centre^2.
  [[nodiscard]] float centre_energy() const;

  /// Writes the point of a row of kind kPoint into work.rotated; `shift` is written where by_product().
  void PointOfRow(const std::byte* row, float* shift, Work& work) const;
  /// The same of a query. Its terms are those of a scale of 1.
  QueryTerms PointOfQuery(const FlatQueries& queries, size_t query, Work& work) const;
  /// Encodes a row of kind kPoint; `shift` is written where by_product().
  codec::Sq8Factors EncodeRow(const std::byte* row, int8_t* codes, float* shift, Work& work) const;
  /// What turns the factors of an encoded query into its terms.
  [[nodiscard]] QueryTerms TermsOf(const codec::Sq8Factors& query) const {
    if (mode_ == Mode::kProduct) return {0.0f, query.scale, true};
    return {1.0f, 2 * query.scale, true};
  }
  /// Encodes a query.
  QueryTerms EncodeQuery(const FlatQueries& queries, size_t query, int8_t* codes, Work& work) const;

 private:
  enum class Mode : uint8_t { kDistance = 0, kDirection = 1, kProduct = 2 };
  explicit CodeSpace(const IndexRecipe& recipe);

  DataType type_;
  MetricType metric_;
  size_t dim_;
  double stray_squares_ = 0;    ///< squared lengths beyond it are those of strays; of Fit only
  double longest_squares_ = 0;  ///< of Fit only
  Mode mode_ = Mode::kDistance;
  double inverse_size_ = 1;    ///< kDistance: of the mean length; kProduct: of the longest
  std::vector<float> centre_;  ///< in units of points
  codec::Rotation rotation_;
};

}  // namespace quiver::index
