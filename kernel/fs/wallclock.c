/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time of day: the machine's battery clock, read once at start, plus the time since. MC146818 registers by ports 0x70 and 0x71;
 * register A bit 7 says that an update is under way, register B bits 1 and 2 say 24 hours and binary.
 */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "fs/vfs.h"

static uint64_t wall_base_ns; /* at clock_ns() == 0 */

uint64_t wall_clock_ns(void) { return READ_ONCE(wall_base_ns) + clock_ns(); }
void wall_clock_set(uint64_t ns) { WRITE_ONCE(wall_base_ns, ns - clock_ns()); }

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

struct rtc_time { uint8_t second, minute, hour, day, month, year; };

static struct rtc_time rtc_read(void)
{
	struct rtc_time t = { cmos(0), cmos(2), cmos(4), cmos(7), cmos(8), cmos(9) };

	return t;
}

static unsigned decode(uint8_t v, bool binary) { return binary ? v : (v >> 4) * 10u + (v & 15); }

static uint64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
	/* Years that begin in March put the leap day last (the usual civil-calendar arithmetic). */
	unsigned y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;

	return 365ull * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static void wall_clock_init(void)
{
	struct rtc_time t, again = rtc_read();
	uint8_t b = cmos(11);
	bool binary = b & BIT(2);
	unsigned hour;

	for (int tries = 0; tries < 1000; tries++) {
		t = again;
		if (cmos(10) & BIT(7))
			continue;
		again = rtc_read();
		if (!memcmp(&t, &again, sizeof(t)))
			break;
	}
	hour = decode(again.hour & 0x7f, binary);
	if (!(b & BIT(1)))
		hour = hour % 12 + (again.hour & 0x80 ? 12 : 0);
	if (decode(again.month, binary) < 1 || decode(again.month, binary) > 12)
		return;
	wall_clock_set(NSEC_PER_SEC * (days_since_1970(2000 + decode(again.year, binary), decode(again.month, binary), decode(again.day, binary)) *
					       86400 + hour * 3600 + decode(again.minute, binary) * 60 + decode(again.second, binary)));
}
INIT_CALL(INIT_DEV, wall_clock_init);
