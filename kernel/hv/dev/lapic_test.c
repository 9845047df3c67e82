/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC: vectors and priorities, both register shapes, mode transitions, ICR, LVTs, the three timer modes, state. */
#include "arch/host/arch_host.h"
#include "hv/dev/lapic_priv.h"
#include "test/unit.h"

/* One guest nanosecond is one guest tick is one host nanosecond, less an offset that "load" may move. */
static struct surroundings {
	unsigned events, nmis, sends, eois;
	struct apic_msg msg;
	uint8_t eoi_vector;
	int64_t offset;
} env;
static void on_event(void *ctx) { env.events++; }
static void on_nmi(void *ctx) { env.nmis++; }
static void on_send(void *ctx, const struct apic_msg *m) { env.sends++, env.msg = *m; }
static void on_eoi(void *ctx, uint8_t v) { env.eois++, env.eoi_vector = v; }
static uint64_t now(void *ctx) { return host_clock_ns + (uint64_t)env.offset; }
static uint64_t to_host(void *ctx, uint64_t ns)
{
	int64_t d = (int64_t)(ns - now(ctx));

	return d > 0 ? host_clock_ns + (uint64_t)d : host_clock_ns;
}
static const struct lapic_host host = { NULL, on_event, on_nmi, on_send, on_eoi, now, to_host, now, to_host };

static struct lapic *fresh(bool x2apic)
{
	struct lapic *l = lapic_create(3, true, true, 40, &host);

	env = (struct surroundings){ .offset = 0 };
	if (x2apic)
		CHECK(lapic_msr_write(l, 0x1b, 0xfee00000 | 0xd00));
	lapic_msr_write(l, 0x80f, 0x1ff);
	lapic_mmio_write(l, 0xf0, 0x1ff);
	return l;
}
/* The interrupt that the CPU takes now. */
static int take(struct lapic *l)
{
	int v = lapic_pending(l);

	if (v >= 0)
		lapic_ack(l, (uint8_t)v);
	return v;
}
static void eoi(struct lapic *l) { lapic_mmio_write(l, 0xb0, 0); }

TEST(power_on)
{
	struct lapic *l = lapic_create(3, true, true, 40, &host), *ap = lapic_create(4, false, true, 40, &host);

	CHECK_EQ(lapic_base(l), 0xfee00900);
	CHECK_EQ(lapic_base(ap), 0xfee00800);
	CHECK_EQ(lapic_mmio_read(l, 0x20), 3u << 24);
	CHECK_EQ(lapic_mmio_read(l, 0x30), 0x50014);
	CHECK_EQ(lapic_mmio_read(l, 0xf0), 0xff);
	CHECK_EQ(lapic_mmio_read(l, 0xe0), 0xffffffff);
	CHECK_EQ(lapic_mmio_read(l, 0x350), 0x700); /* as firmware leaves it */
	CHECK_EQ(lapic_mmio_read(ap, 0x350), 0x10000);
	CHECK_EQ(lapic_mmio_read(l, 0x320), 0x10000);
	CHECK(lapic_accepts_extint(l) && !lapic_accepts_extint(ap));
	CHECK(!lapic_accept(l, 0x40, false)); /* disabled by software */
	lapic_mmio_write(l, 0x320, 0x40);
	CHECK_EQ(lapic_mmio_read(l, 0x320), 0x10040); /* mask cannot be cleared now */
	lapic_free(l);
	lapic_free(ap);
}

TEST(priorities)
{
	struct lapic *l = fresh(false);

	CHECK(lapic_accept(l, 0x41, false));
	CHECK(!lapic_accept(l, 0x41, false));
	CHECK(lapic_accept(l, 0x45, false));
	CHECK(lapic_accept(l, 0x92, false));
	CHECK_EQ(take(l), 0x92);
	CHECK_EQ(lapic_pending(l), -1);
	CHECK_EQ(lapic_mmio_read(l, 0xa0), 0x90);
	CHECK(lapic_accept(l, 0xa0, false));
	CHECK_EQ(take(l), 0xa0);
	eoi(l);
	CHECK_EQ(lapic_pending(l), -1);
	eoi(l);
	CHECK_EQ(take(l), 0x45);
	CHECK_EQ(lapic_pending(l), -1); /* same class waits */
	eoi(l);
	lapic_set_tpr(l, 0x50);
	CHECK_EQ(lapic_pending(l), -1);
	CHECK_EQ(lapic_mmio_read(l, 0xa0), 0x50);
	env.events = 0;
	lapic_mmio_write(l, 0x80, 0x3f);
	CHECK_EQ(env.events, 1);
	CHECK_EQ(take(l), 0x41);
	CHECK_EQ(lapic_mmio_read(l, 0x120), 2);
	eoi(l);
	eoi(l); /* nothing in service: nothing happens */
	CHECK_EQ(lapic_mmio_read(l, 0xa0), 0x3f);
	lapic_free(l);
}

