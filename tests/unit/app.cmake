submitd_test(queue_print smtp base)
target_sources(test_queue_print PRIVATE ${CMAKE_SOURCE_DIR}/src/app/queue_print.c)
target_link_libraries(test_queue_print PRIVATE PkgConfig::JANSSON)
# Runs the program itself on a spool that the test fills.
submitd_test(queue spool base)
target_link_libraries(test_queue PRIVATE PkgConfig::JANSSON)
target_compile_definitions(test_queue PRIVATE SUBMITD_PROGRAM="$<TARGET_FILE:submitd>")
add_dependencies(test_queue submitd)
