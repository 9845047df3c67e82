/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, sleeping, interval timers. */
#include "sys/syscall.h"

enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_PROCESS_CPU = 2, CLOCK_THREAD_CPU = 3, CLOCK_MONOTONIC_RAW = 4, CLOCK_REALTIME_COARSE = 5,
       CLOCK_MONOTONIC_COARSE = 6, CLOCK_BOOTTIME = 7 };
#define TIMER_ABSTIME 1
#define CLOCK_TICK_NS 10000000 /* 100 per second, as AT_CLKTCK says */

int user_timespec(uint64_t ptr, uint64_t *ns)
{
	struct linux_timespec ts;

	if (arch_user_read(&ts, uva(ptr), sizeof(ts)))
		return -EFAULT;
	if (ts.sec < 0 || ts.nsec < 0 || ts.nsec >= (int64_t)NSEC_PER_SEC)
		return -EINVAL;
	*ns = ts.sec > (int64_t)(UINT64_MAX / 2 / NSEC_PER_SEC) ? UINT64_MAX / 2 : (uint64_t)ts.sec * NSEC_PER_SEC + (uint64_t)ts.nsec;
	return 0;
}

int user_put_timespec(uint64_t ptr, uint64_t ns)
{
	struct linux_timespec ts = { (int64_t)(ns / NSEC_PER_SEC), (int64_t)(ns % NSEC_PER_SEC) };

	return arch_user_write(uva(ptr), &ts, sizeof(ts));
}

static uint64_t world_run_ns(const struct world *w)
{
	uint64_t total = w->run_total_ns;

	if (w == current)
		total += clock_ns() - w->run_since_ns;
	return total;
}

static uint64_t proc_run_ns(struct proc *p)
{
	uint64_t total;

	spin_lock(&proc_lock);
	total = p->dead_threads_ns;
	list_for_each(l, &p->threads)
		total += world_run_ns(list_entry(l, struct thread, link)->world);
	spin_unlock(&proc_lock);
	return total;
}

