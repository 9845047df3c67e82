/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt wiring of one VM: PIC, IOAPIC, PIT and the vCPUs' LAPICs, which know each other only by the callbacks here.
 *
 *   PIT ch. 0 ─┬─ PIC input 0 ── INTR ── LINT0 of every LAPIC (ExtINT: irq_pending() asks the PIC)
 *              └─ IOAPIC pin 2 ─┐
 *   ISA line n ── PIC n, pin n ─┴─ messages ── irq_deliver() ── IRR, NMI, INIT, SIPI
 *
 * Messages may be sent in any context and under a device's lock, so nothing here takes one or sleeps. Also guest time: one clock
 * per VM, the host's TSC plus vm->tsc_offset, that a guest cannot move.
 */
#include "hv/hv_priv.h"

COUNTER(irq_messages, "hv.irq.messages");
COUNTER(irq_unmatched, "hv.irq.unmatched");

/* ---- guest time ---- */
static uint64_t vm_tsc(const struct vm *vm)
{
	int64_t t = (int64_t)(arch_rdtsc() + (uint64_t)vm->tsc_offset);

	return t > 0 ? (uint64_t)t : 0; /* another CPU's counter may be a little behind */
}

uint64_t vm_guest_ns(const struct vm *vm) { return tsc_to_ns(vm_tsc(vm)); }

uint64_t vm_guest_ns_to_host(const struct vm *vm, uint64_t guest_ns)
{
	int64_t ahead = (int64_t)(guest_ns - vm_guest_ns(vm));

	if (guest_ns == UINT64_MAX)
		return UINT64_MAX;
	return clock_ns() + (ahead > 0 ? (uint64_t)ahead + 1 : 0); /* rounded up: never before its time */
}

static uint64_t vm_ns(void *vm) { return vm_guest_ns(vm); }
static uint64_t vm_ns_to_host(void *vm, uint64_t ns) { return vm_guest_ns_to_host(vm, ns); }
static uint64_t vcpu_ns(void *v) { return vm_guest_ns(((struct vcpu *)v)->vm); }
static uint64_t vcpu_ns_to_host(void *v, uint64_t ns) { return vm_guest_ns_to_host(((struct vcpu *)v)->vm, ns); }
static uint64_t vcpu_tsc(void *v) { return vcpu_guest_tsc(v); }

#define FOR_EVER_SECONDS (1ull << 30)
static uint64_t vcpu_tsc_to_host(void *v, uint64_t tsc)
{
	uint64_t now = vcpu_guest_tsc(v);

	if (tsc <= now)
		return clock_ns();
	if ((tsc - now) / tsc_hz >= FOR_EVER_SECONDS)
		return UINT64_MAX;
	return clock_ns() + tsc_to_ns(tsc - now) + 1;
}

/* ---- messages ---- */
static void vcpu_nmi(void *ctx)
{
	struct vcpu *v = ctx;
	uint32_t n = __atomic_load_n(&v->nmi_pending, __ATOMIC_RELAXED);

	/* One in service, one latched; further ones merge. */
	while (n < 2 && !__atomic_compare_exchange_n(&v->nmi_pending, &n, n + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	vcpu_request(v, VCPU_REQ_EVENT);
}

static void deliver_one(struct vcpu *v, const struct apic_msg *m)
{
	switch (m->delivery) {
	case APIC_FIXED: case APIC_LOWEST:
		if (lapic_accept(v->lapic, m->vector, m->level))
			vcpu_request(v, VCPU_REQ_EVENT);
		break;
	case APIC_NMI:
		vcpu_nmi(v);
		break;
	case APIC_INIT:
		if (m->level && !m->assert)
			break; /* level de-assert: of no effect since the P6 */
		__atomic_and_fetch(&v->request, ~(uint32_t)VCPU_REQ_SIPI, __ATOMIC_SEQ_CST);
		vcpu_request(v, VCPU_REQ_INIT);
		break;
	case APIC_STARTUP:
		WRITE_ONCE(v->sipi_vector, m->vector);
		vcpu_request(v, VCPU_REQ_SIPI);
		break;
	case APIC_SMI: case APIC_EXTINT:
		break; /* no SMM; the PIC reaches CPUs by LINT0 only */
	}
}

/* Of those named the least busy; among equals the vector decides, so that devices spread. */
static void deliver_lowest(struct vm *vm, const struct apic_msg *m, struct lapic *sender)
{
	struct vcpu *best = NULL;
	unsigned n = vm->config.vcpus, lowest = ~0u;

	for (unsigned i = 0; i < n; i++) {
		struct vcpu *v = vm->vcpu[(i + m->vector) % n];

		if (!v || !lapic_matches(v->lapic, m, sender) || lapic_priority(v->lapic) >= lowest)
			continue;
		lowest = lapic_priority(v->lapic);
		best = v;
	}
	if (best)
		deliver_one(best, m);
	else
		counter_add(irq_unmatched, 1);
}

void irq_deliver(struct vm *vm, const struct apic_msg *m, struct lapic *sender)
{
	bool any = false;

	counter_add(irq_messages, 1);
	if (m->delivery == APIC_LOWEST) {
		deliver_lowest(vm, m, sender);
		return;
	}
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		if (v && lapic_matches(v->lapic, m, sender)) {
			deliver_one(v, m);
			any = true;
		}
	}
	if (!any)
		counter_add(irq_unmatched, 1);
}

/* ---- lines ---- */
static void ioapic_send(void *vm, const struct apic_msg *m) { irq_deliver(vm, m, NULL); }

static void pic_intr(void *ctx, bool level)
{
	struct vm *vm = ctx;

	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		if (!v)
			continue;
		lapic_set_lint0(v->lapic, level);
		if (level && lapic_accepts_extint(v->lapic))
			vcpu_request(v, VCPU_REQ_EVENT);
	}
}

