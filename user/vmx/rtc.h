/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock and CMOS memory at ports 0x70/0x71. The guest's date is the host's (CLOCK_REALTIME) plus `offset`,
 * which changes when the guest sets its clock. Periodic, alarm and update interrupts drive IRQ 8 through one timer.
 *
 * Lock: rtc->lock. set_irq and arm are called under it. Times are nanoseconds since 1970 on the guest's own clock, so that saved state names no host deadline.
 */
#ifndef USER_VMX_RTC_H
#define USER_VMX_RTC_H

#include "user/vmx/bus.h"

#include <pthread.h>

struct rtc {
	pthread_mutex_t lock;
	const struct dev_host *host;
	uint64_t (*now)(void *ctx);               /* host's date, ns since 1970 */
	void (*arm)(void *ctx, uint64_t after_ns);/* call rtc_expired then; 0: never */
	void *ctx;
	int64_t offset;
	uint8_t index, a, b, c;
	uint8_t alarm[3];                         /* seconds, minutes, hours as written */
	uint8_t cmos[128];                        /* 0x0e .. 0x7f, and date registers while SET is on */
	int64_t frozen;                           /* guest's date while SET (B bit 7) is on */
	uint64_t last;                            /* guest time up to which interrupts were given */
	bool irq_level;
};
void rtc_init(struct rtc *r, const struct dev_host *host, uint64_t low, uint64_t high);
void rtc_reset(struct rtc *r); /* the battery keeps date and CMOS memory */
void rtc_forget(struct rtc *r); /* as if the battery had failed: torture's way to show that load brings everything */
uint32_t rtc_in(void *rtc, uint16_t port, unsigned size);
void rtc_out(void *rtc, uint16_t port, unsigned size, uint32_t value);
void rtc_expired(void *rtc);
void rtc_save(struct rtc *r, struct state_out *o);
bool rtc_load(struct rtc *r, struct state_in *in);
#define RTC_TAG STATE_TAG('R', 'T', 'C', '0')

#endif
