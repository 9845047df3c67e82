/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: see acpi.h. Layouts: ACPI 6.4, section 5.2. */
#include "user/vmx/acpi.h"
#include "user/vmx/aml.h"
#include "user/vmx/chipset.h"

#include <stdio.h>
#include <string.h>

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct header) == 36, "ACPI table header");

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "RSDP");

struct gas { uint8_t space, width, offset, access; uint64_t address; } __attribute__((packed));
struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1, sleep_control, sleep_status;
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 268, "FADT of ACPI 5.0");
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_SLP_BUTTON (1u << 5)   /* no fixed sleep button */
#define FADT_FIX_RTC (1u << 6)      /* no RTC wake status in PM1 */
#define FADT_RESET_REG (1u << 10)
#define BOOT_LEGACY (1u << 0)       /* ISA devices that a user sees */
#define BOOT_NO_VGA (1u << 2)       /* bit 1 clear: no 8042 */

struct facs { char signature[4]; uint32_t length, hardware_signature, waking_vector, global_lock, flags; uint64_t x_waking; uint8_t version, reserved[31]; } __attribute__((packed));
_Static_assert(sizeof(struct facs) == 64, "FACS");

struct builder { uint64_t base; uint8_t *buf; size_t cap, len; bool full; };

static uint8_t checksum(const void *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
	return (uint8_t)-sum;
}

/* Room for n bytes at the next 64-byte boundary; its guest-physical address in *gpa. */
static void *reserve(struct builder *b, size_t n, uint64_t *gpa)
{
	size_t at = (b->len + 63) & ~(size_t)63;
	void *p = b->buf + at;

	if (at > b->cap || n > b->cap - at) {
		b->full = true;
		return NULL;
	}
	memset(p, 0, n);
	b->len = at + n;
	*gpa = b->base + at;
	return p;
}

static void fill_header(struct header *h, const char *signature, uint8_t revision, size_t length)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)length;
	h->revision = revision;
	memcpy(h->oem_id, "MICA  ", 6);
	memcpy(h->oem_table_id, "MICAVM  ", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "MICA", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = checksum(h, length);
}

/* ---- DSDT ---- */

static void add_processors(struct aml *a, uint32_t vcpus)
{
	for (uint32_t i = 0; i < vcpus; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name(a, "_UID");
		aml_integer(a, i);
		aml_end(a);
	}
}

static void add_isa_device(struct aml *a, const char *name, const char *hid, unsigned uid, uint16_t port, uint8_t count, unsigned irq)
{
	struct aml_resources r = { .len = 0 };

	res_io(&r, port, count);
	res_irq(&r, irq);
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_eisaid(a, hid);
	aml_name(a, "_UID");
	aml_integer(a, uid);
	aml_name(a, "_CRS");
	aml_resources(a, &r);
	aml_end(a);
}

static void add_pci_root(struct aml *a)
{
	struct aml_resources r = { .len = 0 };

	res_word_bus(&r, 0, 0xff);
	res_io(&r, 0xcf8, 8);
	res_word_io(&r, 0, 0xcf7);
	res_word_io(&r, 0xd00, 0xffff);
	res_dword_memory(&r, 0xa0000, 0xbffff, true);
	res_dword_memory(&r, 0xc0000000, 0xfebfffff, false);
	aml_device(a, "PCI0");
	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0A03");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	aml_name(a, "_BBN");
	aml_integer(a, 0);
	aml_name(a, "_CRS");
	aml_resources(a, &r);
	aml_device(a, "ISA_");
	aml_name(a, "_ADR");
	aml_integer(a, 0x00010000);
	add_isa_device(a, "COM1", "PNP0501", 1, 0x3f8, 8, 4);
	add_isa_device(a, "RTC_", "PNP0B00", 0, 0x70, 2, 8);
	aml_end(a);
	aml_end(a);
}

