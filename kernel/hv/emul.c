/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emulation's frame: fetching and decoding at RIP, leaving an instruction behind, the continuation across ring 3's answers and
 * its saved form. What an EMUL_FAIL means has then been said by vcpu_stop().
 */
#include "hv/emul_priv.h"

/* ---- leaving an instruction ---- */

void emul_trap_step(struct vcpu *v)
{
	hv->set_cr(v, HV_DR6, hv->get_cr(v, HV_DR6) | DR6_BS);
	vcpu_raise(v, EXC_DB);
}

void emul_advance(struct vcpu *v, unsigned len)
{
	uint64_t next = v->rip + len;

	if (unlikely((next ^ v->rip) >> 16)) { /* only there can RIP wrap */
		unsigned mode = emul_mode(v);

		if (mode != 8)
			next &= emul_mask(mode);
	}
	v->rip = next;
	hv->clear_shadow(v);
	if (unlikely(v->rflags & (FLAG_TF | FLAG_RF))) {
		v->rflags &= ~FLAG_RF;
		if (v->rflags & FLAG_TF)
			emul_trap_step(v);
	}
}

/* ---- lengths of instructions that exits imply ---- */

const struct emul_spelling emul_spelling[HV_EXIT_KINDS] = {
	[HV_EXIT_CPUID] = { 0xa20f, 0xffff, 2 },
	[HV_EXIT_RDMSR] = { 0x320f, 0xffff, 2 },
	[HV_EXIT_WRMSR] = { 0x300f, 0xffff, 2 },
	[HV_EXIT_HLT] = { 0xf4, 0xff, 1 },
	[HV_EXIT_HYPERCALL] = { 0xd9010f, 0xffffff, 3 },
	[HV_EXIT_XSETBV] = { 0xd1010f, 0xffffff, 3 },
	[HV_EXIT_PAUSE] = { 0x90f3, 0xffff, 2 },
};

static unsigned spelled(const uint8_t *p, unsigned n, enum hv_exit_kind kind)
{
	const struct emul_spelling *s = &emul_spelling[kind];
	uint32_t first = 0;

	for (unsigned i = 0; i < n && i < 3; i++)
		first |= (uint32_t)p[i] << 8 * i;
	return n >= s->length && (first & s->mask) == s->value ? s->length : 0;
}

/* After prefixes: the same, and what has several spellings. */
static unsigned spelled_any(const uint8_t *p, unsigned n, enum hv_exit_kind kind, uint8_t prefix)
{
	bool two = n >= 2 && p[0] == 0x0f, three = two && n >= 3;

	switch (kind) {
	case HV_EXIT_CACHE: /* INVD, WBINVD, WBNOINVD */
		return two && (p[1] == 0x08 || p[1] == 0x09) ? 2 : 0;
	case HV_EXIT_PAUSE:
		return n && p[0] == 0x90 && prefix == 0xf3;
	case HV_EXIT_HYPERCALL:
		return three && p[1] == 0x01 && (p[2] == 0xd9 || p[2] == 0xc1) ? 3 : 0;
	case HV_EXIT_CR_ACCESS: case HV_EXIT_DR_ACCESS:
		if (two && p[1] == 0x06) /* CLTS */
			return 2;
		return three && (p[1] & 0xfc) == 0x20 ? 3 : 0;
	default:
		return spelled(p, n, kind);
	}
}

static bool is_prefix(uint8_t b)
{
	switch (b) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return (b & 0xf0) == 0x40; /* REX; outside 64-bit mode these are instructions that never exit */
	}
}

unsigned emul_simple_length(const uint8_t *bytes, unsigned n, enum hv_exit_kind kind)
{
	unsigned i = 0, len = spelled(bytes, n, kind);
	uint8_t prefix = 0;

	if (likely(len))
		return len;
	while (i < n && is_prefix(bytes[i])) {
		if (bytes[i] >= 0xf2)
			prefix = bytes[i];
		i++;
	}
	len = spelled_any(bytes + i, n - i, kind, prefix);
	return len && i + len <= 15 ? i + len : 0;
}

unsigned emul_exit_length_slow(struct vcpu *v)
{
	uint8_t bytes[16] __attribute__((aligned(8)));
	unsigned mode, n, len;

	n = emul_fetch_page(v, bytes, &mode);
	len = emul_simple_length(bytes, n, v->exit.kind);
	if (likely(len))
		return len;
	n = emul_fetch(v, bytes, 15);
	return emul_simple_length(bytes, n, v->exit.kind);
}

enum emul_result emul_skip(struct vcpu *v)
{
	unsigned len = v->exit.insn_len;

