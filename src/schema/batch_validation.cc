// Rows of a write, checked column by column before anything is written.
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "schema/default_column.h"
#include "schema/limits.h"
#include "schema/timestamp.h"
#include "schema/validation.h"

namespace quiver {
namespace {

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {StatusCode::kInvalidParameter, fmt::format(format, std::forward<Args>(args)...) + ": invalid parameter"};
}

// The published form "<text>: invalid parameter[expected=A][actual=B]".
template <typename Expected, typename Actual>
Status Mismatch(const Expected& expected, const Actual& actual, std::string_view text) {
  return InvalidParameter("{}: invalid parameter[expected={}][actual={}]", text, expected, actual);
}

// --- which columns are there -----------------------------------------------------------------------------------------

bool IsGenerated(const FieldSchema& field, const BatchRules& rules) {
  if (field.is_function_output) return true;
  return field.is_primary && field.auto_id && rules.kind == WriteKind::kInsert && !rules.allow_insert_auto_id;
}

Status CheckColumnSet(const CollectionSchema& schema, const ColumnBatch& batch, const BatchRules& rules) {
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    const FieldSchema* field = schema.FindById(batch.columns[i].field_id);
    if (field == nullptr) return Invalid("fieldName {} not exist in collection schema", batch.columns[i].field_id);
    for (size_t j = 0; j < i; ++j) {
      if (batch.columns[j].field_id == batch.columns[i].field_id) {
        return InvalidParameter(
            "The FieldDatas parameter being passed contains duplicate data for this field: invalid "
            "parameter[field={}]",
            field->name);
      }
    }
  }

  size_t generated = 0;
  bool generated_given = false;
  for (const FieldSchema& field : schema.fields) {
    const bool given = batch.Find(field.field_id) != nullptr;
    if (IsGenerated(field, rules)) {
      ++generated;
      generated_given |= given;
      continue;
    }
    if (given || field.is_dynamic || field.nullable || field.default_value) continue;
    if (field.is_primary) {
      if (field.auto_id && rules.kind == WriteKind::kInsert) continue;  // allowed, but not required
      if (rules.kind == WriteKind::kUpsert) {
        return Invalid(
            "must assign pk when upsert, primary field: {}: fieldSchema({}) has no corresponding fieldData "
            "pass in",
            field.name, field.name);
      }
    }
    if (rules.partial_update) continue;
    return Invalid("fieldSchema({}) has no corresponding fieldData pass in", field.name);
  }
  if (generated_given) {
    return Mismatch(schema.fields.size(), batch.columns.size() + generated, "more fieldData has pass in");
  }
  return Status::Ok();
}

// --- shape -----------------------------------------------------------------------------------------------------------

int64_t DimOfWidth(DataType type, size_t width) {
  const size_t bytes = FixedWidth(type, 8);  // of eight dimensions, so that binary vectors count too
  return static_cast<int64_t>(width * 8 / bytes);
}

std::string TypeMismatchText(const FieldSchema& field) {
  switch (field.type) {
    case DataType::kVarChar: return fmt::format("varchar field '{}' is illegal, array type mismatch", field.name);
    case DataType::kJson: return fmt::format("json field '{}' is illegal, array type mismatch", field.name);
    case DataType::kArray:
    case DataType::kArrayOfVector: return fmt::format("array field '{}' is illegal, array type mismatch", field.name);
    case DataType::kFloatVector:
      return fmt::format("float vector field '{}' is illegal, array type mismatch", field.name);
    case DataType::kFloat16Vector:
      return fmt::format("float16 vector field '{}' is illegal, array type mismatch", field.name);
    case DataType::kBFloat16Vector:
      return fmt::format("bfloat16 vector field '{}' is illegal, array type mismatch", field.name);
    case DataType::kBinaryVector:
      return fmt::format("binary float vector field '{}' is illegal, array type mismatch", field.name);
    case DataType::kSparseFloatVector:
      return fmt::format("sparse float field '{}' is illegal, array type mismatch", field.name);
    case DataType::kInt8Vector:
      return fmt::format("int8 vector field '{}' is illegal, array type mismatch", field.name);
    default: return fmt::format("field '{}' is illegal, array type mismatch", field.name);
  }
}

