/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's mode, privilege and segments: from segment and offset to a linear address, with the faults that the CPU would
 * raise (APM vol 2 chapter 4; canonical addresses 5.3.1). Relies on the backend: get_seg(HV_SS) has the CPL as its DPL.
 */
#include "hv/emul_priv.h"

unsigned emul_mode(struct vcpu *v)
{
	struct vmm_segment cs;

	hv->get_seg(v, HV_CS, &cs);
	if (likely(cs.attr & ATTR_L) && likely(hv->get_cr(v, HV_EFER) & EFER_LMA))
		return 8;
	return cs.attr & ATTR_DB ? 4 : 2;
}

unsigned emul_cpl(struct vcpu *v)
{
	struct vmm_segment ss;

	if (!(hv->get_cr(v, HV_CR0) & CR0_PE))
		return 0;
	if (v->rflags & FLAG_VM)
		return 3;
	hv->get_seg(v, HV_SS, &ss);
	return ATTR_DPL(ss.attr);
}

void emul_raise(struct vcpu *v, uint8_t vector, uint32_t error)
{
	if (hv->get_cr(v, HV_CR0) & CR0_PE)
		vcpu_raise_error(v, vector, error);
	else
		vcpu_raise(v, vector);
}

bool emul_canonical(struct vcpu *v, uint64_t linear)
{
	unsigned drop = 16;

	if (likely((uint64_t)((int64_t)(linear << drop) >> drop) == linear))
		return true;
	drop = 64 - 57;
	return (hv->get_cr(v, HV_CR4) & CR4_LA57) && (uint64_t)((int64_t)(linear << drop) >> drop) == linear;
}

/* Limit and, in protected mode, presence and type. */
static bool segment_allows(struct vcpu *v, const struct vmm_segment *s, uint64_t offset, unsigned size, bool write)
{
	uint64_t last = offset + size - 1;

	if ((hv->get_cr(v, HV_CR0) & CR0_PE) && !(v->rflags & FLAG_VM)) {
		if (!(s->attr & ATTR_P))
			return false;
		if (s->attr & ATTR_CODE) {
			if (write || !(s->attr & ATTR_WRITABLE))
				return false;
		} else if (write && !(s->attr & ATTR_WRITABLE))
			return false;
		if (!(s->attr & ATTR_CODE) && (s->attr & ATTR_DOWN))
			return offset > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffffu : 0xffffu);
	}
	return last <= s->limit;
}

bool emul_linear(struct vcpu *v, unsigned mode, enum hv_seg seg, uint64_t offset, unsigned size, bool write, uint64_t *linear)
{
	struct vmm_segment s;

	if (likely(mode == 8)) {
		*linear = offset;
		if (unlikely(seg == HV_FS || seg == HV_GS)) {
			hv->get_seg(v, seg, &s);
			*linear += s.base;
		}
		if (likely(emul_canonical(v, *linear) && emul_canonical(v, *linear + size - 1)))
			return true;
	} else {
		hv->get_seg(v, seg, &s);
		*linear = (uint32_t)(s.base + offset);
		if (segment_allows(v, &s, offset, size, write))
			return true;
	}
	emul_raise(v, seg == HV_SS ? EXC_SS : EXC_GP, 0);
	return false;
}
