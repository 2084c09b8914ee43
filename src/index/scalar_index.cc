#include "index/scalar_index.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "expr/array_values.h"
#include "expr/json_scan.h"
#include "index/internal/box_tree.h"
#include "index/internal/candidate_index.h"
#include "index/internal/document_index.h"
#include "index/internal/grams.h"
#include "index/internal/json_numbers.h"
#include "index/internal/postings.h"
#include "index/internal/postings_index.h"
#include "index/internal/scalar_file.h"
#include "index/internal/section_file.h"

namespace quiver::index {

namespace {

constexpr uint32_t kRecipeSection = 1;
constexpr uint32_t kNullsSection = 10;
/// What one byte of the recipe says.
constexpr uint8_t kElementsFlag = 1;
constexpr uint8_t kTextsAsNumbersFlag = 2;

bool IsServed(const ScalarRecipe& recipe) {
  const DataType type = recipe.value_type;
  if (recipe.structure == ScalarStructure::kBoxes) {
    return recipe.type == DataType::kGeometry && type == recipe.type && !recipe.elements && recipe.path.empty();
  }
  if (recipe.structure == ScalarStructure::kDocuments) {
    return recipe.type == DataType::kJson && type == recipe.type && !recipe.elements && !recipe.texts_as_numbers;
  }
  if (recipe.texts_as_numbers && (recipe.type != DataType::kJson || type != DataType::kDouble || recipe.elements)) {
    return false;
  }
  if (recipe.structure == ScalarStructure::kGrams && (recipe.elements || type != DataType::kVarChar)) return false;
  const bool scalar = type == DataType::kBool || IsInteger(type) || IsFloating(type) || type == DataType::kVarChar ||
                      type == DataType::kString || type == DataType::kTimestamptz;
  switch (recipe.type) {
    case DataType::kJson: return type == DataType::kBool || type == DataType::kDouble || type == DataType::kVarChar;
    case DataType::kArray: return scalar && recipe.elements && recipe.path.empty();
    default: return scalar && type == recipe.type && !recipe.elements && recipe.path.empty();
  }
}

// --- building --------------------------------------------------------------------------------------------------------

/// What a column says beside its values.
struct Remarks {
  std::vector<uint32_t> nulls;
  bool rounded = false;  ///< JSON: some number is no double, or some text was indexed as a number
};

/// Hands the values of rows to a builder, which has Add for integers, reals and texts.
template <typename Builder>
class Reader {
 public:
  Reader(const ScalarRecipe& recipe, Builder& builder, Remarks& remarks)
      : recipe_(recipe), builder_(builder), remarks_(remarks), path_(expr::StepsOf(recipe.path)) {}

  void AddRow(const ColumnView& column, uint32_t row) {
    if (column.IsNull(row)) {
      remarks_.nulls.push_back(row);
      return;
    }
    const std::string_view bytes = column.Bytes(row);
    if (recipe_.type == DataType::kJson) return AddJson(expr::FindJson(bytes, path_), row);
    if (!recipe_.elements) return AddValue(bytes, row);
    expr::ForEachElement(bytes, recipe_.value_type, [&](std::string_view element) {
      AddValue(element, row);
      return true;
    });
  }

 private:
  void AddValue(std::string_view bytes, uint32_t row) {
    switch (DomainOf(recipe_.value_type)) {
      case ValueDomain::kTexts: return builder_.Add(bytes, row);
      case ValueDomain::kReals: return AddReal(expr::ReadReal(recipe_.value_type, bytes), row);
      default: return builder_.Add(expr::ReadWhole(recipe_.value_type, bytes), row);
    }
  }

  void AddReal(double value, uint32_t row) {
    if (!std::isnan(value)) builder_.Add(value, row);  // NaN equals nothing and lies in no interval
  }

  void AddJson(const expr::JsonValue& value, uint32_t row) {
    if (!recipe_.elements) return AddJsonScalar(value, row);
    expr::JsonArrayCursor cursor(value);
    for (expr::JsonValue element; cursor.Next(&element);) AddJsonScalar(element, row);
  }

