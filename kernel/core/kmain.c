/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first C code: entered from boot/ with the temporary page tables (the first 4 GiB at identity
 * and at DIRECT_BASE, the image at KERNEL_BASE), interrupts off, on the boot stack. It makes CPU 0's
 * per-CPU data usable, copies what the loader left, and runs the init levels.
 */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "core/core_priv.h"

#define KIND_MULTIBOOT2 1
#define BOOT_MAPPED GIB(4)
#define MSR_GS_BASE 0xc0000101u
#define RAM_NEEDED MIB(32)

void (*boot_map_ends)(void);
void (*boot_done)(void);
bool (*sched_idle_hook)(void);

extern const struct init_call __init_calls_start[], __init_calls_end[];
extern char __image_start[], __image_end[];

static const void *boot_phys(uint64_t pa, size_t n)
{
	if (!pa || pa >= BOOT_MAPPED || n > BOOT_MAPPED - pa)
		return NULL;
	return (const void *)(DIRECT_BASE + pa);
}

static const char *parse_boot_info(uint32_t kind, uint64_t info)
{
	const char *wrong;

	if (kind == KIND_MULTIBOOT2)
		wrong = bootinfo_parse_multiboot2(&boot_info, boot_phys, info);
	else
		wrong = bootinfo_parse_pvh(&boot_info, boot_phys, info);
	if (!boot_info.rsdp && bootinfo_rsdp_copy[0])
		boot_info.rsdp = arch_image_phys + ((uint64_t)bootinfo_rsdp_copy - (uint64_t)__image_start);
	boot_info.kernel_phys = arch_image_phys;
	boot_info.boot_tsc = arch_boot_tsc;
	boot_info.kernel_size = (uint64_t)(__image_end - __image_start);
	return wrong;
}

static void run_level(enum init_level level)
{
	for (const struct init_call *c = __init_calls_start; c < __init_calls_end; c++)
		if (c->level == level)
			c->fn();
}

static void banner(const char *wrong)
{
	uint64_t ram = bootinfo_ram(&boot_info);

	log_info("mica 0.1, an open bare-metal hypervisor (%s, %lu MiB of RAM)", boot_info.loader, ram >> 20);
	log_info("command line: %s", boot_info.cmdline);
	if (wrong)
		boot_refuse("%s", wrong);
	if (ram < RAM_NEEDED)
		boot_refuse("it needs at least %lu MiB of RAM, this machine has %lu", (uint64_t)RAM_NEEDED >> 20, ram >> 20);
}

/* Not checked by the stack protector itself, since it changes the guard. */
__attribute__((optimize("no-stack-protector"))) void kmain(uint32_t kind, uint64_t info)
{
	const char *wrong;

	wrmsr(MSR_GS_BASE, 0);
	this_cpu(preempt_word) = PREEMPT_NOT_WANTED;
	/* The lowest byte stays 0, so that no string copy can write the guard. */
	__stack_chk_guard ^= (arch_rdtsc() * 0x9e3779b97f4a7c15ull) & ~0xffull;
	wrong = parse_boot_info(kind, info);
	run_level(INIT_CONSOLE);
	banner(wrong);
	if (boot_map_ends)
		boot_map_ends();
	for (enum init_level level = INIT_MEM; level < INIT_LEVELS; level++)
		run_level(level);
	if (boot_done)
		boot_done();
	panic("init ended: nobody took over CPU 0");
}
