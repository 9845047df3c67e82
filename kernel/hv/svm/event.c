/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts, NMIs and exceptions on their way into the guest.
 *
 * External interrupts go through V_IRQ, never through event injection: the processor then delivers when IF and the shadow
 * allow, and QEMU delivers an injected external interrupt twice (docs/svm.md). While V_IRQ is still set after an exit, the
 * interrupt was not delivered; the LAPIC or PIC has already acknowledged it, so it becomes v->reinject. The interrupt window is
 * the same V_IRQ with a dummy vector and the VINTR intercept; one V_IRQ cannot be both, so after a delivered interrupt the
 * next exit looks for more (VCPU_REQ_EVENT).
 *
 * NMIs are masked from injection to the guest's IRET:
 *   OPEN -inject-> MASKED -IRET intercept-> LEAVING -RIP moved on-> OPEN
 *                                           LEAVING -another NMI waits-> STEPPING -#DB or any exit past IRET-> OPEN
 * An IRET intercept comes before the IRET (APM 15.9), so a waiting NMI has to let that one instruction pass: by TF.
 */
#include "hv/svm/svm_priv.h"

#define RFLAGS_TF BIT(8)
#define RFLAGS_IF BIT(9)
#define DR6_BS BIT(14)

static void svm_request_event(struct vcpu *v) { __atomic_fetch_or(&v->request, VCPU_REQ_EVENT, __ATOMIC_RELAXED); }

void svm_nmi_set(struct vcpu *v, enum svm_nmi to)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	if (to == NMI_MASKED)
		m->c.misc1 |= ICPT_IRET;
	else
		m->c.misc1 &= ~(uint32_t)ICPT_IRET;
	svm_dirty(s, CLEAN_INTERCEPTS);
	s->nmi = to;
	s->stepping = to == NMI_STEPPING;
}

bool svm_irq_ready(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);

	return v->rflags & RFLAGS_IF && !(s->vmcb->c.int_state & STATE_SHADOW) && !(s->vmcb->c.event_inj & EVENT_VALID) && !s->virq;
}

bool svm_nmi_ready(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);

	if (s->nmi == NMI_LEAVING && v->rip != s->nmi_iret_rip)
		svm_nmi_set(v, NMI_OPEN);
	return s->nmi == NMI_OPEN && !(s->vmcb->c.int_state & STATE_SHADOW) && !(s->vmcb->c.event_inj & EVENT_VALID) && !s->virq;
}

static void svm_int_ctl(struct svm_vcpu *s, uint32_t bits, uint8_t vector)
{
	struct vmcb *m = s->vmcb;

	m->c.int_ctl = (uint32_t)((m->c.int_ctl & (INT_TPR | INT_MASKING)) | bits);
	m->c.int_vector = vector;
	svm_dirty(s, CLEAN_INT);
}

#define INT_PENDING (uint32_t)(INT_V_IRQ | INT_IGN_TPR | INT_PRIO)

void svm_irq_window(struct vcpu *v, bool on)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	if (on == s->window || s->virq)
		return;
	s->window = on;
	if (on)
		m->c.misc1 |= ICPT_VINTR;
	else
		m->c.misc1 &= ~(uint32_t)ICPT_VINTR;
	svm_dirty(s, CLEAN_INTERCEPTS);
	svm_int_ctl(s, on ? INT_PENDING : 0, 0);
}

void svm_nmi_window(struct vcpu *v, bool on)
{
	struct svm_vcpu *s = svm_of(v);

	/* MASKED: the IRET intercept is the window. A shadow or another event passes at the next exit; ask for one. */
	if (!on || s->nmi == NMI_MASKED || s->nmi == NMI_STEPPING)
		return;
	if (s->nmi == NMI_LEAVING) {
		s->guest_tf = v->rflags & RFLAGS_TF;
		v->rflags |= RFLAGS_TF;
		svm_nmi_set(v, NMI_STEPPING);
	}
}

