submitd_test(base base)
