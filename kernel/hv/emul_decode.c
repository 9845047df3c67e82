/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pure decoder: bytes to struct emul_insn, driven by the tables of emul_tables.h.
 *
 * An MMIO register access must decode in about a hundred instructions, so nothing is cleared wholesale: each path sets every
 * field that is read later. Reads never pass the n bytes given. Tested against Zydis (emul_decode_test.c).
 */
#include "hv/emul.h"
#include "hv/emul_tables.h"

/* 16-bit addressing: base and index by ModRM.rm. */
static const uint8_t base16[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
static const uint8_t index16[8] = { 6, 7, 6, 7, INSN_REG_NONE, INSN_REG_NONE, INSN_REG_NONE, INSN_REG_NONE };

static int64_t load_signed(const uint8_t *p, unsigned size)
{
	int16_t w;
	int32_t l;
	int64_t q;

	switch (size) {
	case 1:
		return (int8_t)*p;
	case 2:
		__builtin_memcpy(&w, p, 2);
		return w;
	case 4:
		__builtin_memcpy(&l, p, 4);
		return l;
	default:
		__builtin_memcpy(&q, p, 8);
		return q;
	}
}

static const uint8_t *decode_mem16(const uint8_t *p, const uint8_t *end, unsigned mod, unsigned rm, struct emul_insn *d)
{
	unsigned disp = mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 6) ? 2 : 0;

	d->base = base16[rm];
	d->index = index16[rm];
	d->shift = 0;
	if (mod == 0 && rm == 6)
		d->base = INSN_REG_NONE;
	d->seg = d->base == 5 ? HV_SS : HV_DS;
	d->disp = 0;
	if ((unsigned)(end - p) < disp)
		return NULL;
	if (disp)
		d->disp = load_signed(p, disp);
	return p + disp;
}

/* After ModRM, 32- and 64-bit addressing. NULL: bytes missing. */
static const uint8_t *decode_mem(const uint8_t *p, const uint8_t *end, unsigned mod, unsigned rm, struct emul_insn *d)
{
	unsigned disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	d->index = INSN_REG_NONE;
	d->shift = 0;
	d->seg = HV_DS;
	if (unlikely(rm == 4)) {
		unsigned sib, index;

		if (p == end)
			return NULL;
		sib = *p++;
		index = (sib >> 3 & 7) | (d->rex & 2) << 2;
		if (index != 4) {
			d->index = (uint8_t)index;
			d->shift = (uint8_t)(sib >> 6);
		}
		rm = sib & 7;
		d->base = (uint8_t)(rm | (d->rex & 1) << 3);
		if (rm == 5 && mod == 0) {
			d->base = INSN_REG_NONE;
			disp = 4;
		} else if (d->base == 4 || d->base == 5)
			d->seg = HV_SS;
	} else if (unlikely(rm == 5 && mod == 0)) {
		d->base = d->mode == 8 ? INSN_REG_RIP : INSN_REG_NONE;
		disp = 4;
	} else {
		d->base = (uint8_t)(rm | (d->rex & 1) << 3);
		if (d->base == 5)
			d->seg = HV_SS;
	}
	d->disp = 0;
	if (disp) {
		if ((unsigned)(end - p) < disp)
			return NULL;
		d->disp = disp == 1 ? (int8_t)*p : load_signed(p, 4);
	}
	return p + disp;
}

/* 0 or the number of immediate bytes. */
static unsigned imm_size(unsigned kind, const struct emul_insn *d)
{
	unsigned z = d->op_size == 2 ? 2 : 4;

	switch (kind) {
	case IMM_NO:
		return 0;
	case IMM8:
		return 1;
	case IMMZ:
		return z;
	case IMM16:
		return 2;
	case IMMV:
		return d->op_size;
	case IMM_MOFFS:
		return d->addr_size;
	case IMM_ENTER:
		return 3;
	case IMM_FAR:
		return z + 2;
	case IMM_REL: /* Intel's reading of 66 in 64-bit mode; no branch is ever emulated */
		return d->mode == 8 ? 4 : z;
	case IMM_EXTRQ: /* SSE4a, else VMREAD */
		return d->prefix & (INSN_OPSIZE | INSN_REPNE) ? 2 : 0;
	default:      /* group 3: only TEST has one */
		return d->reg & 6 ? 0 : d->op_size == 1 ? 1 : z;
	}
}

