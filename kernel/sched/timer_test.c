/* SPDX-License-Identifier: Apache-2.0 */
/* The timer heap against a model: random arming, cancelling and time steps; every timer fires once, in order, never early. */
#include "sched/sched_priv.h"
#include "test/unit.h"

#define N 200

static uint64_t programmed = UINT64_MAX;
static struct timer timers[N];
static uint64_t model[N]; /* 0: idle */
static unsigned fired, wrong;
static uint64_t last_fired;

void arch_timer_set(uint64_t ns) { programmed = ns; }

static void fire(struct timer *t)
{
	unsigned i = (unsigned)(t - timers);

	if (!model[i] || model[i] > host_clock_ns || model[i] < last_fired)
		wrong++;
	last_fired = model[i];
	model[i] = 0;
	fired++;
}

static void start(void)
{
	timer_cpu_init(0);
	programmed = UINT64_MAX;
	host_clock_ns = 1;
	fired = wrong = 0;
	last_fired = 0;
	for (unsigned i = 0; i < N; i++) {
		timer_init(&timers[i], fire);
		model[i] = 0;
	}
}

static uint64_t model_first(void)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < N; i++)
		if (model[i] && model[i] < first)
			first = model[i];
	return first;
}

/* What the hardware does: interrupts as long as one is due. */
static void advance(uint64_t ns)
{
	host_clock_ns += ns;
	last_fired = 0;
	while (programmed <= host_clock_ns) {
		programmed = UINT64_MAX;
		timer_interrupt();
	}
}

TEST(random_against_model)
{
	start();
	srand(1);
	for (unsigned step = 0; step < 200000; step++) {
		unsigned i = (unsigned)rand() % N;

		switch (rand() % 4) {
		case 0:
		case 1:
			model[i] = host_clock_ns + 1 + (unsigned)rand() % 5000;
			timer_set(&timers[i], model[i]);
			break;
		case 2:
			CHECK_EQ(timer_cancel(&timers[i]), model[i] != 0);
			model[i] = 0;
			break;
		default:
			advance((unsigned)rand() % 100);
			CHECK(model_first() > host_clock_ns);
		}
		CHECK(programmed <= model_first());
	}
	CHECK_EQ(wrong, 0);
	CHECK(fired > 1000);
}

TEST(programs_only_when_the_earliest_moves)
{
	start();
	timer_set(&timers[0], model[0] = 1000);
	CHECK_EQ(programmed, 1000);
	programmed = 0;
	timer_set(&timers[1], model[1] = 2000);
	CHECK_EQ(programmed, 0);
	timer_set(&timers[2], model[2] = 500);
	CHECK_EQ(programmed, 500);
}

static unsigned again;
static void rearm(struct timer *t)
{
	again++;
	timer_set(t, host_clock_ns);
}

TEST(one_interrupt_ends_even_if_a_timer_re_arms_in_the_past)
{
	start();
	timer_init(&timers[0], rearm);
	timer_set(&timers[0], 1);
	timer_interrupt();
	CHECK(again >= 1 && again <= 64);
	CHECK(timer_armed(&timers[0]));
	CHECK(timer_cancel(&timers[0]));
	CHECK(!timer_cancel(&timers[0]));
}
