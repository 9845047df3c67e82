/* SPDX-License-Identifier: Apache-2.0 */
/* The strings that a new program is given. */
#ifndef SYS_EXEC_H
#define SYS_EXEC_H

#include "sys/proc.h"

#define EXEC_STRINGS_MAX KIB(128)
#define EXEC_POINTERS_MAX 4096
struct exec_strings {
	char *bytes;         /* arguments, then environment, each ended by its 0 */
	size_t len;
	unsigned argc, envc;
};
struct exec_strings *exec_strings_new(void);
void exec_strings_free(struct exec_strings *s);
int exec_strings_add(struct exec_strings *s, const char *text); /* -E2BIG; the caller counts */
int exec_strings_add_user(struct exec_strings *s, uint64_t array, unsigned *count);

#endif
