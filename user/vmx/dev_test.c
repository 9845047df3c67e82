/* SPDX-License-Identifier: Apache-2.0 */
#include "user/lib/fuzz.h"
#include "test/unit.h"
#include "user/vmx/chipset.h"
#include "user/vmx/rtc.h"
#include "user/vmx/uart.h"

/* The world outside: lines, output, a clock that tests move. */
static bool line[24];
static int resets, offs, exit_status;
static char sent[4096];
static size_t nr_sent;
static uint64_t date, armed;

static void set_irq(void *ctx, unsigned gsi, bool level) { line[gsi] = level; }
static void power_off(void *ctx) { offs++; }
static void reset(void *ctx) { resets++; }
static void debug_exit(void *ctx, int status) { exit_status = status; }
static const struct dev_host host = { set_irq, power_off, reset, debug_exit, NULL };
static void send(void *ctx, const uint8_t *buf, size_t n)
{
	for (size_t i = 0; i < n && nr_sent < sizeof(sent); i++)
		sent[nr_sent++] = (char)buf[i];
}
static uint64_t now(void *ctx) { return date; }
static void arm(void *ctx, uint64_t after) { armed = after; }

static void new_uart(struct uart *u)
{
	uart_init(u, 0x3f8, 4, &host);
	u->send = send;
	nr_sent = 0;
	line[4] = false;
}
#define RD(reg) uart_in(&u, 0x3f8 + (reg), 1)
#define WR(reg, v) uart_out(&u, 0x3f8 + (reg), 1, (v))

TEST(uart_output)
{
	struct uart u;

	new_uart(&u);
	CHECK_EQ(RD(5), 0x60);
	WR(0, 'h');
	CHECK_EQ(nr_sent, 0);
	WR(0, '\n');
	CHECK_EQ(nr_sent, 2);
	for (int i = 0; i < UART_OUT; i++)
		WR(0, 'x');
	CHECK_EQ(nr_sent, 2 + UART_OUT);
	WR(0, '>');
	uart_flush(&u);
	CHECK_EQ(sent[2 + UART_OUT], '>');
	WR(3, 0x80); /* DLAB: a divisor is no output */
	WR(0, 1);
	CHECK_EQ(RD(0), 1);
	uart_flush(&u);
	CHECK_EQ(nr_sent, 3 + UART_OUT);
}

TEST(uart_interrupts)
{
	struct uart u;

	new_uart(&u);
	CHECK_EQ(RD(2), 1);
	WR(2, 7);
	CHECK_EQ(RD(2), 0xc1);
	WR(1, 2); /* transmitter empty */
	CHECK(line[4]);
	CHECK_EQ(RD(2), 0xc2);
	CHECK(!line[4]);
	WR(0, 'a');
	CHECK(line[4]);
	WR(1, 1);
	CHECK(!line[4]);
	CHECK_EQ(uart_receive(&u, (const uint8_t *)"0123456789abcdefXYZ", 19), 16);
	CHECK(line[4]);
	CHECK_EQ(RD(5), 0x61);
	CHECK_EQ(RD(2), 0xc4);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(RD(0), "0123456789abcdef"[i]);
	CHECK(!line[4]);
	CHECK_EQ(RD(5), 0x60);
}

TEST(uart_loopback_as_linux_probes_it)
{
	struct uart u;

	new_uart(&u);
	WR(4, 0x1a);
	CHECK_EQ(RD(6) & 0xf0, 0x90);
	WR(0, 'q');
	CHECK_EQ(RD(0), 'q');
	CHECK_EQ(nr_sent, 0);
	WR(4, 0);
	CHECK_EQ(RD(6) & 0xf0, 0xb0);
	WR(7, 0xa5);
	CHECK_EQ(RD(7), 0xa5);
}