/* SSE moves: the mandatory prefix picks the instruction. Others of the same opcodes stay unknown. */
static void decode_sse(struct emul_insn *d)
{
	unsigned prefix = d->prefix & INSN_REPNE ? 0xf2 : d->prefix & INSN_REP ? 0xf3 : d->prefix & INSN_OPSIZE ? 0x66 : 0;
	bool wide = d->rex & 8;
	unsigned size = 0, store = 0, aligned = 0;

	switch (prefix << 8 | d->opcode) {
	case 0x0010: case 0x6610: case 0xf36f: case 0xf2f0:
		size = 16;
		break;
	case 0x0028: case 0x6628: case 0x666f:
		size = 16, aligned = 1;
		break;
	case 0x0011: case 0x6611: case 0xf37f:
		size = 16, store = 1;
		break;
	case 0x0029: case 0x6629: case 0x667f: case 0x002b: case 0x662b: case 0x66e7:
		size = 16, store = aligned = 1;
		break;
	case 0xf310:
		size = 4;
		break;
	case 0xf311:
		size = 4, store = 1;
		break;
	case 0xf210: case 0xf37e:
		size = 8;
		break;
	case 0xf211: case 0x66d6: case 0x0013: case 0x6613: /* the last two: movlps, movlpd */
		size = 8, store = 1;
		break;
	case 0x666e:
		size = wide ? 8 : 4;
		break;
	case 0x667e:
		size = wide ? 8 : 4, store = 1;
		break;
	}
	if (!size || !d->has_mem) {
		d->op = OP_UNKNOWN;
		return;
	}
	d->op = store ? OP_SSE_STORE : OP_SSE_LOAD;
	d->form = store ? FORM_MR : FORM_RM;
	d->op_size = 16;
	d->mem_size = (uint8_t)size;
	if (aligned)
		d->prefix |= INSN_ALIGNED;
}

static void decode_string(struct emul_insn *d)
{
	d->has_mem = 1;
	d->seg = d->seg_override != INSN_REG_NONE ? d->seg_override : HV_DS;
	d->base = d->index = INSN_REG_NONE;
	d->shift = 0;
	d->disp = 0;
	if ((d->op == OP_INS || d->op == OP_OUTS) && d->op_size == 8)
		d->op_size = d->mem_size = 4;
}

/* What only some opcodes need, off the common path. */
static enum decode_result decode_rest(struct emul_insn *d, unsigned flags)
{
	if (d->mode == 8 && (flags & INV64))
		return DECODE_INVALID;
	switch (d->op) {
	case OP_SSE:
		decode_sse(d);
		break;
	case OP_MOVZX: case OP_MOVSX:
		d->mem_size = flags & MEM1 ? 1 : flags & MEM2 ? 2 : 4;
		break;
	case OP_MOV:
		if (d->form != FORM_MR)
			break; /* left of those here: MOVNTI */
		d->op_size = d->mem_size = d->rex & 8 ? 8 : 4;
		if (!d->has_mem)
			return DECODE_INVALID;
		break;
	case OP_IN: case OP_OUT:
		if (d->op_size == 8)
			d->op_size = 4;
		break;
	case OP_NONE: /* clflushopt and clflush; without memory: the fences */
		if (!d->has_mem && d->opcode == 0xae)
			d->op = OP_UNKNOWN;
		break;
	}
	if (d->form == FORM_STRING)
		decode_string(d);
	return d->op == OP_UNKNOWN ? DECODE_UNKNOWN : DECODE_OK;
}

static void set_op_size(struct emul_insn *d, unsigned flags)
{
	if (flags & BYTE)
		d->op_size = 1;
	else if (d->rex & 8)
		d->op_size = 8;
	else if (d->prefix & INSN_OPSIZE)
		d->op_size = d->mode == 2 ? 4 : 2;
	else if (d->mode == 8)
		d->op_size = flags & D64 ? 8 : 4;
	else
		d->op_size = d->mode;
	d->mem_size = d->op_size;
}

/* Steps over the prefixes; returns past the opcode byte, with its map entry in *e. NULL: bytes missing. */
static const uint8_t *decode_prefixes(const uint8_t *p, const uint8_t *end, struct emul_insn *d, const struct opcode **e)
{
	uint8_t b;

	for (;;) {
		if (unlikely(p == end))
			return NULL;
		b = *p++;
		*e = &map1[b];
		if (likely(!((*e)->flags & PFX)))
			break;
		if ((b & 0xf0) == 0x40) {
			if (d->mode != 8)
				break;
			d->rex = b;
			continue;
		}
		d->rex = 0; /* counts only right before the opcode */
		if (!((*e)->flags & SEGPFX)) {
			if ((*e)->op & (INSN_REP | INSN_REPNE))
				d->prefix &= (uint8_t)~(INSN_REP | INSN_REPNE);
			d->prefix |= (*e)->op;
		} else if (d->mode != 8 || (*e)->op >= HV_FS)
			d->seg_override = (*e)->op;
	}
	d->opcode = b;
	return p;
}