	if (!len)
		len = emul_exit_length(v);
	if (unlikely(!len)) {
		if (v->exception_valid) /* the page is gone meanwhile */
			return EMUL_DONE;
		vcpu_stop(v, "emulation: no instruction of exit kind %d at RIP %#llx", v->exit.kind, (unsigned long long)v->rip);
		return EMUL_FAIL;
	}
	emul_advance(v, len);
	return EMUL_DONE;
}

/* ---- fetch and decode ---- */

static void stop_unknown(struct vcpu *v, const struct emul *e, unsigned n)
{
	char hex[3 * 15 + 1] = "";

	for (unsigned i = 0; i < n && i < 15; i++)
		snprintf(hex + 3 * i, 4, "%02x ", e->bytes[i]);
	vcpu_stop(v, "emulation: instruction not known at RIP %#llx: %s(exit at gpa %#llx)", (unsigned long long)v->rip, hex,
		  (unsigned long long)e->fault.v);
}

/* The bytes end at n with the instruction unfinished: what would the CPU say to the next one? */
static enum emul_step fetch_beyond(struct vcpu *v, unsigned mode, unsigned n)
{
	uint64_t linear = v->rip + n;
	struct vmm_segment cs;
	gpa_t at;

	if (n >= 15) {
		emul_raise(v, EXC_GP, 0);
		return STEP_FAULT;
	}
	if (mode != 8) {
		hv->get_seg(v, HV_CS, &cs);
		if (linear > cs.limit) {
			emul_raise(v, EXC_GP, 0);
			return STEP_FAULT;
		}
		linear = (uint32_t)(cs.base + linear);
	}
	if (emul_translate(v, linear, WALK_EXEC | (emul_cpl(v) == 3 ? WALK_USER : 0), &at) == STEP_FAULT)
		return STEP_FAULT;
	vcpu_stop(v, "emulation: instruction at RIP %#llx continues at gpa %#llx, where no memory is", (unsigned long long)v->rip, (unsigned long long)at.v);
	return STEP_FAIL;
}

/* Device accesses come from few places: the last instruction is remembered by its bytes. */
enum emul_step emul_fetch_decode(struct vcpu *v, struct emul *e)
{
	unsigned n, mode;
	enum decode_result r;
	uint64_t words[2] = { 0, 0 };

	if (unlikely(v->exit.insn_bytes_n)) {
		n = v->exit.insn_bytes_n;
		mode = emul_mode(v);
		memcpy(words, v->exit.insn_bytes, 15);
	} else {
		n = emul_fetch_page(v, (uint8_t *)words, &mode);
		if (likely(n == 16 && e->decoded == mode && e->words[0] == words[0] && e->words[1] == words[1]))
			return STEP_OK;
	}
	e->words[0] = words[0];
	e->words[1] = words[1];
	r = emul_decode(e->bytes, MIN(n, 15u), mode, &e->insn);
	e->decoded = r == DECODE_OK && n == 16 ? (uint8_t)mode : 0;
	if (unlikely(r == DECODE_SHORT)) {
		n = emul_fetch(v, e->bytes, 15);
		r = emul_decode(e->bytes, n, mode, &e->insn);
		if (!n && v->exception_valid)
			return STEP_FAULT;
		if (r == DECODE_SHORT)
			return fetch_beyond(v, mode, n);
	}
	e->nr_bytes = (uint8_t)MIN(n, 15u);
	if (likely(r == DECODE_OK))
		return STEP_OK;
	if (r == DECODE_INVALID) {
		vcpu_raise(v, EXC_UD);
		return STEP_FAULT;
	}
	if (v->exit.kind == HV_EXIT_NESTED_FAULT && v->exit.mem.walk && emul_table_fault(v, &e->insn) == STEP_FAULT)
		return STEP_FAULT;
	stop_unknown(v, e, n);
	return STEP_FAIL;
}

/* ---- results and continuations ---- */

enum emul_result emul_finish(struct vcpu *v, enum emul_step s)
{
	if (likely(s != STEP_RING3))
		EMUL_OF(v)->cont = CONT_NONE;
	return s == STEP_RING3 ? EMUL_RING3 : s == STEP_FAIL ? EMUL_FAIL : EMUL_DONE;
}

enum emul_result emul_resume(struct vcpu *v)
{
	struct emul *e = EMUL_OF(v);
	struct emul_access *a;

	if (e->cont == CONT_NONE)
		return EMUL_DONE;
	if (e->cont != CONT_INSN)
		return emul_io_resume(v, e);
	a = &e->log[e->nr - 1];
	if (!a->write) {
		memcpy(&a->val, v->run->mmio.data, 8);
		a->val &= emul_mask(a->size);
	}
	e->pos = 0;
	e->cont = CONT_NONE;
	return emul_finish(v, emul_execute(v, e));
}

