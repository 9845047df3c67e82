/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Legacy device interrupts: the two 8259 PICs are moved out of the exceptions' way and masked for good, ISA lines come
 * through the IOAPIC on the vectors from VEC_ISA_BASE, all to CPU 0.
 */
#include "arch/x86/acpi.h"
#include "arch/x86/arch_priv.h"

#define INDEX_VERSION 1
#define INDEX_ENTRY 0x10 /* + 2 * line: low half; + 1: high half */
#define ENTRY_LOW_ACTIVE BIT(13)
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASKED BIT(16)

struct ioapic {
	volatile uint32_t *regs; /* index at 0, data at 0x10 */
	uint32_t gsi_base, lines;
};
static struct ioapic ioapics[ACPI_MAX_IOAPICS];
static unsigned nr_ioapics;
static const struct acpi_info *acpi;
static struct spinlock ioapic_lock = SPINLOCK_INIT("ioapic", RANK_CONSOLE);

/* Set once before the line is unmasked. */
static struct {
	void (*fn)(void *arg);
	void *arg;
} isa_handler[ACPI_ISA_LINES];

static uint32_t ioapic_read(struct ioapic *io, uint32_t index)
{
	io->regs[0] = index;
	return io->regs[4];
}

static void ioapic_write(struct ioapic *io, uint32_t index, uint32_t v)
{
	io->regs[0] = index;
	io->regs[4] = v;
}

void pic_disable(void)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} setup[] = {
		{ 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, VEC_PIC_BASE }, { 0xa1, VEC_PIC_BASE + 8 }, { 0x21, 4 }, { 0xa1, 2 },
		{ 0x21, 1 }, { 0xa1, 1 }, { 0x21, 0xff }, { 0xa1, 0xff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(setup); i++)
		outb(setup[i].port, setup[i].value);
}

void ioapic_init(const struct acpi_info *info)
{
	acpi = info;
	for (unsigned i = 0; i < info->nr_ioapics; i++) {
		struct ioapic *io = &ioapics[nr_ioapics++];

		io->regs = arch_memory.map_registers(hpa(info->ioapic[i].base), PAGE_SIZE);
		io->gsi_base = info->ioapic[i].gsi_base;
		io->lines = (ioapic_read(io, INDEX_VERSION) >> 16 & 0xff) + 1;
		for (uint32_t line = 0; line < io->lines; line++)
			ioapic_write(io, INDEX_ENTRY + 2 * line, ENTRY_MASKED);
	}
}

static struct ioapic *ioapic_for(uint32_t gsi)
{
	for (unsigned i = 0; i < nr_ioapics; i++)
		if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].lines)
			return &ioapics[i];
	return NULL;
}

static void isa_interrupt(unsigned vector)
{
	unsigned irq = vector - VEC_ISA_BASE;

	isa_handler[irq].fn(isa_handler[irq].arg);
}

int arch_isa_irq_attach(unsigned irq, void (*fn)(void *arg), void *arg)
{
	struct ioapic *io;
	uint32_t entry, line;
	uint64_t f;

	if (irq >= ACPI_ISA_LINES || !acpi)
		return -EINVAL;
	io = ioapic_for(acpi->isa[irq].gsi);
	if (!io)
		return -ENODEV;
	if (isa_handler[irq].fn)
		return -EBUSY;
	isa_handler[irq].arg = arg;
	isa_handler[irq].fn = fn;
	trap_attach(VEC_ISA_BASE + irq, isa_interrupt);
	line = acpi->isa[irq].gsi - io->gsi_base;
	entry = (VEC_ISA_BASE + irq) | (acpi->isa[irq].low ? ENTRY_LOW_ACTIVE : 0) | (acpi->isa[irq].level ? ENTRY_LEVEL : 0);
	f = spin_lock_irqsave(&ioapic_lock);
	ioapic_write(io, INDEX_ENTRY + 2 * line + 1, arch_apic_id(0) << 24);
	ioapic_write(io, INDEX_ENTRY + 2 * line, entry);
	spin_unlock_irqrestore(&ioapic_lock, f);
	return 0;
}
