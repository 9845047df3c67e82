/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against Zydis: for a million random byte strings, what ours calls known must be what Zydis says: length,
 * mnemonic, memory operand (segment, registers, scale, displacement, width), immediate. And nothing is read past the bytes given.
 */
#include "hv/emul_insn.h"
#include "test/unit.h"
#include <Zydis/Zydis.h>

static uint64_t seed = 0x9e3779b97f4a7c15ull;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static const struct { uint8_t op; ZydisMnemonic m; } names[] = {
	{ OP_ADD, ZYDIS_MNEMONIC_ADD }, { OP_OR, ZYDIS_MNEMONIC_OR }, { OP_ADC, ZYDIS_MNEMONIC_ADC }, { OP_SBB, ZYDIS_MNEMONIC_SBB },
	{ OP_AND, ZYDIS_MNEMONIC_AND }, { OP_SUB, ZYDIS_MNEMONIC_SUB }, { OP_XOR, ZYDIS_MNEMONIC_XOR }, { OP_CMP, ZYDIS_MNEMONIC_CMP },
	{ OP_MOV, ZYDIS_MNEMONIC_MOV }, { OP_MOV, ZYDIS_MNEMONIC_MOVNTI }, { OP_TEST, ZYDIS_MNEMONIC_TEST }, { OP_INC, ZYDIS_MNEMONIC_INC },
	{ OP_DEC, ZYDIS_MNEMONIC_DEC }, { OP_NOT, ZYDIS_MNEMONIC_NOT }, { OP_NEG, ZYDIS_MNEMONIC_NEG }, { OP_XCHG, ZYDIS_MNEMONIC_XCHG },
	{ OP_CMPXCHG, ZYDIS_MNEMONIC_CMPXCHG }, { OP_XADD, ZYDIS_MNEMONIC_XADD }, { OP_BT, ZYDIS_MNEMONIC_BT }, { OP_BTS, ZYDIS_MNEMONIC_BTS },
	{ OP_BTR, ZYDIS_MNEMONIC_BTR }, { OP_BTC, ZYDIS_MNEMONIC_BTC }, { OP_MOVZX, ZYDIS_MNEMONIC_MOVZX }, { OP_MOVSX, ZYDIS_MNEMONIC_MOVSX },
	{ OP_MOVSX, ZYDIS_MNEMONIC_MOVSXD }, { OP_PUSH, ZYDIS_MNEMONIC_PUSH }, { OP_POP, ZYDIS_MNEMONIC_POP },
	{ OP_MOVS, ZYDIS_MNEMONIC_MOVSB }, { OP_MOVS, ZYDIS_MNEMONIC_MOVSW }, { OP_MOVS, ZYDIS_MNEMONIC_MOVSD }, { OP_MOVS, ZYDIS_MNEMONIC_MOVSQ },
	{ OP_CMPS, ZYDIS_MNEMONIC_CMPSB }, { OP_CMPS, ZYDIS_MNEMONIC_CMPSW }, { OP_CMPS, ZYDIS_MNEMONIC_CMPSD }, { OP_CMPS, ZYDIS_MNEMONIC_CMPSQ },
	{ OP_STOS, ZYDIS_MNEMONIC_STOSB }, { OP_STOS, ZYDIS_MNEMONIC_STOSW }, { OP_STOS, ZYDIS_MNEMONIC_STOSD }, { OP_STOS, ZYDIS_MNEMONIC_STOSQ },
	{ OP_LODS, ZYDIS_MNEMONIC_LODSB }, { OP_LODS, ZYDIS_MNEMONIC_LODSW }, { OP_LODS, ZYDIS_MNEMONIC_LODSD }, { OP_LODS, ZYDIS_MNEMONIC_LODSQ },
	{ OP_SCAS, ZYDIS_MNEMONIC_SCASB }, { OP_SCAS, ZYDIS_MNEMONIC_SCASW }, { OP_SCAS, ZYDIS_MNEMONIC_SCASD }, { OP_SCAS, ZYDIS_MNEMONIC_SCASQ },
	{ OP_INS, ZYDIS_MNEMONIC_INSB }, { OP_INS, ZYDIS_MNEMONIC_INSW }, { OP_INS, ZYDIS_MNEMONIC_INSD },
	{ OP_OUTS, ZYDIS_MNEMONIC_OUTSB }, { OP_OUTS, ZYDIS_MNEMONIC_OUTSW }, { OP_OUTS, ZYDIS_MNEMONIC_OUTSD },
	{ OP_IN, ZYDIS_MNEMONIC_IN }, { OP_OUT, ZYDIS_MNEMONIC_OUT },
	{ OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVUPS }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVUPD }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVAPS },
	{ OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVAPD }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVDQA }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVDQU },
	{ OP_SSE_LOAD, ZYDIS_MNEMONIC_LDDQU }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVSS }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVSD },
	{ OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVQ }, { OP_SSE_LOAD, ZYDIS_MNEMONIC_MOVD },
	{ OP_SSE_STORE, ZYDIS_MNEMONIC_MOVUPS }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVUPD }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVAPS },
	{ OP_SSE_STORE, ZYDIS_MNEMONIC_MOVAPD }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVDQA }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVDQU },
	{ OP_SSE_STORE, ZYDIS_MNEMONIC_MOVNTPS }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVNTPD }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVNTDQ },
	{ OP_SSE_STORE, ZYDIS_MNEMONIC_MOVSS }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVSD }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVQ },
	{ OP_SSE_STORE, ZYDIS_MNEMONIC_MOVD }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVLPS }, { OP_SSE_STORE, ZYDIS_MNEMONIC_MOVLPD },
};

