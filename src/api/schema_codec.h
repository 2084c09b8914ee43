// File: api/schema_codec.h
// Collection and field schemas, to and from the wire. Decoding checks the form only (types known, default value of the
// field's type); what the schema means is checked by schema/validation.h. Default values of
// TIMESTAMPTZ fields travel as text in `zone`. Thread rule: pure functions.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string_view>

#include "api/wire.h"
#include "base/status.h"
#include "schema/collection_schema.h"
#include "schema/timestamp.h"

namespace quiver::api {

/// Decodes the bytes of CreateCollectionRequest.schema. Field ids are not taken over. Errors: kInvalidParameter;
/// kUnimplemented for functions and external sources.
Result<CollectionSchema> DecodeSchema(std::string_view bytes, const TimeZone& zone = {});
/// Decodes the bytes of AddCollectionFieldRequest.schema.
Result<FieldSchema> DecodeFieldSchema(std::string_view bytes, const TimeZone& zone = {});
Result<FieldSchema> DecodeFieldSchema(const wire::schema::FieldSchema& field, const TimeZone& zone = {});
/// A struct array and its sub-fields, by their full names.
struct DecodedStructArray {
  StructArraySchema schema;
  std::vector<FieldSchema> sub_fields;
};
Result<DecodedStructArray> DecodeStructArray(const wire::schema::StructArrayFieldSchema& message,
                                             const TimeZone& zone = {});

/// Writes a schema as DescribeCollection shows it: without `$meta`.
void EncodeSchema(const CollectionSchema& schema, wire::schema::CollectionSchema* out, const TimeZone& zone = {});

/// Copies string pairs; a repeated key keeps its last value.
KeyValues DecodeKeyValues(const google::protobuf::RepeatedPtrField<wire::common::KeyValuePair>& pairs);
void EncodeKeyValues(const KeyValues& pairs, google::protobuf::RepeatedPtrField<wire::common::KeyValuePair>* out);

}  // namespace quiver::api
