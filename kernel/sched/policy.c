/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EEVDF over a plain list: a CPU's queue is short, and a scan of it costs a handful of instructions
 * per world. See policy.h for the rule.
 *
 * Invariants: sum_w and sum_wv are the sums over `entities` of weight and of weight * (v - base);
 * base follows V, so that the sums stay small whatever the uptime; the sum of weight * (V - v), the
 * lags, is zero but for rounding.
 */
#include "sched/policy.h"

#define VSHIFT 16          /* virtual units per ns at weight 1 */
#define ROUNDING 16        /* virtual units that divisions may lose: an entity exactly at V is eligible */
#define CHARGE_MAX (1ull << 46) /* 19 hours without a switch */
#define DUST_NS 10000      /* a request with less than this left counts as used up */

static int64_t to_virtual(uint64_t ns, uint32_t weight) { return (int64_t)((ns << VSHIFT) / weight); }
/* Virtual times wrap. */
static int64_t v_diff(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static int64_t v_add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static int64_t to_ns(int64_t v, uint32_t weight) { return (v * (int64_t)weight) >> VSHIFT; }

void policy_queue_init(struct policy_queue *q)
{
	*q = (struct policy_queue){ 0 };
	list_init(&q->entities);
}

void policy_entity_init(struct policy_entity *e, uint32_t id, uint32_t weight)
{
	*e = (struct policy_entity){ .id = id, .weight = weight };
	list_init(&e->link);
}

static int64_t mean_offset(const struct policy_queue *q)
{
	int64_t mean = q->sum_wv / q->sum_w;

	return mean - (q->sum_wv % q->sum_w < 0);
}

int64_t policy_now(const struct policy_queue *q) { return q->nr ? v_add(q->base, mean_offset(q)) : q->base; }

static void add(struct policy_queue *q, const struct policy_entity *e)
{
	q->sum_w += e->weight;
	q->sum_wv += (int64_t)e->weight * v_diff(e->v, q->base);
}

static void subtract(struct policy_queue *q, const struct policy_entity *e)
{
	q->sum_w -= e->weight;
	q->sum_wv -= (int64_t)e->weight * v_diff(e->v, q->base);
}

static void rebase(struct policy_queue *q)
{
	int64_t by = mean_offset(q);

	q->base = v_add(q->base, by);
	q->sum_wv -= q->sum_w * by;
}

static void request(struct policy_entity *e, uint32_t slice_ns)
{
	e->slice_ns = slice_ns;
	e->deadline = v_add(e->v, to_virtual(slice_ns, e->weight));
}

/* Alone in a queue an entity is always at V: nothing to average, and no lag. Most wake-ups are of this kind. */
static void join_empty(struct policy_queue *q, struct policy_entity *e)
{
	e->v = q->base;
	q->sum_w = e->weight;
	q->sum_wv = 0;
}

/* Joining moves V; scaled by (W + w) / W the entity then stands at the lag it came with. */
static void join_others(struct policy_queue *q, struct policy_entity *e)
{
	int64_t lag = e->lag * (q->sum_w + e->weight) / q->sum_w;

	e->v = v_add(policy_now(q), lag < 0 ? to_virtual((uint64_t)-lag, e->weight) : -to_virtual((uint64_t)lag, e->weight));
	add(q, e);
}

void policy_join(struct policy_queue *q, struct policy_entity *e, uint32_t slice_ns)
{
	if (q->nr++)
		join_others(q, e);
	else
		join_empty(q, e);
	request(e, slice_ns);
	list_push_back(&q->entities, &e->link);
	e->queued = true;
}

void policy_leave(struct policy_queue *q, struct policy_entity *e)
{
	list_remove(&e->link);
	e->queued = false;
	if (q->nr == 1) {
		q->base = e->v;
		e->lag = 0;
	} else {
		int64_t lag = to_ns(v_diff(policy_now(q), e->v), e->weight);

		e->lag = MAX(MIN(lag, (int64_t)POLICY_LAG_MAX_NS), -(int64_t)POLICY_LAG_MAX_NS);
		subtract(q, e);
	}
	q->nr--;
}

void policy_charge(struct policy_queue *q, struct policy_entity *e, uint64_t ns)
{
	int64_t dv = to_virtual(MIN(ns, CHARGE_MAX), e->weight);

	e->v = v_add(e->v, dv);
	if (q->nr == 1) {
		q->base = e->v;
		q->sum_wv = 0;
	} else {
		q->sum_wv += dv * e->weight;
		rebase(q);
	}
	if (v_diff(e->deadline, e->v) < to_virtual(DUST_NS, e->weight))
		request(e, POLICY_SLICE_NS);
}

void policy_set_weight(struct policy_queue *q, struct policy_entity *e, uint32_t weight)
{
	int64_t left = to_ns(v_diff(e->deadline, e->v), e->weight);

	if (weight == e->weight)
		return;
	if (q)
		subtract(q, e);
	e->weight = weight;
	e->deadline = v_add(e->v, to_virtual((uint64_t)MAX(left, 0), weight));
	if (q)
		add(q, e);
}

static bool eligible(const struct policy_entity *e, int64_t now) { return v_diff(e->v, now) <= ROUNDING; }

static bool earlier(const struct policy_entity *a, const struct policy_entity *b)
{
	int64_t d = v_diff(a->deadline, b->deadline);

	return d < 0 || (d == 0 && a->id < b->id);
}

/* Of the entities but one, the eligible one with the earliest deadline; when none is eligible, the one furthest behind. */
struct policy_entity *policy_pick(const struct policy_queue *q, const struct policy_entity *but)
{
	struct policy_entity *best = NULL, *behind = NULL;
	int64_t now;

	if (q->nr <= 1)
		return q->nr ? list_first(&q->entities, struct policy_entity, link) : NULL;
	now = policy_now(q);
	list_for_each(p, &q->entities) {
		struct policy_entity *e = list_entry(p, struct policy_entity, link);

		if (e == but)
			continue;
		if (eligible(e, now) && (!best || earlier(e, best)))
			best = e;
		if (!behind || v_diff(e->v, behind->v) < 0)
			behind = e;
	}
	return best ? best : behind;
}

bool policy_before(const struct policy_queue *q, const struct policy_entity *a, const struct policy_entity *b)
{
	int64_t now = policy_now(q);

	return eligible(a, now) && (!eligible(b, now) || earlier(a, b));
}

uint64_t policy_remaining(const struct policy_entity *e)
{
	int64_t left = to_ns(v_diff(e->deadline, e->v), e->weight);

	return left > DUST_NS ? (uint64_t)left : DUST_NS;
}
