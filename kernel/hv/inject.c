/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into the guest at the next entry: exceptions that emulation raised, events whose delivery an exit cut short, NMIs,
 * interrupts. In this order; one is injected at a time, the others' windows are opened.
 */
#include "hv/hv_priv.h"

#define RFLAGS_IF BIT(9)
#define RFLAGS_RF BIT(16)
#define VECTOR_DF 8
#define VECTOR_PF 14

/* Exit handlers run in the vCPU's world and other CPUs set bits meanwhile. */
void vcpu_request_self(struct vcpu *v, uint32_t req) { __atomic_fetch_or(&v->request, req, __ATOMIC_RELAXED); }

static bool contributory(uint8_t vector) { return vector == 0 || (vector >= 10 && vector <= 13); }

/* The vector that results when `second` comes up while `first` is being delivered (APM 8.2.9, table 8-5). */
static uint8_t combine(uint8_t first, uint8_t second)
{
	if (first == VECTOR_DF)
		return VCPU_TRIPLE_FAULT;
	if (contributory(first) && contributory(second))
		return VECTOR_DF;
	if (first == VECTOR_PF && (second == VECTOR_PF || contributory(second)))
		return VECTOR_DF;
	return second;
}

static void raise(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	uint8_t result = vector;

	if (v->exception_valid)
		result = combine(v->exception.vector, vector);
	else if (v->reinject_valid && v->reinject.type == HV_EV_EXCEPTION) {
		result = combine(v->reinject.vector, vector);
		v->reinject_valid = false; /* a benign first one comes again by itself */
	}
	if (result != vector) {
		has_error = true;
		error = 0;
	}
	v->exception = (struct hv_event){ HV_EV_EXCEPTION, result, has_error, error };
	v->exception_valid = true;
	vcpu_request_self(v, VCPU_REQ_EVENT);
}

void vcpu_raise(struct vcpu *v, uint8_t vector) { raise(v, vector, false, 0); }
void vcpu_raise_error(struct vcpu *v, uint8_t vector, uint32_t error) { raise(v, vector, true, error); }
void vcpu_raise_pf(struct vcpu *v, uint64_t address, uint32_t error)
{
	hv->set_cr(v, HV_CR2, address);
	raise(v, VECTOR_PF, true, error);
}

/* Faults push RF set, so that an instruction breakpoint does not fire again (APM 8.2.2). */
static bool is_fault(uint8_t vector) { return vector != 1 && vector != 3 && vector != 4 && vector != VECTOR_DF && vector != 18; }

static bool no_error_code(struct vcpu *v) { return !(hv->get_cr(v, HV_CR0) & BIT(0)); } /* real mode pushes none */

static void inject_exception(struct vcpu *v)
{
	struct hv_event e = v->exception;

	v->exception_valid = false;
	if (e.has_error && no_error_code(v))
		e.has_error = false;
	if (is_fault(e.vector))
		v->rflags |= RFLAGS_RF;
	hv->inject(v, &e);
}

static bool inject_nmi(struct vcpu *v)
{
	static const struct hv_event nmi = { .type = HV_EV_NMI, .vector = 2 };

	if (!__atomic_load_n(&v->nmi_pending, __ATOMIC_ACQUIRE) || !hv->nmi_ready(v))
		return false;
	__atomic_fetch_sub(&v->nmi_pending, 1, __ATOMIC_ACQ_REL);
	hv->inject(v, &nmi);
	return true;
}

static bool waits_interrupt(struct vcpu *v) { return v->reinject_valid || irq_pending(v); }

static void inject_interrupt(struct vcpu *v)
{
	struct hv_event e = { .type = HV_EV_INTR };
	int vector;

	if (!waits_interrupt(v) || !hv->irq_ready(v))
		return;
	if (v->reinject_valid) { /* acknowledged before */
		e = v->reinject;
		v->reinject_valid = false;
	} else {
		vector = irq_ack(v);
		if (vector < 0)
			return;
		e.vector = (uint8_t)vector;
	}
	hv->inject(v, &e);
}

void inject_events(struct vcpu *v)
{
	if (v->exception_valid) {
		inject_exception(v);
	} else if (v->reinject_valid && v->reinject.type != HV_EV_INTR) {
		v->reinject_valid = false;
		hv->inject(v, &v->reinject);
	} else if (!inject_nmi(v)) {
		inject_interrupt(v);
	}
	hv->irq_window(v, waits_interrupt(v));
	hv->nmi_window(v, __atomic_load_n(&v->nmi_pending, __ATOMIC_ACQUIRE));
}

bool inject_wakes(struct vcpu *v)
{
	if (v->exception_valid || v->reinject_valid)
		return true;
	if (__atomic_load_n(&v->nmi_pending, __ATOMIC_ACQUIRE) && hv->nmi_ready(v))
		return true;
	return v->rflags & RFLAGS_IF && irq_pending(v);
}