int emul_init(struct vcpu *v)
{
	v->emul = kzalloc(sizeof(struct emul), MT_HV);
	if (!v->emul)
		return -ENOMEM;
	EMUL_OF(v)->fetch.page = ~0ull;
	return 0;
}

void emul_free(struct vcpu *v)
{
	kfree(v->emul);
	v->emul = NULL;
}

/* ---- saved state: fields one by one, the instruction as its bytes ---- */

static void save_log(const struct emul *e, struct state_out *o)
{
	state_put_u32(o, e->nr);
	for (unsigned i = 0; i < e->nr; i++) {
		state_put_u64(o, e->log[i].gpa.v);
		state_put_u64(o, e->log[i].val);
		state_put_u8(o, e->log[i].size);
		state_put_u8(o, e->log[i].write);
	}
}

void emul_save(struct vcpu *v, struct state_out *o)
{
	const struct emul *e = v->emul;

	state_begin(o, STATE_EMUL, 1, (uint16_t)v->index);
	state_put_u8(o, (uint8_t)e->cont);
	if (e->cont == CONT_INSN) {
		state_put_u8(o, e->insn.mode);
		state_put_u8(o, e->nr_bytes);
		state_put(o, e->bytes, 15);
		state_put_u8(o, e->fault_valid);
		state_put_u8(o, e->fault_write);
		state_put_u64(o, e->fault.v);
		save_log(e, o);
	} else if (e->cont != CONT_NONE) {
		state_put_u16(o, e->io.port);
		state_put_u8(o, e->io.size);
		state_put_u8(o, e->io.insn_len);
		state_put_u8(o, e->io.in);
		state_put_u8(o, e->io.rep);
		state_put_u8(o, e->io.addr_size);
		state_put_u32(o, e->io.count);
		state_put_u64(o, e->io.at[0].v);
		state_put_u64(o, e->io.at[1].v);
		state_put_u32(o, e->io.first);
	}
	state_end(o);
}

static bool is_size(unsigned n) { return n == 1 || n == 2 || n == 4 || n == 8; }

static bool load_insn(struct emul *e, struct state_in *in)
{
	unsigned mode = state_get_u8(in);

	e->nr_bytes = state_get_u8(in);
	state_get(in, e->bytes, 15);
	e->fault_valid = state_get_u8(in) != 0;
	e->fault_write = state_get_u8(in) != 0;
	e->fault = gpa(state_get_u64(in));
	e->nr = state_get_u32(in);
	if (e->nr == 0 || e->nr > EMUL_LOG || e->nr_bytes > 15 || (mode != 2 && mode != 4 && mode != 8))
		return false;
	for (unsigned i = 0; i < e->nr; i++) {
		e->log[i].gpa = gpa(state_get_u64(in));
		e->log[i].val = state_get_u64(in);
		e->log[i].size = state_get_u8(in);
		e->log[i].write = state_get_u8(in) != 0;
		if (!is_size(e->log[i].size))
			return false;
	}
	return emul_decode(e->bytes, e->nr_bytes, mode, &e->insn) == DECODE_OK;
}

static bool load_port(struct emul *e, struct state_in *in)
{
	e->io.port = state_get_u16(in);
	e->io.size = state_get_u8(in);
	e->io.insn_len = state_get_u8(in);
	e->io.in = state_get_u8(in) != 0;
	e->io.rep = state_get_u8(in) != 0;
	e->io.addr_size = state_get_u8(in);
	e->io.count = state_get_u32(in);
	e->io.at[0] = gpa(state_get_u64(in));
	e->io.at[1] = gpa(state_get_u64(in));
	e->io.first = state_get_u32(in);
	return is_size(e->io.size) && e->io.size <= 4 && e->io.insn_len && e->io.insn_len <= 15 && is_size(e->io.addr_size) && e->io.addr_size > 1 &&
	       e->io.count && e->io.count <= sizeof(((struct vmm_run *)0)->io.data) / e->io.size && e->io.first <= e->io.count * e->io.size;
}

int emul_load(struct vcpu *v, struct state_in *in)
{
	struct emul *e = v->emul, new_state = { .cont = CONT_NONE, .fetch.page = ~0ull };
	unsigned cont = state_get_u8(in);
	bool ok = cont < CONT_COUNT;

	if (cont == CONT_INSN)
		ok = load_insn(&new_state, in);
	else if (ok && cont != CONT_NONE)
		ok = load_port(&new_state, in);
	if (!ok || in->bad)
		return -EINVAL;
	new_state.cont = cont;
	*e = new_state;
	return 0;
}
