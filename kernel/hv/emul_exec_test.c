/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the emulator computes against what this machine's CPU computes: the same instruction runs natively on ordinary memory
 * that lies at the device's address, and emulated on the fake VM's devices, then registers, flags and memory are compared.
 */
#include "hv/emul_test_vm.h"
#include "test/unit.h"
#include <sys/mman.h>

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* ---- running an instruction natively ---- */
struct native { uint64_t gpr[16], flags, code; uint64_t xmm[16][2]; } native_ctx __attribute__((used));
uint64_t native_saved_rsp __attribute__((used));
void native_enter(void);
void native_exit(void);
#define GPRS(X) X(0, rax) X(1, rcx) X(2, rdx) X(3, rbx) X(4, rsp) X(5, rbp) X(6, rsi) X(7, rdi) X(8, r8) X(9, r9) X(10, r10) X(11, r11) X(12, r12) X(13, r13) X(14, r14) X(15, r15)
#define XMMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD(n, r) "mov native_ctx+8*" #n "(%rip), %" #r "\n"
#define STORE(n, r) "mov %" #r ", native_ctx+8*" #n "(%rip)\n"
#define LOADX(n) "movups native_ctx+144+16*" #n "(%rip), %xmm" #n "\n"
#define STOREX(n) "movups %xmm" #n ", native_ctx+144+16*" #n "(%rip)\n"
__asm__(".text\n.globl native_enter\nnative_enter:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, native_saved_rsp(%rip)\n"
	XMMS(LOADX)
	"pushq native_ctx+128(%rip)\npopfq\n"
	GPRS(LOAD)
	"jmp *native_ctx+136(%rip)\n"
	".globl native_exit\nnative_exit:\n"
	GPRS(STORE)
	"mov native_saved_rsp(%rip), %rsp\n"
	"pushfq\npopq native_ctx+128(%rip)\ncld\n"
	XMMS(STOREX)
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

static uint8_t *code_page;
static uint8_t *native_at(uint64_t a) { return (uint8_t *)(uintptr_t)a; }

static void native_setup(void)
{
	const uint64_t at[] = { TV_RAM2, TV_DEV0, TV_DEV3 };

	tv_reset();
	memset(tv_ram2, 0, TV_AREA);
	memset(tv_dev0, 0, TV_AREA);
	memset(tv_dev3, 0, TV_AREA);
	code_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < 3; i++)
		if (mmap(native_at(at[i]), TV_AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			abort();
}

static void native_run(const uint8_t *insn, unsigned n)
{
	uint64_t back = (uintptr_t)native_exit;
	static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };

	memcpy(code_page, insn, n);
	memcpy(code_page + n, jump, 6);
	memcpy(code_page + n + 6, &back, 8);
	native_ctx.code = (uintptr_t)code_page;
	native_enter();
}

/* ---- one comparison ---- */
static void fill(uint64_t base)
{
	uint8_t *emulated = base == TV_RAM2 ? tv_ram2 : base == TV_DEV0 ? tv_dev0 : tv_dev3;

	for (unsigned i = 0; i < 512; i++)
		emulated[0xf00 + i] = (uint8_t)(rnd() >> 9);
	memcpy(native_at(base) + 0xf00, emulated + 0xf00, 512);
}

static uint64_t undefined_flags(const struct emul_insn *d)
{
	switch (d->op) {
	case OP_AND: case OP_OR: case OP_XOR: case OP_TEST:
		return FLAG_AF;
	case OP_BT: case OP_BTS: case OP_BTR: case OP_BTC:
		return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
	default:
		return 0;
	}
}

static void area_xmm(uint64_t x[16][2], bool to_area)
{
	uint8_t *area = (uint8_t *)tv_vcpu->fpu + 160;

	if (to_area)
		memcpy(area, x, 256);
	else
		memcpy(x, area, 256);
	*(uint64_t *)((uint8_t *)tv_vcpu->fpu + 512) |= 2;
}

/* Registers are set in tv_vcpu; runs both and compares. */
static bool compare(const uint8_t *insn, unsigned n, uint64_t fault, bool write)
{
	struct vcpu *v = tv_vcpu;
	uint64_t xmm[16][2], mask;
	struct emul_insn d;
	bool same = true;

	if (emul_decode(insn, n, 8, &d) != DECODE_OK || d.length != n)
		return false;
	tv_code(insn, n);
	for (unsigned i = 0; i < 32; i++)
		native_ctx.xmm[i / 2][i % 2] = rnd();
	area_xmm(native_ctx.xmm, true);
	memcpy(native_ctx.gpr, v->gpr, sizeof(v->gpr));
	native_ctx.flags = v->rflags;
	native_run(insn, n);
	for (unsigned i = 0; v->rip == TV_CODE && i < 40; i++) /* REP goes back to the guest now and then */
		if (tv_mmio(fault, write) != EMUL_DONE || v->exception_valid)
			return false;
	mask = FLAGS_ARITH & ~undefined_flags(&d);
	same &= v->rip == TV_CODE + n;
	same &= !memcmp(v->gpr, native_ctx.gpr, sizeof(v->gpr));
	same &= !((v->rflags ^ native_ctx.flags) & mask);
	area_xmm(xmm, false);
	same &= !memcmp(xmm, native_ctx.xmm, sizeof(xmm));
	same &= !memcmp(tv_ram2, native_at(TV_RAM2), TV_AREA) && !memcmp(tv_dev0, native_at(TV_DEV0), TV_AREA) && !memcmp(tv_dev3, native_at(TV_DEV3), TV_AREA);
	if (same)
		return true;
	printf("differs:");
	for (unsigned i = 0; i < n; i++)
		printf(" %02x", insn[i]);
	printf("  flags %llx native %llx, rip %llx stop '%s'\n", (unsigned long long)v->rflags, (unsigned long long)native_ctx.flags, (unsigned long long)v->rip, tv_stop_text);
	for (unsigned i = 0; i < 16; i++)
		if (v->gpr[i] != native_ctx.gpr[i])
			printf("  gpr %u: %llx native %llx\n", i, (unsigned long long)v->gpr[i], (unsigned long long)native_ctx.gpr[i]);
	return false;
}

static void random_regs(void)
{
	tv_reset();
	for (unsigned i = 0; i < 16; i++)
		tv_vcpu->gpr[i] = rnd() >> (rnd() % 64);
	tv_vcpu->gpr[4] = TV_RAM2 + 0x1000;
	tv_vcpu->rflags = 2 | (rnd() & FLAGS_ARITH);
	fill(TV_RAM2);
	fill(TV_DEV0);
	fill(TV_DEV3);
}

struct shape { uint8_t map, opcode, prefix; int8_t reg; uint8_t imm; bool write, sse; }; /* reg: ModRM.reg, -1 any; imm: bytes at most */
static const struct shape shapes[] = {
	{ 0, 0x88, 0, -1, 0, true, false }, { 0, 0x89, 0, -1, 0, true, false }, { 0, 0x8a, 0, -1, 0, false, false }, { 0, 0x8b, 0, -1, 0, false, false },
	{ 0, 0xc6, 0, 0, 1, true, false }, { 0, 0xc7, 0, 0, 4, true, false }, { 0, 0x63, 0, -1, 0, false, false },
	{ 1, 0xb6, 0, -1, 0, false, false }, { 1, 0xb7, 0, -1, 0, false, false }, { 1, 0xbe, 0, -1, 0, false, false }, { 1, 0xbf, 0, -1, 0, false, false },
	{ 0, 0x84, 0, -1, 0, false, false }, { 0, 0x85, 0, -1, 0, false, false }, { 0, 0x86, 0, -1, 0, true, false }, { 0, 0x87, 0, -1, 0, true, false },
	{ 0, 0x80, 0, -1, 1, true, false }, { 0, 0x81, 0, -1, 4, true, false }, { 0, 0x83, 0, -1, 1, true, false },
	{ 0, 0xf6, 0, 0, 1, false, false }, { 0, 0xf7, 0, 0, 4, false, false }, { 0, 0xf6, 0, 2, 0, true, false }, { 0, 0xf7, 0, 2, 0, true, false },
	{ 0, 0xf6, 0, 3, 0, true, false }, { 0, 0xf7, 0, 3, 0, true, false }, { 0, 0xfe, 0, 0, 0, true, false }, { 0, 0xfe, 0, 1, 0, true, false },
	{ 0, 0xff, 0, 0, 0, true, false }, { 0, 0xff, 0, 1, 0, true, false }, { 0, 0xff, 0, 6, 0, false, false }, { 0, 0x8f, 0, 0, 0, true, false },
	{ 1, 0xb0, 0, -1, 0, true, false }, { 1, 0xb1, 0, -1, 0, true, false }, { 1, 0xc0, 0, -1, 0, true, false }, { 1, 0xc1, 0, -1, 0, true, false },
	{ 1, 0xa3, 0, -2, 0, false, false }, { 1, 0xab, 0, -2, 0, true, false }, { 1, 0xb3, 0, -2, 0, true, false }, { 1, 0xbb, 0, -2, 0, true, false },
	{ 1, 0xba, 0, 4, 1, false, false }, { 1, 0xba, 0, 5, 1, true, false }, { 1, 0xba, 0, 6, 1, true, false }, { 1, 0xba, 0, 7, 1, true, false },
	{ 1, 0xc3, 0, -1, 0, true, true },
	{ 1, 0x10, 0, -1, 0, false, true }, { 1, 0x11, 0, -1, 0, true, true }, { 1, 0x10, 0x66, -1, 0, false, true }, { 1, 0x11, 0x66, -1, 0, true, true },
	{ 1, 0x10, 0xf3, -1, 0, false, true }, { 1, 0x11, 0xf3, -1, 0, true, true }, { 1, 0x10, 0xf2, -1, 0, false, true }, { 1, 0x11, 0xf2, -1, 0, true, true },
	{ 1, 0x6f, 0xf3, -1, 0, false, true }, { 1, 0x7f, 0xf3, -1, 0, true, true }, { 1, 0x6e, 0x66, -1, 0, false, true }, { 1, 0x7e, 0x66, -1, 0, true, true },
	{ 1, 0x7e, 0xf3, -1, 0, false, true }, { 1, 0xd6, 0x66, -1, 0, true, true }, { 1, 0x13, 0, -1, 0, true, true }, { 1, 0xf0, 0xf2, -1, 0, false, true },
};

/* Builds prefix, REX, opcode, ModRM with a base register and a displacement; returns the length. */
static unsigned build(const struct shape *s, uint8_t *b, unsigned base, int32_t disp, bool *lockable)
{
	unsigned n = 0, reg = s->reg >= 0 ? (unsigned)s->reg : (unsigned)(rnd() & 7), rex = 0, opsize16 = !s->sse && rnd() % 4 == 0;
	unsigned imm = s->imm;

	if (opsize16)
		b[n++] = 0x66;
	if (s->prefix)
		b[n++] = s->prefix;
	if (rnd() & 1)
		rex = 0x40 | (rnd() & 0xc);
	if (base >= 8)
		rex |= 0x41;
	if (s->reg == -2)                         /* bit strings: the register is RSI, which holds a small number */
		reg = 6, rex &= ~4u;
	if (rex)
		b[n++] = (uint8_t)rex;
	if (s->map)
		b[n++] = 0x0f;
	b[n++] = s->opcode;
	b[n++] = (uint8_t)(0x80 | reg << 3 | (base & 7));
	if ((base & 7) == 4)
		b[n++] = 0x24;
	memcpy(b + n, &disp, 4);
	n += 4;
	if (imm == 4 && opsize16 && !(rex & 8))
		imm = 2;
	for (unsigned i = 0; i < imm; i++)
		b[n++] = (uint8_t)(rnd() >> 13);
	*lockable = false;
	return n;
}

TEST(one_operand_as_the_cpu_does)
{
	native_setup();
	for (unsigned i = 0; i < 60000; i++) {
		const struct shape *s = &shapes[rnd() % ARRAY_SIZE(shapes)];
		uint64_t dev = rnd() & 1 ? TV_DEV0 : TV_DEV3, target;
		static const uint8_t bases[] = { 3, 5, 7, 9, 12, 13, 14 };
		unsigned base = bases[rnd() % sizeof(bases)], n;
		int32_t disp = (int32_t)(rnd() % 4096) - 2048;
		uint8_t insn[16];
		struct emul_insn d;
		bool lockable;

		random_regs();
		target = dev + 0xfc0 + (rnd() % (rnd() & 1 ? 48 : 100)); /* some cross the page */
		if (s->sse)
			target = rnd() & 1 ? target : target & ~15ull;
		tv_vcpu->gpr[6] = s->reg == -2 ? (uint64_t)((int64_t)(rnd() % 400) - 200) : tv_vcpu->gpr[6];
		n = build(s, insn, base, disp, &lockable);
		tv_vcpu->gpr[base] = target - (uint64_t)(int64_t)disp;
		if (emul_decode(insn, n, 8, &d) != DECODE_OK) {
			CHECK(!"decodes");
			return;
		}
		if (d.form == FORM_MR && d.reg == base && s->reg == -2)
			continue;
		/* The CPU reports a plain access by its kind; read-modify-write by either. */
		if (!compare(insn, n, d.op == OP_MOV || s->sse || !s->write ? target : TV_DEV0 + 0x3800, s->write)) {
			CHECK(!"as native");
			printf("iteration %u target %llx stop '%s'\n", i, (unsigned long long)target, tv_stop_text);
			return;
		}
	}
}

TEST(moffs_and_lock)
{
	static const uint8_t opcodes[] = { 0xa0, 0xa1, 0xa2, 0xa3 };
	static const uint8_t locked[][3] = { { 0x01, 0x0b, 0 }, { 0x0f, 0xb1, 0x0b }, { 0x0f, 0xc1, 0x0b }, { 0xff, 0x03, 0 }, { 0x87, 0x0b, 0 } };
	uint8_t insn[16];

	native_setup();
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t target = TV_DEV0 + 0xfc0 + rnd() % 100;
		unsigned n = 0;

		random_regs();
		if (rnd() & 1)
			insn[n++] = 0x48;
		insn[n++] = opcodes[i % 4];
		memcpy(insn + n, &target, 8);
		if (!compare(insn, n + 8, target, i % 4 >= 2)) {
			CHECK(!"moffs");
			return;
		}
		random_regs();
		tv_vcpu->gpr[3] = TV_DEV3 + 0xfc0 + (rnd() % 50 & ~7ull);
		n = locked[i % 5][2] ? 3 : 2;
		insn[0] = 0xf0;
		memcpy(insn + 1, locked[i % 5], n);
		if (!compare(insn, n + 1, tv_vcpu->gpr[3], rnd() & 1)) {
			CHECK(!"locked");
			return;
		}
	}
}