Status CheckShape(const FieldSchema& field, const Column& column, size_t rows) {
  const bool array = field.type == DataType::kArray || field.type == DataType::kArrayOfVector;
  if (column.type != field.type || (array && column.element_type != field.element_type)) {
    return Mismatch(fmt::format("need {} array", DataTypeName(array ? field.element_type : field.type)),
                    fmt::format("got {}", DataTypeName(array ? column.element_type : column.type)),
                    TypeMismatchText(field));
  }
  if (IsDenseVector(field.type) && column.width != FixedWidth(field.type, field.dim)) {
    const int64_t dim = DimOfWidth(field.type, column.width);
    return Mismatch(
        field.dim, dim,
        fmt::format("the dim ({}) of field data({}) is not equal to schema dim ({})", dim, field.name, field.dim));
  }
  if (column.rows != rows) {
    return Mismatch(rows, column.rows,
                    fmt::format("the num_rows ({}) of field ({}) is not equal to passed num_rows ({})", column.rows,
                                field.name, rows));
  }
  // What is left can only be wrong through a fault of ours: the columns are built by the request decoder.
  const bool whole = column.is_fixed()
                         ? column.fixed.size() == rows * column.width
                         : column.offsets.size() == rows + 1 && column.offsets.back() <= column.blob.size();
  if (!whole || (!column.valid.empty() && column.valid.size() != rows)) {
    return Error(StatusCode::kInternal, "column of field {} is not whole", field.name);
  }
  return Status::Ok();
}

Status CheckNulls(const FieldSchema& field, const Column& column) {
  if (field.nullable || field.default_value || field.is_dynamic || column.valid.empty()) return Status::Ok();
  const void* null = std::memchr(column.valid.data(), 0, column.valid.size());
  if (null == nullptr) return Status::Ok();
  const auto row = static_cast<size_t>(static_cast<const uint8_t*>(null) - column.valid.data());
  if (field.is_primary) return Invalid("primary field not support null, field: {}, row number: {}", field.name, row);
  return Mismatch(
      0, column.valid.size(),
      fmt::format("the length of valid_data of field({}) is wrong, the field is not nullable, row number: {}",
                  field.name, row));
}

// --- floating-point values -------------------------------------------------------------------------------------------

// Returns whether any of `count` values has all exponent bits set (NaN or infinity). Adding one to the lowest exponent
// bit carries into the sign position exactly then; the loop has no branch, so that the compiler vectorises it.
template <typename Word, Word kExponentLow>
bool HasNonFinite(const std::byte* data, size_t count) {
  constexpr Word kSign = static_cast<Word>(Word{1} << (sizeof(Word) * 8 - 1));
  constexpr Word kRest = static_cast<Word>(kSign - 1);
  constexpr size_t kBlock = 4096;
  while (count > 0) {
    const size_t block = std::min(count, kBlock);
    Word carried = 0;
    for (size_t i = 0; i < block; ++i) {
      Word word;
      std::memcpy(&word, data + i * sizeof(Word), sizeof(Word));
      carried = static_cast<Word>(carried | static_cast<Word>((word & kRest) + kExponentLow));
    }
    if ((carried & kSign) != 0) return true;
    data += block * sizeof(Word);
    count -= block;
  }
  return false;
}

bool HasNonFinite(DataType type, const std::byte* data, size_t bytes) {
  switch (type) {
    case DataType::kFloat:
    case DataType::kFloatVector: return HasNonFinite<uint32_t, 0x0080'0000U>(data, bytes / 4);
    case DataType::kDouble: return HasNonFinite<uint64_t, 0x0010'0000'0000'0000ULL>(data, bytes / 8);
    case DataType::kFloat16Vector: return HasNonFinite<uint16_t, 0x0400>(data, bytes / 2);
    case DataType::kBFloat16Vector: return HasNonFinite<uint16_t, 0x0080>(data, bytes / 2);
    default: return false;
  }
}