TEST(uart_state)
{
	static uint8_t buf[512];
	struct uart u;
	struct state_out o = { .buf = buf, .cap = sizeof(buf) };
	struct state_in in;
	size_t pos = 0;

	new_uart(&u);
	WR(2, 1);
	WR(1, 1);
	WR(0, 'p');
	uart_receive(&u, (const uint8_t *)"abc", 3);
	RD(0);
	uart_save(&u, &o);
	CHECK(!o.overflow);
	new_uart(&u);
	CHECK(state_next(buf, o.len, &pos, &in) && in.tag == UART_TAG);
	CHECK(uart_load(&u, &in));
	CHECK(line[4]);
	CHECK_EQ(RD(0), 'b');
	CHECK_EQ(RD(0), 'c');
	CHECK_EQ(RD(5), 0x60);
	uart_flush(&u);
	CHECK_EQ(sent[0], 'p');
}

/* ---- clock ---- */

static void new_rtc(struct rtc *r)
{
	rtc_init(r, &host, 512u << 20, 0);
	r->now = now;
	r->arm = arm;
	date = 1577836800ull * 1000000000; /* 2020-01-01, a Wednesday */
	armed = 0;
	line[8] = false;
	rtc_reset(r);
	r->last = date;
}
static uint8_t cmos(struct rtc *r, unsigned reg)
{
	rtc_out(r, 0x70, 1, reg);
	return (uint8_t)rtc_in(r, 0x71, 1);
}
static void set_cmos(struct rtc *r, unsigned reg, unsigned v)
{
	rtc_out(r, 0x70, 1, reg);
	rtc_out(r, 0x71, 1, v);
}

TEST(rtc_date)
{
	struct rtc r;

	new_rtc(&r);
	date += 45296ull * 1000000000; /* 12:34:56 */
	CHECK_EQ(cmos(&r, 0), 0x56);
	CHECK_EQ(cmos(&r, 2), 0x34);
	CHECK_EQ(cmos(&r, 4), 0x12);
	CHECK_EQ(cmos(&r, 6), 4);
	CHECK_EQ(cmos(&r, 7), 1);
	CHECK_EQ(cmos(&r, 8), 1);
	CHECK_EQ(cmos(&r, 9), 0x20);
	CHECK_EQ(cmos(&r, 0x32), 0x20);
	set_cmos(&r, 0x0b, 0x82);
	set_cmos(&r, 4, 0x23);
	set_cmos(&r, 9, 0x31);
	set_cmos(&r, 0x0b, 0x02);
	date += 60ull * 1000000000;
	CHECK_EQ(cmos(&r, 2), 0x35);
	CHECK_EQ(cmos(&r, 4), 0x23);
	CHECK_EQ(cmos(&r, 9), 0x31);
	set_cmos(&r, 0x0b, 0); /* 12 hours */
	CHECK_EQ(cmos(&r, 4), 0x91);
	CHECK_EQ(cmos(&r, 0x0d), 0x80);
	CHECK_EQ(cmos(&r, 0x0a) & 0x80, 0);
	date += 999900000ull;
	CHECK_EQ(cmos(&r, 0x0a) & 0x80, 0x80);
}

TEST(rtc_interrupts)
{
	struct rtc r;

	new_rtc(&r);
	set_cmos(&r, 0x0b, 0x42); /* periodic, 1024 Hz */
	CHECK(armed > 0 && armed <= 976562);
	date += armed + 1;
	rtc_expired(&r);
	CHECK(line[8]);
	CHECK_EQ(armed, 0);
	CHECK_EQ(cmos(&r, 0x0c) & 0xc0, 0xc0);
	CHECK(!line[8]);
	set_cmos(&r, 0x0b, 0x22); /* alarm at 00:01:05 */
	set_cmos(&r, 1, 5);
	set_cmos(&r, 3, 1);
	set_cmos(&r, 5, 0);
	CHECK(armed > 64ull * 1000000000 && armed <= 65ull * 1000000000);
	date += armed;
	rtc_expired(&r);
	CHECK(line[8]);
	CHECK_EQ(cmos(&r, 0x0c) & 0xa0, 0xa0);
	set_cmos(&r, 0x0b, 0x12); /* each second */
	CHECK(armed > 0 && armed <= 1000000000);
}