TEST(strings_as_the_cpu_does)
{
	static const uint8_t opcodes[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
	static const uint64_t where[] = { TV_RAM2, TV_DEV0, TV_DEV3 };

	native_setup();
	for (unsigned i = 0; i < 6000; i++) {
		uint8_t insn[4];
		unsigned n = 0, rep = rnd() % 3;

		random_regs();
		tv_vcpu->gpr[6] = where[rnd() % 3] + 0x1000 + rnd() % 8 - 4;
		tv_vcpu->gpr[7] = where[rnd() % 3] + 0x1040 + rnd() % 8;
		tv_vcpu->gpr[1] = rnd() % 9;
		if (rnd() & 1) /* equal strings now and then, so that the repeat goes on */
			for (unsigned k = 0; k < 3; k++) {
				uint8_t *e = k == 0 ? tv_ram2 : k == 1 ? tv_dev0 : tv_dev3;

				memset(e + 0xf00, 0x5a, 512);
				memset(native_at(where[k]) + 0xf00, 0x5a, 512);
				tv_vcpu->gpr[0] = 0x5a5a5a5a5a5a5a5aull;
			}
		if (rnd() & 1)
			tv_vcpu->rflags |= FLAG_DF;
		if (rep)
			insn[n++] = rep == 1 ? 0xf3 : 0xf2;
		switch (rnd() % 3) {
		case 0:
			insn[n++] = 0x48;
			break;
		case 1:
			insn[n++] = 0x66;
		}
		insn[n++] = opcodes[rnd() % 10];
		if (!compare(insn, n, TV_DEV0, false)) {
			CHECK(!"string");
			return;
		}
	}
}

TEST(long_rep_leaves_in_pieces)
{
	static const uint8_t insn[] = { 0xf3, 0xaa };
	unsigned exits = 0;

	tv_reset();
	tv_code(insn, 2);
	tv_vcpu->gpr[7] = TV_DEV0;
	tv_vcpu->gpr[1] = 0x1000;
	while (tv_vcpu->rip == TV_CODE && exits < 100) {
		CHECK_EQ(tv_mmio(TV_DEV0, true), EMUL_DONE);
		exits++;
	}
	CHECK_EQ(exits, 0x1000 / EMUL_REP_MAX);
	CHECK_EQ(tv_vcpu->gpr[7], TV_DEV0 + 0x1000);
	/* A request ends the exit after one iteration; so does TF, with a trap. */
	tv_vcpu->rip = TV_CODE;
	tv_vcpu->gpr[1] = 100;
	tv_vcpu->request = VCPU_REQ_EVENT;
	CHECK_EQ(tv_mmio(TV_DEV0, true), EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[1], 99);
	tv_vcpu->request = 0;
	tv_vcpu->rflags |= FLAG_TF;
	CHECK_EQ(tv_mmio(TV_DEV0, true), EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[1], 98);
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_DB && (tv_cr[HV_DR6] & DR6_BS));
}

