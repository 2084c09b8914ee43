# `cmake --install build/release --prefix DIR`: the program, and libquiver: the layers up to the vector indexes as static
# libraries with their headers and a CMake package.
#
#   find_package(quiver REQUIRED)
#   target_link_libraries(mine PRIVATE quiver::index)     # #include <index/vector_index.h>
include(CMakePackageConfigHelpers)

set(quiver_library_layers base io simd text schema expr codec index)
set(quiver_package lib/cmake/quiver)

install(TARGETS quiver RUNTIME DESTINATION bin)
set(exported quiver_options)
foreach(layer ${quiver_library_layers})
  list(APPEND exported quiver_${layer})
  set_target_properties(quiver_${layer} PROPERTIES EXPORT_NAME ${layer})
  install(DIRECTORY src/${layer} DESTINATION include/quiver FILES_MATCHING PATTERN "*.h"
    PATTERN "internal" EXCLUDE PATTERN "test_*" EXCLUDE)
endforeach()
set_target_properties(quiver_options PROPERTIES EXPORT_NAME options)
install(TARGETS ${exported} EXPORT quiver ARCHIVE DESTINATION lib)
install(EXPORT quiver NAMESPACE quiver:: DESTINATION ${quiver_package})
configure_package_config_file(cmake/quiver-config.cmake.in ${PROJECT_BINARY_DIR}/quiver-config.cmake
  INSTALL_DESTINATION ${quiver_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/quiver-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quiver-config.cmake ${PROJECT_BINARY_DIR}/quiver-config-version.cmake
  DESTINATION ${quiver_package})
