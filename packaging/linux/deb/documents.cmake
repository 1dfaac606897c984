# Run by CPack before it packs: the two documents that only a .deb has.
if(CPACK_GENERATOR STREQUAL "DEB")
    file(COPY @CMAKE_CURRENT_SOURCE_DIR@/deb/copyright @made@/changelog.Debian.gz
        DESTINATION ${CPACK_TEMPORARY_INSTALL_DIRECTORY}@CMAKE_INSTALL_PREFIX@/@docs@)
endif()