static bool name_fits(unsigned op, ZydisMnemonic m)
{
	if (op == OP_NONE)
		return true; /* hints: Zydis has many names for them */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].op == op && names[i].m == m)
			return true;
	return false;
}

static int reg_id(ZydisRegister r)
{
	return r == ZYDIS_REGISTER_NONE ? INSN_REG_NONE : r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP ? INSN_REG_RIP : ZydisRegisterGetId(r);
}

static const char *compare_mem(const struct emul_insn *d, const ZydisDecodedOperand *o)
{
	uint64_t mask = d->addr_size == 8 ? ~0ull : (1ull << 8 * d->addr_size) - 1;

	if (d->base != reg_id(o->mem.base))
		return "base";
	if (d->index != reg_id(o->mem.index))
		return "index";
	if (d->index != INSN_REG_NONE && d->addr_size != 2 && 1u << d->shift != o->mem.scale)
		return "scale";
	if (((uint64_t)d->disp ^ (uint64_t)o->mem.disp.value) & mask)
		return "displacement";
	if (o->size && o->mem.type == ZYDIS_MEMOP_TYPE_MEM && d->op != OP_NONE && d->mem_size * 8 != o->size)
		return "width";
	if (o->mem.segment - ZYDIS_REGISTER_ES != d->seg)
		return "segment";
	return NULL;
}

static const char *compare(const struct emul_insn *d, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	bool mem = false;

	if (!name_fits(d->op, z->mnemonic))
		return "mnemonic";
	if (d->length != z->length)
		return "length";
	if (d->op == OP_NONE)
		return NULL;
	for (unsigned i = 0; i < z->operand_count; i++) {
		const char *bad;

		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && o[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && d->form != FORM_STRING) {
			mem = true;
			bad = compare_mem(d, &o[i]);
			if (bad)
				return bad;
		}
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && d->form == FORM_STRING && o[i].size != 8u * d->mem_size)
			return "string width";
		if (o[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && d->form == FORM_MI) {
			uint64_t mask = d->op_size == 8 ? ~0ull : (1ull << 8 * d->op_size) - 1;

			if (d->opcode == 0xba)
				mask = 0xff;
			if ((d->imm ^ o[i].imm.value.u) & mask)
				return "immediate";
		}
	}
	if (d->form != FORM_STRING && mem != d->has_mem)
		return "memory or not";
	return NULL;
}

