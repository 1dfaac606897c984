submitd_test(log_line ops)
submitd_test(reason relay)
submitd_test(census relay)
