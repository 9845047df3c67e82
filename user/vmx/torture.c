/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The torture mode's round: the whole VM is saved in the state format, destroyed, made anew and loaded, between two guest
 * instructions. In every tenth round guest memory goes through the format too. The world is stopped; input waits.
 * Whatever fails here ends the VM with a sentence: a VM that cannot be saved is what this mode is there to find.
 */
#include "user/vmx/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define RUN_PAGES 64u /* pages in one memory record at most */
#define MEMORY_TAG STATE_TAG('G', 'M', 'E', 'M')
#define MEMORY_EVERY 10

static _Noreturn void failed(struct vmxp *p, const char *what)
{
	fprintf(stderr, "vmx: VM %s: torture round %llu: %s: %s\n", p->config.name, (unsigned long long)p->torture_rounds, what, strerror(errno));
	fflush(stderr);
	vmxp_leave(p, STATUS_FAILED, "torture failed");
}

static void need(struct vmxp *p, size_t size)
{
	if (size <= p->state_cap)
		return;
	if (p->state)
		munmap(p->state, p->state_cap);
	p->state_cap = (size + (1u << 20)) & ~(size_t)(PAGE - 1);
	p->state = mmap(NULL, p->state_cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->state == MAP_FAILED)
		failed(p, "no memory for the state");
}

/* The kernel's part, to the start of the buffer. Returns its length. */
static size_t save_kernel(struct vmxp *p)
{
	struct vmm_state_buf b = { (uint64_t)(uintptr_t)p->state, p->state_cap };

	if (ioctl(p->fd, VMM_SAVE, &b)) {
		if (errno != E2BIG)
			failed(p, "the kernel's state cannot be saved");
		need(p, b.size + (64u << 10));
		b = (struct vmm_state_buf){ (uint64_t)(uintptr_t)p->state, p->state_cap };
		if (ioctl(p->fd, VMM_SAVE, &b))
			failed(p, "the kernel's state cannot be saved");
	}
	return b.size;
}

static void save_devices(struct vmxp *p, struct state_out *o)
{
	uart_save(&p->uart, o);
	rtc_save(&p->rtc, o);
	chipset_save(&p->chipset, o);
}

static bool load_device(struct vmxp *p, struct state_in *in)
{
	switch (in->tag) {
	case UART_TAG: return uart_load(&p->uart, in);
	case RTC_TAG: return rtc_load(&p->rtc, in);
	case CHIPSET_TAG: return chipset_load(&p->chipset, in);
	default: return false;
	}
}

static void load_devices(struct vmxp *p, const uint8_t *buf, size_t len)
{
	struct state_in in;
	size_t pos = 0;

	while (state_next(buf, len, &pos, &in))
		if (!load_device(p, &in))
			failed(p, "a device refused its own state");
	if (pos != len)
		failed(p, "the devices' state is malformed");
}

/* ---- guest memory through the format ---- */

struct store { uint8_t *buf; size_t cap, len; };

/* Room for the worst case: every present page a record of its own. */
static void store_open(struct vmxp *p, struct store *s)
{
	uint64_t gpa = 0, pages = 0;

	while (!ioctl(p->fd, VMM_NEXT_PAGE, &gpa)) {
		pages++;
		gpa += PAGE;
	}
	s->cap = pages * (PAGE + sizeof(struct state_record) + 16) + PAGE;
	s->len = 0;
	s->buf = mmap(NULL, s->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->buf == MAP_FAILED)
		failed(p, "no memory for the guest's memory");
}

static bool is_zero(const uint8_t *page)
{
	const uint64_t *q = (const uint64_t *)page;

	for (unsigned i = 0; i < PAGE / 8; i++)
		if (q[i])
			return false;
	return true;
}

static void save_memory(struct vmxp *p, struct store *s)
{
	static _Alignas(8) uint8_t pages[RUN_PAGES * PAGE];
	struct state_out o = { .buf = s->buf, .cap = s->cap };
	uint64_t gpa = 0;
	bool more = !ioctl(p->fd, VMM_NEXT_PAGE, &gpa);

	while (more) {
		uint64_t start = gpa;
		unsigned n = 0;

		do { /* a run of present pages that are not zero: untouched memory reads as zero */
			if (pread(p->fd, pages + n * PAGE, PAGE, (off_t)gpa) != PAGE)
				failed(p, "guest memory cannot be read");
			gpa += PAGE;
			more = !ioctl(p->fd, VMM_NEXT_PAGE, &gpa);
			if (is_zero(pages + n * PAGE)) {
				if (n)
					break;
				start = gpa;
				continue;
			}
			n++;
		} while (more && n < RUN_PAGES && gpa == start + (uint64_t)n * PAGE);
		if (!n)
			continue;
		state_begin(&o, MEMORY_TAG, 1, 0);
		state_put_u64(&o, start);
		state_put(&o, pages, (size_t)n * PAGE);
		state_end(&o);
	}
	if (o.overflow)
		failed(p, "guest memory grew while it was saved");
	s->len = o.len;
}

static void load_memory(struct vmxp *p, struct store *s)
{
	struct state_in in;
	size_t pos = 0;

	while (state_next(s->buf, s->len, &pos, &in)) {
		uint64_t gpa = state_get_u64(&in);

		if (in.tag != MEMORY_TAG || in.bad || !p->memory.write(p, gpa, in.p, in.left))
			failed(p, "guest memory cannot be written");
	}
	munmap(s->buf, s->cap);
}

/* ---- the round ---- */

void vmxp_torture(struct vmxp *p)
{
	bool with_memory = ++p->torture_rounds % MEMORY_EVERY == 0;
	struct vmm_rebuild rebuild = { .drop_memory = with_memory };
	struct vmm_state_buf kernel;
	struct state_out devices;
	struct store store = { 0 };

	need(p, 256u << 10);
	pthread_mutex_lock(&p->input_lock);
	uart_flush(&p->uart);
	kernel = (struct vmm_state_buf){ (uint64_t)(uintptr_t)p->state, save_kernel(p) };
	devices = (struct state_out){ .buf = p->state + kernel.size, .cap = p->state_cap - kernel.size };
	save_devices(p, &devices);
	if (devices.overflow)
		failed(p, "the devices' state does not fit");
	if (with_memory) {
		store_open(p, &store);
		save_memory(p, &store);
		p->memory_rounds++;
	}
	uart_reset(&p->uart);
	rtc_forget(&p->rtc);
	chipset_reset(&p->chipset);
	if (ioctl(p->fd, VMM_REBUILD, &rebuild))
		failed(p, "the VM cannot be made anew");
	if (with_memory)
		load_memory(p, &store);
	if (ioctl(p->fd, VMM_LOAD, &kernel))
		failed(p, "the kernel's state cannot be loaded");
	load_devices(p, devices.buf, devices.len);
	pthread_mutex_unlock(&p->input_lock);
}
