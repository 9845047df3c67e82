/* SPDX-License-Identifier: Apache-2.0 */
/* What the VMCB says after an exit, in the words of struct hv_exit, and events whose delivery was cut short. */
#include "hv/svm/svm_priv.h"
#include "test/unit.h"

static struct vmcb m;
static struct hv_exit e;
static const struct svm_features bare, full = { .nrip = true, .decode = true };

static enum hv_exit_kind translate(uint64_t code, uint64_t info1, uint64_t info2, const struct svm_features *f)
{
	m.c.exit_code = code;
	m.c.info1 = info1;
	m.c.info2 = info2;
	m.s.rip = 0x1000;
	memset(&e, 0, sizeof(e));
	svm_exit_translate(&m, f, &e);
	return e.kind;
}

TEST(kinds)
{
	static const struct { uint64_t code, info1; enum hv_exit_kind kind; } want[] = {
		{ SVM_INTR, 0, HV_EXIT_HOST_EVENT }, { SVM_NMI, 0, HV_EXIT_HOST_EVENT }, { SVM_VINTR, 0, HV_EXIT_IRQ_WINDOW },
		{ SVM_CPUID, 0, HV_EXIT_CPUID }, { SVM_MSR, 0, HV_EXIT_RDMSR }, { SVM_MSR, 1, HV_EXIT_WRMSR }, { SVM_HLT, 0, HV_EXIT_HLT },
		{ SVM_VMMCALL, 0, HV_EXIT_HYPERCALL }, { SVM_XSETBV, 0, HV_EXIT_XSETBV }, { SVM_INVD, 0, HV_EXIT_CACHE },
		{ SVM_WBINVD, 0, HV_EXIT_CACHE }, { SVM_SHUTDOWN, 0, HV_EXIT_SHUTDOWN }, { SVM_VMRUN, 0, HV_EXIT_UNDEFINED },
		{ SVM_MONITOR, 0, HV_EXIT_UNDEFINED }, { SVM_TASK, 0, HV_EXIT_TASK_SWITCH }, { ~0ull, 0, HV_EXIT_INVALID }, { 0x7e, 0, HV_EXIT_INVALID },
		{ 0x999, 0, HV_EXIT_INVALID }, { SVM_DR_WRITE + 7, 0, HV_EXIT_DR_ACCESS }, { SVM_CR_READ, 0, HV_EXIT_CR_ACCESS },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		CHECK_EQ(translate(want[i].code, want[i].info1, 0, &bare), want[i].kind);
}

TEST(ports)
{
	CHECK_EQ(translate(SVM_IOIO, 0x21u << 16 | BIT(9) | BIT(4) | 1, 0x1002, &bare), HV_EXIT_IO);
	CHECK(e.io.port == 0x21 && e.io.size == 1 && e.io.in && !e.io.string);
	CHECK_EQ(e.insn_len, 2);
	translate(SVM_IOIO, 0xcf8u << 16 | BIT(9) | BIT(6) | BIT(2) | BIT(3), 0x1000 + 20, &bare);
	CHECK(e.io.port == 0xcf8 && e.io.size == 4 && !e.io.in && e.io.string && e.io.rep && e.io.addr_size == 8);
	CHECK_EQ(e.insn_len, 0); /* nonsense is not believed */
}

TEST(nested_faults)
{
	m.c.insn_bytes_n = 15;
	m.c.insn_bytes[0] = 0x8b;
	CHECK_EQ(translate(SVM_NPF, NPF_WRITE | BIT(2), 0xfee00020, &bare), HV_EXIT_NESTED_FAULT);
	CHECK(e.mem.gpa.v == 0xfee00020 && e.mem.write && !e.mem.read && !e.mem.exec && !e.mem.present && !e.mem.walk && !e.insn_bytes_n);
	translate(SVM_NPF, NPF_PRESENT | NPF_WALK | BIT(2), 0x5000, &full);
	CHECK(e.mem.read && e.mem.present && e.mem.walk && e.insn_bytes_n == 15 && e.insn_bytes[0] == 0x8b);
}

TEST(lengths)
{
	m.c.next_rip = 0x1002;
	translate(SVM_CPUID, 0, 0, &bare);
	CHECK_EQ(e.insn_len, 0);
	translate(SVM_CPUID, 0, 0, &full);
	CHECK_EQ(e.insn_len, 2);
	m.c.next_rip = 0;
	translate(SVM_CPUID, 0, 0, &full);
	CHECK_EQ(e.insn_len, 0);
}

TEST(registers)
{
	translate(SVM_CR_WRITE + 8, CR_INFO_MOV | 3, 0, &full);
	CHECK(e.cr.cr == 8 && e.cr.write && e.cr.gpr == 3);
	translate(SVM_CR_WRITE + 8, 3, 0, &bare);
	CHECK_EQ(e.cr.gpr, 0xff);
	translate(SVM_CR0_SEL, 0, 0, &full);
	CHECK(e.cr.cr == 0 && e.cr.write && e.cr.gpr == 0xff);
	translate(SVM_DR_READ + 6, 2, 0, &full);
	CHECK(e.cr.cr == 6 && !e.cr.write && e.cr.gpr == 2);
	translate(SVM_DR_WRITE + 7, 0, 0, &bare);
	CHECK(e.cr.cr == 7 && e.cr.write);
}

TEST(exceptions)
{
	CHECK_EQ(translate(SVM_EXCEPTION + 13, 0x18, 0, &bare), HV_EXIT_EXCEPTION);
	CHECK(e.vector == 13 && e.has_error && e.error_code == 0x18);
	translate(SVM_EXCEPTION + 1, 0, 0, &bare);
	CHECK(e.vector == 1 && !e.has_error);
	translate(SVM_RDPMC, 0, 0, &bare);
	CHECK(e.kind == HV_EXIT_EXCEPTION && e.vector == 13 && e.has_error && !e.error_code);
}

TEST(task_switches)
{
	translate(SVM_TASK, 0x28, TASK_JMP, &bare);
	CHECK(e.task.selector == 0x28 && e.task.reason == 2);
	translate(SVM_TASK, 0x28, TASK_IRET, &bare);
	CHECK_EQ(e.task.reason, 1);
	m.c.exit_int_info = EVENT_VALID;
	translate(SVM_TASK, 0x28, TASK_HAS_ERROR | 7, &bare);
	CHECK(e.task.reason == 3 && e.task.has_error && e.task.error == 7);
	m.c.exit_int_info = 0;
	translate(SVM_TASK, 0x28, 0, &bare);
	CHECK_EQ(e.task.reason, 0);
}

TEST(cut_deliveries)
{
	struct hv_event ev;

	CHECK(svm_event_decode(EVENT_VALID | 0x31, &ev) && ev.type == HV_EV_INTR && ev.vector == 0x31);
	CHECK(svm_event_decode(EVENT_VALID | EVENT_EXCEPTION << 8 | 0x31, &ev) && ev.type == HV_EV_INTR);
	CHECK(svm_event_decode(EVENT_VALID | EVENT_NMI << 8 | 2, &ev) && ev.type == HV_EV_NMI);
	CHECK(svm_event_decode(EVENT_VALID | EVENT_EXCEPTION << 8 | EVENT_HAS_ERROR | 14 | 6ull << 32, &ev));
	CHECK(ev.type == HV_EV_EXCEPTION && ev.vector == 14 && ev.has_error && ev.error == 6);
	CHECK(!svm_event_decode(EVENT_VALID | EVENT_SOFT << 8 | 0x80, &ev));
	CHECK(!svm_event_decode(EVENT_VALID | EVENT_EXCEPTION << 8 | 3, &ev));
}

/* ---- the rest of event.c runs on a vCPU ---- */
void svm_asid_flush(struct vcpu *v) { (void)v; }
static struct svm_vcpu s;
static struct vcpu v;

static void fresh(void)
{
	memset(&m, 0, sizeof(m));
	memset(&s, 0, sizeof(s));
	memset(&v, 0, sizeof(v));
	s.vmcb = &m;
	v.backend = &s;
	v.rflags = BIT(9);
}

TEST(interrupts_go_by_virq)
{
	const struct hv_event irq = { .type = HV_EV_INTR, .vector = 0x30 };

	fresh();
	CHECK(svm_irq_ready(&v));
	svm_irq_window(&v, true);
	CHECK(m.c.misc1 & ICPT_VINTR && m.c.int_ctl & INT_V_IRQ);
	svm_inject(&v, &irq);
	CHECK(!(m.c.misc1 & ICPT_VINTR) && m.c.int_vector == 0x30 && m.c.int_ctl & INT_V_IRQ && !m.c.event_inj && !svm_irq_ready(&v));
	m.c.int_ctl &= ~(uint32_t)INT_V_IRQ; /* delivered */
	svm_event_collect(&v);
	CHECK(!v.reinject_valid && v.request == VCPU_REQ_EVENT && svm_irq_ready(&v));
	svm_inject(&v, &irq); /* not delivered */
	m.c.exit_int_info = EVENT_VALID | EVENT_EXCEPTION << 8 | 0x30;
	svm_event_collect(&v);
	CHECK(v.reinject_valid && v.reinject.type == HV_EV_INTR && v.reinject.vector == 0x30 && !(m.c.int_ctl & INT_V_IRQ));
}

TEST(withdrawn_events_come_back)
{
	const struct hv_event pf = { .type = HV_EV_EXCEPTION, .vector = 14, .has_error = true, .error = 2 }, irq = { .type = HV_EV_INTR, .vector = 0x41 };

	fresh();
	svm_inject(&v, &pf);
	svm_withdraw(&v);
	CHECK(v.reinject_valid && v.reinject.vector == 14 && v.reinject.error == 2 && !m.c.event_inj);
	v.reinject_valid = false;
	svm_inject(&v, &irq);
	svm_withdraw(&v);
	CHECK(v.reinject_valid && v.reinject.type == HV_EV_INTR && v.reinject.vector == 0x41 && !(m.c.int_ctl & INT_V_IRQ));
}

TEST(nmi_masked_until_iret_is_done)
{
	const struct hv_event nmi = { .type = HV_EV_NMI, .vector = 2 };

	fresh();
	CHECK(svm_nmi_ready(&v));
	svm_inject(&v, &nmi);
	m.c.event_inj = 0; /* entered */
	CHECK(!svm_nmi_ready(&v) && m.c.misc1 & ICPT_IRET);
	v.rip = 0x2000;
	svm_nmi_iret(&v);
	CHECK(!svm_nmi_ready(&v) && !(m.c.misc1 & ICPT_IRET));
	svm_nmi_window(&v, true);
	CHECK(v.rflags & BIT(8) && s.stepping);
	v.rip = 0x3000;
	v.rflags = BIT(9);
	m.s.dr6 = BIT(14);
	CHECK(svm_nmi_stepped(&v, true) && !(m.s.dr6 & BIT(14)));
	CHECK(svm_nmi_ready(&v));
}
