/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pair of 8259A interrupt controllers at 20/21 and A0/A1 with ELCR at 4D0/4D1 (Intel 8259A data sheet; PIIX for ELCR).
 *
 * The slave's output is the master's input 2, recomputed after every change by update(). An input's edge is remembered in IRR until
 * it is acknowledged; a level input is its line. Priority is circular: `lowest` + 1 is served first. One lock for the pair, taken
 * with interrupts off; host.intr is called with it held. Single-byte mask reads take no lock: the hot port of the bench and of guests.
 */
#include "hv/dev/dev.h"
#include "mem/mem.h"

#define CASCADE 2
enum icw { ICW_DONE, ICW2, ICW3, ICW4 };

struct chip {
	uint8_t irr, imr, isr, line, elcr;
	uint8_t base;           /* ICW2: vector of input 0 */
	uint8_t lowest;         /* input with the lowest priority */
	enum icw expect;        /* which word the odd port takes next */
	bool needs_icw4, single, level_all; /* ICW1 */
	bool auto_eoi, nested_special; /* ICW4 */
	bool rotate_auto, special_mask, poll, read_isr;
};
struct pic {
	struct spinlock lock;
	struct chip chip[2];    /* master, slave */
	bool output;
	struct pic_host host;
};

static const uint8_t elcr_bits[2] = { 0xf8, 0xde }; /* 0, 1, 2, 8 and 13 are edges always */
static bool is_level(const struct chip *c, unsigned n) { return c->level_all || (c->elcr >> n & 1); }

/* Rank of the most urgent bit set: 0 first; 8 when none is. */
static unsigned best_rank(const struct chip *c, uint8_t bits)
{
	for (unsigned rank = 0; rank < 8; rank++)
		if (bits >> ((c->lowest + 1 + rank) & 7) & 1)
			return rank;
	return 8;
}
static unsigned rank_input(const struct chip *c, unsigned rank) { return (c->lowest + 1 + rank) & 7; }

/* The input that the chip asks the CPU for, or -1. */
static int chip_request(const struct chip *c, bool master)
{
	uint8_t serving = c->isr, wants = c->irr & ~c->imr;
	unsigned rank;

	if (c->special_mask) /* masked levels in service inhibit nobody */
		serving &= ~c->imr;
	/* Special fully nested mode: the slave may interrupt again while one of its own is in service. */
	if (master && c->nested_special)
		serving &= ~BIT(CASCADE);
	rank = best_rank(c, wants);
	return rank < best_rank(c, serving) ? (int)rank_input(c, rank) : -1;
}

static void chip_set_line(struct chip *c, unsigned n, bool level)
{
	uint8_t bit = (uint8_t)BIT(n);

	if (is_level(c, n))
		c->irr = level ? c->irr | bit : c->irr & ~bit;
	else if (level && !(c->line & bit))
		c->irr |= bit;
	c->line = level ? c->line | bit : c->line & ~bit;
}

/* The cascade input is the slave's output itself: neither latched nor remembered. */
static void update(struct pic *p)
{
	struct chip *m = &p->chip[0];
	bool slave = chip_request(&p->chip[1], false) >= 0, output;

	m->irr = slave ? m->irr | BIT(CASCADE) : m->irr & ~BIT(CASCADE);
	output = chip_request(m, true) >= 0;
	if (output == p->output)
		return;
	WRITE_ONCE(p->output, output);
	p->host.intr(p->host.ctx, output);
}

static void chip_eoi(struct chip *c, unsigned n, bool rotate)
{
	c->isr &= ~BIT(n);
	if (rotate)
		c->lowest = (uint8_t)n;
}

/* The acknowledge cycle on one chip: its input goes into service. */
static void chip_take(struct chip *c, unsigned n)
{
	if (!is_level(c, n))
		c->irr &= ~BIT(n);
	c->isr |= BIT(n);
	if (c->auto_eoi)
		chip_eoi(c, n, c->rotate_auto);
}

