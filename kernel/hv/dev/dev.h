/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/hv/dev: device models that must be fast, in ring 0.
 *
 * Each model is plain C over timers and callbacks, so that it is unit-tested on the host; each has save and load beside its
 * state, guest time is kept as guest time. Guests may do anything to any register: nothing here asserts on it or loops without bound.
 * Locks: one spinlock per PIC pair, IOAPIC, PIT (RANK_HVDEV, taken with interrupts off since timers take them); a LAPIC's IRR
 * is set atomically by anyone, all else in it belongs to its vCPU's world.
 */
#ifndef HV_DEV_DEV_H
#define HV_DEV_DEV_H

#include "abi/state.h"
#include "core/core.h"
#include "sched/sched.h"

struct lapic;
struct ioapic;
struct pic;
struct pit;
struct pmtimer;

/* Tags of the records that *_save writes, one whole record each. */
#define STATE_LAPIC STATE_TAG('L', 'A', 'P', 'C')
#define STATE_IOAPIC STATE_TAG('I', 'O', 'A', 'P')
#define STATE_PIC STATE_TAG('P', 'I', 'C', ' ')
#define STATE_PIT STATE_TAG('P', 'I', 'T', ' ')

/* ---- LAPIC ---- */
enum apic_delivery { APIC_FIXED = 0, APIC_LOWEST = 1, APIC_SMI = 2, APIC_NMI = 4, APIC_INIT = 5, APIC_STARTUP = 6, APIC_EXTINT = 7 };
struct apic_msg {
	uint32_t dest;       /* APIC id or logical, x2APIC width */
	uint8_t vector;
	enum apic_delivery delivery;
	bool logical, level, assert;
	bool x2apic_dest;    /* dest is 32 bits wide, 0xffffffff broadcast; else 8 bits, 0xff */
	uint8_t shorthand;   /* 0 none, 1 self, 2 all, 3 all but self */
};
/* What the LAPIC asks of its surroundings (hv fills it; tests fake it). */
struct lapic_host {
	void *ctx;                                       /* passed to each */
	void (*event)(void *ctx);                        /* a new interrupt may be deliverable: wake or kick the vCPU */
	void (*nmi)(void *ctx);
	void (*send)(void *ctx, const struct apic_msg *m); /* ICR write: deliver to the others; use lapic_accept() on each match */
	void (*eoi_broadcast)(void *ctx, uint8_t vector);
	uint64_t (*guest_tsc)(void *ctx);                /* now, guest ticks */
	uint64_t (*guest_tsc_to_host_ns)(void *ctx, uint64_t guest_tsc); /* host clock time at which the guest's TSC reads that */
	uint64_t (*guest_ns)(void *ctx);                 /* the VM's time, which a guest's write to its TSC does not move: counting modes */
	uint64_t (*guest_ns_to_host)(void *ctx, uint64_t ns);
};
#define LAPIC_TIMER_HZ 1000000000ull /* bus clock that leaf 0x40000010 and backdoor 45 tell; divide 1 */
struct lapic *lapic_create(uint32_t id, bool boot_cpu, bool allow_x2apic, unsigned phys_bits, const struct lapic_host *h);
void lapic_free(struct lapic *l);
void lapic_reset(struct lapic *l, bool init);        /* INIT keeps the id and APIC base */
/* MMIO page accesses, offset 0..0xfff; size 4 and aligned accesses are proper, others answer as hardware does (undefined: 0 / ignored). */
uint32_t lapic_mmio_read(struct lapic *l, uint32_t offset);
void lapic_mmio_write(struct lapic *l, uint32_t offset, uint32_t v);
/* x2APIC MSRs 0x800..0x8ff, APIC_BASE, TSC_DEADLINE. false: #GP. */
bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *v);
bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t v);
uint64_t lapic_base(const struct lapic *l);          /* IA32_APIC_BASE: address and enable bits */
bool lapic_enabled(const struct lapic *l);           /* globally, by APIC_BASE */
/* Any context. True when the vector was not pending before. */
bool lapic_accept(struct lapic *l, uint8_t vector, bool level);
bool lapic_matches(const struct lapic *l, const struct apic_msg *m, const struct lapic *sender);
unsigned lapic_priority(const struct lapic *l);      /* for lowest-priority arbitration */
/* Highest deliverable vector by PPR, or -1. Cheap: a flag says when there is nothing. */
int lapic_pending(struct lapic *l);
void lapic_ack(struct lapic *l, uint8_t vector);     /* IRR -> ISR, at injection */
bool lapic_accepts_extint(const struct lapic *l);    /* LVT0 in ExtINT mode and unmasked, or APIC disabled: PIC reaches this CPU */
/* The PIC's output as LINT0 sees it, for the variants of virtual wire mode other than ExtINT: fixed and NMI. Any context. */
void lapic_set_lint0(struct lapic *l, bool level);
uint8_t lapic_get_tpr(const struct lapic *l);        /* task priority 7:0 */
void lapic_set_tpr(struct lapic *l, uint8_t tpr);
void lapic_timer_migrate(struct lapic *l);           /* its vCPU changed pCPU */
void lapic_tsc_changed(struct lapic *l);             /* the guest moved its TSC: a deadline is due at another time */
/* No host timer runs between freeze and thaw (VM paused, saved, loaded); what fell due meanwhile fires at thaw, a period once. */
void lapic_freeze(struct lapic *l);
void lapic_thaw(struct lapic *l);
void lapic_save(const struct lapic *l, struct state_out *o);
int lapic_load(struct lapic *l, struct state_in *in);

