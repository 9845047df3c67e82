/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254 interval timer at ports 40-43 with port 61 (gate and output of channel 2, the speaker's bits).
 *
 * Nothing counts here: a channel knows the tick of guest time at which its count was loaded, and count, output and the next edge follow
 * from now. A tick is 1/1193182 s of guest time since the VM began, so reads are exact and the same on every run. Only channel 0
 * interrupts, and only while it will does a host timer run; periods that passed unseen (pause, a starved host) become one edge.
 *
 * One lock, below the PIC's and IOAPIC's, since irq0 is called with it held. The host timer is never cancelled under it (its callback
 * takes it): a callback that finds nothing due does nothing. Intel 8254 data sheet; modes 0 to 5 by its names.
 */
#include "hv/dev/dev.h"
#include "mem/mem.h"

#define PIT_HZ 1193182ull
#define NO_EDGE UINT64_MAX
/* A guest may program a period of two ticks; the host is interrupted no more often than this. */
#define PERIOD_MIN_NS 50000ull
#define REFRESH_TICKS 18 /* DRAM refresh: port 61's bit 4 changes every 15 us */

enum { RETRIGGER_ONE_SHOT = 1, RATE = 2, SQUARE = 3, SOFT_STROBE = 4, HARD_STROBE = 5 }; /* 0: interrupt on terminal count */
enum { ACCESS_LSB = 1, ACCESS_MSB = 2, ACCESS_BOTH = 3 };

struct channel {
	uint8_t mode, access;
	bool bcd, gate;
	bool loaded;            /* a count was written since the control word */
	bool triggered;         /* modes 1 and 5: the gate has risen */
	bool write_msb, read_msb; /* second byte of a pair is next */
	bool status_latched;
	uint8_t latch_bytes;    /* of latch still to be read */
	uint8_t write_lsb, status;
	uint16_t latch;
	uint32_t count, reload; /* in effect, and written last; 1 .. 65536 */
	uint64_t start;         /* tick at which count was loaded */
	uint64_t switch_at;     /* modes 2, 3: tick at which reload takes effect; NO_EDGE: nothing waits */
	uint64_t held;          /* modes 0, 4, gate low: ticks counted before it fell */
};
struct pit {
	struct spinlock lock;
	struct channel channel[3];
	uint8_t port61;         /* bits 3:0 */
	bool line;              /* what irq0 was last told */
	bool frozen;
	uint64_t edge;          /* tick of channel 0's next rising edge, or NO_EDGE */
	struct timer timer;
	struct pit_host host;
};

static uint64_t ns_to_ticks(uint64_t ns) { return ns / NSEC_PER_SEC * PIT_HZ + ns % NSEC_PER_SEC * PIT_HZ / NSEC_PER_SEC; }
/* First ns at which the tick is reached. */
static uint64_t ticks_to_ns(uint64_t t)
{
	return t / PIT_HZ * NSEC_PER_SEC + (t % PIT_HZ * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}
static uint64_t now_ticks(struct pit *p) { return ns_to_ticks(p->host.guest_ns(p->host.ctx)); }

static bool periodic(const struct channel *c) { return c->mode == RATE || c->mode == SQUARE; }
static bool by_trigger(const struct channel *c) { return c->mode == RETRIGGER_ONE_SHOT || c->mode == HARD_STROBE; }
static bool counting(const struct channel *c) { return c->loaded && (!by_trigger(c) || c->triggered) && (!periodic(c) || c->gate); }

static uint64_t elapsed(const struct channel *c, uint64_t now)
{
	if (!c->gate && !by_trigger(c))
		return c->held;
	return now > c->start ? now - c->start : 0;
}

/* A count written while a period ran begins where that period ended. */
static void settle(struct channel *c, uint64_t now)
{
	if (c->switch_at > now)
		return;
	c->start = c->switch_at;
	c->count = c->reload;
	c->switch_at = NO_EDGE;
}

static bool output(const struct channel *c, uint64_t now)
{
	uint64_t e = elapsed(c, now);

	if (!counting(c))
		return c->mode != 0;
	switch (c->mode) {
	case RATE: return e % c->count != c->count - 1;
	case SQUARE: return e % c->count < (c->count + 1) / 2;
	case SOFT_STROBE: case HARD_STROBE: return e != c->count;
	default: return e >= c->count;
	}
}

static uint32_t to_bcd(uint32_t v) { return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12; }
static uint32_t from_bcd(uint32_t v) { return (v & 0xf) + (v >> 4 & 0xf) * 10 + (v >> 8 & 0xf) * 100 + (v >> 12 & 0xf) * 1000; }

/* The counting element as the guest reads it. */
static uint16_t value(const struct channel *c, uint64_t now)
{
	uint32_t wrap = c->bcd ? 10000 : 65536, v;
	uint64_t e = elapsed(c, now), half = (c->count + 1) / 2;

	if (!counting(c))
		v = c->loaded ? c->reload : 0;
	else if (c->mode == RATE)
		v = c->count - (uint32_t)(e % c->count);
	else if (c->mode == SQUARE) /* down by two, twice a period */
		v = (c->count & ~1u) - 2 * (uint32_t)(e % c->count % half);
	else /* goes on below zero */
		v = (uint32_t)((c->count + wrap - e % wrap) % wrap);
	v %= wrap;
	return (uint16_t)(c->bcd ? to_bcd(v) : v);
}

/* ---- channel 0's interrupt ---- */
static uint64_t next_edge(const struct channel *c, uint64_t now)
{
	uint64_t e = elapsed(c, now);

	if (!counting(c))
		return NO_EDGE;
	switch (c->mode) {
	case 0: return e < c->count ? c->start + c->count : NO_EDGE;
	case SOFT_STROBE: return e <= c->count ? c->start + c->count + 1 : NO_EDGE;
	case RATE: case SQUARE:
		if (c->switch_at != NO_EDGE)
			return c->switch_at;
		return c->count > 1 ? c->start + (e / c->count + 1) * c->count : NO_EDGE;
	}
	return NO_EDGE;
}

static void set_line(struct pit *p, bool level)
{
	if (p->line == level)
		return;
	p->line = level;
	p->host.irq0(p->host.ctx, level);
}

static void arm(struct pit *p, uint64_t not_before)
{
	uint64_t host;

	if (p->frozen || p->edge == NO_EDGE)
		return;
	host = p->host.guest_ns_to_host(p->host.ctx, ticks_to_ns(p->edge));
	if (host != UINT64_MAX)
		timer_set(&p->timer, MAX(host, not_before));
}

/* Tells of the edge that came due, once, and finds the next. */
static void catch_up(struct pit *p, uint64_t now)
{
	struct channel *c = &p->channel[0];

	if (now < p->edge)
		return;
	set_line(p, false);
	set_line(p, true);
	settle(c, now);
	p->edge = next_edge(c, now);
}

/* After channel 0 was programmed. */
static void reprogrammed(struct pit *p, uint64_t now)
{
	set_line(p, output(&p->channel[0], now));
	p->edge = next_edge(&p->channel[0], now);
	arm(p, 0);
}

static void timer_callback(struct timer *t)
{
	struct pit *p = container_of(t, struct pit, timer);
	uint64_t flags = spin_lock_irqsave(&p->lock);

	catch_up(p, now_ticks(p));
	/* One-shots are armed when programmed; after a callback only a period has a next edge, or one that was put off. */
	arm(p, periodic(&p->channel[0]) ? clock_ns() + PERIOD_MIN_NS : 0);
	spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- programming ---- */
static void load_count(struct channel *c, uint32_t v, uint64_t now)
{
	bool running = counting(c);

	c->reload = c->bcd ? from_bcd(v) : v;
	if (!c->reload)
		c->reload = c->bcd ? 10000 : 65536;
	if (running && periodic(c)) {
		settle(c, now);
		c->switch_at = c->start + (elapsed(c, now) / c->count + 1) * c->count;
		return;
	}
	c->loaded = true;
	if (by_trigger(c) && c->triggered)
		return; /* until the next trigger */
	c->count = c->reload;
	c->start = now;
	c->held = 0;
}

static void write_count(struct channel *c, uint8_t v, uint64_t now)
{
	switch (c->access) {
	case ACCESS_LSB: load_count(c, v, now); break;
	case ACCESS_MSB: load_count(c, (uint32_t)v << 8, now); break;
	default:
		if (c->write_msb)
			load_count(c, (uint32_t)v << 8 | c->write_lsb, now);
		else if (c->mode == 0)
			c->loaded = false; /* the first byte stops the count, the output goes low */
		c->write_lsb = v;
		c->write_msb = !c->write_msb;
	}
}

static void latch_count(struct channel *c, uint64_t now)
{
	if (c->latch_bytes)
		return; /* the earlier latch stands until it is read */
	settle(c, now);
	c->latch = value(c, now);
	c->latch_bytes = c->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(struct channel *c, uint64_t now)
{
	if (c->status_latched)
		return;
	settle(c, now);
	c->status = (uint8_t)(output(c, now) << 7 | (!c->loaded || c->switch_at != NO_EDGE) << 6 | c->access << 4 | c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void write_control(struct pit *p, uint8_t v, uint64_t now)
{
	unsigned n = v >> 6;
	struct channel *c = &p->channel[n];

	if (n == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(v >> (i + 1) & 1))
				continue;
			if (!(v & 0x20))
				latch_count(&p->channel[i], now);
			if (!(v & 0x10))
				latch_status(&p->channel[i], now);
		}
		return;
	}
	if (!(v >> 4 & 3)) {
		latch_count(c, now);
		return;
	}
	*c = (struct channel){
		.mode = (v >> 1 & 7) > 5 ? (v >> 1 & 3) : (v >> 1 & 7), .access = v >> 4 & 3, .bcd = v & 1, .gate = c->gate,
		.count = 1, .reload = 1, .switch_at = NO_EDGE,
	};
}

static void set_gate(struct channel *c, bool gate, uint64_t now)
{
	if (gate == c->gate)
		return;
	settle(c, now);
	if (!gate && !by_trigger(c))
		c->held = elapsed(c, now);
	c->gate = gate;
	if (!gate)
		return;
	if (by_trigger(c) || periodic(c)) {
		c->triggered = c->loaded;
		c->count = c->reload;
		c->switch_at = NO_EDGE;
		c->start = now;
	} else {
		c->start = now - c->held;
	}
}

static uint8_t read_count(struct channel *c, uint64_t now)
{
	uint16_t v;
	bool msb;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->latch_bytes) {
		msb = c->access == ACCESS_MSB || (c->access == ACCESS_BOTH && c->latch_bytes == 1);
		c->latch_bytes--;
		return (uint8_t)(msb ? c->latch >> 8 : c->latch);
	}
	settle(c, now);
	v = value(c, now);
	msb = c->access == ACCESS_MSB || (c->access == ACCESS_BOTH && c->read_msb);
	if (c->access == ACCESS_BOTH)
		c->read_msb = !c->read_msb;
	return (uint8_t)(msb ? v >> 8 : v);
}

uint8_t pit_port_read(struct pit *p, uint16_t port)
{
	uint64_t flags = spin_lock_irqsave(&p->lock), now = now_ticks(p);
	uint8_t v = 0;

	if (port == 0x61) {
		settle(&p->channel[2], now);
		v = (uint8_t)(p->port61 | (now / REFRESH_TICKS & 1) << 4 | output(&p->channel[2], now) << 5);
	} else if (port < 0x43) {
		v = read_count(&p->channel[port & 3], now);
	}
	spin_unlock_irqrestore(&p->lock, flags);
	return v;
}

void pit_port_write(struct pit *p, uint16_t port, uint8_t v)
{
	uint64_t flags = spin_lock_irqsave(&p->lock), now = now_ticks(p);

	catch_up(p, now);
	for (unsigned i = 0; i < 3; i++)
		settle(&p->channel[i], now);
	if (port == 0x61) {
		p->port61 = v & 0xf;
		set_gate(&p->channel[2], v & 1, now);
	} else if (port == 0x43) {
		write_control(p, v, now);
		if (v >> 6 == 0 && (v >> 4 & 3))
			reprogrammed(p, now);
	} else {
		write_count(&p->channel[port & 3], v, now);
		if (port == 0x40)
			reprogrammed(p, now);
	}
	spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- life ---- */
/* Output high, no count: no host timer until a guest wants one. Channel 2's gate is port 61's bit 0, the others' are wired high. */
void pit_reset(struct pit *p)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);

	for (int i = 0; i < 3; i++)
		p->channel[i] = (struct channel){ .mode = SQUARE, .access = ACCESS_BOTH, .gate = i != 2, .count = 1, .reload = 1, .switch_at = NO_EDGE };
	p->port61 = 0;
	p->edge = NO_EDGE;
	set_line(p, true);
	spin_unlock_irqrestore(&p->lock, flags);
}

struct pit *pit_create(const struct pit_host *h)
{
	struct pit *p = kzalloc(sizeof(*p), MT_HVDEV);

	if (!p)
		return NULL;
	spin_init(&p->lock, "pit", RANK_HVDEV - 1);
	p->host = *h;
	timer_init(&p->timer, timer_callback);
	pit_reset(p);
	return p;
}

void pit_free(struct pit *p)
{
	if (!p)
		return;
	pit_freeze(p);
	kfree(p);
}

void pit_freeze(struct pit *p)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);

	p->frozen = true;
	spin_unlock_irqrestore(&p->lock, flags);
	timer_cancel(&p->timer);
}

