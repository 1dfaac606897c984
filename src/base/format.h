/*
 * For the compiler: this function takes a format and its values as printf does. `at` counts the
 * parameters from 1; `values` is the first value's place, 0 for a va_list.
 */
#ifndef SUBMITD_BASE_FORMAT_H
#define SUBMITD_BASE_FORMAT_H

#ifdef __MINGW32__ /* where plain "printf" means Microsoft's, which has no %zu */
#define FORMAT_LIKE_PRINTF(at, values) __attribute__((format(gnu_printf, at, values)))
#else
#define FORMAT_LIKE_PRINTF(at, values) __attribute__((format(printf, at, values)))
#endif

#endif
