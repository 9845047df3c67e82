/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the emul*.c files only.
 *
 * An instruction that needs ring 3 is executed again from its start when the answer is there: every access to a device is
 * kept in a log, and the second execution takes from the log what it already did. Nothing is committed to registers, flags or
 * RIP before the last access of an instruction (of an iteration, with REP) has succeeded, so this is exact.
 */
#ifndef HV_EMUL_PRIV_H
#define HV_EMUL_PRIV_H

#include "hv/emul.h"
#include "hv/emul_insn.h"
#include "hv/hv_priv.h"

#define CR0_PE BIT(0)
#define CR0_TS BIT(3)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_PG BIT(31)
#define CR4_DE BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_LA57 BIT(12)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE BIT(22)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define FLAG_CF BIT(0)
#define FLAG_PF BIT(2)
#define FLAG_AF BIT(4)
#define FLAG_ZF BIT(6)
#define FLAG_SF BIT(7)
#define FLAG_TF BIT(8)
#define FLAG_IF BIT(9)
#define FLAG_DF BIT(10)
#define FLAG_OF BIT(11)
#define FLAG_NT BIT(14)
#define FLAG_RF BIT(16)
#define FLAG_VM BIT(17)
#define FLAG_AC BIT(18)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define DR6_BS BIT(14)
#define DR6_BT BIT(15)

enum { EXC_DB = 1, EXC_UD = 6, EXC_NM = 7, EXC_TS = 10, EXC_NP = 11, EXC_SS = 12, EXC_GP = 13, EXC_PF = 14, EXC_AC = 17 };

/* struct vmm_segment.attr */
#define ATTR_TYPE 0xf
#define ATTR_ACCESSED BIT(0)
#define ATTR_WRITABLE BIT(1) /* data; code: readable */
#define ATTR_DOWN BIT(2)     /* data: expands down; code: conforming */
#define ATTR_CODE BIT(3)
#define ATTR_S BIT(4)
#define ATTR_DPL(a) ((a) >> 5 & 3)
#define ATTR_P BIT(7)
#define ATTR_L BIT(9)
#define ATTR_DB BIT(10)
#define ATTR_G BIT(11)

#define BACKDOOR_PORT 0x5658
#define BACKDOOR_HB_PORT 0x5659
#define BACKDOOR_MAGIC 0x564d5868u

enum emul_step {
	STEP_OK,
	STEP_FAULT, /* a guest exception was raised */
	STEP_RING3, /* ring 3 owes an answer */
	STEP_RETRY, /* enter the guest again at the same instruction */
	STEP_FAIL   /* vcpu_stop() was called */
};

struct emul_access { gpa_t gpa; uint64_t val; uint8_t size; bool write; };
/* 16 bytes at an odd address are 5 accesses; two 8-byte operands, or one read and written back, 4 each. */
#define EMUL_LOG 16

enum emul_cont { CONT_NONE, CONT_INSN, CONT_PORT, CONT_STRING, CONT_RPC, CONT_COUNT };

/* Where the last code page was found (emul_walk.c). Not state: forgotten at will. */
struct emul_fetch_entry { struct window_hint at; uint64_t pte; };
struct emul_fetch {
	uint64_t page, cr3, cr4, efer, generation;
	struct window_hint frame;    /* first byte of the page */
	unsigned entries;
	struct emul_fetch_entry entry[5];
};

/* v->emul. Between exits it is meaningful only while cont is not CONT_NONE. */
struct emul {
	enum emul_cont cont;
	struct emul_insn insn;       /* CONT_INSN: decoded from bytes */
	union { uint8_t bytes[16]; uint64_t words[2]; };
	uint8_t nr_bytes;
	uint8_t decoded;             /* mode in which insn is what all of bytes say; 0: not known */
	bool fault_valid;            /* the nested fault's address may stand for the operand's translation */
	bool fault_write;
	gpa_t fault;
	unsigned pos, nr;            /* log: next to be replayed, entries */
	struct emul_access log[EMUL_LOG];
	struct emul_port {           /* CONT_PORT, CONT_STRING, CONT_RPC */
		uint16_t port;
		uint8_t size, insn_len;
		bool in, rep;
		uint8_t addr_size;
		uint32_t count;
		gpa_t at[2];         /* INS: where the data goes; the second from byte `first` on */
		uint32_t first;
	} io;
	struct emul_fetch fetch;
};
#define EMUL_OF(v) ((struct emul *)(v)->emul)

/* How long a REP instruction may stay in one exit. */
#define EMUL_REP_MAX 256

/* ---- emul_seg.c: what the guest's mode and segments say ---- */
unsigned emul_mode(struct vcpu *v);                     /* bytes of CS' default address size: 2, 4, 8 */
unsigned emul_cpl(struct vcpu *v);
void emul_raise(struct vcpu *v, uint8_t vector, uint32_t error); /* without the error code in real mode */
/* Segment and canonical checks; false: exception raised. */
bool emul_linear(struct vcpu *v, unsigned mode, enum hv_seg seg, uint64_t offset, unsigned size, bool write, uint64_t *linear);
bool emul_canonical(struct vcpu *v, uint64_t linear);