static void expect(const void *insn, unsigned n, uint8_t vector, int64_t error)
{
	tv_code(insn, n);
	CHECK_EQ(tv_mmio(TV_DEV0 + 0x804, false), EMUL_DONE); /* not where the operand lies: nothing is taken for checked */
	CHECK(tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->exception.vector, vector);
	CHECK_EQ(tv_vcpu->exception.has_error, error >= 0);
	if (error >= 0)
		CHECK_EQ(tv_vcpu->exception.error, error);
	CHECK_EQ(tv_vcpu->rip, TV_CODE);
	tv_vcpu->exception_valid = false;
}

TEST(faults_of_operands)
{
	tv_reset();
	tv_vcpu->gpr[3] = 0x800000000000ull; /* not canonical */
	expect("\x8b\x03", 2, EXC_GP, 0);
	tv_vcpu->gpr[5] = 0x800000000000ull;
	expect("\x8b\x45\x00", 3, EXC_SS, 0);
	tv_cr[HV_CR4] |= CR4_LA57;
	CHECK(emul_canonical(tv_vcpu, 0x800000000000ull));
	tv_cr[HV_CR4] &= ~CR4_LA57;
	tv_vcpu->gpr[3] = 0x80000000; /* not mapped */
	expect("\x89\x03", 2, EXC_PF, 2);
	CHECK_EQ(tv_cr[HV_CR2], 0x80000000);
	expect("\xf0\x89\x03", 3, EXC_UD, -1);
	tv_vcpu->gpr[3] = TV_DEV0 + 1;
	expect("\x0f\x28\x03", 3, EXC_GP, 0);
	/* Alignment check at CPL 3 */
	tv_cpl(3);
	tv_cr[HV_CR0] |= CR0_AM;
	tv_vcpu->rflags |= FLAG_AC;
	expect("\x8b\x03", 2, EXC_AC, 0);
	/* 32-bit: limits and types */
	tv_reset();
	tv_mode(4, true);
	tv_seg[HV_DS].limit = TV_DEV0 + 2;
	tv_vcpu->gpr[3] = TV_DEV0;
	expect("\x8b\x03", 2, EXC_GP, 0);
	tv_seg[HV_DS].limit = 0xffffffff;
	tv_seg[HV_DS].attr = 0xc91; /* read-only */
	expect("\x89\x03", 2, EXC_GP, 0);
	expect("\x2e\x89\x03", 3, EXC_GP, 0); /* to a code segment */
	tv_seg[HV_SS].attr = 0xc97; /* expands down: only what is above the limit */
	tv_seg[HV_SS].limit = TV_DEV0;
	tv_vcpu->gpr[5] = TV_DEV0;
	expect("\x8b\x45\x00", 3, EXC_SS, 0);
	tv_vcpu->gpr[5] = TV_DEV0 + 4;
	tv_code("\x8b\x45\x00", 3);
	CHECK_EQ(tv_mmio(TV_DEV0 + 4, false), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	/* Real mode: no error code */
	tv_reset();
	tv_mode(2, false);
	tv_seg[HV_DS].base = TV_DEV0;
	tv_vcpu->gpr[3] = 0xffff;
	expect("\x8b\x07", 2, EXC_GP, -1);
	tv_vcpu->gpr[3] = 0x10;
	tv_code("\x8b\x07", 2);
	CHECK_EQ(tv_mmio(TV_DEV0 + 0x10, false), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 2);
}

TEST(rom_nothing_and_unknown)
{
	tv_reset();
	tv_rom[0] = 0x11;
	tv_vcpu->gpr[3] = TV_ROM;
	tv_vcpu->gpr[0] = 0x99;
	tv_code("\x88\x03", 2);
	CHECK_EQ(tv_mmio(TV_ROM, true), EMUL_DONE);
	CHECK_EQ(tv_rom[0], 0x11);
	tv_vcpu->gpr[3] = 0x78000000; /* nobody */
	tv_vcpu->rip = TV_CODE;
	tv_code("\x48\x8b\x03", 3);
	CHECK_EQ(tv_mmio(0x78000000, false), EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[0], -1);
	tv_vcpu->rip = TV_CODE;
	tv_code("\xc5\xf8\x10\x03", 4); /* vmovups */
	CHECK_EQ(tv_mmio(0x78000000, false), EMUL_FAIL);
	CHECK(strstr(tv_stop_text, "c5 f8 10 03"));
	/* Code where no memory is. */
	tv_vcpu->exit.mem.exec = true;
	CHECK_EQ(emul_mmio(tv_vcpu), EMUL_FAIL);
	/* Register form: the code changed, the guest looks for itself. */
	tv_code("\x89\xc3", 2);
	CHECK_EQ(tv_mmio(TV_DEV0, false), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, TV_CODE);
	/* An instruction that ends where the mapping ends. */
	tv_vcpu->rip = 0x7ffffffe;
	tv_vcpu->exit.kind = HV_EXIT_NESTED_FAULT;
}

TEST(fetch_across_pages)
{
	uint64_t *pte;

	/* 4 KiB pages for the second megabyte pair; the page after the code is missing. */
	tv_reset();
	pte = (uint64_t *)(tv_ram + 0x200000);
	for (unsigned i = 0; i < 512; i++)
		pte[i] = i == 1 ? 0 : (0x300000 + i * 0x1000ull) | 0x67;
	((uint64_t *)(tv_ram + 0x102000))[2] = 0x200067; /* 4..6 MiB */
	tv_vcpu->rip = 0x400ffe;
	tv_vcpu->gpr[3] = TV_DEV0;
	memcpy(tv_ram + 0x300ffe, "\x8b\x03", 2);
	CHECK_EQ(tv_mmio(TV_DEV0, false), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->rip, 0x401000);
	tv_vcpu->rip = 0x400fff;
	memcpy(tv_ram + 0x300fff, "\x8b", 1);
	CHECK_EQ(tv_mmio(TV_DEV0, false), EMUL_DONE);
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_PF);
	CHECK_EQ(tv_vcpu->exception.error, 0x10);
	CHECK_EQ(tv_cr[HV_CR2], 0x401000);
	tv_vcpu->exception_valid = false;
	pte[1] = 0x302067;
	memcpy(tv_ram + 0x302000, "\x03", 1);
	tv_fast_fails = true;
	CHECK_EQ(tv_mmio(TV_DEV0, false), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->rip, 0x401001);
}

