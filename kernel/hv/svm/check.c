/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an emulator forgives and silicon does not. Debug builds run these before every VMRUN; each is a pure function with a
 * planted-bug test in check_test.c.
 */
#include "hv/svm/svm_priv.h"

struct clean_field { uint16_t group, offset, size; };
#define FIELD(group, member) { CLEAN_##group, offsetof(struct vmcb, member), sizeof(((struct vmcb *)0)->member) }
static const struct clean_field clean_fields[] = {
	FIELD(INTERCEPTS, c.cr_read), FIELD(INTERCEPTS, c.cr_write), FIELD(INTERCEPTS, c.dr_read), FIELD(INTERCEPTS, c.dr_write),
	FIELD(INTERCEPTS, c.exceptions), FIELD(INTERCEPTS, c.misc1), FIELD(INTERCEPTS, c.misc2), FIELD(INTERCEPTS, c.misc3),
	FIELD(INTERCEPTS, c.tsc_offset), FIELD(INTERCEPTS, c.pause_threshold), FIELD(INTERCEPTS, c.pause_count),
	FIELD(MAPS, c.iopm), FIELD(MAPS, c.msrpm), FIELD(ASID, c.asid), FIELD(INT, c.int_ctl), FIELD(INT, c.int_vector),
	FIELD(NESTED, c.nested_ctl), FIELD(NESTED, c.nested_cr3), FIELD(NESTED, s.g_pat),
	FIELD(CR, s.cr0), FIELD(CR, s.cr3), FIELD(CR, s.cr4), FIELD(CR, s.efer), FIELD(DR, s.dr6), FIELD(DR, s.dr7),
	FIELD(TABLES, s.gdtr), FIELD(TABLES, s.idtr), FIELD(SEG, s.cs), FIELD(SEG, s.ss), FIELD(SEG, s.ds), FIELD(SEG, s.es),
	FIELD(SEG, s.cpl), FIELD(CR2, s.cr2), FIELD(LBR, s.debugctl),
};

/* `then`: the VMCB as it stood after the last exit. */
const char *svm_check_clean(const struct vmcb *now, const struct vmcb *then)
{
	static const char *const name[] = { "an intercept or the TSC offset", "a permission map", "the ASID", "int_ctl", "nested paging's",
					    "a control register", "a debug register", "GDTR or IDTR", "a segment", "CR2", "LBR's" };

	for (unsigned i = 0; i < ARRAY_SIZE(clean_fields); i++) {
		const struct clean_field *f = &clean_fields[i];

		if (now->c.clean & f->group && memcmp((const char *)now + f->offset, (const char *)then + f->offset, f->size))
			return name[__builtin_ctz(f->group)];
	}
	return NULL;
}

static bool canonical(uint64_t a, unsigned bits) { return (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits)) == a; }

static const char *check_control(const struct vmcb *m)
{
	uint64_t inj = m->c.event_inj;
	unsigned type = inj >> EVENT_TYPE_SHIFT & 7, vector = inj & EVENT_VECTOR;

	if (!(m->c.misc2 & ICPT_VMRUN))
		return "VMRUN is not intercepted";
	if (!m->c.asid)
		return "ASID 0 is the host's";
	if (!(inj & EVENT_VALID))
		return NULL;
	if (type == EVENT_INTR)
		return "an external interrupt in event_inj"; /* legal, but not here: event.c */
	if (type == 1 || type > EVENT_SOFT || (type == EVENT_EXCEPTION && (vector == 2 || vector > 31)))
		return "an event that does not exist in event_inj";
	return NULL;
}

/* APM 15.5.1, "canonicalization and consistency checks", and what VMRUN would quietly canonicalize. */
const char *svm_check_state(const struct vmcb *m, unsigned phys_bits, unsigned linear_bits)
{
	const struct vmcb_save *s = &m->s;
	bool paging = s->cr0 & BIT(31), pe = s->cr0 & BIT(0), pae = s->cr4 & BIT(5), lme = s->efer & BIT(8);
	const struct vmcb_seg *based[] = { &s->fs, &s->gs, &s->tr, &s->ldtr, &s->gdtr, &s->idtr };

	if (!(s->efer & EFER_SVME))
		return "EFER.SVME is clear";
	if (s->cr0 >> 32 || (s->cr0 & BIT(29) && !(s->cr0 & BIT(30))))
		return "CR0 has high bits, or NW without CD";
	if (s->efer & BIT(10) ? s->cr3 & ~((1ull << phys_bits) - 1) : false)
		return "CR3 is past the physical address width";
	if (s->cr4 >> 32)
		return "CR4 has high bits";
	if (s->dr6 >> 32 || s->dr7 >> 32)
		return "DR6 or DR7 has high bits";
	if (lme && paging && (!pae || !pe))
		return "long mode without PAE or PE";
	if (lme && paging && pae && (s->cs.attr & 0x600) == 0x600)
		return "CS.L and CS.D are both set";
	for (unsigned i = 0; i < ARRAY_SIZE(based); i++)
		if (!canonical(based[i]->base, linear_bits))
			return "a segment base is not canonical";
	return check_control(m);
}

/* flushed: nested generation that this (CPU, ASID) was last flushed for; entering: the one that this entry claims. */
const char *svm_check_generation(uint64_t flushed, uint64_t entering, uint8_t tlb_control)
{
	if (flushed < entering && tlb_control == TLB_KEEP)
		return "enters with translations of an older nested generation";
	return NULL;
}
