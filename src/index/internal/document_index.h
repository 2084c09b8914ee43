// File: index/internal/document_index.h
// The scalar index over whole JSON documents: every scalar that stands under keys of objects, at any depth up to
// kMaxDocumentSteps below the indexed place, and every scalar element of an array there. It serves comparisons of each
// place with constants of each kind. The postings are of texts, one for each place and value, whose order is that of
// the values of one place and kind:
//
//   entry { step*, kind u8 ('b' 'n' 's', of an element 'B' 'N' 'S'), value }
//   step  { 0 u8, length of the key u32, key }
//   value { bool: 0 or 1 as u8 | number: double, big-endian, ordered as unsigned | string: its decoded bytes }
//
// Thread rule: DocumentReader belongs to one thread; the index is immutable.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "expr/json_scan.h"
#include "index/internal/file_index.h"
#include "index/internal/postings.h"

namespace quiver::index {

/// Places deeper below the indexed one are not in the index.
inline constexpr size_t kMaxDocumentSteps = 32;

/// Hands the entries of documents to a builder of postings.
class DocumentReader {
 public:
  /// `rounded` is set when a number is met that no double holds. Both outlive the reader.
  DocumentReader(PostingsBuilder& builder, bool& rounded) : builder_(builder), rounded_(rounded) {}

  /// Adds what `value`, found at the indexed place of the row, holds. The reader outlives the builder's last use.
  void Add(const expr::JsonValue& value, uint32_t row);

 private:
  struct Member {
    std::string key;
    size_t position;
    expr::JsonValue value;
  };

  void AddValue(const expr::JsonValue& value, size_t steps, uint32_t row);
  void AddObject(const expr::JsonValue& object, size_t steps, uint32_t row);
  void AddScalar(const expr::JsonValue& value, bool element, uint32_t row);

  PostingsBuilder& builder_;
  bool& rounded_;
  std::string entry_;  ///< the steps to where the reader is
  std::string decoded_;
  std::deque<std::string> entries_;
};

/// `rounded`: numbers that no double holds stand in it as the nearest one.
std::unique_ptr<ScalarIndex> MakeDocumentIndex(IndexBase base, bool rounded, const Postings& postings);

}  // namespace quiver::index