/* A request that went away before INTA answers as input 7, which does not go into service. */
int pic_ack(struct pic *p)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);
	int n = chip_request(&p->chip[0], true), vector;

	vector = p->chip[0].base | (n & 7);
	if (n >= 0)
		chip_take(&p->chip[0], (unsigned)n);
	if (n == CASCADE) {
		int s = chip_request(&p->chip[1], false);

		vector = p->chip[1].base | (s & 7);
		if (s >= 0)
			chip_take(&p->chip[1], (unsigned)s);
	}
	update(p);
	spin_unlock_irqrestore(&p->lock, flags);
	return vector;
}

bool pic_output(const struct pic *p) { return READ_ONCE(p->output); }

void pic_set_line(struct pic *p, unsigned irq, bool level)
{
	uint64_t flags;

	if (irq >= 16 || irq == CASCADE)
		return;
	flags = spin_lock_irqsave(&p->lock);
	chip_set_line(&p->chip[irq >> 3], irq & 7, level);
	update(p);
	spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- command words ---- */
static void write_icw1(struct chip *c, uint8_t v)
{
	c->imr = 0;
	c->isr = 0;
	c->lowest = 7;
	c->special_mask = c->read_isr = c->poll = c->auto_eoi = c->rotate_auto = c->nested_special = false;
	c->needs_icw4 = v & 1;
	c->single = v & 2;
	c->level_all = v & 8;
	/* The edge detectors are cleared: an edge input must fall and rise again. Levels show through. */
	c->irr = 0;
	for (unsigned n = 0; n < 8; n++)
		if (is_level(c, n))
			c->irr |= c->line & BIT(n);
	c->expect = ICW2;
}

static void write_ocw2(struct chip *c, uint8_t v)
{
	unsigned n = v & 7, rank;

	switch (v >> 5) {
	case 0: c->rotate_auto = false; break;
	case 4: c->rotate_auto = true; break;
	case 1: case 5: /* non-specific: the most urgent in service */
		rank = best_rank(c, c->special_mask ? c->isr & ~c->imr : c->isr);
		if (rank < 8)
			chip_eoi(c, rank_input(c, rank), v >> 5 == 5);
		break;
	case 3: chip_eoi(c, n, false); break;
	case 7: chip_eoi(c, n, true); break;
	case 6: c->lowest = (uint8_t)n; break;
	}
}

static void write_ocw3(struct chip *c, uint8_t v)
{
	if (v & 4)
		c->poll = true;
	if (v & 2)
		c->read_isr = v & 1;
	if (v & 0x40)
		c->special_mask = v & 0x20;
}

static void write_even(struct chip *c, uint8_t v)
{
	if (v & 0x10)
		write_icw1(c, v);
	else if (v & 8)
		write_ocw3(c, v);
	else
		write_ocw2(c, v);
}

static void write_odd(struct chip *c, uint8_t v)
{
	switch (c->expect) {
	case ICW_DONE: WRITE_ONCE(c->imr, v); break;
	case ICW2:
		c->base = v & 0xf8;
		c->expect = c->single ? (c->needs_icw4 ? ICW4 : ICW_DONE) : ICW3;
		break;
	case ICW3: c->expect = c->needs_icw4 ? ICW4 : ICW_DONE; break; /* the wiring is the board's */
	case ICW4:
		c->auto_eoi = v & 2;
		c->nested_special = v & 0x10;
		c->expect = ICW_DONE;
		break;
	}
}

/* Poll: the next read is the acknowledge cycle. Bit 7 says whether there was a request. */
static uint8_t read_poll(struct pic *p, unsigned i)
{
	struct chip *c = &p->chip[i];
	int n = chip_request(c, i == 0);

	c->poll = false;
	if (n < 0)
		return 0;
	chip_take(c, (unsigned)n);
	update(p);
	return (uint8_t)(0x80 | n);
}

static uint8_t read_locked(struct pic *p, uint16_t port)
{
	unsigned i = port >> 7 & 1;
	struct chip *c = &p->chip[i];

	if (port >= 0x4d0)
		return p->chip[port & 1].elcr;
	if (c->poll)
		return read_poll(p, i);
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

uint8_t pic_port_read(struct pic *p, uint16_t port)
{
	uint64_t flags;
	uint8_t v;

	if (likely(port == 0x21) && !READ_ONCE(p->chip[0].poll))
		return READ_ONCE(p->chip[0].imr);
	flags = spin_lock_irqsave(&p->lock);
	v = read_locked(p, port);
	spin_unlock_irqrestore(&p->lock, flags);
	return v;
}

static void write_elcr(struct chip *c, uint8_t v, uint8_t bits)
{
	c->elcr = v & bits;
	for (unsigned n = 0; n < 8; n++)
		if (is_level(c, n)) /* becomes its line; an edge kept from before goes */
			c->irr = (uint8_t)((c->irr & ~BIT(n)) | (c->line & BIT(n)));
}

void pic_port_write(struct pic *p, uint16_t port, uint8_t v)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);

	if (port >= 0x4d0)
		write_elcr(&p->chip[port & 1], v, elcr_bits[port & 1]);
	else if (port & 1)
		write_odd(&p->chip[port >> 7 & 1], v);
	else
		write_even(&p->chip[port >> 7 & 1], v);
	update(p);
	spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- life ---- */
/* Lines are the devices' and stay. Until it is initialised nothing gets through. */
void pic_reset(struct pic *p)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);

	for (int i = 0; i < 2; i++) {
		uint8_t line = p->chip[i].line;

		p->chip[i] = (struct chip){ .imr = 0xff, .lowest = 7, .line = line };
	}
	update(p);
	spin_unlock_irqrestore(&p->lock, flags);
}

