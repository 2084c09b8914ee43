// File: schema/column.h
// Column, ColumnBatch: the one in-memory row format, from request to segment. ColumnView: the same values where they
// lie (a growing chunk, a mapped file page), read without copying.
//
// Layout of one column of n rows (nulls are dense: a null row holds zero bytes or an empty string):
//   fixed-width types (bool, ints, floats, dense vectors):  fixed[n * width], little-endian
//   variable-length types (VARCHAR, JSON text, ARRAY, SPARSE): blob[], offsets[n + 1]; row i = blob[offsets[i] ..
//   offsets[i+1]) valid: empty = no nulls, else n bytes, 1 = value present
// An ARRAY value is encoded as { u32 count; then count elements }: fixed-width elements packed, strings as { u32
// length; bytes }. An array of vectors (a sub-field of a struct array) is encoded likewise, its vectors packed. A
// sparse vector is { u32 index; f32 value } pairs sorted by index, as on the wire. Thread rule: Column is a plain
// value; ColumnView is immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "schema/data_type.h"

namespace quiver {

/// Values of one field for a run of rows, owned.
struct Column {
  int64_t field_id = 0;
  DataType type = DataType::kNone;
  DataType element_type = DataType::kNone;  ///< of ARRAY and of arrays of vectors
  size_t width = 0;                         ///< bytes per row of fixed-width types, 0 for variable-length ones
  size_t rows = 0;
  std::vector<uint8_t> valid;
  std::vector<std::byte> fixed;
  std::vector<uint64_t> offsets{0};
  std::string blob;

  /// Makes an empty column; `dim` counts for dense vectors.
  static Column Make(int64_t field_id, DataType type, int64_t dim = 0, DataType element_type = DataType::kNone);

  [[nodiscard]] bool is_fixed() const { return width != 0; }
  [[nodiscard]] bool IsNull(size_t row) const { return !valid.empty() && valid[row] == 0; }
  /// Bytes of one row, whatever the type.
  [[nodiscard]] std::string_view Bytes(size_t row) const {
    if (is_fixed()) return {reinterpret_cast<const char*>(fixed.data()) + row * width, width};
    return {blob.data() + offsets[row], offsets[row + 1] - offsets[row]};
  }
  template <typename T>
  [[nodiscard]] T Get(size_t row) const {
    T value;
    std::memcpy(&value, fixed.data() + row * width, sizeof(T));
    return value;
  }

  /// Appends one value given by its bytes (exactly `width` of them for fixed-width types).
  void Append(std::string_view bytes);
  template <typename T>
  void AppendValue(T value) {
    Append({reinterpret_cast<const char*>(&value), sizeof(T)});
  }
  void AppendNull();
  /// Appends rows `row_ids` of `source`, which has the same type.
  void AppendRows(const Column& source, const std::vector<uint32_t>& row_ids);
  void Reserve(size_t row_count);
  /// Bytes held, for limits and the memory budget.
  [[nodiscard]] size_t ByteSize() const;
};

/// Columns of equal length. Order is free; `Find` looks up by field id.
struct ColumnBatch {
  size_t rows = 0;
  std::vector<Column> columns;

  [[nodiscard]] const Column* Find(int64_t field_id) const;
  [[nodiscard]] Column* Find(int64_t field_id);
  [[nodiscard]] size_t ByteSize() const;
};

/// The different values of a column in ascending byte order, for rows that are given by codes. Immutable.
struct ColumnDictionary {
  uint64_t id = 0;  ///< no other dictionary of the process has it: what was worked out for its entries is kept by it
  uint32_t size = 0;
  const uint32_t* offsets = nullptr;  ///< size + 1 offsets into blob
  const char* blob = nullptr;

