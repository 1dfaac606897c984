submitd_test(address smtp base)
submitd_test(caps smtp base)
submitd_test(command smtp base)
submitd_test(reply smtp base)
submitd_test(body smtp base)
submitd_test(bounce smtp base)
submitd_test(header smtp base)
# Some rows are hostile to algorithms that are not linear: minutes instead of a second.
set_tests_properties(body header PROPERTIES TIMEOUT 120)
