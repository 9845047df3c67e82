/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kit of tiny guests: bare-metal programs of one purpose each, run on mica by tools/run-guest (and on bare QEMU, to know what
 * hardware does). A guest prints on COM1, checks with CHECK(), and ends by guest_done(): power off when all held, else debug exit 1.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* ---- the test's own ---- */
void guest_main(uint32_t magic, uint32_t info);
void ap_main(uint32_t index);             /* weak default: halts */

/* ---- output and end ---- */
void put_char(char c);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* %d %u %x %lx %lu %s %c, width and 0 */
extern unsigned check_failures;
void check_failed(const char *file, int line, const char *what, uint64_t got, uint64_t want);
#define CHECK(c) ((c) ? (void)0 : check_failed(__FILE__, __LINE__, #c, 0, 1))
#define CHECK_EQ(a, b)                                                          \
	do {                                                                    \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                \
		if (a_ != b_)                                                   \
			check_failed(__FILE__, __LINE__, #a " == " #b, a_, b_); \
	} while (0)
_Noreturn void guest_done(void);
_Noreturn void power_off(void);
_Noreturn void debug_exit(uint32_t value);
_Noreturn void guest_reset(void);

/* ---- traps ---- */
void traps_init(void);                    /* IDT with all stubs, TSS with rsp0 */
typedef void (*trap_fn)(struct frame *f);
void trap_set(unsigned vector, trap_fn fn); /* NULL: unexpected, ends the guest */
extern volatile uint64_t trap_count[256];
/* Runs one instruction that may fault: `insn` as an asm string with a local label 9 after it; gives the vector or -1. */
extern volatile int fault_vector;
extern volatile uint64_t fault_error, fault_resume;
#define TRY(insn, ...)                                                                                          \
	({                                                                                                      \
		fault_vector = -1;                                                                              \
		__asm__ volatile("leaq 9f(%%rip), %%r11; movq %%r11, fault_resume(%%rip)\n\t" insn "\n9:\n\t"   \
				 "movq $0, fault_resume(%%rip)" __VA_ARGS__);                                   \
		fault_vector;                                                                                   \
	})
void enter_user(uint64_t rip, uint64_t rsp);

/* ---- LAPIC, other vCPUs ---- */
uint32_t apic_read(uint32_t reg);         /* by MMIO or MSR, whichever is on */
void apic_write(uint32_t reg, uint32_t v);
void apic_enable(void);                   /* software enable, spurious 255 */
void apic_eoi(void);
void apic_icr(uint32_t dest, uint32_t low);
extern bool apic_x2;
bool apic_enter_x2(void);
unsigned smp_start(unsigned want);       /* INIT and SIPI to all others; waits up to 20 s for `want` in all and gives the number that came */
void pic_mask_all(void);

/* ---- instructions ---- */
static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %w1" : : "a"(v), "Nd"(p)); }
static inline void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0, %w1" : : "a"(v), "Nd"(p)); }
static inline void outl(uint16_t p, uint32_t v) { __asm__ volatile("outl %0, %w1" : : "a"(v), "Nd"(p)); }
static inline uint8_t inb(uint16_t p) { uint8_t v; __asm__ volatile("inb %w1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline uint16_t inw(uint16_t p) { uint16_t v; __asm__ volatile("inw %w1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline uint32_t inl(uint16_t p) { uint32_t v; __asm__ volatile("inl %w1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline uint64_t rdtsc(void) { uint32_t l, h; __asm__ volatile("rdtsc" : "=a"(l), "=d"(h)); return (uint64_t)h << 32 | l; }
static inline uint64_t rdmsr(uint32_t m) { uint32_t l, h; __asm__ volatile("rdmsr" : "=a"(l), "=d"(h) : "c"(m)); return (uint64_t)h << 32 | l; }
static inline void wrmsr(uint32_t m, uint64_t v) { __asm__ volatile("wrmsr" : : "c"(m), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory"); }
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
static inline uint64_t read_cr0(void) { uint64_t v; __asm__ volatile("movq %%cr0, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr2(void) { uint64_t v; __asm__ volatile("movq %%cr2, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr3(void) { uint64_t v; __asm__ volatile("movq %%cr3, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr4(void) { uint64_t v; __asm__ volatile("movq %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr3(uint64_t v) { __asm__ volatile("movq %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" : : "r"(v) : "memory"); }
static inline void sti(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void cli(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void sti_hlt_cli(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }

uint64_t tsc_hz(void);                    /* from leaf 0x40000010 when there, else measured by the PM timer */
void delay_us(uint64_t us);
uint64_t ram_top_below_4g(uint32_t info); /* of the Multiboot memory map */
void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);

extern uint64_t pml4[512], gdt[16];
extern uint64_t page_directories[4 * 512];
extern uint8_t guest_end[];

#endif
