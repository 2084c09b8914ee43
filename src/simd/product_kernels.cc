#include "simd/product_kernels.h"

#include "simd/product_tables.h"

namespace quiver::simd {
namespace {

const ProductKernels& TableOf(Level level) {
#if defined(__x86_64__)
  if (level == Level::kAvx2) return kAvx2ProductKernels;
  if (level >= Level::kAvx512) return kAvx512ProductKernels;
#endif
  (void)level;
  return kBaselineProductKernels;
}

}  // namespace

const ProductKernels& Products() { return TableOf(Kernels().level); }

const ProductKernels* ProductsFor(Level level) { return KernelsFor(level) == nullptr ? nullptr : &TableOf(level); }

}  // namespace quiver::simd
