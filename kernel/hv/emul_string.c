/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOVS, CMPS, STOS, LODS and SCAS with a device on one side or both. Each iteration commits by itself, so an interrupt, a fault
 * or the end of this exit's share of work can come between two, RIP still at the instruction.
 */
#include "hv/emul_priv.h"

static enum emul_step element(struct vcpu *v, const struct emul_insn *d, enum hv_seg seg, unsigned reg, uint64_t *val, bool write)
{
	uint64_t linear;

	if (!emul_linear(v, d->mode, seg, emul_areg_get(v, reg, d->addr_size), d->op_size, write, &linear))
		return STEP_FAULT;
	if (unlikely(linear & (d->op_size - 1)) && (v->rflags & FLAG_AC) && (hv->get_cr(v, HV_CR0) & CR0_AM) && emul_cpl(v) == 3) {
		vcpu_raise_error(v, EXC_AC, 0);
		return STEP_FAULT;
	}
	return emul_access(v, linear, val, d->op_size, (emul_cpl(v) == 3 ? WALK_USER : 0) | (write ? WALK_WRITE : 0));
}

static void step_reg(struct vcpu *v, const struct emul_insn *d, unsigned reg)
{
	uint64_t n = v->rflags & FLAG_DF ? -(uint64_t)d->op_size : d->op_size;

	emul_areg_set(v, reg, d->addr_size, v->gpr[reg] + n);
}

/* One iteration but for the count. */
static enum emul_step iterate(struct vcpu *v, const struct emul_insn *d)
{
	bool si = d->op == OP_MOVS || d->op == OP_CMPS || d->op == OP_LODS, di = d->op != OP_LODS;
	bool store = d->op == OP_MOVS || d->op == OP_STOS;
	uint64_t a = v->gpr[0] & emul_mask(d->op_size), b = 0;
	enum emul_step s = STEP_OK;

	if (si) {
		a = 0;
		s = element(v, d, d->seg, 6, &a, false);
	}
	if (s == STEP_OK && di) {
		if (store)
			b = a;
		s = element(v, d, HV_ES, 7, &b, store);
	}
	if (s != STEP_OK)
		return s;
	if (d->op == OP_LODS)
		emul_reg_set(v, d, 0, d->op_size, a);
	else if (!store)
		emul_alu(OP_CMP, a, b, d->op_size, &v->rflags);
	if (si)
		step_reg(v, d, 6);
	if (di)
		step_reg(v, d, 7);
	return STEP_OK;
}

/* After an iteration under REP: is the instruction over? */
static bool rep_ends(struct vcpu *v, const struct emul_insn *d)
{
	emul_areg_set(v, 1, d->addr_size, v->gpr[1] - 1);
	if (!emul_areg_get(v, 1, d->addr_size))
		return true;
	if (d->op != OP_CMPS && d->op != OP_SCAS)
		return false;
	return !!(v->rflags & FLAG_ZF) == !!(d->prefix & INSN_REPNE);
}

enum emul_step emul_execute_string(struct vcpu *v, struct emul *e)
{
	const struct emul_insn *d = &e->insn;
	bool rep = d->prefix & (INSN_REP | INSN_REPNE);

	if (d->op == OP_INS || d->op == OP_OUTS) /* only I/O exits execute these */
		return STEP_RETRY;
	if (rep && !emul_areg_get(v, 1, d->addr_size)) {
		emul_advance(v, d->length);
		return STEP_OK;
	}
	for (unsigned n = 0; n < EMUL_REP_MAX; n++) {
		enum emul_step s = iterate(v, d);

		if (s != STEP_OK)
			return s;
		e->pos = e->nr = 0;
		if (!rep || rep_ends(v, d)) {
			emul_advance(v, d->length);
			return STEP_OK;
		}
		if (v->rflags & FLAG_TF) {
			emul_trap_step(v);
			return STEP_RETRY;
		}
		if (READ_ONCE(v->request))
			break;
	}
	return STEP_RETRY;
}
