/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mica: the command line of the host. `mica AREA VERB [WORDS] [--json]`. Each command is one function; main.c finds it in its
 * table, prints help, and hands it the words that remain. Exit status: 0 done, 1 it could not be done (one sentence), 2 usage.
 */
#ifndef USER_MICA_MICA_H
#define USER_MICA_MICA_H

#include <stdbool.h>

struct arguments {
	int n;
	char **word;  /* after AREA and VERB, options taken out */
	bool json;
};
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "mica: …" on standard error; returns 1 */

/* vm.c */
int vm_list(const struct arguments *a);
int vm_show(const struct arguments *a);
int vm_start(const struct arguments *a);
int vm_stop(const struct arguments *a);
int vm_reset(const struct arguments *a);
/* host.c */
int mem_show(const struct arguments *a);
int counters(const struct arguments *a);
int log_show(const struct arguments *a);
int cpu_show(const struct arguments *a);
int host_poweroff(const struct arguments *a);
int host_reboot(const struct arguments *a);

#endif
