/* SPDX-License-Identifier: Apache-2.0 */
/* Registered VMs and their states: see vms.h. */
#include "user/lib/vms.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *const state_word[] = { "off", "starting", "running" };

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct vm_entry *)a)->path, ((const struct vm_entry *)b)->path);
}

static void read_entry(struct vm_entry *e)
{
	struct vmx_config *c = malloc(sizeof(*c));

	e->autostart = true; /* a file that cannot be read is started too: vmx says what is wrong with it */
	if (!c) {
		uerror_format(&e->why, "%s: no memory to read it", e->path);
		return;
	}
	e->valid = vmx_config_load(e->path, c, &e->why);
	memcpy(e->name, c->name, sizeof(e->name));
	if (e->valid) {
		e->vcpus = c->vcpus;
		e->memory = c->memory;
		e->autostart = c->autostart;
	}
	free(c);
}

unsigned vms_scan(struct vm_entry *e, unsigned max)
{
	DIR *d = opendir(VMS_DIR);
	struct dirent *de;
	unsigned n = 0;

	if (!d)
		return 0;
	while (n < max && (de = readdir(d))) {
		size_t len = strlen(de->d_name);

		if (len <= 4 || strcasecmp(de->d_name + len - 4, ".vmx") || de->d_name[0] == '.')
			continue;
		memset(&e[n], 0, sizeof(e[n]));
		snprintf(e[n].path, sizeof(e[n].path), VMS_DIR "/%s", de->d_name);
		n++;
	}
	closedir(d);
	qsort(e, n, sizeof(*e), by_path);
	for (unsigned i = 0; i < n; i++) {
		e[i].number = i;
		read_entry(&e[i]);
	}
	return n;
}

struct vm_entry *vms_find(struct vm_entry *e, unsigned n, const char *word)
{
	char *end;
	unsigned long number;

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(e[i].name, word))
			return &e[i];
	number = strtoul(word, &end, 10);
	return *word && !*end && number < n ? &e[number] : NULL;
}

static void state_path(char *buf, size_t size, unsigned number) { snprintf(buf, size, VMS_RUN_DIR "/%u.state", number); }

bool vms_read_state(unsigned number, struct vm_run_info *info)
{
	char path[64], text[64], word[16];
	int fd, value;
	ssize_t n;

	*info = (struct vm_run_info){ .state = VM_RUN_OFF };
	state_path(path, sizeof(path), number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (sscanf(text, "%15s %d", word, &value) != 2)
		return false;
	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(word, state_word[i]))
			info->state = (enum vm_run_state)i;
	if (info->state == VM_RUN_OFF)
		info->status = value;
	else
		info->pid = value;
	return true;
}

/* Always the same length, written in one call: a reader sees the old line or the new one. */
void vms_write_state(unsigned number, const struct vm_run_info *info)
{
	char path[64], text[32];
	int fd, n = snprintf(text, sizeof(text), "%-8s %10d\n", state_word[info->state], info->state == VM_RUN_OFF ? info->status : (int)info->pid);

	state_path(path, sizeof(path), number);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (write(fd, text, (size_t)n) != n)
		unlink(path);
	close(fd);
}