static int clock_read(struct thread *t, uint64_t id, uint64_t *ns)
{
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		*ns = wall_clock_ns();
		return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*ns = clock_ns();
		return 0;
	case CLOCK_PROCESS_CPU:
		*ns = proc_run_ns(t->proc);
		return 0;
	case CLOCK_THREAD_CPU:
		*ns = world_run_ns(t->world);
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(clock_gettime)
{
	uint64_t ns;
	int r = clock_read(t, a0, &ns);

	return r ? r : user_put_timespec(a1, ns);
}

SYSCALL(clock_getres) { return a0 > CLOCK_BOOTTIME ? -EINVAL : a1 ? user_put_timespec(a1, 1) : 0; }

SYSCALL(gettimeofday)
{
	uint64_t us = wall_clock_ns() / 1000;
	struct linux_timeval tv = { (int64_t)(us / 1000000), (int64_t)(us % 1000000) };

	return a0 ? arch_user_write(uva(a0), &tv, sizeof(tv)) : 0;
}

SYSCALL(time)
{
	int64_t now = (int64_t)(wall_clock_ns() / NSEC_PER_SEC);

	if (a0 && arch_user_write(uva(a0), &now, sizeof(now)))
		return -EFAULT;
	return now;
}

/* ---- sleeping ---- */

/* 0 at the deadline, -EINTR before. */
static int sleep_until(uint64_t deadline)
{
	for (;;) {
		int r = 1;

		world_prepare_block();
		if (current->kill || current->signalled)
			r = -EINTR;
		else if (sched_block_until(deadline))
			r = 0;
		world_cancel_block();
		if (r <= 0)
			return r;
	}
}

static int64_t do_sleep(uint64_t deadline, uint64_t remaining_at)
{
	int r = sleep_until(deadline);

	if (r && remaining_at) {
		uint64_t now = clock_ns();

		if (user_put_timespec(remaining_at, deadline > now ? deadline - now : 0))
			return -EFAULT;
	}
	return r;
}

SYSCALL(nanosleep)
{
	uint64_t ns;
	int r = user_timespec(a0, &ns);

	return r ? r : do_sleep(deadline_after(ns), a1);
}

SYSCALL(clock_nanosleep)
{
	uint64_t ns, now;
	int r = user_timespec(a2, &ns);

	if (r)
		return r;
	if (a0 == CLOCK_PROCESS_CPU || a0 == CLOCK_THREAD_CPU || clock_read(t, a0, &now))
		return -EINVAL;
	if (!(a1 & TIMER_ABSTIME))
		return do_sleep(deadline_after(ns), a3);
	return ns <= now ? 0 : do_sleep(deadline_after(ns - now), 0);
}

SYSCALL(pause) { return sleep_until(UINT64_MAX); }

/* ---- interval timers: only ITIMER_REAL ---- */

struct linux_itimerval { struct linux_timeval interval, value; };

static struct linux_timeval timeval_of(uint64_t ns) { return (struct linux_timeval){ (int64_t)(ns / NSEC_PER_SEC), (int64_t)(ns % NSEC_PER_SEC / 1000) }; }

static int ns_of(struct linux_timeval tv, uint64_t *ns)
{
	if (tv.sec < 0 || tv.usec < 0 || tv.usec > 999999 || tv.sec > INT32_MAX)
		return -EINVAL;
	*ns = (uint64_t)tv.sec * NSEC_PER_SEC + (uint64_t)tv.usec * 1000;
	return 0;
}

SYSCALL(setitimer)
{
	struct linux_itimerval v = { 0 }, old;
	uint64_t value, interval, old_interval, left;

	if (a0 != 0)
		return -EINVAL;
	if (a1 && arch_user_read(&v, uva(a1), sizeof(v)))
		return -EFAULT;
	if (ns_of(v.value, &value) || ns_of(v.interval, &interval))
		return -EINVAL;
	left = alarm_set(t->proc, value, interval, &old_interval);
	old = (struct linux_itimerval){ timeval_of(old_interval), timeval_of(left) };
	return a2 ? arch_user_write(uva(a2), &old, sizeof(old)) : 0;
}

SYSCALL(getitimer)
{
	uint64_t now = clock_ns(), at = READ_ONCE(t->proc->alarm_ns);
	struct linux_itimerval v = { timeval_of(t->proc->alarm_interval_ns), timeval_of(at > now ? at - now : 0) };

	return a0 ? -EINVAL : arch_user_write(uva(a1), &v, sizeof(v));
}

SYSCALL(alarm)
{
	uint64_t old_interval, left = alarm_set(t->proc, (uint32_t)a0 * NSEC_PER_SEC, 0, &old_interval);

	return (int64_t)((left + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

/* ---- processor time ---- */

SYSCALL(times)
{
	struct { int64_t user, system, child_user, child_system; } tms = {
		.user = (int64_t)(proc_run_ns(t->proc) / CLOCK_TICK_NS), .child_user = (int64_t)(t->proc->children_ns / CLOCK_TICK_NS),
	};

	if (a0 && arch_user_write(uva(a0), &tms, sizeof(tms)))
		return -EFAULT;
	return (int64_t)(clock_ns() / CLOCK_TICK_NS);
}

struct linux_rusage { struct linux_timeval user, system; int64_t maxrss, rest[13]; };

SYSCALL(getrusage)
{
	int who = (int)a0;
	uint64_t ns = who == -1 ? t->proc->children_ns : who == 1 ? world_run_ns(t->world) : proc_run_ns(t->proc);
	struct linux_rusage ru = { .user = timeval_of(ns), .maxrss = (int64_t)(aspace_bytes(t->proc->as) / 1024) };

	return who < -1 || who > 1 ? -EINVAL : arch_user_write(uva(a1), &ru, sizeof(ru));
}
