/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's ACPI tables: RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, in one block that goes to ACPI_BASE. They describe what
 * ring 0 (LAPICs, IOAPIC, PM timer) and ring 3 (board, UART, clock) really show, so that guests find CPUs, power off and reset.
 */
#ifndef USER_VMX_ACPI_H
#define USER_VMX_ACPI_H

#include <stddef.h>
#include <stdint.h>

struct acpi_config {
	uint32_t vcpus;
	const uint32_t *apic_id; /* of each vCPU */
};
/* Builds the tables as they will lie at `base`; the RSDP comes first. Returns their length, 0 when they do not fit. */
size_t acpi_build(const struct acpi_config *c, uint64_t base, uint8_t *buf, size_t cap);

#endif
