/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switches (APM vol 2, 12.3; SDM vol 3, 7.3), which the hardware leaves to a hypervisor.
 *
 * Until the commit point every fault is raised in the old task with nothing changed: the new TSS is read, and what will be
 * written is translated for writing, first. After it the new task's registers are loaded, and faults while its segments are
 * loaded are raised in the new task, as the CPU does. The processor has checked the privilege of the gate or descriptor.
 */
#include "hv/emul_priv.h"

enum task_reason { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, gpr[8], seg[6], ldt;
	uint16_t trap, iomap;
};
_Static_assert(sizeof(struct tss32) == 104, "32-bit TSS");
struct tss16 { uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, gpr[8], seg[4], ldt; };
_Static_assert(sizeof(struct tss16) == 44, "16-bit TSS");

#define TSS32_SAVE offsetof(struct tss32, eip)
#define TSS32_SAVE_SIZE (offsetof(struct tss32, ldt) - TSS32_SAVE)
#define TSS16_SAVE offsetof(struct tss16, ip)
#define TSS16_SAVE_SIZE (offsetof(struct tss16, ldt) - TSS16_SAVE)

#define TYPE_LDT 2
#define TYPE_TSS_BUSY BIT(1)
#define TYPE_TSS_32 BIT(3)
#define EFLAGS_LOADED 0x003f7fd5u
#define DR7_LOCAL 0x155u

/* A descriptor and where it stands. */
struct descriptor { struct vmm_segment seg; uint64_t at; };

struct task {
	enum task_reason reason;
	uint32_t ext;            /* EXT bit of error codes: an event from outside the program came through the gate */
	struct descriptor to;
	uint64_t old_base;       /* running task's TSS */
	bool old_is_32, is_32;
	struct tss32 tss;        /* new state, a 16-bit one widened */
};

static bool task_fault(struct vcpu *v, uint8_t vector, uint16_t selector, uint32_t ext)
{
	vcpu_raise_error(v, vector, (selector & 0xfffcu) | ext);
	return false;
}

/* The CPU's own accesses: supervisor, whatever the CPL. false: exception raised. */
static bool system_copy(struct vcpu *v, uint64_t linear, void *buf, unsigned n, bool write)
{
	int err = emul_copy_linear(v, (uint32_t)linear, buf, n, WALK_IMPLICIT | (write ? WALK_WRITE : 0));

	if (err == -EIO) { /* no RAM: the bus swallows writes, and reads give all ones */
		if (!write)
			memset(buf, 0xff, n);
		return true;
	}
	return err == 0;
}

static bool writable(struct vcpu *v, uint64_t linear, unsigned n)
{
	gpa_t at;

	return emul_translate(v, (uint32_t)linear, WALK_IMPLICIT | WALK_WRITE, &at) == STEP_OK &&
	       emul_translate(v, (uint32_t)(linear + n - 1), WALK_IMPLICIT | WALK_WRITE, &at) == STEP_OK;
}

static struct vmm_segment unpack(uint64_t d, uint16_t selector)
{
	struct vmm_segment s;

	s.base = (d >> 16 & 0xffffff) | (d >> 56 << 24);
	s.limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
	s.attr = (uint16_t)((d >> 40 & 0xff) | (d >> 44 & 0xf00));
	if (s.attr & ATTR_G)
		s.limit = s.limit << 12 | 0xfff;
	s.selector = selector;
	return s;
}

/* Reads selector's descriptor; outside its table: `vector` with the selector. */
static bool descriptor_read(struct vcpu *v, uint16_t selector, uint8_t vector, uint32_t ext, struct descriptor *out)
{
	struct vmm_segment table;
	uint64_t raw;

	hv->get_seg(v, selector & 4 ? HV_LDTR : HV_GDTR, &table);
	if (((selector & 4) && !(table.attr & ATTR_P)) || (selector | 7u) > table.limit)
		return task_fault(v, vector, selector, ext);
	out->at = table.base + (selector & 0xfff8u);
	if (!system_copy(v, out->at, &raw, 8, false))
		return false;
	out->seg = unpack(raw, selector);
	return true;
}

static bool set_type(struct vcpu *v, const struct descriptor *d, uint16_t attr)
{
	uint8_t b = (uint8_t)attr;

	return system_copy(v, d->at + 5, &b, 1, true);
}

/* ---- before the commit ---- */

