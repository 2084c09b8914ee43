// File: bench/kernels_bench.cc
// Speed of the distance kernels, per level, beside plain loops compiled for the base target and beside the bandwidth of
// a pure read: once over data that lies in cache, once over data that comes from memory.
//
//   build/release/bench/kernels_bench [--json] [--seconds 0.3] [--megabytes 256]
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "simd/kernels.h"
#include "simd/product_kernels.h"

namespace quiver::bench {
namespace {

using simd::KernelTable;
using simd::Level;
using simd::Rows;

// Plain loops, as one would write them: the scalar twins.
float PlainIpF32(const void* a, const void* b, size_t dim) {
  const auto* x = static_cast<const float*>(a);
  const auto* y = static_cast<const float*>(b);
  float sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += x[d] * y[d];
  return sum;
}
float PlainL2F32(const void* a, const void* b, size_t dim) {
  const auto* x = static_cast<const float*>(a);
  const auto* y = static_cast<const float*>(b);
  float sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += (x[d] - y[d]) * (x[d] - y[d]);
  return sum;
}
float WidenHalf(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  const float value = std::bit_cast<float>(magnitude) * 0x1p112f;
  return (half & 0x8000) != 0 ? -value : value;
}
float PlainIpF16(const void* a, const void* b, size_t dim) {
  const auto* x = static_cast<const float*>(a);
  const auto* y = static_cast<const uint16_t*>(b);
  float sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += x[d] * WidenHalf(y[d]);
  return sum;
}
float PlainIpBf16(const void* a, const void* b, size_t dim) {
  const auto* x = static_cast<const float*>(a);
  const auto* y = static_cast<const uint16_t*>(b);
  float sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += x[d] * std::bit_cast<float>(static_cast<uint32_t>(y[d]) << 16);
  return sum;
}
float PlainIpInt8(const void* a, const void* b, size_t dim) {
  const auto* x = static_cast<const int8_t*>(a);
  const auto* y = static_cast<const int8_t*>(b);
  int32_t sum = 0;
  for (size_t d = 0; d < dim; ++d) sum += static_cast<int32_t>(x[d]) * y[d];
  return static_cast<float>(sum);
}
float PlainHamming(const void* a, const void* b, size_t bytes) {
  const auto* x = static_cast<const uint8_t*>(a);
  const auto* y = static_cast<const uint8_t*>(b);
  int sum = 0;
  for (size_t d = 0; d < bytes; ++d) sum += std::popcount(static_cast<uint8_t>(x[d] ^ y[d]));
  return static_cast<float>(sum);
}
float PlainJaccard(const void* a, const void* b, size_t bytes) {
  const auto* x = static_cast<const uint8_t*>(a);
  const auto* y = static_cast<const uint8_t*>(b);
  int both = 0, any = 0;
  for (size_t d = 0; d < bytes; ++d) {
    both += std::popcount(static_cast<uint8_t>(x[d] & y[d]));
    any += std::popcount(static_cast<uint8_t>(x[d] | y[d]));
  }
  return any == 0 ? 0.0f : 1.0f - static_cast<float>(both) / static_cast<float>(any);
}

struct Options {
  double seconds = 0.3;
  size_t megabytes = 256;
  bool json = false;
};

/// CPU time of this thread: other programs on the machine then disturb only caches and memory.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// CPU seconds per call of `work`: the best of nine rounds that last `seconds` together.
double Time(double seconds, const std::function<void()>& work) {
  constexpr int kRounds = 9;
  work();
  // Enough calls per look at the clock that the clock does not count.
  size_t calls = 1;
  for (;; calls *= 2) {
    const double start = CpuSeconds();
    for (size_t i = 0; i < calls; ++i) work();
    if (CpuSeconds() - start > seconds / kRounds / 2) break;
  }
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    const double start = CpuSeconds();
    for (size_t i = 0; i < calls; ++i) work();
    best = std::min(best, (CpuSeconds() - start) / static_cast<double>(calls));
  }
  return best;
}

struct Kernel {
  const char* name;
  size_t dim;
  size_t row_bytes;
  bool float_rows;  ///< filled with floats (f32), else with half patterns of moderate size or bytes
  bool halves;
  std::function<void(const KernelTable&, const Rows&, const void*, float*)> run;
  float (*plain)(const void*, const void*, size_t);
  size_t plain_size;
};

std::vector<Kernel> AllKernels() {
  const auto dense = [](auto member, auto function) {
    return [member, function](size_t dim) {
      return [=](const KernelTable& table, const Rows& rows, const void* query, float* out) {
        ((table.*member).*function)(rows, query, dim, out, nullptr);
      };
    };
  };
  const auto ip = &simd::DenseKernels::ip;
  const auto l2 = &simd::DenseKernels::l2;
  const auto binary = [](auto function, size_t bytes) {
    return [=](const KernelTable& table, const Rows& rows, const void* query, float* out) {
      (table.binary.*function)(rows, query, bytes, out);
    };
  };
  const auto cosine = [](const KernelTable& table, const Rows& rows, const void* query, float* out) {
    thread_local std::vector<float> norms;
    if (norms.size() < rows.count) norms.resize(rows.count);
    table.f32.ip(rows, query, 384, out, norms.data());
  };
  return {
      {"f32 IP 384", 384, 1536, true, false, dense(&KernelTable::f32, ip)(384), &PlainIpF32, 384},
      {"f32 L2 384", 384, 1536, true, false, dense(&KernelTable::f32, l2)(384), &PlainL2F32, 384},
      {"f32 IP + norm 384", 384, 1536, true, false, cosine, &PlainIpF32, 384},
      {"f32 L2 128", 128, 512, true, false, dense(&KernelTable::f32, l2)(128), &PlainL2F32, 128},
      {"f16 IP 384", 384, 768, false, true, dense(&KernelTable::f16, ip)(384), &PlainIpF16, 384},
      {"bf16 IP 384", 384, 768, false, true, dense(&KernelTable::bf16, ip)(384), &PlainIpBf16, 384},
      {"int8 IP 384", 384, 384, false, false, dense(&KernelTable::int8, ip)(384), &PlainIpInt8, 384},
      {"int8 L2 384", 384, 384, false, false, dense(&KernelTable::int8, l2)(384), nullptr, 384},
      {"HAMMING 128 bit", 128, 16, false, false, binary(&simd::BinaryKernels::hamming, 16), &PlainHamming, 16},
      {"HAMMING 1024 bit", 1024, 128, false, false, binary(&simd::BinaryKernels::hamming, 128), &PlainHamming, 128},
      {"JACCARD 1024 bit", 1024, 128, false, false, binary(&simd::BinaryKernels::jaccard, 128), &PlainJaccard, 128},
      {"SUBSTRUCTURE 1024 bit", 1024, 128, false, false, binary(&simd::BinaryKernels::substructure, 128), nullptr, 128},
  };
}

struct Buffer {
  explicit Buffer(size_t size)
      : data(static_cast<std::byte*>(std::aligned_alloc(4096, size)), &std::free), bytes(size) {}
  std::unique_ptr<std::byte, void (*)(void*)> data;
  size_t bytes;
};

void Fill(Buffer& buffer, const Kernel& kernel, std::mt19937& random) {
  for (size_t at = 0; at + 4 <= buffer.bytes; at += 4) {
    uint32_t word = static_cast<uint32_t>(random());
    if (kernel.float_rows) word = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(word)) * 0x1p-31f);
    if (kernel.halves) word = (word & 0x8fff8fffu) | 0x30003000u;  // no denormals: they are slow everywhere
    std::memcpy(buffer.data.get() + at, &word, 4);
  }
}

