/* SPDX-License-Identifier: Apache-2.0 */
/* Switching the machine off and resetting it: ACPI where the tables say how, then what else has been seen to work. */
#include "arch/x86/acpi.h"
#include "arch/x86/arch_priv.h"

#define PM1_SCI_EN 0x0001
#define PM1_SLP_EN 0x2000
#define PM1_SLP_TYP_SHIFT 10
#define SETTLE_NS 10000000 /* what a write may take to show effect */

static volatile uint8_t *reset_register; /* when it lies in memory: mapped early, since later nothing may be allocated */

void power_init(void)
{
	const struct acpi_info *a = platform_acpi();

	if (a->has_reset && a->reset_space == 0 && !(a->reset_address >> cpu_phys_bits))
		reset_register = arch_memory.map_registers(hpa(a->reset_address), 1);
}

static void settle(void)
{
	uint64_t end = clock_ns() + SETTLE_NS;

	for (unsigned i = 0; i < 100000 && clock_ns() < end; i++)
		inb(0x80); /* about a microsecond: bounds the loop when there is no clock */
}

/* Hardware that booted in legacy mode ignores SLP_EN until the firmware has handed power over (ACPI 6.5, 4.8.3.2). */
static void acpi_take_over(const struct acpi_info *a)
{
	if (!a->smi_cmd || !a->acpi_enable || (inw(a->pm1a_cnt) & PM1_SCI_EN))
		return;
	outb(a->smi_cmd, a->acpi_enable);
	for (unsigned i = 0; i < 100000 && !(inw(a->pm1a_cnt) & PM1_SCI_EN); i++)
		inb(0x80);
}

void arch_power_off(void)
{
	const struct acpi_info *a = platform_acpi();

	arch_irq_disable();
	if (a->has_s5 && a->pm1a_cnt) {
		acpi_take_over(a);
		outw(a->pm1a_cnt, (uint16_t)((a->s5_a & 7) << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
		if (a->pm1b_cnt)
			outw(a->pm1b_cnt, (uint16_t)((a->s5_b & 7) << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
		settle();
	}
	outw(0x604, PM1_SLP_EN);  /* QEMU's pc and q35 */
	outw(0xb004, PM1_SLP_EN); /* Bochs, and QEMU before 2.0 */
	settle();
	log_error("power: this machine cannot be switched off by software; it is halted");
	arch_halt_forever();
}

static void keyboard_controller_reset(void)
{
	for (unsigned i = 0; i < 10000 && (inb(0x64) & 2); i++)
		inb(0x80);
	outb(0x64, 0xfe);
}

void arch_reboot(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __packed no_idt = { 0, 0 };
	const struct acpi_info *a = platform_acpi();

	arch_irq_disable();
	if (a->has_reset) {
		if (a->reset_space == 1)
			outb((uint16_t)a->reset_address, a->reset_value);
		else if (reset_register)
			*reset_register = a->reset_value;
		settle();
	}
	outb(0xcf9, 2); /* chipset: hard reset, then on the rising edge of bit 2 */
	outb(0xcf9, 6);
	settle();
	keyboard_controller_reset();
	settle();
	__asm__ volatile("lidt %0; int3" : : "m"(no_idt)); /* triple fault */
	arch_halt_forever();
}
