#include "schema/column.h"

#include <gtest/gtest.h>

#include <array>

namespace quiver {
namespace {

TEST(Column, FixedWidthRowsAndNullsAreDense) {
  Column column = Column::Make(101, DataType::kInt32);
  EXPECT_EQ(column.width, 4U);
  column.AppendValue<int32_t>(7);
  EXPECT_TRUE(column.valid.empty()) << "no null map before the first null";
  column.AppendNull();
  column.AppendValue<int32_t>(-9);
  ASSERT_EQ(column.rows, 3U);
  EXPECT_EQ(column.fixed.size(), 12U);
  EXPECT_FALSE(column.IsNull(0));
  EXPECT_TRUE(column.IsNull(1));
  EXPECT_FALSE(column.IsNull(2));
  EXPECT_EQ(column.Get<int32_t>(0), 7);
  EXPECT_EQ(column.Get<int32_t>(1), 0) << "a null row holds zero bytes";
  EXPECT_EQ(column.Get<int32_t>(2), -9);
}

TEST(Column, VariableLengthRowsKeepTheirBytes) {
  Column column = Column::Make(102, DataType::kVarChar);
  EXPECT_FALSE(column.is_fixed());
  column.Append("");
  column.AppendNull();
  column.Append(std::string_view("a\0b", 3));
  ASSERT_EQ(column.rows, 3U);
  EXPECT_EQ(column.Bytes(0), "");
  EXPECT_FALSE(column.IsNull(0));
  EXPECT_TRUE(column.IsNull(1));
  EXPECT_EQ(column.Bytes(1), "");
  EXPECT_EQ(column.Bytes(2), std::string_view("a\0b", 3));
}

TEST(Column, VectorWidthsFollowTheType) {
  EXPECT_EQ(Column::Make(1, DataType::kFloatVector, 128).width, 512U);
  EXPECT_EQ(Column::Make(1, DataType::kFloat16Vector, 128).width, 256U);
  EXPECT_EQ(Column::Make(1, DataType::kBFloat16Vector, 128).width, 256U);
  EXPECT_EQ(Column::Make(1, DataType::kInt8Vector, 128).width, 128U);
  EXPECT_EQ(Column::Make(1, DataType::kBinaryVector, 128).width, 16U);
  EXPECT_FALSE(Column::Make(1, DataType::kSparseFloatVector).is_fixed());
  EXPECT_FALSE(Column::Make(1, DataType::kArray, 0, DataType::kInt8).is_fixed());
}

TEST(Column, AppendRowsPicksRowsAndNulls) {
  Column source = Column::Make(1, DataType::kVarChar);
  source.Append("a");
  source.AppendNull();
  source.Append("c");
  Column target = Column::Make(1, DataType::kVarChar);
  target.AppendRows(source, {2, 1, 2});
  ASSERT_EQ(target.rows, 3U);
  EXPECT_EQ(target.Bytes(0), "c");
  EXPECT_TRUE(target.IsNull(1));
  EXPECT_EQ(target.Bytes(2), "c");
}

TEST(Column, ViewShowsTheSameValues) {
  Column ints = Column::Make(1, DataType::kInt64);
  Column texts = Column::Make(2, DataType::kVarChar);
  for (int64_t i = 0; i < 5; ++i) {
    if (i == 3) {
      ints.AppendNull();
      texts.AppendNull();
    } else {
      ints.AppendValue<int64_t>(i * i);
      texts.Append(std::string(static_cast<size_t>(i), 'x'));
    }
  }
  const ColumnView int_view = ViewOf(ints);
  const ColumnView text_view = ViewOf(texts);
  ASSERT_TRUE(int_view.present());
  EXPECT_FALSE(ColumnView().present());
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(int_view.IsNull(i), ints.IsNull(i));
    EXPECT_EQ(int_view.Get<int64_t>(i), ints.Get<int64_t>(i));
    EXPECT_EQ(text_view.IsNull(i), texts.IsNull(i));
    EXPECT_EQ(text_view.Bytes(i), texts.Bytes(i));
  }
}

TEST(Column, ByteSizeCountsAllParts) {
  Column texts = Column::Make(2, DataType::kVarChar);
  texts.Append("abcd");
  texts.AppendNull();
  EXPECT_EQ(texts.ByteSize(), 4U + 3 * sizeof(uint64_t) + 2U);
  Column ints = Column::Make(1, DataType::kInt16);
  ints.AppendValue<int16_t>(1);
  EXPECT_EQ(ints.ByteSize(), 2U);
  ColumnBatch batch;
  batch.columns = {texts, ints};
  EXPECT_EQ(batch.ByteSize(), texts.ByteSize() + ints.ByteSize());
}

TEST(ColumnBatch, FindsColumnsByFieldId) {
  ColumnBatch batch;
  batch.columns.push_back(Column::Make(105, DataType::kBool));
  batch.columns.push_back(Column::Make(101, DataType::kInt8));
  ASSERT_NE(batch.Find(101), nullptr);
  EXPECT_EQ(batch.Find(101)->type, DataType::kInt8);
  EXPECT_EQ(batch.Find(7), nullptr);
}

TEST(Array, FixedElementsRoundTrip) {
  ArrayWriter writer(DataType::kInt16);
  for (const int16_t value : std::array<int16_t, 3>{1, -2, 300}) writer.AppendValue(value);
  const std::string bytes = writer.Take();
  EXPECT_EQ(bytes.size(), 4U + 6U);
  const ArrayReader reader(bytes, DataType::kInt16);
  ASSERT_EQ(reader.size(), 3U);
  EXPECT_EQ(reader.Get<int16_t>(0), 1);
  EXPECT_EQ(reader.Get<int16_t>(1), -2);
  EXPECT_EQ(reader.Get<int16_t>(2), 300);
}

TEST(Array, StringElementsRoundTripAndWriterResets) {
  ArrayWriter writer(DataType::kVarChar);
  writer.Append("");
  writer.Append("héllo");
  const std::string first = writer.Take();
  const ArrayReader reader(first, DataType::kVarChar);
  ASSERT_EQ(reader.size(), 2U);
  EXPECT_EQ(reader.Element(0), "");
  EXPECT_EQ(reader.Element(1), "héllo");
  const std::string empty = writer.Take();
  EXPECT_EQ(ArrayReader(empty, DataType::kVarChar).size(), 0U);
}

TEST(DataTypes, MetricNamesRoundTripInAnyCase) {
  for (const char* name : {"L2", "IP", "COSINE", "HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE"}) {
    EXPECT_EQ(MetricTypeName(ParseMetricType(name)), name);
  }
  EXPECT_EQ(ParseMetricType("cosine"), MetricType::kCosine);
  EXPECT_EQ(ParseMetricType("TANIMOTO"), MetricType::kNone);
  EXPECT_TRUE(IsSimilarity(MetricType::kIp));
  EXPECT_FALSE(IsSimilarity(MetricType::kL2));
}

}  // namespace
}  // namespace quiver