TEST(level_eoi_is_broadcast)
{
	struct lapic *l = fresh(false);

	lapic_accept(l, 0x51, true);
	CHECK_EQ(lapic_mmio_read(l, 0x180 + 0x20), 1u << 17);
	CHECK_EQ(take(l), 0x51);
	eoi(l);
	CHECK(env.eois == 1 && env.eoi_vector == 0x51);
	lapic_accept(l, 0x51, false);
	CHECK_EQ(take(l), 0x51);
	eoi(l);
	CHECK_EQ(env.eois, 1);
	lapic_free(l);
}

TEST(errors)
{
	struct lapic *l = fresh(false);

	lapic_mmio_write(l, 0x370, 0xfe);
	lapic_accept(l, 5, false);
	CHECK_EQ(take(l), 0xfe);
	CHECK_EQ(lapic_mmio_read(l, 0x280), 0);
	lapic_mmio_write(l, 0x280, 0);
	CHECK_EQ(lapic_mmio_read(l, 0x280), 0x40);
	eoi(l);
	lapic_mmio_write(l, 0x300, 0x00000005 | 0x40000);
	CHECK_EQ(take(l), 0xfe);
	lapic_mmio_write(l, 0x280, 0);
	CHECK_EQ(lapic_mmio_read(l, 0x280), 0x20);
	lapic_mmio_write(l, 0x280, 0);
	CHECK_EQ(lapic_mmio_read(l, 0x280), 0);
	eoi(l);
	lapic_mmio_write(l, 0x370, 5); /* illegal vector of the error entry itself */
	lapic_accept(l, 5, false);
	CHECK_EQ(take(l), -1);
	lapic_free(l);
}

TEST(icr)
{
	struct lapic *l = fresh(false);

	lapic_mmio_write(l, 0x310, 0x07000000);
	lapic_mmio_write(l, 0x300, 0x40fd | 0x800);
	CHECK(env.sends == 1 && env.msg.dest == 7 && env.msg.vector == 0xfd && env.msg.logical && !env.msg.x2apic_dest && !env.msg.level);
	CHECK_EQ(lapic_mmio_read(l, 0x300), 0x48fd);
	lapic_mmio_write(l, 0x300, 0xc4500); /* INIT, all but self */
	CHECK(env.msg.delivery == APIC_INIT && env.msg.shorthand == 3 && env.msg.assert && !env.msg.level);
	lapic_mmio_write(l, 0x300, 0xc0000 | 0x8500);
	CHECK(env.msg.delivery == APIC_INIT && env.msg.level && !env.msg.assert);
	env.sends = 0;
	lapic_mmio_write(l, 0x300, 0x40066); /* self */
	CHECK_EQ(env.sends, 0);
	CHECK_EQ(take(l), 0x66);
	lapic_free(l);

	l = fresh(true);
	CHECK(lapic_msr_write(l, 0x830, 0x0001000200000466));
	CHECK(env.msg.dest == 0x10002 && env.msg.delivery == APIC_NMI && env.msg.x2apic_dest);
	CHECK(lapic_msr_write(l, 0x83f, 0x77));
	CHECK_EQ(take(l), 0x77);
	lapic_free(l);
}

