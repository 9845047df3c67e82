/* SPDX-License-Identifier: Apache-2.0 */
/* MC146818 clock: see rtc.h. Registers: Motorola MC146818A data sheet; Intel 82371AB (PIIX4), section 8.2.5. */
#include "user/vmx/rtc.h"

#include <string.h>
#include <time.h>

#define SECOND 1000000000ll
#define DAY 86400
#define UPDATE_NS 244000ll     /* UIP stands this long before a second ends */
#define VERSION 1

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, MONTHDAY, MONTH, YEAR, A, B, C, D, CENTURY = 0x32 };
enum { A_UIP = 0x80, B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 4, B_24H = 2, C_IRQ = 0x80, D_VALID = 0x80 };

void rtc_init(struct rtc *r, const struct dev_host *host, uint64_t low, uint64_t high)
{
	uint64_t ext = low > 0x100000 ? (low - 0x100000) >> 10 : 0, above16 = low > (16u << 20) ? (low - (16u << 20)) >> 16 : 0;
	const uint16_t ext16 = (uint16_t)(ext > 0xfc00 ? 0xfc00 : ext), a16 = (uint16_t)(above16 > 0xffff ? 0xffff : above16);
	const uint32_t high64k = (uint32_t)(high >> 16);

	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	r->host = host;
	r->a = 0x26;
	r->b = B_24H;
	/* Memory sizes where PC firmware and older kernels look: KiB below 640, KiB above 1 MiB, 64 KiB above 16 MiB and above 4 GiB. */
	memcpy(r->cmos + 0x15, &(uint16_t){ 640 }, 2);
	memcpy(r->cmos + 0x17, &ext16, 2);
	memcpy(r->cmos + 0x30, &ext16, 2);
	memcpy(r->cmos + 0x34, &a16, 2);
	memcpy(r->cmos + 0x5b, &high64k, 3);
}

/* ---- the date and its registers ---- */

