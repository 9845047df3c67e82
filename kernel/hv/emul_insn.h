/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded instruction, and the pure decoder. No vCPU here: the same file links into the fuzzer against Zydis.
 *
 * The decoder knows the length of everything in the one-byte, 0F, 0F38 and 0F3A maps (not VEX, EVEX and XOP), and the meaning
 * of what can reasonably touch a device's registers. What it does not know it calls DECODE_UNKNOWN, never something else.
 */
#ifndef HV_EMUL_INSN_H
#define HV_EMUL_INSN_H

#include "core/types.h"
#include "hv/hv.h"

enum emul_op {
	OP_UNKNOWN, OP_INVALID /* #UD */,
	OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP, /* in the order of the opcodes */
	OP_MOV, OP_TEST, OP_INC, OP_DEC, OP_NOT, OP_NEG, OP_XCHG, OP_CMPXCHG, OP_XADD,
	OP_BT, OP_BTS, OP_BTR, OP_BTC,
	OP_MOVZX, OP_MOVSX, OP_PUSH, OP_POP,
	OP_MOVS, OP_CMPS, OP_STOS, OP_LODS, OP_SCAS, OP_INS, OP_OUTS,
	OP_IN, OP_OUT,
	OP_SSE_LOAD, OP_SSE_STORE, /* xmm register and 4, 8 or 16 bytes of memory */
	OP_NONE,                   /* touches no memory that matters: nop, prefetch, clflush */
	OP_COUNT,
	/* groups, resolved by ModRM.reg; only in the tables */
	OP_GRP1 = 64, OP_GRP1A, OP_GRP3, OP_GRP4, OP_GRP5, OP_GRP8, OP_GRP11, OP_GRP15, OP_SSE
};
enum emul_form { FORM_NONE, FORM_MR, FORM_RM, FORM_MI, FORM_M, FORM_AM /* accumulator from memory */, FORM_MA, FORM_STRING, FORM_DX, FORM_IMM };

#define INSN_LOCK BIT(0)
#define INSN_REP BIT(1)
#define INSN_REPNE BIT(2)
#define INSN_OPSIZE BIT(3)
#define INSN_ADDRSIZE BIT(4)
#define INSN_ALIGNED BIT(5) /* SSE operand that must be aligned */

#define INSN_REG_NONE 0xff
#define INSN_REG_RIP 0x10

/* No field is left unset by a DECODE_OK; mode is the code segment's default address size in bytes: 2, 4 or 8. */
struct emul_insn {
	uint8_t op, form, length, mode;
	uint8_t op_size, mem_size, addr_size, prefix;
	uint8_t rex, opcode, reg, rm;  /* reg, rm: with the REX bits */
	uint8_t has_modrm, has_mem, seg, base;
	uint8_t index, shift, seg_override; /* seg_override: enum hv_seg or INSN_REG_NONE */
	int64_t disp;
	uint64_t imm;                  /* sign-extended */
};

enum decode_result { DECODE_OK, DECODE_UNKNOWN, DECODE_INVALID /* #UD */, DECODE_SHORT /* more bytes are needed */ };
enum decode_result emul_decode(const uint8_t *bytes, unsigned n, unsigned mode, struct emul_insn *d);

#endif
