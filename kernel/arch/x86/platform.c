/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the firmware says about the machine, and what follows from it at INIT_ARCH: interrupt controllers, clock. Tables are
 * read through uncached mappings of 64 KiB, made when needed and kept: ACPI tables lie close together.
 */
#include "arch/x86/acpi.h"
#include "arch/x86/arch_priv.h"

#define WINDOW KIB(64)

static struct acpi_info acpi_info;

const struct acpi_info *platform_acpi(void) { return &acpi_info; }

static bool phys_read(uint64_t pa, void *buf, size_t n)
{
	static uint64_t mapped = UINT64_MAX;
	static const char *window;

	while (n) {
		uint64_t base = ALIGN_DOWN(pa, WINDOW);
		size_t chunk = MIN(n, WINDOW - (pa - base));

		if (pa >> cpu_phys_bits)
			return false;
		if (base != mapped) {
			window = arch_memory.map_registers(hpa(base), WINDOW);
			mapped = base;
		}
		memcpy(buf, window + (pa - base), chunk);
		buf = (char *)buf + chunk;
		pa += chunk;
		n -= chunk;
	}
	return true;
}

static void platform_init(void)
{
	bool acpi = acpi_parse(boot_info.rsdp, phys_read, &acpi_info);

	boot_info.boot_tsc = arch_boot_tsc;
	if (!acpi)
		log_warn("platform: no usable ACPI tables; one CPU, no device interrupts, no power-off");
	if (acpi_info.cpus_beyond)
		log_warn("platform: %u CPUs beyond the %u that mica uses", acpi_info.cpus_beyond, MAX_CPUS);
	arch_platform.pm_timer_port = acpi_info.pm_timer_port;
	arch_platform.hpet_base = acpi_info.hpet_base >> cpu_phys_bits ? 0 : acpi_info.hpet_base;
	if (acpi_info.lapic_base >> cpu_phys_bits)
		acpi_info.lapic_base = 0;
	pic_disable();
	lapic_detect(acpi_info.lapic_base);
	lapic_init_cpu();
	smp_detect();
	ioapic_init(&acpi_info);
	clock_init(&acpi_info);
	power_init();
	log_info("platform: %u CPUs, %sAPIC, %u IOAPICs%s%s%s", arch_platform.nr_cpus, arch_platform.x2apic ? "x2" : "x", acpi_info.nr_ioapics,
		 arch_platform.hpet_base ? ", HPET" : "", arch_platform.pm_timer_port ? ", PM timer" : "",
		 arch_platform.has_smap ? ", SMAP" : "");
}
INIT_CALL(INIT_ARCH, platform_init);
