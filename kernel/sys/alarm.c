/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ITIMER_REAL and alarm(2). One helper world, started when first needed, sleeps until the earliest of all processes' times and
 * sends the signals from there, since proc_lock is not for interrupt handlers.
 */
#include "sys/proc.h"

static struct waitq alarm_wait;
static uint64_t alarm_next_ns = UINT64_MAX; /* P */
static bool alarm_changed;                  /* P */
static struct mutex alarm_lock;             /* for the world's start */
static bool alarm_started;

/* Sends what is due and returns the next time. */
static uint64_t alarm_scan(void)
{
	uint64_t now = clock_ns(), next = UINT64_MAX;
	struct signal_info info = { .code = SI_KERNEL };

	spin_lock(&proc_lock);
	list_for_each(l, &proc_all) {
		struct proc *p = list_entry(l, struct proc, all_link);

		if (!p->alarm_ns)
			continue;
		if (p->alarm_ns <= now) {
			signal_send_locked(p, NULL, SIGALRM, &info);
			p->alarm_ns = p->alarm_interval_ns ? now + p->alarm_interval_ns : 0;
		}
		if (p->alarm_ns)
			next = MIN(next, p->alarm_ns);
	}
	alarm_next_ns = next;
	alarm_changed = false;
	spin_unlock(&proc_lock);
	return next;
}

static void alarm_main(void *arg)
{
	for (;;) {
		uint64_t next = alarm_scan();

		waitq_wait(&alarm_wait, READ_ONCE(alarm_changed), false, next);
	}
}

static void alarm_start(void)
{
	struct world *w;

	mutex_lock(&alarm_lock);
	if (!alarm_started) {
		w = world_create("alarm", WORLD_KERNEL, alarm_main, NULL);
		if (w) {
			WRITE_ONCE(alarm_started, true);
			world_start(w);
		}
	}
	mutex_unlock(&alarm_lock);
}

static void alarm_init(void)
{
	mutex_init(&alarm_lock, "alarm");
	waitq_init(&alarm_wait);
}
INIT_CALL(INIT_SYS, alarm_init);

uint64_t alarm_set(struct proc *p, uint64_t ns, uint64_t interval_ns, uint64_t *old_interval)
{
	uint64_t now = clock_ns(), left;
	bool wake;

	if (ns && !READ_ONCE(alarm_started))
		alarm_start();
	if (!READ_ONCE(alarm_started)) /* no memory for it: no alarm */
		ns = 0;
	spin_lock(&proc_lock);
	left = !p->alarm_ns ? 0 : p->alarm_ns > now ? p->alarm_ns - now : 1;
	*old_interval = p->alarm_interval_ns;
	p->alarm_ns = ns ? deadline_after(ns) : 0;
	p->alarm_interval_ns = interval_ns;
	wake = p->alarm_ns && p->alarm_ns < alarm_next_ns;
	alarm_changed |= wake;
	spin_unlock(&proc_lock);
	if (wake)
		waitq_wake_all(&alarm_wait);
	return left;
}
