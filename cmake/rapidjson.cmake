# Debian 12 ships RapidJSON 1.1, in which GenericStringRef has a copy assignment that assigns to a const member. g++
# accepts it as long as nobody calls it, clang 19 does not. The headers are copied into the build folder without that
# line, for every layer; so is an addition to a null pointer in its stack, which the sanitizers refuse. Written only when
# changed, so that a second configuration rebuilds nothing.
find_path(RAPIDJSON_SYSTEM_DIR rapidjson/document.h REQUIRED)
set(rapidjson_dir ${PROJECT_BINARY_DIR}/third_party)
file(COPY ${RAPIDJSON_SYSTEM_DIR}/rapidjson DESTINATION ${rapidjson_dir} PATTERN document.h EXCLUDE PATTERN stack.h EXCLUDE)
file(READ ${RAPIDJSON_SYSTEM_DIR}/rapidjson/document.h document)
set(assignment "GenericStringRef& operator=(const GenericStringRef& rhs) { s = rhs.s; length = rhs.length; }")
string(REPLACE "${assignment}" "GenericStringRef& operator=(const GenericStringRef& rhs) = delete;" document "${document}")
file(CONFIGURE OUTPUT ${rapidjson_dir}/rapidjson/document.h CONTENT "${document}" @ONLY)
file(READ ${RAPIDJSON_SYSTEM_DIR}/rapidjson/internal/stack.h stack)
string(REPLACE "(stackTop_ + sizeof(T) * count > stackEnd_)"
  "(static_cast<std::ptrdiff_t>(sizeof(T) * count) > stackEnd_ - stackTop_)" stack "${stack}")
string(REPLACE "(stackTop_ + sizeof(T) * count <= stackEnd_)"
  "(static_cast<std::ptrdiff_t>(sizeof(T) * count) <= stackEnd_ - stackTop_)" stack "${stack}")
file(CONFIGURE OUTPUT ${rapidjson_dir}/rapidjson/internal/stack.h CONTENT "${stack}" @ONLY)
target_include_directories(quiver_options SYSTEM INTERFACE $<BUILD_INTERFACE:${rapidjson_dir}>)
