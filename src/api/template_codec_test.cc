#include "api/template_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "schema.pb.h"

namespace quiver::api {
namespace {

using ::testing::HasSubstr;

TEST(TemplateCodec, DecodesEveryForm) {
  google::protobuf::Map<std::string, wire::schema::TemplateValue> values;
  values["i"].set_int64_val(std::numeric_limits<int64_t>::max());
  values["s"].set_string_val("x");
  values["list"].mutable_array_val()->mutable_long_data()->add_data(3);
  values["nested"].mutable_array_val()->mutable_array_data()->add_data()->mutable_double_data()->add_data(0.5);
  const auto templates = DecodeTemplates(values);
  ASSERT_TRUE(templates.ok()) << templates.status().message();
  EXPECT_EQ(templates->at("i"), expr::Literal{std::numeric_limits<int64_t>::max()});
  EXPECT_EQ(templates->at("list"), (expr::Literal{expr::Literal::Ints{3}}));
  EXPECT_TRUE(std::holds_alternative<expr::Literal::List>(templates->at("nested").value));
  values["bad"];
  EXPECT_THAT(DecodeTemplates(values).status().message(), HasSubstr("template bad"));
}

}  // namespace
}  // namespace quiver::api
