submitd_test(store spool)
submitd_test(store_faults spool)
# They look at the file behind the store's back, and put a faulty disk under it.
target_link_libraries(test_store PRIVATE PkgConfig::SQLITE)
target_link_libraries(test_store_faults PRIVATE PkgConfig::SQLITE)
