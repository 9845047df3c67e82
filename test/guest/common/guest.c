/* SPDX-License-Identifier: Apache-2.0 */
/* The kit of tiny guests: see guest.h. */
#include "guest.h"
#include <stdarg.h>

#define COM1 0x3f8
#define PM1A_CNT 0x604
#define DEBUG_EXIT 0xf4

void *memset(void *d, int c, size_t n)
{
	void *r = d;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return r;
}
void *memcpy(void *d, const void *s, size_t n)
{
	void *r = d;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return r;
}

/* ---- output ---- */
static volatile int print_lock;
void put_char(char c)
{
	if (c == '\n')
		put_char('\r');
	while (!(inb(COM1 + 5) & 0x20))
		pause();
	outb(COM1, (uint8_t)c);
}
static void put_number(uint64_t v, unsigned base, unsigned width, char pad)
{
	char buf[24];
	unsigned n = 0;

	do
		buf[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) && n < sizeof(buf));
	while (n < width && n < sizeof(buf))
		buf[n++] = pad;
	while (n)
		put_char(buf[--n]);
}
static void put_text(const char *s)
{
	while (*s)
		put_char(*s++);
}
void print(const char *fmt, ...)
{
	va_list ap;

	while (__atomic_exchange_n(&print_lock, 1, __ATOMIC_ACQUIRE))
		pause();
	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		unsigned width = 0, wide = 0;
		char pad = ' ';

		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		if (*++fmt == '0')
			pad = '0';
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			wide = 1;
		if (*fmt == 's') {
			put_text(va_arg(ap, const char *));
		} else if (*fmt == 'c') {
			put_char((char)va_arg(ap, int));
		} else if (*fmt == 'd') {
			int64_t v = wide ? va_arg(ap, int64_t) : va_arg(ap, int);

			if (v < 0)
				put_char('-');
			put_number((uint64_t)(v < 0 ? -v : v), 10, width, pad);
		} else {
			put_number(wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), *fmt == 'x' ? 16 : 10, width, pad);
		}
	}
	va_end(ap);
	__atomic_store_n(&print_lock, 0, __ATOMIC_RELEASE);
}

/* ---- the end ---- */
unsigned check_failures;
void check_failed(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	check_failures++;
	print("CHECK failed %s:%d: %s (got 0x%lx, want 0x%lx)\n", file, line, what, got, want);
}
void power_off(void)
{
	outw(PM1A_CNT, 0x2000); /* SLP_EN, SLP_TYP 0: S5 as the PIIX numbers it */
	for (;;)
		__asm__ volatile("cli; hlt");
}
void debug_exit(uint32_t value)
{
	outl(DEBUG_EXIT, value);
	for (;;)
		__asm__ volatile("cli; hlt");
}
void guest_reset(void)
{
	outb(0xcf9, 6);
	for (;;)
		__asm__ volatile("cli; hlt");
}
void guest_done(void)
{
	if (check_failures) {
		print("GUEST failed: %u checks\n", check_failures);
		debug_exit(1);
	}
	print("GUEST ok\n");
	power_off();
}

/* ---- traps ---- */
struct gate { uint16_t low, selector; uint8_t ist, type; uint16_t mid; uint32_t high, zero; };
struct tss { uint32_t r0; uint64_t rsp[3], r1, ist[7], r2; uint16_t r3, iomap; } __attribute__((packed));
static struct gate idt[256];
static struct tss tss;
static uint8_t trap_stack[16384] __attribute__((aligned(16)));
static trap_fn trap_handler[256];
volatile uint64_t trap_count[256];
volatile int fault_vector;
volatile uint64_t fault_error, fault_resume;
extern uint8_t trap_stubs[];

