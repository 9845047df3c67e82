/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executes one decoded instruction with a memory operand. Order in every case: read, compute, write, and only then commit
 * registers, flags and RIP; any step may instead raise a fault or need ring 3, and then nothing has changed.
 */
#include "hv/emul_priv.h"

uint64_t emul_reg_get(const struct vcpu *v, const struct emul_insn *d, unsigned reg, unsigned size)
{
	if (unlikely(size == 1) && !d->rex && reg >= 4) /* AH CH DH BH */
		return v->gpr[reg - 4] >> 8 & 0xff;
	return v->gpr[reg] & emul_mask(size);
}

void emul_reg_set(struct vcpu *v, const struct emul_insn *d, unsigned reg, unsigned size, uint64_t val)
{
	uint64_t *r = &v->gpr[reg];

	switch (size) {
	case 8:
		*r = val;
		break;
	case 4:
		*r = (uint32_t)val;
		break;
	case 2:
		*r = (*r & ~0xffffull) | (val & 0xffff);
		break;
	default:
		if (!d->rex && reg >= 4) {
			r = &v->gpr[reg - 4];
			*r = (*r & ~0xff00ull) | (val & 0xff) << 8;
		} else
			*r = (*r & ~0xffull) | (val & 0xff);
	}
}

uint64_t emul_address(const struct vcpu *v, const struct emul_insn *d, unsigned rsp_add)
{
	uint64_t ea = (uint64_t)d->disp;

	if (likely(d->base < 16)) {
		ea += v->gpr[d->base];
		if (d->base == 4)
			ea += rsp_add;
	} else if (d->base == INSN_REG_RIP)
		ea += v->rip + d->length;
	if (unlikely(d->index != INSN_REG_NONE))
		ea += v->gpr[d->index] << d->shift;
	if (unlikely(d->op >= OP_BT && d->op <= OP_BTC && d->form == FORM_MR)) { /* the bit string reaches beyond the operand */
		unsigned shift = 64 - 8 * d->op_size;
		int64_t bit = (int64_t)(v->gpr[d->reg] << shift) >> shift;

		ea += (uint64_t)(bit >> (2 + __builtin_ffs(d->op_size))) << (__builtin_ffs(d->op_size) - 1);
	}
	return ea & emul_mask(d->addr_size);
}

static bool alignment_faults(struct vcpu *v, const struct emul_insn *d, uint64_t linear)
{
	if (d->prefix & INSN_ALIGNED) {
		emul_raise(v, EXC_GP, 0);
		return true;
	}
	if (d->mem_size > 8 || !(v->rflags & FLAG_AC) || !(hv->get_cr(v, HV_CR0) & CR0_AM) || emul_cpl(v) != 3)
		return false;
	vcpu_raise_error(v, EXC_AC, 0);
	return true;
}

/* Linear address of the memory operand, all checks made. */
static enum emul_step operand(struct vcpu *v, const struct emul_insn *d, bool write, unsigned rsp_add, uint64_t *linear)
{
	if (unlikely(!emul_linear(v, d->mode, d->seg, emul_address(v, d, rsp_add), d->mem_size, write, linear)))
		return STEP_FAULT;
	if (unlikely(*linear & (d->mem_size - 1)) && alignment_faults(v, d, *linear))
		return STEP_FAULT;
	return STEP_OK;
}

static unsigned walk_user(struct vcpu *v) { return emul_cpl(v) == 3 ? WALK_USER : 0; }

/*
 * A plain read or write of the one operand. The CPU has already walked to the page that faulted, with this kind of access:
 * when the operand can only be there, its address need not be walked again.
 */
static enum emul_step access_once(struct vcpu *v, struct emul *e, uint64_t linear, void *buf, bool write)
{
	unsigned size = e->insn.mem_size;

	if (likely(e->fault_valid && e->fault_write == write && !((linear ^ e->fault.v) & PAGE_MASK) && (linear & PAGE_MASK) + size <= PAGE_SIZE))
		return emul_access_at(v, e->fault, buf, size, write);
	return emul_access(v, linear, buf, size, walk_user(v) | (write ? WALK_WRITE : 0));
}

static enum emul_step read_operand(struct vcpu *v, struct emul *e, uint64_t *val)
{
	uint64_t linear;
	enum emul_step s = operand(v, &e->insn, false, 0, &linear);

	*val = 0;
	return likely(s == STEP_OK) ? access_once(v, e, linear, val, false) : s;
}

static enum emul_step write_operand(struct vcpu *v, struct emul *e, uint64_t val, unsigned rsp_add)
{
	uint64_t linear;
	enum emul_step s = operand(v, &e->insn, true, rsp_add, &linear);

	return likely(s == STEP_OK) ? access_once(v, e, linear, &val, true) : s;
}

static uint64_t source(const struct vcpu *v, const struct emul_insn *d)
{
	return d->form == FORM_MI ? d->imm & emul_mask(d->op_size) : emul_reg_get(v, d, d->form == FORM_MA ? 0 : d->reg, d->op_size);
}

static enum emul_step do_mov(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	enum emul_step s;
	uint64_t val;

	if (d->form != FORM_RM && d->form != FORM_AM)
		return write_operand(v, e, source(v, d), 0);
	s = read_operand(v, e, &val);
	if (likely(s == STEP_OK))
		emul_reg_set(v, d, d->form == FORM_AM ? 0 : d->reg, d->op_size, val);
	return s;
}