static bool check_target(struct vcpu *v, struct task *t)
{
	uint16_t sel = v->exit.task.selector;
	uint8_t vector = t->reason == TASK_IRET ? EXC_TS : EXC_GP;
	unsigned type;

	if (!(sel & 0xfffc) || (sel & 4))
		return task_fault(v, vector, sel, t->ext);
	if (!descriptor_read(v, sel, vector, t->ext, &t->to))
		return false;
	type = t->to.seg.attr & ATTR_TYPE;
	if ((t->to.seg.attr & ATTR_S) || (type & 5) != 1 || !!(type & TYPE_TSS_BUSY) != (t->reason == TASK_IRET))
		return task_fault(v, vector, sel, t->ext);
	if (!(t->to.seg.attr & ATTR_P))
		return task_fault(v, EXC_NP, sel, t->ext);
	t->is_32 = type & TYPE_TSS_32;
	if (t->to.seg.limit < (t->is_32 ? sizeof(struct tss32) : sizeof(struct tss16)) - 1)
		return task_fault(v, EXC_TS, sel, t->ext);
	return true;
}

static bool read_new(struct vcpu *v, struct task *t)
{
	struct tss16 s;

	if (t->is_32)
		return system_copy(v, t->to.seg.base, &t->tss, sizeof(t->tss), false);
	if (!system_copy(v, t->to.seg.base, &s, sizeof(s), false))
		return false;
	memset(&t->tss, 0, sizeof(t->tss));
	t->tss.eip = s.ip;
	t->tss.eflags = s.flags;
	for (unsigned i = 0; i < 8; i++)
		t->tss.gpr[i] = s.gpr[i];
	for (unsigned i = 0; i < 4; i++)
		t->tss.seg[i] = s.seg[i];
	t->tss.ldt = s.ldt;
	return true;
}

/* RIP that the old task goes on at; false: its instruction cannot be read (exception raised or stopped). */
static enum emul_step next_rip(struct vcpu *v, const struct task *t, uint64_t *rip)
{
	struct emul *e = EMUL_OF(v);
	unsigned n, mode;

	*rip = v->rip;
	if (t->reason == TASK_GATE && t->ext)
		return STEP_OK;
	if (!v->exit.insn_len) {
		e->decoded = 0;
		n = emul_fetch_page(v, e->bytes, &mode);
		if (emul_decode(e->bytes, MIN(n, 15u), mode, &e->insn) == DECODE_SHORT) {
			n = emul_fetch(v, e->bytes, 15);
			if (!n && v->exception_valid)
				return STEP_FAULT;
			if (emul_decode(e->bytes, n, mode, &e->insn) == DECODE_SHORT) {
				vcpu_stop(v, "emulation: task switch by an instruction at RIP %#llx that cannot be read", (unsigned long long)v->rip);
				return STEP_FAIL;
			}
		}
		v->exit.insn_len = e->insn.length;
	}
	*rip = (uint32_t)(v->rip + v->exit.insn_len);
	return STEP_OK;
}

/* The running task's registers into its TSS. */
static bool save_old(struct vcpu *v, const struct task *t, uint64_t rip)
{
	uint32_t eflags = (uint32_t)v->rflags & ~(t->reason == TASK_IRET ? (uint32_t)FLAG_NT : 0u);
	struct vmm_segment s;
	struct tss32 full;
	struct tss16 half;

	full.eip = (uint32_t)rip;
	half.ip = (uint16_t)rip;
	full.eflags = eflags;
	half.flags = (uint16_t)eflags;
	for (unsigned i = 0; i < 8; i++) {
		full.gpr[i] = (uint32_t)v->gpr[i];
		half.gpr[i] = (uint16_t)v->gpr[i];
	}
	for (unsigned i = 0; i < 6; i++) { /* ES CS SS DS FS GS, as enum hv_seg has them */
		hv->get_seg(v, (enum hv_seg)i, &s);
		full.seg[i] = s.selector;
		if (i < 4)
			half.seg[i] = s.selector;
	}
	if (t->old_is_32)
		return system_copy(v, t->old_base + TSS32_SAVE, &full.eip, TSS32_SAVE_SIZE, true);
	return system_copy(v, t->old_base + TSS16_SAVE, &half.ip, TSS16_SAVE_SIZE, true);
}

/* Busy bits and the back link; everything was found writable before. */
static bool mark_tasks(struct vcpu *v, struct task *t, uint16_t old_selector)
{
	struct descriptor old;
	bool nests = t->reason == TASK_CALL || t->reason == TASK_GATE;

	if (!nests) {
		if (!descriptor_read(v, old_selector, EXC_TS, t->ext, &old) || !set_type(v, &old, old.seg.attr & (uint16_t)~TYPE_TSS_BUSY))
			return false;
	}
	t->to.seg.attr |= TYPE_TSS_BUSY;
	if (t->reason != TASK_IRET && !set_type(v, &t->to, t->to.seg.attr))
		return false;
	if (nests) {
		t->tss.eflags |= (uint32_t)FLAG_NT;
		return system_copy(v, t->to.seg.base, &old_selector, 2, true);
	}
	return true;
}

