#include "storage/object_store.h"

#include <gtest/gtest.h>

#include "io/fault_file_system.h"

namespace quiver::storage {
namespace {

class ObjectStoreTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    auto objects = OpenLocalObjects(fs_, "data/objects");
    ASSERT_TRUE(objects.ok()) << objects.status().ToString();
    objects_ = *std::move(objects);
  }
  void Stage(const std::string& path, std::string_view contents) {
    auto file = fs_.Create(path);
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    ASSERT_TRUE((*file)->Append(contents).ok());
    ASSERT_TRUE((*file)->Sync().ok());
  }
  [[nodiscard]] std::vector<std::string> Names(std::string_view prefix) const {
    std::vector<std::string> names;
    const auto listed = objects_->List(prefix);
    EXPECT_TRUE(listed.ok());
    for (const ObjectInfo& object : *listed) names.push_back(object.name);
    return names;
  }

  io::FaultFileSystem fs_;
  std::unique_ptr<ObjectStore> objects_;
};

TEST_F(ObjectStoreTest, PutObjectsSurviveACrashAndUnfinishedOnesGo) {
  const std::string staged = objects_->StagingPath("segment/1/2.seg");
  EXPECT_NE(staged, objects_->StagingPath("segment/1/2.seg"));
  Stage(staged, "contents");
  ASSERT_TRUE(objects_->Put("segment/1/2.seg", staged).ok());
  ASSERT_TRUE(objects_->PutBytes("segment/1/2.del", "small").ok());
  Stage(objects_->StagingPath("left over"), "x");
  fs_.CrashAndDropUnsynced();
  Open();
  EXPECT_EQ(Names(""), (std::vector<std::string>{"segment/1/2.del", "segment/1/2.seg"}));
  EXPECT_TRUE(fs_.List("data/objects/.staging")->empty());
  const auto mapped = objects_->Materialise("segment/1/2.seg");
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ((*mapped)->size(), 8U);
  EXPECT_EQ(*objects_->Read("segment/1/2.seg", 3, 4), "tent");
  EXPECT_EQ(objects_->Read("segment/1/2.seg", 3, 6).status().code(), StatusCode::kIo);
  fs_.CrashProcess();
}

TEST_F(ObjectStoreTest, UnfinishedFilesAreSweptAfterAProcessCrash) {
  Stage(objects_->StagingPath("x"), "x");
  fs_.CrashProcess();
  Open();
  EXPECT_TRUE(fs_.List("data/objects/.staging")->empty());
}

TEST_F(ObjectStoreTest, ListsByPrefix) {
  for (const char* name : {"a/1", "a/2", "ab/1", "b"}) {
    ASSERT_TRUE(objects_->PutBytes(name, name).ok());
  }
  EXPECT_EQ(Names("a"), (std::vector<std::string>{"a/1", "a/2", "ab/1"}));
  EXPECT_EQ(Names("a/"), (std::vector<std::string>{"a/1", "a/2"}));
  EXPECT_EQ(Names("a/2"), (std::vector<std::string>{"a/2"}));
  EXPECT_EQ(Names("c"), (std::vector<std::string>{}));
  EXPECT_EQ(objects_->List("b")->front().size, 1U);
}

TEST_F(ObjectStoreTest, RemovedObjectsStayReadableWhereTheyAreOpen) {
  ASSERT_TRUE(objects_->PutBytes("x", "contents").ok());
  const auto mapped = *objects_->Materialise("x");
  ASSERT_TRUE(objects_->Remove("x").ok());
  ASSERT_TRUE(objects_->Remove("x").ok());
  EXPECT_FALSE(objects_->Materialise("x").ok());
  EXPECT_EQ(static_cast<char>(mapped->data()[0]), 'c');
  fs_.CrashAndDropUnsynced();
  Open();
  EXPECT_TRUE(Names("").empty());
}

TEST_F(ObjectStoreTest, ObjectsAreNeverReplaced) {
  ASSERT_TRUE(objects_->PutBytes("x", "first").ok());
  EXPECT_EQ(objects_->PutBytes("x", "second").code(), StatusCode::kInternal);
  EXPECT_EQ(*objects_->Read("x", 0, 5), "first");
}

TEST_F(ObjectStoreTest, NamesThatLeadElsewhereAreRefused) {
  for (const char* name : {"", "/x", "x/", "../x", "a/../b", ".staging/x", "a//b", "."}) {
    EXPECT_EQ(objects_->PutBytes(name, "x").code(), StatusCode::kInvalidParameter) << name;
    EXPECT_EQ(objects_->Materialise(name).status().code(), StatusCode::kInvalidParameter) << name;
  }
}

}  // namespace
}  // namespace quiver::storage
