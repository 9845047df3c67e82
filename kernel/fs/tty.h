/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal's lower edge: whoever drives the console hands typed bytes in (a world, may sleep) and takes printed ones. */
#ifndef FS_TTY_H
#define FS_TTY_H

#include "core/types.h"

void tty_input(const char *bytes, size_t n);
void tty_set_output(void (*output)(const char *bytes, size_t n)); /* may sleep */

#endif
