#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "schema/validation.h"

namespace quiver {
namespace {

using testing::HasSubstr;

const std::string kLongest(255, 'a');
const std::string kTooLong(256, 'a');

TEST(Names, CollectionNames) {
  for (const std::string& name : {std::string("a"), std::string("_a1"), std::string("A_9"), kLongest}) {
    EXPECT_TRUE(ValidateCollectionName(name).ok()) << name;
  }
  EXPECT_EQ(ValidateCollectionName("1-a").message(),
            "Invalid collection name: 1-a. the first character of a collection name must be an underscore or letter: "
            "invalid parameter");
  EXPECT_EQ(ValidateCollectionName("a-b").message(),
            "Invalid collection name: a-b. collection name can only contain numbers, letters and underscores: invalid "
            "parameter");
  EXPECT_THAT(ValidateCollectionName("").message(), HasSubstr("collection name should not be empty"));
  EXPECT_THAT(ValidateCollectionName("  ").message(), HasSubstr("collection name should not be empty"));
  EXPECT_THAT(ValidateCollectionName(kTooLong).message(),
              HasSubstr("the length of a collection name must be less than 255 characters"));
  EXPECT_THAT(ValidateCollectionName("书").message(), HasSubstr("must be an underscore or letter"));
  EXPECT_EQ(ValidateCollectionName("a b").code(), StatusCode::kInvalidParameter);
}

TEST(Names, AliasesSayAlias) {
  EXPECT_TRUE(ValidateAliasName("a").ok());
  EXPECT_THAT(ValidateAliasName("").message(), HasSubstr("collection alias should not be empty"));
  EXPECT_THAT(ValidateAliasName("$a").message(),
              HasSubstr("Invalid collection alias: $a. the first character of a collection alias must be"));
}

TEST(Names, PartitionNamesAllowDashAndLeadingDigit) {
  for (const char* name : {"a", "_default", "2024", "2024-01", "a-b"}) EXPECT_TRUE(ValidatePartitionName(name).ok());
  EXPECT_THAT(ValidatePartitionName("").message(), HasSubstr("Partition name should not be empty."));
  EXPECT_THAT(ValidatePartitionName("-a").message(), HasSubstr("The first character of a partition name must be"));
  EXPECT_THAT(ValidatePartitionName("a$").message(), HasSubstr("Partition name can only contain numbers, letters"));
  EXPECT_THAT(ValidatePartitionName(kTooLong).message(),
              HasSubstr("The length of a partition name must be less than 255 characters."));
}

TEST(Names, FieldNamesRefuseWordsOfTheFilterLanguage) {
  for (const char* name : {"a", "_a", "text", "And", "nulls"}) EXPECT_TRUE(ValidateFieldName(name).ok()) << name;
  for (const char* name : {"like", "and", "in", "true", "null", "NULL", "Null", "json_contains", "TEXT_MATCH"}) {
    const Status status = ValidateFieldName(name);
    EXPECT_EQ(status.code(), StatusCode::kFieldInvalidName) << name;
    EXPECT_THAT(status.message(), HasSubstr("is keyword in milvus")) << name;
  }
  EXPECT_EQ(ValidateFieldName("1a").message(),
            "Invalid field name: 1a. The first character of a field name must be an underscore or letter.: field name "
            "invalid[field=1a]");
  EXPECT_THAT(ValidateFieldName("$meta").message(), HasSubstr("The first character of a field name"));
  EXPECT_THAT(ValidateFieldName("a-b").message(), HasSubstr("Field name can only contain numbers, letters, and"));
  EXPECT_THAT(ValidateFieldName("").message(), HasSubstr("field name should not be empty"));
  EXPECT_THAT(ValidateFieldName(kTooLong).message(), HasSubstr("must be less than 255 characters"));
}

TEST(Names, IndexNamesMayBeEmptyAndHoldBrackets) {
  for (const char* name : {"", "a", "_a", "j[a][0]"}) EXPECT_TRUE(ValidateIndexName(name).ok()) << name;
  EXPECT_THAT(ValidateIndexName("1a").message(), HasSubstr("Invalid index name: 1a."));
  EXPECT_FALSE(ValidateIndexName("a b").ok());
  EXPECT_FALSE(ValidateIndexName(kTooLong).ok());
}

TEST(Names, DatabaseNamesHaveTheirOwnCode) {
  EXPECT_TRUE(ValidateDatabaseName("default").ok());
  for (const char* name : {"", "1a", "a-b"}) {
    EXPECT_EQ(ValidateDatabaseName(name).code(), StatusCode::kDatabaseInvalidName) << name;
  }
  EXPECT_THAT(ValidateDatabaseName("12-s").message(),
              HasSubstr("the first character of a database name must be an underscore or letter"));
}

}  // namespace
}  // namespace quiver
