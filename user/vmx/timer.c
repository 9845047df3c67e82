/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of ring 3's devices: see timer.h. */
#include "user/vmx/timer.h"

#include <time.h>

#define SECOND 1000000000ull

uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

void timers_init(struct timers *t)
{
	pthread_condattr_t attr;

	*t = (struct timers){ .next = 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attr);
	pthread_condattr_destroy(&attr);
}

void timers_set(struct timers *t, enum timer_id id, void (*fn)(void *ctx), void *ctx)
{
	t->fn[id] = fn;
	t->ctx[id] = ctx;
}

void timer_arm(struct timers *t, enum timer_id id, uint64_t deadline)
{
	pthread_mutex_lock(&t->lock);
	t->deadline[id] = deadline;
	if (deadline && (!t->next || deadline < t->next))
		pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static uint64_t earliest(const struct timers *t)
{
	uint64_t next = 0;

	for (unsigned i = 0; i < TIMERS; i++)
		if (t->deadline[i] && (!next || t->deadline[i] < next))
			next = t->deadline[i];
	return next;
}

/* Runs what is due. The lock is dropped around each function. */
static void fire(struct timers *t, uint64_t now)
{
	for (unsigned i = 0; i < TIMERS; i++) {
		if (!t->deadline[i] || t->deadline[i] > now)
			continue;
		t->deadline[i] = 0;
		pthread_mutex_unlock(&t->lock);
		t->fn[i](t->ctx[i]);
		pthread_mutex_lock(&t->lock);
	}
}

void *timers_thread(void *timers)
{
	struct timers *t = timers;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		t->next = earliest(t);
		if (!t->next) {
			pthread_cond_wait(&t->changed, &t->lock);
		} else if (t->next > clock_ns()) {
			struct timespec ts = { (time_t)(t->next / SECOND), (long)(t->next % SECOND) };

			pthread_cond_timedwait(&t->changed, &t->lock, &ts);
		}
		fire(t, clock_ns());
	}
	return NULL;
}
