submitd_test(sasl auth)
if(NOT WIN32)
    submitd_test(ntlm auth)
    # The acceptor in test_ntlm.c is the other side of the same GSSAPI.
    target_link_libraries(test_ntlm PRIVATE PkgConfig::GSSAPI)
    set_tests_properties(sasl ntlm PROPERTIES
        FAIL_REGULAR_EXPRESSION "LeakSanitizer"
        ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
endif()