struct pic *pic_create(const struct pic_host *h)
{
	struct pic *p = kzalloc(sizeof(*p), MT_HVDEV);

	if (!p)
		return NULL;
	spin_init(&p->lock, "pic", RANK_HVDEV);
	p->host = *h;
	pic_reset(p);
	return p;
}

void pic_free(struct pic *p) { kfree(p); }

static void chip_save(const struct chip *c, struct state_out *o)
{
	uint8_t bytes[16] = {
		c->irr, c->imr, c->isr, c->line, c->elcr, c->base, c->lowest, (uint8_t)c->expect, c->needs_icw4, c->single, c->level_all,
		c->auto_eoi, c->nested_special, c->rotate_auto, (uint8_t)(c->special_mask | c->poll << 1), c->read_isr,
	};

	state_put(o, bytes, sizeof(bytes));
}

void pic_save(const struct pic *p, struct state_out *o)
{
	state_begin(o, STATE_PIC, 1, 0);
	chip_save(&p->chip[0], o);
	chip_save(&p->chip[1], o);
	state_end(o);
}

static bool chip_parse(struct chip *c, struct state_in *in, uint8_t elcr_mask)
{
	uint8_t b[16];

	state_get(in, b, sizeof(b));
	for (unsigned i = 8; i < 16; i++)
		if (b[i] > (i == 14 ? 3 : 1))
			return false;
	*c = (struct chip){
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], (enum icw)b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14] & 1, b[14] & 2, b[15],
	};
	return !in->bad && !(c->elcr & ~elcr_mask) && !(c->base & 7) && c->lowest < 8 && b[7] <= ICW4;
}

int pic_load(struct pic *p, struct state_in *in)
{
	struct chip chip[2];
	uint64_t flags;

	if (!chip_parse(&chip[0], in, elcr_bits[0]) || !chip_parse(&chip[1], in, elcr_bits[1]))
		return -EINVAL;
	flags = spin_lock_irqsave(&p->lock);
	p->chip[0] = chip[0];
	p->chip[1] = chip[1];
	update(p);
	spin_unlock_irqrestore(&p->lock, flags);
	return 0;
}