TEST(x2apic_msrs)
{
	struct lapic *l = fresh(true);
	uint64_t v;

	CHECK(lapic_msr_read(l, 0x802, &v) && v == 3);
	CHECK(lapic_msr_read(l, 0x80d, &v) && v == 8);
	CHECK(!lapic_msr_write(l, 0x802, 0) && !lapic_msr_write(l, 0x80d, 0));
	CHECK(!lapic_msr_read(l, 0x80e, &v) && !lapic_msr_write(l, 0x80e, 0));
	CHECK(!lapic_msr_read(l, 0x831, &v) && !lapic_msr_write(l, 0x831, 0));
	CHECK(!lapic_msr_read(l, 0x80b, &v) && !lapic_msr_write(l, 0x80b, 1) && lapic_msr_write(l, 0x80b, 0));
	CHECK(!lapic_msr_write(l, 0x828, 1) && lapic_msr_write(l, 0x828, 0));
	CHECK(!lapic_msr_write(l, 0x808, 0x100) && lapic_msr_write(l, 0x808, 0x20));
	CHECK(!lapic_msr_write(l, 0x80f, 0x1000) && !lapic_msr_write(l, 0x80f, 1ull << 32));
	CHECK(!lapic_msr_write(l, 0x832, 0x80000) && lapic_msr_write(l, 0x832, 0x400ec));
	CHECK(!lapic_msr_write(l, 0x83e, 4) && lapic_msr_write(l, 0x83e, 0xb));
	CHECK(!lapic_msr_write(l, 0x839, 0) && lapic_msr_read(l, 0x839, &v));
	CHECK(!lapic_msr_write(l, 0x830, 1 << 20) && !lapic_msr_write(l, 0x810, 0));
	CHECK(!lapic_msr_read(l, 0x8ff, &v) && !lapic_msr_read(l, 0x83f, &v) && !lapic_msr_read(l, 0x800, &v));
	lapic_free(l);
	l = fresh(false);
	CHECK(!lapic_msr_read(l, 0x802, &v) && !lapic_msr_write(l, 0x80b, 0)); /* in xAPIC mode there are none */
	lapic_free(l);
}

TEST(base_transitions)
{
	struct lapic *l = fresh(false);

	CHECK(!lapic_msr_write(l, 0x1b, 0xfee00000 | 0x400));  /* x2APIC without enable */
	CHECK(!lapic_msr_write(l, 0x1b, 0xfee00000 | 0x802));  /* reserved */
	CHECK(!lapic_msr_write(l, 0x1b, 1ull << 40 | 0x800));  /* beyond the physical address */
	lapic_accept(l, 0x99, false);
	CHECK(lapic_msr_write(l, 0x1b, 0xfee00000));           /* off */
	CHECK(!lapic_enabled(l) && lapic_accepts_extint(l) && !lapic_accept(l, 0x50, false));
	CHECK_EQ(lapic_pending(l), -1);
	CHECK(!lapic_msr_write(l, 0x1b, 0xfee00000 | 0xc00));  /* off to x2APIC */
	CHECK(lapic_msr_write(l, 0x1b, 0xfee00000 | 0x800));
	CHECK_EQ(lapic_base(l), 0xfee00900);                   /* BSP stays */
	CHECK_EQ(lapic_mmio_read(l, 0xf0), 0xff);
	CHECK(lapic_msr_write(l, 0x1b, 0xfee00000 | 0xc00));
	CHECK(!lapic_msr_write(l, 0x1b, 0xfee00000 | 0x800));  /* x2APIC to xAPIC */
	lapic_reset(l, true);
	CHECK_EQ(lapic_base(l), 0xfee00d00);
	CHECK(lapic_msr_write(l, 0x1b, 0xfee00000));
	lapic_free(l);
	l = lapic_create(1, false, false, 40, &host);
	CHECK(!lapic_msr_write(l, 0x1b, 0xfee00000 | 0xc00));  /* x2APIC not offered */
	lapic_free(l);
}

