/* SPDX-License-Identifier: Apache-2.0 */
/* The PIT by guest time: every mode's output and count, latches, Linux' and SeaBIOS' calibrations through port 61, channel 0's edges, state. */
#include "arch/host/arch_host.h"
#include "hv/dev/dev.h"
#include "test/unit.h"

static unsigned rises;
static bool line;
static int64_t offset;
static uint64_t guest_now(void *ctx) { return host_clock_ns + (uint64_t)offset; }
static uint64_t to_host(void *ctx, uint64_t ns) { return (int64_t)(ns - (uint64_t)offset) > (int64_t)host_clock_ns ? ns - (uint64_t)offset : host_clock_ns; }
static void on_irq0(void *ctx, bool level)
{
	CHECK(level != line);
	line = level;
	rises += level;
}
static const struct pit_host host = { NULL, on_irq0, guest_now, to_host };

static struct pit *fresh(void)
{
	struct pit *p;

	line = false;
	offset = 0;
	p = pit_create(&host);
	rises = 0;
	return p;
}
static void program(struct pit *p, unsigned ch, unsigned mode, uint16_t count)
{
	pit_port_write(p, 0x43, (uint8_t)(ch << 6 | 0x30 | mode << 1));
	pit_port_write(p, (uint16_t)(0x40 + ch), count & 0xff);
	pit_port_write(p, (uint16_t)(0x40 + ch), (uint8_t)(count >> 8));
}
static uint16_t latched(struct pit *p, unsigned ch)
{
	uint8_t lo;

	pit_port_write(p, 0x43, (uint8_t)(ch << 6));
	lo = pit_port_read(p, (uint16_t)(0x40 + ch));
	return (uint16_t)(lo | pit_port_read(p, (uint16_t)(0x40 + ch)) << 8);
}
static uint8_t status(struct pit *p, unsigned ch)
{
	pit_port_write(p, 0x43, (uint8_t)(0xe0 | 2 << ch));
	return pit_port_read(p, (uint16_t)(0x40 + ch));
}
/* To the first ns of that many ticks from the tick grid's present. */
static void run_ticks(uint64_t n)
{
	uint64_t t = host_clock_ns / NSEC_PER_SEC * 1193182 + host_clock_ns % NSEC_PER_SEC * 1193182 / NSEC_PER_SEC + n;

	host_run_until(t / 1193182 * NSEC_PER_SEC + (t % 1193182 * NSEC_PER_SEC + 1193181) / 1193182);
}

TEST(mode_0_once)
{
	struct pit *p = fresh();

	program(p, 0, 0, 1000);
	CHECK(!line);
	CHECK_EQ(status(p, 0), 0x30);
	run_ticks(400);
	CHECK_EQ(latched(p, 0), 600);
	run_ticks(599);
	CHECK(!line && latched(p, 0) == 1);
	run_ticks(1);
	CHECK(line && rises == 1);
	CHECK_EQ(status(p, 0), 0xb0);
	run_ticks(1);
	CHECK_EQ(latched(p, 0), 0xffff);
	run_ticks(1000000);
	CHECK_EQ(rises, 1);
	pit_port_write(p, 0x40, 10); /* first byte stops it */
	CHECK(!line && (status(p, 0) & 0x40));
	run_ticks(100);
	CHECK(!line);
	pit_port_write(p, 0x40, 0);
	run_ticks(10);
	CHECK(line);
	pit_free(p);
}

TEST(mode_2_periodic)
{
	struct pit *p = fresh();

	program(p, 0, 2, 11932);
	CHECK(line && rises == 0);
	run_ticks(11932);
	CHECK_EQ(rises, 1);
	run_ticks(5966);
	CHECK_EQ(latched(p, 0), 5966);
	run_ticks(11932 * 9);
	CHECK_EQ(rises, 10);
	run_ticks(5966 - 1);
	CHECK_EQ(latched(p, 0), 1);
	CHECK_EQ(status(p, 0), 0x34); /* low for one tick */
	run_ticks(1);
	CHECK_EQ(latched(p, 0), 11932);
	pit_port_write(p, 0x40, 0xe8); /* 1000, once this period is over */
	pit_port_write(p, 0x40, 0x03);
	CHECK(status(p, 0) & 0x40);
	rises = 0;
	run_ticks(11931);
	CHECK_EQ(rises, 0);
	run_ticks(1);
	CHECK_EQ(rises, 1);
	CHECK(!(status(p, 0) & 0x40));
	run_ticks(3000);
	CHECK_EQ(rises, 4);
	pit_free(p);
}

TEST(mode_3_square)
{
	struct pit *p = fresh();

	program(p, 0, 3, 0); /* 65536: BIOS' 18.2 Hz */
	run_ticks(16384);
	CHECK_EQ(latched(p, 0), 32768);
	CHECK_EQ(status(p, 0), 0xb6);
	run_ticks(16384);
	CHECK_EQ(status(p, 0), 0x36);
	CHECK_EQ(latched(p, 0), 0);
	host_run_until(host_clock_ns + 10 * NSEC_PER_SEC);
	CHECK(rises >= 182 && rises <= 183);
	pit_free(p);
}