TEST(rtc_state)
{
	static uint8_t buf[512];
	struct rtc r;
	struct state_out o = { .buf = buf, .cap = sizeof(buf) };
	struct state_in in;
	size_t pos = 0;

	new_rtc(&r);
	set_cmos(&r, 0x40, 0x77);
	set_cmos(&r, 4, 5);
	set_cmos(&r, 0x0b, 0x42);
	rtc_save(&r, &o);
	rtc_forget(&r);
	CHECK(state_next(buf, o.len, &pos, &in) && in.tag == RTC_TAG && rtc_load(&r, &in));
	CHECK_EQ(cmos(&r, 0x40), 0x77);
	CHECK_EQ(cmos(&r, 4), 5);
	CHECK(armed);
	CHECK_EQ(cmos(&r, 0x34), (512 - 16) * 16 & 0xff);
}

/* ---- board ---- */

static uint32_t io(const struct bus *b, uint16_t port, unsigned size, bool in, uint32_t v)
{
	static struct vmm_run run;

	run.io.port = port;
	run.io.size = (uint8_t)size;
	run.io.in = in;
	run.io.count = 1;
	memcpy(run.io.data, &v, 4);
	bus_io(b, &run);
	memcpy(&v, run.io.data, 4);
	return size == 4 ? v : v & ((1u << 8 * size) - 1);
}
#define IN(port, size) io(&b, port, size, true, 0)
#define OUT(port, size, v) io(&b, port, size, false, v)

TEST(chipset)
{
	static struct bus b;
	struct chipset c;

	bus_init(&b);
	chipset_init(&c, &host);
	CHECK(chipset_claim(&c, &b, true));
	resets = offs = 0;
	OUT(0xcf8, 4, 0x80000000);
	CHECK_EQ(IN(0xcf8, 4), 0x80000000);
	CHECK_EQ(IN(0xcfc, 4), 0x12378086);
	CHECK_EQ(IN(0xcfe, 2), 0x1237);
	OUT(0xcf8, 4, 0x80000b40); /* 00:01.3, PMBASE */
	CHECK_EQ(IN(0xcfc, 4), PM_BASE | 1);
	OUT(0xcfc, 4, 0);
	CHECK_EQ(IN(0xcfc, 4), PM_BASE | 1);
	OUT(0xcf8, 4, 0x80000810);
	OUT(0xcfc, 4, ~0u);
	CHECK_EQ(IN(0xcfc, 4), 0); /* no BARs */
	OUT(0xcf8, 4, 0x80001000);
	CHECK_EQ(IN(0xcfc, 4), 0xffffffff);
	OUT(0xb2, 1, ACPI_ENABLE);
	CHECK_EQ(IN(PM_BASE + 4, 2), 1);
	OUT(PM_BASE + 2, 2, 0x100);
	line[9] = false;
	chipset_power_button(&c);
	CHECK(line[9]);
	CHECK_EQ(IN(PM_BASE, 2), 0x100);
	OUT(PM_BASE, 2, 0x100);
	CHECK(!line[9]);
	OUT(PM_BASE + 4, 2, 0x2400); /* S1: not offered */
	CHECK_EQ(offs, 0);
	OUT(PM_BASE + 4, 2, 0x2000);
	CHECK_EQ(offs, 1);
	OUT(0xcf9, 1, 2);
	CHECK_EQ(resets, 0);
	OUT(0xcf9, 1, 6);
	OUT(0x92, 1, 3);
	CHECK_EQ(IN(0x64, 1) & 2, 0);
	OUT(0x64, 1, 0xfe);
	OUT(0x64, 1, 0xd1);
	OUT(0x60, 1, 0xfe);
	CHECK_EQ(resets, 4);
	OUT(0xf4, 4, 3);
	CHECK_EQ(exit_status, 7);
	OUT(0xf4, 2, 0x100);
	CHECK_EQ(exit_status, 1);
	CHECK_EQ(IN(0x1234, 2), 0xffff);
}

