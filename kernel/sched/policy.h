/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy: which of a CPU's runnable worlds runs, and for how long. Pure arithmetic on entities
 * and queues, no clock, no lock, no hardware, so that it also runs in a simulator on the host.
 *
 * The rule is EEVDF (Stoica and Abdel-Wahab 1995). v is the virtual time an entity has received,
 * service divided by weight; V is the weighted mean of v over the queue. An entity with v <= V has
 * had no more than its due and is eligible; of the eligible ones the earliest deadline runs, the
 * deadline being v at the time of its request plus the request divided by its weight.
 *
 * A queue holds the running entity too. Weights change only by policy_set_weight().
 */
#ifndef SCHED_POLICY_H
#define SCHED_POLICY_H

#include "core/list.h"
#include "core/types.h"

#define POLICY_SLICE_NS 10000000ull      /* a request of a world that uses its slices up */
#define POLICY_SLICE_WAKE_NS 1000000ull  /* after a wake-up: short, so its deadline is early */
#define POLICY_MIN_RUN_NS 500000ull      /* no preemption by a wake-up before this */
#define POLICY_LAG_MAX_NS POLICY_SLICE_NS /* what sleep may save up or owe */
#define POLICY_WEIGHT_MAX (1u << 20)

struct policy_entity {
	struct list link;
	int64_t v, deadline;   /* virtual, compared by signed difference */
	int64_t lag;           /* service due, ns; kept while not in a queue */
	uint32_t weight, id;
	uint32_t slice_ns;     /* its request */
	bool queued;
};

struct policy_queue {
	struct list entities;
	unsigned nr;
	int64_t base;          /* sums below are relative to it */
	int64_t sum_w, sum_wv;
};

void policy_queue_init(struct policy_queue *q);
void policy_entity_init(struct policy_entity *e, uint32_t id, uint32_t weight);
/* Becomes runnable here, with the lag it took along. A request of slice_ns begins. */
void policy_join(struct policy_queue *q, struct policy_entity *e, uint32_t slice_ns);
void policy_leave(struct policy_queue *q, struct policy_entity *e);
/* It ran that long; a request that is used up is followed by one of POLICY_SLICE_NS. */
void policy_charge(struct policy_queue *q, struct policy_entity *e, uint64_t ns);
void policy_set_weight(struct policy_queue *q, struct policy_entity *e, uint32_t weight); /* q NULL: in none */
/* The one to run now; not `but` unless it is alone. NULL when empty. */
struct policy_entity *policy_pick(const struct policy_queue *q, const struct policy_entity *but);
/* Would this one run instead of that one? Both are in q. */
bool policy_before(const struct policy_queue *q, const struct policy_entity *a, const struct policy_entity *b);
/* What is left of its request, in ns of running, never 0. */
uint64_t policy_remaining(const struct policy_entity *e);
/* The queue's virtual time. */
int64_t policy_now(const struct policy_queue *q);

#endif