/* ---- IOAPIC at 0xFEC00000, 24 pins ---- */
struct ioapic_host { void *ctx; void (*send)(void *ctx, const struct apic_msg *m); };
struct ioapic *ioapic_create(const struct ioapic_host *h);
void ioapic_free(struct ioapic *io);
void ioapic_reset(struct ioapic *io);
uint32_t ioapic_mmio_read(struct ioapic *io, uint32_t offset);
void ioapic_mmio_write(struct ioapic *io, uint32_t offset, uint32_t v);
void ioapic_set_line(struct ioapic *io, unsigned pin, bool level);
void ioapic_eoi(struct ioapic *io, uint8_t vector);
void ioapic_save(const struct ioapic *io, struct state_out *o);
int ioapic_load(struct ioapic *io, struct state_in *in);

/* ---- PIC pair: ports 20 21 A0 A1 4D0 4D1 ---- */
/* intr may be told a level again; called with the pair's lock held. */
struct pic_host { void *ctx; void (*intr)(void *ctx, bool level); };
struct pic *pic_create(const struct pic_host *h);
void pic_free(struct pic *p);
void pic_reset(struct pic *p);
uint8_t pic_port_read(struct pic *p, uint16_t port);
void pic_port_write(struct pic *p, uint16_t port, uint8_t v);
void pic_set_line(struct pic *p, unsigned irq, bool level);
bool pic_output(const struct pic *p);
int pic_ack(struct pic *p);                          /* INTA cycle: vector (spurious 7 when nothing) */
void pic_save(const struct pic *p, struct state_out *o);
int pic_load(struct pic *p, struct state_in *in);

/* ---- PIT: ports 40-43, 61. 1193182 Hz of guest time ---- */
struct pit_host { void *ctx; void (*irq0)(void *ctx, bool level); uint64_t (*guest_ns)(void *ctx); uint64_t (*guest_ns_to_host)(void *ctx, uint64_t ns); };
struct pit *pit_create(const struct pit_host *h);
void pit_free(struct pit *p);
void pit_reset(struct pit *p);
uint8_t pit_port_read(struct pit *p, uint16_t port);
void pit_port_write(struct pit *p, uint16_t port, uint8_t v);
void pit_freeze(struct pit *p);
void pit_thaw(struct pit *p);
void pit_save(const struct pit *p, struct state_out *o);
int pit_load(struct pit *p, struct state_in *in);

/* ---- ACPI PM timer: 3579545 Hz, 32 bits, at the port that vmx's ACPI tables name (PMBASE 0x600 + 8) ---- */
#define PMTIMER_PORT 0x608
uint32_t pmtimer_read(uint64_t guest_ns);

#endif
