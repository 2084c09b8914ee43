# Instruction sets of the kernel files; everything else is built for the base target. Contraction of a * b + c is off, so
# that all forms of a kernel round alike.
set(simd_dir ${PROJECT_SOURCE_DIR}/src/simd)
set_source_files_properties(${simd_dir}/kernels_baseline.cc ${simd_dir}/list_kernels_baseline.cc ${simd_dir}/compare_kernels_baseline.cc ${simd_dir}/product_kernels_baseline.cc PROPERTIES COMPILE_OPTIONS "-O3;-ffp-contract=off")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(${simd_dir}/kernels_avx2.cc ${simd_dir}/list_kernels_avx2.cc ${simd_dir}/compare_kernels_avx2.cc ${simd_dir}/product_kernels_avx2.cc PROPERTIES COMPILE_OPTIONS
    "-O3;-ffp-contract=off;-mavx2;-mfma;-mf16c;-mbmi;-mbmi2;-mlzcnt")
  # g++ 12's own AVX-512 header starts from undefined values on purpose and is warned about for it.
  set(avx512_options "-O3;-ffp-contract=off;-mavx2;-mfma;-mf16c;-mbmi;-mbmi2;-mlzcnt;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mprefer-vector-width=512;-Wno-unknown-warning-option;-Wno-uninitialized;-Wno-maybe-uninitialized")
  set_source_files_properties(${simd_dir}/kernels_avx512.cc ${simd_dir}/list_kernels_avx512.cc ${simd_dir}/compare_kernels_avx512.cc ${simd_dir}/product_kernels_avx512.cc PROPERTIES COMPILE_OPTIONS
    "${avx512_options}")
  set_source_files_properties(${simd_dir}/kernels_avx512popcnt.cc PROPERTIES COMPILE_OPTIONS "${avx512_options};-mavx512vpopcntdq")
endif()