TEST(destinations)
{
	struct lapic *l = fresh(false);
	struct apic_msg m = { .dest = 3 };

	CHECK(lapic_matches(l, &m, NULL));
	m.dest = 0xff;
	CHECK(lapic_matches(l, &m, NULL));
	m.dest = 2;
	CHECK(!lapic_matches(l, &m, NULL));
	m = (struct apic_msg){ .dest = 0x04, .logical = true };
	CHECK(!lapic_matches(l, &m, NULL));
	lapic_mmio_write(l, 0xd0, 0x0c000000);
	CHECK(lapic_matches(l, &m, NULL));
	lapic_mmio_write(l, 0xe0, 0x0fffffff); /* cluster */
	lapic_mmio_write(l, 0xd0, 0x24000000);
	CHECK(!lapic_matches(l, &m, NULL));
	m.dest = 0x26;
	CHECK(lapic_matches(l, &m, NULL));
	m.dest = 0x22;
	CHECK(!lapic_matches(l, &m, NULL));
	m.shorthand = 3;
	CHECK(!lapic_matches(l, &m, l) && lapic_matches(l, &m, NULL));
	CHECK(lapic_msr_write(l, 0x1b, 0xfee00c00));
	m = (struct apic_msg){ .dest = 0x8, .logical = true };
	CHECK(lapic_matches(l, &m, NULL));
	m = (struct apic_msg){ .dest = 0x10008, .logical = true, .x2apic_dest = true };
	CHECK(!lapic_matches(l, &m, NULL));
	m.dest = 0xffffffff;
	CHECK(lapic_matches(l, &m, NULL));
	lapic_free(l);
}

TEST(lint0_variants)
{
	struct lapic *l = fresh(false);

	lapic_mmio_write(l, 0x350, 0x700);
	CHECK(lapic_accepts_extint(l));
	lapic_mmio_write(l, 0x350, 0x400);
	lapic_set_lint0(l, true);
	CHECK(env.nmis == 1 && !lapic_accepts_extint(l));
	lapic_set_lint0(l, true);
	CHECK_EQ(env.nmis, 1);
	lapic_set_lint0(l, false);
	lapic_mmio_write(l, 0x350, 0x31); /* Linux: timer as virtual wire */
	lapic_set_lint0(l, true);
	CHECK_EQ(take(l), 0x31);
	eoi(l);
	lapic_set_lint0(l, false);
	lapic_mmio_write(l, 0x350, 0x8032);
	lapic_set_lint0(l, true);
	CHECK_EQ(lapic_mmio_read(l, 0x350), 0xc032);
	CHECK_EQ(take(l), 0x32);
	eoi(l);
	CHECK_EQ(take(l), 0x32); /* line still up */
	lapic_set_lint0(l, false);
	eoi(l);
	CHECK_EQ(take(l), -1);
	lapic_free(l);
}

TEST(one_shot)
{
	struct lapic *l = fresh(false);

	lapic_mmio_write(l, 0x320, 0x40);
	lapic_mmio_write(l, 0x3e0, 3); /* by 16 */
	lapic_mmio_write(l, 0x380, 1000);
	host_run_until(host_clock_ns + 8000);
	CHECK_EQ(lapic_mmio_read(l, 0x390), 500);
	CHECK_EQ(take(l), -1);
	lapic_mmio_write(l, 0x3e0, 0xb); /* the count goes on, sixteen times as fast */
	CHECK_EQ(lapic_mmio_read(l, 0x390), 500);
	host_run_until(host_clock_ns + 499);
	CHECK_EQ(lapic_mmio_read(l, 0x390), 1);
	host_run_until(host_clock_ns + 1);
	CHECK_EQ(take(l), 0x40);
	CHECK_EQ(lapic_mmio_read(l, 0x390), 0);
	CHECK_EQ(lapic_mmio_read(l, 0x380), 1000);
	host_run_until(host_clock_ns + 100000);
	eoi(l);
	CHECK_EQ(take(l), -1);
	lapic_mmio_write(l, 0x380, 1000);
	lapic_mmio_write(l, 0x380, 0); /* stops */
	host_run_until(host_clock_ns + 100000);
	CHECK_EQ(take(l), -1);
	lapic_free(l);
}