/* ---- after the commit ---- */

static void load_registers(struct vcpu *v, const struct task *t)
{
	uint64_t cr0 = hv->get_cr(v, HV_CR0);
	struct vmm_segment none = { 0, 0, 0, 0 };

	hv->set_seg(v, HV_TR, &t->to.seg);
	hv->set_cr(v, HV_CR0, cr0 | CR0_TS);
	if (t->is_32 && (cr0 & CR0_PG))
		hv->set_cr(v, HV_CR3, t->tss.cr3);
	hv->set_cr(v, HV_DR7, hv->get_cr(v, HV_DR7) & ~(uint64_t)DR7_LOCAL);
	for (unsigned i = 0; i < 8; i++)
		v->gpr[i] = t->tss.gpr[i];
	v->rip = t->tss.eip;
	v->rflags = (t->tss.eflags & EFLAGS_LOADED) | BIT(1);
	none.selector = (uint16_t)t->tss.ldt;
	hv->set_seg(v, HV_LDTR, &none);
	/* What is left unloaded when a later load faults is not usable. */
	for (unsigned i = 0; i < 6; i++) {
		none.selector = (uint16_t)t->tss.seg[i];
		none.attr = i == HV_SS ? (uint16_t)((t->tss.seg[HV_CS] & 3) << 5) : 0; /* CPL */
		if (i == HV_CS) {
			struct vmm_segment cs = { 0, 0xffff, none.selector, (uint16_t)(ATTR_P | ATTR_S | ATTR_CODE | ATTR_WRITABLE | ATTR_ACCESSED | (t->tss.seg[HV_CS] & 3) << 5) };

			hv->set_seg(v, HV_CS, &cs);
			continue;
		}
		hv->set_seg(v, (enum hv_seg)i, &none);
	}
}

static bool load_ldt(struct vcpu *v, const struct task *t)
{
	uint16_t sel = (uint16_t)t->tss.ldt;
	struct descriptor d;

	if (!(sel & 0xfffc))
		return true;
	if (sel & 4)
		return task_fault(v, EXC_TS, sel, t->ext);
	if (!descriptor_read(v, sel, EXC_TS, t->ext, &d))
		return false;
	if ((d.seg.attr & (ATTR_S | ATTR_TYPE)) != TYPE_LDT || !(d.seg.attr & ATTR_P))
		return task_fault(v, EXC_TS, sel, t->ext);
	hv->set_seg(v, HV_LDTR, &d.seg);
	return true;
}

/* Type and privilege of a segment register's new descriptor, SDM vol 3 table 7-1. */
static bool segment_fits(enum hv_seg r, uint16_t attr, unsigned rpl, unsigned cpl)
{
	unsigned dpl = ATTR_DPL(attr);
	bool code = attr & ATTR_CODE, conforming = code && (attr & ATTR_DOWN);

	if (!(attr & ATTR_S))
		return false;
	if (r == HV_CS)
		return code && (conforming ? dpl <= rpl : dpl == rpl);
	if (r == HV_SS)
		return !code && (attr & ATTR_WRITABLE) && dpl == cpl && rpl == cpl;
	if (code && !(attr & ATTR_WRITABLE))
		return false;
	return conforming || (dpl >= rpl && dpl >= cpl);
}

static bool load_segment(struct vcpu *v, const struct task *t, enum hv_seg r, unsigned cpl)
{
	uint16_t sel = (uint16_t)t->tss.seg[r];
	struct descriptor d;

	if (!(sel & 0xfffc))
		return r == HV_CS || r == HV_SS ? task_fault(v, EXC_TS, sel, t->ext) : true;
	if (!descriptor_read(v, sel, EXC_TS, t->ext, &d))
		return false;
	if (!segment_fits(r, d.seg.attr, sel & 3, cpl))
		return task_fault(v, EXC_TS, sel, t->ext);
	if (!(d.seg.attr & ATTR_P))
		return task_fault(v, r == HV_SS ? EXC_SS : EXC_NP, sel, t->ext);
	if (!(d.seg.attr & ATTR_ACCESSED)) {
		d.seg.attr |= ATTR_ACCESSED;
		if (!set_type(v, &d, d.seg.attr))
			return false;
	}
	if (r == HV_CS && (d.seg.attr & ATTR_DOWN)) /* conforming: the CPL is the selector's */
		d.seg.attr = (uint16_t)((d.seg.attr & ~0x60u) | cpl << 5);
	hv->set_seg(v, r, &d.seg);
	return true;
}

