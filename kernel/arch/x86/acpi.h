/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static ACPI tables, as far as a host needs them: CPUs and interrupt controllers (MADT), clocks (FADT, HPET), power
 * (FADT, _S5_). Pure: it reads physical memory through a callback and has no other effect, so host tests feed it anything.
 *
 * Firmware is not hostile by intent, but often wrong: no length, count or address in a table is believed before it is checked.
 */
#ifndef ARCH_X86_ACPI_H
#define ARCH_X86_ACPI_H

#include "core/core.h"

#define ACPI_MAX_IOAPICS 8
#define ACPI_ISA_LINES 16

struct acpi_info {
	unsigned nr_cpus, cpus_beyond; /* enabled ones in the order of the MADT; those beyond MAX_CPUS are only counted */
	uint32_t apic_id[MAX_CPUS];
	uint64_t lapic_base;           /* 0: no MADT */
	unsigned nr_ioapics;
	struct {
		uint32_t base, gsi_base;
	} ioapic[ACPI_MAX_IOAPICS];
	struct {
		uint32_t gsi;
		bool low, level;
	} isa[ACPI_ISA_LINES];
	uint64_t hpet_base;
	uint16_t pm_timer_port;
	uint16_t pm1a_cnt, pm1b_cnt, smi_cmd;
	uint8_t acpi_enable;
	bool has_s5;
	uint8_t s5_a, s5_b;            /* SLP_TYP values */
	bool has_reset;
	uint8_t reset_space, reset_value; /* space 0 memory, 1 port */
	uint64_t reset_address;
};

/* n bytes of physical memory into buf; false when there is no such memory. */
typedef bool (*acpi_read_fn)(uint64_t pa, void *buf, size_t n);

/* rsdp 0: looked for where a BIOS puts it. Returns false when there are no usable tables; *info is sound in any case. */
bool acpi_parse(uint64_t rsdp, acpi_read_fn read, struct acpi_info *info);

#endif
