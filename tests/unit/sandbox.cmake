if(NOT WIN32) # no sandbox there
    submitd_test(sandbox_type3 sandbox_type3)
endif()