TEST(periodic_does_not_flood)
{
	struct lapic *l = fresh(false);
	unsigned ticks = 0;

	lapic_mmio_write(l, 0x320, 0x20041);
	lapic_mmio_write(l, 0x3e0, 0xb);
	lapic_mmio_write(l, 0x380, 1000000);
	for (int i = 0; i < 10; i++) {
		host_run_until(host_clock_ns + 1000000);
		CHECK_EQ(take(l), 0x41);
		eoi(l);
	}
	host_run_until(host_clock_ns + 100500000); /* not taken for 100 periods */
	CHECK(env.events <= 12);
	CHECK_EQ(take(l), 0x41);
	eoi(l);
	for (; host_run_until(host_clock_ns + 1), take(l) == 0x41; ticks++)
		eoi(l);
	CHECK(ticks <= 1);
	host_run_until(host_clock_ns + 1000000); /* and goes on in phase */
	CHECK_EQ(take(l), 0x41);
	eoi(l);
	CHECK(lapic_mmio_read(l, 0x390) <= 1000000 && lapic_mmio_read(l, 0x390) > 0);
	lapic_mmio_write(l, 0x320, 0x30041); /* masked: nobody is woken */
	host_run_until(host_clock_ns + 2000000);
	env.events = 0;
	host_run_until(host_clock_ns + 50000000);
	CHECK(l->parked && !l->armed);
	lapic_mmio_write(l, 0x320, 0x20041);
	CHECK_EQ(take(l), -1);
	host_run_until(host_clock_ns + 1000000);
	CHECK_EQ(take(l), 0x41);
	lapic_mmio_write(l, 0x380, 1); /* a nanosecond */
	host_run_until(host_clock_ns + 10000000);
	CHECK(env.events < 300);
	lapic_free(l);
}

TEST(deadline)
{
	struct lapic *l = fresh(true);
	uint64_t v;

	lapic_msr_write(l, 0x6e0, 12345); /* not in this mode */
	CHECK(lapic_msr_read(l, 0x6e0, &v) && v == 0);
	lapic_msr_write(l, 0x832, 0x400ec);
	lapic_msr_write(l, 0x838, 5);
	CHECK(lapic_msr_read(l, 0x838, &v) && v == 0);
	lapic_msr_write(l, 0x6e0, host_clock_ns + 1000);
	CHECK(lapic_msr_read(l, 0x6e0, &v) && v == host_clock_ns + 1000);
	host_run_until(host_clock_ns + 999);
	CHECK_EQ(take(l), -1);
	host_run_until(host_clock_ns + 1);
	CHECK_EQ(take(l), 0xec);
	CHECK(lapic_msr_read(l, 0x6e0, &v) && v == 0);
	lapic_msr_write(l, 0x80b, 0);
	lapic_msr_write(l, 0x6e0, host_clock_ns - 1); /* past: at once */
	CHECK_EQ(take(l), 0xec);
	lapic_msr_write(l, 0x80b, 0);
	lapic_msr_write(l, 0x6e0, host_clock_ns + 1000);
	lapic_msr_write(l, 0x6e0, 0);
	host_run_until(host_clock_ns + 5000);
	CHECK_EQ(take(l), -1);
	lapic_msr_write(l, 0x6e0, host_clock_ns + 1000000);
	env.offset = 2000000; /* the guest sets its clock forward */
	lapic_tsc_changed(l);
	CHECK_EQ(take(l), 0xec);
	lapic_msr_write(l, 0x80b, 0);
	lapic_msr_write(l, 0x6e0, now(NULL) + 1000000);
	lapic_msr_write(l, 0x832, 0xec); /* leaving the mode disarms */
	CHECK(lapic_msr_read(l, 0x6e0, &v) && v == 0 && !l->armed);
	lapic_free(l);
}

TEST(freeze_keeps_what_is_due)
{
	struct lapic *l = fresh(false);

	lapic_mmio_write(l, 0x320, 0x40);
	lapic_mmio_write(l, 0x3e0, 0xb);
	lapic_mmio_write(l, 0x380, 1000);
	lapic_freeze(l);
	host_run_until(host_clock_ns + 5000);
	CHECK_EQ(take(l), -1);
	lapic_thaw(l);
	host_run_until(host_clock_ns);
	CHECK_EQ(take(l), 0x40);
	eoi(l);
	lapic_mmio_write(l, 0x320, 0x20040);
	lapic_mmio_write(l, 0x380, 100000);
	lapic_freeze(l);
	host_run_until(host_clock_ns + 5550000);
	lapic_thaw(l);
	host_run_until(host_clock_ns);
	CHECK_EQ(take(l), 0x40);
	eoi(l);
	CHECK_EQ(take(l), -1);
	host_run_until(host_clock_ns + 50000);
	CHECK_EQ(take(l), 0x40); /* in phase */
	lapic_free(l);
}

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, (uint32_t)(seed >> 16) % n; }