  void AddJsonScalar(const expr::JsonValue& value, uint32_t row) {
    if (recipe_.value_type == DataType::kBool) {
      if (value.type == expr::JsonType::kBool) builder_.Add(value.truth() ? int64_t{1} : int64_t{0}, row);
    } else if (recipe_.value_type == DataType::kDouble) {
      expr::JsonNumber number;
      if (value.type == expr::JsonType::kNumber && expr::ReadJsonNumber(value.text, &number)) {
        AddReal(NearestDouble(number, &remarks_.rounded), row);
      } else if (recipe_.texts_as_numbers && value.type == expr::JsonType::kString) {
        std::string buffer;
        const auto held = NumberInText(expr::JsonStringText(value, &buffer));
        if (!held) return;
        AddReal(held->ToDouble(), row);
        remarks_.rounded = true;
      }
    } else if (value.type == expr::JsonType::kString) {
      if (!value.escaped) return builder_.Add(value.text, row);
      std::string buffer;
      const std::string_view text = expr::JsonStringText(value, &buffer);
      if constexpr (Builder::kKeepsTexts) {
        builder_.Add(std::string_view(decoded_.emplace_back(text)), row);
      } else {
        builder_.Add(text, row);
      }
    }
  }

  const ScalarRecipe& recipe_;
  Builder& builder_;
  Remarks& remarks_;
  std::vector<expr::PathStep> path_;
  std::deque<std::string> decoded_;
};

/// Both passes of a GramBuilder as a builder of a Reader.
class GramSink {
 public:
  explicit GramSink(uint32_t rows) : builder_(rows) {}
  static constexpr bool kKeepsTexts = false;
  void Add(std::string_view text, uint32_t row) {
    if (placing_) {
      builder_.Place(text, row);
    } else {
      builder_.Count(text);
    }
  }
  void Add(int64_t, uint32_t) {}  // only texts are asked for
  void Add(double, uint32_t) {}
  Status FinishCounting() {
    placing_ = true;
    return builder_.FinishCounting();
  }
  Status Finish(uint32_t rows, SectionFileWriter& writer) { return builder_.Finish(rows, writer); }