void pit_thaw(struct pit *p)
{
	uint64_t flags = spin_lock_irqsave(&p->lock);

	p->frozen = false;
	arm(p, 0);
	spin_unlock_irqrestore(&p->lock, flags);
}

struct channel_record {
	uint64_t start, switch_at, held;
	uint32_t count, reload;
	uint16_t latch;
	uint8_t mode, access, bcd, gate, loaded, triggered, write_msb, read_msb, status_latched, latch_bytes, write_lsb, status, pad[2];
};
_Static_assert(sizeof(struct channel_record) == 48, "state format");

void pit_save(const struct pit *p, struct state_out *o)
{
	state_begin(o, STATE_PIT, 1, 0);
	for (int i = 0; i < 3; i++) {
		const struct channel *c = &p->channel[i];
		struct channel_record r = {
			c->start, c->switch_at, c->held, c->count, c->reload, c->latch, c->mode, c->access, c->bcd, c->gate, c->loaded,
			c->triggered, c->write_msb, c->read_msb, c->status_latched, c->latch_bytes, c->write_lsb, c->status, { 0, 0 },
		};

		state_put(o, &r, sizeof(r));
	}
	state_put_u64(o, p->edge);
	state_put_u8(o, p->port61);
	state_put_u8(o, p->line);
	state_end(o);
}

