/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opcode maps as data; included by emul_decode.c only. AMD APM vol 3 appendix A.
 *
 * U(flags): length only. E(op, form, flags): emulated. Immediate kinds are in the low four bits of flags.
 */
#include "hv/emul_insn.h"

enum { IMM_NO, IMM8, IMMZ, IMM16, IMMV, IMM_MOFFS, IMM_ENTER, IMM_FAR, IMM_REL, IMM_GRP3, IMM_EXTRQ };
#define IMM_KIND 0xf
#define MODRM BIT(4)
#define BYTE BIT(5)     /* operand of one byte */
#define LOCKOK BIT(6)   /* LOCK allowed with a memory destination */
#define PFX BIT(7)
#define GRP BIT(8)
#define INV64 BIT(9)    /* #UD in 64-bit mode */
#define D64 BIT(10)     /* 64-bit operand without REX.W in 64-bit mode */
#define MEM1 BIT(11)    /* memory operand of one byte, whatever the operand size */
#define MEM2 BIT(12)
#define NOMEM BIT(13)   /* ModRM always names a register (moves to control and debug registers) */
#define SEGPFX BIT(14)
#define MEM4 BIT(15)    /* of four bytes */

struct opcode { uint8_t op, form; uint16_t flags; };
#define E(o, f, fl) { OP_##o, FORM_##f, (uint16_t)(fl) }
#define U(fl) { OP_UNKNOWN, FORM_NONE, (uint16_t)(fl) }
#define X2(...) __VA_ARGS__, __VA_ARGS__
#define X4(...) X2(__VA_ARGS__), X2(__VA_ARGS__)
#define X8(...) X4(__VA_ARGS__), X4(__VA_ARGS__)
#define X16(...) X8(__VA_ARGS__), X8(__VA_ARGS__)
#define ALU(o, lk) E(o, MR, MODRM | BYTE | lk), E(o, MR, MODRM | lk), E(o, RM, MODRM | BYTE), E(o, RM, MODRM), U(IMM8), U(IMMZ)
#define SEG(s) { HV_##s, 0, PFX | SEGPFX }
#define BAD { OP_INVALID, FORM_NONE, 0 }
#define BADM { OP_INVALID, FORM_NONE, MODRM }

