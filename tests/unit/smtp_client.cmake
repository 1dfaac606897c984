submitd_test(client smtp base)
submitd_test(client_transcripts smtp base)
target_sources(test_client_transcripts PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/transcript.c)
# The transcripts are also run with each allocation failing once.
target_link_options(test_client_transcripts PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc)