/* Second and third opcode bytes. NULL: bytes missing. */
static const uint8_t *decode_map2(const uint8_t *p, const uint8_t *end, struct emul_insn *d, const struct opcode **e)
{
	if (p == end)
		return NULL;
	d->opcode = *p++;
	*e = &map2[d->opcode];
	if (unlikely((*e)->flags & PFX)) {
		*e = (*e)->flags & IMM_KIND ? &map3_imm8 : &map3_plain;
		if (p == end)
			return NULL;
		d->opcode = *p++;
	}
	return p;
}

enum decode_result emul_decode(const uint8_t *bytes, unsigned n, unsigned mode, struct emul_insn *d)
{
	const uint8_t *p = bytes, *end = bytes + n;
	const struct opcode *e;
	unsigned flags, imm, modrm;
	bool two = false;

	d->mode = (uint8_t)mode;
	d->rex = d->prefix = 0;
	d->has_modrm = d->has_mem = 0;
	d->op = OP_UNKNOWN;
	d->seg_override = INSN_REG_NONE;
	p = decode_prefixes(p, end, d, &e);
	if (!p)
		return DECODE_SHORT;
	d->addr_size = (uint8_t)(!(d->prefix & INSN_ADDRSIZE) ? mode : mode == 4 ? 2 : 4);
	if (d->opcode == 0x0f) {
		two = true;
		p = decode_map2(p, end, d, &e);
		if (!p)
			return DECODE_SHORT;
	} else if (unlikely((d->opcode & 0xfe) == 0xc4 || d->opcode == 0x62)) { /* VEX and EVEX where LES, LDS, BOUND cannot be */
		if (p == end)
			return DECODE_SHORT;
		if (mode == 8 || *p >= 0xc0)
			return DECODE_UNKNOWN;
	} else if (unlikely(d->opcode == 0x63) && mode == 8)
		e = &movsxd;

	flags = e->flags;
	d->reg = d->rm = 0;
	if (flags & MODRM) {
		if (unlikely(p == end))
			return DECODE_SHORT;
		modrm = *p++;
		d->has_modrm = 1;
		d->reg = (uint8_t)((modrm >> 3 & 7) | (d->rex & 4) << 1);
		d->rm = (uint8_t)((modrm & 7) | (d->rex & 1) << 3);
		if (modrm < 0xc0 && !(flags & NOMEM)) {
			d->has_mem = 1;
			p = unlikely(d->addr_size == 2) ? decode_mem16(p, end, modrm >> 6, modrm & 7, d) : decode_mem(p, end, modrm >> 6, modrm & 7, d);
			if (unlikely(!p))
				return DECODE_SHORT;
			if (unlikely(d->seg_override != INSN_REG_NONE))
				d->seg = d->seg_override;
		}
		if (flags & GRP)
			e = &group[e->op - OP_GRP1][d->reg & 7];
	}
	set_op_size(d, flags | e->flags);
	d->op = e->op;
	d->form = e->form;
	d->imm = 0;
	imm = flags & IMM_KIND;
	if (imm) {
		imm = imm_size(imm, d);
		if ((unsigned)(end - p) < imm)
			return DECODE_SHORT;
		if ((flags & IMM_KIND) == IMM_MOFFS) {
			d->has_mem = 1;
			d->base = d->index = INSN_REG_NONE;
			d->shift = 0;
			d->seg = d->seg_override != INSN_REG_NONE ? d->seg_override : HV_DS;
			d->disp = load_signed(p, imm);
		} else if (imm && imm <= 8 && (imm & (imm - 1)) == 0)
			d->imm = (uint64_t)load_signed(p, imm);
		p += imm;
	}
	d->length = (uint8_t)(p - bytes);
	if (unlikely(d->prefix & INSN_LOCK) && !((flags | e->flags) & LOCKOK && d->has_mem && (e->form != FORM_RM)))
		return DECODE_INVALID;
	if (unlikely(d->op == OP_INVALID))
		return DECODE_INVALID;
	if (likely(d->op == OP_MOV && d->form <= FORM_RM && !two))
		return DECODE_OK;
	return decode_rest(d, flags | e->flags);
}
