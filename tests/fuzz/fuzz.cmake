# submitd_fuzz(NAME layers...): tests/fuzz/fuzz_NAME.c as a libFuzzer program (preset "fuzz", clang). Its kept
# inputs are in tests/fuzz/corpus/NAME: a crash becomes a row of a unit test and a file there.
#   build/fuzz/fuzz_NAME -max_total_time=60 tests/fuzz/corpus/NAME
function(submitd_fuzz name)
    set(layers ${ARGN})
    list(TRANSFORM layers PREPEND submitd_)
    add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE ${layers})
    # What was found once must not come back: the kept inputs are run as a test.
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} -runs=0
        ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
endfunction()

submitd_fuzz(address smtp base)
submitd_fuzz(body smtp base)
submitd_fuzz(client smtp base)
submitd_fuzz(command smtp base)
submitd_fuzz(config config)
submitd_fuzz(header smtp base)
submitd_fuzz(reply smtp base)
submitd_fuzz(sasl auth base)
submitd_fuzz(server smtp base)
submitd_fuzz(type3 sandbox_type3 base)
