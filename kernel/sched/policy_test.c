/* SPDX-License-Identifier: Apache-2.0 */
/* The policy in a simulator of one CPU: order of the published examples, shares, sleepers, groups that come and go, long uptimes. */
#include "sched/policy.h"
#include "test/unit.h"

#define MS 1000000ull

static struct policy_queue queue;

/* Runs the queue for n slices of q ns and writes who ran, one letter each ('A' + id). */
static void order(char *out, unsigned n, uint64_t q)
{
	for (unsigned i = 0; i < n; i++) {
		struct policy_entity *e = policy_pick(&queue, NULL);

		out[i] = (char)('A' + e->id);
		policy_charge(&queue, e, q);
	}
	out[n] = 0;
}

static void join_all(struct policy_entity *e, const uint32_t *weight, unsigned n)
{
	policy_queue_init(&queue);
	for (unsigned i = 0; i < n; i++) {
		policy_entity_init(&e[i], i, weight[i]);
		policy_join(&queue, &e[i], POLICY_SLICE_NS);
	}
}

TEST(order_of_three_weights)
{
	struct policy_entity e[3];
	char got[32];

	join_all(e, (const uint32_t[]){ 3, 2, 1 }, 3);
	order(got, 12, POLICY_SLICE_NS);
	CHECK(!strcmp(got, "ABABACABABAC") || (printf("%s\n", got), 0));
}

TEST(heavy_one_is_served_smoothly)
{
	struct policy_entity e[4];
	char got[32];

	join_all(e, (const uint32_t[]){ 10, 1, 1, 1 }, 4);
	order(got, 26, POLICY_SLICE_NS);
	CHECK(!strcmp(got, "ABAAACAAADAAAABAAACAAADAAA") || (printf("%s\n", got), 0));
}

/* Runs for a time with slices as the kernel arms them; used[id] gets the service. */
static void simulate(uint64_t *used, uint64_t duration)
{
	for (uint64_t t = 0; t < duration;) {
		struct policy_entity *e = policy_pick(&queue, NULL);
		uint64_t ran = policy_remaining(e);

		policy_charge(&queue, e, ran);
		used[e->id] += ran;
		t += ran;
	}
}

TEST(shares_one_to_two)
{
	struct policy_entity e[2];
	uint64_t used[2] = { 0 };

	join_all(e, (const uint32_t[]){ 1000, 2000 }, 2);
	simulate(used, 5000 * MS);
	CHECK(used[1] * 100 >= used[0] * 197 && used[1] * 100 <= used[0] * 203);
}

TEST(thousand_worlds_get_their_weights)
{
	enum { N = 1000 };
	static struct policy_entity e[N];
	static uint64_t used[N];
	static uint32_t weight[N];
	uint64_t total_w = 0, duration = 4000000 * MS;

	for (unsigned i = 0; i < N; i++)
		total_w += weight[i] = 100 + i % 7 * 300;
	join_all(e, weight, N);
	simulate(used, duration);
	for (unsigned i = 0; i < N; i++) {
		uint64_t due = duration * weight[i] / total_w;

		CHECK(used[i] + 40 * MS >= due && used[i] <= due + 40 * MS);
	}
}

/* A world that needs 1 ms every 10 ms beside two hogs: it waits little and the hogs share the rest. */
TEST(sleeper_beside_hogs)
{
	struct policy_entity e[3];
	uint64_t used[3] = { 0 }, t = 0, woke = 0, worst = 0, need = 0;

	join_all(e, (const uint32_t[]){ 1000, 1000, 1000 }, 2);
	policy_entity_init(&e[2], 2, 1000);
	while (t < 10000 * MS) {
		struct policy_entity *p;
		uint64_t ran;

		if (!e[2].queued && t >= woke) {
			policy_join(&queue, &e[2], POLICY_SLICE_WAKE_NS);
			need = 1 * MS;
		}
		p = policy_pick(&queue, NULL);
		ran = p == &e[2] ? MIN(policy_remaining(p), need) : policy_remaining(p);
		if (!e[2].queued && t + ran > woke) /* the wake-up preempts after the minimum */
			ran = MAX(woke - t, POLICY_MIN_RUN_NS);
		policy_charge(&queue, p, ran);
		used[p->id] += ran;
		t += ran;
		if (p == &e[2] && !(need -= ran)) {
			worst = MAX(worst, t - woke - 1 * MS);
			policy_leave(&queue, p);
			woke += 10 * MS;
		}
	}
	CHECK(used[2] >= 990 * MS);
	CHECK(worst <= 10 * MS);
	CHECK(used[0] * 100 >= used[1] * 99 && used[1] * 100 >= used[0] * 99);
}

/* Sleep neither saves up more than a slice nor washes off what is owed. */
TEST(lag_over_sleep)
{
	struct policy_entity e[2];

	join_all(e, (const uint32_t[]){ 1000, 1000 }, 2);
	policy_charge(&queue, &e[0], 6 * MS);
	policy_leave(&queue, &e[0]);
	CHECK(e[0].lag <= -2 * (int64_t)MS && e[0].lag >= -4 * (int64_t)MS);
	policy_charge(&queue, &e[1], 500 * MS);
	policy_join(&queue, &e[0], POLICY_SLICE_WAKE_NS);
	CHECK(policy_pick(&queue, NULL) == &e[1]);
	policy_charge(&queue, &e[1], 400 * MS);
	policy_leave(&queue, &e[0]);
	CHECK_EQ(e[0].lag, POLICY_LAG_MAX_NS);
	policy_join(&queue, &e[0], POLICY_SLICE_WAKE_NS);
	CHECK(policy_pick(&queue, NULL) == &e[0]);
}

TEST(weight_changes_while_queued)
{
	struct policy_entity e[2];
	uint64_t used[2] = { 0 };

	join_all(e, (const uint32_t[]){ 1000, 1000 }, 2);
	simulate(used, 100 * MS);
	policy_set_weight(&queue, &e[0], 250);
	used[0] = used[1] = 0;
	simulate(used, 2000 * MS);
	CHECK(used[1] * 100 >= used[0] * 385 && used[1] * 100 <= used[0] * 415);
}

TEST(virtual_time_wraps)
{
	struct policy_entity e[2];
	uint64_t used[2] = { 0 };

	join_all(e, (const uint32_t[]){ 1, 3 }, 2);
	queue.base = e[0].v = e[1].v = INT64_MAX - 1000;
	e[0].deadline = (int64_t)((uint64_t)e[0].v + (POLICY_SLICE_NS << 16));
	e[1].deadline = (int64_t)((uint64_t)e[1].v + (POLICY_SLICE_NS << 16) / 3);
	queue.sum_wv = 0;
	simulate(used, 4000 * MS);
	CHECK(used[1] * 100 >= used[0] * 290 && used[1] * 100 <= used[0] * 310);
}

TEST(yield_passes_over_the_yielder)
{
	struct policy_entity e[2];

	join_all(e, (const uint32_t[]){ 1000, 10 }, 2);
	CHECK(policy_pick(&queue, &e[0]) == &e[1]);
	policy_leave(&queue, &e[1]);
	CHECK(policy_pick(&queue, &e[0]) == &e[0]);
	policy_leave(&queue, &e[0]);
	CHECK(policy_pick(&queue, NULL) == NULL);
}