void Report(const Options& options, std::string_view kernel, std::string_view level, std::string_view where,
            double gigabytes, double ratio) {
  if (options.json) {
    std::printf("{\"kernel\":\"%s\",\"level\":\"%s\",\"data\":\"%s\",\"gb_per_s\":%.2f,\"ratio\":%.3f}\n",
                std::string(kernel).c_str(), std::string(level).c_str(), std::string(where).c_str(), gigabytes, ratio);
  } else {
    std::printf("%-24s %-9s %-7s %9.2f %9.2f\n", std::string(kernel).c_str(), std::string(level).c_str(),
                std::string(where).c_str(), gigabytes, ratio);
  }
  std::fflush(stdout);
}

/// Many-to-many kernels in cache, in products per second: 64 rows and 48 queries of 384 dimensions.
void BenchTiles(const Options& options, const KernelTable& table, std::mt19937& random) {
  constexpr size_t kDim = 384;
  constexpr size_t kRows = 64;
  constexpr size_t kTileRows = 12;
  constexpr size_t kTiledRows = kRows / kTileRows * kTileRows;  // what whole tiles cover
  constexpr size_t kQueries = 48;
  constexpr double kProducts = static_cast<double>(kRows * kQueries * kDim);
  std::vector<float> rows(kRows * kDim), queries(kQueries * kDim), out(kRows * kQueries);
  std::normal_distribution<float> normal;
  for (float& value : rows) value = normal(random);
  for (float& value : queries) value = normal(random);
  const auto report = [&](const char* name, double seconds) {
    const double rate = kProducts / seconds / 1e9;
    if (options.json) {
      std::printf("{\"kernel\":\"%s\",\"level\":\"%s\",\"products_per_s\":%.3e}\n", name,
                  std::string(simd::LevelName(table.level)).c_str(), rate * 1e9);
    } else {
      std::printf("%-24s %-9s %-7s %9.1f G products/s\n", name, std::string(simd::LevelName(table.level)).c_str(),
                  "cache", rate);
    }
  };
  const Rows view{reinterpret_cast<const std::byte*>(rows.data()), kDim * 4, kTileRows, nullptr};
  report("f32 IP tile", Time(options.seconds, [&] {
                          for (size_t i = 0; i < kRows / kTileRows; ++i)
                            table.f32.ip_tile(view, queries.data(), kDim * 4, kQueries, kDim, out.data(), kRows);
                        }) * (static_cast<double>(kRows) / static_cast<double>(kTiledRows)));
  std::vector<int8_t> codes(kRows * kDim), query_codes(kQueries * kDim);
  for (int8_t& code : codes) code = static_cast<int8_t>(random());
  for (int8_t& code : query_codes) code = static_cast<int8_t>(random());
  const Rows int8_view{reinterpret_cast<const std::byte*>(codes.data()), kDim, kRows, nullptr};
  report("int8 IP tile", Time(options.seconds, [&] {
           table.int8.ip_tile(int8_view, query_codes.data(), kDim, kQueries, kDim, out.data(), kRows);
         }));
  if (table.codes.row_max == 0) return;
  std::vector<uint8_t> packed(kRows * kDim);
  std::vector<float> scale(kRows), norm2(kRows), error2(kRows), zeros(kRows), ones(kQueries, 1.0f),
      floors(kQueries, 1e30f);
  const double encode = Time(options.seconds, [&] {
    for (size_t i = 0; i < kRows; ++i) {
      table.codes.encode(rows.data() + i * kDim, kDim, i % 16, packed.data() + i / 16 * 16 * kDim, &scale[i], &norm2[i],
                         &error2[i]);
    }
  });
  Report(options, "encode f32 384", simd::LevelName(table.level), "cache",
         static_cast<double>(kRows * kDim * 4) / encode / 1e9, 0);
  std::vector<int32_t> bias(kQueries);
  std::vector<uint16_t> masks(kQueries * kRows / 16);
  for (int8_t& code : query_codes) code = static_cast<int8_t>(code % table.codes.query_max);
  const simd::CodeRows code_rows{packed.data(), kRows / 16, scale.data(), error2.data(), norm2.data(), zeros.data()};
  const simd::CodeQueries code_queries{query_codes.data(), kQueries,    bias.data(),  ones.data(),
                                       ones.data(),        ones.data(), floors.data()};
  report("code filter",
         Time(options.seconds, [&] { table.codes.filter(code_rows, code_queries, kDim, masks.data()); }));
}

