/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the ACPI static tables (ACPI 6.5, chapter 5). Every table passes table_check() (length, checksum) before its
 * fields are used; after that, reads stay below its length. Nothing is kept but what acpi_info holds.
 */
#include "arch/x86/acpi.h"

#define TABLE_MAX MIB(4)      /* longer ones are refused: bounds every loop below */
#define TABLES_MAX 256
#define HEADER_SIZE 36

struct reader {
	acpi_read_fn read;
	struct acpi_info *info;
};
struct table {
	uint64_t pa;
	uint32_t length;
	char signature[4];
};

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16; }
static uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32; }

static bool read_phys(const struct reader *r, uint64_t pa, void *buf, size_t n) { return pa + n > pa && r->read(pa, buf, n); }

/* Sum of the bytes is 0 modulo 256. */
static bool checksum_ok(const struct reader *r, uint64_t pa, uint32_t n)
{
	uint8_t buf[256], sum = 0;

	while (n) {
		uint32_t chunk = MIN(n, (uint32_t)sizeof(buf));

		if (!read_phys(r, pa, buf, chunk))
			return false;
		for (uint32_t i = 0; i < chunk; i++)
			sum = (uint8_t)(sum + buf[i]);
		pa += chunk;
		n -= chunk;
	}
	return sum == 0;
}

static bool table_check(const struct reader *r, uint64_t pa, struct table *t)
{
	uint8_t h[HEADER_SIZE];

	if (!pa || !read_phys(r, pa, h, sizeof(h)))
		return false;
	t->pa = pa;
	t->length = get32(h + 4);
	memcpy(t->signature, h, 4);
	return t->length >= HEADER_SIZE && t->length <= TABLE_MAX && checksum_ok(r, pa, t->length);
}

/* n bytes at offset ofs of a checked table; false beyond its end. */
static bool table_read(const struct reader *r, const struct table *t, uint32_t ofs, void *buf, uint32_t n)
{
	return ofs <= t->length && n <= t->length - ofs && read_phys(r, t->pa + ofs, buf, n);
}

/* ---- MADT ---- */

static void madt_cpu(struct acpi_info *info, uint32_t id, uint32_t flags)
{
	if (!(flags & 1))
		return;
	for (unsigned i = 0; i < info->nr_cpus; i++)
		if (info->apic_id[i] == id) /* listed both as LAPIC and as x2APIC */
			return;
	if (info->nr_cpus == MAX_CPUS)
		info->cpus_beyond++;
	else
		info->apic_id[info->nr_cpus++] = id;
}

static void madt_override(struct acpi_info *info, const uint8_t *e)
{
	unsigned source = e[3], polarity = get16(e + 8) & 3, trigger = get16(e + 8) >> 2 & 3;

	if (e[2] != 0 || source >= ACPI_ISA_LINES)
		return;
	info->isa[source].gsi = get32(e + 4);
	info->isa[source].low = polarity == 3;
	info->isa[source].level = trigger == 3;
}

static void madt_entry(struct acpi_info *info, const uint8_t *e, uint8_t len)
{
	switch (e[0]) {
	case 0: /* local APIC */
		if (len >= 8)
			madt_cpu(info, e[3], get32(e + 4));
		break;
	case 1: /* IOAPIC */
		if (len >= 12 && info->nr_ioapics < ACPI_MAX_IOAPICS && get32(e + 4)) {
			info->ioapic[info->nr_ioapics].base = get32(e + 4);
			info->ioapic[info->nr_ioapics++].gsi_base = get32(e + 8);
		}
		break;
	case 2: /* interrupt source override */
		if (len >= 10)
			madt_override(info, e);
		break;
	case 5: /* 64-bit address of the local APICs */
		if (len >= 12 && get64(e + 4))
			info->lapic_base = get64(e + 4);
		break;
	case 9: /* x2APIC */
		if (len >= 16)
			madt_cpu(info, get32(e + 4), get32(e + 8));
		break;
	default:
		break;
	}
}

