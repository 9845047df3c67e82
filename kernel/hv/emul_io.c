/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O exits: IN and OUT by the short path; INS and OUTS one element at a time where ring 0 answers, in chunks of up to 1024
 * bytes where ring 3 does; the backdoor's port, also from ring 3 of the guest by way of its #GP.
 *
 * I/O permission was checked by the hardware before the exit (APM vol 2, 15.10.1), memory operands are checked here. INS looks
 * at its destination before it reads the port, so no byte that a device gave is lost. A chunk stays in one page, and its
 * registers are committed when the answer is there: an interrupt or a fault comes between chunks.
 */
#include "hv/emul_priv.h"

static void set_rax(struct vcpu *v, unsigned size, uint32_t val)
{
	uint64_t *rax = &v->gpr[0];

	if (size == 4)
		*rax = val;
	else if (size == 2)
		*rax = (*rax & ~0xffffull) | (uint16_t)val;
	else
		*rax = (*rax & ~0xffull) | (uint8_t)val;
}

/* Ring 3's question from *io, which is also what the answer will be needed for. */
static void ask_ring3(struct vcpu *v, enum emul_cont cont, const struct emul_port *io)
{
	EMUL_OF(v)->cont = cont;
	v->run->exit = VMM_EXIT_IO;
	v->run->io.port = io->port;
	v->run->io.size = io->size;
	v->run->io.in = io->in;
	v->run->io.count = io->count;
}

static void port_set(struct vcpu *v, uint16_t port, unsigned size, bool in, unsigned insn_len)
{
	EMUL_OF(v)->io = (struct emul_port){ .port = port, .size = (uint8_t)size, .insn_len = (uint8_t)insn_len, .in = in, .addr_size = 8, .count = 1 };
}

/* ---- the backdoor ---- */

enum emul_result emul_backdoor(struct vcpu *v, unsigned insn_len)
{
	if (backdoor_call(v) == BACKDOOR_DONE) {
		emul_advance(v, insn_len);
		return EMUL_DONE;
	}
	port_set(v, BACKDOOR_PORT, 4, true, insn_len);
	EMUL_OF(v)->cont = CONT_RPC;
	v->run->exit = VMM_EXIT_RPC;
	memcpy(v->run->rpc.gpr, v->gpr, sizeof(v->run->rpc.gpr));
	return EMUL_RING3;
}

static void backdoor_answer(struct vcpu *v)
{
	for (unsigned i = 0; i < 8; i++)
		if (i != 4) /* not RSP */
			v->gpr[i] = READ_ONCE(v->run->rpc.gpr[i]);
}

/* ---- IN and OUT ---- */

static enum emul_result io_simple(struct vcpu *v, uint16_t port, unsigned size, bool in, unsigned insn_len)
{
	uint32_t val = in ? 0 : (uint32_t)(v->gpr[0] & emul_mask(size));

	if (unlikely(port == BACKDOOR_PORT) && size == 4 && (uint32_t)v->gpr[0] == BACKDOOR_MAGIC)
		return emul_backdoor(v, insn_len);
	if (likely(bus_port(v, port, size, in, &val) == BUS_DONE)) {
		if (in)
			set_rax(v, size, val);
		emul_advance(v, insn_len);
		return EMUL_DONE;
	}
	port_set(v, port, size, in, insn_len);
	ask_ring3(v, CONT_PORT, &EMUL_OF(v)->io);
	memcpy(v->run->io.data, &val, 4);
	return EMUL_RING3;
}

/* ---- INS and OUTS ---- */

/* Elements from here on that stay in the page, in the segment and in the address size; at least 1. */
static uint32_t chunk_limit(struct vcpu *v, const struct emul_insn *d, enum hv_seg seg, uint64_t offset, uint64_t linear)
{
	uint64_t bytes = PAGE_SIZE - (linear & PAGE_MASK), wrap = emul_mask(d->addr_size) - offset;
	struct vmm_segment s;

	if (v->rflags & (FLAG_DF | FLAG_TF))
		return 1;
	bytes = MIN(bytes, sizeof(v->run->io.data));
	if (wrap < bytes)
		bytes = wrap + 1;
	if (d->mode != 8) {
		hv->get_seg(v, seg, &s);
		if (!(s.attr & ATTR_CODE) && (s.attr & ATTR_DOWN))
			return 1;
		bytes = MIN(bytes, (uint64_t)s.limit - offset + 1);
	}
	return bytes < d->op_size ? 1 : (uint32_t)(bytes / d->op_size);
}

