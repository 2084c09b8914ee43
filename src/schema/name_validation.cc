// Names of collections, aliases, partitions, fields, indexes and databases.
#include <array>
#include <string>

#include "schema/limits.h"
#include "schema/validation.h"

namespace quiver {
namespace {

// Written out, because <cctype> depends on the locale.
constexpr bool IsAlpha(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsWord(char c) { return c == '_' || IsAlpha(c) || IsDigit(c); }

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

template <typename Predicate>
bool AllOf(std::string_view text, Predicate predicate) {
  for (const char c : text) {
    if (!predicate(c)) return false;
  }
  return true;
}

Status ValidateCollectionOrAlias(std::string_view given, std::string_view kind) {
  const std::string_view name = Trim(given);
  if (name.empty()) return InvalidParameter("collection {} should not be empty: invalid parameter", kind);
  if (name.size() > limits::kMaxNameLength) {
    return InvalidParameter(
        "Invalid collection {}: {}. the length of a collection {} must be less than {} characters: invalid parameter",
        kind, name, kind, limits::kMaxNameLength);
  }
  if (name[0] != '_' && !IsAlpha(name[0])) {
    return InvalidParameter(
        "Invalid collection {}: {}. the first character of a collection {} must be an underscore or letter: "
        "invalid parameter",
        kind, name, kind);
  }
  if (!AllOf(name, IsWord)) {
    return InvalidParameter(
        "Invalid collection {}: {}. collection {} can only contain numbers, letters and underscores: invalid parameter",
        kind, name, kind);
  }
  return Status::Ok();
}

// Words of the filter language; a field of this name could not be used in a filter. "null" is refused in any case.
constexpr auto kFieldKeywords = std::to_array<std::string_view>({
    "$meta",
    "like",
    "exists",
    "EXISTS",
    "and",
    "or",
    "not",
    "in",
    "json_contains",
    "JSON_CONTAINS",
    "json_contains_all",
    "JSON_CONTAINS_ALL",
    "json_contains_any",
    "JSON_CONTAINS_ANY",
    "array_contains",
    "ARRAY_CONTAINS",
    "array_contains_all",
    "ARRAY_CONTAINS_ALL",
    "array_contains_any",
    "ARRAY_CONTAINS_ANY",
    "array_length",
    "ARRAY_LENGTH",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "text_match",
    "TEXT_MATCH",
    "phrase_match",
    "PHRASE_MATCH",
    "random_sample",
    "RANDOM_SAMPLE",
});

bool IsFieldKeyword(std::string_view name) {
  for (const std::string_view keyword : kFieldKeywords) {
    if (name == keyword) return true;
  }
  constexpr std::string_view kNull = "null";
  if (name.size() != kNull.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    if ((name[i] | 0x20) != kNull[i]) return false;
  }
  return true;
}

Status InvalidFieldName(std::string_view name, std::string_view reason) {
  return Error(StatusCode::kFieldInvalidName, "Invalid field name: {}. {}: field name invalid[field={}]", name, reason,
               name);
}

Status InvalidDatabaseName(std::string_view name, std::string_view reason) {
  return Error(StatusCode::kDatabaseInvalidName, "{}: invalid database name[database={}]", reason, name);
}

}  // namespace

Status ValidateCollectionName(std::string_view name) { return ValidateCollectionOrAlias(name, "name"); }

Status ValidateAliasName(std::string_view alias) { return ValidateCollectionOrAlias(alias, "alias"); }

Status ValidatePartitionName(std::string_view given) {
  const std::string_view name = Trim(given);
  const auto invalid = [name](std::string_view reason) {
    return InvalidParameter("Invalid partition name: {}. {}: invalid parameter", name, reason);
  };
  if (name.empty()) return invalid("Partition name should not be empty.");
  if (name.size() > limits::kMaxNameLength) {
    return invalid(
        fmt::format("The length of a partition name must be less than {} characters.", limits::kMaxNameLength));
  }
  if (!IsWord(name[0])) {
    return invalid("The first character of a partition name must be an underscore or letter.");
  }
  if (!AllOf(name, [](char c) { return IsWord(c) || c == '-'; })) {
    return invalid("Partition name can only contain numbers, letters and underscores.");
  }
  return Status::Ok();
}

Status ValidateFieldName(std::string_view given) {
  const std::string_view name = Trim(given);
  if (name.empty()) {
    return Error(StatusCode::kFieldInvalidName, "field name should not be empty: field name invalid[field=]");
  }
  if (name.size() > limits::kMaxNameLength) {
    return InvalidFieldName(
        name, fmt::format("The length of a field name must be less than {} characters.", limits::kMaxNameLength));
  }
  if (name[0] != '_' && !IsAlpha(name[0])) {
    return InvalidFieldName(name, "The first character of a field name must be an underscore or letter.");
  }
  if (!AllOf(name, IsWord)) {
    return InvalidFieldName(name, "Field name can only contain numbers, letters, and underscores.");
  }
  if (IsFieldKeyword(name)) return InvalidFieldName(name, fmt::format("{} is keyword in milvus.", name));
  return Status::Ok();
}

Status ValidateIndexName(std::string_view given) {
  const std::string_view name = Trim(given);
  if (name.empty()) return Status::Ok();
  const auto invalid = [name](std::string_view reason) {
    return InvalidParameter("Invalid index name: {}. {}: invalid parameter", name, reason);
  };
  if (name.size() > limits::kMaxNameLength) {
    return invalid(fmt::format("The length of a index name must be less than {} characters.", limits::kMaxNameLength));
  }
  if (name[0] != '_' && !IsAlpha(name[0])) {
    return invalid("The first character of a index name must be an underscore or letter.");
  }
  if (!AllOf(name, [](char c) { return IsWord(c) || c == '[' || c == ']'; })) {
    return invalid("Index name can only contain numbers, letters, and underscores.");
  }
  return Status::Ok();
}

Status ValidateDatabaseName(std::string_view name) {
  if (name.empty()) return InvalidDatabaseName(name, "database name couldn't be empty");
  if (name.size() > limits::kMaxNameLength) {
    return InvalidDatabaseName(
        name, fmt::format("the length of a database name must be less than {} characters", limits::kMaxNameLength));
  }
  if (name[0] != '_' && !IsAlpha(name[0])) {
    return InvalidDatabaseName(name, "the first character of a database name must be an underscore or letter");
  }
  if (!AllOf(name, IsWord)) {
    return InvalidDatabaseName(name, "database name can only contain numbers, letters and underscores");
  }
  return Status::Ok();
}

}  // namespace quiver
