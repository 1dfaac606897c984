submitd_test(base base)
submitd_test(roff base)
set_tests_properties(base PROPERTIES TIMEOUT 60) # one row is hostile to globs