static unsigned known, zydis_refused;

static bool check_one(const uint8_t *bytes, unsigned n, unsigned mode, const ZydisDecoder *z)
{
	struct emul_insn d;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t *copy = malloc(n);
	enum decode_result r;
	const char *bad;
	bool ok;

	memcpy(copy, bytes, n); /* its own allocation: the sanitizer sees reads past the end */
	memset(&d, 0xee, sizeof(d));
	r = emul_decode(copy, n, mode, &d);
	free(copy);
	ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(z, bytes, n, &zi, ops));
	if (r == DECODE_UNKNOWN && ok && zi.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && d.length != zi.length && zi.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE)
		bad = "length of an unknown one";
	else if (r == DECODE_SHORT && ok)
		bad = "short";
	else if (r == DECODE_INVALID && ok && d.op != OP_INVALID)
		bad = "invalid";
	else if (r != DECODE_OK)
		return true;
	else if (!ok)
		return zydis_refused++, true; /* reserved encodings that processors execute, or that cannot be reached by a memory access */
	else
		known++, bad = compare(&d, &zi, ops);
	if (!bad)
		return true;
	printf("mode %u, %s: ours op %u length %u result %d, Zydis %s length %u:", mode, bad, d.op, d.length, r, ok ? ZydisMnemonicGetString(zi.mnemonic) : "-", ok ? zi.length : 0);
	for (unsigned i = 0; i < n; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
	return false;
}

/* Random bytes with a bent for prefixes and for the opcodes that matter. */
static void random_bytes(uint8_t *b, unsigned mode)
{
	static const uint8_t prefix[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x41, 0x44, 0x40, 0x4f };
	unsigned i = 0, nr = rnd() % 4;

	for (unsigned k = 0; k < 15; k++)
		b[k] = (uint8_t)(rnd() >> 11);
	if (rnd() & 1)
		for (; i < nr; i++)
			b[i] = prefix[rnd() % (mode == 8 ? 16 : 11)];
	if (rnd() & 1)
		b[i] = 0x0f;
}

TEST(fuzz_against_zydis)
{
	static const struct { unsigned mode; ZydisMachineMode m; ZydisStackWidth w; } modes[] = {
		{ 8, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
		{ 4, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		{ 2, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
	};
	unsigned bad = 0;

	for (unsigned m = 0; m < 3; m++) {
		ZydisDecoder z;

		ZydisDecoderInit(&z, modes[m].m, modes[m].w);
		for (unsigned i = 0; i < 400000 && bad < 20; i++) {
			uint8_t b[15];

			random_bytes(b, modes[m].mode);
			bad += !check_one(b, 15, modes[m].mode, &z);
		}
	}
	printf("known to both: %u, refused by Zydis only: %u\n", known, zydis_refused);
	CHECK_EQ(bad, 0);
	CHECK(known > 100000);
	CHECK(zydis_refused < known / 20);
}

TEST(every_truncation_is_short)
{
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t b[15], *copy;
		struct emul_insn d, t;
		unsigned mode = 2u << i % 3;

		random_bytes(b, mode);
		if (emul_decode(b, 15, mode, &d) != DECODE_OK)
			continue;
		for (unsigned n = 0; n < d.length; n++) {
			copy = malloc(n ? n : 1);
			memcpy(copy, b, n);
			if (emul_decode(copy, n, mode, &t) != DECODE_SHORT) {
				CHECK(!"short");
				printf("%02x %02x %02x %02x n %u of %u\n", b[0], b[1], b[2], b[3], n, d.length);
			}
			free(copy);
		}
		CHECK_EQ(emul_decode(b, d.length, mode, &t), DECODE_OK);
		if (unit_failures)
			return;
	}
}