static enum emul_step do_extend(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	unsigned shift = 64 - 8 * d->mem_size;
	uint64_t val;
	enum emul_step s = read_operand(v, e, &val);

	if (s != STEP_OK)
		return s;
	if (d->op == OP_MOVSX)
		val = (uint64_t)((int64_t)(val << shift) >> shift);
	emul_reg_set(v, d, d->reg, d->op_size, val);
	return STEP_OK;
}

/* Operations that only read the memory operand: into a register, or for the flags. */
static enum emul_step do_alu_read(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	uint64_t mem, r, flags = v->rflags;
	enum emul_step s = read_operand(v, e, &mem);

	if (s != STEP_OK)
		return s;
	if (d->form == FORM_RM) {
		r = emul_alu(d->op, source(v, d), mem, d->op_size, &flags);
		if (d->op != OP_CMP)
			emul_reg_set(v, d, d->reg, d->op_size, r);
	} else
		emul_alu(d->op, mem, source(v, d), d->op_size, &flags);
	v->rflags = flags;
	return STEP_OK;
}

static enum emul_step do_modify(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	unsigned walk = walk_user(v) | WALK_WRITE, size = d->op_size;
	uint64_t linear, old = 0, src, new_value, acc = v->gpr[0] & emul_mask(size), flags = v->rflags;
	enum emul_step s = operand(v, d, true, 0, &linear);

	if (s == STEP_OK)
		s = emul_access(v, linear, &old, size, walk | WALK_READS);
	if (s != STEP_OK)
		return s;
	src = d->form == FORM_M ? 0 : source(v, d);
	if (d->op == OP_CMPXCHG) {
		emul_alu(OP_CMP, acc, old, size, &flags);
		new_value = acc == old ? src : old;
	} else
		new_value = emul_alu(d->op, old, src, size, &flags);
	s = emul_write_back(v, linear, old, new_value, size, walk);
	if (s != STEP_OK)
		return s;
	if (d->op == OP_XCHG || d->op == OP_XADD)
		emul_reg_set(v, d, d->reg, size, old);
	if (d->op == OP_CMPXCHG && acc != old)
		v->gpr[0] = size == 4 ? old : (v->gpr[0] & ~emul_mask(size)) | old;
	v->rflags = flags;
	return STEP_OK;
}

static unsigned stack_size(struct vcpu *v, unsigned mode)
{
	struct vmm_segment ss;

	if (mode == 8)
		return 8;
	hv->get_seg(v, HV_SS, &ss);
	return ss.attr & ATTR_DB ? 4 : 2;
}

static enum emul_step stack_access(struct vcpu *v, const struct emul_insn *d, uint64_t rsp, uint64_t *val, bool write)
{
	uint64_t linear;

	if (!emul_linear(v, d->mode, HV_SS, rsp, d->op_size, write, &linear))
		return STEP_FAULT;
	return emul_access(v, linear, val, d->op_size, walk_user(v) | (write ? WALK_WRITE : 0));
}

static enum emul_step do_push(struct vcpu *v, struct emul *e)
{
	unsigned width = stack_size(v, e->insn.mode);
	uint64_t val, rsp = (emul_areg_get(v, 4, width) - e->insn.op_size) & emul_mask(width);
	enum emul_step s = read_operand(v, e, &val);

	if (s == STEP_OK)
		s = stack_access(v, &e->insn, rsp, &val, true);
	if (s == STEP_OK)
		emul_areg_set(v, 4, width, rsp);
	return s;
}

static enum emul_step do_pop(struct vcpu *v, struct emul *e)
{
	unsigned width = stack_size(v, e->insn.mode), size = e->insn.op_size;
	uint64_t val = 0, rsp = emul_areg_get(v, 4, width);
	enum emul_step s = stack_access(v, &e->insn, rsp, &val, false);

	if (s == STEP_OK)
		s = write_operand(v, e, val, size);
	if (s == STEP_OK)
		emul_areg_set(v, 4, width, rsp + size);
	return s;
}

static enum emul_step do_sse(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	bool store = d->op == OP_SSE_STORE;
	uint64_t val[2] = { 0, 0 }, linear;
	enum emul_step s = operand(v, d, store, 0, &linear);

	if (s != STEP_OK)
		return s;
	if (store)
		emul_xmm_get(v, d->reg, val);
	s = access_once(v, e, linear, val, store);
	if (s == STEP_OK && !store)
		emul_xmm_set(v, d->reg, val);
	return s;
}

static enum emul_step execute_op(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;

	if (likely(d->op == OP_MOV))
		return do_mov(v, e);
	switch (d->op) {
	case OP_MOVZX: case OP_MOVSX:
		return do_extend(v, e);
	case OP_CMP: case OP_TEST: case OP_BT:
		return do_alu_read(v, e);
	case OP_PUSH:
		return do_push(v, e);
	case OP_POP:
		return do_pop(v, e);
	case OP_SSE_LOAD: case OP_SSE_STORE:
		return do_sse(v, e);
	case OP_NONE:
		return STEP_OK;
	default:
		return d->form == FORM_RM ? do_alu_read(v, e) : do_modify(v, e);
	}
}

enum emul_step emul_execute(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	enum emul_step s;

	if (unlikely(d->form == FORM_STRING))
		return emul_execute_string(v, e);
	if (unlikely(!d->has_mem && d->op != OP_NONE)) /* the code changed under the exit: let the CPU see for itself */
		return STEP_RETRY;
	s = execute_op(v, e);
	if (likely(s == STEP_OK))
		emul_advance(v, d->length);
	return s;
}
