/* SPDX-License-Identifier: Apache-2.0 */
/* All vCPUs start by INIT and SIPI, count together under a lock, send each other interrupts, and see one time. The Multiboot command line: "n=VCPUS". */
#include "guest.h"

static volatile unsigned lock, counter, arrived, ipi_seen, go;
static volatile uint64_t last_tsc, tsc_backwards;

static void take(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		while (lock)
			pause();
}
static void drop(void) { __atomic_store_n(&lock, 0, __ATOMIC_RELEASE); }
static void count_together(void)
{
	for (int i = 0; i < 200; i++) {
		uint64_t t;

		take();
		counter = counter + 1;
		t = rdtsc();
		if (t < last_tsc)
			tsc_backwards = last_tsc - t;
		last_tsc = t;
		drop();
	}
}
static void on_ipi(struct frame *f)
{
	(void)f;
	__atomic_add_fetch(&ipi_seen, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}
static struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idt_saved;
static void load_idt_of_boot_cpu(void)
{
	__asm__ volatile("lidt %0" : : "m"(idt_saved));
}
void ap_main(uint32_t index)
{
	(void)index;
	load_idt_of_boot_cpu();
	apic_enable();
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	while (!go)
		pause();
	count_together();
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("sti; hlt");
}
static bool wait_for(volatile unsigned *what, unsigned value)
{
	for (int i = 0; i < 20000 && *what < value; i++)
		delay_us(1000);
	return *what >= value;
}
void guest_main(uint32_t magic, uint32_t info)
{
	const uint32_t *m = (const void *)(uintptr_t)info;
	const char *line = m[0] & 4 ? (const char *)(uintptr_t)m[4] : "";
	unsigned want = 1, got;

	(void)magic;
	for (; *line; line++)
		if (line[0] == 'n' && line[1] == '=')
			for (want = 0, line += 2; *line >= '0' && *line <= '9'; line++)
				want = want * 10 + (unsigned)(*line - '0');
	traps_init();
	__asm__ volatile("sidt %0" : "=m"(idt_saved));
	trap_set(0x40, on_ipi);
	pic_mask_all();
	apic_enable();
	got = smp_start(want);
	CHECK_EQ(got, want);
	if (got != want)
		guest_done();
	CHECK(wait_for(&arrived, want - 1));
	go = 1;
	count_together();
	CHECK(wait_for(&arrived, 2 * (want - 1)));
	CHECK_EQ(counter, 200 * want);
	CHECK_EQ(tsc_backwards, 0);
	for (unsigned round = 1; round <= 10; round++) { /* to all but self, fixed */
		apic_icr(0, 0x000c4040);
		CHECK(wait_for(&ipi_seen, round * (want - 1)));
	}
	print("GUEST smp %u vCPUs\n", got);
	guest_done();
}
