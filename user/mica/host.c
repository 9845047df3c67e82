/* SPDX-License-Identifier: Apache-2.0 */
/* What the host says about itself: the kernel's text files under /dev/mica, one "name value" a line where they are listings. */
#include "user/mica/mica.h"
#include "user/mica/json.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cannot_read(const char *path)
{
	return fail("%s cannot be read: %s (this command works on a mica host)", path, strerror(errno));
}

/* "name value": cuts the line at its last blank. The value, or NULL. */
static const char *cut_value(char *line)
{
	char *blank;

	line[strcspn(line, "\n")] = 0;
	blank = strrchr(line, ' ');
	if (!blank)
		return NULL;
	*blank = 0;
	return blank + 1;
}

static int show_listing(const char *path, const char *prefix, bool json)
{
	FILE *f = fopen(path, "re");
	char line[256];
	const char *value;

	if (!f)
		return cannot_read(path);
	if (json)
		json_open('{');
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, prefix, strlen(prefix)))
			continue;
		if (!json)
			fputs(line, stdout);
		else if ((value = cut_value(line)))
			json_number(line, strtoull(value, NULL, 10));
	}
	if (json) {
		json_close('}');
		json_end();
	}
	fclose(f);
	return 0;
}

int mem_show(const struct arguments *a) { return show_listing("/dev/mica/mem", "", a->json); }
int counters(const struct arguments *a) { return show_listing("/dev/mica/counters", a->n ? a->word[0] : "", a->json); }

int log_show(const struct arguments *a)
{
	int fd = open("/dev/mica/log", O_RDONLY | O_CLOEXEC);
	char buf[4096];
	ssize_t n;

	if (fd < 0)
		return cannot_read("/dev/mica/log");
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	close(fd);
	return 0;
}

static void cpu_model(char model[49])
{
	unsigned r[12] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		__get_cpuid(0x80000002 + i, &r[i * 4], &r[i * 4 + 1], &r[i * 4 + 2], &r[i * 4 + 3]);
	memcpy(model, r, 48);
	model[48] = 0;
}

int cpu_show(const struct arguments *a)
{
	cpu_set_t set;
	char model[49];
	int cpus = 1;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = CPU_COUNT(&set);
	cpu_model(model);
	if (a->json) {
		json_open('{');
		json_string("model", model);
		json_number("cpus", (uint64_t)cpus);
		json_close('}');
		json_end();
	} else {
		printf("model  %s\ncpus   %d\n", model, cpus);
	}
	return 0;
}

static int control(const char *word)
{
	int fd = open("/dev/mica/ctl", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		return fail("the kernel does not take \"%s\": %s", word, strerror(errno));
	close(fd);
	return 0;
}

int host_poweroff(const struct arguments *a) { return control("poweroff"); }
int host_reboot(const struct arguments *a) { return control("reboot"); }