static void pit_irq0(void *ctx, bool level)
{
	struct vm *vm = ctx;

	pic_set_line(vm->pic, 0, level);
	ioapic_set_line(vm->ioapic, 2, level);
}

#define ISA_LINES 16
#define GSIS 24
int irq_set_gsi(struct vm *vm, unsigned gsi, bool level)
{
	if (gsi >= GSIS || gsi == 2)
		return -EINVAL;
	if (gsi < ISA_LINES)
		pic_set_line(vm->pic, gsi, level);
	ioapic_set_line(vm->ioapic, gsi ? gsi : 2, level);
	return 0;
}

/* SDM vol 3, 11.11: address 0xFEExxxxx names the destination, data the vector. */
int irq_msi(struct vm *vm, uint64_t address, uint32_t data)
{
	struct apic_msg m = {
		.dest = address >> 12 & 0xff, .logical = address >> 2 & 1, .vector = data & 0xff, .delivery = data >> 8 & 7,
		.assert = true,
	};

	if (address >> 20 != 0xfee)
		return -EINVAL;
	if ((address & 8) && m.logical && m.delivery == APIC_FIXED)
		m.delivery = APIC_LOWEST; /* redirection hint */
	irq_deliver(vm, &m, NULL);
	return 0;
}

/* ---- what a vCPU would take ---- */
static bool extint_pending(struct vcpu *v) { return unlikely(pic_output(v->vm->pic)) && lapic_accepts_extint(v->lapic); }

bool irq_pending(struct vcpu *v) { return lapic_pending(v->lapic) >= 0 || extint_pending(v); }

int irq_ack(struct vcpu *v)
{
	int vector;

	if (extint_pending(v))
		return pic_ack(v->vm->pic);
	vector = lapic_pending(v->lapic);
	if (vector >= 0)
		lapic_ack(v->lapic, (uint8_t)vector);
	return vector;
}

/* ---- LAPICs ---- */
static void lapic_event(void *v) { vcpu_request(v, VCPU_REQ_EVENT); }
static void lapic_send(void *ctx, const struct apic_msg *m)
{
	struct vcpu *v = ctx;

	irq_deliver(v->vm, m, v->lapic);
}
static void lapic_eoi_broadcast(void *ctx, uint8_t vector) { ioapic_eoi(((struct vcpu *)ctx)->vm->ioapic, vector); }

int irq_vcpu_create(struct vcpu *v)
{
	const struct lapic_host h = {
		.ctx = v, .event = lapic_event, .nmi = vcpu_nmi, .send = lapic_send, .eoi_broadcast = lapic_eoi_broadcast,
		.guest_tsc = vcpu_tsc, .guest_tsc_to_host_ns = vcpu_tsc_to_host, .guest_ns = vcpu_ns, .guest_ns_to_host = vcpu_ns_to_host,
	};

	v->lapic = lapic_create(v->apic_id, v->index == 0, !(v->vm->config.flags & VMM_F_NO_X2APIC), cpuid_guest_phys_bits(v->vm), &h);
	return v->lapic ? 0 : -ENOMEM;
}

/* ---- life ---- */
int irq_create(struct vm *vm)
{
	const struct pic_host pic = { vm, pic_intr };
	const struct ioapic_host ioapic = { vm, ioapic_send };
	const struct pit_host pit = { vm, pit_irq0, vm_ns, vm_ns_to_host };

	vm->pic = pic_create(&pic);
	vm->ioapic = ioapic_create(&ioapic);
	if (vm->pic && vm->ioapic)
		vm->pit = pit_create(&pit); /* raises its line at once */
	if (vm->pit)
		return 0;
	irq_free(vm);
	return -ENOMEM;
}

/* The PIT first: its timer reaches the others. */
void irq_free(struct vm *vm)
{
	pit_free(vm->pit);
	ioapic_free(vm->ioapic);
	pic_free(vm->pic);
	vm->pit = NULL;
	vm->ioapic = NULL;
	vm->pic = NULL;
}

void irq_reset(struct vm *vm)
{
	ioapic_reset(vm->ioapic);
	pic_reset(vm->pic);
	pit_reset(vm->pit);
}

void irq_freeze(struct vm *vm)
{
	pit_freeze(vm->pit);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		lapic_freeze(vm->vcpu[i]->lapic);
}

void irq_thaw(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		lapic_thaw(vm->vcpu[i]->lapic);
	pit_thaw(vm->pit);
}

void irq_save(struct vm *vm, struct state_out *o)
{
	pic_save(vm->pic, o);
	ioapic_save(vm->ioapic, o);
	pit_save(vm->pit, o);
}

int irq_load(struct vm *vm, struct state_in *in)
{
	switch (in->tag) {
	case STATE_PIC: return pic_load(vm->pic, in);
	case STATE_IOAPIC: return ioapic_load(vm->ioapic, in);
	case STATE_PIT: return pit_load(vm->pit, in);
	}
	return -EINVAL;
}