static bool channel_parse(struct channel *c, struct state_in *in)
{
	struct channel_record r;

	state_get(in, &r, sizeof(r));
	/* Ticks that no guest reaches would make edges that are always due. */
	if (r.start >> 62 || r.held >> 62 || (r.switch_at != NO_EDGE && r.switch_at >> 62))
		return false;
	if (in->bad || r.mode > 5 || r.access < 1 || r.access > 3 || !r.count || r.count > 65536 || !r.reload || r.reload > 65536 ||
	    r.latch_bytes > 2)
		return false;
	if ((r.bcd | r.gate | r.loaded | r.triggered | r.write_msb | r.read_msb | r.status_latched) > 1)
		return false;
	if (r.switch_at != NO_EDGE && r.mode != RATE && r.mode != SQUARE)
		return false;
	*c = (struct channel){
		.mode = r.mode, .access = r.access, .bcd = r.bcd, .gate = r.gate, .loaded = r.loaded, .triggered = r.triggered,
		.write_msb = r.write_msb, .read_msb = r.read_msb, .status_latched = r.status_latched, .latch_bytes = r.latch_bytes,
		.write_lsb = r.write_lsb, .status = r.status, .latch = r.latch, .count = r.count, .reload = r.reload,
		.start = r.start, .switch_at = r.switch_at, .held = r.held,
	};
	return true;
}

int pit_load(struct pit *p, struct state_in *in)
{
	struct channel channel[3];
	uint64_t flags, edge;
	uint8_t port61, line;

	for (int i = 0; i < 3; i++)
		if (!channel_parse(&channel[i], in) || (i != 2 && !channel[i].gate))
			return -EINVAL;
	edge = state_get_u64(in);
	port61 = state_get_u8(in);
	line = state_get_u8(in);
	if (in->bad || port61 > 0xf || line > 1 || channel[2].gate != (port61 & 1))
		return -EINVAL;
	flags = spin_lock_irqsave(&p->lock);
	memcpy(p->channel, channel, sizeof(channel));
	p->edge = edge;
	p->port61 = port61;
	p->line = line; /* the PIC and IOAPIC have it in their own records */
	arm(p, 0);
	spin_unlock_irqrestore(&p->lock, flags);
	return 0;
}
