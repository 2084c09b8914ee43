# Debian 12 ships RapidJSON 1.1, in which GenericStringRef has a copy assignment that assigns to a const member. g++
# accepts it as long as nobody calls it, clang 19 does not. The headers are copied into the build folder without that
# line, for every layer. Written only when changed, so that a second configuration rebuilds
# nothing.
find_path(RAPIDJSON_SYSTEM_DIR rapidjson/document.h REQUIRED)
set(rapidjson_dir ${PROJECT_BINARY_DIR}/third_party)
file(COPY ${RAPIDJSON_SYSTEM_DIR}/rapidjson DESTINATION ${rapidjson_dir} PATTERN document.h EXCLUDE)
file(READ ${RAPIDJSON_SYSTEM_DIR}/rapidjson/document.h document)
set(assignment "GenericStringRef& operator=(const GenericStringRef& rhs) { s = rhs.s; length = rhs.length; }")
string(REPLACE "${assignment}" "GenericStringRef& operator=(const GenericStringRef& rhs) = delete;" document "${document}")
file(CONFIGURE OUTPUT ${rapidjson_dir}/rapidjson/document.h CONTENT "${document}" @ONLY)
target_include_directories(quiver_options SYSTEM INTERFACE ${rapidjson_dir})
