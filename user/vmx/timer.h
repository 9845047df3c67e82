/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread for the few timers of ring 3's devices. Deadlines are CLOCK_MONOTONIC nanoseconds; a timer fires once.
 * The function runs in the timer thread without the timers' lock, so it may arm timers and take its device's lock.
 */
#ifndef USER_VMX_TIMER_H
#define USER_VMX_TIMER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum timer_id { TIMER_CONSOLE, TIMER_RTC, TIMERS };
struct timers {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t deadline[TIMERS];              /* 0: off. lock */
	uint64_t next;                          /* what the thread waits for; 0: for ever. lock */
	void (*fn[TIMERS])(void *ctx);          /* set before the thread starts */
	void *ctx[TIMERS];
};
void timers_init(struct timers *t);
void timers_set(struct timers *t, enum timer_id id, void (*fn)(void *ctx), void *ctx);
void timer_arm(struct timers *t, enum timer_id id, uint64_t deadline); /* 0: off */
void *timers_thread(void *timers);
uint64_t clock_ns(void);

#endif
