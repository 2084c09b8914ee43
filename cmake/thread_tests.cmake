# What of the unit tests ThreadSanitizer runs: it makes them ten times as long, and sees nothing in those of one thread.

# Layers of pure functions: the tests that start threads, which say so in their names.
set(threads "*Thread*:*Concurrent*:*Cancel*")
foreach(layer schema expr index)
  set_tests_properties(${layer}_test PROPERTIES ENVIRONMENT "GTEST_FILTER=${threads}")
endforeach()
# The stores sync on threads of their own.
set_tests_properties(storage_test PROPERTIES ENVIRONMENT "GTEST_FILTER=${threads}:*LogStore*:*MetaStore*")
# Each operation of the engine is handed from thread to thread, whatever the test; fewer random histories show it too.
set_tests_properties(engine_test PROPERTIES ENVIRONMENT "QUIVER_HISTORIES=40")
