// File: base/bytes.h
// ByteWriter, ByteReader: little-endian binary forms of log payloads. The reader checks every bound, so that damaged or
// hostile bytes give an error and never a wild read.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace quiver {

class ByteWriter {
 public:
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void Value(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  /// Length-prefixed bytes.
  void Bytes(std::string_view bytes) {
    Value<uint64_t>(bytes.size());
    bytes_.append(bytes);
  }
  void Reserve(size_t size) { bytes_.reserve(size); }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  /// Reads a value; zero and !ok() past the end.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  T Value() {
    T value{};
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  /// Reads length-prefixed bytes, without copying.
  std::string_view Bytes() {
    const auto size = Value<uint64_t>();
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace quiver
