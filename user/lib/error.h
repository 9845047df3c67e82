/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error, one sentence: what was wrong, where (file and line, or file and offset). Functions that can fail take a struct
 * uerror and return false after filling it; the caller that cannot go on prints it.
 */
#ifndef USER_LIB_ERROR_H
#define USER_LIB_ERROR_H

#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>

struct uerror {
	char text[320];
};

__attribute__((format(printf, 2, 3))) static inline void uerror_format(struct uerror *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}
#define uerror_set(e, ...) (uerror_format(e, __VA_ARGS__), false) /* an expression: compilers see that it is false */

#endif
