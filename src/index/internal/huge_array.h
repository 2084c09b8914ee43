// File: index/internal/huge_array.h
// HugeArray: a fixed-size array for random access, on huge pages where the system has them: a miss of the address cache
// on small pages costs as much as the miss of the data itself.
// Thread rule: as std::vector.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include "io/memory_advice.h"

namespace quiver::index {

template <typename T>
class HugeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HugeArray() = default;
  /// Values are not initialised.
  explicit HugeArray(size_t count) : count_(count) {
    if (count == 0) return;
    // Small arrays would waste a huge page each.
    const size_t alignment = count * sizeof(T) >= io::kHugePage ? io::kHugePage : kLine;
    allocated_ = (count * sizeof(T) + kTail + alignment - 1) / alignment * alignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(alignment, allocated_)));
    if (data_ == nullptr) throw std::bad_alloc();
    if (alignment == io::kHugePage) io::AdviseHugePages(data_.get(), allocated_);
  }
  /// Room that takes memory where it is written, in small pages until AdviseBeyond.
  static HugeArray Room(size_t count) {
    HugeArray array;
    if (count == 0) return array;
    array.count_ = count;
    array.allocated_ = (count * sizeof(T) + kTail + io::kHugePage - 1) / io::kHugePage * io::kHugePage;
    array.data_.reset(static_cast<T*>(std::aligned_alloc(io::kHugePage, array.allocated_)));
    if (array.data_ == nullptr) throw std::bad_alloc();
    return array;
  }
  /// Of Room: what lies behind the first `used` values is to come in huge pages.
  void AdviseBeyond(size_t used) {
    const size_t from = (used * sizeof(T) + io::kHugePage - 1) / io::kHugePage * io::kHugePage;
    if (from < allocated_) io::AdviseHugePages(reinterpret_cast<char*>(data_.get()) + from, allocated_ - from);
  }
  HugeArray(size_t count, T value) : HugeArray(count) { std::uninitialized_fill_n(data_.get(), count, value); }

  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] size_t memory_bytes() const { return allocated_; }
  [[nodiscard]] T* data() { return data_.get(); }
  [[nodiscard]] const T* data() const { return data_.get(); }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  [[nodiscard]] std::span<const T> span() const { return {data_.get(), count_}; }

 private:
  static constexpr size_t kLine = 64;
  static constexpr size_t kTail = 64;  ///< prefetching past the end stays inside
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  size_t count_ = 0;
  size_t allocated_ = 0;
  std::unique_ptr<T, Free> data_;
};

}  // namespace quiver::index
