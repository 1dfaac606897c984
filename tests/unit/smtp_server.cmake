submitd_test(server smtp base)
# One test has each allocation fail once.
target_link_options(test_server PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc)
submitd_test(server_transcripts smtp base)
target_sources(test_server_transcripts PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/transcript.c)