static void idt_load(void)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) p = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(p));
}
void traps_init(void)
{
	uint64_t base = (uint64_t)&tss;

	for (unsigned i = 0; i < 256; i++) {
		uint64_t a = (uint64_t)trap_stubs + 16 * i;

		idt[i] = (struct gate){ (uint16_t)a, 0x08, 0, 0x8e, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0 };
	}
	idt[0x80].type = 0xee;
	tss.rsp[0] = (uint64_t)(trap_stack + sizeof(trap_stack));
	tss.iomap = sizeof(tss);
	gdt[8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[9] = base >> 32;
	idt_load();
	__asm__ volatile("ltr %w0" : : "r"(0x40));
}
void trap_set(unsigned vector, trap_fn fn) { trap_handler[vector] = fn; }
void guest_trap(struct frame *f);
void guest_trap(struct frame *f)
{
	trap_count[f->vector]++;
	if (fault_resume && f->vector < 32) {
		fault_vector = (int)f->vector;
		fault_error = f->error;
		f->rip = fault_resume;
		fault_resume = 0;
		return;
	}
	if (trap_handler[f->vector]) {
		trap_handler[f->vector](f);
		return;
	}
	print("GUEST unexpected trap %lu error 0x%lx rip 0x%lx cr2 0x%lx rsp 0x%lx\n", f->vector, f->error, f->rip, read_cr2(), f->rsp);
	debug_exit(2);
}

/* ---- LAPIC and other vCPUs ---- */
bool apic_x2;
static volatile uint32_t *const apic_page = (volatile uint32_t *)0xfee00000;
uint32_t apic_read(uint32_t reg) { return apic_x2 ? (uint32_t)rdmsr(0x800 + reg / 16) : apic_page[reg / 4]; }
void apic_write(uint32_t reg, uint32_t v)
{
	if (apic_x2)
		wrmsr(0x800 + reg / 16, v);
	else
		apic_page[reg / 4] = v;
}
void apic_enable(void) { apic_write(0xf0, 0x1ff); }
void apic_eoi(void) { apic_write(0xb0, 0); }
void apic_icr(uint32_t dest, uint32_t low)
{
	if (apic_x2) {
		wrmsr(0x830, (uint64_t)dest << 32 | low);
		return;
	}
	apic_write(0x310, dest << 24);
	apic_write(0x300, low);
	while (apic_read(0x300) & 1 << 12)
		pause();
}
bool apic_enter_x2(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] & 1u << 21))
		return false;
	wrmsr(0x1b, rdmsr(0x1b) | 0x400);
	apic_x2 = true;
	return true;
}
void pic_mask_all(void) { outb(0x21, 0xff); outb(0xa1, 0xff); }
extern uint8_t ap_trampoline[], ap_trampoline_end[];
static volatile unsigned ap_arrived;
__attribute__((weak)) void ap_main(uint32_t index)
{
	(void)index;
	for (;;)
		__asm__ volatile("cli; hlt");
}
extern volatile uint32_t ap_next;
unsigned smp_start(unsigned want)
{
	memcpy((void *)0x8000, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	apic_icr(0, 0x000c4500);
	delay_us(10000);
	apic_icr(0, 0x000c4608);
	for (unsigned i = 0; i < 2000 && ap_next < want; i++)
		delay_us(10000);
	delay_us(50000); /* one too many would show now */
	return ap_next;
}

/* ---- time and memory ---- */
uint64_t tsc_hz(void)
{
	static uint64_t hz;
	uint32_t r[4], start;
	uint64_t t;

	if (hz)
		return hz;
	cpuid(0x40000000, 0, r);
	if (r[1] == 0x61774d56 && r[0] >= 0x40000010) { /* VMwa */
		cpuid(0x40000010, 0, r);
		return hz = r[0] * 1000ull;
	}
	start = inl(0x608);
	t = rdtsc();
	while (((inl(0x608) - start) & 0xffffff) < 35795)
		pause();
	return hz = (rdtsc() - t) * 100;
}
void delay_us(uint64_t us)
{
	uint64_t end = rdtsc() + us * (tsc_hz() / 1000000);

	while (rdtsc() < end)
		pause();
}
struct mb_info { uint32_t flags, lower, upper, device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr; };
struct mb_range { uint32_t size; uint64_t base, length; uint32_t type; } __attribute__((packed));
uint64_t ram_top_below_4g(uint32_t info)
{
	const struct mb_info *m = (const void *)(uintptr_t)info;
	uint64_t top = 0;

	for (uint32_t at = m->mmap_addr; at < m->mmap_addr + m->mmap_length;) {
		const struct mb_range *r = (const void *)(uintptr_t)at;

		if (r->type == 1 && r->base < 0x100000000ull && r->base + r->length > top)
			top = r->base + r->length;
		at += r->size + 4;
	}
	return top;
}
