/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC, first of three files: how a vector comes in (accept), is found (pending), taken (ack) and finished (EOI).
 * lapic_regs.c is the register file in its two shapes, lapic_timer.c the timer.
 *
 * Anyone may set IRR: first the TMR bit, then the IRR bit, then the summary word, then `check`, each a locked operation or after
 * one. The vCPU's world looks in the opposite order: it clears `check` with an exchange (a full barrier) and then reads. So a
 * vector is seen, or `check` stands for the next look; the sender's event() makes that look happen.
 * SDM vol 3 chapter 11 ("Advanced Programmable Interrupt Controller").
 */
#include "hv/dev/lapic_priv.h"

static void bit_set(uint32_t *words, unsigned v) { __atomic_or_fetch(&words[v >> 5], 1u << (v & 31), __ATOMIC_SEQ_CST); }
static void bit_clear(uint32_t *words, unsigned v) { __atomic_and_fetch(&words[v >> 5], ~(1u << (v & 31)), __ATOMIC_SEQ_CST); }
static bool bit_test(const uint32_t *words, unsigned v) { return READ_ONCE(words[v >> 5]) >> (v & 31) & 1; }

/* Highest vector of 256 bits; summary says which words may hold one. */
int lapic_top_vector(const uint32_t *words, uint32_t summary)
{
	while (summary) {
		unsigned w = 31 - (unsigned)__builtin_clz(summary);
		uint32_t bits = READ_ONCE(words[w]);

		if (bits)
			return (int)(w * 32 + 31 - (unsigned)__builtin_clz(bits));
		summary &= ~(1u << w);
	}
	return -1;
}

/* 11.8.3.1: the class in service masks all classes up to its own; the task priority wins when it is as high. */
uint8_t lapic_ppr(const struct lapic *l)
{
	int top = lapic_top_vector(l->isr, READ_ONCE(l->isr_words));
	uint8_t service = top < 0 ? 0 : top & 0xf0, tpr = READ_ONCE(l->tpr);

	return (tpr & 0xf0) >= service ? tpr : service;
}

unsigned lapic_priority(const struct lapic *l) { return lapic_ppr(l); }

void lapic_update_accepting(struct lapic *l) { WRITE_ONCE(l->accepting, (l->base & BASE_ENABLE) && (l->svr & SVR_ENABLE)); }

void lapic_error(struct lapic *l, uint32_t bits)
{
	uint32_t old = __atomic_fetch_or(&l->esr_pending, bits, __ATOMIC_SEQ_CST);
	uint32_t lvt = READ_ONCE(l->lvt[LVT_ERROR]);

	/* An illegal vector in the error entry itself must not come back here. */
	if ((old & bits) != bits && (lvt & 0xff) >= 16)
		lapic_fire_lvt(l, LVT_ERROR);
}

bool lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	uint32_t old, w = vector >> 5;

	if (!READ_ONCE(l->accepting))
		return false;
	if (vector < 16) {
		lapic_error(l, ESR_RECEIVE_ILLEGAL);
		return false;
	}
	if (level)
		bit_set(l->tmr, vector);
	else if (bit_test(l->tmr, vector))
		bit_clear(l->tmr, vector);
	old = __atomic_fetch_or(&l->irr[w], 1u << (vector & 31), __ATOMIC_SEQ_CST);
	if (old >> (vector & 31) & 1)
		return false;
	__atomic_or_fetch(&l->irr_words, 1u << w, __ATOMIC_SEQ_CST);
	WRITE_ONCE(l->check, 1);
	return true;
}

void lapic_fire_lvt(struct lapic *l, enum lapic_lvt which)
{
	uint32_t lvt = READ_ONCE(l->lvt[which]);

	if (lvt & LVT_MASKED)
		return;
	switch (which == LVT_TIMER || which == LVT_ERROR ? APIC_FIXED : LVT_MODE(lvt)) {
	case APIC_FIXED:
		if (lapic_accept(l, lvt & 0xff, false))
			l->host.event(l->host.ctx);
		break;
	case APIC_NMI:
		l->host.nmi(l->host.ctx);
		break;
	default: /* SMI and INIT by a local source: no firmware of ours uses them */
		break;
	}
}

