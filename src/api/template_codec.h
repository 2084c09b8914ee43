// File: api/template_codec.h
// Values of filter templates (`expr_template_values`) from the wire. Thread rule: pure functions.
#pragma once

#include <google/protobuf/map.h>

#include <string>

#include "api/wire.h"
#include "base/status.h"
#include "expr/literal.h"

namespace quiver::api {

/// Decodes the values by name. Errors: kInvalidParameter naming the template.
Result<expr::TemplateValues> DecodeTemplates(
    const google::protobuf::Map<std::string, wire::schema::TemplateValue>& values);

}  // namespace quiver::api