  [[nodiscard]] std::string_view Entry(uint32_t code) const {
    return {blob + offsets[code], offsets[code + 1] - offsets[code]};
  }
};

/// Values of one field for a page of rows, not owned. Exactly one form is set: (fixed), (strings), (offsets + blob),
/// (offsets32 + blob), (dictionary + codes8 or codes16).
struct ColumnView {
  DataType type = DataType::kNone;
  DataType element_type = DataType::kNone;
  size_t width = 0;
  size_t rows = 0;
  const uint8_t* valid = nullptr;             ///< nullptr = no nulls, else one byte per row
  const std::byte* fixed = nullptr;           ///< row i at fixed + i * width
  const std::string_view* strings = nullptr;  ///< growing segments: one view per row
  const uint64_t* offsets = nullptr;          ///< sealed segments: rows + 1 offsets into blob
  const uint32_t* offsets32 = nullptr;        ///< the same for columns of less than 4 GiB
  const char* blob = nullptr;
  const ColumnDictionary* dictionary = nullptr;  ///< sealed segments: repeated values of a VARCHAR column
  const uint8_t* codes8 = nullptr;               ///< entry of row i
  const uint16_t* codes16 = nullptr;

  [[nodiscard]] bool present() const { return type != DataType::kNone; }
  [[nodiscard]] bool IsNull(size_t row) const { return valid != nullptr && valid[row] == 0; }
  [[nodiscard]] std::string_view Bytes(size_t row) const {
    if (fixed != nullptr) return {reinterpret_cast<const char*>(fixed) + row * width, width};
    if (strings != nullptr) return strings[row];
    if (offsets32 != nullptr) return {blob + offsets32[row], offsets32[row + 1] - offsets32[row]};
    if (dictionary != nullptr) return dictionary->Entry(Code(row));
    return {blob + offsets[row], offsets[row + 1] - offsets[row]};
  }
  /// The row's entry of the dictionary.
  [[nodiscard]] uint32_t Code(size_t row) const { return codes8 != nullptr ? codes8[row] : codes16[row]; }
  template <typename T>
  [[nodiscard]] T Get(size_t row) const {
    T value;
    std::memcpy(&value, fixed + row * width, sizeof(T));
    return value;
  }
};

/// Returns a view of an owned column; valid while the column lives unchanged.
ColumnView ViewOf(const Column& column);

/// Bytes of the values of a view, offsets and null flags not counted.
uint64_t BytesOf(const ColumnView& view);

/// Reads an encoded ARRAY value or array of vectors.
class ArrayReader {
 public:
  /// `dim` counts for arrays of vectors.
  ArrayReader(std::string_view bytes, DataType element_type, int64_t dim = 0);
  [[nodiscard]] uint32_t size() const { return size_; }
  /// All elements as they lie: of fixed width they are back to back.
  [[nodiscard]] std::string_view elements() const {
    return bytes_.size() < sizeof(uint32_t) ? std::string_view() : bytes_.substr(sizeof(uint32_t));
  }
  /// Element as raw bytes (fixed width) or string contents; index must be below size(). O(index) for strings.
  [[nodiscard]] std::string_view Element(uint32_t index) const;
  template <typename T>
  [[nodiscard]] T Get(uint32_t index) const {
    T value;
    std::memcpy(&value, Element(index).data(), sizeof(T));
    return value;
  }

 private:
  std::string_view bytes_;
  size_t width_;
  uint32_t size_ = 0;
};

/// Encodes `count` elements of fixed width that lie back to back as an ARRAY value or array of vectors.
std::string PackElements(size_t count, std::string_view elements);

/// Builds an encoded ARRAY value: append elements, then take the bytes.
class ArrayWriter {
 public:
  explicit ArrayWriter(DataType element_type);
  void Append(std::string_view bytes);
  template <typename T>
  void AppendValue(T value) {
    Append({reinterpret_cast<const char*>(&value), sizeof(T)});
  }
  /// Returns the encoded array and resets the writer.
  std::string Take();

 private:
  size_t width_;
  uint32_t size_ = 0;
  std::string bytes_;
};

}  // namespace quiver
