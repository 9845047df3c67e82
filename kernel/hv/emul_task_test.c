/* SPDX-License-Identifier: Apache-2.0 */
/* Task switches: what is saved and loaded, busy bits and links, and which fault in which task for each thing that can be wrong. */
#include "hv/emul_test_vm.h"
#include "test/unit.h"

#define GDT 0x20000u
#define LDT 0x21000u
#define TSS_OLD 0x22000u
#define TSS_NEW 0x23000u
#define SEL_CS 0x08
#define SEL_DS 0x10
#define SEL_OLD 0x20
#define SEL_NEW 0x28
#define SEL_LDT 0x30
#define SEL_CS3 0x38
#define SEL_DS3 0x40

struct full { uint32_t link, stacks[6], cr3, eip, eflags, gpr[8], seg[6], ldt; uint16_t trap, iomap; };
struct half { uint16_t link, stacks[6], ip, flags, gpr[8], seg[4], ldt; };

static void desc(uint16_t sel, uint32_t base, uint32_t limit, unsigned attr)
{
	uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
		     (uint64_t)(attr >> 8 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;

	memcpy(tv_ram + GDT + (sel & ~7), &d, 8);
}
static uint8_t type_of(uint16_t sel) { return tv_ram[GDT + (sel & ~7) + 5]; }

static struct full *new_tss(void) { return (struct full *)(tv_ram + TSS_NEW); }
static struct full *old_tss(void) { return (struct full *)(tv_ram + TSS_OLD); }

static void set_up(unsigned reason)
{
	struct full *n;

	tv_reset();
	tv_mode(4, true);
	memset(tv_ram + GDT, 0, 0x4000);
	desc(SEL_CS, 0, 0xfffff, 0xc9a);
	desc(SEL_DS, 0, 0xfffff, 0xc92);
	desc(SEL_OLD, TSS_OLD, 0x67, 0x08b);
	desc(SEL_NEW, TSS_NEW, 0x67, reason == 1 ? 0x08b : 0x089);
	desc(SEL_LDT, LDT, 0xff, 0x082);
	desc(SEL_CS3, 0, 0xfffff, 0xcfa);
	desc(SEL_DS3, 0, 0xfffff, 0xcf2);
	tv_seg[HV_GDTR] = (struct vmm_segment){ GDT, 0xff, 0, 0 };
	tv_seg[HV_TR] = (struct vmm_segment){ TSS_OLD, 0x67, SEL_OLD, 0x08b };
	n = new_tss();
	n->eip = 0x1234;
	n->eflags = 0x202;
	for (unsigned i = 0; i < 8; i++)
		n->gpr[i] = 0x1000 * (i + 1);
	for (unsigned i = 0; i < 6; i++)
		n->seg[i] = i == HV_CS ? SEL_CS : SEL_DS;
	n->cr3 = 0x555000;
	for (unsigned i = 0; i < 8; i++)
		tv_vcpu->gpr[i] = 0xa0 + i;
	tv_vcpu->rflags = 0x4046;
	tv_code("\x9a\x00\x00\x00\x00\x28\x00", 7);
	tv_vcpu->exit.kind = HV_EXIT_TASK_SWITCH;
	tv_vcpu->exit.task.selector = SEL_NEW;
	tv_vcpu->exit.task.reason = (uint8_t)reason;
}

static void fault(uint8_t vector, uint32_t error, bool in_new)
{
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK(tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->exception.vector, vector);
	CHECK_EQ(tv_vcpu->exception.error, error);
	CHECK_EQ(tv_seg[HV_TR].selector, in_new ? SEL_NEW : SEL_OLD);
	CHECK_EQ(tv_vcpu->rip, in_new ? 0x1234 : TV_CODE);
	if (!in_new) {
		CHECK_EQ(type_of(SEL_OLD), 0x8b);
		CHECK_EQ(old_tss()->eip, 0);
		CHECK_EQ(tv_vcpu->gpr[0], 0xa0);
	}
}

TEST(call_jmp_iret)
{
	for (unsigned reason = 0; reason < 3; reason++) {
		set_up(reason);
		CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
		CHECK(!tv_vcpu->exception_valid);
		CHECK_EQ(tv_vcpu->rip, 0x1234);
		for (unsigned i = 0; i < 8; i++) {
			CHECK_EQ(tv_vcpu->gpr[i], 0x1000 * (i + 1));
			CHECK_EQ(old_tss()->gpr[i], 0xa0 + i);
		}
		CHECK_EQ(old_tss()->eip, TV_CODE + 7);
		CHECK_EQ(old_tss()->eflags, reason == 1 ? 0x46 : 0x4046);
		CHECK_EQ(tv_vcpu->rflags, reason == 0 ? 0x4202 : 0x202);
		CHECK_EQ(tv_seg[HV_TR].selector, SEL_NEW);
		CHECK_EQ(tv_seg[HV_TR].attr, 0x8b);
		CHECK_EQ(type_of(SEL_NEW), 0x8b);
		CHECK_EQ(type_of(SEL_OLD), reason == 0 ? 0x8b : 0x89);
		CHECK_EQ(new_tss()->link, reason == 0 ? SEL_OLD : 0);
		CHECK(tv_cr[HV_CR0] & CR0_TS);
		CHECK_EQ(type_of(SEL_CS), 0x9b); /* accessed */
		CHECK_EQ(tv_seg[HV_DS].limit, 0xffffffff);
		CHECK_EQ(tv_cr[HV_CR3], 0x100000); /* no paging: not loaded */
	}
}

TEST(gate_pushes_the_error)
{
	set_up(3);
	tv_vcpu->exit.task.has_error = true;
	tv_vcpu->exit.task.error = 0xbeef;
	tv_vcpu->reinject_valid = true;
	tv_vcpu->reinject = (struct hv_event){ HV_EV_EXCEPTION, 13, true, 0xbeef };
	new_tss()->trap = 1;
	tv_cr[HV_DR7] = 0x7ff;
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[4], 0x5000 - 4);
	CHECK_EQ(*(uint32_t *)(tv_ram + 0x4ffc), 0xbeef);
	CHECK(!tv_vcpu->reinject_valid);
	CHECK_EQ(old_tss()->eip, TV_CODE); /* the faulting instruction */
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_DB && (tv_cr[HV_DR6] & DR6_BT));
	CHECK_EQ(tv_cr[HV_DR7], 0x7ff & ~0x155);
	set_up(3); /* INT n goes on behind itself */
	tv_code("\xcd\x40", 2);
	tv_vcpu->reinject_valid = true;
	tv_vcpu->reinject.type = HV_EV_SOFT;
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK_EQ(old_tss()->eip, TV_CODE + 2);
}

