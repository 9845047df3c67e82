/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host's unit tests cannot show: real switches, interrupts and several CPUs. Debug builds
 * run it when the command line has mica.selftest, log "selftest NAME: ok" for each part, power off at the
 * end, and panic at the first thing that is wrong.
 * mica.selftest=panic and =fault show what a panic prints.
 */
#include "sched/sched_priv.h"

#ifdef CONFIG_DEBUG
#define MS 1000000ull

static void expect(bool ok, const char *what)
{
	if (!ok)
		panic("selftest: %s", what);
}

static struct waitq done_wait;
static uint32_t running_helpers; /* atomic */

static void helper_done(void)
{
	__atomic_fetch_sub(&running_helpers, 1, __ATOMIC_SEQ_CST);
	waitq_wake_all(&done_wait);
}

static struct world *helper_start(const char *name, void (*fn)(void *), void *arg, struct sched_group *g, uint64_t affinity)
{
	struct world *w = world_create(name, WORLD_KERNEL, fn, arg);

	expect(w != NULL, "memory for a world");
	if (g)
		world_set_group(w, g);
	world_set_affinity(w, affinity);
	__atomic_fetch_add(&running_helpers, 1, __ATOMIC_SEQ_CST);
	world_start(w);
	return w;
}

static void helpers_wait(void)
{
	waitq_wait(&done_wait, __atomic_load_n(&running_helpers, __ATOMIC_SEQ_CST) == 0, false, UINT64_MAX);
}

/* ---- sleeping: never early, and not late by more than a little ---- */
static void test_sleep(void)
{
	for (unsigned i = 0; i < 5; i++) {
		uint64_t before = clock_ns();

		sched_sleep_ns(2 * MS);
		expect(clock_ns() >= before + 2 * MS, "sleep ended early");
	}
	expect(sched_block_until(clock_ns() + MS), "deadline not reported");
}

/* ---- shares: two busy worlds on one CPU ---- */
static uint64_t burn_until;
static uint64_t burnt[2];

static void burn(void *arg)
{
	while (clock_ns() < burn_until)
		;
	burnt[(uintptr_t)arg] = current->run_total_ns;
	helper_done();
}

static void test_shares(void)
{
	struct sched_group light = { .shares = 1000 }, heavy = { .shares = 2000 };

	burn_until = clock_ns() + 400 * MS;
	helper_start("light", burn, (void *)0, &light, BIT(0));
	helper_start("heavy", burn, (void *)1, &heavy, BIT(0));
	helpers_wait();
	log_info("selftest shares: %lu us to %lu us", burnt[0] / 1000, burnt[1] / 1000);
	expect(burnt[1] * 100 > burnt[0] * 185 && burnt[1] * 100 < burnt[0] * 215, "shares 1 to 2 are not kept");
	expect(!light.active && !heavy.active, "groups count runnable worlds wrongly");
}

/* ---- balance: four busy worlds on each of two CPUs; one side's leave, and the others spread ---- */
static uint32_t spread_on[2]; /* worlds that ended on each CPU */

static void spread(void *arg)
{
	(void)arg;
	while (clock_ns() < burn_until)
		sched_preempt();
	__atomic_fetch_add(&spread_on[current->cpu & 1], 1, __ATOMIC_RELAXED);
	helper_done();
}

static void blocker(void *arg)
{
	while (clock_ns() < burn_until - 600 * MS)
		;
	if (!arg) /* one stays, so that the CPU is never idle and cannot steal */
		while (clock_ns() < burn_until)
			;
	helper_done();
}

static void test_balance(void)
{
	if (cpu_count < 2)
		return;
	burn_until = clock_ns() + 700 * MS;
	for (uintptr_t i = 0; i < 4; i++)
		helper_start("blocker", blocker, (void *)i, NULL, BIT(1));
	for (uintptr_t i = 0; i < 4; i++)
		helper_start("spread", spread, (void *)i, NULL, BIT(0) | BIT(1));
	helpers_wait();
	log_info("selftest balance: %u and %u", spread_on[0], spread_on[1]);
	expect(spread_on[1] >= 1 && spread_on[0] >= 1, "busy worlds stay crowded on one CPU");
}

/* ---- a mutex under contention on all CPUs ---- */
#define HAMMERS 8
#define ROUNDS 2000
static struct mutex hammer_mutex;
static uint64_t hammered;

