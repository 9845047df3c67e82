/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC at 0xFEC00000: 24 pins, index/data window, EOI register (version 0x20, as ICH chips have it).
 *
 * A pin's line is logical: true means asserted, whatever polarity the guest programs. An edge on a masked pin is lost, as the
 * 82093AA's data sheet says; a level pin delivers while its line is up, unmasked, and no delivery of it awaits EOI (remote IRR).
 * Everything is under one lock, taken with interrupts off; host.send is called with it held and takes no device lock.
 */
#include "hv/dev/dev.h"
#include "mem/mem.h"

#define PINS 24
#define VERSION (0x20u | (PINS - 1) << 16)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_GUEST (0xff000000000000ffull | 0xaf00ull | RTE_MASKED) /* vector, delivery, logical, polarity, trigger, mask, destination */
enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };

struct ioapic {
	struct spinlock lock;
	uint64_t rte[PINS];
	uint32_t line;          /* bit per pin */
	uint8_t select;
	uint32_t id;            /* bits 27:24 */
	struct ioapic_host host;
};

static void deliver(struct ioapic *io, unsigned pin)
{
	uint64_t rte = io->rte[pin];
	struct apic_msg m = {
		.dest = (uint32_t)(rte >> 56), .vector = rte & 0xff, .delivery = rte >> 8 & 7, .logical = rte >> 11 & 1,
		.level = (rte & RTE_LEVEL) != 0, .assert = true,
	};

	/* SMI, NMI, INIT and ExtINT are edges whatever the trigger bit says. */
	if (m.delivery != APIC_FIXED && m.delivery != APIC_LOWEST)
		m.level = false;
	if (m.level)
		io->rte[pin] |= RTE_REMOTE_IRR;
	io->host.send(io->host.ctx, &m);
}

/* A level pin whose state changed. */
static void service_level(struct ioapic *io, unsigned pin)
{
	uint64_t rte = io->rte[pin];

	if ((rte & RTE_LEVEL) && (io->line >> pin & 1) && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)))
		deliver(io, pin);
}

void ioapic_set_line(struct ioapic *io, unsigned pin, bool level)
{
	uint64_t flags;
	bool rising;

	if (pin >= PINS)
		return;
	flags = spin_lock_irqsave(&io->lock);
	rising = level && !(io->line >> pin & 1);
	io->line = (io->line & ~(1u << pin)) | (uint32_t)level << pin;
	if (rising) {
		if (io->rte[pin] & RTE_LEVEL)
			service_level(io, pin);
		else if (!(io->rte[pin] & RTE_MASKED))
			deliver(io, pin);
	}
	spin_unlock_irqrestore(&io->lock, flags);
}

static void eoi_pins(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < PINS; pin++)
		if ((io->rte[pin] & RTE_REMOTE_IRR) && (io->rte[pin] & 0xff) == vector) {
			io->rte[pin] &= ~RTE_REMOTE_IRR;
			service_level(io, pin);
		}
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	uint64_t flags = spin_lock_irqsave(&io->lock);

	eoi_pins(io, vector);
	spin_unlock_irqrestore(&io->lock, flags);
}

/* ---- registers ---- */
static uint32_t window_read(struct ioapic *io)
{
	unsigned pin = (io->select - 0x10u) / 2;

	switch (io->select) {
	case 0x00: case 0x02: return io->id; /* arbitration id follows the id */
	case 0x01: return VERSION;
	}
	if (io->select < 0x10 || pin >= PINS)
		return 0;
	return (uint32_t)(io->rte[pin] >> (io->select & 1 ? 32 : 0));
}

static void window_write(struct ioapic *io, uint32_t v)
{
	unsigned pin = (io->select - 0x10u) / 2;
	uint64_t new;

	if (io->select == 0x00)
		io->id = v & 0x0f000000;
	if (io->select < 0x10 || pin >= PINS)
		return;
	new = io->select & 1 ? (uint32_t)io->rte[pin] | (uint64_t)v << 32 : (io->rte[pin] & ~0xffffffffull) | v;
	new = (new & RTE_GUEST) | (io->rte[pin] & RTE_REMOTE_IRR);
	/* Leaving level mode clears remote IRR: how Linux ends an interrupt on parts without an EOI register. */
	if (!(new & RTE_LEVEL))
		new &= ~RTE_REMOTE_IRR;
	io->rte[pin] = new;
	service_level(io, pin);
}

uint32_t ioapic_mmio_read(struct ioapic *io, uint32_t offset)
{
	uint64_t flags = spin_lock_irqsave(&io->lock);
	uint32_t v = 0;

	if ((offset & 0xff) == REG_SELECT)
		v = io->select;
	else if ((offset & 0xff) == REG_WINDOW)
		v = window_read(io);
	spin_unlock_irqrestore(&io->lock, flags);
	return v;
}

void ioapic_mmio_write(struct ioapic *io, uint32_t offset, uint32_t v)
{
	uint64_t flags = spin_lock_irqsave(&io->lock);

	if ((offset & 0xff) == REG_SELECT)
		io->select = v & 0xff;
	else if ((offset & 0xff) == REG_WINDOW)
		window_write(io, v);
	else if ((offset & 0xff) == REG_EOI)
		eoi_pins(io, v & 0xff);
	spin_unlock_irqrestore(&io->lock, flags);
}

/* ---- life ---- */
void ioapic_reset(struct ioapic *io)
{
	uint64_t flags = spin_lock_irqsave(&io->lock);

	for (unsigned i = 0; i < PINS; i++)
		io->rte[i] = RTE_MASKED;
	io->select = 0;
	io->id = 0;
	spin_unlock_irqrestore(&io->lock, flags);
}

struct ioapic *ioapic_create(const struct ioapic_host *h)
{
	struct ioapic *io = kzalloc(sizeof(*io), MT_HVDEV);

	if (!io)
		return NULL;
	spin_init(&io->lock, "ioapic", RANK_HVDEV);
	io->host = *h;
	ioapic_reset(io);
	return io;
}

void ioapic_free(struct ioapic *io) { kfree(io); }

struct ioapic_record { /* version 1 */
	uint64_t rte[PINS];
	uint32_t line, id;
	uint8_t select, pad[7];
};
_Static_assert(sizeof(struct ioapic_record) == 208, "state format");

void ioapic_save(const struct ioapic *io, struct state_out *o)
{
	struct ioapic_record r = { .line = io->line, .id = io->id, .select = io->select };

	memcpy(r.rte, io->rte, sizeof(r.rte));
	state_begin(o, STATE_IOAPIC, 1, 0);
	state_put(o, &r, sizeof(r));
	state_end(o);
}

int ioapic_load(struct ioapic *io, struct state_in *in)
{
	struct ioapic_record r;
	uint64_t flags;

	state_get(in, &r, sizeof(r));
	if (in->bad || r.line >> PINS || (r.id & ~0x0f000000u))
		return -EINVAL;
	for (unsigned i = 0; i < PINS; i++)
		if ((r.rte[i] & ~(RTE_GUEST | RTE_REMOTE_IRR)) || ((r.rte[i] & RTE_REMOTE_IRR) && !(r.rte[i] & RTE_LEVEL)))
			return -EINVAL;
	flags = spin_lock_irqsave(&io->lock);
	memcpy(io->rte, r.rte, sizeof(r.rte));
	io->line = r.line;
	io->id = r.id;
	io->select = r.select;
	spin_unlock_irqrestore(&io->lock, flags);
	return 0;
}