/* The guest moves the mapping while ring 3 thinks: what was logged for another address is not used. */
static unsigned hook_count;
static void remap_hook(void)
{
	hook_count++;
	if (hook_count == 1)
		((uint64_t *)(tv_ram + 0x102000))[2] = TV_DEV0 | 0xe7;
}

TEST(mapping_changes_while_ring3_answers)
{
	tv_reset();
	((uint64_t *)(tv_ram + 0x102000))[2] = (TV_DEV3 & ~0x1fffffull) | 0xe7; /* 4 MiB: maps DEV0 and DEV3's 2 MiB */
	tv_code("\x01\x03", 2); /* add [rbx], eax */
	tv_vcpu->gpr[3] = 0x400000 + (TV_DEV3 & 0x1fffff);
	tv_vcpu->gpr[0] = 1;
	*(uint32_t *)tv_dev3 = 41;
	hook_count = 0;
	tv_ring3_hook = remap_hook;
	CHECK_EQ(tv_mmio(TV_DEV3, false), EMUL_DONE);
	CHECK_EQ(*(uint32_t *)tv_dev3, 42);
	CHECK_EQ(hook_count, 2);
}

TEST(state_refuses_nonsense)
{
	uint8_t buf[512];

	tv_reset();
	for (unsigned i = 0; i < 20000; i++) {
		struct state_in in = { buf, rnd() % sizeof(buf), 1, 0, STATE_EMUL, false };

		for (unsigned k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)(rnd() >> 7);
		buf[0] = (uint8_t)(rnd() % 7);
		if (rnd() & 1) { /* nearly right */
			buf[1] = 8;
			buf[2] = 2;
			buf[3] = 0x8b;
			buf[4] = 0x03;
		}
		if (emul_load(tv_vcpu, &in) == 0 && EMUL_OF(tv_vcpu)->cont != CONT_NONE)
			emul_resume(tv_vcpu);
	}
	CHECK(1);
}