static void hammer(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t seen;

		mutex_lock(&hammer_mutex);
		seen = hammered;
		if (i % 16 == (uintptr_t)arg)
			sched_yield();
		hammered = seen + 1;
		mutex_unlock(&hammer_mutex);
	}
	helper_done();
}

static void test_mutex(void)
{
	mutex_init(&hammer_mutex, "selftest");
	hammered = 0;
	for (uintptr_t i = 0; i < HAMMERS; i++)
		helper_start("hammer", hammer, (void *)i, NULL, ~0ull);
	helpers_wait();
	expect(hammered == HAMMERS * ROUNDS, "a mutex let two in");
}

/* ---- wake-ups: two worlds throw a ball, on one CPU and across ---- */
#define THROWS 3000
static struct waitq ball_wait;
static uint32_t ball;

static void thrower(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	for (unsigned i = 0; i < THROWS; i++) {
		waitq_wait(&ball_wait, __atomic_load_n(&ball, __ATOMIC_SEQ_CST) == me, false, UINT64_MAX);
		__atomic_store_n(&ball, !me, __ATOMIC_SEQ_CST);
		waitq_wake_all(&ball_wait);
	}
	helper_done();
}

static void test_wake(uint64_t cpu_a, uint64_t cpu_b)
{
	uint64_t before = arch_rdtsc();

	waitq_init(&ball_wait);
	ball = 0;
	helper_start("thrower", thrower, (void *)0, NULL, cpu_a);
	helper_start("thrower", thrower, (void *)1, NULL, cpu_b);
	helpers_wait();
	log_info("selftest wake: %lu ticks a throw", (arch_rdtsc() - before) / (2 * THROWS));
}

/* ---- worlds that come, migrate and go, with timers ---- */
static void mayfly(void *arg)
{
	uint64_t n = (uintptr_t)arg;

	sched_sleep_ns((n % 7) * 100000);
	world_set_affinity(current, n % 3 ? ~0ull : BIT(n % cpu_count));
	sched_yield();
	if (n % 2)
		sched_block_until(clock_ns() + 50000);
	helper_done();
}

static void test_churn(void)
{
	for (unsigned i = 0; i < 200; i++) {
		helper_start("mayfly", mayfly, (void *)(uintptr_t)i, NULL, ~0ull);
		if (i % 20 == 19)
			helpers_wait();
	}
	helpers_wait();
}

/* ---- calls between CPUs, all calling all ---- */
static uint32_t called;
static void count_call(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&called, 1, __ATOMIC_SEQ_CST);
}

static void caller(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 300; i++)
		smp_call_all(count_call, NULL);
	helper_done();
}

static void test_calls(void)
{
	called = 0;
	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		helper_start("caller", caller, NULL, NULL, BIT(cpu));
	helpers_wait();
	expect(called == 300 * cpu_count * cpu_count, "a call between CPUs was lost or doubled");
}

static void part(const char *name, void (*fn)(void))
{
	fn();
	log_info("selftest %s: ok", name);
}

static void wake_here(void) { test_wake(BIT(0), BIT(0)); }
static void wake_across(void) { test_wake(BIT(0), BIT(cpu_count - 1)); }

static void selftest(void *arg)
{
	char what[8];

	(void)arg;
	if (cmdline_get("mica.selftest", what, sizeof(what)) && !strcmp(what, "panic"))
		panic("selftest: a panic on purpose");
	if (!strcmp(what, "fault"))
		memset((void *)(uintptr_t)(boot_info.boot_tsc ? PAGE_SIZE : 0), 0, 64); /* not mapped */
	waitq_init(&done_wait);
	part("sleep", test_sleep);
	part("wake", wake_here);
	part("wake across", wake_across);
	part("mutex", test_mutex);
	part("churn", test_churn);
	part("calls", test_calls);
	part("shares", test_shares);
	part("balance", test_balance);
	log_info("selftest: all ok");
	arch_power_off();
}

static void selftest_start(void)
{
	struct world *w;

	if (!cmdline_get("mica.selftest", NULL, 0))
		return;
	w = world_create("selftest", WORLD_KERNEL, selftest, NULL);
	expect(w != NULL, "memory for a world");
	world_start(w);
}
INIT_CALL(INIT_DEV, selftest_start);
#endif
