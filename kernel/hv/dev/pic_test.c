/* SPDX-License-Identifier: Apache-2.0 */
/* The PIC pair as drivers use it: set-up, masks, EOI in all forms, rotation, cascade, polling, levels, spurious, state. */
#include "hv/dev/dev.h"
#include "test/unit.h"

static bool intr;
static unsigned intr_changes;
static void on_intr(void *ctx, bool level) { intr = level, intr_changes++; }
static const struct pic_host host = { NULL, on_intr };

static void init_pair(struct pic *p, uint8_t icw4)
{
	pic_port_write(p, 0x20, 0x11), pic_port_write(p, 0x21, 0x30), pic_port_write(p, 0x21, 4), pic_port_write(p, 0x21, icw4);
	pic_port_write(p, 0xa0, 0x11), pic_port_write(p, 0xa1, 0x38), pic_port_write(p, 0xa1, 2), pic_port_write(p, 0xa1, icw4);
	pic_port_write(p, 0x21, 0), pic_port_write(p, 0xa1, 0);
}
static struct pic *fresh(uint8_t icw4)
{
	struct pic *p;

	intr = false;
	p = pic_create(&host);
	init_pair(p, icw4);
	return p;
}
static void pulse(struct pic *p, unsigned irq) { pic_set_line(p, irq, true), pic_set_line(p, irq, false); }

TEST(probe_as_linux_does)
{
	struct pic *p = pic_create(&host);

	pic_port_write(p, 0xa1, 0xff);
	pic_port_write(p, 0x21, 0xfb);
	CHECK_EQ(pic_port_read(p, 0x21), 0xfb);
	CHECK(!pic_output(p));
	pic_free(p);
}

TEST(edge_taken_once)
{
	struct pic *p = fresh(1);

	pic_set_line(p, 1, true);
	CHECK(intr && pic_output(p));
	CHECK_EQ(pic_ack(p), 0x31);
	CHECK(!intr);
	pic_port_write(p, 0x20, 0x20); /* still high: no new edge */
	CHECK(!intr);
	pic_set_line(p, 1, false);
	pic_set_line(p, 1, true);
	CHECK(intr);
	pic_free(p);
}

TEST(priority_nests)
{
	struct pic *p = fresh(1);

	pulse(p, 4);
	CHECK_EQ(pic_ack(p), 0x34);
	pulse(p, 5);
	CHECK(!intr);
	pulse(p, 1);
	CHECK(intr);
	CHECK_EQ(pic_ack(p), 0x31);
	pic_port_write(p, 0x20, 0x20); /* ends 1 */
	CHECK(!intr);
	pic_port_write(p, 0x20, 0x64); /* specific: ends 4 */
	CHECK(intr);
	CHECK_EQ(pic_ack(p), 0x35);
	pic_free(p);
}

TEST(cascade)
{
	struct pic *p = fresh(1);

	pulse(p, 12);
	pulse(p, 3);
	CHECK_EQ(pic_ack(p), 0x3c); /* input 2 ranks above 3 */
	pic_port_write(p, 0x20, 0x0b);
	pic_port_write(p, 0xa0, 0x0b);
	CHECK_EQ(pic_port_read(p, 0x20), 4);
	CHECK_EQ(pic_port_read(p, 0xa0), 0x10);
	pic_port_write(p, 0xa0, 0x20);
	CHECK(!intr);
	pic_port_write(p, 0x20, 0x20);
	CHECK_EQ(pic_ack(p), 0x33);
	pic_free(p);
}

TEST(spurious_7_and_masks)
{
	struct pic *p = fresh(1);

	pic_port_write(p, 0x4d0, 0xff); /* ELCR keeps 0 to 2 edges */
	CHECK_EQ(pic_port_read(p, 0x4d0), 0xf8);
	pic_port_write(p, 0x4d1, 0xff);
	CHECK_EQ(pic_port_read(p, 0x4d1), 0xde);
	pic_set_line(p, 5, true);
	CHECK(intr);
	pic_set_line(p, 5, false); /* a level that went away */
	CHECK(!intr);
	CHECK_EQ(pic_ack(p), 0x37);
	pic_port_write(p, 0x20, 0x0b);
	CHECK_EQ(pic_port_read(p, 0x20), 0); /* does not stand in ISR */
	pic_set_line(p, 5, true);
	pic_port_write(p, 0x21, 0x20);
	CHECK(!intr);
	pic_port_write(p, 0x21, 0);
	CHECK_EQ(pic_ack(p), 0x35);
	CHECK(!intr);
	pic_port_write(p, 0x20, 0x20); /* level still up: again */
	CHECK(intr);
	pic_free(p);
}

