// File: expr/json_form_writer.h
// JsonFormWriter: makes the binary forms of a column's JSON documents (expr/json_form.h) and the table of their keys.
//
//   JsonFormWriter writer;
//   for (...) writer.Append(text, &forms);
//   const std::string keys = writer.Keys();  // for JsonKeyTable::Open
//
// The same documents in the same order give the same bytes. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace quiver::expr {

class JsonFormWriter {
 public:
  /// Containers nested deeper than this are not taken apart: the document stands as it was written.
  static constexpr size_t kMaxDepth = 64;
  /// Keys that get an id: the first that are met.
  static constexpr size_t kMaxKeys = 0xFFFF;

  JsonFormWriter();
  ~JsonFormWriter();
  JsonFormWriter(const JsonFormWriter&) = delete;
  JsonFormWriter& operator=(const JsonFormWriter&) = delete;

  /// Appends the form of one document. A text that is malformed is kept as it is: readers of forms read that, too.
  void Append(std::string_view json, std::string* forms);
  /// The key table of all documents so far.
  [[nodiscard]] std::string Keys() const;

 private:
  class Builder;
  std::unique_ptr<Builder> builder_;
};

}  // namespace quiver::expr
