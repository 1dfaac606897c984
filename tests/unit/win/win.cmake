# What only Windows has: src/platform/win, spool/disk_win.c, auth/secctx_sspi.c.
foreach(name win sspi)
    add_executable(test_${name} ${CMAKE_CURRENT_LIST_DIR}/test_${name}.c)
    target_compile_options(test_${name} PRIVATE -Wno-pedantic -Wno-cast-qual -Wno-missing-prototypes)
    target_link_libraries(test_${name} PRIVATE submitd_auth submitd_config submitd_spool PkgConfig::CRITERION)
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endforeach()
add_test(NAME exe COMMAND ${CMAKE_SOURCE_DIR}/packaging/windows/check-exe $<TARGET_FILE:submitd>)
