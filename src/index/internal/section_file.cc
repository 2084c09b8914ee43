#include "index/internal/section_file.h"

#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace quiver::index {

namespace {

constexpr size_t kAlignment = 4096;
/// Magic, version, header size.
constexpr size_t kPrefixSize = 16;
constexpr uint32_t kMaxSections = 64;

size_t Aligned(size_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

std::string SectionFileWriter::Take() {
  ByteWriter body;
  body.Value(static_cast<uint32_t>(sections_.size()));
  // The table's size is known before its contents: where the first section begins follows from it.
  constexpr size_t kEntrySize = 24;
  const size_t header_size = kPrefixSize + head_.size() + 4 + sections_.size() * kEntrySize + 4;
  size_t offset = Aligned(header_size);
  for (const Section& section : sections_) {
    body.Value(section.id);
    body.Value(Crc32c(section.bytes));
    body.Value<uint64_t>(offset);
    body.Value<uint64_t>(section.bytes.size());
    offset = Aligned(offset + section.bytes.size());
  }
  ByteWriter header;
  header.Value(kind_.version);
  header.Value(static_cast<uint32_t>(header_size));
  std::string file(kind_.magic);
  file += header.Take();
  file += head_;
  file += body.Take();
  ByteWriter crc;
  crc.Value(Crc32c(file));
  file += crc.Take();
  file.reserve(offset);
  for (Section& section : sections_) {
    file.resize(Aligned(file.size()));
    file += section.bytes;
    section.bytes = std::string();
  }
  sections_.clear();
  return file;
}

Result<SectionFile> SectionFile::Open(const SectionFileKind& kind, std::string_view bytes, std::string_view name) {
  SectionFile file;
  file.name_ = name;
  if (bytes.size() < kPrefixSize || bytes.substr(0, kind.magic.size()) != kind.magic) {
    return file.Damaged("it does not begin as an index file");
  }
  ByteReader prefix(bytes.substr(kind.magic.size()));
  const auto version = prefix.Value<uint32_t>();
  const auto header_size = prefix.Value<uint32_t>();
  if (version > kind.version) {
    return Error(StatusCode::kCorruption, "index file {} has version {}, this program reads up to {}", name, version,
                 kind.version);
  }
  if (version == 0 || header_size < kPrefixSize + kind.head_size + 8 || header_size > bytes.size()) {
    return file.Damaged("its header is cut off");
  }
  ByteReader trailer(bytes.substr(header_size - 4));
  if (trailer.Value<uint32_t>() != Crc32c(bytes.substr(0, header_size - 4))) {
    return file.Damaged("the checksum of its header does not match");
  }
  file.head_ = bytes.substr(kPrefixSize, kind.head_size);
  const size_t table = kPrefixSize + kind.head_size;
  ByteReader reader(bytes.substr(table, header_size - 4 - table));
  const auto count = reader.Value<uint32_t>();
  if (!reader.ok() || count > kMaxSections) return file.Damaged("its header is not understood");
  for (uint32_t i = 0; i < count; ++i) {
    Entry entry{};
    entry.id = reader.Value<uint32_t>();
    entry.crc = reader.Value<uint32_t>();
    const auto offset = reader.Value<uint64_t>();
    const auto size = reader.Value<uint64_t>();
    if (!reader.ok() || offset % kAlignment != 0 || offset > bytes.size() || size > bytes.size() - offset) {
      return file.Damaged("a section lies outside of it");
    }
    entry.bytes = bytes.substr(offset, size);
    file.sections_.push_back(entry);
  }
  if (!reader.AtEnd()) return file.Damaged("its header is not understood");
  return file;
}

std::string_view SectionFile::Section(uint32_t id) const {
  for (const Entry& entry : sections_) {
    if (entry.id == id) return entry.bytes;
  }
  return {};
}

Status SectionFile::EnsureSound() const {
  std::call_once(verdict_->once, [this] {
    for (const Entry& entry : sections_) {
      if (Crc32c(entry.bytes) == entry.crc) continue;
      verdict_->status = Damaged(fmt::format("the checksum of section {} does not match", entry.id));
      return;
    }
    verdict_->sound.store(true, std::memory_order_release);
  });
  return verdict_->status;
}

Status SectionFile::Damaged(std::string_view what) const {
  return Error(StatusCode::kCorruption, "index file {} is damaged: {}", name_, what);
}

}  // namespace quiver::index