/* ---- emul_walk.c ---- */
/* Bytes at CS:RIP without sleeping, up to 16 and not past the page; how many. *mode as emul_mode(). */
unsigned emul_fetch_page(struct vcpu *v, uint8_t buf[16] /* 8-aligned */, unsigned *mode);

/* ---- emul_mem.c: RAM and devices by linear address ---- */
enum emul_step emul_translate(struct vcpu *v, uint64_t linear, unsigned walk, gpa_t *out);
/* An operand of at most 16 bytes. Device accesses go through the log. WALK_WRITE | WALK_READS: reads what will be written back. */
#define WALK_READS BIT(8)
enum emul_step emul_access(struct vcpu *v, uint64_t linear, void *buf, unsigned size, unsigned walk);
enum emul_step emul_access_at(struct vcpu *v, gpa_t at, void *buf, unsigned size, bool write);
/* The first and only device access of an instruction, of 1, 2, 4 or 8 aligned bytes. */
enum emul_step emul_device_once(struct vcpu *v, gpa_t at, unsigned size, bool write, uint64_t *val);
/* Writes back what a read-modify-write instruction made of `old`, atomically where the operand is RAM. */
enum emul_step emul_write_back(struct vcpu *v, uint64_t linear, uint64_t old, uint64_t new_value, unsigned size, unsigned walk);
/* RAM only, any length: 0, -EFAULT (exception raised), -EIO where no RAM is. */
int emul_copy_linear(struct vcpu *v, uint64_t linear, void *buf, unsigned n, unsigned walk);

/* ---- emul_alu.c: arithmetic with flags; operands are zero-extended values of `size` bytes ---- */
uint64_t emul_alu(enum emul_op op, uint64_t dst, uint64_t src, unsigned size, uint64_t *flags);

/* ---- emul_exec.c, emul_string.c ---- */
enum emul_step emul_execute(struct vcpu *v, struct emul *e);
enum emul_step emul_execute_string(struct vcpu *v, struct emul *e);
/* Offset of the memory operand; rsp_add: POP's is computed after RSP moved. */
uint64_t emul_address(const struct vcpu *v, const struct emul_insn *d, unsigned rsp_add);
/* The CPU met page tables outside RAM: raises the page fault of the likeliest access, or STEP_OK when all of them can be walked. */
enum emul_step emul_table_fault(struct vcpu *v, const struct emul_insn *d);
static inline uint64_t emul_mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << 8 * size) - 1; }
uint64_t emul_reg_get(const struct vcpu *v, const struct emul_insn *d, unsigned reg, unsigned size);
void emul_reg_set(struct vcpu *v, const struct emul_insn *d, unsigned reg, unsigned size, uint64_t val);
/* An address register by address size: reads truncated, writes as that size does (16 keeps the upper bits, 32 clears them). */
static inline uint64_t emul_areg_get(const struct vcpu *v, unsigned reg, unsigned addr_size) { return v->gpr[reg] & emul_mask(addr_size); }
static inline void emul_areg_set(struct vcpu *v, unsigned reg, unsigned addr_size, uint64_t val)
{
	v->gpr[reg] = addr_size == 2 ? (v->gpr[reg] & ~0xffffull) | (val & 0xffff) : val & emul_mask(addr_size);
}

/* ---- emul_fpu.c: the guest's XMM registers and PKRU, in the CPU or in v->fpu ---- */
void emul_xmm_get(struct vcpu *v, unsigned reg, uint64_t val[2]);
void emul_xmm_set(struct vcpu *v, unsigned reg, const uint64_t val[2]);
uint32_t emul_pkru(struct vcpu *v);

/* ---- emul.c ---- */
/* The usual bytes of the instruction that an exit kind implies, under a mask; length 0: none. */
extern const struct emul_spelling { uint32_t value, mask; uint8_t length; } emul_spelling[HV_EXIT_KINDS];
unsigned emul_exit_length_slow(struct vcpu *v);
/* RIP past an instruction of len bytes, shadow, RF, TF. */
void emul_advance(struct vcpu *v, unsigned len);
/* Fetches and decodes at RIP into e->insn. */
enum emul_step emul_fetch_decode(struct vcpu *v, struct emul *e);
/* What a step means for the exit; STEP_OK with the instruction finished. */
enum emul_result emul_finish(struct vcpu *v, enum emul_step s);
/* Ends an iteration of a REP instruction at the same RIP: single-step trap. */
void emul_trap_step(struct vcpu *v);

/* ---- emul_io.c ---- */
enum emul_result emul_io_resume(struct vcpu *v, struct emul *e);

#endif
