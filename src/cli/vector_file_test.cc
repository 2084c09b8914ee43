#include "cli/vector_file.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace quiver::cli {
namespace {

/// A file in a folder of its own, with the layout of ann-benchmarks.
class Hdf5Files : public testing::Test {
 protected:
  Hdf5Files() {
    std::filesystem::create_directories(folder_);
    file_ = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  }
  ~Hdf5Files() override {
    Close();
    std::filesystem::remove_all(folder_);
  }

  template <typename T>
  void Put(const char* name, hid_t stored, hid_t given, std::vector<hsize_t> shape, const std::vector<T>& values) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t set = H5Dcreate2(file_, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ASSERT_GE(H5Dwrite(set, given, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(set);
    H5Sclose(space);
  }

  /// Ends the writing of the file.
  void Close() {
    if (file_ >= 0) H5Fclose(file_);
    file_ = -1;
  }

  [[nodiscard]] std::string path() const { return (folder_ / "set.hdf5").string(); }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
  hid_t file_ = -1;
};

std::vector<float> Floats(const VectorFile& file) {
  std::vector<float> values(file.rows * file.dim);
  std::memcpy(values.data(), file.bytes.data(), values.size() * 4);
  return values;
}

TEST_F(Hdf5Files, GiveVectorsQueriesAndNeighboursOfOneFile) {
  const std::vector<float> base{1, 2, 3, 4, 5, 6}, queries{7, 8};
  Put("train", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {3, 2}, base);
  Put("test", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {1, 2}, queries);
  Put("neighbors", H5T_STD_I32LE, H5T_NATIVE_INT32, {1, 3}, std::vector<int32_t>{2, 0, 1});
  Close();

  const auto read = ReadVectorFile(path());
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->type, DataType::kFloatVector);
  EXPECT_EQ(read->rows, 3u);
  EXPECT_EQ(read->dim, 2u);
  EXPECT_EQ(Floats(*read), base);

  const auto some = ReadVectorFile(path(), 2);
  ASSERT_TRUE(some.ok()) << some.status().ToString();
  EXPECT_EQ(Floats(*some), (std::vector<float>{1, 2, 3, 4}));

  const auto asked = ReadVectorFile(path(), 0, "test");
  ASSERT_TRUE(asked.ok()) << asked.status().ToString();
  EXPECT_EQ(Floats(*asked), queries);
  const auto named = ReadVectorFile(path() + ":test");
  ASSERT_TRUE(named.ok()) << named.status().ToString();
  EXPECT_EQ(Floats(*named), queries);

  const auto truth = ReadRowFile(path());
  ASSERT_TRUE(truth.ok()) << truth.status().ToString();
  EXPECT_EQ(truth->width, 3u);
  EXPECT_EQ(truth->ids, (std::vector<int64_t>{2, 0, 1}));
}

TEST_F(Hdf5Files, MayHoldOtherWidthsAndByteOrders) {
  Put("train", H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, {2, 1}, std::vector<double>{0.5, -2});
  Put("test", H5T_STD_U8LE, H5T_NATIVE_UINT8, {1, 2}, std::vector<uint8_t>{3, 255});
  Put("small", H5T_STD_I8LE, H5T_NATIVE_INT8, {1, 2}, std::vector<int8_t>{-3, 4});
  Put("neighbors", H5T_STD_I64BE, H5T_NATIVE_INT64, {1, 2}, std::vector<int64_t>{1, int64_t{1} << 40});
  Close();

  const auto doubles = ReadVectorFile(path());
  ASSERT_TRUE(doubles.ok()) << doubles.status().ToString();
  EXPECT_EQ(Floats(*doubles), (std::vector<float>{0.5f, -2}));
  const auto bytes = ReadVectorFile(path(), 0, "test");
  ASSERT_TRUE(bytes.ok()) << bytes.status().ToString();
  EXPECT_EQ(Floats(*bytes), (std::vector<float>{3, 255}));
  const auto small = ReadVectorFile(path(), 0, "small");
  ASSERT_TRUE(small.ok()) << small.status().ToString();
  EXPECT_EQ(small->type, DataType::kInt8Vector);
  EXPECT_EQ(small->bytes, std::string("\xfd\x04"));
  const auto truth = ReadRowFile(path());
  ASSERT_TRUE(truth.ok()) << truth.status().ToString();
  EXPECT_EQ(truth->ids, (std::vector<int64_t>{1, int64_t{1} << 40}));
}

TEST_F(Hdf5Files, AreRefusedWithWhatIsWrong) {
  Put("train", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {2}, std::vector<float>{1, 2});
  const hid_t text = H5Tcopy(H5T_C_S1);
  Put("test", text, text, {1, 2}, std::vector<char>{'a', 'b'});
  H5Tclose(text);
  Put("nothing", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {1, 1}, std::vector<float>{std::nanf("")});
  Close();
  const auto told = [](const Result<VectorFile>& read) { return read.ok() ? "read" : read.status().message(); };
  EXPECT_EQ(told(ReadVectorFile(path())), path() + ": 'train' is not of two dimensions");
  EXPECT_EQ(told(ReadVectorFile(path(), 0, "test")), path() + ": the values of 'test' are no numbers");
  EXPECT_EQ(told(ReadVectorFile(path() + ":nothing")), path() + ":nothing: value 0 of row 0 is not finite");
  EXPECT_EQ(told(ReadVectorFile(path() + ":other")), path() + ": holds no data set 'other'");
  const std::string other = (folder_ / "no.hdf5").string();
  EXPECT_EQ(told(ReadVectorFile(other)), other + ": is not there or no HDF5 file");
  std::ofstream(other) << "vectors";
  EXPECT_EQ(told(ReadVectorFile(other)), other + ": is not there or no HDF5 file");
}

}  // namespace
}  // namespace quiver::cli
