#include "cli/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <bit>

namespace quiver::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are kept as little-endian bytes");

/// An identifier of the library, closed when it goes.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (ok()) close_(id_);
  }

  [[nodiscard]] bool ok() const { return id_ >= 0; }
  [[nodiscard]] hid_t id() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// How the values of a data set are asked for.
struct Form {
  const char* descriptor = nullptr;  ///< nullptr: no numbers
  size_t bytes = 0;
  hid_t type = -1;
};

Form FormOf(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_FLOAT) return {"f4", 4, H5T_NATIVE_FLOAT};
  if (kind != H5T_INTEGER) return {};
  const bool is_signed = H5Tget_sign(type) != H5T_SGN_NONE;
  switch (H5Tget_size(type)) {
    case 1: return is_signed ? Form{"i1", 1, H5T_NATIVE_INT8} : Form{"u1", 1, H5T_NATIVE_UINT8};
    case 4: return is_signed ? Form{"i4", 4, H5T_NATIVE_INT32} : Form{"u4", 4, H5T_NATIVE_UINT32};
    default: return {"i8", 8, H5T_NATIVE_INT64};
  }
}

}  // namespace

Result<NumberArray> ReadHdf5(const std::string& path, const std::string& name, size_t most_rows) {
  // The library would print its own errors.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const auto failed = [&](const char* what) {
    return Error(StatusCode::kInvalidParameter, "{}: {}", path, fmt::format(fmt::runtime(what), name));
  };
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.ok()) return failed("is not there or no HDF5 file");
  const Handle set(H5Dopen2(file.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!set.ok()) return failed("holds no data set '{}'");
  const Handle type(H5Dget_type(set.id()), H5Tclose);
  const Handle space(H5Dget_space(set.id()), H5Sclose);
  const Form form = type.ok() ? FormOf(type.id()) : Form{};
  if (form.descriptor == nullptr) return failed("the values of '{}' are no numbers");
  if (!space.ok() || H5Sget_simple_extent_ndims(space.id()) != 2) return failed("'{}' is not of two dimensions");
  std::array<hsize_t, 2> shape{};
  H5Sget_simple_extent_dims(space.id(), shape.data(), nullptr);
  if (most_rows > 0) shape[0] = std::min<hsize_t>(shape[0], most_rows);

  NumberArray array{.descriptor = form.descriptor, .rows = shape[0], .columns = shape[1], .value_bytes = form.bytes};
  if (array.rows * array.columns == 0) return array;
  array.bytes.resize(array.rows * array.columns * form.bytes);
  const std::array<hsize_t, 2> start{};
  const Handle memory(H5Screate_simple(2, shape.data(), nullptr), H5Sclose);
  if (!memory.ok() ||
      H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, shape.data(), nullptr) < 0 ||
      H5Dread(set.id(), form.type, memory.id(), space.id(), H5P_DEFAULT, array.bytes.data()) < 0) {
    return failed("'{}' cannot be read");
  }
  return array;
}

}  // namespace quiver::cli