static const struct opcode map1[256] = {
	/* 00 */ ALU(ADD, LOCKOK), U(INV64), U(INV64), ALU(OR, LOCKOK), U(INV64), U(0),
	/* 10 */ ALU(ADC, LOCKOK), U(INV64), U(INV64), ALU(SBB, LOCKOK), U(INV64), U(INV64),
	/* 20 */ ALU(AND, LOCKOK), SEG(ES), U(INV64), ALU(SUB, LOCKOK), SEG(CS), U(INV64),
	/* 30 */ ALU(XOR, LOCKOK), SEG(SS), U(INV64), ALU(CMP, 0), SEG(DS), U(INV64),
	/* 40 */ X16(U(PFX)),
	/* 50 */ X16(U(D64)),
	/* 60 */ U(INV64), U(INV64), U(MODRM), U(MODRM), SEG(FS), SEG(GS), { INSN_OPSIZE, 0, PFX }, { INSN_ADDRSIZE, 0, PFX },
	/* 68 */ U(IMMZ | D64), U(MODRM | IMMZ), U(IMM8 | D64), U(MODRM | IMM8),
	/* 6c */ E(INS, STRING, BYTE), E(INS, STRING, 0), E(OUTS, STRING, BYTE), E(OUTS, STRING, 0),
	/* 70 */ X16(U(IMM8)),
	/* 80 */ E(GRP1, MI, GRP | MODRM | BYTE | IMM8), E(GRP1, MI, GRP | MODRM | IMMZ), E(GRP1, MI, GRP | MODRM | BYTE | IMM8 | INV64), E(GRP1, MI, GRP | MODRM | IMM8),
	/* 84 */ E(TEST, MR, MODRM | BYTE), E(TEST, MR, MODRM), E(XCHG, MR, MODRM | BYTE | LOCKOK), E(XCHG, MR, MODRM | LOCKOK),
	/* 88 */ E(MOV, MR, MODRM | BYTE), E(MOV, MR, MODRM), E(MOV, RM, MODRM | BYTE), E(MOV, RM, MODRM),
	/* 8c */ U(MODRM), U(MODRM), U(MODRM), E(GRP1A, M, GRP | MODRM | D64),
	/* 90 */ X8(U(0)), U(0), U(0), U(IMM_FAR | INV64), U(0), U(D64), U(D64), U(0), U(0),
	/* a0 */ E(MOV, AM, IMM_MOFFS | BYTE), E(MOV, AM, IMM_MOFFS), E(MOV, MA, IMM_MOFFS | BYTE), E(MOV, MA, IMM_MOFFS),
	/* a4 */ E(MOVS, STRING, BYTE), E(MOVS, STRING, 0), E(CMPS, STRING, BYTE), E(CMPS, STRING, 0),
	/* a8 */ U(IMM8), U(IMMZ), E(STOS, STRING, BYTE), E(STOS, STRING, 0), E(LODS, STRING, BYTE), E(LODS, STRING, 0), E(SCAS, STRING, BYTE), E(SCAS, STRING, 0),
	/* b0 */ X8(U(IMM8)), X8(U(IMMV)),
	/* c0 */ U(MODRM | IMM8), U(MODRM | IMM8), U(IMM16 | D64), U(D64), U(MODRM | INV64), U(MODRM | INV64),
	/* c6 */ E(GRP11, MI, GRP | MODRM | BYTE | IMM8), E(GRP11, MI, GRP | MODRM | IMMZ),
	/* c8 */ U(IMM_ENTER | D64), U(D64), U(IMM16), U(0), U(0), U(IMM8), U(INV64), U(0),
	/* d0 */ X4(U(MODRM)), U(IMM8 | INV64), U(IMM8 | INV64), U(INV64), U(0), X8(U(MODRM)),
	/* e0 */ X4(U(IMM8)), E(IN, IMM, BYTE | IMM8), E(IN, IMM, IMM8), E(OUT, IMM, BYTE | IMM8), E(OUT, IMM, IMM8),
	/* e8 */ U(IMM_REL), U(IMM_REL), U(IMM_FAR | INV64), U(IMM8), E(IN, DX, BYTE), E(IN, DX, 0), E(OUT, DX, BYTE), E(OUT, DX, 0),
	/* f0 */ { INSN_LOCK, 0, PFX }, U(0), { INSN_REPNE, 0, PFX }, { INSN_REP, 0, PFX }, U(0), U(0),
	/* f6 */ E(GRP3, M, GRP | MODRM | BYTE | IMM_GRP3), E(GRP3, M, GRP | MODRM | IMM_GRP3),
	/* f8 */ U(0), U(0), U(0), U(0), U(0), U(0), E(GRP4, M, GRP | MODRM | BYTE), E(GRP5, M, GRP | MODRM)
};