/// Kernels on codes, of lists, of product codes and of comparisons, each over what one call takes in. Rates are of the
/// bytes of codes or values read. "gather" takes rows of 64 MiB in random order, 32 in a call, as walks over graphs do.
void BenchCodes(const Options& options, const std::vector<const KernelTable*>& levels, const Buffer& memory,
                std::mt19937& random) {
  constexpr size_t kDim = 384;
  constexpr size_t kCached = 64;
  constexpr size_t kBlocks = 8;
  constexpr size_t kBlock = simd::ListKernels::kBlock;
  constexpr size_t kHop = 32;
  constexpr size_t kHops = 256;
  constexpr size_t kSpan = size_t{64} << 20;
  const std::byte* const data = memory.data.get();
  std::vector<int8_t> query(kDim);
  for (int8_t& code : query) code = static_cast<int8_t>(static_cast<int>(random() % 63) - 31);
  std::vector<uint8_t> planes(size_t{2} * simd::ByteCodeKernels::kBitPlanes * kDim);
  std::vector<uint8_t> plane_values(kDim * 8);
  for (uint8_t& value : plane_values) value = static_cast<uint8_t>(random() % 16);
  simd::PackBitPlanes(plane_values.data(), kDim, planes.data());
  std::vector<uint8_t> lookup(kDim / 4 * 16);
  for (uint8_t& entry : lookup) entry = static_cast<uint8_t>(random() % 64);
  std::vector<float> floats(kDim * 256), tables(size_t{48} * 256), sums(4096), bias(256);
  for (float& value : floats) value = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f;
  std::vector<int32_t> products(kCached + kHop);
  std::vector<uint32_t> ids(kHop * kHops), bits(kCached), masks(kBlocks), places(kCached);
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<uint32_t>(i);
  std::vector<uint16_t> words(kBlocks * kBlock);
  std::vector<uint64_t> answer(1024);
  std::vector<int8_t> quantised(kDim);
  simd::CodeSet set;
  for (size_t i = 0; i < 20; ++i) set.Insert(static_cast<uint8_t>(random()));

  const auto report = [&](const char* name, const char* where, size_t bytes,
                          const std::function<void(const KernelTable&)>& run) {
    double first = 0;
    for (const KernelTable* table : levels) {
      const double rate = static_cast<double>(bytes) / Time(options.seconds, [&] { run(*table); }) / 1e9;
      if (first == 0) first = rate;
      Report(options, name, simd::LevelName(table->level), where, rate, rate / first);
    }
  };
  const auto gather = [&](const char* name, size_t stride, const auto& call) {
    for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % (kSpan / stride));
    report(name, "gather", kHop * kHops * stride, [&](const KernelTable& table) {
      for (size_t hop = 0; hop < kHops; ++hop) call(table, Rows{data, stride, kHop, ids.data() + hop * kHop});
    });
  };
  const auto* queries = reinterpret_cast<const std::byte*>(floats.data());
  gather("f32 IP 384", kDim * 4,
         [&](const KernelTable& table, const Rows& rows) { table.f32.ip(rows, queries, kDim, sums.data(), nullptr); });
  gather("int8 IP 384", kDim, [&](const KernelTable& table, const Rows& rows) {
    table.int8.ip(rows, query.data(), kDim, sums.data(), nullptr);
  });
  const auto dot = [&](const KernelTable& table, const Rows& rows) {
    table.bytes.dot(rows, query.data(), kDim, products.data());
  };
  const auto half_dot = [&](const KernelTable& table, const Rows& rows) {
    table.bytes.half_dot(rows, query.data(), kDim, products.data());
  };
  const auto bit_dot = [&](const KernelTable& table, const Rows& rows) {
    table.bytes.bit_dot(rows, planes.data(), bits.data());
  };
  const auto cached = [&](const char* name, size_t stride, const auto& call) {
    report(name, "cache", kCached * stride,
           [&](const KernelTable& table) { call(table, Rows{data, stride, kCached, nullptr}); });
  };
  cached("8-bit codes 384", kDim, dot);
  gather("8-bit codes 384", kDim, dot);
  cached("4-bit codes 384", kDim / 2, half_dot);
  gather("4-bit codes 384", kDim / 2, half_dot);
  cached("1-bit codes 512", 64, bit_dot);
  gather("1-bit codes 512", 64, bit_dot);
  cached("1-bit codes 1024", 128, bit_dot);

  const size_t bit_block = kDim / 8 * kBlock + 2 * kBlock * sizeof(float);
  const simd::BitQuery bit_query{lookup.data(), kDim / 4, 1.0f, 0.0f, -1e30f};
  report("list sign bits 384", "cache", kBlocks * bit_block, [&](const KernelTable& table) {
    table.lists->scan_bits(bit_query, data, bit_block, kBlocks, nullptr, masks.data());
  });
  report("list centre codes 384", "cache", kBlocks * kBlock * kDim, [&](const KernelTable& table) {
    table.lists->scan_bytes(reinterpret_cast<const uint8_t*>(data), kBlocks, query.data(), kDim, floats.data(), 1.0f,
                            sums.data(), bias.data());
  });
  for (const size_t width : {3, 4, 6, 7, 8}) {
    const std::string name = "list codes 384 x " + std::to_string(width);
    const size_t stride = simd::RowCodeBytes(kDim, width) + 8;
    report(name.c_str(), "cache", kCached * stride, [&](const KernelTable& table) {
      table.lists->dot_codes[width](data, stride, places.data(), kCached, query.data(), kDim, products.data());
    });
  }
  report("list lookups 384", "cache", kDim * 4,
         [&](const KernelTable& table) { table.lists->build_lookup(floats.data(), kDim / 4, 20.0f, lookup.data()); });
  report("list quantise 384", "cache", kDim * 4,
         [&](const KernelTable& table) { table.lists->quantise(floats.data(), kDim, 30.0f, quantised.data()); });
  report("list scores 24 x 128", "cache", 24 * kDim * 4, [&](const KernelTable& table) {
    table.lists->scores({floats.data(), kDim, 24, nullptr}, {floats.data(), bias.data(), 8}, kDim, sums.data(), 128);
  });
  for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % 65536);
  report("list test ids", "cache", kBlock * 4, [&](const KernelTable& table) {
    masks[0] = table.lists->test_ids(ids.data(), reinterpret_cast<const uint64_t*>(data));
  });
  report("product 4 bit x 96", "cache", kBlocks * 96 * 16, [&](const KernelTable& table) {
    simd::ProductsFor(table.level)
        ->sum_nibbles(lookup.data(), 96, data, size_t{96} * 16, kBlocks, nullptr, words.data());
  });
  report("product 8 bit x 48", "cache", kBlocks * 48 * 32, [&](const KernelTable& table) {
    simd::ProductsFor(table.level)->sum_bytes(tables.data(), 48, data, size_t{48} * 32, kBlocks, nullptr, sums.data());
  });
  constexpr size_t kValues = 2048;
  report("compare int8", "cache", kValues,
         [&](const KernelTable& table) { table.compare->int8(data, kValues, -3, 60, answer.data()); });
  report("compare int64", "cache", kValues * 8,
         [&](const KernelTable& table) { table.compare->int64(data, kValues, -3, int64_t{1} << 60, answer.data()); });
  report("compare f32", "cache", kValues * 4,
         [&](const KernelTable& table) { table.compare->f32(data, kValues, -3.0f, 5.0f, answer.data()); });
  report("compare codes", "cache", kValues, [&](const KernelTable& table) {
    table.compare->codes(reinterpret_cast<const uint8_t*>(data), kValues, set, answer.data());
  });
  report("hadamard 512", "cache", 512 * 4, [&](const KernelTable& table) {
    std::copy_n(floats.data(), 512, sums.data());
    table.hadamard(sums.data(), 512);
  });
  report("f16 to f32", "cache", kValues * 2,
         [&](const KernelTable& table) { table.f16_to_f32(data, kValues, sums.data()); });
}