/* Guest time stands still from save to load, however long that takes. */
static struct lapic *through_state(struct lapic *l)
{
	uint8_t a[512], b[512];
	struct state_out oa = { .buf = a, .cap = sizeof(a) }, ob = { .buf = b, .cap = sizeof(b) };
	struct lapic *n = lapic_create(3, true, true, 40, &host);
	struct state_in in;
	size_t pos = 0;
	uint64_t gap = rnd(1000000);

	lapic_freeze(l);
	lapic_save(l, &oa);
	lapic_free(l);
	lapic_freeze(n);
	host_run_until(host_clock_ns + gap);
	env.offset -= (int64_t)gap;
	CHECK(!oa.overflow && state_next(a, oa.len, &pos, &in));
	CHECK_EQ(lapic_load(n, &in), 0);
	lapic_save(n, &ob);
	CHECK(oa.len == ob.len && !memcmp(a, b, oa.len));
	lapic_thaw(n);
	return n;
}

static void random_access(struct lapic *l)
{
	static const uint16_t hot[] = { 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, 0x320, 0x350, 0x370, 0x380, 0x390, 0x3e0 };
	uint32_t reg = rnd(4) ? hot[rnd(14)] : rnd(0x1000), v = rnd(3) ? rnd(0x800) | rnd(8) << 16 : rnd(~0u);
	uint64_t out;
	unsigned kind = rnd(10);

	if (kind < 3 && l->x2apic)
		kind = 3; /* the bus shows no page then */
	switch (kind) {
	case 0: case 1: lapic_mmio_write(l, reg, v); break;
	case 2: lapic_mmio_read(l, reg); break;
	case 3: lapic_msr_write(l, 0x800 + (reg >> 4 & 0xff), v); break;
	case 4: lapic_msr_read(l, 0x800 + (reg >> 4 & 0xff), &out); break;
	case 5: lapic_accept(l, (uint8_t)v, rnd(2)); break;
	case 6: take(l); break;
	case 7: lapic_msr_write(l, 0x6e0, now(NULL) + rnd(200000)); break;
	case 8: lapic_set_lint0(l, rnd(2)); break;
	case 9: lapic_msr_write(l, 0x1b, 0xfee00000 | rnd(4) << 10); break;
	}
	host_run_until(host_clock_ns + rnd(30000));
}

TEST(random_accesses_and_state)
{
	struct lapic *l = fresh(false);

	for (int i = 0; i < 100000; i++) {
		random_access(l);
		if (!rnd(50))
			l = through_state(l);
	}
	lapic_free(l);
}

TEST(no_timer_is_lost_by_state)
{
	struct lapic *l = fresh(true);

	lapic_msr_write(l, 0x832, 0x400ec);
	for (int i = 0; i < 2000; i++) {
		uint64_t due = now(NULL) + rnd(100000);

		lapic_msr_write(l, 0x6e0, due);
		for (int k = 0; k < 3; k++) {
			host_run_until(host_clock_ns + rnd(20000));
			l = through_state(l);
		}
		if (now(NULL) < due) {
			CHECK_EQ(lapic_pending(l), -1);
			host_run_until(host_clock_ns + due - now(NULL));
		}
		CHECK_EQ(take(l), 0xec);
		lapic_msr_write(l, 0x80b, 0);
		CHECK_EQ(take(l), -1);
	}
	lapic_free(l);
}

TEST(hostile_records)
{
	struct lapic *l = fresh(false);
	unsigned taken = 0;

	for (int i = 0; i < 20000; i++) {
		uint8_t raw[512];
		struct state_out o = { .buf = raw, .cap = sizeof(raw) };
		struct state_in in;
		size_t pos = 0;

		lapic_save(l, &o);
		for (unsigned k = rnd(4); k; k--)
			raw[16 + rnd(200)] = (uint8_t)rnd(256);
		CHECK(state_next(raw, o.len, &pos, &in));
		if (!rnd(20))
			in.left = rnd(200);
		taken += lapic_load(l, &in) == 0;
		for (int k = 0; k < 5; k++)
			random_access(l);
	}
	CHECK(taken > 1000 && taken < 20000);
	lapic_free(l);
}
