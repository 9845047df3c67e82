/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit.h"
#include "user/vmx/acpi.h"

#include <stdbool.h>
#include <unistd.h>

#define BASE 0xe0000
static uint8_t buf[0x20000];

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t get64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static size_t build(uint32_t vcpus)
{
	uint32_t id[32];

	for (uint32_t i = 0; i < 32; i++)
		id[i] = i;
	return acpi_build(&(struct acpi_config){ vcpus, id }, BASE, buf, sizeof(buf));
}

static const uint8_t *table(const char *signature)
{
	const uint8_t *xsdt = buf + (get64(buf + 24) - BASE);

	for (unsigned i = 36; i < get32(xsdt + 4); i += 8)
		if (!memcmp(buf + (get64(xsdt + i) - BASE), signature, 4))
			return buf + (get64(xsdt + i) - BASE);
	return NULL;
}

TEST(every_table_is_found_and_sums_to_zero)
{
	for (uint32_t n = 1; n <= 32; n += 31) {
		const uint8_t *fadt, *madt, *dsdt, *rsdt, *xsdt;

		CHECK(build(n) > 0);
		CHECK(!memcmp(buf, "RSD PTR ", 8));
		CHECK_EQ(sum(buf, 20), 0);
		CHECK_EQ(sum(buf, 36), 0);
		rsdt = buf + (get32(buf + 16) - BASE);
		xsdt = buf + (get64(buf + 24) - BASE);
		fadt = table("FACP");
		madt = table("APIC");
		CHECK(fadt && madt);
		dsdt = buf + (get64(fadt + 140) - BASE);
		CHECK_EQ(get32(fadt + 40), get64(fadt + 140));
		CHECK(!memcmp(dsdt, "DSDT", 4) && !memcmp(rsdt, "RSDT", 4) && !memcmp(xsdt, "XSDT", 4));
		CHECK_EQ(get32(fadt + 4), 268);
		CHECK_EQ(sum(fadt, get32(fadt + 4)), 0);
		CHECK_EQ(sum(madt, get32(madt + 4)), 0);
		CHECK_EQ(sum(dsdt, get32(dsdt + 4)), 0);
		CHECK_EQ(sum(rsdt, get32(rsdt + 4)), 0);
		CHECK_EQ(sum(xsdt, get32(xsdt + 4)), 0);
		CHECK_EQ(get32(fadt + 64), 0x604);
	}
}

TEST(madt_lists_every_cpu_once)
{
	const uint8_t *madt;
	unsigned cpus = 0, others = 0;

	build(32);
	madt = table("APIC");
	for (unsigned i = 44; i < get32(madt + 4); i += madt[i + 1]) {
		if (madt[i] == 0)
			CHECK_EQ(madt[i + 3], cpus++);
		else
			others++;
		CHECK(madt[i + 1] >= 6);
		if (!madt[i + 1])
			break;
	}
	CHECK_EQ(cpus, 32);
	CHECK_EQ(others, 4);
}

TEST(too_small_a_place_is_refused)
{
	uint32_t id[1] = { 0 };

	CHECK_EQ(acpi_build(&(struct acpi_config){ 1, id }, BASE, buf, 500), 0);
}

/* Where ACPICA's tools are installed, they must understand the DSDT. */
TEST(iasl_reads_the_dsdt)
{
	const uint8_t *dsdt;
	FILE *f;

	if (access("/usr/bin/iasl", X_OK))
		return;
	build(4);
	dsdt = buf + (get64(table("FACP") + 140) - BASE);
	f = fopen("build/unit/dsdt.aml", "w");
	CHECK(f && fwrite(dsdt, 1, get32(dsdt + 4), f) == get32(dsdt + 4));
	if (f)
		fclose(f);
	CHECK_EQ(system("cd build/unit && iasl -d dsdt.aml >iasl.log 2>&1 && iasl -p dsdt-again dsdt.dsl >>iasl.log 2>&1"), 0);
}
