#include "io/memory_advice.h"

#include <sys/mman.h>

namespace quiver::io {

void AdviseHugePages(void* memory, size_t bytes) {
  if (bytes >= kHugePage) (void)::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
}

}  // namespace quiver::io
