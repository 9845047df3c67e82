/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD SVM behind struct hv_ops: is it here, switching it on, and a vCPU's VMCB from creation to its end. docs/svm.md
 *
 * The permission maps are the same for every VM and stand once: all ports exit, all MSRs exit but those that VMSAVE and VMLOAD
 * switch. A VMCB is its vCPU world's alone; anybody else touches it only while the VM is paused.
 */
#include "hv/svm/svm_priv.h"

struct svm_features svm_features;
void *svm_msrpm, *svm_iopm;
static uint64_t svm_ids; /* atomic: vCPUs ever created */

#define MSRPM_SIZE 8192
#define IOPM_SIZE 12288
#define PAT_RESET 0x0007040600070406ull

static const char *svm_probe(void)
{
	uint32_t r[4];
	uint64_t vm_cr;

	arch_cpuid(0x80000000, 0, r);
	if (r[0] < 0x8000000a)
		return "this processor has no hardware virtualization that mica knows (AMD-V is needed)";
	arch_cpuid(0x80000001, 0, r);
	if (!(r[2] & BIT(2)))
		return "this processor has no AMD-V (SVM)";
	if (arch_rdmsr_safe(MSR_VM_CR, &vm_cr) == 0 && vm_cr & VM_CR_SVMDIS)
		return "AMD-V (SVM) is switched off in the firmware's set-up";
	arch_cpuid(0x8000000a, 0, r);
	if (!(r[3] & SVMF_NPT))
		return "this processor's AMD-V has no nested paging";
	if (r[1] < 2)
		return "this processor's AMD-V has no address-space ids";
	return NULL;
}

static void svm_detect(void)
{
	struct svm_features *f = &svm_features;
	uint32_t r[4];

	arch_cpuid(0x8000000a, 0, r);
	f->edx = r[3];
	f->asids = MIN(r[1], SVM_MAX_ASIDS);
	f->nrip = r[3] & SVMF_NRIP;
	f->clean = r[3] & SVMF_CLEAN;
	f->flush_asid = r[3] & SVMF_FLUSH_ASID;
	f->decode = r[3] & SVMF_DECODE;
	f->clean_mask = f->clean ? CLEAN_ALL : 0;
#ifdef CONFIG_DEBUG
	f->clean_mask = CLEAN_ALL; /* tracked, and checked, where the processor has none too */
#endif
	arch_cpuid(0x80000001, 0, r);
	f->tsc_aux = r[3] & BIT(27);
	log_info("svm: nested paging, %u ASIDs%s%s%s%s", f->asids, f->nrip ? ", next RIP" : "", f->decode ? ", decode assists" : "",
		 f->clean ? ", clean bits" : "", f->flush_asid ? ", flush by ASID" : "");
}

/* Once, on the boot CPU: everything that cpu_enable() will need with interrupts off. */
static int svm_setup(void)
{
	static const struct { uint32_t msr; bool address; } direct[] = {
		{ 0x174, false }, { 0x175, true }, { 0x176, true }, { 0xc0000081, false }, { 0xc0000082, true }, { 0xc0000083, true },
		{ 0xc0000084, false }, { 0xc0000100, true }, { 0xc0000101, true }, { 0xc0000102, true },
	};

	svm_detect();
	svm_msrpm = kmalloc(MSRPM_SIZE, MT_HV);
	svm_iopm = kmalloc(IOPM_SIZE, MT_HV);
	if (!svm_msrpm || !svm_iopm)
		return -ENOMEM;
	memset(svm_msrpm, 0xff, MSRPM_SIZE);
	memset(svm_iopm, 0xff, IOPM_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(direct); i++)
		svm_msr_permit(svm_msrpm, direct[i].msr, !direct[i].address || svm_features.nrip);
	for (unsigned c = 0; c < cpu_count; c++) {
		struct svm_cpu *cpu = &per_cpu(svm_cpu_data, c);

		cpu->hsave = kpage_zalloc(MT_HV);
		cpu->host = kpage_zalloc(MT_HV);
		if (!cpu->hsave || !cpu->host)
			return -ENOMEM;
		cpu->host_pa = direct_hpa(cpu->host).v;
		cpu->generation = 1 << 8 | (c + 1);
		cpu->next_asid = svm_features.asids; /* the first entry flushes everything */
	}
	return 0;
}

