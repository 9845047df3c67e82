/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Throws random accesses at the host: ports, MMIO, MSRs, CPUID, control registers, hypercalls, from ring 0 and from ring 3. Any answer and any
 * exception is right; the host must live. The Multiboot command line gives "n=COUNT seed=SEED".
 * Left out are the accesses that end the VM by design: reset and debug-exit ports, ACPI sleep, the control-register bits that turn off the ground
 * this program stands on.
 */
#include "guest.h"

static uint64_t state;
static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}
static uint64_t number(const char *line, char key, uint64_t otherwise)
{
	for (; *line; line++)
		if (line[0] == key && line[1] == '=') {
			uint64_t v = 0;

			for (line += 2; *line >= '0' && *line <= '9'; line++)
				v = v * 10 + (uint64_t)(*line - '0');
			return v;
		}
	return otherwise;
}
static uint16_t some_port(void)
{
	static const uint16_t busy[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd,
					 0xcf8, 0xcfc, 0xcfd, 0x4d0, 0x4d1, 0x600, 0x602, 0x608, 0x5658, 0x5659, 0x5670, 0x80, 0x60, 0xb2 };

	return rnd() & 1 ? busy[rnd() % (sizeof(busy) / sizeof(busy[0]))] : (uint16_t)rnd();
}
/* The port is the program's voice: sane again before it speaks. */
static void uart_reset(void)
{
	outb(0x3fb, 0x80), outb(0x3f8, 1), outb(0x3f9, 0), outb(0x3fb, 3), outb(0x3fa, 7), outb(0x3fc, 3), outb(0x3f9, 0);
}
/* Would it end the run by design? */
static bool port_is_final(uint16_t p, unsigned size)
{
	for (unsigned i = 0; i < size; i++) {
		uint16_t q = (uint16_t)(p + i);

		if (q == 0xf4 || q == 0xf5 || q == 0xf6 || q == 0xf7 || q == 0xcf9 || q == 0x92 || q == 0x64 || q == 0x604 || q == 0x605)
			return true;
	}
	return false;
}
static void do_port(void)
{
	uint16_t p = some_port();
	uint32_t v = (uint32_t)rnd();
	unsigned how = rnd() % 8;

	if (port_is_final(p, 4))
		return;
	switch (how) {
	case 0: inb(p); break;
	case 1: inw(p); break;
	case 2: inl(p); break;
	case 3: if (p != 0x3f8) outb(p, (uint8_t)v); break;
	case 4: outw(p, (uint16_t)v); break;
	case 5: outl(p, v); break;
	case 6: {
		static uint8_t buf[4096];
		uint64_t n = rnd() % 1000;
		void *d = buf;

		__asm__ volatile("rep insb" : "+D"(d), "+c"(n) : "d"(p) : "memory");
		break;
	}
	case 7: {
		static uint8_t buf[4096];
		uint64_t n = rnd() % 500;
		const void *s = buf;

		if (p < 0x3f8 || p > 0x3ff)
			__asm__ volatile("rep outsl" : "+S"(s), "+c"(n) : "d"(p) : "memory");
		break;
	}
	}
}
static void do_mmio(void)
{
	static const uint64_t base[] = { 0xfee00000, 0xfec00000, 0xfd000000, 0xa0000, 0xc0000000, 0xfffffff0 - 0xfff, 0xf0000 };
	volatile uint8_t *p = (volatile uint8_t *)(base[rnd() % 7] + (rnd() & 0xfff));
	uint64_t v = rnd(), w = rnd();

	if ((uint64_t)p > 0xfffff000ull)
		p -= 16;
	if ((uint64_t)p >= 0xfee002c0 && (uint64_t)p < 0xfee00310)
		return; /* an INIT to oneself would end the program; the longest access below is 64 bytes */
	if ((uint64_t)p >= 0xe0000 && (uint64_t)p < 0x100000)
		return; /* firmware tables: plain RAM */
	switch (rnd() % 12) {
	case 0: *p; break;
	case 1: *(volatile uint16_t *)p; break;
	case 2: *(volatile uint32_t *)p; break;
	case 3: *(volatile uint64_t *)p; break;
	case 4: *p = (uint8_t)v; break;
	case 5: *(volatile uint32_t *)p = (uint32_t)v; break;
	case 6: *(volatile uint64_t *)p = v; break;
	case 7: TRY("lock xaddl %%eax, (%%rcx)", : : "a"(v), "c"(p) : "r11", "memory"); break;
	case 8: TRY("lock cmpxchgl %%edx, (%%rcx)", : : "a"(v), "c"(p), "d"(w) : "r11", "memory"); break;
	case 9: TRY("orl %%eax, (%%rcx)", : : "a"(v), "c"(p) : "r11", "memory"); break;
	case 10: TRY("movl $16, %%ecx; rep stosl", : : "a"(v), "D"(p) : "rcx", "r11", "memory"); break;
	case 11: TRY("addb (%%rcx), %%al", : : "a"(v), "c"(p) : "r11", "memory"); break;
	}
}
static void do_msr(void)
{
	static const uint32_t near[] = { 0x0, 0x10, 0x1b, 0x3a, 0x8b, 0xfe, 0x174, 0x179, 0x1a0, 0x200, 0x250, 0x258, 0x268, 0x277, 0x2ff, 0x400, 0x6e0, 0x800, 0xda0,
					 0xc0000080, 0xc0000100, 0xc0010000, 0xc0010015, 0xc0010100, 0xc0011020, 0x40000000 };
	uint32_t msr = rnd() & 3 ? near[rnd() % (sizeof(near) / 4)] + (uint32_t)(rnd() % 32) : (uint32_t)rnd();
	uint64_t v = rnd() & 1 ? rnd() : rnd() & 0xff;

	TRY("rdmsr", : : "c"(msr) : "rax", "rdx", "r11", "memory");
	if (msr == 0xc0000080 || msr == 0x1b || (msr >= 0xc0000100 && msr <= 0xc0000102) || msr == 0x830 || msr == 0x277 || msr == 0x10)
		return; /* EFER, APIC base, FS and GS base, ICR, PAT, TSC: the program's own ground */
	TRY("wrmsr", : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "r11", "memory");
}
static void do_cpu(void)
{
	uint32_t r[4];
	uint64_t v = rnd();

	switch (rnd() % 8) {
	case 0: cpuid((uint32_t)(rnd() & 1 ? v & 0x3f : 0x80000000 | (v & 0x3f)), (uint32_t)rnd() & 0x3f, r); break;
	case 1: cpuid((uint32_t)v, (uint32_t)rnd(), r); break;
	case 2: TRY("vmmcall", : : "a"(rnd() & 1 ? 0x564d5868 : (uint32_t)v), "b"(v), "c"(rnd() & 0xff), "d"(0) : "rsi", "rdi", "r11", "memory"); break;
	case 3: TRY("movq %%rax, %%cr4", : : "a"((read_cr4() & 0x620) | (v & 0xff9f & ~0x1000ull)) : "r11", "memory"); write_cr4(0x620); break;
	case 4: TRY("movq %%rax, %%cr4", : : "a"(v) : "r11", "memory"); write_cr4(0x620); break;
	case 5: TRY("movq %%rax, %%dr7; movq %%rax, %%dr6", : : "a"(v & 0xffff00ffull & ~0xffull) : "r11", "memory"); break;
	case 6: TRY("xsetbv", : : "c"(v & 1), "a"((uint32_t)rnd()), "d"(0) : "r11", "memory"); break;
	case 7: TRY("wbinvd; movq %%rax, %%cr8; movq %%cr8, %%rax; movq $0, %%rcx; movq %%rcx, %%cr8", : : "a"(v & 15) : "rcx", "r11", "memory"); break;
	}
}

