/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer: one-shot and periodic counts in the VM's time, deadlines in the guest's TSC.
 *
 * What is due is logical state (counting/next_ns, deadline) under timer_lock; the host timer only stands for it while not frozen. A
 * callback that waited for the lock while the vCPU's world changed its mind finds nothing due and does nothing.
 * A period that ends while the guest has not taken the tick before parks: no host timer runs until lapic_ack() takes it, and
 * missed ticks become one. The callback parks first and then looks at IRR; ack clears IRR first and then looks at `parked`: one of
 * them arms again, so a tick cannot be lost.
 */
#include "hv/dev/lapic_priv.h"

/* A guest may ask for a period of a nanosecond; the host is interrupted no more often than this. */
#define PERIOD_MIN_NS 50000ull

static unsigned divide_shift(uint32_t tdcr) { return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7; }
static uint64_t period_ns(const struct lapic *l) { return (uint64_t)l->tmict << divide_shift(l->tdcr); }
static uint64_t guest_ns(struct lapic *l) { return l->host.guest_ns(l->host.ctx); }
static unsigned mode_of(const struct lapic *l) { return TIMER_MODE(READ_ONCE(l->lvt[LVT_TIMER])); }

/* No use in ticking on: masked, or the tick before was not taken. */
static bool tick_waits(const struct lapic *l)
{
	uint32_t lvt = READ_ONCE(l->lvt[LVT_TIMER]), v = lvt & 0xff;

	return (lvt & LVT_MASKED) || (READ_ONCE(l->irr[v >> 5]) >> (v & 31) & 1);
}

/* Guest ns since the count was loaded; a loaded state may claim a start in the future. */
static uint64_t elapsed(const struct lapic *l, uint64_t now)
{
	int64_t d = (int64_t)(now - l->start_ns);

	return d > 0 ? (uint64_t)d : 0;
}

/* The end of the period at hand: strictly after now, a whole number of periods after the start. */
static void next_period(struct lapic *l, uint64_t now)
{
	uint64_t period = period_ns(l);

	l->next_ns += period;
	if ((int64_t)(l->next_ns - now) <= 0)
		l->next_ns = l->start_ns + (elapsed(l, now) / period + 1) * period;
}

static void arm_at(struct lapic *l, uint64_t host_ns)
{
	if (host_ns == UINT64_MAX)
		return;
	l->armed = true;
	l->due = host_ns;
	timer_set(&l->timer, host_ns);
}

static void arm_period(struct lapic *l, uint64_t not_before)
{
	arm_at(l, MAX(l->host.guest_ns_to_host(l->host.ctx, l->next_ns), not_before));
}

static void disarm(struct lapic *l)
{
	if (l->armed)
		timer_cancel(&l->timer);
	l->armed = false;
	WRITE_ONCE(l->parked, false);
}

static void expire(struct lapic *l)
{
	switch (mode_of(l)) {
	case TIMER_DEADLINE:
		l->deadline = 0;
		break;
	case TIMER_PERIODIC:
		next_period(l, guest_ns(l));
		if (!tick_waits(l))
			break;
		__atomic_store_n(&l->parked, true, __ATOMIC_SEQ_CST);
		if (tick_waits(l))
			return; /* merged with the tick that waits */
		WRITE_ONCE(l->parked, false); /* taken meanwhile */
		break;
	default:
		l->counting = false;
	}
	lapic_fire_lvt(l, LVT_TIMER);
}

/* From the logical state; nothing is armed. */
static void arm(struct lapic *l)
{
	if (l->frozen)
		return;
	if (mode_of(l) == TIMER_DEADLINE) {
		if (!l->deadline)
			return;
		if (l->deadline <= l->host.guest_tsc(l->host.ctx))
			expire(l);
		else
			arm_at(l, l->host.guest_tsc_to_host_ns(l->host.ctx, l->deadline));
	} else if (l->counting) {
		arm_period(l, 0);
	}
}

