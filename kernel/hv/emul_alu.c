/* SPDX-License-Identifier: Apache-2.0 */
/* Integer arithmetic as the CPU does it, flags included. Undefined flags come out as on AMD processors where that is known, else unchanged. */
#include "hv/emul_priv.h"

static uint64_t flags_of(uint64_t r, unsigned size)
{
	uint64_t f = 0;

	if (!r)
		f |= FLAG_ZF;
	if (r >> (8 * size - 1) & 1)
		f |= FLAG_SF;
	if (!__builtin_parity((unsigned)r & 0xff))
		f |= FLAG_PF;
	return f;
}

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned size, uint64_t *f)
{
	uint64_t mask = emul_mask(size), r = (a + b + carry) & mask, top = 8 * size - 1;

	*f = flags_of(r, size) | ((a ^ b ^ r) & FLAG_AF);
	if (((a & b) | ((a | b) & ~r)) >> top & 1)
		*f |= FLAG_CF;
	if (((a ^ r) & (b ^ r)) >> top & 1)
		*f |= FLAG_OF;
	return r;
}

static uint64_t sub(uint64_t a, uint64_t b, uint64_t borrow, unsigned size, uint64_t *f)
{
	uint64_t mask = emul_mask(size), r = (a - b - borrow) & mask, top = 8 * size - 1;

	*f = flags_of(r, size) | ((a ^ b ^ r) & FLAG_AF);
	if (((~a & b) | ((~a | b) & r)) >> top & 1)
		*f |= FLAG_CF;
	if (((a ^ b) & (a ^ r)) >> top & 1)
		*f |= FLAG_OF;
	return r;
}

static uint64_t bit_op(enum emul_op op, uint64_t dst, uint64_t src, unsigned size, uint64_t *flags)
{
	uint64_t bit = BIT(src & (8 * size - 1));

	*flags = (*flags & ~FLAG_CF) | (dst & bit ? FLAG_CF : 0);
	switch (op) {
	case OP_BTS:
		return dst | bit;
	case OP_BTR:
		return dst & ~bit;
	case OP_BTC:
		return dst ^ bit;
	default:
		return dst;
	}
}

uint64_t emul_alu(enum emul_op op, uint64_t dst, uint64_t src, unsigned size, uint64_t *flags)
{
	uint64_t carry = *flags & FLAG_CF, keep = 0, f = 0, r;

	switch (op) {
	case OP_ADD: case OP_XADD:
		r = add(dst, src, 0, size, &f);
		break;
	case OP_ADC:
		r = add(dst, src, carry, size, &f);
		break;
	case OP_SUB:
		r = sub(dst, src, 0, size, &f);
		break;
	case OP_CMP: case OP_CMPXCHG: case OP_CMPS: case OP_SCAS:
		sub(dst, src, 0, size, &f);
		r = dst;
		break;
	case OP_SBB:
		r = sub(dst, src, carry, size, &f);
		break;
	case OP_AND:
		r = dst & src;
		f = flags_of(r, size);
		break;
	case OP_TEST:
		r = dst;
		f = flags_of(dst & src, size);
		break;
	case OP_OR:
		r = dst | src;
		f = flags_of(r, size);
		break;
	case OP_XOR:
		r = dst ^ src;
		f = flags_of(r, size);
		break;
	case OP_INC:
		keep = FLAG_CF;
		r = add(dst, 1, 0, size, &f);
		break;
	case OP_DEC:
		keep = FLAG_CF;
		r = sub(dst, 1, 0, size, &f);
		break;
	case OP_NEG:
		r = sub(0, dst, 0, size, &f);
		break;
	case OP_NOT:
		return ~dst & emul_mask(size);
	case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC:
		return bit_op(op, dst, src, size, flags);
	default:
		return src;
	}
	*flags = (*flags & (~FLAGS_ARITH | keep)) | (f & ~keep);
	return r;
}