static uint64_t add_dsdt(struct builder *b, const struct acpi_config *c)
{
	static uint8_t code[16384];
	struct aml a = { .buf = code, .cap = sizeof(code) };
	struct header *h;
	uint64_t gpa = 0;

	aml_name(&a, "\\_S5_");
	aml_package(&a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_integer(&a, i < 2 ? SLEEP_TYPE_S5 : 0);
	aml_end(&a);
	aml_scope(&a, "\\_SB_");
	add_processors(&a, c->vcpus);
	add_pci_root(&a);
	aml_end(&a);
	h = reserve(b, sizeof(*h) + a.len, &gpa);
	if (!h || a.overflow) {
		b->full = true;
		return 0;
	}
	memcpy(h + 1, code, a.len);
	fill_header(h, "DSDT", 2, sizeof(*h) + a.len);
	return gpa;
}

/* ---- FADT, FACS, MADT ---- */

static struct gas io_register(uint64_t port, uint8_t bits, uint8_t access) { return (struct gas){ 1, bits, 0, access, port }; }

static uint64_t add_facs(struct builder *b)
{
	uint64_t gpa = 0;
	struct facs *f = reserve(b, sizeof(*f), &gpa);

	if (f) {
		memcpy(f->signature, "FACS", 4);
		f->length = sizeof(*f);
		f->version = 2;
	}
	return gpa;
}

static uint64_t add_fadt(struct builder *b, uint64_t dsdt, uint64_t facs)
{
	uint64_t gpa = 0;
	struct fadt *f = reserve(b, sizeof(*f), &gpa);

	if (!f)
		return 0;
	f->facs = (uint32_t)facs;
	f->dsdt = (uint32_t)dsdt;
	f->x_dsdt = dsdt;
	f->sci = SCI_IRQ;
	f->smi_cmd = SMI_CMD;
	f->acpi_enable = ACPI_ENABLE;
	f->acpi_disable = ACPI_DISABLE;
	f->pm1a_evt = PM_BASE;
	f->pm1a_cnt = PM_BASE + 4;
	f->pm_tmr = PM_BASE + 8;
	f->pm1_evt_len = 4;
	f->pm1_cnt_len = 2;
	f->pm_tmr_len = 4;
	f->c2_latency = f->c3_latency = 0xfff; /* not supported */
	f->century = 0x32;
	f->boot_arch = BOOT_LEGACY | BOOT_NO_VGA;
	f->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG;
	f->reset = io_register(RESET_PORT, 8, 1);
	f->reset_value = RESET_VALUE;
	f->x_pm1a_evt = io_register(PM_BASE, 32, 2);
	f->x_pm1a_cnt = io_register(PM_BASE + 4, 16, 2);
	f->x_pm_tmr = io_register(PM_BASE + 8, 32, 3);
	fill_header(&f->h, "FACP", 5, sizeof(*f));
	return gpa;
}

static void put(uint8_t **p, const void *v, size_t n)
{
	memcpy(*p, v, n);
	*p += n;
}

static uint64_t add_madt(struct builder *b, const struct acpi_config *c)
{
	size_t n = sizeof(struct header) + 8 + c->vcpus * 8 + 12 + 10 + 10 + 6;
	const uint32_t head[2] = { 0xfee00000, 1 }; /* local APICs; a PIC is there too */
	uint64_t gpa = 0;
	struct header *h = reserve(b, n, &gpa);
	uint8_t *p;

	if (!h)
		return 0;
	p = (uint8_t *)(h + 1);
	put(&p, head, 8);
	for (uint32_t i = 0; i < c->vcpus; i++)
		put(&p, (const uint8_t[]){ 0, 8, (uint8_t)i, (uint8_t)c->apic_id[i], 1, 0, 0, 0 }, 8);
	put(&p, (const uint8_t[]){ 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 }, 12);     /* IOAPIC 0 at 0xfec00000, GSI 0 on */
	put(&p, (const uint8_t[]){ 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 }, 10);                  /* IRQ 0 is GSI 2 */
	put(&p, (const uint8_t[]){ 2, 10, 0, SCI_IRQ, SCI_IRQ, 0, 0, 0, 0x0d, 0 }, 10);   /* SCI: level, high */
	put(&p, (const uint8_t[]){ 4, 6, 0xff, 0, 0, 1 }, 6);                             /* NMI on LINT1 of all */
	fill_header(h, "APIC", 3, n);
	return gpa;
}

static void add_roots(struct builder *b, struct rsdp *r, uint64_t fadt, uint64_t madt)
{
	uint64_t rsdt = 0, xsdt = 0;
	struct header *h32 = reserve(b, sizeof(*h32) + 8, &rsdt), *h64 = reserve(b, sizeof(*h64) + 16, &xsdt);
	const uint32_t e32[2] = { (uint32_t)fadt, (uint32_t)madt };
	const uint64_t e64[2] = { fadt, madt };

	if (b->full)
		return;
	memcpy(h32 + 1, e32, sizeof(e32));
	memcpy(h64 + 1, e64, sizeof(e64));
	fill_header(h32, "RSDT", 1, sizeof(*h32) + sizeof(e32));
	fill_header(h64, "XSDT", 1, sizeof(*h64) + sizeof(e64));
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "MICA  ", 6);
	r->revision = 2;
	r->rsdt = (uint32_t)rsdt;
	r->length = sizeof(*r);
	r->xsdt = xsdt;
	r->checksum = checksum(r, 20);
	r->extended_checksum = checksum(r, sizeof(*r));
}

size_t acpi_build(const struct acpi_config *c, uint64_t base, uint8_t *buf, size_t cap)
{
	struct builder b = { .base = base, .buf = buf, .cap = cap };
	uint64_t gpa, dsdt, fadt, madt;
	struct rsdp *r = reserve(&b, sizeof(*r), &gpa);

	if (!r)
		return 0;
	dsdt = add_dsdt(&b, c);
	fadt = add_fadt(&b, dsdt, add_facs(&b));
	madt = add_madt(&b, c);
	add_roots(&b, r, fadt, madt);
	return b.full ? 0 : b.len;
}