std::string_view NonFiniteName(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

// The slow path: names the first bad value of a column that has one. Null rows hold zeros.
Status NameNonFinite(const FieldSchema& field, const Column& column) {
  for (size_t row = 0; row < column.rows; ++row) {
    const std::string_view bytes = column.Bytes(row);
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    if (!HasNonFinite(field.type, data, bytes.size())) continue;
    if (field.type == DataType::kFloat16Vector || field.type == DataType::kBFloat16Vector) {
      return Invalid(
          "{} vector contain nan or infinity value. field: {}, row number: {}, a value is not a number or "
          "infinity",
          field.type == DataType::kFloat16Vector ? "float16" : "bfloat16", field.name, row);
    }
    const size_t width = field.type == DataType::kDouble ? 8 : 4;
    for (size_t at = 0; at < bytes.size(); at += width) {
      if (!HasNonFinite(field.type, data + at, width)) continue;
      double value = 0;
      if (width == 8) {
        std::memcpy(&value, data + at, width);
      } else {
        float single = 0;
        std::memcpy(&single, data + at, width);
        value = single;
      }
      return Invalid("value '{}' is not a number or infinity, field: {}, row number: {}", NonFiniteName(value),
                     field.name, row);
    }
  }
  return Error(StatusCode::kInternal, "field {} has a non-finite value that was not found again", field.name);
}

Status CheckFinite(const FieldSchema& field, const Column& column) {
  if (!HasNonFinite(field.type, column.fixed.data(), column.fixed.size())) return Status::Ok();
  return NameNonFinite(field, column);
}

Status CheckTimestamps(const FieldSchema& field, const Column& column) {
  for (size_t row = 0; row < column.rows; ++row) {
    const auto micros = column.Get<int64_t>(row);
    if (micros < kMinTimestamp || micros > kMaxTimestamp) {
      return Invalid(
          "timestamptz field '{}' is out of range, expected the years 0000 to 9999, row number: {}, value: {}",
          field.name, row, micros);
    }
  }
  return Status::Ok();
}

Status CheckSparse(const FieldSchema& field, const Column& column) {
  for (size_t row = 0; row < column.rows; ++row) {
    const std::string_view bytes = column.Bytes(row);
    if (bytes.size() % 8 != 0) {
      return Invalid("invalid data length in sparse float vector: {}, field: {}, row number: {}", bytes.size(),
                     field.name, row);
    }
    int64_t previous = -1;
    for (size_t at = 0; at < bytes.size(); at += 8) {
      uint32_t index = 0;
      float value = 0;
      std::memcpy(&index, bytes.data() + at, 4);
      std::memcpy(&value, bytes.data() + at + 4, 4);
      if (index > limits::kMaxSparseIndex) {
        return Invalid("invalid index in sparse float vector: must be less than 2^32-1, field: {}, row number: {}",
                       field.name, row);
      }
      if (static_cast<int64_t>(index) <= previous) {
        return Invalid("unsorted or same indices in sparse float vector, field: {}, row number: {}", field.name, row);
      }
      if (!std::isfinite(value)) {
        return Invalid("value '{}' is not a number or infinity, field: {}, row number: {}", NonFiniteName(value),
                       field.name, row);
      }
      previous = index;
    }
  }
  return Status::Ok();
}

// --- strings and arrays ----------------------------------------------------------------------------------------------

bool IsAscii(std::string_view text) {
  size_t at = 0;
  uint64_t seen = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    seen |= word;
  }
  for (; at < text.size(); ++at) seen |= static_cast<uint8_t>(text[at]);
  return (seen & 0x8080'8080'8080'8080ULL) == 0;
}

// Well-formed UTF-8 as in the Unicode standard, table 3-7: no overlong forms, no surrogates, at most U+10FFFF.
bool IsUtf8(std::string_view text) {
  if (IsAscii(text)) return true;
  const auto byte = [&text](size_t i) { return static_cast<uint8_t>(text[i]); };
  size_t at = 0;
  while (at < text.size()) {
    const uint8_t lead = byte(at);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    size_t length = 0;
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      length = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      length = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (at + length > text.size()) return false;
    if (byte(at + 1) < low || byte(at + 1) > high) return false;
    for (size_t i = 2; i < length; ++i) {
      if ((byte(at + i) & 0xC0) != 0x80) return false;
    }
    at += length;
  }
  return true;
}

Status CheckVarChar(const FieldSchema& field, const Column& column, int64_t most_bytes) {
  const auto max_length = static_cast<size_t>(most_bytes);
  for (size_t row = 0; row < column.rows; ++row) {
    const size_t length = column.Bytes(row).size();
    if (length > max_length) {
      return Invalid("length of varchar field {} exceeds max length, row number: {}, length: {}, max length: {}",
                     field.name, row, length, max_length);
    }
  }
  // Almost always all of it is ASCII, which is seen in one pass over the whole column.
  if (IsAscii(column.blob)) return Status::Ok();
  for (size_t row = 0; row < column.rows; ++row) {
    if (!IsUtf8(column.Bytes(row))) {
      return Invalid("varchar field {} should be utf-8 format, but row: {} not utf-8 format", field.name, row);
    }
  }
  return Status::Ok();
}

// The decoder made these bytes from text or normalized them, so a fault can only be ours.
Status CheckGeometry(const FieldSchema& field, const Column& column) {
  for (size_t row = 0; row < column.rows; ++row) {
    if (!column.IsNull(row) && column.Bytes(row).empty()) {
      return Error(StatusCode::kInternal, "geometry of field {} is empty, row number: {}", field.name, row);
    }
  }
  return Status::Ok();
}

// The sub-fields of a struct array are given together, and their arrays are of one length in every row.
Status CheckStructArrays(const CollectionSchema& schema, const ColumnBatch& batch) {
  for (const StructArraySchema& one : schema.struct_arrays) {
    const Column* first = nullptr;
    const FieldSchema* first_field = nullptr;
    size_t given = 0;
    const auto subs = schema.SubFields(one.name);
    for (const FieldSchema* sub : subs) {
      const Column* column = batch.Find(sub->field_id);
      if (column == nullptr) continue;
      ++given;
      if (first == nullptr) {
        first = column;
        first_field = sub;
        continue;
      }
      for (size_t row = 0; row < batch.rows; ++row) {
        const auto length = [&](const Column& of) -> int64_t {
          return of.IsNull(row) ? -1 : ArrayReader(of.Bytes(row), DataType::kNone).size();
        };
        if (length(*column) != length(*first)) {
          return Invalid("inconsistent array length in struct array field {}: {} has {}, {} has {}, row number: {}",
                         one.name, first_field->name, length(*first), sub->name, length(*column), row);
        }
      }
    }
    if (given != 0 && given != subs.size()) {
      return Invalid("struct array field {} needs all of its {} sub-fields, {} given", one.name, subs.size(), given);
    }
  }
  return Status::Ok();
}

// The vectors of one row of an array of vectors, each of `width` bytes.
Status CheckVectors(const FieldSchema& field, size_t row, std::string_view vectors, size_t width) {
  const auto* data = reinterpret_cast<const std::byte*>(vectors.data());
  if (!HasNonFinite(field.element_type, data, vectors.size())) return Status::Ok();
  size_t at = 0;
  while (!HasNonFinite(field.element_type, data + at * width, width)) ++at;
  return Invalid("a value is not a number or infinity, field: {}, row number: {}, array index: {}", field.name, row,
                 at);
}

Status CheckArray(const FieldSchema& field, const Column& column) {
  const size_t element_width = FixedWidth(field.element_type, field.dim);
  for (size_t row = 0; row < column.rows; ++row) {
    if (column.IsNull(row)) continue;
    const std::string_view bytes = column.Bytes(row);
    uint32_t count = 0;
    if (bytes.size() < sizeof(count)) return Error(StatusCode::kInternal, "array of field {} is not whole", field.name);
    std::memcpy(&count, bytes.data(), sizeof(count));
    if (static_cast<int64_t>(count) > field.max_capacity) {
      return Mismatch("valid length array", "array length exceeds max capacity",
                      fmt::format("the length ({}) of {}th array exceeds max capacity ({}), field: {}", count, row,
                                  field.max_capacity, field.name));
    }
    size_t at = sizeof(count);
    if (element_width != 0) {
      at += count * element_width;
      if (IsVector(field.element_type) && at == bytes.size()) {
        QUIVER_RETURN_IF_ERROR(CheckVectors(field, row, bytes.substr(sizeof(count)), element_width));
      }
    } else {
      for (uint32_t i = 0; i < count; ++i) {
        uint32_t length = 0;
        if (bytes.size() - at < sizeof(length)) break;
        std::memcpy(&length, bytes.data() + at, sizeof(length));
        at += sizeof(length);
        if (bytes.size() - at < length) break;
        if (static_cast<int64_t>(length) > field.max_length) {
          return Invalid(
              "length of Array array field \"{}\" exceeds max length, row number: {}, array index: {}, length: {}, max "
              "length: {}",
              field.name, row, i, length, field.max_length);
        }
        if (!IsUtf8(bytes.substr(at, length))) {
          return Invalid("array field {} should be utf-8 format, but row: {} not utf-8 format", field.name, row);
        }
        at += length;
      }
    }
    if (at != bytes.size()) return Error(StatusCode::kInternal, "array of field {} is not whole", field.name);
  }
  return Status::Ok();
}

// --- JSON ------------------------------------------------------------------------------------------------------------

// Follows one JSON text: its depth, what stands at the top, and the keys of the top object where `schema` is given.
class JsonChecker : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, JsonChecker> {
 public:
  explicit JsonChecker(const CollectionSchema* schema) : schema_(schema) {}

  void Reset() {
    depth_ = 0;
    is_object_ = false;
    bad_key_.clear();
  }
  [[nodiscard]] bool is_object() const { return is_object_; }
  [[nodiscard]] bool too_deep() const { return depth_ > limits::kMaxJsonDepth; }
  /// The first top-level key that is also the name of a field; empty when there is none.
  [[nodiscard]] const std::string& bad_key() const { return bad_key_; }

  bool Default() { return true; }
  bool StartObject() {
    if (depth_ == 0) is_object_ = true;
    return ++depth_ <= limits::kMaxJsonDepth;
  }
  bool EndObject(rapidjson::SizeType /*members*/) {
    --depth_;
    return true;
  }
  bool StartArray() { return ++depth_ <= limits::kMaxJsonDepth; }
  bool EndArray(rapidjson::SizeType /*elements*/) {
    --depth_;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    if (schema_ == nullptr || depth_ != 1) return true;
    const std::string_view key(text, length);
    if (schema_->Find(key) == nullptr && key != kMetaFieldName) return true;
    bad_key_ = key;
    return false;
  }

 private:
  const CollectionSchema* schema_;
  int depth_ = 0;
  bool is_object_ = false;
  std::string bad_key_;
};

Status CheckJson(const CollectionSchema& schema, const FieldSchema& field, const Column& column) {
  // Numbers are checked for form and kept as text; reading them as doubles would refuse large ones and cost time.
  constexpr unsigned kFlags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;
  JsonChecker checker(field.is_dynamic ? &schema : nullptr);
  rapidjson::Reader reader;
  for (size_t row = 0; row < column.rows; ++row) {
    const std::string_view text = column.Bytes(row);
    if (text.empty() || text == "{}") continue;  // empty: one client's form of null
    if (text.size() > limits::kMaxJsonLength) {
      if (field.is_dynamic) {
        return Mismatch("valid length dynamic field", "length exceeds max length",
                        fmt::format("the length ({}) of dynamic field exceeds max length ({})", text.size(),
                                    limits::kMaxJsonLength));
      }
      return Mismatch("valid length json string", "length exceeds max length",
                      fmt::format("the length ({}) of json field ({}) exceeds max length ({})", text.size(), field.name,
                                  limits::kMaxJsonLength));
    }
    checker.Reset();
    rapidjson::MemoryStream memory(text.data(), text.size());
    rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream(memory);
    const rapidjson::ParseResult parsed = reader.Parse<kFlags>(stream, checker);
    if (checker.bad_key() == kMetaFieldName) {
      return Invalid("cannot set json key to: {}, row number: {}", kMetaFieldName, row);
    }
    if (!checker.bad_key().empty()) {
      return Invalid("dynamic field name cannot include the static field name: {}, row number: {}", checker.bad_key(),
                     row);
    }
    if (checker.too_deep()) {
      return Invalid("json field '{}' is illegal, row number: {}, nested deeper than {} levels", field.name, row,
                     limits::kMaxJsonDepth);
    }
    if (parsed.IsError()) {
      return Invalid("json field '{}' is illegal, row number: {}, {} at byte {}", field.name, row,
                     rapidjson::GetParseError_En(parsed.Code()), parsed.Offset());
    }
    if (field.is_dynamic && !checker.is_object()) {
      return Invalid("json field '{}' is illegal, row number: {}, dynamic values must be a JSON object", field.name,
                     row);
    }
  }
  return Status::Ok();
}

Status CheckValues(const CollectionSchema& schema, const FieldSchema& field, const Column& column) {
  switch (field.type) {
    case DataType::kFloat:
    case DataType::kDouble:
    case DataType::kFloatVector:
    case DataType::kFloat16Vector:
    case DataType::kBFloat16Vector: return CheckFinite(field, column);
    case DataType::kTimestamptz: return CheckTimestamps(field, column);
    case DataType::kSparseFloatVector: return CheckSparse(field, column);
    case DataType::kVarChar: return CheckVarChar(field, column, field.max_length);
    case DataType::kText: return CheckVarChar(field, column, limits::kMaxTextLength);
    case DataType::kGeometry: return CheckGeometry(field, column);
    case DataType::kArray:
    case DataType::kArrayOfVector: return CheckArray(field, column);
    case DataType::kJson: return CheckJson(schema, field, column);
    default: return Status::Ok();
  }
}

// --- completion ------------------------------------------------------------------------------------------------------

// Replaces the null rows of a fixed-width column by the bytes of `constant`, a column of one row.
void FillFixed(Column& column, const Column& constant) {
  for (size_t row = 0; row < column.rows; ++row) {
    if (column.valid[row] == 0) {
      std::memcpy(column.fixed.data() + row * column.width, constant.fixed.data(), column.width);
    }
  }
  column.valid.clear();
}

void FillVariable(Column& column, std::string_view constant) {
  Column filled = column;
  filled.valid.clear();
  filled.rows = 0;
  filled.offsets.assign(1, 0);
  filled.blob.clear();
  filled.Reserve(column.rows);
  for (size_t row = 0; row < column.rows; ++row) filled.Append(column.IsNull(row) ? constant : column.Bytes(row));
  column = std::move(filled);
}

bool HasNull(const Column& column) {
  return !column.valid.empty() && std::memchr(column.valid.data(), 0, column.valid.size()) != nullptr;
}

void ReplaceNulls(const FieldSchema& field, Column& column) {
  if (!HasNull(column)) {
    column.valid.clear();
    return;
  }
  if (!field.default_value) return;
  const Column constant = DefaultColumn(field, 1);
  if (column.is_fixed()) {
    FillFixed(column, constant);
  } else {
    FillVariable(column, constant.Bytes(0));
  }
}

// Empty JSON bytes stand for null. `$meta` is never null: there they are an object without keys.
void ReplaceEmptyJson(const FieldSchema& field, Column& column) {
  bool any = false;
  for (size_t row = 0; row < column.rows && !any; ++row) any = column.Bytes(row).empty();
  if (!any) return;
  Column fixed = Column::Make(column.field_id, column.type);
  fixed.Reserve(column.rows);
  for (size_t row = 0; row < column.rows; ++row) {
    const std::string_view text = column.Bytes(row);
    if (!text.empty() && !column.IsNull(row)) {
      fixed.Append(text);
    } else if (field.is_dynamic) {
      fixed.Append("{}");
    } else if (field.nullable) {
      fixed.AppendNull();
    } else {
      fixed.Append("null");
    }
  }
  column = std::move(fixed);
}

}  // namespace