int lapic_pending(struct lapic *l)
{
	int v;

	if (!READ_ONCE(l->check))
		return -1;
	__atomic_exchange_n(&l->check, 0, __ATOMIC_SEQ_CST);
	v = lapic_top_vector(l->irr, READ_ONCE(l->irr_words));
	if (v < 0 || (v & 0xf0) <= (lapic_ppr(l) & 0xf0))
		return -1;
	WRITE_ONCE(l->check, 1);
	return v;
}

void lapic_recheck(struct lapic *l)
{
	if (!READ_ONCE(l->irr_words))
		return;
	WRITE_ONCE(l->check, 1);
	l->host.event(l->host.ctx);
}

void lapic_ack(struct lapic *l, uint8_t vector)
{
	uint32_t w = vector >> 5, bit = 1u << (vector & 31);

	if (!__atomic_and_fetch(&l->irr[w], ~bit, __ATOMIC_SEQ_CST)) {
		__atomic_and_fetch(&l->irr_words, ~(1u << w), __ATOMIC_SEQ_CST);
		if (READ_ONCE(l->irr[w])) /* set between the two */
			__atomic_or_fetch(&l->irr_words, 1u << w, __ATOMIC_SEQ_CST);
	}
	l->isr[w] |= bit;
	l->isr_words |= 1u << w;
	if (unlikely(READ_ONCE(l->parked)) && vector == (l->lvt[LVT_TIMER] & 0xff))
		lapic_timer_unpark(l);
}

void lapic_eoi(struct lapic *l)
{
	int v = lapic_top_vector(l->isr, l->isr_words);

	if (v < 0)
		return;
	l->isr[v >> 5] &= ~(1u << (v & 31));
	if (!l->isr[v >> 5])
		l->isr_words &= ~(1u << (v >> 5));
	if (unlikely(bit_test(l->tmr, (unsigned)v))) {
		if (l->lint0_remote && (l->lvt[LVT_LINT0] & 0xff) == (uint32_t)v) {
			l->lint0_remote = false;
			lapic_lint0_level(l);
		}
		l->host.eoi_broadcast(l->host.ctx, (uint8_t)v);
	}
	lapic_recheck(l);
}

/* ---- LINT0, where the PIC's output ends ---- */
bool lapic_accepts_extint(const struct lapic *l)
{
	uint32_t lvt = READ_ONCE(l->lvt[LVT_LINT0]);

	/* With its APIC disabled LINT0 is the CPU's INTR pin (11.4.3); boards wire it to the boot CPU. */
	if (!lapic_enabled(l))
		return l->boot_cpu;
	return !(lvt & LVT_MASKED) && LVT_MODE(lvt) == APIC_EXTINT;
}

/* Level-triggered LINT0: accepted while the line is up, once until its EOI. */
void lapic_lint0_level(struct lapic *l)
{
	uint32_t lvt = READ_ONCE(l->lvt[LVT_LINT0]);

	if (!READ_ONCE(l->lint0) || (lvt & LVT_MASKED) || !(lvt & LVT_LEVEL) || LVT_MODE(lvt) != APIC_FIXED || !lapic_enabled(l))
		return;
	if (!__atomic_exchange_n(&l->lint0_remote, true, __ATOMIC_SEQ_CST) && lapic_accept(l, lvt & 0xff, true))
		l->host.event(l->host.ctx);
}