TEST(modes_1_4_5)
{
	struct pit *p = fresh();

	program(p, 0, 4, 100);
	CHECK(line);
	run_ticks(101);
	CHECK_EQ(rises, 1);
	run_ticks(100000);
	CHECK_EQ(rises, 1);
	program(p, 2, 1, 100); /* waits for its gate */
	run_ticks(1000);
	CHECK(pit_port_read(p, 0x61) & 0x20);
	pit_port_write(p, 0x61, 1);
	CHECK(!(pit_port_read(p, 0x61) & 0x20));
	run_ticks(99);
	CHECK(!(pit_port_read(p, 0x61) & 0x20));
	pit_port_write(p, 0x61, 0);
	pit_port_write(p, 0x61, 1); /* again from the start */
	run_ticks(99);
	CHECK(!(pit_port_read(p, 0x61) & 0x20));
	run_ticks(1);
	CHECK(pit_port_read(p, 0x61) & 0x20);
	pit_port_write(p, 0x61, 0);
	program(p, 2, 5, 50);
	pit_port_write(p, 0x61, 1);
	run_ticks(50);
	CHECK(!(pit_port_read(p, 0x61) & 0x20));
	run_ticks(1);
	CHECK(pit_port_read(p, 0x61) & 0x20);
	program(p, 1, 5, 50); /* its gate never rises */
	CHECK_EQ(latched(p, 1), 50);
	pit_free(p);
}

TEST(gate_holds_and_bcd)
{
	struct pit *p = fresh();

	pit_port_write(p, 0x61, 1);
	program(p, 2, 0, 1000);
	run_ticks(300);
	pit_port_write(p, 0x61, 0);
	run_ticks(5000);
	CHECK_EQ(latched(p, 2), 700);
	pit_port_write(p, 0x61, 1);
	run_ticks(100);
	CHECK_EQ(latched(p, 2), 600);
	program(p, 2, 2, 1000);
	pit_port_write(p, 0x61, 0);
	run_ticks(1500);
	pit_port_write(p, 0x61, 1); /* reloads */
	CHECK_EQ(latched(p, 2), 1000);
	pit_port_write(p, 0x43, 0xb1); /* mode 0, BCD */
	pit_port_write(p, 0x42, 0x00);
	pit_port_write(p, 0x42, 0x10);
	run_ticks(1);
	CHECK_EQ(latched(p, 2), 0x0999);
	pit_port_write(p, 0x43, 0x90); /* LSB only */
	pit_port_write(p, 0x42, 200);
	run_ticks(50);
	CHECK_EQ(pit_port_read(p, 0x42), 150);
	CHECK_EQ(pit_port_read(p, 0x42), 150);
	pit_port_write(p, 0x43, 0xa0); /* MSB only */
	pit_port_write(p, 0x42, 2);
	run_ticks(1);
	CHECK_EQ(pit_port_read(p, 0x42), 1);
	pit_free(p);
}

TEST(latches)
{
	struct pit *p = fresh();
	uint8_t lo, hi;

	program(p, 0, 2, 5000);
	run_ticks(1000);
	pit_port_write(p, 0x43, 0xc2); /* read-back: count and status of 0 */
	run_ticks(500);
	pit_port_write(p, 0x43, 0); /* a second latch changes nothing */
	CHECK_EQ(pit_port_read(p, 0x40), 0xb4);
	lo = pit_port_read(p, 0x40), hi = pit_port_read(p, 0x40);
	CHECK_EQ(lo | hi << 8, 4000);
	lo = pit_port_read(p, 0x40), hi = pit_port_read(p, 0x40);
	CHECK_EQ(lo | hi << 8, 3500);
	CHECK_EQ(pit_port_read(p, 0x43), 0);
	pit_free(p);
}

/* Linux' pit_calibrate_tsc(): 50 ms of channel 2 in mode 0, watched through port 61. */
TEST(calibration_linux)
{
	struct pit *p = fresh();
	uint64_t start;

	pit_port_write(p, 0x61, (uint8_t)((pit_port_read(p, 0x61) & ~2) | 1));
	pit_port_write(p, 0x43, 0xb0);
	pit_port_write(p, 0x42, 59659 & 0xff);
	pit_port_write(p, 0x42, 59659 >> 8);
	start = host_clock_ns;
	while (!(pit_port_read(p, 0x61) & 0x20))
		host_run_until(host_clock_ns + 1000);
	CHECK(host_clock_ns - start > 49990000 && host_clock_ns - start < 50010000);
	pit_free(p);
}