TEST(auto_eoi_and_rotation)
{
	struct pic *p = fresh(3);

	pulse(p, 6);
	CHECK_EQ(pic_ack(p), 0x36);
	pulse(p, 7);
	CHECK_EQ(pic_ack(p), 0x37); /* nothing in service */
	pic_free(p);

	p = fresh(1);
	pulse(p, 0);
	CHECK_EQ(pic_ack(p), 0x30);
	pic_port_write(p, 0x20, 0xa0); /* rotate on EOI: 0 is last now */
	pulse(p, 0);
	pulse(p, 7);
	CHECK_EQ(pic_ack(p), 0x37);
	pic_port_write(p, 0x20, 0x20);
	pic_port_write(p, 0x20, 0xc7); /* set priority: 7 last, 0 first again */
	CHECK_EQ(pic_ack(p), 0x30);
	pic_free(p);

	p = fresh(3);
	pic_port_write(p, 0x20, 0x80); /* rotate in AEOI */
	pulse(p, 1);
	CHECK_EQ(pic_ack(p), 0x31);
	pulse(p, 1);
	pulse(p, 3);
	CHECK_EQ(pic_ack(p), 0x33);
	pic_free(p);
}

TEST(special_mask_lets_lower_through)
{
	struct pic *p = fresh(1);

	pulse(p, 3);
	CHECK_EQ(pic_ack(p), 0x33);
	pulse(p, 5);
	CHECK(!intr);
	pic_port_write(p, 0x21, 0x08);
	pic_port_write(p, 0x20, 0x68);
	CHECK(intr);
	CHECK_EQ(pic_ack(p), 0x35);
	pic_free(p);
}

TEST(polled)
{
	struct pic *p = fresh(1);

	pulse(p, 3);
	pic_port_write(p, 0x20, 0x0c);
	CHECK_EQ(pic_port_read(p, 0x20), 0x83);
	pic_port_write(p, 0x20, 0x20);
	pic_port_write(p, 0x20, 0x0c);
	CHECK_EQ(pic_port_read(p, 0x21), 0);
	CHECK_EQ(pic_port_read(p, 0x21), 0); /* the mask again */
	pic_free(p);
}

TEST(icw1_forgets_edges)
{
	struct pic *p = fresh(1);

	pic_set_line(p, 0, true);
	init_pair(p, 1);
	CHECK(!intr);
	pic_set_line(p, 0, false);
	pic_set_line(p, 0, true);
	CHECK_EQ(pic_ack(p), 0x30);
	pic_free(p);
}

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, (uint32_t)(seed >> 16) % n; }

static struct pic *through_state(struct pic *p)
{
	uint8_t a[256], b[256];
	struct state_out oa = { .buf = a, .cap = sizeof(a) }, ob = { .buf = b, .cap = sizeof(b) };
	struct pic *q = pic_create(&host);
	struct state_in in;
	size_t pos = 0;

	pic_save(p, &oa);
	CHECK(!oa.overflow && state_next(a, oa.len, &pos, &in) && in.tag == STATE_PIC);
	CHECK_EQ(pic_load(q, &in), 0);
	CHECK_EQ(pic_output(p), pic_output(q));
	pic_save(q, &ob);
	CHECK(oa.len == ob.len && !memcmp(a, b, oa.len));
	pic_free(p);
	return q;
}

TEST(random_accesses_and_state)
{
	static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	struct pic *p = fresh(1);

	for (int i = 0; i < 100000; i++) {
		switch (rnd(5)) {
		case 0: pic_port_write(p, ports[rnd(6)], (uint8_t)rnd(256)); break;
		case 1: pic_port_read(p, ports[rnd(6)]); break;
		case 2: pic_set_line(p, rnd(18), rnd(2)); break;
		case 3: CHECK(pic_ack(p) < 256); break;
		case 4: CHECK_EQ(pic_output(p), intr); break;
		}
		if (!rnd(100))
			p = through_state(p);
	}
	pic_free(p);
}

TEST(hostile_records)
{
	struct pic *p = fresh(1);

	for (int i = 0; i < 20000; i++) {
		uint8_t raw[40];
		struct state_in in = { raw, rnd(sizeof(raw) + 1), 1, 0, STATE_PIC, false };

		for (unsigned k = 0; k < sizeof(raw); k++)
			raw[k] = (uint8_t)(rnd(3) ? rnd(2) : rnd(256));
		pic_load(p, &in);
		pic_set_line(p, rnd(16), rnd(2));
		pic_ack(p);
	}
	pic_free(p);
}
