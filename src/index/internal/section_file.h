// File: index/internal/section_file.h
// The container of every index file (docs/formats.md, "Index files"): a header with what the kind of index says about
// itself (the head, of fixed size), a table of sections, and the sections, each aligned to 4096 bytes with a checksum
// of its own. Thread rule: SectionFileWriter belongs to one thread; SectionFile is immutable and may be shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace quiver::index {

/// What tells a kind of index file from others.
struct SectionFileKind {
  std::string_view magic;  ///< 8 bytes
  uint32_t version = 1;    ///< newest one that is read, and the one that is written
  size_t head_size = 0;
};

/// Collects the sections of one index and lays them out. Same sections: same bytes.
class SectionFileWriter {
 public:
  SectionFileWriter(const SectionFileKind& kind, std::string head) : kind_(kind), head_(std::move(head)) {}

  /// Adds a section; ids are unique and belong to the structure.
  void Add(uint32_t id, std::string bytes) { sections_.push_back({id, std::move(bytes)}); }
  /// As Add, before all others: for what is read first and known last.
  void AddFirst(uint32_t id, std::string bytes) { sections_.insert(sections_.begin(), {id, std::move(bytes)}); }
  template <typename T>
  void AddValues(uint32_t id, std::span<const T> values) {
    Add(id, std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
  }
  /// Returns the file and leaves the writer empty.
  std::string Take();

 private:
  struct Section {
    uint32_t id;
    std::string bytes;
  };
  SectionFileKind kind_;
  std::string head_;
  std::vector<Section> sections_;
};

/// An index file where it lies. The bytes must outlive it.
class SectionFile {
 public:
  /// Checks the header and that all sections lie within the bytes. Errors: kCorruption with `name`, also for a newer
  /// version.
  static Result<SectionFile> Open(const SectionFileKind& kind, std::string_view bytes, std::string_view name);

  [[nodiscard]] std::string_view head() const { return head_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  /// Bytes of a section; empty where there is none. Not checked until EnsureSound.
  [[nodiscard]] std::string_view Section(uint32_t id) const;
  /// The section as `count` values. Error: kCorruption where the size is another.
  template <typename T>
  Result<std::span<const T>> Values(uint32_t id, size_t count) const {
    const std::string_view bytes = Section(id);
    if (bytes.size() != count * sizeof(T)) return Damaged("a section has a wrong size");
    return std::span<const T>(reinterpret_cast<const T*>(bytes.data()), count);
  }

  /// Compares all checksums, once; later calls return the same outcome. To be called before the first use of a
  /// section's contents, so that opening costs nothing. Error: kCorruption.
  [[nodiscard]] Status EnsureSound() const;
  /// Whether they were compared before and agreed.
  [[nodiscard]] bool found_sound() const { return verdict_->sound.load(std::memory_order_acquire); }
  /// kCorruption with the file's name and what is wrong.
  [[nodiscard]] Status Damaged(std::string_view what) const;

 private:
  struct Entry {
    uint32_t id;
    uint32_t crc;
    std::string_view bytes;
  };
  struct Verdict {
    std::once_flag once;
    Status status;
    std::atomic<bool> sound{false};
  };

  std::string_view head_;
  std::string name_;
  std::vector<Entry> sections_;
  std::unique_ptr<Verdict> verdict_ = std::make_unique<Verdict>();
};

}  // namespace quiver::index
