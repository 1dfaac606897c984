submitd_test(tls tls)
submitd_test(net net)
