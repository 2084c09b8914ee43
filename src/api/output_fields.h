// File: api/output_fields.h
// Output fields of a search or query: from the names that a client asks for to the columns that are read.
// Thread rule: pure functions.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "schema/collection_schema.h"

namespace quiver::api {

struct OutputFields {
  std::vector<int64_t> ids;        ///< columns to read, each once, in the order asked
  std::vector<std::string> names;  ///< as told to the client: field names and dynamic keys
};

/// Resolves names. "*" stands for all fields and all dynamic keys; a name that is no field is a dynamic key where the
/// collection has them. Errors: kInvalidParameter "field x not exist".
Result<OutputFields> ResolveOutputFields(const google::protobuf::RepeatedPtrField<std::string>& names,
                                         const CollectionSchema& schema);

}  // namespace quiver::api
