submitd_test(server smtp base)
# One test has each allocation fail once.
target_link_options(test_server PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc)
# One counts allocated octets: glibc takes freed ones in a thread's cache for allocated.
set_tests_properties(server PROPERTIES ENVIRONMENT GLIBC_TUNABLES=glibc.malloc.tcache_count=0)
submitd_test(server_transcripts smtp base)
target_sources(test_server_transcripts PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/transcript.c)
