// File: index/internal/lists_layout.h
// The sections of a lists file, and the arithmetic that build and search share.
//
// Dense vectors are brought into one space first: COSINE divides by the norm; L2 and COSINE subtract the mean of all
// rows; then all are rotated (codec/rotation.h), which pads them to `dim`, a multiple of 64. IP keeps the query as it
// is and subtracts the mean from rows, whose share of the product, <q, mean>, is the same for all. Keys (smaller is
// better) are those of codec/rabitq.h; of COSINE the squared distance of unit vectors, 2 - 2 cos. Rows that the
// arithmetic does not hold for (vast, vanishing or not finite) stand in `loose` and are always scored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/rabitq.h"
#include "index/vector_index.h"
#include "schema/column.h"

namespace quiver::index {

/// Section ids; counts in values of the type named.
enum ListsSection : uint32_t {
  kListsHeader = 1,       ///< ListsHeader
  kListsMean = 2,         ///< float[dimension of the field]
  kListsCentres = 3,      ///< float[nlist][dim], rotated; binary: bytes[nlist][width]
  kListsCentreCodes = 4,  ///< u8[nlist rounded up to 32][dim] in the form of simd::ListKernels::scan_bytes
  kListsCentreAdds = 5,   ///< float[nlist rounded up to 32], their part of the rank; padding +infinity
  kListsCentreNorms = 6,  ///< float[nlist], squared
  kListsBegin = 7,        ///< u32[nlist + 1]: first block of each list
  kListsSizes = 8,        ///< u32[nlist]: rows of each list; the last block of a list may have room
  kListsIds = 9,          ///< u32[blocks][32]: row numbers; places without a row are 0
  kListsBlocks = 10,      ///< bytes[blocks][RabitqShape::block_bytes()]
  kListsRows = 11,        ///< bytes[blocks][32][RabitqShape::row_bytes()]
  kListsLoose = 12,       ///< u32[loose]
  kListsCurve = 13,       ///< CurvePoint[]
  kListsBook = 14,        ///< product codes, whose blocks hold nothing else: float[dim][centres of a run], run by run
};

struct ListsHeader {
  uint32_t nlist = 0;
  uint32_t blocks = 0;
  uint32_t listed = 0;  ///< rows in lists
  uint32_t loose = 0;
  uint32_t dim = 0;   ///< padded; binary: 0
  uint32_t bits = 0;  ///< of codes; 0 = raw
  float centre_step = 0;
  float sign_error = 0;  ///< product codes: root of the mean squared distance of rows from what codes stand for
  float code_norm = 0;
  uint32_t curve_points = 0;
  float row_norm = 0;  ///< IP: root of the mean squared norm of rows; else 0
};

/// Share of the nearest rows that lie in the first `nprobe` lists, for 10 and for 100 wanted, measured at build.
struct CurvePoint {
  uint32_t nprobe = 0;
  float recall10 = 0;
  float recall100 = 0;
};

/// How lists are ranked for a query: by adds[l] - RankWeight * <q, centre l>, smallest first. L2 ranks by distance to
/// the centre. IP does the same as if all rows had one norm, which the query is brought to: |centre|^2 then is that
/// norm's less the mean squared residual of the list, whose negative is the list's add. So lists that spread far rank
/// before tight ones with the same product, and unit vectors rank as by distance.
inline float RankWeight(bool ip, float row_norm, float query_norm) {
  if (!ip) return 2;
  return query_norm > 1e-15f && row_norm > 1e-15f ? 2 * row_norm / query_norm : 2;
}

/// The most dimensions of dense lists.
constexpr int64_t kMostListDim = 32768;

/// Rows of a block.
constexpr size_t kListBlock = simd::ListKernels::kBlock;

/// Reads rows of a dense column as floats in the space of the lists, not yet shifted or rotated.
class RowReader {
 public:
  RowReader(const IndexRecipe& recipe, const ColumnView& vectors);
  [[nodiscard]] size_t dim() const { return dim_; }
  /// Writes dim() floats. Returns false for a row that lists cannot hold (its norm is not safe); null rows too.
  bool Read(uint32_t row, float* out) const;

 private:
  const ColumnView& vectors_;
  size_t dim_;
  bool cosine_;
};

/// Norms within which float arithmetic on keys neither overflows nor loses everything.
constexpr double kLeastListNorm = 1e-13;
constexpr double kMostListNorm = 1e15;

/// Whether a vector of this squared norm can be coded; cosine cannot code vanishing vectors.
inline bool SafeNorm(double norm2, bool cosine) {
  return norm2 <= kMostListNorm * kMostListNorm && (!cosine || norm2 >= kLeastListNorm * kLeastListNorm);
}

}  // namespace quiver::index