TEST(sixteen_bits)
{
	struct half *h = (struct half *)(tv_ram + TSS_NEW);

	set_up(2);
	desc(SEL_NEW, TSS_NEW, 0x2b, 0x081);
	memset(h, 0, 0x100);
	h->ip = 0x4321;
	h->flags = 0x46;
	h->gpr[1] = 0x7777;
	h->seg[HV_ES] = h->seg[HV_SS] = h->seg[HV_DS] = SEL_DS;
	h->seg[HV_CS] = SEL_CS;
	desc(SEL_OLD, TSS_OLD, 0x2b, 0x083);
	tv_seg[HV_TR] = (struct vmm_segment){ TSS_OLD, 0x2b, SEL_OLD, 0x083 };
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_vcpu->rip, 0x4321);
	CHECK_EQ(tv_vcpu->gpr[1], 0x7777);
	CHECK_EQ(((struct half *)(tv_ram + TSS_OLD))->ip, TV_CODE + 7);
	CHECK_EQ(((struct half *)(tv_ram + TSS_OLD))->gpr[3], 0xa3);
	CHECK_EQ(tv_seg[HV_FS].attr, 0);
	CHECK_EQ(type_of(SEL_OLD), 0x81);
}

TEST(to_virtual_8086_and_ring3)
{
	set_up(2);
	new_tss()->eflags = 0x20202;
	new_tss()->seg[HV_CS] = 0x1230;
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_seg[HV_CS].base, 0x12300);
	CHECK_EQ(tv_seg[HV_CS].attr, 0xf3);
	CHECK_EQ(emul_cpl(tv_vcpu), 3);
	set_up(2);
	for (unsigned i = 0; i < 6; i++)
		new_tss()->seg[i] = (i == HV_CS ? SEL_CS3 : SEL_DS3) | 3;
	new_tss()->ldt = SEL_LDT;
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(emul_cpl(tv_vcpu), 3);
	CHECK_EQ(tv_seg[HV_LDTR].base, LDT);
}

