/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: one pairing heap per CPU, linked through the timers themselves, so that arming never
 * allocates and never fails. Arming costs one comparison, the earliest stands at the root.
 *
 * The CPU's one-shot timer is programmed only when the earliest deadline becomes earlier. A cancelled
 * timer leaves it programmed: at worst one interrupt finds nothing to do.
 *
 * Lock order: the heap's lock (RANK_TIMER) is held by no fn: these run with interrupts off and no
 * lock, and may arm, cancel and wake. `running` lets timer_cancel() wait for one that runs elsewhere.
 */
#include "sched/sched_priv.h"

#define FIRE_MAX 64 /* per interrupt: a timer that re-arms itself in the past must not keep the CPU */

struct timer_heap {
	struct spinlock lock;
	struct timer *root, *running;
	uint64_t programmed; /* clock time of the next interrupt, UINT64_MAX none */
};
PERCPU(struct timer_heap, timer_heap);

COUNTER(timer_interrupts, "timer.interrupts");
COUNTER(timer_programmed, "timer.programmed");

/* ---- the heap ---- */
static struct timer *meld(struct timer *a, struct timer *b)
{
	if (b->when_ns < a->when_ns) {
		struct timer *t = a;

		a = b;
		b = t;
	}
	b->prev = a;
	b->next = a->child;
	if (b->next)
		b->next->prev = b;
	a->child = b;
	return a;
}

/* Melds a list of siblings: by pairs from the left, then the pairs from the right. */
static struct timer *meld_children(struct timer *first)
{
	struct timer *pairs = NULL, *root = NULL;

	while (first) {
		struct timer *a = first, *b = a->next, *p = a;

		first = b ? b->next : NULL;
		if (b)
			p = meld(a, b);
		p->next = pairs;
		pairs = p;
	}
	while (pairs) {
		struct timer *p = pairs;

		pairs = p->next;
		root = root ? meld(root, p) : p;
	}
	return root;
}

static void heap_insert(struct timer_heap *h, struct timer *t)
{
	t->child = NULL;
	h->root = h->root ? meld(h->root, t) : t;
	h->root->next = h->root->prev = NULL;
}

static void heap_remove(struct timer_heap *h, struct timer *t)
{
	struct timer *children = t->child ? meld_children(t->child) : NULL;

	if (t == h->root) {
		h->root = children;
	} else {
		if (t->prev->child == t)
			t->prev->child = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		if (children)
			h->root = meld(h->root, children);
	}
	if (h->root)
		h->root->next = h->root->prev = NULL;
	WRITE_ONCE(t->index, -1);
}

/* ---- arming ---- */
static void program(struct timer_heap *h)
{
	if (!h->root || h->root->when_ns >= h->programmed)
		return;
	h->programmed = h->root->when_ns;
	counter_add(timer_programmed, 1);
	arch_timer_set(h->programmed);
}

void timer_init(struct timer *t, void (*fn)(struct timer *t)) { *t = (struct timer){ .fn = fn, .index = -1 }; }

/* Takes it out of whichever heap holds it. Interrupts off. */
static bool timer_detach(struct timer *t)
{
	bool was = false;

	while (timer_armed(t)) {
		unsigned cpu = READ_ONCE(t->cpu);
		struct timer_heap *h = &per_cpu(timer_heap, cpu);
		uint64_t flags = spin_lock_irqsave(&h->lock);

		if (timer_armed(t) && t->cpu == cpu) {
			heap_remove(h, t);
			was = true;
		}
		spin_unlock_irqrestore(&h->lock, flags);
	}
	return was;
}

static void timer_attach(struct timer *t, uint64_t when_ns)
{
	struct timer_heap *h = &this_cpu(timer_heap);
	uint64_t flags = spin_lock_irqsave(&h->lock);

	t->when_ns = when_ns;
	t->cpu = arch_cpu_id();
	WRITE_ONCE(t->index, 0);
	heap_insert(h, t);
	program(h);
	spin_unlock_irqrestore(&h->lock, flags);
}

void timer_set(struct timer *t, uint64_t when_ns)
{
	uint64_t flags = arch_irq_save();

	timer_detach(t);
	timer_attach(t, when_ns);
	arch_irq_restore(flags);
}

void timer_migrate(struct timer *t)
{
	uint64_t flags = arch_irq_save();

	if (READ_ONCE(t->cpu) != arch_cpu_id() && timer_detach(t))
		timer_attach(t, t->when_ns);
	arch_irq_restore(flags);
}

static void wait_until_not_running(struct timer *t)
{
	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		while (__atomic_load_n(&per_cpu(timer_heap, cpu).running, __ATOMIC_ACQUIRE) == t)
			arch_pause();
}

bool timer_cancel(struct timer *t)
{
	uint64_t flags = arch_irq_save();
	bool was = timer_detach(t);

	arch_irq_restore(flags);
	if ((flags & 0x200) && !preempt_depth())
		wait_until_not_running(t);
	return was;
}

/* ---- firing ---- */
void timer_interrupt(void)
{
	struct timer_heap *h = &this_cpu(timer_heap);
	uint64_t now = clock_ns(), flags = spin_lock_irqsave(&h->lock);
	struct timer *t;

	counter_add(timer_interrupts, 1);
	h->programmed = UINT64_MAX;
	for (unsigned n = 0; n < FIRE_MAX && (t = h->root) && t->when_ns <= now; n++) {
		heap_remove(h, t);
		h->running = t;
		spin_unlock_irqrestore(&h->lock, flags);
		t->fn(t);
		flags = spin_lock_irqsave(&h->lock);
		__atomic_store_n(&h->running, NULL, __ATOMIC_RELEASE);
	}
	program(h);
	spin_unlock_irqrestore(&h->lock, flags);
}

void timer_cpu_init(unsigned cpu)
{
	struct timer_heap *h = &per_cpu(timer_heap, cpu);

	spin_init(&h->lock, "timers", RANK_TIMER);
	h->root = NULL;
	h->programmed = UINT64_MAX;
}