/* ---- ring 3: the same kinds of access; each ends in an exception or does nothing; INT 0x80 comes back ---- */
static uint8_t user_stack[4096] __attribute__((aligned(16)));
static uint64_t resume_stack[8];
static void user_body(void)
{
	register uint64_t kind __asm__("r8") = rnd() % 6;
	register uint64_t v __asm__("r9") = rnd();

	__asm__ volatile("cmpq $0, %%r8; je 1f; cmpq $1, %%r8; je 2f; cmpq $2, %%r8; je 3f; cmpq $3, %%r8; je 4f; cmpq $4, %%r8; je 5f\n\t"
			 "movl $0x564d5868, %%eax; movl $10, %%ecx; movl $0x5658, %%edx; inl %%dx, %%eax; jmp 9f\n"
			 "1: movq %%r9, %%rdx; inb %%dx, %%al; jmp 9f\n"
			 "2: movq %%r9, %%rcx; rdmsr; jmp 9f\n"
			 "3: movl $0x564d5868, %%eax; movl $10, %%ecx; vmmcall; jmp 9f\n"
			 "4: movq %%r9, %%rax; cpuid; jmp 9f\n"
			 "5: hlt\n"
			 "9: int $0x80" : "+r"(kind), "+r"(v) : : "rax", "rbx", "rcx", "rdx", "memory");
	for (;;)
		;
}
extern int ring3_once(uint64_t *save, void (*body)(void), uint8_t *stack_top);
__asm__(".globl ring3_once\nring3_once:\n\t"
	"movq %rbx, 0(%rdi); movq %rbp, 8(%rdi); movq %r12, 16(%rdi); movq %r13, 24(%rdi); movq %r14, 32(%rdi); movq %r15, 40(%rdi)\n\t"
	"movq %rsp, 48(%rdi)\n\tmovq %rsi, %rdi\n\tmovq %rdx, %rsi\n\tjmp enter_user\n"
	".globl ring3_back\nring3_back:\n\t"
	"movq 0(%rdi), %rbx; movq 8(%rdi), %rbp; movq 16(%rdi), %r12; movq 24(%rdi), %r13; movq 32(%rdi), %r14; movq 40(%rdi), %r15\n\t"
	"movq 48(%rdi), %rsp\n\txorl %eax, %eax\n\tret\n");
