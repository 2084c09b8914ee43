// Evaluation takes no memory from the heap: counted by replacing operator new for this program.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "expr/test_table.h"

namespace {
thread_local size_t allocations = 0;
}  // namespace

// Not inlined, so that the compiler does not see malloc's memory reach a delete expression.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace quiver::expr {
namespace {

TEST(FilterAllocation, EvaluationTakesNoHeapMemory) {
  const CollectionSchema schema =
      SchemaOf({TestField("a", DataType::kInt64), TestField("f", DataType::kFloat, true),
                TestField("s", DataType::kVarChar, true), TestField("l", DataType::kArray, true, DataType::kInt64),
                TestField("m", DataType::kArray, true, DataType::kVarChar), TestField("j", DataType::kJson, true),
                TestField("younger", DataType::kInt32, true)},
               true);
  std::string rows = "[";
  for (int i = 0; i < 300; ++i) {
    rows += fmt::format(R"({}{{"a":{},"f":0.5,"s":"text number {}","l":[1,2,{}],"m":["x","{}"],)", i == 0 ? "" : ",", i,
                        i, i, i);
    rows += fmt::format(R"("j":{{"k":[{},"é"],"escaped \"key\"":"a\"b{}"}},"$meta":{{"color":"red"}}}})", i, i);
  }
  TestTable table(schema, rows + "]");
  table.Remove(schema.Find("younger")->field_id);
  for (const TestTable::TextForm form : {TestTable::TextForm::kOffsets, TestTable::TextForm::kJsonForms}) {
    table.Serve(form);
    for (const std::string_view text :
         {"a > 5 and f < 1 or a in [1, 2, 3]", "a in [1, 200000, 3000000000, 5, 6, 7, 8, 9, 10, 11]",
          "s like '%number_1%' and s != 'x' and s in ['a', 'b']", "not (s < 't') or s is null", "a + 2 == 7 or a > f",
          "l[2] == 5 and array_contains_all(l, [1, 2]) and array_contains_any(m, ['x', 'y']) and array_length(l) == 3",
          "j['k'][0] > 5 and j['escaped \"key\"'] like 'a\"%' and json_contains_all(j['k'], [7, 'é'])",
          "color == 'red' and exists j['k'] and younger is null and not (missing in [1, 'x'])"}) {
      const auto filter = Filter::Compile(text, schema);
      ASSERT_TRUE(filter.ok()) << text << "\n" << filter.status().message();
      uint64_t mask[5] = {};
      (*filter)->Evaluate(table, mask);  // fills what a thread and a filter keep for later
      const size_t before = allocations;
      (*filter)->Evaluate(table, mask);
      EXPECT_EQ(allocations, before) << text;
    }
  }
}

}  // namespace
}  // namespace quiver::expr
