/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest's port and memory-mapped accesses go: the fast devices here, ring 3's by exit, and nothing at all for the rest
 * (reads give ones, writes vanish, as on a machine where no device decodes the address).
 */
#include "hv/hv_priv.h"

enum { PORT_PIC1 = 0x20, PORT_PIC2 = 0xa0, PORT_PIT = 0x40, PORT_NMI_STATUS = 0x61, PORT_FERR = 0xf0, PORT_ELCR = 0x4d0, PORT_BACKDOOR = 0x5658 };
#define IOAPIC_BASE 0xfec00000ull
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)
#define APIC_TPR 0x80
#define FERR_IRQ 13

COUNTER(bus_unclaimed, "hv.bus.unclaimed");

static inline bool port_is_pic(uint16_t p) { return (p & ~0x81u) == PORT_PIC1 || (p & ~1u) == PORT_ELCR; }
static inline bool port_is_pit(uint16_t p) { return (p & ~3u) == PORT_PIT || p == PORT_NMI_STATUS; }
static inline bool port_claimed(const struct vm *vm, uint16_t port) { return vm->user_ports && vm->user_ports[port / 8] >> port % 8 & 1; }

#define NOT_OURS (-1)
/* One byte of a ring-0 device: what was read, 0 for a write, or NOT_OURS. */
static inline int port_byte(struct vcpu *v, uint16_t port, bool in, uint8_t out)
{
	if (port_is_pic(port)) {
		if (in)
			return pic_port_read(v->vm->pic, port);
		pic_port_write(v->vm->pic, port, out);
	} else if (port_is_pit(port)) {
		if (in)
			return pit_port_read(v->vm->pit, port);
		pit_port_write(v->vm->pit, port, out);
	} else if (port == PORT_FERR) { /* acknowledges an x87 error that came as IRQ 13 */
		if (in)
			return 0xff;
		irq_set_gsi(v->vm, FERR_IRQ, false);
	} else {
		return NOT_OURS;
	}
	return 0;
}

int bus_port_byte(struct vcpu *v, uint16_t port, bool in, uint8_t out)
{
	int b = port_byte(v, port, in, out);

	if (b != NOT_OURS)
		return b;
	if (port_claimed(v->vm, port) || (port & ~3u) == PMTIMER_PORT)
		return NOT_OURS;
	counter_add(bus_unclaimed, 1);
	return 0xff;
}

static bool port_pmtimer(struct vcpu *v, uint16_t port, unsigned size, bool in, uint32_t *val)
{
	if (port < PMTIMER_PORT || port + size > PMTIMER_PORT + 4)
		return false;
	if (in)
		*val = pmtimer_read(vm_guest_ns(v->vm)) >> (port - PMTIMER_PORT) * 8;
	return true;
}

/* A wide access to byte-wide devices is one access each; bytes of nobody read as ones. */
static void port_bytes(struct vcpu *v, uint16_t port, unsigned size, bool in, uint32_t *val)
{
	uint32_t read = 0;

	for (unsigned i = 0; i < size; i++) {
		int b = port_byte(v, (uint16_t)(port + i), in, (uint8_t)(*val >> i * 8));

		if (b == NOT_OURS)
			counter_add(bus_unclaimed, 1);
		read |= (uint32_t)(uint8_t)b << i * 8; /* NOT_OURS is all ones too */
	}
	if (in)
		*val = read;
}

enum bus_result bus_port(struct vcpu *v, uint16_t port, unsigned size, bool in, uint32_t *val)
{
	for (unsigned i = 0; i < size; i++)
		if (port_claimed(v->vm, (uint16_t)(port + i)))
			return BUS_RING3;
	if (port == PORT_BACKDOOR && size == 4 && in) {
		backdoor_call(v);
		*val = (uint32_t)v->gpr[0];
	} else if (!port_pmtimer(v, port, size, in, val)) {
		port_bytes(v, port, size, in, val);
	}
	return BUS_DONE;
}

/* Registers are 32 bits at 16-byte steps: whole ones are proper, parts of one are read by shifting, other writes vanish. */
static void apic_access(struct vcpu *v, uint32_t offset, unsigned size, bool write, uint64_t *val)
{
	uint32_t reg = offset & ~3u, shift = offset % 4 * 8;

	if (!write) {
		*val = lapic_mmio_read(v->lapic, reg) >> shift;
		return;
	}
	if (shift || size < 4)
		return;
	lapic_mmio_write(v->lapic, reg, (uint32_t)*val);
	if (reg == APIC_TPR)
		hv->set_tpr(v, lapic_get_tpr(v->lapic));
	vcpu_request_self(v, VCPU_REQ_EVENT); /* EOI or TPR: something may have become deliverable */
}

static void ioapic_access(struct vcpu *v, uint32_t offset, unsigned size, bool write, uint64_t *val)
{
	if (!write)
		*val = ioapic_mmio_read(v->vm->ioapic, offset & ~3u) >> offset % 4 * 8;
	else if (size >= 4 && offset % 4 == 0)
		ioapic_mmio_write(v->vm->ioapic, offset, (uint32_t)*val);
}

enum bus_result bus_mmio(struct vcpu *v, gpa_t gpa, unsigned size, bool write, uint64_t *val)
{
	uint64_t page = gpa.v & ~PAGE_MASK, base = lapic_base(v->lapic);
	const struct vm_range *r;

	if (page == (base & ~PAGE_MASK) && (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE) {
		apic_access(v, gpa.v & PAGE_MASK, size, write, val);
		return BUS_DONE;
	}
	if (page == IOAPIC_BASE) {
		ioapic_access(v, gpa.v & PAGE_MASK, size, write, val);
		return BUS_DONE;
	}
	r = vm_range_find(v->vm, gpa);
	if (r && r->kind == VMM_RANGE_MMIO3)
		return BUS_RING3;
	if (!write)
		*val = 0;
	if (!write && (!r || gmem_read(v->vm, gpa, val, size)))
		*val = ~0ull;
	if (!r)
		counter_add(bus_unclaimed, 1);
	return BUS_DONE;
}