extern _Noreturn void ring3_back(uint64_t *save);
static void from_ring3(struct frame *f)
{
	if ((f->cs & 3) == 3)
		ring3_back(resume_stack);
	print("GUEST trap %lu in ring 0 at 0x%lx\n", f->vector, f->rip);
	debug_exit(2);
}
/* A random period can be shorter than its interrupt takes, and LINT0 may have become a level that nobody lowers: both stop now and then, or nothing else would run. */
static void ignore(struct frame *f)
{
	static unsigned seen;

	(void)f;
	if (++seen % 64 == 0) {
		apic_write(0x380, 0);
		apic_write(0x350, 0x10000);
		apic_write(0x360, 0x10000);
	}
	apic_eoi();
}
static void open_to_ring3(void)
{
	uint64_t *pdpt = (uint64_t *)(pml4[0] & ~0xfffull);

	pml4[0] |= 4;
	pdpt[0] |= 4;
	for (int i = 0; i < 512; i++)
		page_directories[i] |= 4;
	write_cr3(read_cr3());
}
void guest_main(uint32_t magic, uint32_t info)
{
	const uint32_t *m = (const void *)(uintptr_t)info;
	const char *line = m[0] & 4 ? (const char *)(uintptr_t)m[4] : "";
	uint64_t count = number(line, 'n', 100000);

	(void)magic;
	state = number(line, 'd', 1) * 0x9e3779b97f4a7c15ull + 1;
	traps_init();
	open_to_ring3();
	for (unsigned v = 0; v < 32; v++)
		trap_set(v, from_ring3);
	for (unsigned v = 32; v < 256; v++)
		trap_set(v, ignore);
	trap_set(0x80, from_ring3);
	trap_set(2, ignore);
	for (uint64_t i = 0; i < count; i++) {
		switch (rnd() % 16) {
		case 0 ... 4: do_port(); break;
		case 5 ... 8: do_mmio(); break;
		case 9 ... 11: do_msr(); break;
		case 12 ... 14: do_cpu(); break;
		case 15: ring3_once(resume_stack, user_body, user_stack + sizeof(user_stack)); break;
		}
		if (i % 100000 == 99999) {
			uart_reset();
			print("\nGUEST random %lu\n", i + 1);
		}
	}
	uart_reset();
	print("\nGUEST random done %lu\n", count);
	guest_done();
}
