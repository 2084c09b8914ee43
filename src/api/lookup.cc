// How handlers find what a request names.

#include "api/handlers.h"
#include "schema/validation.h"

namespace quiver::api {

Result<std::shared_ptr<engine::Collection>> Handlers::Find(const std::string& db, const std::string& name) const {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(name));
  return engine_.FindCollection(db, name);
}

}  // namespace quiver::api