static int64_t guest_now(const struct rtc *r)
{
	return r->b & B_SET ? r->frozen : (int64_t)r->now(r->ctx) + r->offset;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

static uint8_t encode(const struct rtc *r, unsigned v) { return (uint8_t)(r->b & B_BINARY ? v : (v / 10 << 4) + v % 10); }
static unsigned decode(const struct rtc *r, uint8_t v) { return r->b & B_BINARY ? v : (v >> 4) * 10u + (v & 15u); }

static uint8_t encode_hour(const struct rtc *r, unsigned h)
{
	if (r->b & B_24H)
		return encode(r, h);
	return (uint8_t)(encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0));
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->b & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static bool is_date(unsigned reg) { return reg == CENTURY || (reg <= YEAR && reg != SECONDS_ALARM && reg != MINUTES_ALARM && reg != HOURS_ALARM); }

/* Writes the date into the register file, where the guest reads and changes it. */
static void date_to_registers(struct rtc *r, int64_t ns)
{
	time_t t = (time_t)floor_div(ns, SECOND);
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		memset(&tm, 0, sizeof(tm));
	r->cmos[SECONDS] = encode(r, (unsigned)tm.tm_sec);
	r->cmos[MINUTES] = encode(r, (unsigned)tm.tm_min);
	r->cmos[HOURS] = encode_hour(r, (unsigned)tm.tm_hour);
	r->cmos[WEEKDAY] = encode(r, (unsigned)tm.tm_wday + 1);
	r->cmos[MONTHDAY] = encode(r, (unsigned)tm.tm_mday);
	r->cmos[MONTH] = encode(r, (unsigned)tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, (unsigned)(tm.tm_year + 1900) % 100);
	r->cmos[CENTURY] = encode(r, (unsigned)(tm.tm_year + 1900) / 100 % 100);
}

static int64_t registers_to_date(const struct rtc *r)
{
	struct tm tm = {
		.tm_sec = (int)decode(r, r->cmos[SECONDS]), .tm_min = (int)decode(r, r->cmos[MINUTES]), .tm_hour = (int)decode_hour(r, r->cmos[HOURS]),
		.tm_mday = (int)decode(r, r->cmos[MONTHDAY]), .tm_mon = (int)decode(r, r->cmos[MONTH]) - 1,
		.tm_year = (int)(decode(r, r->cmos[CENTURY]) % 100 * 100 + decode(r, r->cmos[YEAR]) % 100) - 1900,
	};

	return (int64_t)timegm(&tm) % (SECOND * 8) * SECOND; /* far from where nanoseconds overflow, whatever the registers hold */
}

/* ---- interrupts ---- */

static int64_t period_ns(const struct rtc *r)
{
	unsigned rs = r->a & 15;

	if (!rs)
		return 0;
	if (rs < 3)
		rs += 7;
	return SECOND * (1ll << (rs - 1)) / 32768;
}

static bool alarm_field(unsigned want, uint8_t raw, unsigned is) { return (raw & 0xc0) == 0xc0 || want == is; }

/* Seconds from second-of-day `from` to the next alarm, at least 1; DAY + 1 when it never comes. */
static int64_t alarm_distance(const struct rtc *r, int64_t from)
{
	unsigned s = decode(r, r->alarm[0]), m = decode(r, r->alarm[1]), h = decode_hour(r, r->alarm[2]);
	int64_t t = from + 1;

	while (t <= from + DAY) {
		int64_t d = t % DAY;

		if (!alarm_field(h, r->alarm[2], (unsigned)(d / 3600)))
			t += 3600 - d % 3600;
		else if (!alarm_field(m, r->alarm[1], (unsigned)(d / 60 % 60)))
			t += 60 - d % 60;
		else if (!alarm_field(s, r->alarm[0], (unsigned)(d % 60)))
			t++;
		else
			return t - from;
	}
	return DAY + 1;
}

/* Flags for everything that happened since the last look. */
static void catch_up(struct rtc *r)
{
	int64_t now = guest_now(r), last = (int64_t)r->last, period = period_ns(r), s0 = floor_div(last, SECOND), s1 = floor_div(now, SECOND);

	r->last = (uint64_t)now;
	if ((r->b & B_SET) || now <= last)
		return;
	if (period && floor_div(now, period) > floor_div(last, period))
		r->c |= B_PIE;
	if (s1 <= s0)
		return;
	r->c |= B_UIE;
	if (s1 - s0 >= alarm_distance(r, floor_mod(s0, DAY)))
		r->c |= B_AIE;
}

/* The line follows the flags; the timer stands at the next flag that would raise it. */
static void update(struct rtc *r)
{
	uint8_t enabled = r->b & (B_PIE | B_AIE | B_UIE);
	bool level = r->c & enabled;
	int64_t now, wait = 0, period = period_ns(r), second;

	r->c = (uint8_t)((r->c & ~C_IRQ) | (level ? C_IRQ : 0));
	if (level != r->irq_level) {
		r->irq_level = level;
		r->host->set_irq(r->host->ctx, 8, level);
	}
	if (!enabled || level || (r->b & B_SET)) {
		r->arm(r->ctx, 0);
		return;
	}
	now = guest_now(r);
	second = SECOND - floor_mod(now, SECOND);
	if ((enabled & B_AIE) && alarm_distance(r, floor_mod(floor_div(now, SECOND), DAY)) <= DAY)
		wait = second + (alarm_distance(r, floor_mod(floor_div(now, SECOND), DAY)) - 1) * SECOND;
	if ((enabled & B_UIE) && (!wait || second < wait))
		wait = second;
	if ((enabled & B_PIE) && period && (!wait || period - floor_mod(now, period) < wait))
		wait = period - floor_mod(now, period);
	r->arm(r->ctx, (uint64_t)wait);
}

void rtc_expired(void *rtc)
{
	struct rtc *r = rtc;

	pthread_mutex_lock(&r->lock);
	catch_up(r);
	update(r);
	pthread_mutex_unlock(&r->lock);
}

/* ---- registers ---- */

static uint8_t read_register(struct rtc *r, unsigned reg)
{
	uint8_t v;

	switch (reg) {
	case SECONDS_ALARM: case MINUTES_ALARM: case HOURS_ALARM:
		return r->alarm[reg / 2];
	case A:
		return r->a | (!(r->b & B_SET) && floor_mod(guest_now(r), SECOND) >= SECOND - UPDATE_NS ? A_UIP : 0);
	case B:
		return r->b;
	case C:
		catch_up(r);
		update(r);
		v = r->c;
		r->c = 0;
		update(r);
		return v;
	case D:
		return D_VALID;
	default:
		if (is_date(reg) && !(r->b & B_SET))
			date_to_registers(r, guest_now(r));
		return r->cmos[reg];
	}
}

static void set_date(struct rtc *r, int64_t ns)
{
	r->offset = ns - (int64_t)r->now(r->ctx);
	r->last = (uint64_t)ns;
}

static void write_b(struct rtc *r, uint8_t v)
{
	bool set = r->b & B_SET;

	catch_up(r);
	if ((v & B_SET) && !set) {
		r->frozen = guest_now(r);
		date_to_registers(r, r->frozen);
	}
	r->b = v & 0xf7; /* no square wave */
	if (v & B_SET)
		r->b &= (uint8_t)~B_UIE;
	if (set && !(v & B_SET))
		set_date(r, registers_to_date(r));
}

static void write_register(struct rtc *r, unsigned reg, uint8_t v)
{
	switch (reg) {
	case SECONDS_ALARM: case MINUTES_ALARM: case HOURS_ALARM:
		catch_up(r);
		r->alarm[reg / 2] = v;
		break;
	case A:
		catch_up(r);
		r->a = v & 0x7f;
		break;
	case B:
		write_b(r, v);
		break;
	case C: case D:
		break;
	default:
		if (!is_date(reg)) {
			r->cmos[reg] = v;
		} else if (r->b & B_SET) {
			r->cmos[reg] = v;
		} else {
			date_to_registers(r, guest_now(r));
			r->cmos[reg] = v;
			set_date(r, registers_to_date(r));
		}
	}
	update(r);
}

uint32_t rtc_in(void *rtc, uint16_t port, unsigned size)
{
	struct rtc *r = rtc;
	uint32_t v = 0xff;

	pthread_mutex_lock(&r->lock);
	if (port & 1)
		v = read_register(r, r->index);
	pthread_mutex_unlock(&r->lock);
	return v;
}

void rtc_out(void *rtc, uint16_t port, unsigned size, uint32_t value)
{
	struct rtc *r = rtc;

	pthread_mutex_lock(&r->lock);
	if (port & 1)
		write_register(r, r->index, (uint8_t)value);
	else
		r->index = value & 0x7f; /* bit 7 masks NMI: nothing here raises one */
	pthread_mutex_unlock(&r->lock);
}

void rtc_reset(struct rtc *r)
{
	pthread_mutex_lock(&r->lock);
	r->index = r->c = 0;
	r->b &= (uint8_t)~(B_PIE | B_AIE | B_UIE);
	update(r);
	pthread_mutex_unlock(&r->lock);
}

void rtc_forget(struct rtc *r)
{
	rtc_reset(r);
	pthread_mutex_lock(&r->lock);
	r->a = r->b = 0;
	r->offset = r->frozen = 0;
	r->last = 0;
	memset(r->alarm, 0, sizeof(r->alarm));
	memset(r->cmos, 0, sizeof(r->cmos));
	pthread_mutex_unlock(&r->lock);
}

void rtc_save(struct rtc *r, struct state_out *o)
{
	pthread_mutex_lock(&r->lock);
	state_begin(o, RTC_TAG, VERSION, 0);
	state_put_u64(o, (uint64_t)r->offset);
	state_put_u64(o, (uint64_t)r->frozen);
	state_put_u64(o, r->last);
	state_put(o, (const uint8_t[]){ r->index, r->a, r->b, r->c }, 4);
	state_put(o, r->alarm, sizeof(r->alarm));
	state_put(o, r->cmos, sizeof(r->cmos));
	state_end(o);
	pthread_mutex_unlock(&r->lock);
}

/* No date is so far off that adding to it could overflow. */
static bool sane(uint64_t ns) { return (int64_t)ns < INT64_MAX / 4 && (int64_t)ns > INT64_MIN / 4; }

bool rtc_load(struct rtc *r, struct state_in *in)
{
	uint64_t offset = state_get_u64(in), frozen = state_get_u64(in), last = state_get_u64(in);
	uint8_t regs[4], alarm[3], cmos[128];

	state_get(in, regs, sizeof(regs));
	state_get(in, alarm, sizeof(alarm));
	state_get(in, cmos, sizeof(cmos));
	if (in->bad || in->version > VERSION || !sane(offset) || !sane(frozen) || !sane(last))
		return false;
	pthread_mutex_lock(&r->lock);
	r->offset = (int64_t)offset;
	r->frozen = (int64_t)frozen;
	r->last = last;
	r->index = regs[0] & 0x7f;
	r->a = regs[1] & 0x7f;
	r->b = regs[2] & 0xf7;
	r->c = regs[3] & 0xf0;
	memcpy(r->alarm, alarm, sizeof(alarm));
	memcpy(r->cmos, cmos, sizeof(cmos));
	r->irq_level = r->c & r->b & (B_PIE | B_AIE | B_UIE);
	r->host->set_irq(r->host->ctx, 8, r->irq_level);
	update(r);
	pthread_mutex_unlock(&r->lock);
	return true;
}
