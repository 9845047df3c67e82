/* SPDX-License-Identifier: Apache-2.0 */
/* The VM behind the process: its files, its memory ranges and ports, its devices, and the way into its kernel. */
#include "user/vmx/vm.h"
#include "user/vmx/acpi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- files ---- */

static bool fd_read(const struct boot_file *f, uint64_t offset, void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n) {
		ssize_t r = pread(f->fd, p, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
	return true;
}

static bool open_file(struct vmxp *p, const char *key, const char *name, struct boot_file *f, struct uerror *err)
{
	char path[VMX_PATH_MAX * 2];
	struct stat st;

	if (!vmx_config_path(p->path, name, path, sizeof(path)))
		return uerror_set(err, "%s: %s: the path is too long", p->path, key);
	f->name = name;
	f->read = fd_read;
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return uerror_set(err, "%s: %s: cannot open %s: %s", p->path, key, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return uerror_set(err, "%s: %s: %s is not a file", p->path, key, path);
	f->size = (uint64_t)st.st_size;
	return true;
}

/* One module of "FILE args,FILE2 args": `,,` stands for a comma. Cuts it out of *at, in place. */
static char *next_module(char **at)
{
	char *start = *at, *to = start, *from = start;

	for (; *from; from++) {
		if (*from == ',' && *++from != ',')
			break;
		*to++ = *from;
	}
	*at = from;
	*to = 0;
	return start;
}

bool vmxp_open_files(struct vmxp *p, struct uerror *err)
{
	struct boot_request *b = &p->boot;
	char *at = p->config.initrd;

	if (!*p->config.kernel)
		return uerror_set(err, "%s: mica.boot.kernel is missing: it names the kernel to start", p->path);
	b->append = p->config.append;
	b->rsdp = ACPI_BASE;
	if (!open_file(p, "mica.boot.kernel", p->config.kernel, &b->kernel, err))
		return false;
	while (*at) {
		char *end = at + strlen(at), *name = next_module(&at), *blank = strchr(name, ' ');
		struct boot_module *m = &b->module[b->nr_modules];

		if (at > end)
			at = end;
		if (b->nr_modules == BOOT_MODULES)
			return uerror_set(err, "%s: mica.boot.initrd names more than %d files", p->path, BOOT_MODULES);
		if (blank)
			*blank = 0;
		m->args = blank ? blank + 1 : "";
		if (!*name)
			return uerror_set(err, "%s: mica.boot.initrd: a file name is empty", p->path);
		if (!open_file(p, "mica.boot.initrd", name, &m->file, err))
			return false;
		b->nr_modules++;
	}
	return true;
}

/* ---- the VM ---- */

static bool memory_write(void *ctx, uint64_t gpa, const void *buf, size_t n)
{
	struct vmxp *p = ctx;
	const uint8_t *from = buf;

	while (n) {
		ssize_t r = pwrite(p->fd, from, n, (off_t)gpa);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		from += r;
		gpa += (uint64_t)r;
		n -= (size_t)r;
	}
	return true;
}

static bool add_range(struct vmxp *p, uint64_t gpa, uint64_t size, struct uerror *err)
{
	struct vmm_range r = { .gpa = gpa, .size = size, .kind = VMM_RANGE_RAM };

	if (!size || !ioctl(p->fd, VMM_ADD_RANGE, &r))
		return true;
	return uerror_set(err, "%s: memory of 0x%llx bytes at 0x%llx was refused: %s", p->path, (unsigned long long)size, (unsigned long long)gpa,
			  strerror(errno));
}

static bool map_run_pages(struct vmxp *p, struct uerror *err)
{
	for (unsigned i = 0; i < p->config.vcpus; i++) {
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, (off_t)VMM_RUN_OFFSET(i));

		if (page == MAP_FAILED)
			return uerror_set(err, "%s: the run page of vCPU %u cannot be mapped: %s", p->path, i, strerror(errno));
		p->run[i] = page;
	}
	return true;
}

static int refused(struct vmxp *p, struct uerror *err)
{
	int e = errno;

	if (e == ENOMEM) {
		uerror_format(err, "%s: this host cannot give %llu MiB of memory to the VM: lower memsize or stop another VM", p->path,
			   (unsigned long long)(p->config.memory >> 20));
		return STATUS_CONFIG;
	}
	uerror_format(err, "%s: the host refused to create the VM: %s", p->path, strerror(e));
	return e == EINVAL ? STATUS_CONFIG : STATUS_FAILED;
}

int vmxp_create(struct vmxp *p, struct uerror *err)
{
	const struct vmx_config *c = &p->config;
	struct vmm_create create = {
		.memory = c->memory, .vcpus = c->vcpus, .shares = c->shares, .flags = c->no_x2apic ? VMM_F_NO_X2APIC : 0, .hw_version = c->hw_version,
		.torture_exits = c->torture_exits, .torture_memory = c->torture_memory, .cores_per_socket = c->cores_per_socket,
	};
	int system = open("/dev/vmm", O_RDWR | O_CLOEXEC);

	if (system < 0) {
		uerror_format(err, "%s: virtual machines cannot run on this machine: /dev/vmm: %s", p->path, strerror(errno));
		return STATUS_FAILED;
	}
	memcpy(create.name, c->name, sizeof(create.name));
	memcpy(create.bios_uuid, c->bios_uuid, sizeof(create.bios_uuid));
	p->fd = ioctl(system, VMM_CREATE, &create);
	if (p->fd < 0)
		return refused(p, err);
	close(system);
	p->memory = (struct guest_memory){ .write = memory_write, .ctx = p, .low = c->memory < LOW_RAM_MAX ? c->memory : LOW_RAM_MAX, .fresh = true };
	p->memory.high = c->memory - p->memory.low;
	if (!add_range(p, 0, p->memory.low, err) || !add_range(p, HIGH_RAM, p->memory.high, err) || !map_run_pages(p, err))
		return STATUS_FAILED;
	return 0;
}

/* As the kernel places them: each socket begins at a multiple of a power of two. */
static uint32_t apic_id(const struct vmx_config *c, unsigned vcpu)
{
	unsigned cores = c->cores_per_socket, shift = cores > 1 ? 32 - (unsigned)__builtin_clz(cores - 1) : 0;

	return (vcpu / cores) << shift | vcpu % cores;
}

static bool write_acpi(struct vmxp *p, struct uerror *err)
{
	static uint8_t tables[ACPI_END - ACPI_BASE];
	uint32_t id[VMM_MAX_VCPUS];
	struct acpi_config c = { p->config.vcpus, id };
	size_t n;

	for (unsigned i = 0; i < p->config.vcpus; i++)
		id[i] = apic_id(&p->config, i);
	n = acpi_build(&c, ACPI_BASE, tables, sizeof(tables));
	if (!n)
		return uerror_set(err, "%s: the ACPI tables do not fit", p->path);
	return guest_write(&p->memory, ACPI_BASE, tables, n, err);
}

bool vmxp_boot(struct vmxp *p, struct uerror *err)
{
	struct vmm_vcpu_regs r = { .vcpu = 0 };

	if (!write_acpi(p, err) || !boot_load(&p->boot, &p->memory, &r.regs, err))
		return false;
	p->memory.fresh = false;
	if (ioctl(p->fd, VMM_SET_REGS, &r))
		return uerror_set(err, "%s: the first registers were refused: %s", p->path, strerror(errno));
	return true;
}

/* ---- devices ---- */

static void set_irq(void *ctx, unsigned gsi, bool level)
{
	struct vmxp *p = ctx;
	struct vmm_irq irq = { gsi, level };

	ioctl(p->fd, VMM_SET_IRQ, &irq);
}

static void power_off(void *ctx) { vmxp_leave(ctx, STATUS_OFF, "powered off"); }
static void debug_exit(void *ctx, int status) { vmxp_leave(ctx, status, "left by the debug-exit port"); }

static void reset(void *ctx)
{
	struct vmxp *p = ctx;

	if (p->config.reset_exits)
		vmxp_leave(p, STATUS_RESET, "reset");
	atomic_fetch_or(&p->request, REQUEST_RESET);
}

static uint64_t host_date(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void rtc_arm(void *ctx, uint64_t after)
{
	struct vmxp *p = ctx;

	timer_arm(&p->timers, TIMER_RTC, after ? clock_ns() + after : 0);
}

void vmxp_devices_init(struct vmxp *p)
{
	p->host = (struct dev_host){ set_irq, power_off, reset, debug_exit, p };
	pthread_mutex_init(&p->input_lock, NULL);
	pthread_mutex_init(&p->gate, NULL);
	pthread_cond_init(&p->opened, NULL);
	pthread_cond_init(&p->all_parked, NULL);
	timers_init(&p->timers);
	bus_init(&p->bus);
	chipset_init(&p->chipset, &p->host);
	uart_init(&p->uart, 0x3f8, 4, &p->host);
	vmxp_console_attach(p);
	rtc_init(&p->rtc, &p->host, p->memory.low, p->memory.high);
	p->rtc.now = host_date;
	p->rtc.arm = rtc_arm;
	p->rtc.ctx = p;
	rtc_reset(&p->rtc);
	timers_set(&p->timers, TIMER_RTC, rtc_expired, &p->rtc);
	timers_set(&p->timers, TIMER_CONSOLE, uart_flush, &p->uart);
}

bool vmxp_devices_claim(struct vmxp *p, struct uerror *err)
{
	const struct bus_claim uart = { uart_in, uart_out, &p->uart, 0x3f8, 8, 1 }, rtc = { rtc_in, rtc_out, &p->rtc, 0x70, 2, 1 };

	if (!chipset_claim(&p->chipset, &p->bus, p->config.debug_exit) || !bus_claim(&p->bus, &rtc) ||
	    (p->config.serial_present && !bus_claim(&p->bus, &uart)))
		return uerror_set(err, "%s: two devices want the same ports", p->path);
	for (unsigned i = 1; i < p->bus.nr_claims; i++) {
		struct vmm_ports ports = { p->bus.claim[i].base, p->bus.claim[i].count, 0 };

		if (ioctl(p->fd, VMM_CLAIM_PORTS, &ports))
			return uerror_set(err, "%s: ports 0x%x..0x%x were refused: %s", p->path, ports.base, ports.base + ports.count - 1, strerror(errno));
	}
	return true;
}
