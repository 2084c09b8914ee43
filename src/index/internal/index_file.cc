#include "index/internal/index_file.h"

#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace quiver::index {

namespace {

constexpr std::string_view kMagic("QUIVVIX\0", 8);
constexpr uint32_t kVersion = 1;
constexpr size_t kAlignment = 4096;
/// Magic, version, header size.
constexpr size_t kPrefixSize = 16;
constexpr uint32_t kMaxSections = 64;

size_t Aligned(size_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

void WriteRecipe(const IndexRecipe& recipe, ByteWriter& writer) {
  writer.Value(static_cast<uint8_t>(recipe.structure));
  writer.Value(static_cast<uint8_t>(recipe.codec));
  writer.Value(static_cast<int32_t>(recipe.type));
  writer.Value(static_cast<int32_t>(recipe.metric));
  writer.Value(recipe.dim);
  writer.Value(recipe.degree);
  writer.Value(recipe.ef_construction);
  writer.Value(recipe.nlist);
  writer.Value(recipe.code_bits);
  writer.Value(recipe.pq_m);
  writer.Value(recipe.seed);
}

IndexRecipe ReadRecipe(ByteReader& reader) {
  IndexRecipe recipe;
  recipe.structure = static_cast<IndexStructure>(reader.Value<uint8_t>());
  recipe.codec = static_cast<IndexCodec>(reader.Value<uint8_t>());
  recipe.type = static_cast<DataType>(reader.Value<int32_t>());
  recipe.metric = static_cast<MetricType>(reader.Value<int32_t>());
  recipe.dim = reader.Value<int64_t>();
  recipe.degree = reader.Value<uint32_t>();
  recipe.ef_construction = reader.Value<uint32_t>();
  recipe.nlist = reader.Value<uint32_t>();
  recipe.code_bits = reader.Value<uint32_t>();
  recipe.pq_m = reader.Value<uint32_t>();
  recipe.seed = reader.Value<uint64_t>();
  return recipe;
}

}  // namespace

IndexFileWriter::IndexFileWriter(const IndexRecipe& recipe, uint32_t row_count)
    : recipe_(recipe), row_count_(row_count) {}

void IndexFileWriter::Add(uint32_t id, std::string bytes) { sections_.push_back({id, std::move(bytes)}); }

std::string IndexFileWriter::Take() {
  ByteWriter body;
  WriteRecipe(recipe_, body);
  body.Value(row_count_);
  body.Value(static_cast<uint32_t>(sections_.size()));
  // The table's size is known before its contents: where the first section begins follows from it.
  constexpr size_t kEntrySize = 24;
  ByteWriter probe;
  WriteRecipe(recipe_, probe);
  const size_t header_size = kPrefixSize + probe.Take().size() + 8 + sections_.size() * kEntrySize + 4;
  size_t offset = Aligned(header_size);
  for (const Section& section : sections_) {
    body.Value(section.id);
    body.Value(Crc32c(section.bytes));
    body.Value<uint64_t>(offset);
    body.Value<uint64_t>(section.bytes.size());
    offset = Aligned(offset + section.bytes.size());
  }
  ByteWriter header;
  header.Value(kVersion);
  header.Value(static_cast<uint32_t>(header_size));
  std::string file(kMagic);
  file += header.Take();
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

Result<IndexFile> IndexFile::Open(std::string_view bytes, std::string_view name) {
  IndexFile file;
  file.name_ = name;
  if (bytes.size() < kPrefixSize || bytes.substr(0, kMagic.size()) != kMagic) {
    return file.Damaged("it does not begin as an index file");
  }
  ByteReader prefix(bytes.substr(kMagic.size()));
  const auto version = prefix.Value<uint32_t>();
  const auto header_size = prefix.Value<uint32_t>();
  if (version > kVersion) {
    return Error(StatusCode::kCorruption, "index file {} has version {}, this program reads up to {}", name, version,
                 kVersion);
  }
  if (version == 0 || header_size < kPrefixSize + 4 || header_size > bytes.size()) {
    return file.Damaged("its header is cut off");
  }
  ByteReader trailer(bytes.substr(header_size - 4));
  if (trailer.Value<uint32_t>() != Crc32c(bytes.substr(0, header_size - 4))) {
    return file.Damaged("the checksum of its header does not match");
  }
  ByteReader reader(bytes.substr(kPrefixSize, header_size - 4 - kPrefixSize));
  file.recipe_ = ReadRecipe(reader);
  file.row_count_ = reader.Value<uint32_t>();
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

std::string_view IndexFile::Section(uint32_t id) const {
  for (const Entry& entry : sections_) {
    if (entry.id == id) return entry.bytes;
  }
  return {};
}

Status IndexFile::EnsureSound() const {
  std::call_once(verdict_->once, [this] {
    for (const Entry& entry : sections_) {
      if (Crc32c(entry.bytes) == entry.crc) continue;
      verdict_->status = Damaged(fmt::format("the checksum of section {} does not match", entry.id));
      return;
    }
  });
  return verdict_->status;
}

Status IndexFile::Damaged(std::string_view what) const {
  return Error(StatusCode::kCorruption, "index file {} is damaged: {}", name_, what);
}

}  // namespace quiver::index
