#include "platform/win/service.h"
#include "platform/win/text.h"
#include "base/slice.h"

#include <stdarg.h>
#include <stdio.h>
#include <windows.h>

/* What an operator can do about it; the rest is Windows' own sentence. */
static const struct {
    unsigned long code;
    const char *sentence;
} known[] = {
    { ERROR_ACCESS_DENIED,
        "access is denied; open the console with \"Run as administrator\" and try again" },
    { ERROR_SERVICE_DOES_NOT_EXIST, "there is no service submitd; run: submitd service install" },
    { ERROR_SERVICE_MARKED_FOR_DELETE,
        "it is being removed; close the Services window and other programs that look at it" },
    { ERROR_SERVICE_DISABLED, "the service is disabled; run: sc config submitd start= auto" },
    { ERROR_SERVICE_LOGON_FAILED,
        "its account cannot log on; see the account with: submitd service status" },
};

static const char *known_sentence(unsigned long code)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].code == code)
            return known[i].sentence;
    }
    return NULL;
}

bool win_fail(struct err *e, unsigned long code, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *sentence = known_sentence(code);
    char words[WIN_ERROR_TEXT_MAX];
    return err_set(
        e, ERR_IO, "cannot %s: %s", what, sentence ? sentence : win_error_text(code, words));
}