/* quick_pit_calibrate(): reads the counter without latching and wants the high byte to fall one by one. */
TEST(calibration_quick)
{
	struct pit *p = fresh();

	pit_port_write(p, 0x61, 1);
	pit_port_write(p, 0x43, 0xb0);
	pit_port_write(p, 0x42, 0xff), pit_port_write(p, 0x42, 0xff);
	pit_port_read(p, 0x42), pit_port_read(p, 0x42);
	for (int want = 0xff, seen = 0; want > 0xf0;) {
		int msb;

		host_run_until(host_clock_ns + 1000);
		pit_port_read(p, 0x42);
		msb = pit_port_read(p, 0x42);
		CHECK(msb == want || (msb == want - 1 && seen > 200));
		seen = msb == want ? seen + 1 : 0;
		want = msb;
	}
	pit_free(p);
}

TEST(refresh_bit_moves)
{
	struct pit *p = fresh();
	unsigned changes = 0, last = 0;

	for (int i = 0; i < 1000; i++) {
		unsigned now = pit_port_read(p, 0x61) & 0x10;

		changes += now != last;
		last = now;
		host_run_until(host_clock_ns + 1000);
	}
	CHECK(changes >= 65 && changes <= 67);
	pit_free(p);
}

TEST(no_flood)
{
	struct pit *p = fresh();

	program(p, 0, 2, 2); /* 600 kHz */
	host_run_until(host_clock_ns + 100000000);
	CHECK(rises <= 2001);
	program(p, 0, 2, 11932);
	pit_freeze(p);
	rises = 0;
	host_run_until(host_clock_ns + 10 * NSEC_PER_SEC);
	CHECK_EQ(rises, 0);
	pit_thaw(p);
	host_run_until(host_clock_ns);
	CHECK_EQ(rises, 1); /* a thousand periods become one edge */
	run_ticks(11932 * 3);
	CHECK_EQ(rises, 4);
	pit_free(p);
}

TEST(pm_timer)
{
	CHECK_EQ(pmtimer_read(0), 0);
	CHECK_EQ(pmtimer_read(NSEC_PER_SEC), 3579545);
	CHECK_EQ(pmtimer_read(NSEC_PER_SEC * 1200), (uint32_t)(3579545ull * 1200));
	CHECK_EQ(pmtimer_read(NSEC_PER_SEC * 3600 * 24 * 365 * 100), (uint32_t)(3579545ull * 3600 * 24 * 365 * 100));
}

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, (uint32_t)(seed >> 16) % n; }

static struct pit *through_state(struct pit *p)
{
	uint8_t a[512], b[512];
	struct state_out oa = { .buf = a, .cap = sizeof(a) }, ob = { .buf = b, .cap = sizeof(b) };
	struct state_in in;
	size_t pos = 0;
	bool kept = line;
	uint64_t gap = rnd(1000000);

	pit_freeze(p);
	pit_save(p, &oa);
	pit_free(p);
	host_run_until(host_clock_ns + gap);
	offset -= (int64_t)gap;
	line = false;
	p = pit_create(&host);
	pit_freeze(p);
	line = kept;
	CHECK(!oa.overflow && state_next(a, oa.len, &pos, &in));
	CHECK_EQ(pit_load(p, &in), 0);
	pit_save(p, &ob);
	CHECK(oa.len == ob.len && !memcmp(a, b, oa.len));
	pit_thaw(p);
	return p;
}

TEST(state_keeps_the_beat)
{
	struct pit *p = fresh();
	uint64_t start;

	program(p, 0, 2, 1193);
	start = guest_now(NULL);
	rises = 0;
	for (int i = 0; i < 500; i++) {
		host_run_until(host_clock_ns + rnd(3000000));
		p = through_state(p);
	}
	/* creating the new one raises its line once each time */
	CHECK_EQ(rises - 500, (guest_now(NULL) - start) / 999848);
	pit_free(p);
}

TEST(random_accesses_and_state)
{
	struct pit *p = fresh();

	for (int i = 0; i < 100000; i++) {
		uint16_t port = (uint16_t)(rnd(5) ? 0x40 + rnd(4) : 0x61);

		if (rnd(3))
			pit_port_write(p, port, (uint8_t)(rnd(2) ? rnd(256) : rnd(4)));
		else
			pit_port_read(p, port);
		host_run_until(host_clock_ns + rnd(20000));
		if (!rnd(100))
			p = through_state(p);
	}
	pit_free(p);
}

TEST(hostile_records)
{
	struct pit *p = fresh();
	unsigned taken = 0;

	for (int i = 0; i < 20000; i++) {
		uint8_t raw[256];
		struct state_out o = { .buf = raw, .cap = sizeof(raw) };
		struct state_in in;
		size_t pos = 0;

		pit_save(p, &o);
		for (unsigned k = rnd(4); k; k--)
			raw[16 + rnd(154)] = (uint8_t)rnd(256);
		CHECK(state_next(raw, o.len, &pos, &in));
		if (!rnd(20))
			in.left = rnd(150);
		if (pit_load(p, &in) == 0)
			taken++, line = raw[16 + 153];
		rises = 0;
		host_run_until(host_clock_ns + 1000000);
		CHECK(rises < 25);
		pit_port_read(p, (uint16_t)(0x40 + rnd(3)));
	}
	CHECK(taken > 1000 && taken < 20000);
	pit_free(p);
}