static void madt_parse(const struct reader *r, const struct table *t)
{
	uint8_t e[16] = { 0 };

	if (r->info->lapic_base || !table_read(r, t, 36, e, 8)) /* the first MADT counts */
		return;
	r->info->lapic_base = get32(e);
	for (uint32_t ofs = 44; table_read(r, t, ofs, e, 2) && e[1] >= 2; ofs += e[1]) {
		uint32_t n = MIN((uint32_t)e[1], (uint32_t)sizeof(e));

		if (!table_read(r, t, ofs, e, n))
			break;
		madt_entry(r->info, e, (uint8_t)n);
	}
}

/* ---- FADT, DSDT ---- */

/* One AML integer of a package; 0 bytes used when it is none. */
static unsigned aml_integer(const uint8_t *p, uint8_t *v)
{
	switch (p[0]) {
	case 0x00: case 0x01: /* ZeroOp, OneOp */
		*v = p[0];
		return 1;
	case 0x0a: /* BytePrefix */
		*v = p[1];
		return 2;
	case 0x0b: /* WordPrefix */
		*v = p[1];
		return 3;
	case 0x0c: /* DWordPrefix */
		*v = p[1];
		return 5;
	default:
		return 0;
	}
}

/* p: 16 bytes behind the name _S5_: PackageOp, length, count, SLP_TYPa, SLP_TYPb. */
static bool s5_package(const uint8_t *p, struct acpi_info *info)
{
	unsigned used;

	if (*p++ != 0x12)
		return false;
	p += 1 + (*p >> 6); /* package length: 1 to 4 bytes */
	if (*p++ < 2)
		return false;
	used = aml_integer(p, &info->s5_a);
	if (!used || !aml_integer(p + used, &info->s5_b))
		return false;
	info->has_s5 = true;
	return true;
}

/* Looks for Name(_S5_, Package…) without interpreting AML, as every small system does: the name is reserved. */
static void s5_search(const struct reader *r, const struct table *t)
{
	uint8_t buf[512];
	const uint32_t need = 2 + 4 + 20; /* NameOp, root prefix, name, and what s5_package() looks at */

	for (uint32_t ofs = HEADER_SIZE; ofs < t->length && !r->info->has_s5; ofs += sizeof(buf) - need) {
		uint32_t n = MIN((uint32_t)sizeof(buf), t->length - ofs);

		memset(buf, 0, sizeof(buf));
		if (!table_read(r, t, ofs, buf, n))
			return;
		for (uint32_t i = 2; i + need - 2 <= sizeof(buf); i++)
			if (!memcmp(buf + i, "_S5_", 4) && (buf[i - 1] == 0x08 || (buf[i - 1] == '\\' && buf[i - 2] == 0x08)) &&
			    s5_package(buf + i + 4, r->info))
				return;
	}
}

/* The port of a FADT register block: the 64-bit form when it is a port, else the old one. */
static uint16_t fadt_port(const uint8_t *f, uint32_t length, unsigned old, unsigned gas)
{
	uint64_t port = get32(f + old);

	if (length >= gas + 12 && f[gas] == 1 && get64(f + gas + 4))
		port = get64(f + gas + 4);
	return port <= 0xffff ? (uint16_t)port : 0;
}

