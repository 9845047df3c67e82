/* SPDX-License-Identifier: Apache-2.0 */
/* Nested faults where no RAM is: a device's registers, ROM being written, nothing at all, or a guest whose page tables lie in one of these. */
#include "hv/emul_priv.h"

static bool walks(struct vcpu *v, const struct emul_insn *d, enum hv_seg seg, uint64_t offset, bool write)
{
	unsigned walk = (emul_cpl(v) == 3 ? WALK_USER : 0) | (write ? WALK_WRITE : 0);
	uint64_t linear;
	gpa_t at;

	return emul_linear(v, d->mode, seg, offset, 1, write, &linear) && emul_translate(v, linear, walk, &at) == STEP_OK;
}

/*
 * For instructions whose meaning the decoder does not know. Which access led to the tables the exit does not say: the likely
 * ones (the operand, the stack, string registers) are walked in turn, and the first that faults is raised.
 */
enum emul_step emul_table_fault(struct vcpu *v, const struct emul_insn *d)
{
	uint64_t mask = emul_mask(d->mode), rsp = v->gpr[4];

	if (d->has_mem && !walks(v, d, d->seg, emul_address(v, d, 0), v->exit.mem.write))
		return STEP_FAULT;
	if (!walks(v, d, HV_SS, (rsp - d->mode) & mask, true) || !walks(v, d, HV_SS, rsp & mask, false))
		return STEP_FAULT;
	if (!walks(v, d, HV_DS, v->gpr[6] & mask, false) || !walks(v, d, HV_ES, v->gpr[7] & mask, false))
		return STEP_FAULT;
	return STEP_OK;
}

static enum emul_result mmio_refused(struct vcpu *v, const char *what)
{
	vcpu_stop(v, "emulation: %s gpa %#llx, where no memory is (RIP %#llx)", what, (unsigned long long)v->exit.mem.gpa.v, (unsigned long long)v->rip);
	return EMUL_FAIL;
}

/*
 * The common case in one piece: a MOV in 64-bit mode between a register or immediate and a naturally aligned device register,
 * the operand being where the CPU faulted. False: not that, nothing done.
 */
static bool mov_device(struct vcpu *v, struct emul *e, enum emul_step *s)
{
	const struct emul_insn *d = &e->insn;
	bool write = d->form != FORM_RM;
	uint64_t val = 0;

	if (d->op != OP_MOV || d->form > FORM_MI || d->mode != 8 || write != e->fault_write || !e->fault_valid || !d->has_mem || d->seg >= HV_FS ||
	    (e->fault.v & (d->mem_size - 1u)) || ((emul_address(v, d, 0) ^ e->fault.v) & PAGE_MASK))
		return false;
	if (write)
		val = d->form == FORM_MI ? d->imm & emul_mask(d->op_size) : emul_reg_get(v, d, d->reg, d->op_size);
	*s = emul_device_once(v, e->fault, d->mem_size, write, &val);
	if (likely(*s == STEP_OK)) {
		if (!write)
			emul_reg_set(v, d, d->reg, d->op_size, val);
		emul_advance(v, d->length);
	}
	return true;
}

enum emul_result emul_mmio(struct vcpu *v)
{
	struct emul *e = EMUL_OF(v);
	enum emul_step s;

	if (unlikely(v->reinject_valid))
		return mmio_refused(v, "the delivery of an event touches");
	if (unlikely(v->exit.mem.exec && !v->exit.mem.walk))
		return mmio_refused(v, "instruction fetch from");
	e->cont = CONT_NONE;
	e->pos = e->nr = 0;
	e->fault = v->exit.mem.gpa;
	e->fault_write = v->exit.mem.write;
	e->fault_valid = !v->exit.mem.walk;
	s = emul_fetch_decode(v, e);
	if (likely(s == STEP_OK) && !mov_device(v, e, &s))
		s = emul_execute(v, e);
	return emul_finish(v, s);
}
