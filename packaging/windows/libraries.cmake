# The libraries for Windows as the targets that pkg-config makes elsewhere, all static. The first
# configuration builds them (packaging/windows/build-deps, minutes); later ones find them done.
execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/build-deps
    OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

# submitd_windows_library(NAME ARCHIVE [LIBS...] [DEFINITIONS...])
function(submitd_windows_library name archive)
    cmake_parse_arguments(L "" "" "LIBS;DEFINITIONS" ${ARGN})
    add_library(PkgConfig::${name} STATIC IMPORTED GLOBAL)
    set_target_properties(PkgConfig::${name} PROPERTIES
        IMPORTED_LOCATION ${prefix}/lib/lib${archive}.a
        INTERFACE_INCLUDE_DIRECTORIES ${prefix}/include
        INTERFACE_COMPILE_DEFINITIONS "${L_DEFINITIONS}"
        INTERFACE_LINK_LIBRARIES "${L_LIBS}")
endfunction()

submitd_windows_library(UV uv
    LIBS psapi userenv user32 iphlpapi advapi32 ole32 shell32 dbghelp ws2_32)
# GNUTLS_INTERNAL_BUILD: else its variables (gnutls_free) are looked for in a DLL.
submitd_windows_library(GNUTLS gnutls DEFINITIONS GNUTLS_INTERNAL_BUILD
    LIBS ${prefix}/lib/libhogweed.a ${prefix}/lib/libnettle.a ${prefix}/lib/libgmp.a
        ncrypt crypt32 bcrypt ws2_32)
submitd_windows_library(INIH inih)
submitd_windows_library(JANSSON jansson)
submitd_windows_library(SQLITE sqlite3)
# The compiler's stack protector, and what our own files ask of Windows.
link_libraries(ssp secur32 crypt32 bcrypt advapi32 shell32 ws2_32)
