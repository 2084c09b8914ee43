// File: api/wire.h
// Short names for the generated message types, declared without including them:
//
//   Result<Column> DecodeColumn(const wire::schema::FieldData& data, ...);
#pragma once

namespace milvus::proto {
namespace common {
class KeyValuePair;
class PlaceholderGroup;
class Status;
}  // namespace common
namespace schema {
class CollectionSchema;
class FieldData;
class FieldSchema;
class IDs;
class TemplateValue;
class ValueField;
}  // namespace schema
namespace milvus {}
}  // namespace milvus::proto

namespace quiver::api {
namespace wire {
namespace common = ::milvus::proto::common;
namespace schema = ::milvus::proto::schema;
using namespace ::milvus::proto::milvus;  // NOLINT: the service's own messages, wire::InsertRequest
}  // namespace wire
}  // namespace quiver::api
