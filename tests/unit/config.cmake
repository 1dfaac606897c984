submitd_test(config config)
submitd_test(routes config)
submitd_test(platform platform)
