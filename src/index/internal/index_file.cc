#include "index/internal/index_file.h"

#include <utility>

#include "base/bytes.h"

namespace quiver::index {

namespace {

/// Bytes of a recipe and the number of rows.
constexpr size_t kHeadSize = 50;
constexpr SectionFileKind kKind{.magic = std::string_view("QUIVVIX\0", 8), .version = 1, .head_size = kHeadSize};

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
  writer.Value(static_cast<uint16_t>(recipe.quantizers));
  writer.Value(static_cast<uint16_t>(recipe.stages - 1));
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
  recipe.quantizers = reader.Value<uint16_t>();
  recipe.stages = reader.Value<uint16_t>() + uint32_t{1};
  recipe.seed = reader.Value<uint64_t>();
  return recipe;
}

}  // namespace

IndexFileWriter::IndexFileWriter(const IndexRecipe& recipe, uint32_t row_count)
    : SectionFileWriter(kKind, [&] {
        ByteWriter head;
        WriteRecipe(recipe, head);
        head.Value(row_count);
        return head.Take();
      }()) {}

Result<IndexFile> IndexFile::Open(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(SectionFile sections, SectionFile::Open(kKind, bytes, name));
  IndexFile file(std::move(sections));
  ByteReader reader(file.head());
  file.recipe_ = ReadRecipe(reader);
  file.row_count_ = reader.Value<uint32_t>();
  if (!reader.ok() || !reader.AtEnd()) return file.Damaged("its header is not understood");
  return file;
}

}  // namespace quiver::index
