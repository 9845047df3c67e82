/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC as Linux and firmware use it: routing entries, edges and levels, remote IRR, EOI by broadcast and register, state. */
#include "hv/dev/dev.h"
#include "test/unit.h"

static unsigned sent;
static struct apic_msg last;
static void on_send(void *ctx, const struct apic_msg *m) { sent++, last = *m; }
static const struct ioapic_host host = { NULL, on_send };

static uint32_t rd(struct ioapic *io, uint8_t r) { ioapic_mmio_write(io, 0, r); return ioapic_mmio_read(io, 0x10); }
static void wr(struct ioapic *io, uint8_t r, uint32_t v) { ioapic_mmio_write(io, 0, r), ioapic_mmio_write(io, 0x10, v); }
static void route(struct ioapic *io, unsigned pin, uint32_t lo, uint8_t dest)
{
	wr(io, (uint8_t)(0x11 + 2 * pin), (uint32_t)dest << 24);
	wr(io, (uint8_t)(0x10 + 2 * pin), lo);
}
static struct ioapic *fresh(void) { sent = 0; return ioapic_create(&host); }

TEST(registers)
{
	struct ioapic *io = fresh();

	CHECK_EQ(rd(io, 1), 0x00170020);
	CHECK_EQ(rd(io, 0x10), 0x10000);
	wr(io, 0, 0xffffffff);
	CHECK_EQ(rd(io, 0), 0x0f000000);
	wr(io, 0x12, 0xffffffff); /* delivery status and remote IRR are the chip's */
	CHECK_EQ(rd(io, 0x12), 0x1afff);
	wr(io, 0x13, 0xffffffff);
	CHECK_EQ(rd(io, 0x13), 0xff000000);
	CHECK_EQ(rd(io, 0x40), 0);
	CHECK_EQ(ioapic_mmio_read(io, 0x20), 0);
	ioapic_free(io);
}

TEST(edge)
{
	struct ioapic *io = fresh();

	ioapic_set_line(io, 2, true); /* masked: lost */
	route(io, 2, 0x31, 5);
	CHECK_EQ(sent, 0);
	ioapic_set_line(io, 2, false);
	ioapic_set_line(io, 2, true);
	CHECK_EQ(sent, 1);
	CHECK(last.vector == 0x31 && last.dest == 5 && !last.level && !last.logical && last.delivery == APIC_FIXED);
	ioapic_set_line(io, 2, true);
	CHECK_EQ(sent, 1);
	ioapic_eoi(io, 0x31);
	CHECK_EQ(sent, 1);
	ioapic_free(io);
}

TEST(level_until_eoi)
{
	struct ioapic *io = fresh();

	route(io, 11, 0x8941 | 0x2000, 0x0f); /* level, active low, lowest priority, logical */
	ioapic_set_line(io, 11, true);
	CHECK_EQ(sent, 1);
	CHECK(last.level && last.logical && last.delivery == APIC_LOWEST);
	CHECK(rd(io, 0x10 + 22) & 0x4000);
	ioapic_set_line(io, 11, false);
	ioapic_set_line(io, 11, true);
	CHECK_EQ(sent, 1); /* remote IRR holds it */
	ioapic_eoi(io, 0x42);
	CHECK_EQ(sent, 1);
	ioapic_eoi(io, 0x41);
	CHECK_EQ(sent, 2); /* line still up */
	ioapic_set_line(io, 11, false);
	ioapic_mmio_write(io, 0x40, 0x41); /* the EOI register */
	CHECK_EQ(sent, 2);
	CHECK(!(rd(io, 0x10 + 22) & 0x4000));
	ioapic_free(io);
}

TEST(masked_level_waits)
{
	struct ioapic *io = fresh();

	route(io, 10, 0x18050, 1);
	ioapic_set_line(io, 10, true);
	CHECK_EQ(sent, 0);
	route(io, 10, 0x8050, 1);
	CHECK_EQ(sent, 1);
	/* Linux' EOI without the register: mask and edge, then level again; the line is still up. */
	wr(io, 0x10 + 20, 0x10050);
	CHECK(!(rd(io, 0x10 + 20) & 0x4000));
	wr(io, 0x10 + 20, 0x8050);
	CHECK_EQ(sent, 2);
	ioapic_free(io);
}

TEST(nmi_is_an_edge)
{
	struct ioapic *io = fresh();

	route(io, 0, 0x8400, 0);
	ioapic_set_line(io, 0, true);
	CHECK(sent == 1 && last.delivery == APIC_NMI && !last.level);
	CHECK(!(rd(io, 0x10) & 0x4000));
	ioapic_set_line(io, 24, true);
	ioapic_set_line(io, 1000, true);
	ioapic_free(io);
}

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, (uint32_t)(seed >> 16) % n; }

static struct ioapic *through_state(struct ioapic *io)
{
	uint8_t a[512], b[512];
	struct state_out oa = { .buf = a, .cap = sizeof(a) }, ob = { .buf = b, .cap = sizeof(b) };
	struct ioapic *n = ioapic_create(&host);
	struct state_in in;
	size_t pos = 0;

	ioapic_save(io, &oa);
	CHECK(!oa.overflow && state_next(a, oa.len, &pos, &in));
	CHECK_EQ(ioapic_load(n, &in), 0);
	ioapic_save(n, &ob);
	CHECK(oa.len == ob.len && !memcmp(a, b, oa.len));
	ioapic_free(io);
	return n;
}

TEST(random_accesses_and_state)
{
	struct ioapic *io = fresh();

	for (int i = 0; i < 100000; i++) {
		switch (rnd(4)) {
		case 0: wr(io, (uint8_t)rnd(0x44), rnd(2) ? rnd(0x20000) : rnd(~0u)); break;
		case 1: ioapic_mmio_read(io, rnd(0x1000)); break;
		case 2: ioapic_set_line(io, rnd(30), rnd(2)); break;
		case 3: ioapic_eoi(io, (uint8_t)rnd(256)); break;
		}
		if (!rnd(100))
			io = through_state(io);
	}
	ioapic_free(io);
}

TEST(hostile_records)
{
	struct ioapic *io = fresh();

	for (int i = 0; i < 20000; i++) {
		uint8_t raw[220];
		struct state_in in = { raw, rnd(8) ? sizeof(raw) : rnd(sizeof(raw)), 1, 0, STATE_IOAPIC, false };

		for (unsigned k = 0; k < sizeof(raw); k++)
			raw[k] = (uint8_t)(rnd(16) ? 0 : rnd(256));
		ioapic_load(io, &in);
		ioapic_set_line(io, rnd(24), rnd(2));
		ioapic_eoi(io, (uint8_t)rnd(256));
	}
	ioapic_free(io);
}
