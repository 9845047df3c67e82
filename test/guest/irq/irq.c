/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and timers: PIT by PIC and by IOAPIC, LAPIC one-shot, periodic and TSC-deadline, self-IPI, priorities, HLT wake-ups, NMI. */
#include "guest.h"

static volatile unsigned order[8], order_n;
static void on_pic(struct frame *f)
{
	(void)f;
	outb(0x20, 0x20);
}
static void on_apic(struct frame *f)
{
	if (order_n < 8)
		order[order_n++] = (unsigned)f->vector;
	apic_eoi();
}
static void on_nmi(struct frame *f) { (void)f; }
static bool wait_count(unsigned vector, uint64_t n, uint64_t us)
{
	uint64_t end = rdtsc() + us * (tsc_hz() / 1000000);

	while (trap_count[vector] < n && rdtsc() < end)
		sti_hlt_cli();
	return trap_count[vector] >= n;
}
static void pic_init(void)
{
	outb(0x20, 0x11), outb(0xa0, 0x11);
	outb(0x21, 0x50), outb(0xa1, 0x58);
	outb(0x21, 4), outb(0xa1, 2);
	outb(0x21, 1), outb(0xa1, 1);
	outb(0x21, 0xff), outb(0xa1, 0xff);
}
static void check_pit_by_pic(void)
{
	uint64_t t;

	trap_set(0x50, on_pic);
	pic_init();
	outb(0x43, 0x34), outb(0x40, 11932 & 0xff), outb(0x40, 11932 >> 8); /* 100 Hz */
	outb(0x21, 0xfe);
	CHECK(wait_count(0x50, 2, 1000000));
	t = rdtsc();
	CHECK(wait_count(0x50, 12, 2000000));
	t = (rdtsc() - t) / (tsc_hz() / 1000); /* ten ticks: 100 ms */
	CHECK(t >= 80);
	CHECK(t <= 2000);
	outb(0x21, 0xff);
}
static void check_pit_by_ioapic(void)
{
	volatile uint32_t *io = (volatile uint32_t *)0xfec00000;
	uint64_t before;

	trap_set(0x60, on_apic);
	io[0] = 0x10 + 2 * 2 + 1, io[4] = 0;
	io[0] = 0x10 + 2 * 2, io[4] = 0x60; /* pin 2: IRQ 0 */
	before = trap_count[0x60];
	CHECK(wait_count(0x60, before + 3, 1000000));
	io[0] = 0x10 + 2 * 2, io[4] = 0x10060;
	outb(0x43, 0x30); /* one-shot, unset: quiet */
}
static void check_lapic_timer(void)
{
	uint64_t t, hz = tsc_hz();

	trap_set(0x70, on_apic);
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x70);
	t = rdtsc();
	apic_write(0x380, 300000000); /* 300 ms of the 1 GHz bus clock: longer than any pause of the VM */
	CHECK(apic_read(0x390) > 0);
	CHECK(wait_count(0x70, 1, 5000000));
	CHECK(rdtsc() - t >= hz / 10 * 3);
	CHECK_EQ(apic_read(0x390), 0);
	apic_write(0x320, 0x20070);
	apic_write(0x380, 2000000);
	CHECK(wait_count(0x70, 6, 1000000));
	apic_write(0x320, 0x10070);
	apic_write(0x380, 0);
}
static void check_tsc_deadline(void)
{
	uint32_t r[4];
	uint64_t before = trap_count[0x70], t;

	cpuid(1, 0, r);
	if (!(r[2] & 1u << 24))
		return;
	apic_write(0x320, 0x40070);
	t = rdtsc() + tsc_hz() / 4;
	wrmsr(0x6e0, t);
	CHECK_EQ(rdmsr(0x6e0), t);
	CHECK(wait_count(0x70, before + 1, 5000000));
	CHECK(rdtsc() >= t);
	CHECK_EQ(rdmsr(0x6e0), 0);
	wrmsr(0x6e0, 1); /* long past: at once */
	CHECK(wait_count(0x70, before + 2, 1000000));
	apic_write(0x320, 0x10070);
}
static void self(unsigned vector) { apic_icr(0, 0x00044000 | vector); }
static void check_priorities(void)
{
	trap_set(0x81, on_apic), trap_set(0x91, on_apic), trap_set(0xa1, on_apic);
	order_n = 0;
	self(0x81), self(0xa1), self(0x91);
	sti();
	for (int i = 0; i < 1000 && order_n < 3; i++)
		pause();
	cli();
	CHECK_EQ(order[0], 0xa1);
	CHECK_EQ(order[1], 0x91);
	CHECK_EQ(order[2], 0x81);
	order_n = 0;
	apic_write(0x80, 0x90); /* TPR holds back class 9 and below */
	self(0x91), self(0xa1);
	sti();
	delay_us(1000);
	cli();
	CHECK_EQ(order_n, 1);
	__asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
	sti();
	delay_us(1000);
	cli();
	CHECK_EQ(order_n, 2);
	CHECK_EQ(order[1], 0x91);
}
static void check_nmi(void)
{
	uint64_t before = trap_count[2];

	trap_set(2, on_nmi);
	apic_icr(0, 0x00044400); /* to self: shorthand with NMI is for others only; so by id */
	apic_icr(apic_x2 ? (uint32_t)rdmsr(0x802) : apic_read(0x20) >> 24, 0x00004400);
	delay_us(1000);
	CHECK(trap_count[2] > before);
}
static void check_disable_enable(void)
{
	uint64_t base = rdmsr(0x1b);

	wrmsr(0x1b, base & ~0x800ull);
	wrmsr(0x1b, base);
	apic_enable();
	trap_set(0x82, on_apic);
	self(0x82);
	sti();
	delay_us(1000);
	cli();
	CHECK_EQ(trap_count[0x82], 1);
}
void guest_main(uint32_t magic, uint32_t info)
{
	(void)magic;
	(void)info;
	traps_init();
	trap_set(0xff, on_nmi); /* spurious */
	apic_enable();
	apic_write(0x350, 0x700); /* LINT0: ExtINT, as firmware leaves it */
	check_pit_by_pic();
	check_pit_by_ioapic();
	for (int x2 = 0; x2 < 2; x2++) {
		check_lapic_timer();
		check_tsc_deadline();
		check_priorities();
		check_nmi();
		if (!x2)
			check_disable_enable();
		trap_count[0x70] = 0;
		if (!x2 && !apic_enter_x2())
			break;
		apic_enable();
	}
	guest_done();
}