/* Checks and translates the next element; *count: how many may be taken at once (in: the most wanted). */
static enum emul_step locate(struct vcpu *v, struct emul *e, uint32_t *count)
{
	const struct emul_insn *d = &e->insn;
	bool in = d->op == OP_INS;
	enum hv_seg seg = in ? HV_ES : d->seg;
	uint64_t offset = emul_areg_get(v, in ? 7 : 6, d->addr_size), linear;
	unsigned walk = (emul_cpl(v) == 3 ? WALK_USER : 0) | (in ? WALK_WRITE : 0), left;
	enum emul_step s;

	if (!emul_linear(v, d->mode, seg, offset, d->op_size, in, &linear))
		return STEP_FAULT;
	*count = MIN(*count, chunk_limit(v, d, seg, offset, linear));
	left = (unsigned)(PAGE_SIZE - (linear & PAGE_MASK));
	e->io.first = *count * d->op_size;
	s = emul_translate(v, linear, walk, &e->io.at[0]);
	if (s == STEP_OK && left < e->io.first) { /* one element across two pages */
		uint64_t second = linear + left;

		e->io.first = left;
		s = emul_translate(v, d->mode == 8 ? second : (uint32_t)second, walk, &e->io.at[1]);
	}
	return s;
}

/* RAM, or ROM for reading; writes to ROM are dropped. */
static bool ram_copy(struct vcpu *v, gpa_t at, void *buf, unsigned n, bool write)
{
	const struct vm_range *r = vm_range_find(v->vm, at);

	if (!r || r->kind == VMM_RANGE_MMIO3)
		return false;
	if (write && r->kind == VMM_RANGE_ROM)
		return true;
	return (write ? gmem_write(v->vm, at, buf, n) : gmem_read(v->vm, at, buf, n)) == 0;
}

static enum emul_step copy_located(struct vcpu *v, const struct emul_port *io, void *buf, unsigned n, bool write)
{
	if (ram_copy(v, io->at[0], buf, MIN(n, io->first), write) &&
	    (n <= io->first || ram_copy(v, io->at[1], (uint8_t *)buf + io->first, n - io->first, write)))
		return STEP_OK;
	vcpu_stop(v, "emulation: string I/O on port %#x with memory at gpa %#llx, where no RAM is", io->port, (unsigned long long)io->at[0].v);
	return STEP_FAIL;
}

/* Registers after count elements. True: the instruction is over. */
static bool string_commit(struct vcpu *v, const struct emul_port *io, uint32_t count)
{
	unsigned reg = io->in ? 7 : 6;
	uint64_t step = (uint64_t)count * io->size;

	emul_areg_set(v, reg, io->addr_size, v->rflags & FLAG_DF ? v->gpr[reg] - step : v->gpr[reg] + step);
	if (!io->rep)
		return true;
	emul_areg_set(v, 1, io->addr_size, v->gpr[1] - count);
	return emul_areg_get(v, 1, io->addr_size) == 0;
}

/* One element in ring 0, or a chunk for ring 3. */
static enum emul_step string_step(struct vcpu *v, struct emul *e, bool *over)
{
	struct emul_port *io = &e->io;
	uint32_t val = 0, most = io->rep ? (uint32_t)MIN(emul_areg_get(v, 1, io->addr_size), 1024) : 1;
	enum emul_step s = locate(v, e, &most);

	if (s != STEP_OK)
		return s;
	if (!io->in)
		s = copy_located(v, io, &val, io->size, false);
	if (s != STEP_OK)
		return s;
	if (bus_port(v, io->port, io->size, io->in, &val) == BUS_DONE) {
		if (io->in)
			s = copy_located(v, io, &val, io->size, true);
		if (s == STEP_OK)
			*over = string_commit(v, io, 1);
		return s;
	}
	io->count = most;
	if (!io->in)
		s = copy_located(v, io, v->run->io.data, most * io->size, false);
	if (s != STEP_OK)
		return s;
	ask_ring3(v, CONT_STRING, io);
	return STEP_RING3;
}

