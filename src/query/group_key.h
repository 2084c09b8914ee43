// File: query/group_key.h
// Group keys as bytes: two rows are in one group iff the keys of their values are equal; NULL equals NULL only.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schema/column.h"

namespace quiver::query {

/// Appends the key of one value; keys of several fields follow each other and stay distinct. `values` is a Column or a
/// ColumnView.
template <typename Values>
void AppendGroupKey(const Values& values, size_t row, std::string& key) {
  if (values.IsNull(row)) {
    key.push_back('\0');
    return;
  }
  const std::string_view bytes = values.Bytes(row);
  const auto length = static_cast<uint32_t>(bytes.size());
  key.push_back('\1');
  key.append(reinterpret_cast<const char*>(&length), sizeof(length));
  key.append(bytes);
}

}  // namespace quiver::query
