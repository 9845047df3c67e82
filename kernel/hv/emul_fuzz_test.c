/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile guest: random code, modes, registers, segments and page tables at every entry. Never a crash, an endless loop, an over-read or a lock left behind. */
#include "hv/emul_test_vm.h"
#include "test/unit.h"

static uint64_t seed = 0xfeedfacecafef00dull;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t interesting(void)
{
	static const uint64_t v[] = { 0, 0xfff, 0xffff, 0x10000, TV_RAM2, TV_RAM2 + 0xffd, TV_ROM + 0xffe, TV_DEV0, TV_DEV0 + 0xffb, TV_DEV3, TV_DEV3 + 0x1ff9, TV_CODE,
				      0x7fffffff, 0xfffffffc, 0xffffffff, 0x7fffffffffffull, 0x800000000000ull, ~0ull, TV_RAM_SIZE - 2 };
	uint64_t r = rnd();

	return r & 3 ? v[rnd() % ARRAY_SIZE(v)] + rnd() % 16 : rnd();
}

static void random_world(void)
{
	unsigned kind = rnd() % 6;
	struct vcpu *v;

	tv_reset();
	v = tv_vcpu;
	if (kind < 3)
		tv_mode(kind & 1 ? 4 : 2, kind != 2);
	for (unsigned i = 0; i < 16; i++)
		v->gpr[i] = interesting();
	if (rnd() % 4)
		v->gpr[1] = rnd() % 3000;
	v->rip = rnd() % 4 ? TV_CODE : interesting();
	v->rflags = 2 | (rnd() & 0x54ed5);
	for (unsigned i = 0; i < 10; i++)
		if (rnd() % 8 == 0)
			tv_seg[i] = (struct vmm_segment){ interesting(), (uint32_t)rnd() >> rnd() % 20, (uint16_t)rnd(), (uint16_t)(rnd() & 0xfff) };
	for (unsigned i = 0; i < HV_CRS; i++)
		if (rnd() % 12 == 0)
			tv_cr[i] ^= BIT(rnd() % 32);
	if (rnd() % 16 == 0)
		for (unsigned i = 0; i < 3072; i++)
			((uint64_t *)(tv_ram + 0x100000))[i] ^= rnd() % 3 ? 0 : BIT(rnd() % 64);
	for (unsigned i = 0; i < 16; i++)
		tv_ram[TV_CODE + i] = (uint8_t)(rnd() >> 17);
	if (rnd() % 3 == 0) { /* forms that reach the emulator's insides */
		static const uint8_t good[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f, 0x01, 0x87, 0x8b, 0x89, 0xc7, 0x8f, 0xff };

		tv_ram[TV_CODE] = rnd() & 1 ? 0xf3 : 0x66;
		tv_ram[TV_CODE + 1] = good[rnd() % sizeof(good)];
	}
	v->exit.insn_len = rnd() % 3 ? 0 : (uint8_t)(rnd() % 16);
	v->reinject_valid = rnd() % 16 == 0;
	v->request = rnd() % 4 == 0;
	tv_fast_fails = rnd() % 8 == 0;
	tv_cas_fail = rnd() % 8 == 0 ? 5 : 0;
	tv_backdoor = rnd() & 1;
}

static void exit_mmio(void)
{
	struct hv_exit *x = &tv_vcpu->exit;

	x->kind = HV_EXIT_NESTED_FAULT;
	x->mem.gpa = gpa(interesting());
	x->mem.write = rnd() & 1;
	x->mem.read = !x->mem.write;
	x->mem.exec = rnd() % 16 == 0;
	x->mem.walk = rnd() % 8 == 0;
	if (rnd() % 4 == 0) {
		x->insn_bytes_n = (uint8_t)(rnd() % 16);
		memcpy(x->insn_bytes, tv_ram + TV_CODE, 15);
	}
	tv_finish(emul_mmio(tv_vcpu));
}

static void exit_io(void)
{
	struct hv_exit *x = &tv_vcpu->exit;

	x->kind = HV_EXIT_IO;
	x->io.port = (uint16_t)(rnd() % 3 ? 0x100 + rnd() % 0x200 : BACKDOOR_PORT + rnd() % 2);
	x->io.size = (uint8_t)(1 << rnd() % 3);
	x->io.in = rnd() & 1;
	x->io.string = rnd() & 1;
	tv_finish(emul_io(tv_vcpu));
}

static void exit_task(void)
{
	struct hv_exit *x = &tv_vcpu->exit;

	x->kind = HV_EXIT_TASK_SWITCH;
	x->task.selector = (uint16_t)rnd();
	x->task.reason = (uint8_t)rnd();
	x->task.has_error = rnd() & 1;
	x->task.error = (uint32_t)rnd();
	if (rnd() & 1) { /* a descriptor that passes */
		static const uint64_t tss = 0x0000890000000067ull | (uint64_t)0x0002 << 32;

		tv_seg[HV_GDTR] = (struct vmm_segment){ 0x20000, 0xffff, 0, 0 };
		x->task.selector = 0x28;
		memcpy(tv_ram + 0x20028, &tss, 8);
		for (unsigned i = 0; i < 64; i++)
			tv_ram[0x20000 + (rnd() & 0xff)] = (uint8_t)rnd();
	}
	emul_task_switch(tv_vcpu);
}

static void exit_other(void)
{
	static const enum hv_exit_kind kinds[] = { HV_EXIT_CPUID, HV_EXIT_RDMSR, HV_EXIT_HLT, HV_EXIT_PAUSE, HV_EXIT_HYPERCALL, HV_EXIT_CR_ACCESS };
	enum emul_result r;

	tv_vcpu->exit.kind = kinds[rnd() % ARRAY_SIZE(kinds)];
	if (rnd() & 1)
		emul_skip(tv_vcpu);
	else {
		tv_vcpu->gpr[0] = BACKDOOR_MAGIC;
		tv_vcpu->gpr[2] = BACKDOOR_PORT + rnd() % 2;
		if (emul_backdoor_gp(tv_vcpu, &r))
			tv_finish(r);
	}
}

TEST(anything_goes)
{
	unsigned stops = 0, faults = 0, rounds = 400000;

	for (unsigned i = 0; i < rounds; i++) {
		random_world();
		switch (rnd() % 4) {
		case 0:
			exit_mmio();
			break;
		case 1:
			exit_io();
			break;
		case 2:
			exit_task();
			break;
		default:
			exit_other();
		}
		stops += tv_stops != 0;
		faults += tv_vcpu->exception_valid;
		CHECK_EQ(preempt_depth(), 0);
		CHECK(tv_stops <= 1);
		CHECK(tv_bus_accesses <= 8 * EMUL_REP_MAX + 1100 * 16);
		if (unit_failures) {
			printf("round %u: %s\n", i, tv_stop_text);
			return;
		}
	}
	printf("of %u: %u stopped the VM, %u raised an exception\n", rounds, stops, faults);
}
