/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI reader over a small made-up machine, over each way of its being wrong, and over random damage. */
#include "arch/x86/acpi.h"
#include "test/unit.h"

#define RAM_SIZE 0x100000u
#define RSDP 0xe1230u
#define XSDT 0x80000u
#define RSDT 0x80800u
#define MADT 0x81000u
#define FADT 0x82000u
#define DSDT 0x83000u
#define HPET 0x84000u

static uint8_t ram[RAM_SIZE];
static unsigned long reads;

static bool ram_read(uint64_t pa, void *buf, size_t n)
{
	reads += n;
	if (pa >= RAM_SIZE || n > RAM_SIZE - pa)
		return false;
	memcpy(buf, ram + pa, n);
	return true;
}

static void put32(uint32_t pa, uint32_t v) { memcpy(ram + pa, &v, 4); }
static void put64(uint32_t pa, uint64_t v) { memcpy(ram + pa, &v, 8); }

static void checksum(uint32_t pa, uint32_t n, uint32_t at)
{
	uint8_t sum = 0;

	ram[pa + at] = 0;
	for (uint32_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ram[pa + i]);
	ram[pa + at] = (uint8_t)-sum;
}

static void table(uint32_t pa, const char *signature, uint32_t length)
{
	memcpy(ram + pa, signature, 4);
	put32(pa + 4, length);
	checksum(pa, length, 9);
}

static uint32_t madt_end;
static void madt_add(const uint8_t *e, unsigned n)
{
	memcpy(ram + madt_end, e, n);
	madt_end += n;
	table(MADT, "APIC", madt_end - MADT);
}

static void machine(void)
{
	static const uint8_t cpu0[] = { 0, 8, 0, 0, 1, 0, 0, 0 }, cpu1[] = { 0, 8, 1, 4, 1, 0, 0, 0 }, off[] = { 0, 8, 2, 5, 0, 0, 0, 0 };
	static const uint8_t x2[] = { 9, 16, 0, 0, 0x00, 0x02, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0 };
	static const uint8_t x2_same[] = { 9, 16, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0 };
	static const uint8_t ioapic[] = { 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 };
	static const uint8_t timer[] = { 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 }, sci[] = { 2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0 };
	static const uint8_t low[] = { 2, 10, 0, 11, 20, 0, 0, 0, 0x0f, 0 }, beyond[] = { 2, 10, 0, 16, 1, 0, 0, 0, 0, 0 };
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x07, 0x04, 0x0a, 0x05, 0x0b, 0x06, 0x00, 0x00, 0x00 };

	memset(ram, 0, sizeof(ram));
	memcpy(ram + RSDP, "RSD PTR ", 8);
	ram[RSDP + 15] = 2;
	put32(RSDP + 16, RSDT);
	put32(RSDP + 20, 36);
	put64(RSDP + 24, XSDT);
	checksum(RSDP, 20, 8);
	checksum(RSDP, 36, 32);

	put64(XSDT + 36, MADT);
	put64(XSDT + 44, FADT);
	put64(XSDT + 52, HPET);
	table(XSDT, "XSDT", 60);
	put32(RSDT + 36, FADT);
	table(RSDT, "RSDT", 40);

	put32(MADT + 36, 0xfee00000);
	madt_end = MADT + 44;
	madt_add(cpu0, 8), madt_add(cpu1, 8), madt_add(off, 8), madt_add(x2, 16), madt_add(x2_same, 16), madt_add(ioapic, 12);
	madt_add(timer, 10), madt_add(sci, 10), madt_add(low, 10), madt_add(beyond, 10);

	put32(FADT + 40, DSDT);
	put32(FADT + 48, 0xb2);
	ram[FADT + 52] = 0xf1;
	put32(FADT + 64, 0x604);
	put32(FADT + 76, 0x608);
	ram[FADT + 91] = 4;
	put32(FADT + 112, 1 << 10);
	ram[FADT + 116] = 1;
	put64(FADT + 120, 0xcf9);
	ram[FADT + 128] = 0x0f;
	put64(FADT + 140, DSDT);
	table(FADT, "FACP", 244);
	memcpy(ram + DSDT + 700, s5, sizeof(s5));
	table(DSDT, "DSDT", 900);
	put64(HPET + 44, 0xfed00000);
	table(HPET, "HPET", 56);
}

