# What goes into submitd.exe beside its code: the event log's texts, the commented INI file, the version.
# submitd_messages.h is for src/platform/win/eventlog.c.
enable_language(RC)
set(resources ${CMAKE_BINARY_DIR}/resources)
set(SUBMITD_MESSAGES ${resources}/platform/win/submitd_messages.h)
file(MAKE_DIRECTORY ${resources}/platform/win)
add_custom_command(
    OUTPUT ${SUBMITD_MESSAGES} ${resources}/submitd_messages.rc
    COMMAND x86_64-w64-mingw32-windmc -h ${resources}/platform/win -r ${resources}
        ${CMAKE_CURRENT_LIST_DIR}/submitd_messages.mc
    DEPENDS ${CMAKE_CURRENT_LIST_DIR}/submitd_messages.mc)
set(sample ${CMAKE_SOURCE_DIR}/config/submitd.ini)
add_custom_command(
    OUTPUT ${resources}/submitd.ini
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/make-sample ${sample} > ${resources}/submitd.ini
    DEPENDS ${sample} ${CMAKE_CURRENT_LIST_DIR}/make-sample)
configure_file(${CMAKE_CURRENT_LIST_DIR}/submitd.rc.in ${resources}/submitd.rc @ONLY)
set_source_files_properties(${resources}/submitd.rc PROPERTIES
    GENERATED TRUE
    OBJECT_DEPENDS "${resources}/submitd_messages.rc;${resources}/submitd.ini")
add_custom_target(submitd_messages
    DEPENDS ${SUBMITD_MESSAGES} ${resources}/submitd_messages.rc ${resources}/submitd.ini)