void svm_inject(struct vcpu *v, const struct hv_event *e)
{
	struct svm_vcpu *s = svm_of(v);
	uint64_t inj = e->vector | EVENT_VALID;

	switch (e->type) {
	case HV_EV_INTR:
		svm_irq_window(v, false);
		svm_int_ctl(s, INT_PENDING, e->vector);
		s->virq = true;
		return;
	case HV_EV_NMI:
		inj = 2 | EVENT_VALID | EVENT_NMI << EVENT_TYPE_SHIFT;
		svm_nmi_set(v, NMI_MASKED);
		break;
	case HV_EV_EXCEPTION:
		inj |= EVENT_EXCEPTION << EVENT_TYPE_SHIFT;
		break;
	case HV_EV_SOFT:
		inj |= EVENT_SOFT << EVENT_TYPE_SHIFT;
		break;
	}
	if (e->has_error)
		inj |= EVENT_HAS_ERROR | (uint64_t)e->error << EVENT_ERROR_SHIFT;
	s->vmcb->c.event_inj = inj;
}

void svm_withdraw(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	m->c.exit_int_info = m->c.event_inj;
	m->c.event_inj = 0;
	if (s->virq)
		m->c.int_ctl |= INT_V_IRQ;
	svm_event_collect(v);
	m->c.exit_int_info = 0;
	if (s->nmi == NMI_STEPPING)
		svm_nmi_stepped(v, false);
}

/* False for what comes again by itself: INT n, INT3 and INTO, whose RIP still stands at the instruction. */
bool svm_event_decode(uint64_t info, struct hv_event *e)
{
	unsigned type = info >> EVENT_TYPE_SHIFT & 7;

	*e = (struct hv_event){ .vector = info & EVENT_VECTOR, .has_error = !!(info & EVENT_HAS_ERROR),
				.error = info & EVENT_HAS_ERROR ? (uint32_t)(info >> EVENT_ERROR_SHIFT) : 0 };
	if (type == EVENT_NMI || (type == EVENT_EXCEPTION && e->vector == 2)) {
		e->type = HV_EV_NMI;
		e->vector = 2;
		return true;
	}
	if (type == EVENT_EXCEPTION && e->vector < 32) {
		e->type = HV_EV_EXCEPTION;
		return e->vector != 3 && e->vector != 4;
	}
	/* QEMU 7.2 names every delivery that is no INT n an exception, interrupts too. */
	e->type = HV_EV_INTR;
	e->has_error = false;
	return type != EVENT_SOFT;
}

void svm_event_collect(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;
	struct hv_event e;

	if (s->virq) {
		s->virq = false;
		svm_request_event(v); /* more may wait behind it */
		if (m->c.int_ctl & INT_V_IRQ) {
			v->reinject = (struct hv_event){ .type = HV_EV_INTR, .vector = (uint8_t)m->c.int_vector };
			v->reinject_valid = true;
			svm_int_ctl(s, 0, 0);
			return; /* what exit_int_info may say is this very delivery */
		}
		svm_int_ctl(s, 0, 0);
	}
	if (!(m->c.exit_int_info & EVENT_VALID) || !svm_event_decode(m->c.exit_int_info, &e))
		return;
	if (e.type == HV_EV_NMI)
		svm_nmi_set(v, NMI_OPEN); /* its injection masks them again */
	v->reinject = e;
	v->reinject_valid = true;
	svm_request_event(v);
}

void svm_nmi_iret(struct vcpu *v)
{
	svm_of(v)->nmi_iret_rip = v->rip;
	svm_nmi_set(v, NMI_LEAVING);
	svm_request_event(v);
}

bool svm_nmi_stepped(struct vcpu *v, bool trap)
{
	struct svm_vcpu *s = svm_of(v);
	bool ours = trap && !s->guest_tf;

	svm_request_event(v);
	if (!trap && v->rip == s->nmi_iret_rip) { /* something else came first; step again later */
		if (!s->guest_tf)
			v->rflags &= ~RFLAGS_TF;
		svm_nmi_set(v, NMI_LEAVING);
		return false;
	}
	if (ours) {
		s->vmcb->s.dr6 &= ~DR6_BS;
		svm_dirty(s, CLEAN_DR);
	}
	svm_nmi_set(v, NMI_OPEN);
	return ours;
}
