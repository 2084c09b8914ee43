#include "cli/vector_file.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <span>

#include "cli/hdf5_file.h"
#include "io/file_system.h"

namespace quiver::cli {
namespace {

constexpr size_t kMaxDim = 32'768;

template <typename T>
T Load(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::string_view EndingOf(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(dot);
}

Status Damaged(const std::string& path, std::string_view what) {
  return Error(StatusCode::kInvalidParameter, "{}: {}", path, what);
}

Status CheckShape(const std::string& path, const NumberArray& array) {
  if (array.columns < 1 || array.columns > kMaxDim) {
    return Damaged(path, fmt::format("rows of {} values; from 1 to {} can be read", array.columns, kMaxDim));
  }
  return Status::Ok();
}

/// Rows that each carry their length in front of them (.fvecs and kin).
Result<NumberArray> ReadCounted(const std::string& path, std::string_view file, size_t value_bytes, size_t most_rows) {
  NumberArray array{.value_bytes = value_bytes};
  if (file.empty()) return array;
  if (file.size() < 4) return Damaged(path, "ends within the first row");
  array.columns = Load<uint32_t>(file, 0);
  QUIVER_RETURN_IF_ERROR(CheckShape(path, array));
  const size_t stride = 4 + array.columns * value_bytes;
  if (file.size() % stride != 0) {
    return Damaged(path, fmt::format("{} bytes are no whole number of rows of {} bytes", file.size(), stride));
  }
  array.rows = file.size() / stride;
  if (most_rows > 0) array.rows = std::min(array.rows, most_rows);
  array.bytes.reserve(array.rows * (stride - 4));
  for (size_t row = 0; row < array.rows; ++row) {
    if (Load<uint32_t>(file, row * stride) != array.columns) {
      return Damaged(path, fmt::format("row {} has {} values, the first has {}", row,
                                       Load<uint32_t>(file, row * stride), array.columns));
    }
    array.bytes.append(file.substr(row * stride + 4, stride - 4));
  }
  return array;
}

/// The value of a key of NumPy's header, a literal of a Python dictionary.
std::string_view HeaderValue(std::string_view header, std::string_view key) {
  const size_t at = header.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + key.size() + 3);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  if (rest.starts_with('\'')) return rest.substr(1, rest.find('\'', 1) - 1);
  if (rest.starts_with('(')) return rest.substr(1, rest.find(')') - 1);
  return rest.substr(0, rest.find_first_of(",}"));
}

Result<NumberArray> ReadNumpy(const std::string& path, std::string_view file, size_t most_rows) {
  if (file.size() < 12 || !file.starts_with("\x93NUMPY")) return Damaged(path, "is not a .npy file");
  const bool short_header = file[6] == 1;
  const size_t start = short_header ? 10 : 12;
  const size_t length = short_header ? Load<uint16_t>(file, 8) : Load<uint32_t>(file, 8);
  if (length > file.size() - start) return Damaged(path, "its header is cut short");
  const std::string_view header = file.substr(start, length);
  NumberArray array{.descriptor = std::string(HeaderValue(header, "descr"))};
  if (HeaderValue(header, "fortran_order") != "False") {
    return Damaged(path, "is in Fortran order; save it with numpy.ascontiguousarray");
  }
  std::vector<size_t> shape;
  const std::string_view numbers = HeaderValue(header, "shape");
  for (const char* at = numbers.data(); at < numbers.data() + numbers.size();) {
    size_t value = 0;
    const auto [end, error] = std::from_chars(at, numbers.data() + numbers.size(), value);
    if (error == std::errc()) shape.push_back(value);
    at = error == std::errc() ? end : at + 1;
  }
  if (shape.size() != 2) return Damaged(path, fmt::format("holds an array of {} dimensions, not of 2", shape.size()));
  array.rows = shape[0];
  array.columns = shape[1];
  QUIVER_RETURN_IF_ERROR(CheckShape(path, array));
  const size_t digits = array.descriptor.find_first_of("0123456789");
  if (digits == std::string::npos || array.descriptor.starts_with('>')) {
    return Damaged(path, fmt::format("values of type {} cannot be read", array.descriptor));
  }
  array.value_bytes = static_cast<size_t>(array.descriptor[digits] - '0');
  const std::string_view values = file.substr(start + length);
  const size_t row_bytes = array.columns * array.value_bytes;
  if (row_bytes == 0 || array.rows > values.size() / row_bytes) {
    return Damaged(path, fmt::format("is cut short: {} bytes of values for {} x {} of {}", values.size(), array.rows,
                                     array.columns, array.descriptor));
  }
  if (most_rows > 0) array.rows = std::min(array.rows, most_rows);
  array.bytes = values.substr(0, array.rows * row_bytes);
  array.descriptor.erase(0, digits - 1);
  return array;
}

/// The file's bytes where they are mapped.
Result<std::shared_ptr<const io::MappedFile>> Map(const std::string& path) { return io::PosixFileSystem().Map(path); }
std::string_view TextOf(const io::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

Result<NumberArray> ReadFbin(const std::string& path, std::string_view file, size_t most_rows) {
  if (file.size() < 8) return Damaged(path, "ends within its header");
  NumberArray array{
      .descriptor = "f4", .rows = Load<uint32_t>(file, 0), .columns = Load<uint32_t>(file, 4), .value_bytes = 4};
  QUIVER_RETURN_IF_ERROR(CheckShape(path, array));
  if ((file.size() - 8) / (array.columns * 4) < array.rows) return Damaged(path, "is cut short");
  if (most_rows > 0) array.rows = std::min(array.rows, most_rows);
  array.bytes = file.substr(8, array.rows * array.columns * 4);
  return array;
}

Result<NumberArray> ReadArray(const std::string& path, size_t most_rows, std::string_view hdf5_name) {
  if (const size_t end = path.rfind(".hdf5"); end != std::string::npos) {
    const std::string_view rest = std::string_view(path).substr(end + 5);
    if (rest.empty() || rest.front() == ':') {
      const std::string name(rest.size() > 1 ? rest.substr(1) : hdf5_name);
      QUIVER_ASSIGN_OR_RETURN(NumberArray array, ReadHdf5(path.substr(0, end + 5), name, most_rows));
      QUIVER_RETURN_IF_ERROR(CheckShape(path, array));
      return array;
    }
  }
  const std::string_view ending = EndingOf(path);
  QUIVER_ASSIGN_OR_RETURN(const auto mapped, Map(path));
  const std::string_view file = TextOf(*mapped);
  if (ending == ".npy") return ReadNumpy(path, file, most_rows);
  if (ending == ".fbin") return ReadFbin(path, file, most_rows);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kCounted{
      {{".fvecs", "f4"}, {".bvecs", "u1"}, {".ivecs", "i4"}}};
  for (const auto& [name, descriptor] : kCounted) {
    if (ending != name) continue;
    QUIVER_ASSIGN_OR_RETURN(NumberArray array,
                            ReadCounted(path, file, static_cast<size_t>(descriptor[1] - '0'), most_rows));
    array.descriptor = descriptor;
    return array;
  }
  return Damaged(path, "files of .fvecs, .bvecs, .ivecs, .npy, .fbin and .hdf5 can be read");
}

}  // namespace

ColumnView VectorFile::View() const {
  ColumnView view;
  view.type = type;
  view.width = width();
  view.rows = rows;
  view.fixed = reinterpret_cast<const std::byte*>(bytes.data());
  return view;
}

Result<VectorFile> ReadVectorFile(const std::string& path, size_t most_rows, std::string_view hdf5_name) {
  QUIVER_ASSIGN_OR_RETURN(NumberArray array, ReadArray(path, most_rows, hdf5_name));
  VectorFile file{.rows = array.rows, .dim = array.columns};
  if (array.descriptor == "f4") {
    file.bytes = std::move(array.bytes);
    for (size_t i = 0; i + 4 <= file.bytes.size(); i += 4) {
      if (std::isfinite(Load<float>(file.bytes, i))) continue;
      return Damaged(path, fmt::format("value {} of row {} is not finite", i / 4 % file.dim, i / 4 / file.dim));
    }
  } else if (array.descriptor == "f2") {
    file.type = DataType::kFloat16Vector;
    file.bytes = std::move(array.bytes);
  } else if (array.descriptor == "i1") {
    file.type = DataType::kInt8Vector;
    file.bytes = std::move(array.bytes);
  } else if (array.descriptor == "u1") {
    file.bytes.resize(array.bytes.size() * 4);
    for (size_t i = 0; i < array.bytes.size(); ++i) {
      const auto value = static_cast<float>(static_cast<uint8_t>(array.bytes[i]));
      std::memcpy(file.bytes.data() + 4 * i, &value, 4);
    }
  } else {
    return Damaged(path, fmt::format("values of type {} are no vectors; f4, f2, i1 and u1 are", array.descriptor));
  }
  return file;
}

Result<RowFile> ReadRowFile(const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const NumberArray array, ReadArray(path, 0, "neighbors"));
  RowFile file{.rows = array.rows, .width = array.columns, .ids = {}};
  file.ids.reserve(array.rows * array.columns);
  for (size_t i = 0; i < array.rows * array.columns; ++i) {
    if (array.descriptor == "i4") {
      file.ids.push_back(Load<int32_t>(array.bytes, 4 * i));
    } else if (array.descriptor == "u4") {
      file.ids.push_back(Load<uint32_t>(array.bytes, 4 * i));
    } else if (array.descriptor == "i8") {
      file.ids.push_back(Load<int64_t>(array.bytes, 8 * i));
    } else {
      return Damaged(path, fmt::format("values of type {} are no row numbers; i4, u4 and i8 are", array.descriptor));
    }
  }
  return file;
}

Status WriteRowFile(const RowFile& file, const std::string& path) {
  std::string out;
  const auto append = [&]<typename T>(T value) { out.append(reinterpret_cast<const char*>(&value), sizeof(T)); };
  if (EndingOf(path) == ".ivecs") {
    for (size_t row = 0; row < file.rows; ++row) {
      append(static_cast<uint32_t>(file.width));
      for (size_t i = 0; i < file.width; ++i) append(static_cast<int32_t>(file.ids[row * file.width + i]));
    }
  } else if (EndingOf(path) == ".npy") {
    std::string header =
        fmt::format("{{'descr': '<i8', 'fortran_order': False, 'shape': ({}, {}), }}", file.rows, file.width);
    header.resize((10 + header.size() + 64) / 64 * 64 - 11, ' ');
    header += '\n';
    out = std::string("\x93NUMPY\x01\x00", 8);
    append(static_cast<uint16_t>(header.size()));
    out += header;
    for (const int64_t id : file.ids) append(id);
  } else {
    return Error(StatusCode::kInvalidParameter, "{}: files of .ivecs and .npy can be written", path);
  }
  return WriteFile(path, out);
}

Status WriteFile(const std::string& path, std::string_view bytes) {
  io::FileSystem& files = io::PosixFileSystem();
  const std::string unfinished = path + ".part";
  (void)files.Remove(unfinished);  // of a run that was stopped
  {
    QUIVER_ASSIGN_OR_RETURN(const auto created, files.Create(unfinished));
    QUIVER_RETURN_IF_ERROR(created->Append(bytes));
  }
  return files.Rename(unfinished, path);
}

}  // namespace quiver::cli