static void fadt_parse(const struct reader *r, const struct table *t)
{
	struct acpi_info *info = r->info;
	uint8_t f[244] = { 0 };
	uint32_t n = MIN(t->length, (uint32_t)sizeof(f));
	struct table dsdt;

	if (n < 116 || !table_read(r, t, 0, f, n))
		return;
	info->pm1a_cnt = fadt_port(f, n, 64, 172);
	info->pm1b_cnt = fadt_port(f, n, 68, 184);
	info->pm_timer_port = f[91] == 4 ? fadt_port(f, n, 76, 208) : 0;
	info->smi_cmd = get32(f + 48) <= 0xffff ? (uint16_t)get32(f + 48) : 0;
	info->acpi_enable = f[52];
	if (n >= 129 && (get32(f + 112) & BIT(10)) && f[116] <= 1 && get64(f + 120)) {
		info->reset_space = f[116];
		info->reset_address = get64(f + 120);
		info->reset_value = f[128];
		info->has_reset = info->reset_space == 0 || info->reset_address <= 0xffff;
	}
	if ((n >= 148 && table_check(r, get64(f + 140), &dsdt)) || table_check(r, get32(f + 40), &dsdt))
		s5_search(r, &dsdt);
}

static void hpet_parse(const struct reader *r, const struct table *t)
{
	uint8_t gas[12];

	if (table_read(r, t, 40, gas, sizeof(gas)) && gas[0] == 0)
		r->info->hpet_base = get64(gas + 4);
}

/* ---- the roots ---- */

static void table_use(const struct reader *r, const struct table *t)
{
	if (!memcmp(t->signature, "APIC", 4))
		madt_parse(r, t);
	else if (!memcmp(t->signature, "FACP", 4))
		fadt_parse(r, t);
	else if (!memcmp(t->signature, "HPET", 4))
		hpet_parse(r, t);
	else if (!memcmp(t->signature, "SSDT", 4))
		s5_search(r, t);
}

/* RSDT (entries of 4 bytes) or XSDT (8). */
static bool root_walk(const struct reader *r, uint64_t pa, const char *signature, unsigned entry)
{
	struct table root, t;
	uint8_t e[8] = { 0 };

	if (!table_check(r, pa, &root) || memcmp(root.signature, signature, 4))
		return false;
	for (unsigned i = 0; i < TABLES_MAX && table_read(r, &root, HEADER_SIZE + i * entry, e, entry); i++)
		if (table_check(r, entry == 8 ? get64(e) : get32(e), &t))
			table_use(r, &t);
	return true;
}

static bool rsdp_ok(const struct reader *r, uint64_t pa, uint8_t p[36])
{
	memset(p, 0, 36);
	if (!read_phys(r, pa, p, 20) || memcmp(p, "RSD PTR ", 8) || !checksum_ok(r, pa, 20))
		return false;
	if (p[15] >= 2 && (!read_phys(r, pa, p, 36) || !checksum_ok(r, pa, 36)))
		p[15] = 0; /* the old part is sound: use that */
	return true;
}

static bool rsdp_search(const struct reader *r, uint64_t from, uint64_t to, uint8_t p[36])
{
	for (uint64_t pa = ALIGN_UP(from, 16); pa < to; pa += 16)
		if (rsdp_ok(r, pa, p))
			return true;
	return false;
}

static bool rsdp_find(const struct reader *r, uint64_t hint, uint8_t p[36])
{
	uint8_t seg[2];

	if (hint && rsdp_ok(r, hint, p))
		return true;
	if (read_phys(r, 0x40e, seg, 2) && get16(seg)) { /* first KiB of the extended BIOS data area */
		uint64_t ebda = (uint64_t)get16(seg) << 4;

		if (rsdp_search(r, ebda, ebda + 1024, p))
			return true;
	}
	return rsdp_search(r, 0xe0000, 0x100000, p);
}

bool acpi_parse(uint64_t rsdp, acpi_read_fn read, struct acpi_info *info)
{
	struct reader r = { read, info };
	uint8_t p[36];

	memset(info, 0, sizeof(*info));
	for (unsigned i = 0; i < ACPI_ISA_LINES; i++)
		info->isa[i].gsi = i;
	if (!rsdp_find(&r, rsdp, p))
		return false;
	if (p[15] >= 2 && root_walk(&r, get64(p + 24), "XSDT", 8))
		return true;
	return root_walk(&r, get32(p + 16), "RSDT", 4);
}
