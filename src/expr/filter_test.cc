#include "expr/filter.h"

#include <gtest/gtest.h>

namespace quiver::expr {
namespace {
class Page final : public ColumnSource {
 public:
  Column ints = Column::Make(100, DataType::kInt64);
  Column json = Column::Make(101, DataType::kJson);
  [[nodiscard]] size_t row_count() const override { return ints.rows; }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    return field_id == 100 ? ViewOf(ints) : field_id == 101 ? ViewOf(json) : ColumnView{};
  }
};

TEST(Filter, EvaluatesComparisonsOverAllChunks) {
  CollectionSchema schema;
  schema.fields.resize(2);
  schema.fields[0].field_id = 100;
  schema.fields[0].name = "id";
  schema.fields[0].type = DataType::kInt64;
  schema.fields[0].is_primary = true;
  schema.fields[1].field_id = 101;
  schema.fields[1].name = "$meta";
  schema.fields[1].type = DataType::kJson;
  schema.fields[1].is_dynamic = true;
  Page page;
  for (int64_t i = 0; i < 10000; ++i) {
    page.ints.AppendValue(i);
    page.json.Append(fmt::format(R"({{"a":{},"b":"x{}"}})", i % 10, i % 3));
  }
  auto filter = Filter::Compile("(id > 5 and a == 3) or b like '%2' and id < 9", schema);
  ASSERT_TRUE(filter.ok()) << filter.status().ToString();
  std::vector<uint64_t> mask(10000 / 64 + 1);
  (*filter)->Evaluate(page, mask.data());
  for (size_t i = 0; i < 10000; ++i) {
    const bool expected = (i > 5 && i % 10 == 3) || (i % 3 == 2 && i < 9);
    ASSERT_EQ((mask[i / 64] >> (i % 64)) & 1U, expected ? 1U : 0U) << i;
  }
}
}  // namespace
}  // namespace quiver::expr
