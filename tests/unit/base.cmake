submitd_test(base base)
set_tests_properties(base PROPERTIES TIMEOUT 60) # one row is hostile to globs