TEST(chipset_state)
{
	static uint8_t buf[2048];
	struct chipset c;
	static struct bus b;
	struct state_out o = { .buf = buf, .cap = sizeof(buf) };
	struct state_in in;
	size_t pos = 0;

	bus_init(&b);
	chipset_init(&c, &host);
	chipset_claim(&c, &b, false);
	CHECK_EQ(IN(0xf4, 1), 0xff);
	OUT(0xcf8, 4, 0x80000060);
	OUT(0xcfc, 1, 0x33);
	OUT(0xb2, 1, ACPI_ENABLE);
	OUT(PM_BASE + 2, 2, 0x100);
	chipset_power_button(&c);
	chipset_save(&c, &o);
	chipset_reset(&c);
	line[9] = false;
	CHECK_EQ(IN(0xcf8, 4), 0);
	CHECK(state_next(buf, o.len, &pos, &in) && chipset_load(&c, &in));
	CHECK(line[9]);
	CHECK_EQ(IN(0xcfc, 1), 0x33);
	CHECK_EQ(IN(0xcf8, 4), 0x80000060);
}

/* First half: what a guest does to the ports; second half: state records from outside. */
static void fuzz_one(const uint8_t *data, size_t n)
{
	static struct bus b;
	struct uart u;
	struct rtc r;
	struct chipset c;
	size_t half = n / 2, pos = 0;
	struct state_in in;

	new_uart(&u);
	new_rtc(&r);
	bus_init(&b);
	chipset_init(&c, &host);
	chipset_claim(&c, &b, true);
	bus_claim(&b, &(struct bus_claim){ uart_in, uart_out, &u, 0x3f8, 8, 1 });
	bus_claim(&b, &(struct bus_claim){ rtc_in, rtc_out, &r, 0x70, 2, 1 });
	for (size_t i = 0; i + 8 <= half; i += 8) {
		uint32_t v;

		memcpy(&v, data + i + 4, 4);
		io(&b, (uint16_t)(data[i] | data[i + 1] << 8), 1u << data[i + 2] % 3, data[i + 3] & 1, v);
		uart_receive(&u, data + i, 1);
		date += v;
		rtc_expired(&r);
	}
	while (state_next(data + half, n - half, &pos, &in)) {
		if (in.tag == UART_TAG)
			uart_load(&u, &in);
		else if (in.tag == RTC_TAG)
			rtc_load(&r, &in);
		else
			chipset_load(&c, &in);
		rtc_expired(&r);
		for (uint16_t p = 0x3f8; p < 0x400; p++)
			io(&b, p, 1, true, 0);
		for (unsigned reg = 0; reg < 128; reg++)
			cmos(&r, reg);
	}
}
FUZZ_TARGET(fuzz_one)

TEST(mutations)
{
	static const uint16_t ports[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x70, 0x71, 0xcf8, 0xcfc, 0x600, 0x602, 0x604, 0xb2, 0x92, 0x64, 0x60, 0xf4 };
	static uint8_t seed[4096];
	struct state_out o = { .buf = seed + 2048, .cap = 2048 };
	struct uart u;
	struct rtc r;
	struct chipset c;

	for (unsigned i = 0; i < 2048; i += 8) {
		uint64_t v = fuzz_random();

		memcpy(seed + i, &v, 8);
		memcpy(seed + i, &ports[v % 17], 2);
	}
	new_uart(&u);
	new_rtc(&r);
	chipset_init(&c, &host);
	uart_save(&u, &o);
	rtc_save(&r, &o);
	chipset_save(&c, &o);
	CHECK(!o.overflow);
	fuzz_loop(fuzz_one, seed, 4096, 4096, 2000);
}