static int svm_cpu_enable(void)
{
	struct svm_cpu *cpu = &this_cpu(svm_cpu_data);

	if (!cpu->hsave)
		return -ENOMEM;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, direct_hpa(cpu->hsave).v);
	if (svm_features.tsc_aux)
		cpu->tsc_aux = rdmsr(0xc0000103);
	return 0;
}

static void svm_cpu_disable(void)
{
	wrmsr(MSR_VM_HSAVE_PA, 0);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
}

static int svm_vm_init(struct vm *vm) { (void)vm; return 0; }
static void svm_vm_free(struct vm *vm) { (void)vm; }

/* Why each is intercepted: docs/svm.md. No CR3, INVLPG, RDTSC, PUSHF: a running Linux stays inside. */
static void svm_intercepts(struct vcpu *v, struct vmcb *m)
{
	m->c.misc1 = (uint32_t)(ICPT_INTR | ICPT_NMI | ICPT_SMI | ICPT_INIT | ICPT_CR0_SEL | ICPT_RDPMC | ICPT_CPUID | ICPT_RSM | ICPT_INVD |
				ICPT_HLT | ICPT_INVLPGA | ICPT_IOIO | ICPT_MSR | ICPT_TASK | ICPT_SHUTDOWN);
	m->c.misc2 = (uint32_t)(ICPT_VMRUN | ICPT_VMMCALL | ICPT_VMLOAD | ICPT_VMSAVE | ICPT_STGI | ICPT_CLGI | ICPT_SKINIT | ICPT_WBINVD |
				ICPT_MONITOR | ICPT_MWAIT | ICPT_MWAIT_ARMED | ICPT_XSETBV | ICPT_RDPRU);
	m->c.exceptions = (uint32_t)(BIT(1) | BIT(13) | BIT(17) | BIT(18)); /* #DB #GP #AC #MC */
	m->c.dr_read = m->c.dr_write = 0xffff;
	m->c.cr_read = 0;
	m->c.cr_write = cpuid_hidden_cr4(v->vm) ? BIT(4) : 0;
}

static void svm_vcpu_reset(struct vcpu *v, bool init)
{
	static const struct vmm_segment data = { 0, 0xffff, 0, 0x93 }, code = { 0xffff0000, 0xffff, 0xf000, 0x9b },
					table = { 0, 0xffff, 0, 0 }, ldt = { 0, 0xffff, 0, 0x82 }, tss = { 0, 0xffff, 0, 0x8b };
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;
	uint64_t cr0 = init ? svm_get_cr(v, HV_CR0) & (BIT(29) | BIT(30)) : BIT(29) | BIT(30); /* INIT keeps CD and NW */

	svm_intercepts(v, m);
	for (unsigned i = HV_ES; i <= HV_GS; i++)
		svm_set_seg(v, (enum hv_seg)i, i == HV_CS ? &code : &data);
	svm_set_seg(v, HV_LDTR, &ldt);
	svm_set_seg(v, HV_TR, &tss);
	svm_set_seg(v, HV_GDTR, &table);
	svm_set_seg(v, HV_IDTR, &table);
	svm_set_cr(v, HV_CR0, cr0 | BIT(4));
	svm_set_cr(v, HV_CR2, 0);
	svm_set_cr(v, HV_CR3, 0);
	svm_set_cr(v, HV_CR4, 0);
	svm_set_cr(v, HV_EFER, 0);
	svm_set_cr(v, HV_DR6, 0xffff0ff0);
	svm_set_cr(v, HV_DR7, 0x400);
	if (!init)
		svm_msr_reset(v);
	m->c.int_state = m->c.event_inj = m->c.exit_int_info = 0;
	m->c.int_ctl = INT_MASKING;
	s->window = s->virq = false;
	svm_nmi_set(v, NMI_OPEN);
	svm_set_tpr(v, 0);
	m->c.clean = 0;
}

