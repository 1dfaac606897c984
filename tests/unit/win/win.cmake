# What only Windows has: src/platform/win, spool/disk_win.c, auth/secctx_sspi.c.
add_executable(test_win ${CMAKE_CURRENT_LIST_DIR}/test_win.c)
target_compile_options(test_win PRIVATE -Wno-pedantic -Wno-cast-qual -Wno-missing-prototypes)
target_link_libraries(test_win PRIVATE submitd_auth submitd_config submitd_spool PkgConfig::CRITERION)
add_test(NAME win COMMAND test_win WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