Status ValidateBatch(const CollectionSchema& schema, const ColumnBatch& batch, const BatchRules& rules) {
  if (batch.rows == 0) return Mismatch("invalid num_rows", 0, "num_rows should be greater than 0");
  QUIVER_RETURN_IF_ERROR(CheckColumnSet(schema, batch, rules));
  for (const Column& column : batch.columns) {
    const FieldSchema& field = *schema.FindById(column.field_id);
    QUIVER_RETURN_IF_ERROR(CheckShape(field, column, batch.rows));
    QUIVER_RETURN_IF_ERROR(CheckNulls(field, column));
    QUIVER_RETURN_IF_ERROR(CheckValues(schema, field, column));
  }
  return CheckStructArrays(schema, batch);
}

Status CompleteBatch(const CollectionSchema& schema, ColumnBatch& batch) {
  for (const FieldSchema& field : schema.fields) {
    Column* column = batch.Find(field.field_id);
    if (column == nullptr) {
      if (field.is_primary && field.auto_id) continue;
      if (!field.is_dynamic && !field.nullable && !field.default_value) {
        return Error(StatusCode::kInternal, "field {} has no column after validation", field.name);
      }
      batch.columns.push_back(DefaultColumn(field, batch.rows));
      continue;
    }
    if (field.type == DataType::kJson) ReplaceEmptyJson(field, *column);
    ReplaceNulls(field, *column);
  }
  std::sort(batch.columns.begin(), batch.columns.end(),
            [](const Column& a, const Column& b) { return a.field_id < b.field_id; });
  return Status::Ok();
}

}  // namespace quiver
