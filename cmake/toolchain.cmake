# Compiler flags, external packages and sanitizers: everything that is the same for all layers.

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(Protobuf REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5-serial)
if(NOT TARGET re2::re2)
  pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
  add_library(re2::re2 ALIAS PkgConfig::RE2)
endif()
find_library(HTTP_PARSER_LIBRARY http_parser REQUIRED)
add_library(http_parser INTERFACE)
target_link_libraries(http_parser INTERFACE ${HTTP_PARSER_LIBRARY})

# Ours are warned about; generated code (proto) and third-party headers are not.
add_library(quiver_options INTERFACE)
target_include_directories(quiver_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include/quiver>)
# For us, not for those who use the installed library.
set(quiver_warnings
  -Wall -Wextra -Wpedantic -Wconversion -Werror -fno-omit-frame-pointer
  # Designated initialisers leave the other members at their defaults on purpose.
  -Wno-missing-field-initializers
  # g++ 12 sees overlapping copies in plain assignments of literals to std::string (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # g++ does not count changes of sign into -Wconversion; clang builds with the same set of warnings.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>)
target_compile_options(quiver_options INTERFACE "$<BUILD_INTERFACE:${quiver_warnings}>")
target_link_libraries(quiver_options INTERFACE Threads::Threads)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options(-march=x86-64-v2)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-g1)
endif()
if(QUIVER_SANITIZE)
  # -O1 keeps the checked builds quick to compile and their stacks readable.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=${QUIVER_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${QUIVER_SANITIZE})
endif()
if(QUIVER_FUZZ)
  # Coverage feedback from every library; only the fuzz programs themselves link libFuzzer's main().
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Paths below the source folder are hashed as relative ones, so that every clone on a machine shares one cache.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

# Umbrella targets: every unit test, every fuzz program, every generated header.
add_custom_target(unit_tests)
# Those below the network: what ThreadSanitizer can judge.
add_custom_target(engine_unit_tests)
add_custom_target(fuzzers)
add_custom_target(generated_headers)

enable_testing()
if(QUIVER_TESTS)
  find_package(GTest REQUIRED)
endif()