static const struct opcode map2[256] = {
	/* 00 */ U(MODRM), U(MODRM), U(MODRM), U(MODRM), BAD, U(0), U(0), U(0), U(0), U(0), BAD, BAD, BAD, E(NONE, M, MODRM), U(0), U(MODRM | IMM8),
	/* 10 */ E(SSE, NONE, MODRM), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM), U(MODRM), U(MODRM), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM),
	/* 18 */ E(NONE, M, MODRM), U(MODRM), U(MODRM), U(MODRM), U(MODRM), U(MODRM), U(MODRM), E(NONE, M, MODRM),
	/* 20 */ X4(U(MODRM | NOMEM)), X4(BAD), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM), U(MODRM), E(SSE, NONE, MODRM), X4(U(MODRM)),
	/* 30 */ U(0), U(0), U(0), U(0), U(0), U(0), BAD, U(0), U(PFX), BAD, U(PFX | IMM8), BAD, X4(BAD),
	/* 40 */ X16(U(MODRM)),
	/* 50 */ X16(U(MODRM)),
	/* 60 */ X8(U(MODRM)), X4(U(MODRM)), U(MODRM), U(MODRM), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM),
	/* 70 */ X4(U(MODRM | IMM8)), U(MODRM), U(MODRM), U(MODRM), U(0), U(MODRM | IMM_EXTRQ), U(MODRM), BADM, BADM, U(MODRM), U(MODRM), E(SSE, NONE, MODRM), E(SSE, NONE, MODRM),
	/* 80 */ X16(U(IMM_REL)),
	/* 90 */ X16(U(MODRM)),
	/* a0 */ U(D64), U(D64), U(0), E(BT, MR, MODRM), U(MODRM | IMM8), U(MODRM), U(MODRM), U(MODRM),
	/* a8 */ U(D64), U(D64), U(0), E(BTS, MR, MODRM | LOCKOK), U(MODRM | IMM8), U(MODRM), E(GRP15, M, GRP | MODRM), U(MODRM),
	/* b0 */ E(CMPXCHG, MR, MODRM | BYTE | LOCKOK), E(CMPXCHG, MR, MODRM | LOCKOK), U(MODRM), E(BTR, MR, MODRM | LOCKOK), U(MODRM), U(MODRM), E(MOVZX, RM, MODRM | MEM1), E(MOVZX, RM, MODRM | MEM2),
	/* b8 */ U(MODRM), BADM, E(GRP8, MI, GRP | MODRM | IMM8), E(BTC, MR, MODRM | LOCKOK), U(MODRM), U(MODRM), E(MOVSX, RM, MODRM | MEM1), E(MOVSX, RM, MODRM | MEM2),
	/* c0 */ E(XADD, MR, MODRM | BYTE | LOCKOK), E(XADD, MR, MODRM | LOCKOK), U(MODRM | IMM8), E(MOV, MR, MODRM), U(MODRM | IMM8), U(MODRM | IMM8), U(MODRM | IMM8), U(MODRM | LOCKOK),
	/* c8 */ X8(U(0)),
	/* d0 */ X4(U(MODRM)), U(MODRM), U(MODRM), E(SSE, NONE, MODRM), U(MODRM), X8(U(MODRM)),
	/* e0 */ X4(U(MODRM)), U(MODRM), U(MODRM), U(MODRM), E(SSE, NONE, MODRM), X8(U(MODRM)),
	/* f0 */ E(SSE, NONE, MODRM), X2(U(MODRM)), U(MODRM), X4(U(MODRM)), X8(U(MODRM))
};
static const struct opcode map3_plain = U(MODRM), map3_imm8 = U(MODRM | IMM8); /* 0F38, 0F3A */
static const struct opcode movsxd = E(MOVSX, RM, MODRM | MEM4);

/* By ModRM.reg. The low flags (immediate, BYTE) come from the map's own entry. */
static const struct opcode group[OP_SSE - OP_GRP1][8] = {
	[OP_GRP1 - OP_GRP1] = { E(ADD, MI, LOCKOK), E(OR, MI, LOCKOK), E(ADC, MI, LOCKOK), E(SBB, MI, LOCKOK), E(AND, MI, LOCKOK), E(SUB, MI, LOCKOK), E(XOR, MI, LOCKOK), E(CMP, MI, 0) },
	[OP_GRP1A - OP_GRP1] = { E(POP, M, 0) }, /* the rest is XOP */
	[OP_GRP3 - OP_GRP1] = { E(TEST, MI, 0), E(TEST, MI, 0), E(NOT, M, LOCKOK), E(NEG, M, LOCKOK), U(0), U(0), U(0), U(0) },
	[OP_GRP4 - OP_GRP1] = { E(INC, M, LOCKOK), E(DEC, M, LOCKOK), BAD, BAD, BAD, BAD, BAD, BAD },
	[OP_GRP5 - OP_GRP1] = { E(INC, M, LOCKOK), E(DEC, M, LOCKOK), U(D64), U(0), U(D64), U(0), E(PUSH, M, D64), BAD },
	[OP_GRP8 - OP_GRP1] = { BAD, BAD, BAD, BAD, E(BT, MI, 0), E(BTS, MI, LOCKOK), E(BTR, MI, LOCKOK), E(BTC, MI, LOCKOK) },
	[OP_GRP11 - OP_GRP1] = { E(MOV, MI, 0), BAD, BAD, BAD, BAD, BAD, BAD, U(0) },
	[OP_GRP15 - OP_GRP1] = { U(0), U(0), U(0), U(0), U(0), U(0), U(0), E(NONE, M, 0) }
};