static void svm_vcpu_free(struct vcpu *v)
{
	struct svm_vcpu *s = v->backend;

	if (!s)
		return;
	kpage_free(s->vmcb);
	kpage_free(s->shadow);
	kfree(s);
	v->backend = NULL;
}

static int svm_vcpu_init(struct vcpu *v)
{
	struct svm_vcpu *s = kzalloc(sizeof(*s), MT_HV);

	if (!s)
		return -ENOMEM;
	v->backend = s;
	s->vmcb = kpage_zalloc(MT_HV);
#ifdef CONFIG_DEBUG
	s->shadow = kpage_zalloc(MT_HV);
	if (!s->shadow)
		goto err;
#endif
	if (!s->vmcb)
		goto err;
	s->vmcb_pa = direct_hpa(s->vmcb).v;
	s->load_id = __atomic_add_fetch(&svm_ids, 1, __ATOMIC_RELAXED) << 32;
	s->vmcb->c.iopm = direct_hpa(svm_iopm).v;
	s->vmcb->c.msrpm = direct_hpa(svm_msrpm).v;
	s->vmcb->c.nested_ctl = NESTED_ENABLE;
	s->vmcb->c.nested_cr3 = v->vm->nested.root.v;
	s->vmcb->s.g_pat = PAT_RESET;
	svm_vcpu_reset(v, false);
	return 0;
err:
	svm_vcpu_free(v);
	return -ENOMEM;
}

/* v->world enters its run, or comes back on another CPU: host state is to be saved anew, cached VMCB parts are another CPU's. */
static void svm_vcpu_load(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);

	s->load_id++;
	s->vmcb->c.clean = 0;
	if (s->vmcb->c.nested_cr3 != v->vm->nested.root.v) {
		s->vmcb->c.nested_cr3 = v->vm->nested.root.v;
		s->asid_generation = 0;
	}
}

static void svm_vcpu_put(struct vcpu *v) { (void)v; } /* every exit leaves the host's state loaded */

static void svm_set_tsc_offset(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);

	s->vmcb->c.tsc_offset = (uint64_t)v->tsc_offset;
	svm_dirty(s, CLEAN_INTERCEPTS);
}

static void svm_clear_shadow(struct vcpu *v) { svm_of(v)->vmcb->c.int_state = 0; }

/* Entries of nested tables: the guest's accesses count as user accesses (APM 15.25.5). */
static const struct hv_nested_format svm_nested = {
	.table = BIT(0) | BIT(1) | BIT(2) | BIT(5), .leaf = BIT(2), .read = BIT(0), .write = BIT(1), .exec_set = 0, .exec_clear = BIT(63),
	.large = BIT(7), .accessed = BIT(5), .dirty = BIT(6), .present_mask = BIT(0), .levels = 4,
};

const struct hv_ops svm_ops = {
	.name = "SVM",
	.hypercall_flag = BIT(0),
	.nested = &svm_nested,
	.probe = svm_probe,
	.setup = svm_setup,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.vm_init = svm_vm_init,
	.vm_free = svm_vm_free,
	.vcpu_init = svm_vcpu_init,
	.vcpu_free = svm_vcpu_free,
	.vcpu_reset = svm_vcpu_reset,
	.vcpu_load = svm_vcpu_load,
	.vcpu_put = svm_vcpu_put,
	.run = svm_run,
	.get_cr = svm_get_cr,
	.set_cr = svm_set_cr,
	.get_paging = svm_get_paging,
	.get_seg = svm_get_seg,
	.set_seg = svm_set_seg,
	.irq_ready = svm_irq_ready,
	.nmi_ready = svm_nmi_ready,
	.inject = svm_inject,
	.withdraw = svm_withdraw,
	.irq_window = svm_irq_window,
	.nmi_window = svm_nmi_window,
	.clear_shadow = svm_clear_shadow,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.set_tsc_offset = svm_set_tsc_offset,
	.set_tpr = svm_set_tpr,
	.flush_guest = svm_asid_flush,
	.save = svm_save,
	.load = svm_load,
	.describe = svm_describe,
};
