// Databases.

#include "api/handlers.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "database.pb.h"
#include "schema/validation.h"

namespace quiver::api {

Status Handlers::CreateDatabase(const wire::CreateDatabaseRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateDatabaseName(request.db_name()));
  const KeyValues properties = DecodeKeyValues(request.properties());
  QUIVER_RETURN_IF_ERROR(ReadTimeZone(properties).status());
  return engine_.CreateDatabase(request.db_name(), properties);
}

Status Handlers::DropDatabase(const wire::DropDatabaseRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateDatabaseName(request.db_name()));
  return engine_.DropDatabase(request.db_name());
}

Status Handlers::ListDatabases(const wire::ListDatabasesRequest&, wire::ListDatabasesResponse* response,
                               const RpcCall&) {
  for (const engine::DatabaseInfo& info : engine_.ListDatabases()) {
    response->add_db_names(info.name);
    response->add_created_timestamp(info.created);
    response->add_db_ids(info.id);
  }
  return Status::Ok();
}

Status Handlers::AlterDatabase(const wire::AlterDatabaseRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateDatabaseName(request.db_name()));
  if (request.properties_size() > 0 && request.delete_keys_size() > 0) {
    return InvalidParameter("cannot provide both DeleteKeys and ExtraParams: invalid parameter");
  }
  const KeyValues properties = DecodeKeyValues(request.properties());
  QUIVER_RETURN_IF_ERROR(ReadTimeZone(properties).status());
  return engine_.AlterDatabase(request.db_name(), properties,
                               {request.delete_keys().begin(), request.delete_keys().end()});
}

Status Handlers::DescribeDatabase(const wire::DescribeDatabaseRequest& request,
                                  wire::DescribeDatabaseResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const engine::DatabaseInfo info, engine_.DescribeDatabase(request.db_name()));
  response->set_db_name(info.name);
  response->set_dbid(info.id);
  response->set_created_timestamp(info.created);
  EncodeKeyValues(info.properties, response->mutable_properties());
  return Status::Ok();
}

void Handlers::AddDatabaseMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("CreateDatabase", Lane::kControl, self, &Handlers::CreateDatabase));
  out->push_back(Sync("DropDatabase", Lane::kControl, self, &Handlers::DropDatabase));
  out->push_back(Sync("ListDatabases", Lane::kAtOnce, self, &Handlers::ListDatabases));
  out->push_back(Sync("AlterDatabase", Lane::kControl, self, &Handlers::AlterDatabase));
  out->push_back(Sync("DescribeDatabase", Lane::kAtOnce, self, &Handlers::DescribeDatabase));
}

}  // namespace quiver::api