/* After a step that finished elements: on, or back to the guest? */
static enum emul_step string_end(struct vcpu *v, const struct emul_port *io, bool over)
{
	if (over) {
		emul_advance(v, io->insn_len);
		return STEP_OK;
	}
	if (v->rflags & FLAG_TF)
		emul_trap_step(v);
	return STEP_RETRY;
}

static enum emul_step io_string(struct vcpu *v, struct emul *e, uint16_t port)
{
	const struct emul_insn *d = &e->insn;
	bool over = false;

	if (d->op != OP_INS && d->op != OP_OUTS) /* the code changed under the exit */
		return STEP_RETRY;
	e->io = (struct emul_port){ .port = port, .size = d->op_size, .insn_len = d->length, .in = d->op == OP_INS,
				    .rep = d->prefix & (INSN_REP | INSN_REPNE), .addr_size = d->addr_size };
	if (e->io.rep && !emul_areg_get(v, 1, d->addr_size)) {
		emul_advance(v, d->length);
		return STEP_OK;
	}
	for (unsigned n = 0; n < EMUL_REP_MAX && !over; n++) {
		enum emul_step s = string_step(v, e, &over);

		if (s != STEP_OK)
			return s;
		if ((v->rflags & FLAG_TF) || READ_ONCE(v->request))
			break;
	}
	return string_end(v, &e->io, over);
}

/* ---- entry points ---- */

enum emul_result emul_io(struct vcpu *v)
{
	const struct hv_exit *x = &v->exit;
	struct emul *e;
	enum emul_step s;

	if (likely(!x->io.string && x->insn_len))
		return io_simple(v, x->io.port, x->io.size, x->io.in, x->insn_len);
	e = EMUL_OF(v);
	e->cont = CONT_NONE;
	e->pos = e->nr = 0;
	e->fault_valid = false;
	s = emul_fetch_decode(v, e);
	if (s != STEP_OK)
		return emul_finish(v, s);
	if (x->io.string)
		return emul_finish(v, io_string(v, e, x->io.port));
	if (e->insn.op != OP_IN && e->insn.op != OP_OUT)
		return EMUL_DONE;
	return io_simple(v, x->io.port, x->io.size, x->io.in, e->insn.length);
}

enum emul_result emul_io_resume(struct vcpu *v, struct emul *e)
{
	struct emul_port *io = &e->io;
	enum emul_cont cont = e->cont;
	enum emul_step s = STEP_OK;
	uint32_t val;

	e->cont = CONT_NONE;
	if (cont == CONT_STRING) {
		if (io->in)
			s = copy_located(v, io, v->run->io.data, io->count * io->size, true);
		if (s == STEP_OK)
			s = string_end(v, io, string_commit(v, io, io->count));
		return emul_finish(v, s);
	}
	if (cont == CONT_RPC)
		backdoor_answer(v);
	else if (io->in) {
		memcpy(&val, v->run->io.data, 4);
		set_rax(v, io->size, val);
	}
	emul_advance(v, io->insn_len);
	return EMUL_DONE;
}

bool emul_backdoor_gp(struct vcpu *v, enum emul_result *result)
{
	struct emul *e = EMUL_OF(v);
	uint16_t port = (uint16_t)v->gpr[2];
	const struct emul_insn *d = &e->insn;
	unsigned n, mode;

	if ((uint32_t)v->gpr[0] != BACKDOOR_MAGIC || (port != BACKDOOR_PORT && port != BACKDOOR_HB_PORT))
		return false;
	e->decoded = 0;
	n = emul_fetch_page(v, e->bytes, &mode);
	if (emul_decode(e->bytes, MIN(n, 15u), mode, &e->insn) != DECODE_OK) {
		n = emul_fetch(v, e->bytes, 15);
		if (!n || emul_decode(e->bytes, n, mode, &e->insn) != DECODE_OK)
			return v->exception_valid;
	}
	if ((d->op == OP_IN || d->op == OP_OUT) && d->form == FORM_DX && d->op_size == 4 && port == BACKDOOR_PORT) {
		*result = emul_backdoor(v, d->length);
		return true;
	}
	if ((d->op == OP_INS || d->op == OP_OUTS) && d->op_size == 1 && (d->prefix & (INSN_REP | INSN_REPNE))) {
		*result = emul_finish(v, io_string(v, e, port));
		return true;
	}
	return false;
}
