#include "schema/column.h"

#include <cassert>

namespace quiver {

Column Column::Make(int64_t field_id, DataType type, int64_t dim, DataType element_type) {
  Column column;
  column.field_id = field_id;
  column.type = type;
  column.element_type = element_type;
  column.width = FixedWidth(type, dim);
  return column;
}

void Column::Append(std::string_view bytes) {
  if (is_fixed()) {
    assert(bytes.size() == width);
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    fixed.insert(fixed.end(), data, data + bytes.size());
  } else {
    blob.append(bytes);
    offsets.push_back(blob.size());
  }
  if (!valid.empty()) valid.push_back(1);
  ++rows;
}

void Column::AppendNull() {
  if (valid.empty()) valid.assign(rows, 1);
  if (is_fixed()) {
    fixed.resize(fixed.size() + width);
  } else {
    offsets.push_back(blob.size());
  }
  valid.push_back(0);
  ++rows;
}

void Column::AppendRows(const Column& source, const std::vector<uint32_t>& row_ids) {
  for (const uint32_t row : row_ids) {
    if (source.IsNull(row)) {
      AppendNull();
    } else {
      Append(source.Bytes(row));
    }
  }
}

void Column::Reserve(size_t row_count) {
  if (is_fixed()) {
    fixed.reserve(row_count * width);
  } else {
    offsets.reserve(row_count + 1);
  }
}

size_t Column::ByteSize() const {
  return valid.size() + fixed.size() + blob.size() + (is_fixed() ? 0 : offsets.size() * sizeof(uint64_t));
}

const Column* ColumnBatch::Find(int64_t field_id) const {
  for (const Column& column : columns) {
    if (column.field_id == field_id) return &column;
  }
  return nullptr;
}

Column* ColumnBatch::Find(int64_t field_id) {
  return const_cast<Column*>(static_cast<const ColumnBatch*>(this)->Find(field_id));
}

size_t ColumnBatch::ByteSize() const {
  size_t total = 0;
  for (const Column& column : columns) total += column.ByteSize();
  return total;
}

ColumnView ViewOf(const Column& column) {
  ColumnView view;
  view.type = column.type;
  view.element_type = column.element_type;
  view.width = column.width;
  view.rows = column.rows;
  view.valid = column.valid.empty() ? nullptr : column.valid.data();
  if (column.is_fixed()) {
    view.fixed = column.fixed.data();
  } else {
    view.offsets = column.offsets.data();
    view.blob = column.blob.data();
  }
  return view;
}

uint64_t BytesOf(const ColumnView& view) {
  if (view.width != 0) return uint64_t{view.rows} * view.width;
  uint64_t bytes = 0;
  if (view.strings != nullptr || view.dictionary != nullptr) {
    for (size_t row = 0; row < view.rows; ++row) bytes += view.Bytes(row).size();
  } else if (view.rows != 0) {
    const std::string_view last = view.Bytes(view.rows - 1);
    bytes = static_cast<uint64_t>(last.data() + last.size() - view.Bytes(0).data());
  }
  return bytes;
}

ArrayReader::ArrayReader(std::string_view bytes, DataType element_type, int64_t dim)
    : bytes_(bytes), width_(FixedWidth(element_type, dim)) {
  if (bytes_.size() >= sizeof(uint32_t)) std::memcpy(&size_, bytes_.data(), sizeof(uint32_t));
}

std::string_view ArrayReader::Element(uint32_t index) const {
  assert(index < size_);
  if (width_ != 0) return bytes_.substr(sizeof(uint32_t) + index * width_, width_);
  size_t position = sizeof(uint32_t);
  for (;; --index) {
    uint32_t length = 0;
    std::memcpy(&length, bytes_.data() + position, sizeof(length));
    position += sizeof(length);
    if (index == 0) return bytes_.substr(position, length);
    position += length;
  }
}

std::string PackElements(size_t count, std::string_view elements) {
  const auto written = static_cast<uint32_t>(count);
  std::string bytes(reinterpret_cast<const char*>(&written), sizeof(written));
  return bytes.append(elements);
}

ArrayWriter::ArrayWriter(DataType element_type) : width_(FixedWidth(element_type, 0)), bytes_(sizeof(uint32_t), '\0') {}

void ArrayWriter::Append(std::string_view bytes) {
  if (width_ == 0) {
    const auto length = static_cast<uint32_t>(bytes.size());
    bytes_.append(reinterpret_cast<const char*>(&length), sizeof(length));
  } else {
    assert(bytes.size() == width_);
  }
  bytes_.append(bytes);
  ++size_;
}

std::string ArrayWriter::Take() {
  std::memcpy(bytes_.data(), &size_, sizeof(size_));
  std::string taken = std::move(bytes_);
  bytes_.assign(sizeof(uint32_t), '\0');
  size_ = 0;
  return taken;
}

}  // namespace quiver
