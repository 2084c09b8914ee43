// Aliases.

#include <string>

#include "api/handlers.h"
#include "collection.pb.h"
#include "schema/validation.h"

namespace quiver::api {

Status Handlers::CreateAlias(const wire::CreateAliasRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateAliasName(request.alias()));
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  return engine_.CreateAlias(request.db_name(), request.collection_name(), request.alias());
}

Status Handlers::DropAlias(const wire::DropAliasRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateAliasName(request.alias()));
  return engine_.DropAlias(request.db_name(), request.alias());
}

Status Handlers::AlterAlias(const wire::AlterAliasRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateAliasName(request.alias()));
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  return engine_.AlterAlias(request.db_name(), request.collection_name(), request.alias());
}

Status Handlers::DescribeAlias(const wire::DescribeAliasRequest& request, wire::DescribeAliasResponse* response,
                               const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateAliasName(request.alias()));
  QUIVER_ASSIGN_OR_RETURN(std::string collection, engine_.DescribeAlias(request.db_name(), request.alias()));
  response->set_db_name(request.db_name());
  response->set_alias(request.alias());
  response->set_collection(std::move(collection));
  return Status::Ok();
}

Status Handlers::ListAliases(const wire::ListAliasesRequest& request, wire::ListAliasesResponse* response,
                             const RpcCall&) {
  if (!request.collection_name().empty()) QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  QUIVER_ASSIGN_OR_RETURN(const auto aliases, engine_.ListAliases(request.db_name(), request.collection_name()));
  response->set_db_name(request.db_name());
  response->set_collection_name(request.collection_name());
  for (const std::string& alias : aliases) response->add_aliases(alias);
  return Status::Ok();
}

void Handlers::AddAliasMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("CreateAlias", Lane::kControl, self, &Handlers::CreateAlias));
  out->push_back(Sync("DropAlias", Lane::kControl, self, &Handlers::DropAlias));
  out->push_back(Sync("AlterAlias", Lane::kControl, self, &Handlers::AlterAlias));
  out->push_back(Sync("DescribeAlias", Lane::kAtOnce, self, &Handlers::DescribeAlias));
  out->push_back(Sync("ListAliases", Lane::kAtOnce, self, &Handlers::ListAliases));
}

}  // namespace quiver::api