TEST(faults_in_the_old_task)
{
	set_up(0);
	tv_vcpu->exit.task.selector = SEL_NEW | 4;
	fault(EXC_GP, SEL_NEW | 4, false);
	set_up(0);
	tv_vcpu->exit.task.selector = 0x108; /* past the table */
	fault(EXC_GP, 0x108, false);
	set_up(1);
	desc(SEL_NEW, TSS_NEW, 0x67, 0x089); /* IRET to one that is not busy */
	fault(EXC_TS, SEL_NEW, false);
	set_up(0);
	desc(SEL_NEW, TSS_NEW, 0x67, 0x08b); /* CALL to a busy one */
	fault(EXC_GP, SEL_NEW, false);
	set_up(0);
	desc(SEL_NEW, TSS_NEW, 0x67, 0x009);
	fault(EXC_NP, SEL_NEW, false);
	set_up(0);
	desc(SEL_NEW, TSS_NEW, 0x66, 0x089);
	fault(EXC_TS, SEL_NEW, false);
	set_up(3); /* an external event: EXT */
	tv_vcpu->reinject_valid = true;
	tv_vcpu->reinject.type = HV_EV_INTR;
	desc(SEL_NEW, TSS_NEW, 0x67, 0x009);
	fault(EXC_NP, SEL_NEW | 1, false);
}

TEST(faults_in_the_new_task)
{
	static const struct { unsigned seg; uint16_t sel; unsigned attr; uint8_t vector; } bad[] = {
		{ HV_CS, 0, 0, EXC_TS }, { HV_CS, SEL_DS, 0, EXC_TS }, { HV_CS, SEL_CS3, 0, EXC_TS }, { HV_CS, SEL_CS, 0xc1a, EXC_NP },
		{ HV_SS, 0, 0, EXC_TS }, { HV_SS, SEL_CS, 0, EXC_TS }, { HV_SS, SEL_DS3, 0, EXC_TS }, { HV_DS, SEL_DS3, 0xc72, EXC_NP },
		{ HV_SS, 0x48, 0xc12, EXC_SS }, { HV_DS, 0xff8, 0, EXC_TS }, { HV_ES, SEL_NEW, 0, EXC_TS }, { HV_FS, 0x4c, 0, EXC_TS /* no LDT */ },
		{ HV_GS, 0x48, 0xc98, EXC_TS /* execute-only */ },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set_up(2);
		new_tss()->seg[bad[i].seg] = bad[i].sel;
		if (bad[i].attr)
			desc(bad[i].sel, 0, 0xfffff, bad[i].attr);
		fault(bad[i].vector, bad[i].sel & 0xfffc, true);
	}
	set_up(2);
	new_tss()->ldt = SEL_DS;
	fault(EXC_TS, SEL_DS, true);
	set_up(2);
	desc(SEL_CS, 0, 0x1000, 0x49a);
	fault(EXC_GP, 0, true);
}

TEST(page_faults_change_nothing)
{
	/* Paging with the identity tables of a 32-bit guest: one 4 MiB page, then nothing. */
	uint32_t *pd = (uint32_t *)(tv_ram ? tv_ram + 0x30000 : NULL);

	set_up(0);
	pd = (uint32_t *)(tv_ram + 0x30000);
	memset(pd, 0, 4096);
	pd[0] = 0xe7;
	tv_cr[HV_CR0] |= CR0_PG | CR0_WP;
	tv_cr[HV_CR4] = CR4_PSE;
	tv_cr[HV_CR3] = 0x30000;
	desc(SEL_NEW, 0x400000, 0x67, 0x089);
	fault(EXC_PF, 0, false);
	set_up(0);
	tv_cr[HV_CR0] |= CR0_PG | CR0_WP;
	tv_cr[HV_CR4] = CR4_PSE;
	tv_cr[HV_CR3] = 0x30000;
	memset(pd, 0, 4096);
	pd[0] = 0xe5; /* read-only: neither the busy bit nor the old TSS can be written */
	fault(EXC_PF, 3, false);
	set_up(0);
	tv_cr[HV_CR0] |= CR0_PG;
	tv_cr[HV_CR4] = CR4_PSE;
	tv_cr[HV_CR3] = 0x30000;
	memset(pd, 0, 4096);
	pd[0] = 0xe7;
	new_tss()->cr3 = 0x30000;
	CHECK_EQ(emul_task_switch(tv_vcpu), EMUL_DONE);
	CHECK(!tv_vcpu->exception_valid);
	CHECK_EQ(tv_cr[HV_CR3], 0x30000);
}
