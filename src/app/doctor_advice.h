/*
 * What an Exchange administrator, or who wrote the INI, must change for each refusal. Pure.
 */
#ifndef SUBMITD_APP_DOCTOR_ADVICE_H
#define SUBMITD_APP_DOCTOR_ADVICE_H

#include "base/err.h"

/* `text` is the error's sentence or the server's reply; a static sentence or two, never NULL. */
const char *doctor_advice(enum err_kind kind, const char *text);
/* The same for words whose kind is not known; NULL: they say nothing that has a row. */
const char *doctor_advice_on_words(const char *text);

#endif
