/* SPDX-License-Identifier: Apache-2.0 */
/* Between lapic.c (vectors), lapic_regs.c (register file) and lapic_timer.c only. */
#ifndef HV_DEV_LAPIC_PRIV_H
#define HV_DEV_LAPIC_PRIV_H

#include "hv/dev/dev.h"
#include "mem/mem.h"

/* Register numbers: MMIO offset >> 4, MSR - 0x800 (SDM vol 3 tables 11-1 and 11-6). */
enum {
	REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b, REG_LDR = 0x0d, REG_DFR = 0x0e,
	REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR = 0x30, REG_ICR2 = 0x31,
	REG_LVT_TIMER = 0x32, REG_LVT_THERMAL, REG_LVT_PMC, REG_LVT_LINT0, REG_LVT_LINT1, REG_LVT_ERROR,
	REG_TMICT = 0x38, REG_TMCCT = 0x39, REG_TDCR = 0x3e, REG_SELF_IPI = 0x3f
};
enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };
#define LVT_MASKED 0x10000u
#define LVT_LEVEL 0x8000u
#define LVT_MODE(lvt) ((lvt) >> 8 & 7)
#define TIMER_MODE(lvt) ((lvt) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };
#define SVR_ENABLE 0x100u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_ILLEGAL_REGISTER 0x80u
#define BASE_BSP 0x100ull
#define BASE_X2APIC 0x400ull
#define BASE_ENABLE 0x800ull
#define BASE_RESET 0xfee00000ull

struct lapic {
	/* Set by anyone, atomically. tmr follows irr: it is set before it. */
	uint32_t irr[8], tmr[8];
	uint32_t irr_words;      /* bit per word of irr that may be non-zero */
	uint32_t esr_pending;    /* errors since the guest last wrote ESR */
	uint8_t check;           /* 0: nothing is deliverable and nothing came since that was found */
	/* Written by the vCPU's world; read by senders, to whom a stale value is an earlier moment. */
	bool accepting;          /* globally and software enabled */
	bool x2apic;
	bool lint0;              /* level of the line; the PIC's lock orders its writers */
	bool lint0_remote;       /* remote IRR of a level-triggered LINT0 */
	uint32_t id, ldr, dfr, svr, lvt[LVTS];
	uint32_t isr[8], isr_words; /* as irr_words */
	uint8_t tpr;
	uint64_t base;           /* IA32_APIC_BASE */
	uint32_t esr;
	uint64_t icr;
	/* Timer: timer_lock, also for lvt[LVT_TIMER] and tdcr. What is due is guest time; the host timer stands for it. */
	struct spinlock timer_lock;
	uint32_t tmict, tdcr;
	bool counting;           /* a count that has not run out (one-shot) or runs for ever (periodic) */
	uint64_t start_ns, next_ns; /* guest ns when the count was loaded, and when it next runs out */
	uint64_t deadline;       /* guest TSC, 0 = none */
	bool armed;              /* host timer set, for host clock time `due` */
	uint64_t due;
	bool parked;             /* a periodic tick waits for the guest to take the one before; read without the lock by ack */
	bool frozen;
	struct timer timer;
	/* I */
	bool boot_cpu, allow_x2apic;
	unsigned phys_bits;
	struct lapic_host host;
};

/* lapic.c */
int lapic_top_vector(const uint32_t *words, uint32_t summary);
uint8_t lapic_ppr(const struct lapic *l);
void lapic_recheck(struct lapic *l);               /* priority fell: something may be deliverable now */
void lapic_eoi(struct lapic *l);
void lapic_error(struct lapic *l, uint32_t bits);  /* any context */
void lapic_fire_lvt(struct lapic *l, enum lapic_lvt which); /* any context; edge */
void lapic_lint0_level(struct lapic *l);           /* entry or line changed */
void lapic_reset_registers(struct lapic *l);       /* 11.4.7.1, all but APIC_BASE */
void lapic_update_accepting(struct lapic *l);
/* lapic_regs.c */
extern const uint32_t lapic_lvt_bits[LVTS];        /* what a guest can set */
bool lapic_base_legal(const struct lapic *l, uint64_t v);
/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_lvt(struct lapic *l, uint32_t v);
void lapic_timer_set_count(struct lapic *l, uint32_t v);
uint32_t lapic_timer_count(struct lapic *l);
void lapic_timer_set_divide(struct lapic *l, uint32_t v);
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc);
void lapic_timer_unpark(struct lapic *l);
void lapic_timer_loaded(struct lapic *l);
void lapic_timer_free(struct lapic *l);

#endif
