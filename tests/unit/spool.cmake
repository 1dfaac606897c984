if(NOT WIN32)
    # Both look at the file behind the store's back.
    foreach(name store store_faults)
        submitd_test(${name} spool)
        target_sources(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/spool_harness.c)
        target_link_libraries(test_${name} PRIVATE PkgConfig::SQLITE)
    endforeach()
    # This one also puts a faulty disk under the store, and has each allocation fail once.
    target_sources(test_store_faults PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/faulty_disk.c)
    target_link_options(test_store_faults PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endif()
