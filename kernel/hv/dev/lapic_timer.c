/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's timer: one-shot and periodic counts in the VM's time, deadlines in the guest's TSC.
 *
 * What is due is logical state (counting/next_ns, deadline); the host timer only stands for it while not frozen. The vCPU's world
 * disarms before it changes anything, and timer_cancel() waits for a running callback, so the callback never sees half a change.
 * A period that ends while the guest has not taken the tick before parks: no host timer runs until lapic_ack() takes it, and
 * missed ticks become one. Whoever exchanges `parked` for false arms again, callback or world, so that a tick cannot be lost.
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
	timer_set(&l->timer, host_ns);
}

static void expire(struct lapic *l)
{
	if (mode_of(l) == TIMER_DEADLINE) {
		l->deadline = 0;
		lapic_fire_lvt(l, LVT_TIMER);
	} else if (mode_of(l) == TIMER_PERIODIC) {
		bool waits = tick_waits(l);

		next_period(l, guest_ns(l));
		lapic_fire_lvt(l, LVT_TIMER);
		if (waits)
			__atomic_store_n(&l->parked, true, __ATOMIC_SEQ_CST);
	} else {
		l->counting = false;
		lapic_fire_lvt(l, LVT_TIMER);
	}
}

static void timer_callback(struct timer *t)
{
	struct lapic *l = container_of(t, struct lapic, timer);

	expire(l);
	if (l->counting && mode_of(l) == TIMER_PERIODIC) {
		/* The tick may have been taken before it was parked: then nobody else arms. */
		if (READ_ONCE(l->parked) && (tick_waits(l) || !__atomic_exchange_n(&l->parked, false, __ATOMIC_SEQ_CST))) {
			__atomic_store_n(&l->armed, false, __ATOMIC_RELEASE);
			return;
		}
		timer_set(t, MAX(l->host.guest_ns_to_host(l->host.ctx, l->next_ns), clock_ns() + PERIOD_MIN_NS));
		return;
	}
	__atomic_store_n(&l->armed, false, __ATOMIC_RELEASE);
}

void lapic_timer_init(struct lapic *l) { timer_init(&l->timer, timer_callback); }

void lapic_timer_disarm(struct lapic *l)
{
	/* A callback that found its tick waiting may still be about to arm. */
	if (__atomic_load_n(&l->armed, __ATOMIC_ACQUIRE) || READ_ONCE(l->parked) || (l->counting && mode_of(l) == TIMER_PERIODIC)) {
		timer_cancel(&l->timer);
		l->armed = false;
		WRITE_ONCE(l->parked, false);
	}
}

void lapic_timer_unpark(struct lapic *l)
{
	if (__atomic_exchange_n(&l->parked, false, __ATOMIC_SEQ_CST) && !l->frozen)
		arm_at(l, l->host.guest_ns_to_host(l->host.ctx, l->next_ns));
}

void lapic_timer_arm(struct lapic *l)
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
		arm_at(l, l->host.guest_ns_to_host(l->host.ctx, l->next_ns));
	}
}

void lapic_timer_reset(struct lapic *l)
{
	lapic_timer_disarm(l);
	l->tmict = l->tdcr = 0;
	l->counting = false;
	l->deadline = 0;
}

/* 11.5.4.1: a change to or from deadline mode disarms; one-shot and periodic share the count. */
void lapic_timer_lvt(struct lapic *l, uint32_t v)
{
	if (TIMER_MODE(v) == mode_of(l)) {
		bool was_masked = l->lvt[LVT_TIMER] & LVT_MASKED;

		WRITE_ONCE(l->lvt[LVT_TIMER], v);
		if (READ_ONCE(l->parked) && !(v & LVT_MASKED)) { /* masked, or its tick stood under the old vector */
			if (was_masked)
				next_period(l, guest_ns(l));
			lapic_timer_unpark(l);
		}
		return;
	}
	lapic_timer_disarm(l);
	if (TIMER_MODE(v) == TIMER_DEADLINE || mode_of(l) == TIMER_DEADLINE) {
		l->counting = false;
		l->tmict = 0;
		l->deadline = 0;
	}
	WRITE_ONCE(l->lvt[LVT_TIMER], v);
	lapic_timer_arm(l);
}

void lapic_timer_set_count(struct lapic *l, uint32_t v)
{
	if (mode_of(l) == TIMER_DEADLINE)
		return;
	lapic_timer_disarm(l);
	l->tmict = v;
	l->counting = v != 0;
	if (!v)
		return;
	l->start_ns = guest_ns(l);
	l->next_ns = l->start_ns + period_ns(l);
	lapic_timer_arm(l);
}

uint32_t lapic_timer_count(struct lapic *l)
{
	uint64_t ticks;

	if (!l->counting || mode_of(l) == TIMER_DEADLINE)
		return 0;
	ticks = elapsed(l, guest_ns(l)) >> divide_shift(l->tdcr);
	if (ticks >= l->tmict)
		ticks = mode_of(l) == TIMER_PERIODIC ? ticks % l->tmict : l->tmict;
	return l->tmict - (uint32_t)ticks;
}

/* The count goes on from where it stands, at the new rate. */
void lapic_timer_set_divide(struct lapic *l, uint32_t v)
{
	uint32_t left;
	uint64_t now;

	if (!l->counting) {
		l->tdcr = v;
		return;
	}
	lapic_timer_disarm(l);
	left = lapic_timer_count(l);
	now = guest_ns(l);
	l->tdcr = v;
	l->next_ns = now + ((uint64_t)left << divide_shift(v));
	l->start_ns = l->next_ns - period_ns(l);
	lapic_timer_arm(l);
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	if (mode_of(l) != TIMER_DEADLINE)
		return;
	lapic_timer_disarm(l);
	l->deadline = tsc;
	lapic_timer_arm(l);
}

void lapic_tsc_changed(struct lapic *l)
{
	if (mode_of(l) != TIMER_DEADLINE || !l->deadline)
		return;
	lapic_timer_disarm(l);
	lapic_timer_arm(l);
}

void lapic_timer_migrate(struct lapic *l)
{
	if (READ_ONCE(l->armed))
		timer_migrate(&l->timer);
}

void lapic_freeze(struct lapic *l)
{
	lapic_timer_disarm(l);
	l->frozen = true;
}

void lapic_thaw(struct lapic *l)
{
	if (!l->frozen)
		return;
	l->frozen = false;
	lapic_timer_arm(l);
}
