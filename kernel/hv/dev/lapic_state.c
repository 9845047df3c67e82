/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC's state as a record. A record is checked whole before the first field changes; guest time stays guest time. */
#include "hv/dev/lapic_priv.h"

struct lapic_record { /* version 1 */
	uint64_t base, icr, start_ns, next_ns, deadline;
	uint32_t irr[8], tmr[8], isr[8], lvt[LVTS];
	uint32_t id, ldr, dfr, svr, esr, esr_pending, tmict, tdcr;
	uint8_t tpr, lint0, lint0_remote, counting;
	uint32_t pad;
};
_Static_assert(sizeof(struct lapic_record) == 200, "state format");

void lapic_save(const struct lapic *l, struct state_out *o)
{
	struct lapic_record r = {
		.base = l->base, .icr = l->icr, .start_ns = l->start_ns, .next_ns = l->next_ns, .deadline = l->deadline,
		.id = l->id, .ldr = l->ldr, .dfr = l->dfr, .svr = l->svr, .esr = l->esr, .esr_pending = l->esr_pending,
		.tmict = l->tmict, .tdcr = l->tdcr,
		.tpr = l->tpr, .lint0 = l->lint0, .lint0_remote = l->lint0_remote, .counting = l->counting,
	};

	memcpy(r.irr, l->irr, sizeof(r.irr));
	memcpy(r.tmr, l->tmr, sizeof(r.tmr));
	memcpy(r.isr, l->isr, sizeof(r.isr));
	memcpy(r.lvt, l->lvt, sizeof(r.lvt));
	state_begin(o, STATE_LAPIC, 1, (uint16_t)l->id);
	state_put(o, &r, sizeof(r));
	state_end(o);
}

static bool record_legal(const struct lapic *l, const struct lapic_record *r)
{
	bool x2apic = r->base & BASE_X2APIC;

	if (r->id != l->id || !lapic_base_legal(l, r->base & ~BASE_BSP))
		return false;
	if (!(r->base & BASE_BSP) == l->boot_cpu)
		return false;
	if ((r->irr[0] | r->isr[0] | r->tmr[0]) & 0xffff)
		return false;
	for (int i = 0; i < LVTS; i++)
		if (r->lvt[i] & ~lapic_lvt_bits[i])
			return false;
	if ((r->svr & ~0x3ffu) || (r->tdcr & ~0xbu) || (r->icr & 0x1000) || ((r->esr | r->esr_pending) & ~0xffu))
		return false;
	if (x2apic ? r->ldr != ((l->id >> 4) << 16 | 1u << (l->id & 15)) : (r->ldr & 0xffffff) != 0)
		return false;
	if (r->lint0 > 1 || r->lint0_remote > 1 || r->counting > 1 || (r->counting && !r->tmict))
		return false;
	return (r->dfr & 0x0fffffff) == 0x0fffffff;
}

static uint32_t words_used(const uint32_t *words)
{
	uint32_t used = 0;

	for (unsigned i = 0; i < 8; i++)
		used |= words[i] ? 1u << i : 0;
	return used;
}

int lapic_load(struct lapic *l, struct state_in *in)
{
	struct lapic_record r;

	state_get(in, &r, sizeof(r));
	if (in->bad || !record_legal(l, &r))
		return -EINVAL;
	lapic_timer_reset(l);
	WRITE_ONCE(l->base, r.base);
	WRITE_ONCE(l->x2apic, (r.base & BASE_X2APIC) != 0);
	l->icr = r.icr;
	l->start_ns = r.start_ns;
	l->next_ns = r.next_ns;
	l->deadline = r.deadline;
	memcpy(l->irr, r.irr, sizeof(r.irr));
	memcpy(l->tmr, r.tmr, sizeof(r.tmr));
	memcpy(l->isr, r.isr, sizeof(r.isr));
	memcpy(l->lvt, r.lvt, sizeof(r.lvt));
	l->irr_words = words_used(r.irr);
	l->isr_words = words_used(r.isr);
	l->ldr = r.ldr;
	l->dfr = r.dfr;
	l->svr = r.svr;
	l->esr = r.esr;
	l->esr_pending = r.esr_pending;
	l->tmict = r.tmict;
	l->tdcr = r.tdcr;
	l->tpr = r.tpr;
	l->lint0 = r.lint0;
	l->lint0_remote = r.lint0_remote;
	l->counting = r.counting;
	lapic_update_accepting(l);
	WRITE_ONCE(l->check, 1);
	lapic_timer_loaded(l);
	return 0;
}
