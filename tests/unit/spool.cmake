# Both look at the file behind the store's back; test_store_faults puts a faulty disk under it.
foreach(name store store_faults)
    submitd_test(${name} spool)
    target_sources(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/spool_harness.c)
    target_link_libraries(test_${name} PRIVATE PkgConfig::SQLITE)
endforeach()
