/* SPDX-License-Identifier: Apache-2.0 */
/* mica vm …: what is registered (/vms), what runs (/run/vm, written by init), what it uses (/dev/vmm). */
#include "user/mica/mica.h"
#include "user/lib/vms.h"
#include "user/mica/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLY_MS 30000

static struct vm_entry entry[VMS_MAX];
static struct vmm_vm_info live[VMS_MAX];
static unsigned nr_entries, nr_live;

static void read_live(void)
{
	struct vmm_list list = { .vms = (uint64_t)(uintptr_t)live, .capacity = VMS_MAX };
	int fd = open("/dev/vmm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return; /* no virtualization here: nothing runs */
	if (!ioctl(fd, VMM_LIST, &list))
		nr_live = list.count < VMS_MAX ? list.count : VMS_MAX;
	close(fd);
}

static void scan(void)
{
	nr_entries = vms_scan(entry, VMS_MAX);
	read_live();
}

static const struct vmm_vm_info *find_live(pid_t pid)
{
	for (unsigned i = 0; pid && i < nr_live; i++)
		if (live[i].pid == (uint32_t)pid)
			return &live[i];
	return NULL;
}

static const char *state_name(const struct vm_entry *e, const struct vm_run_info *run)
{
	static const char *const name[] = { "off", "starting", "running" };

	return e->valid || run->state != VM_RUN_OFF ? name[run->state] : "invalid";
}

static void print_json(const struct vm_entry *e, const struct vm_run_info *run, const struct vmm_vm_info *l)
{
	json_open('{');
	json_number("id", e->number);
	json_string("name", e->name);
	json_string("file", e->path);
	json_string("state", state_name(e, run));
	json_number("vcpus", e->vcpus);
	json_number("memory", e->memory);
	json_number("memory_used", l ? l->memory_used : 0);
	json_number("overhead", l ? l->overhead : 0);
	json_number("exits", l ? l->exits : 0);
	json_number("cpu_ns", l ? l->cpu_ns : 0);
	json_number("pid", (uint64_t)run->pid);
	json_number("last_status", (uint64_t)run->status);
	json_close('}');
}

int vm_list(const struct arguments *a)
{
	scan();
	if (a->json)
		json_open('[');
	else
		printf("%-3s %-24s %-9s %5s %12s %12s %7s\n", "ID", "NAME", "STATE", "VCPUS", "MEMORY KiB", "USED KiB", "PID");
	for (unsigned i = 0; i < nr_entries; i++) {
		const struct vmm_vm_info *l;
		struct vm_run_info run;

		vms_read_state(i, &run);
		l = find_live(run.pid);
		if (a->json)
			print_json(&entry[i], &run, l);
		else
			printf("%-3u %-24s %-9s %5u %12llu %12llu %7d\n", i, entry[i].name, state_name(&entry[i], &run), entry[i].vcpus,
			       (unsigned long long)(entry[i].memory >> 10), (unsigned long long)(l ? l->memory_used >> 10 : 0), (int)run.pid);
	}
	if (a->json) {
		json_close(']');
		json_end();
	}
	return 0;
}

static struct vm_entry *the_vm(const struct arguments *a)
{
	struct vm_entry *e;

	scan();
	e = vms_find(entry, nr_entries, a->word[0]);
	if (!e)
		fail("no VM \"%s\": `mica vm list` shows those registered", a->word[0]);
	return e;
}

int vm_show(const struct arguments *a)
{
	const struct vm_entry *e = the_vm(a);
	const struct vmm_vm_info *l;
	struct vm_run_info run;

	if (!e)
		return 1;
	vms_read_state(e->number, &run);
	l = find_live(run.pid);
	if (a->json) {
		print_json(e, &run, l);
		json_end();
		return 0;
	}
	printf("id           %u\nname         %s\nfile         %s\nstate        %s\n", e->number, e->name, e->path, state_name(e, &run));
	if (!e->valid)
		printf("wrong        %s\n", e->why.text);
	printf("vcpus        %u\nmemory       %llu KiB\n", e->vcpus, (unsigned long long)(e->memory >> 10));
	if (l)
		printf("memory used  %llu KiB\noverhead     %llu KiB\nexits        %llu\ncpu time     %llu ms\nprocess      %u\n",
		       (unsigned long long)(l->memory_used >> 10), (unsigned long long)(l->overhead >> 10), (unsigned long long)l->exits,
		       (unsigned long long)(l->cpu_ns / 1000000), l->pid);
	else
		printf("last status  %d\n", run.status);
	return 0;
}

/* ---- commands that init carries out ---- */

/* Waits for init's one line in our FIFO. */
static int await_reply(int fifo, const char *name, const char *verb)
{
	struct pollfd p = { .fd = fifo, .events = POLLIN };
	char line[200];
	size_t n = 0;

	while (n < sizeof(line) - 1) {
		ssize_t r;

		if (poll(&p, 1, REPLY_MS) <= 0)
			return fail("%s: init did not answer in %d s: `mica log` may say why", name, REPLY_MS / 1000);
		r = read(fifo, line + n, 1);
		if (r <= 0 || line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return strcmp(line, "ok") ? fail("%s cannot be %s: %s", name, verb, line) : 0;
}

static int ask_init(const struct arguments *a, const char *verb, const char *done)
{
	const struct vm_entry *e = the_vm(a);
	char fifo[48];
	int reply, ctl, r;

	if (!e)
		return 1;
	snprintf(fifo, sizeof(fifo), "/run/mica.%d", (int)getpid());
	if (mkfifo(fifo, 0600))
		return fail("no FIFO %s for the answer: %s", fifo, strerror(errno));
	reply = open(fifo, O_RDWR | O_CLOEXEC);
	ctl = open(VMS_INITCTL, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (reply < 0 || ctl < 0 || dprintf(ctl, "%s\t%s\t%u\n", verb, fifo, e->number) < 0)
		r = fail("init cannot be reached through " VMS_INITCTL ": %s", strerror(errno));
	else
		r = await_reply(reply, e->name, done);
	unlink(fifo);
	if (!r)
		printf("%s %s\n", e->name, done);
	return r;
}

int vm_start(const struct arguments *a) { return ask_init(a, "start", "started"); }
int vm_stop(const struct arguments *a) { return ask_init(a, "stop", "stopped"); }
int vm_reset(const struct arguments *a) { return ask_init(a, "reset", "reset"); }
