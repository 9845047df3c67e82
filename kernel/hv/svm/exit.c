/* SPDX-License-Identifier: Apache-2.0 */
/* What the processor said, in the words of struct hv_exit (APM 15.7 to 15.14, appendix C). Pure: reads a VMCB, writes an exit. */
#include "hv/svm/svm_priv.h"

/* Kind + 1 for codes below SVM_TABLE_CODES; 0: never asked for. */
#define KIND(code, kind) [code] = HV_EXIT_##kind + 1
static const uint8_t exit_kind[SVM_TABLE_CODES] = {
	[SVM_CR_READ ... SVM_CR_READ + 15] = HV_EXIT_CR_ACCESS + 1,
	[SVM_CR_WRITE ... SVM_CR_WRITE + 15] = HV_EXIT_CR_ACCESS + 1,
	[SVM_DR_READ ... SVM_DR_WRITE + 15] = HV_EXIT_DR_ACCESS + 1,
	[SVM_EXCEPTION ... SVM_EXCEPTION + 31] = HV_EXIT_EXCEPTION + 1,
	KIND(SVM_INTR, HOST_EVENT), KIND(SVM_NMI, HOST_EVENT), KIND(SVM_SMI, HOST_EVENT), KIND(SVM_INIT, HOST_EVENT),
	KIND(SVM_VINTR, IRQ_WINDOW), KIND(SVM_CR0_SEL, CR_ACCESS), KIND(SVM_CPUID, CPUID), KIND(SVM_IRET, HOST_EVENT),
	KIND(SVM_INVD, CACHE), KIND(SVM_WBINVD, CACHE), KIND(SVM_PAUSE, PAUSE), KIND(SVM_HLT, HLT), KIND(SVM_IOIO, IO),
	KIND(SVM_MSR, RDMSR), KIND(SVM_TASK, TASK_SWITCH), KIND(SVM_SHUTDOWN, SHUTDOWN),
	KIND(SVM_VMMCALL, HYPERCALL), KIND(SVM_XSETBV, XSETBV),
	/* No counters are shown, and a counter that does not exist is #GP (APM 3, RDPMC). */
	KIND(SVM_RDPMC, EXCEPTION),
	KIND(SVM_RSM, UNDEFINED), KIND(SVM_INVLPGA, UNDEFINED), KIND(SVM_VMRUN, UNDEFINED), KIND(SVM_VMLOAD, UNDEFINED),
	KIND(SVM_VMSAVE, UNDEFINED), KIND(SVM_STGI, UNDEFINED), KIND(SVM_CLGI, UNDEFINED), KIND(SVM_SKINIT, UNDEFINED),
	KIND(SVM_MONITOR, UNDEFINED), KIND(SVM_MWAIT, UNDEFINED), KIND(SVM_MWAIT_ARMED, UNDEFINED), KIND(SVM_RDPRU, UNDEFINED),
};

static void translate_io(const struct vmcb *m, struct hv_exit *e)
{
	uint32_t i = (uint32_t)m->c.info1;
	uint64_t len = m->c.info2 - m->s.rip; /* every processor gives the next RIP here */

	e->io.port = (uint16_t)(i >> IOIO_PORT_SHIFT);
	e->io.size = i >> IOIO_SIZE_SHIFT & 7;
	e->io.in = i & IOIO_IN;
	e->io.string = i & IOIO_STRING;
	if (unlikely(i & IOIO_STRING)) {
		e->io.rep = i & IOIO_REP;
		e->io.addr_size = (uint8_t)((i >> IOIO_ADDR_SHIFT & 7) * 2);
		e->io.seg = i >> IOIO_SEG_SHIFT & 7;
	}
	if (likely(len <= 15))
		e->insn_len = (uint8_t)len;
}

static void translate_bytes(const struct vmcb *m, struct hv_exit *e)
{
	e->insn_bytes_n = MIN(m->c.insn_bytes_n & 15, 15);
	memcpy(e->insn_bytes, m->c.insn_bytes, 15);
}

static void translate_nested(const struct vmcb *m, const struct svm_features *f, struct hv_exit *e)
{
	uint64_t i = m->c.info1;

	e->kind = HV_EXIT_NESTED_FAULT;
	e->mem.gpa = gpa(m->c.info2);
	e->mem.write = i & NPF_WRITE;
	e->mem.exec = i & NPF_EXEC;
	e->mem.read = !(i & (NPF_WRITE | NPF_EXEC));
	e->mem.present = i & NPF_PRESENT;
	e->mem.walk = i & NPF_WALK;
	if (f->decode)
		translate_bytes(m, e);
}

static bool exception_has_error(unsigned vector) { return vector < 32 && (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17) | BIT(21)) >> vector & 1; }

static void translate_exception(const struct vmcb *m, struct hv_exit *e)
{
	if (m->c.exit_code == SVM_RDPMC) {
		e->vector = 13;
		e->has_error = 1;
		e->error_code = 0;
		return;
	}
	e->vector = (uint8_t)(m->c.exit_code - SVM_EXCEPTION);
	e->has_error = exception_has_error(e->vector);
	e->error_code = (uint32_t)m->c.info1;
	e->fault_address = m->c.info2;
}

static void translate_cr(const struct vmcb *m, const struct svm_features *f, struct hv_exit *e)
{
	uint64_t code = m->c.exit_code;

	e->cr.write = code & 0x10 || code == SVM_CR0_SEL;
	e->cr.cr = code == SVM_CR0_SEL ? 0 : code & 15;
	/* Bit 63 tells MOV from CLTS, LMSW and SMSW; without it the instruction has to be decoded. */
	e->cr.gpr = f->decode && (m->c.info1 & CR_INFO_MOV || code >= SVM_DR_READ) && code != SVM_CR0_SEL ? m->c.info1 & 15 : 0xff;
}

static void translate_task(const struct vmcb *m, struct hv_exit *e)
{
	uint64_t i = m->c.info2;

	e->task.selector = (uint16_t)m->c.info1;
	e->task.reason = i & TASK_IRET ? 1 : i & TASK_JMP ? 2 : m->c.exit_int_info & EVENT_VALID ? 3 : 0;
	e->task.has_error = i & TASK_HAS_ERROR;
	e->task.error = (uint32_t)i;
}

void svm_exit_translate(const struct vmcb *m, const struct svm_features *f, struct hv_exit *e)
{
	uint64_t code = m->c.exit_code;
	unsigned kind;

	e->code = code;
	e->insn_bytes_n = 0;
	e->insn_len = 0;
	if (unlikely(code >= SVM_TABLE_CODES)) {
		if (code == SVM_NPF)
			translate_nested(m, f, e);
		else
			e->kind = HV_EXIT_INVALID;
		return;
	}
	kind = exit_kind[code];
	e->kind = kind ? kind - 1 : HV_EXIT_INVALID;
	if (code == SVM_IOIO) {
		translate_io(m, e);
		return;
	}
	if (f->nrip && m->c.next_rip - m->s.rip <= 15)
		e->insn_len = (uint8_t)(m->c.next_rip - m->s.rip);
	if (code == SVM_MSR)
		e->kind = m->c.info1 & 1 ? HV_EXIT_WRMSR : HV_EXIT_RDMSR;
	else if (e->kind == HV_EXIT_EXCEPTION)
		translate_exception(m, e);
	else if (e->kind == HV_EXIT_CR_ACCESS || e->kind == HV_EXIT_DR_ACCESS)
		translate_cr(m, f, e);
	else if (e->kind == HV_EXIT_TASK_SWITCH)
		translate_task(m, e);
}