static void timer_callback(struct timer *t)
{
	struct lapic *l = container_of(t, struct lapic, timer);
	uint64_t flags = spin_lock_irqsave(&l->timer_lock), now = clock_ns();

	if (l->armed && now >= l->due) {
		l->armed = false;
		expire(l);
		if (mode_of(l) == TIMER_PERIODIC && l->counting && !l->parked)
			arm_period(l, now + PERIOD_MIN_NS);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_timer_init(struct lapic *l)
{
	spin_init(&l->timer_lock, "lapic timer", RANK_HVDEV);
	timer_init(&l->timer, timer_callback);
}

/* Nothing fires any more; the last use before the memory goes. May wait for a callback. */
void lapic_timer_free(struct lapic *l)
{
	lapic_freeze(l);
	timer_cancel(&l->timer);
}

/* lapic_ack() took the tick that a period waited for. */
void lapic_timer_unpark(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	if (l->parked) {
		WRITE_ONCE(l->parked, false);
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_timer_reset(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	disarm(l);
	l->tmict = l->tdcr = 0;
	l->counting = false;
	l->deadline = 0;
	WRITE_ONCE(l->lvt[LVT_TIMER], LVT_MASKED);
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

/* 11.5.4.1: a change to or from deadline mode disarms; one-shot and periodic share the count. */
static void change_mode(struct lapic *l, uint32_t v)
{
	disarm(l);
	if (TIMER_MODE(v) == TIMER_DEADLINE || mode_of(l) == TIMER_DEADLINE) {
		l->counting = false;
		l->tmict = 0;
		l->deadline = 0;
	}
	WRITE_ONCE(l->lvt[LVT_TIMER], v);
	arm(l);
}

void lapic_timer_lvt(struct lapic *l, uint32_t v)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);
	bool was_masked = l->lvt[LVT_TIMER] & LVT_MASKED;

	if (TIMER_MODE(v) != mode_of(l)) {
		change_mode(l, v);
	} else {
		WRITE_ONCE(l->lvt[LVT_TIMER], v);
		if (l->parked && !(v & LVT_MASKED)) { /* was masked, or its tick stood under the old vector */
			WRITE_ONCE(l->parked, false);
			if (was_masked)
				next_period(l, guest_ns(l));
			arm(l);
		}
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_timer_set_count(struct lapic *l, uint32_t v)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	if (mode_of(l) != TIMER_DEADLINE) {
		disarm(l);
		l->tmict = v;
		l->counting = v != 0;
		l->start_ns = guest_ns(l);
		l->next_ns = l->start_ns + period_ns(l);
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

uint32_t lapic_timer_count(struct lapic *l)
{
	uint64_t ticks;

	if (!READ_ONCE(l->counting) || mode_of(l) == TIMER_DEADLINE)
		return 0;
	ticks = elapsed(l, guest_ns(l)) >> divide_shift(l->tdcr);
	if (ticks >= l->tmict)
		ticks = mode_of(l) == TIMER_PERIODIC ? ticks % l->tmict : l->tmict;
	return l->tmict - (uint32_t)ticks;
}

/* The count goes on from where it stands, at the new rate. */
void lapic_timer_set_divide(struct lapic *l, uint32_t v)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);
	uint32_t left = lapic_timer_count(l);

	l->tdcr = v;
	if (l->counting) {
		disarm(l);
		l->next_ns = guest_ns(l) + ((uint64_t)left << divide_shift(v));
		l->start_ns = l->next_ns - period_ns(l);
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	if (mode_of(l) == TIMER_DEADLINE) {
		disarm(l);
		l->deadline = tsc;
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_tsc_changed(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	if (mode_of(l) == TIMER_DEADLINE) {
		disarm(l);
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_timer_migrate(struct lapic *l)
{
	if (READ_ONCE(l->armed))
		timer_migrate(&l->timer);
}

void lapic_freeze(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	disarm(l);
	l->frozen = true;
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

void lapic_thaw(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	if (l->frozen) {
		l->frozen = false;
		disarm(l);
		arm(l);
	}
	spin_unlock_irqrestore(&l->timer_lock, flags);
}

/* New logical state was put in place by load. */
void lapic_timer_loaded(struct lapic *l)
{
	uint64_t flags = spin_lock_irqsave(&l->timer_lock);

	disarm(l);
	arm(l);
	spin_unlock_irqrestore(&l->timer_lock, flags);
}
