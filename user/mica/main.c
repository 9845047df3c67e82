/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, help, and the way to them: see mica.h. */
#include "user/mica/mica.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct command {
	const char *area, *verb;   /* verb "": the area is the whole command */
	const char *words;         /* what follows */
	int min, max;              /* how many words */
	const char *help;
	int (*run)(const struct arguments *a);
} commands[] = {
	{ "vm", "list", "[--json]", 0, 0, "the registered virtual machines and what they use", vm_list },
	{ "vm", "show", "VM [--json]", 1, 1, "one virtual machine", vm_show },
	{ "vm", "start", "VM", 1, 1, "power a virtual machine on", vm_start },
	{ "vm", "stop", "VM", 1, 1, "power a virtual machine off, at once", vm_stop },
	{ "vm", "reset", "VM", 1, 1, "reset a virtual machine, as its reset button would", vm_reset },
	{ "mem", "show", "[--json]", 0, 0, "where every byte of the host's memory is", mem_show },
	{ "counters", "", "[PREFIX] [--json]", 0, 1, "what the kernel has counted (names that begin with PREFIX)", counters },
	{ "log", "", "", 0, 0, "the host's log", log_show },
	{ "cpu", "show", "[--json]", 0, 0, "the host's processors", cpu_show },
	{ "host", "poweroff", "", 0, 0, "power the host off, at once", host_poweroff },
	{ "host", "reboot", "", 0, 0, "reset the host, at once", host_reboot },
};
#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

int fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("mica: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static void print_usage(FILE *f, const struct command *c)
{
	char line[80];

	snprintf(line, sizeof(line), "mica %s%s%s %s", c->area, *c->verb ? " " : "", c->verb, c->words);
	fprintf(f, "  %-36s %s\n", line, c->help);
}

/* All commands, or those of one area. False when there are none. */
static bool print_help(FILE *f, const char *area)
{
	bool found = false;

	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (area && strcmp(area, commands[i].area))
			continue;
		if (!found)
			fputs("usage:\n", f);
		found = true;
		print_usage(f, &commands[i]);
	}
	if (found && !area)
		fputs("VM is a number or a name of `mica vm list`.\n", f);
	return found;
}

static int wrong(const struct command *c, const char *what, const char *word)
{
	fprintf(stderr, "mica: %s%s%s\nusage:\n", what, word ? ": " : "", word ? word : "");
	print_usage(stderr, c);
	return 2;
}

static int run(const struct command *c, int argc, char **argv)
{
	char *words[4];
	struct arguments a = { .word = words };

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			puts("usage:");
			print_usage(stdout, c);
			return 0;
		}
		if (!strcmp(argv[i], "--json") && strstr(c->words, "--json")) {
			a.json = true;
			continue;
		}
		if (argv[i][0] == '-')
			return wrong(c, "unknown option", argv[i]);
		if (a.n >= c->max)
			return wrong(c, "too many words", argv[i]);
		words[a.n++] = argv[i];
	}
	return a.n < c->min ? wrong(c, "which one?", NULL) : c->run(&a);
}

int main(int argc, char **argv)
{
	const char *area = argc > 1 ? argv[1] : NULL, *verb = argc > 2 ? argv[2] : "";

	if (!area || !strcmp(area, "--help") || !strcmp(area, "help")) {
		print_help(area ? stdout : stderr, NULL);
		return area ? 0 : 2;
	}
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (!strcmp(c->area, area) && (!*c->verb || !strcmp(c->verb, verb)))
			return run(c, argc - (*c->verb ? 3 : 2), argv + (*c->verb ? 3 : 2));
	}
	if (!strcmp(verb, "--help") && print_help(stdout, area))
		return 0;
	fprintf(stderr, "mica: no command \"%s%s%s\"\n", area, *verb ? " " : "", verb);
	if (!print_help(stderr, area))
		print_help(stderr, NULL);
	return 2;
}