void lapic_set_lint0(struct lapic *l, bool level)
{
	bool before = __atomic_exchange_n(&l->lint0, level, __ATOMIC_SEQ_CST);
	uint32_t lvt = READ_ONCE(l->lvt[LVT_LINT0]);

	if (!level || before || !lapic_enabled(l) || LVT_MODE(lvt) == APIC_EXTINT)
		return;
	if (LVT_MODE(lvt) == APIC_FIXED && (lvt & LVT_LEVEL))
		lapic_lint0_level(l);
	else
		lapic_fire_lvt(l, LVT_LINT0);
}

/* ---- senders ask ---- */
static bool match_physical(const struct lapic *l, const struct apic_msg *m)
{
	return l->id == (m->x2apic_dest ? m->dest : m->dest & 0xff);
}
static bool match_logical(const struct lapic *l, const struct apic_msg *m)
{
	uint32_t ldr = READ_ONCE(l->ldr), dest = m->dest & 0xff;

	if (READ_ONCE(l->x2apic)) /* 11.12.10.2: cluster in the upper half; an 8-bit destination names cluster 0 */
		return (ldr >> 16) == (m->x2apic_dest ? m->dest >> 16 : 0) && (ldr & m->dest & 0xffff & (m->x2apic_dest ? ~0u : 0xffu));
	if (READ_ONCE(l->dfr) >> 28 == 0xf) /* flat */
		return ldr >> 24 & dest;
	return ldr >> 28 == dest >> 4 && (ldr >> 24 & dest & 0xf);
}

bool lapic_matches(const struct lapic *l, const struct apic_msg *m, const struct lapic *sender)
{
	if (!lapic_enabled(l))
		return false;
	switch (m->shorthand) {
	case 1: return l == sender;
	case 2: return true;
	case 3: return l != sender;
	}
	if (m->dest == (m->x2apic_dest ? ~0u : 0xffu))
		return true;
	return m->logical ? match_logical(l, m) : match_physical(l, m);
}

/* ---- life ---- */
void lapic_reset_registers(struct lapic *l)
{
	lapic_timer_reset(l);
	for (int i = 0; i < 8; i++) {
		__atomic_store_n(&l->irr[i], 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&l->tmr[i], 0, __ATOMIC_SEQ_CST);
		l->isr[i] = 0;
	}
	l->isr_words = 0;
	l->irr_words = 0;
	l->esr = l->esr_pending = 0;
	l->icr = 0;
	l->tpr = 0;
	l->ldr = 0;
	l->dfr = ~0u;
	l->svr = 0xff;
	l->lint0_remote = false;
	for (int i = LVT_TIMER + 1; i < LVTS; i++)
		l->lvt[i] = LVT_MASKED;
	WRITE_ONCE(l->check, 1);
	lapic_update_accepting(l);
}

void lapic_reset(struct lapic *l, bool init)
{
	if (!init)
		l->base = BASE_RESET | BASE_ENABLE | (l->boot_cpu ? BASE_BSP : 0);
	WRITE_ONCE(l->x2apic, (l->base & BASE_X2APIC) != 0);
	lapic_reset_registers(l);
	/* Guests are started without firmware and find what it would have left: virtual wire, the PIC on LINT0 (MP specification 3.6.2.2). */
	if (l->boot_cpu)
		l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
	if (l->x2apic) /* 11.12.5.1: INIT leaves x2APIC mode on */
		l->ldr = (l->id >> 4) << 16 | 1u << (l->id & 15);
}

struct lapic *lapic_create(uint32_t id, bool boot_cpu, bool allow_x2apic, unsigned phys_bits, const struct lapic_host *h)
{
	struct lapic *l = kzalloc(sizeof(*l), MT_HVDEV);

	if (!l)
		return NULL;
	l->id = id;
	l->boot_cpu = boot_cpu;
	l->allow_x2apic = allow_x2apic;
	l->phys_bits = phys_bits;
	l->host = *h;
	lapic_timer_init(l);
	lapic_reset(l, false);
	return l;
}

void lapic_free(struct lapic *l)
{
	if (!l)
		return;
	lapic_timer_free(l);
	kfree(l);
}