 private:
  GramBuilder builder_;
  bool placing_ = false;
};

/// Calls `add` for each row, and asks now and then whether the index is wanted still.
template <typename Add>
Status ForEachRow(uint32_t rows, const BuildControl& control, const Add& add) {
  constexpr uint32_t kRowsPerLook = 1U << 16;
  for (uint32_t row = 0; row < rows; ++row) {
    if (row % kRowsPerLook == 0 && control.cancelled && control.cancelled()) {
      return Error(StatusCode::kCancelled, "the index is not wanted any more");
    }
    add(row);
  }
  return Status::Ok();
}

Status BuildPostings(const ScalarRecipe& recipe, const ColumnView& column, const BuildControl& control,
                     Remarks& remarks, SectionFileWriter& writer) {
  const auto rows = static_cast<uint32_t>(column.rows);
  PostingsBuilder builder(DomainOf(recipe.value_type), rows);
  Reader reader(recipe, builder, remarks);
  QUIVER_RETURN_IF_ERROR(ForEachRow(rows, control, [&](uint32_t row) { reader.AddRow(column, row); }));
  return builder.Finish(writer);
}

Status BuildGrams(const ScalarRecipe& recipe, const ColumnView& column, const BuildControl& control, Remarks& remarks,
                  SectionFileWriter& writer) {
  const auto rows = static_cast<uint32_t>(column.rows);
  GramSink grams(rows);
  Reader reader(recipe, grams, remarks);
  const auto add = [&](uint32_t row) { reader.AddRow(column, row); };
  QUIVER_RETURN_IF_ERROR(ForEachRow(rows, control, add));
  QUIVER_RETURN_IF_ERROR(grams.FinishCounting());
  remarks.nulls.clear();  // they are told again
  QUIVER_RETURN_IF_ERROR(ForEachRow(rows, control, add));
  return grams.Finish(rows, writer);
}

Status BuildDocuments(const ScalarRecipe& recipe, const ColumnView& column, const BuildControl& control,
                      Remarks& remarks, SectionFileWriter& writer) {
  const auto rows = static_cast<uint32_t>(column.rows);
  PostingsBuilder builder(ValueDomain::kTexts, rows);
  DocumentReader reader(builder, remarks.rounded);
  const std::vector<expr::PathStep> path = expr::StepsOf(recipe.path);
  QUIVER_RETURN_IF_ERROR(ForEachRow(rows, control, [&](uint32_t row) {
    if (column.IsNull(row)) return remarks.nulls.push_back(row);
    reader.Add(expr::FindJson(column.Bytes(row), path), row);
  }));
  return builder.Finish(writer);
}

Status BuildBoxes(const ColumnView& column, const BuildControl& control, Remarks& remarks, SectionFileWriter& writer) {
  BoxTreeBuilder boxes;
  QUIVER_RETURN_IF_ERROR(ForEachRow(static_cast<uint32_t>(column.rows), control, [&](uint32_t row) {
    if (column.IsNull(row)) return remarks.nulls.push_back(row);
    const Extent extent = ExtentOf(column.Bytes(row));
    if (!extent.sound) return;
    if (extent.boxed) {
      boxes.Add(extent.box, row);
    } else {
      boxes.AddUnbounded(row);
    }
  }));
  boxes.Finish(writer);
  return Status::Ok();
}

std::string EncodeRecipe(const ScalarRecipe& recipe, bool rounded) {
  ByteWriter writer;
  writer.Value(recipe.field_id);
  writer.Value(static_cast<int32_t>(recipe.type));
  writer.Value(static_cast<int32_t>(recipe.value_type));
  writer.Value(static_cast<uint8_t>((recipe.elements ? kElementsFlag : 0) |
                                    (recipe.texts_as_numbers ? kTextsAsNumbersFlag : 0)));
  writer.Value(static_cast<uint8_t>(rounded ? 1 : 0));
  writer.Value(static_cast<uint32_t>(recipe.path.size()));
  for (const std::string& key : recipe.path) writer.Bytes(key);
  std::string bytes = writer.Take();
  // Read before the checksums of sections are compared: it has one of its own.
  const uint32_t crc = Crc32c(bytes);
  bytes.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  return bytes;
}

Result<std::pair<ScalarRecipe, bool>> DecodeRecipe(const SectionFile& file, ScalarStructure structure) {
  const std::string_view bytes = file.Section(kRecipeSection);
  constexpr size_t kCrcSize = 4;
  if (bytes.size() < kCrcSize) return file.Damaged("it has no recipe");
  const std::string_view body = bytes.substr(0, bytes.size() - kCrcSize);
  ByteReader trailer(bytes.substr(body.size()));
  if (trailer.Value<uint32_t>() != Crc32c(body)) return file.Damaged("the checksum of its recipe does not match");
  ByteReader reader(body);
  ScalarRecipe recipe;
  recipe.structure = structure;
  recipe.field_id = reader.Value<int64_t>();
  recipe.type = static_cast<DataType>(reader.Value<int32_t>());
  recipe.value_type = static_cast<DataType>(reader.Value<int32_t>());
  const auto flags = reader.Value<uint8_t>();
  recipe.elements = (flags & kElementsFlag) != 0;
  recipe.texts_as_numbers = (flags & kTextsAsNumbersFlag) != 0;
  const bool rounded = reader.Value<uint8_t>() != 0;
  const auto keys = reader.Value<uint32_t>();
  for (uint32_t i = 0; i < keys && reader.ok(); ++i) recipe.path.emplace_back(reader.Bytes());
  if (!reader.ok() || !reader.AtEnd() || !IsServed(recipe)) return file.Damaged("its recipe is not understood");
  return std::pair(std::move(recipe), rounded);
}

}  // namespace

Result<std::string> BuildScalarIndex(const ScalarRecipe& recipe, const ColumnView& column,
                                     const BuildControl& control) {
  if (!IsServed(recipe)) {
    return Error(StatusCode::kIndexNotSupported, "no structure serves values of type {} of a field of type {}",
                 DataTypeName(recipe.value_type), DataTypeName(recipe.type));
  }
  ByteWriter head;
  head.Value(static_cast<uint32_t>(column.rows));
  head.Value(static_cast<uint8_t>(recipe.structure));
  SectionFileWriter writer(kScalarFileKind, head.Take());
  Remarks remarks;
  switch (recipe.structure) {
    case ScalarStructure::kGrams: {
      QUIVER_RETURN_IF_ERROR(BuildGrams(recipe, column, control, remarks, writer));
      break;
    }
    case ScalarStructure::kBoxes: {
      QUIVER_RETURN_IF_ERROR(BuildBoxes(column, control, remarks, writer));
      break;
    }
    case ScalarStructure::kDocuments: {
      QUIVER_RETURN_IF_ERROR(BuildDocuments(recipe, column, control, remarks, writer));
      break;
    }
    default: QUIVER_RETURN_IF_ERROR(BuildPostings(recipe, column, control, remarks, writer));
  }
  writer.AddFirst(kRecipeSection, EncodeRecipe(recipe, remarks.rounded));
  writer.AddValues<uint32_t>(kNullsSection, remarks.nulls);
  return writer.Take();
}

Result<std::unique_ptr<ScalarIndex>> OpenScalarIndex(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(SectionFile file, SectionFile::Open(kScalarFileKind, bytes, name));
  ByteReader head(file.head());
  const auto rows = head.Value<uint32_t>();
  const auto structure = static_cast<ScalarStructure>(head.Value<uint8_t>());
  if (structure != ScalarStructure::kPostings && structure != ScalarStructure::kGrams &&
      structure != ScalarStructure::kBoxes && structure != ScalarStructure::kDocuments) {
    return file.Damaged("its structure is not known");
  }
  QUIVER_ASSIGN_OR_RETURN(const auto recipe, DecodeRecipe(file, structure));
  const size_t null_bytes = file.Section(kNullsSection).size();
  QUIVER_ASSIGN_OR_RETURN(const auto nulls, file.Values<uint32_t>(kNullsSection, null_bytes / sizeof(uint32_t)));
  if (structure == ScalarStructure::kBoxes) {
    QUIVER_ASSIGN_OR_RETURN(BoxTree tree, BoxTree::Open(file));
    return MakeBoxIndex({std::move(file), recipe.first, rows, nulls}, std::move(tree));
  }
  const bool grams = structure == ScalarStructure::kGrams;
  const bool documents = structure == ScalarStructure::kDocuments;
  const ValueDomain domain = grams       ? ValueDomain::kIntegers
                             : documents ? ValueDomain::kTexts
                                         : DomainOf(recipe.first.value_type);
  QUIVER_ASSIGN_OR_RETURN(const Postings postings, Postings::Open(file, domain, rows));
  IndexBase base{std::move(file), recipe.first, rows, nulls};
  if (grams) return MakeGramIndex(std::move(base), postings);
  if (documents) return MakeDocumentIndex(std::move(base), recipe.second, postings);
  return MakePostingsIndex(std::move(base), recipe.second, postings);
}

bool IsScalarIndexFile(std::string_view bytes) { return bytes.starts_with(kScalarFileKind.magic); }

uint64_t ScalarBuildMemory(const ScalarRecipe& recipe, const ColumnView& column) {
  switch (recipe.structure) {
    // A table of all grams; the rows of each gram, twice while the file is put together.
    case ScalarStructure::kGrams:
      if (column.rows < GramBuilder::kLeastTableRows) return 24 * BytesOf(column);
      return GramBuilder::kTableBytes + 12 * BytesOf(column);
    case ScalarStructure::kBoxes: return column.rows * 160;
    // A scalar of a document takes some eight bytes of text; an entry, a list node and a pair, and its text in the
    // file.
    case ScalarStructure::kDocuments: return 16 * BytesOf(column);
    default: break;
  }
  const uint64_t per_pair = DomainOf(recipe.value_type) == ValueDomain::kTexts ? 24 : 16;
  const uint64_t bytes = column.width == 0 && column.dictionary == nullptr ? BytesOf(column) : 0;
  // The elements of arrays: their bytes tell how many there may be.
  const uint64_t pairs = recipe.elements ? std::max<uint64_t>(column.rows, bytes / 8) : column.rows;
  return pairs * (per_pair + 12) + bytes;
}

}  // namespace quiver::index