int Run(const Options& options) {
  std::mt19937 random(1);
  std::vector<const KernelTable*> levels;
  for (Level level : simd::kLevels) {
    if (const KernelTable* table = simd::KernelsFor(level)) {
      levels.push_back(table);
    } else {
      std::fprintf(stderr, "%s: not on this processor\n", std::string(simd::LevelName(level)).c_str());
    }
  }
  Buffer memory(options.megabytes << 20);
  Buffer cached(16 << 10);
  if (!options.json) std::printf("%-24s %-9s %-7s %9s %9s\n", "kernel", "level", "data", "GB/s", "ratio");

  std::memset(memory.data.get(), 1, memory.bytes);
  double ceiling = 0;
  volatile uint64_t sink = 0;
  for (const KernelTable* table : levels) {
    const double seconds =
        Time(options.seconds * 3, [&] { sink = sink + table->read_all(memory.data.get(), memory.bytes); });
    const double rate = static_cast<double>(memory.bytes) / seconds / 1e9;
    ceiling = std::max(ceiling, rate);
    Report(options, "read", simd::LevelName(table->level), "memory", rate, 1.0);
  }
  std::fprintf(stderr, "ratio: cache rows against the plain loop, memory rows against the fastest read\n");

  bool wrong = false;
  for (const Kernel& kernel : AllKernels()) {
    Fill(cached, kernel, random);
    Fill(memory, kernel, random);
    Buffer query(4096);
    Fill(query, kernel.halves ? AllKernels()[0] : kernel, random);
    const size_t cached_rows = cached.bytes / kernel.row_bytes;
    const size_t memory_rows = memory.bytes / kernel.row_bytes;
    std::vector<float> out(memory_rows);
    double plain = 0;
    if (kernel.plain != nullptr) {
      const double seconds = Time(options.seconds, [&] {
        for (size_t i = 0; i < cached_rows; ++i) {
          out[i] = kernel.plain(query.data.get(), cached.data.get() + i * kernel.row_bytes, kernel.plain_size);
        }
      });
      plain = static_cast<double>(cached_rows * kernel.row_bytes) / seconds / 1e9;
      Report(options, kernel.name, "plain", "cache", plain, 1.0);
    }
    const std::vector<float> expected(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(cached_rows));
    for (const KernelTable* table : levels) {
      for (bool from_memory : {false, true}) {
        const Buffer& rows = from_memory ? memory : cached;
        const size_t count = from_memory ? memory_rows : cached_rows;
        const double seconds = Time(options.seconds, [&] {
          kernel.run(*table, {rows.data.get(), kernel.row_bytes, count, nullptr}, query.data.get(), out.data());
        });
        const double rate = static_cast<double>(count * kernel.row_bytes) / seconds / 1e9;
        const double base = from_memory ? ceiling : plain;
        Report(options, kernel.name, simd::LevelName(table->level), from_memory ? "memory" : "cache", rate,
               base > 0 ? rate / base : 0.0);
        for (size_t i = 0; kernel.plain != nullptr && !from_memory && i < cached_rows; ++i) {
          const float allowed = 1e-3f * (std::abs(expected[i]) + 10.0f);
          if (!(std::abs(out[i] - expected[i]) <= allowed)) wrong = true;
        }
      }
    }
  }
  for (const KernelTable* table : levels) BenchTiles(options, *table, random);
  Fill(memory, AllKernels().back(), random);
  BenchCodes(options, levels, memory, random);
  if (wrong) std::fprintf(stderr, "a kernel disagrees with its plain loop\n");
  return wrong ? 1 : 0;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  quiver::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--json") {
      options.json = true;
    } else if (arg == "--seconds" && i + 1 < argc) {
      options.seconds = std::atof(argv[++i]);
    } else if (arg == "--megabytes" && i + 1 < argc) {
      options.megabytes = static_cast<size_t>(std::atol(argv[++i]));
    } else {
      std::fprintf(stderr, "usage: kernels_bench [--json] [--seconds S] [--megabytes M]\n");
      return 2;
    }
  }
  return quiver::bench::Run(options);
}