TEST(finds_everything)
{
	struct acpi_info a;

	machine();
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 3);
	CHECK_EQ(a.apic_id[1], 4);
	CHECK_EQ(a.apic_id[2], 0x200);
	CHECK_EQ(a.lapic_base, 0xfee00000);
	CHECK_EQ(a.nr_ioapics, 1);
	CHECK_EQ(a.ioapic[0].base, 0xfec00000);
	CHECK_EQ(a.hpet_base, 0xfed00000);
	CHECK_EQ(a.pm_timer_port, 0x608);
	CHECK_EQ(a.pm1a_cnt, 0x604);
	CHECK_EQ(a.smi_cmd, 0xb2);
	CHECK_EQ(a.acpi_enable, 0xf1);
	CHECK(a.has_s5);
	CHECK_EQ(a.s5_a, 5);
	CHECK_EQ(a.s5_b, 6);
	CHECK(a.has_reset);
	CHECK_EQ(a.reset_address, 0xcf9);
	CHECK_EQ(a.reset_value, 0x0f);
}

TEST(overrides)
{
	struct acpi_info a;

	machine();
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.isa[0].gsi, 2);
	CHECK(!a.isa[0].low && !a.isa[0].level); /* conforms to the bus: ISA is active high, edge */
	CHECK_EQ(a.isa[9].gsi, 9);
	CHECK(!a.isa[9].low && a.isa[9].level);
	CHECK_EQ(a.isa[11].gsi, 20);
	CHECK(a.isa[11].low && a.isa[11].level);
	CHECK_EQ(a.isa[1].gsi, 1);
}

TEST(rsdp_searched)
{
	struct acpi_info a;

	machine();
	CHECK(acpi_parse(0, ram_read, &a));
	CHECK(acpi_parse(0x5000, ram_read, &a)); /* a wrong hint does no harm */
	memcpy(ram + 0x9fc10, ram + RSDP, 36);
	memset(ram + RSDP, 0, 36);
	ram[0x40e] = 0xc0, ram[0x40f] = 0x9f;
	CHECK(acpi_parse(0, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 3);
	memset(ram + 0x9fc10, 0, 36);
	CHECK(!acpi_parse(0, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 0);
}

TEST(falls_back_to_rsdt)
{
	struct acpi_info a;

	machine();
	ram[XSDT + 40] ^= 1; /* checksum */
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 0);
	CHECK_EQ(a.pm_timer_port, 0x608);
}

TEST(wrong_tables_are_ignored)
{
	struct acpi_info a;

	machine();
	ram[MADT + 50] ^= 1;
	put64(XSDT + 52, 0xfffffffffffffff0ull); /* wraps */
	table(XSDT, "XSDT", 60);
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 0);
	CHECK_EQ(a.hpet_base, 0);
	CHECK(a.has_s5);
	machine();
	put32(MADT + 4, 0xffffffff); /* longer than memory */
	put32(FADT + 4, 20);         /* shorter than a header */
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 0);
	CHECK_EQ(a.pm_timer_port, 0);
}

TEST(madt_entry_of_length_zero_ends_it)
{
	static const uint8_t zero[] = { 0, 0 }, cpu[] = { 0, 8, 9, 9, 1, 0, 0, 0 };
	struct acpi_info a;

	machine();
	madt_add(zero, 2);
	madt_add(cpu, 8);
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, 3);
}

TEST(more_cpus_than_we_use)
{
	struct acpi_info a;

	machine();
	for (unsigned i = 0; i < 200; i++) {
		uint8_t cpu[] = { 0, 8, 0, (uint8_t)i, 1, 0, 0, 0 };

		madt_add(cpu, 8);
	}
	CHECK(acpi_parse(RSDP, ram_read, &a));
	CHECK_EQ(a.nr_cpus, MAX_CPUS);
	CHECK(a.cpus_beyond > 0);
}

static uint32_t random_next(void)
{
	static uint32_t seed = 1;

	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Random damage with the checksums made good again, so that the parsers behind them are reached. */
TEST(random_damage)
{
	static const uint32_t tables[] = { XSDT, RSDT, MADT, FADT, DSDT, HPET };
	for (unsigned round = 0; round < 20000; round++) {
		struct acpi_info a;

		machine();
		for (unsigned i = 0; i < 1 + round % 8; i++) {
			uint32_t t = tables[random_next() % ARRAY_SIZE(tables)];
			uint8_t value = (uint8_t)random_next();
			uint32_t length;

			ram[t + random_next() % (t == DSDT ? 900 : 260)] = value;
			memcpy(&length, ram + t + 4, 4);
			if (length >= 36 && length < 0x1000)
				checksum(t, length, 9);
		}
		reads = 0;
		acpi_parse(RSDP, ram_read, &a);
		CHECK(a.nr_cpus <= MAX_CPUS && a.nr_ioapics <= ACPI_MAX_IOAPICS);
		CHECK(reads < 4000000);
	}
}