static bool load_segments(struct vcpu *v, const struct task *t)
{
	static const uint8_t order[] = { HV_CS, HV_SS, HV_ES, HV_DS, HV_FS, HV_GS };
	unsigned cpl = t->tss.seg[HV_CS] & 3;

	if (!load_ldt(v, t))
		return false;
	if (v->rflags & FLAG_VM) {
		for (unsigned i = 0; i < 6; i++) {
			uint16_t sel = (uint16_t)t->tss.seg[i];
			struct vmm_segment s = { (uint64_t)sel << 4, 0xffff, sel, 0xf3 };

			hv->set_seg(v, (enum hv_seg)i, &s);
		}
		return true;
	}
	for (unsigned i = 0; i < sizeof(order); i++)
		if (!load_segment(v, t, order[i], cpl))
			return false;
	return true;
}

static bool push_error(struct vcpu *v, const struct task *t)
{
	unsigned size = t->is_32 ? 4 : 2, width;
	uint32_t error = v->exit.task.error;
	struct vmm_segment ss;
	uint64_t rsp, linear;

	hv->get_seg(v, HV_SS, &ss);
	width = ss.attr & ATTR_DB ? 4 : 2;
	rsp = (emul_areg_get(v, 4, width) - size) & emul_mask(width);
	if (!emul_linear(v, emul_mode(v), HV_SS, rsp, size, true, &linear))
		return false;
	if (emul_access(v, linear, &error, size, WALK_WRITE | (emul_cpl(v) == 3 ? WALK_USER : 0)) != STEP_OK)
		return false;
	emul_areg_set(v, 4, width, rsp);
	return true;
}

static void start_new(struct vcpu *v, const struct task *t)
{
	struct vmm_segment cs;

	load_registers(v, t);
	if (!load_segments(v, t))
		return;
	hv->get_seg(v, HV_CS, &cs);
	if (v->rip > cs.limit) {
		vcpu_raise_error(v, EXC_GP, t->ext);
		return;
	}
	if (v->exit.task.has_error && t->reason == TASK_GATE && !push_error(v, t))
		return;
	if (t->is_32 && (t->tss.trap & 1)) {
		hv->set_cr(v, HV_DR6, hv->get_cr(v, HV_DR6) | DR6_BT);
		vcpu_raise(v, EXC_DB);
	}
}

/* Everything that the switch will write, found writable while the old task can still take the fault. */
static bool writes_possible(struct vcpu *v, const struct task *t, uint16_t old_selector)
{
	struct vmm_segment gdt;
	uint64_t save = t->old_base + (t->old_is_32 ? TSS32_SAVE : TSS16_SAVE);

	hv->get_seg(v, HV_GDTR, &gdt);
	if (!writable(v, save, t->old_is_32 ? TSS32_SAVE_SIZE : TSS16_SAVE_SIZE))
		return false;
	if (t->reason != TASK_IRET && !writable(v, t->to.at + 5, 1))
		return false;
	if (t->reason == TASK_CALL || t->reason == TASK_GATE)
		return writable(v, t->to.seg.base, 2);
	return (old_selector | 7u) <= gdt.limit ? writable(v, gdt.base + (old_selector & 0xfff8u) + 5, 1) : task_fault(v, EXC_TS, old_selector, t->ext);
}

enum emul_result emul_task_switch(struct vcpu *v)
{
	struct emul *e = EMUL_OF(v);
	struct task t = { .reason = (enum task_reason)(v->exit.task.reason & 3) };
	struct vmm_segment tr;
	enum emul_step s;
	uint64_t rip;

	e->cont = CONT_NONE;
	e->pos = e->nr = 0;
	if (t.reason == TASK_GATE) {
		/* The event is this switch: delivered, or replaced by the fault that its delivery raises. */
		t.ext = !(v->reinject_valid && v->reinject.type == HV_EV_SOFT);
		v->reinject_valid = false;
	}
	hv->get_seg(v, HV_TR, &tr);
	t.old_base = tr.base;
	t.old_is_32 = tr.attr & TYPE_TSS_32;
	if (!check_target(v, &t) || !read_new(v, &t) || !writes_possible(v, &t, tr.selector))
		return EMUL_DONE;
	s = next_rip(v, &t, &rip);
	if (s != STEP_OK)
		return s == STEP_FAIL ? EMUL_FAIL : EMUL_DONE;
	if (!save_old(v, &t, rip) || !mark_tasks(v, &t, tr.selector))
		return EMUL_DONE;
	hv->clear_shadow(v);
	start_new(v, &t);
	return EMUL_DONE;
}
