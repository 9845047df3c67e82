/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: see chipset.h. PCI Local Bus 3.0, sections 3.2.2.3 and 6.1; Intel 82441FX and 82371AB data sheets; ACPI 6.4,
 * section 4.8.3 (PM1 registers).
 */
#include "user/vmx/chipset.h"

#include <string.h>

#define VERSION 1
#define STS_PWRBTN 0x100u
#define STS_ALL (STS_PWRBTN | 1u | 0x20u | 0x400u | 0x8000u)
#define EN_ALL (0x100u | 1u | 0x20u | 0x400u)
#define CNT_SCI_EN 1u
#define CNT_SLP_EN 0x2000u

/* ---- PCI ---- */

static const struct { uint8_t slot, function; uint16_t vendor, device; uint8_t revision; uint32_t class; uint8_t header; } function[PCI_FUNCTIONS] = {
	[PCI_HOST] = { 0, 0, 0x8086, 0x1237, 2, 0x060000, 0x00 },
	[PCI_ISA] = { 1, 0, 0x8086, 0x7000, 0, 0x060100, 0x80 },
	[PCI_PM] = { 1, 3, 0x8086, 0x7113, 3, 0x068000, 0x00 },
};

static void put16(uint8_t *p, unsigned v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }

static void pci_reset(struct chipset *c)
{
	memset(c->pci, 0, sizeof(c->pci));
	for (unsigned i = 0; i < PCI_FUNCTIONS; i++) {
		uint8_t *p = c->pci[i];

		put16(p, function[i].vendor);
		put16(p + 2, function[i].device);
		p[8] = function[i].revision;
		p[9] = (uint8_t)function[i].class;
		put16(p + 10, function[i].class >> 8);
		p[0x0e] = function[i].header;
		put16(p + 0x2c, 0x15ad); /* subsystem: VMware's, as guests of ESXi see it */
		put16(p + 0x2e, 0x1976);
		p[6] = i == PCI_HOST ? 0 : 0x80;
		p[7] = 2;                /* status: medium DEVSEL */
	}
	c->pci[PCI_HOST][4] = 6;         /* memory and bus master, hard-wired */
	c->pci[PCI_ISA][4] = 7;
	c->pci[PCI_PM][4] = 1;
	memset(c->pci[PCI_ISA] + 0x60, 0x80, 4); /* PIRQA..D: not routed */
	put16(c->pci[PCI_PM] + 0x40, PM_BASE | 1);
	c->pci[PCI_PM][0x80] = 1;        /* PMREGMISC: the I/O space is on */
}

/* The configuration bytes that the address register names, or NULL for a function that is not there. */
static uint8_t *pci_config(struct chipset *c)
{
	uint32_t a = c->pci_address;

	if (!(a & 0x80000000u) || (a >> 16 & 0xff))
		return NULL;
	for (unsigned i = 0; i < PCI_FUNCTIONS; i++)
		if ((a >> 11 & 31) == function[i].slot && (a >> 8 & 7) == function[i].function)
			return c->pci[i];
	return NULL;
}

/* What a guest may change: cache line size, latency, interrupt line, PIIX's routing, the host bridge's own registers. */
static bool pci_writable(const struct chipset *c, const uint8_t *config, unsigned reg)
{
	if (reg == 0x0c || reg == 0x0d || reg == 0x3c)
		return true;
	if (config == c->pci[PCI_ISA])
		return reg >= 0x40;
	return config == c->pci[PCI_HOST] && reg >= 0x50;
}

static uint32_t pci_in(void *chipset, uint16_t port, unsigned size)
{
	struct chipset *c = chipset;
	uint32_t v = ~0u;

	pthread_mutex_lock(&c->lock);
	if (port >= 0xcfc) {
		const uint8_t *config = pci_config(c);
		unsigned reg = (c->pci_address & 0xfc) + (port & 3);

		if (config && reg + size <= 256) {
			v = 0;
			memcpy(&v, config + reg, size);
		}
	} else if (port == 0xcf8 && size == 4) {
		v = c->pci_address;
	} else if (port == RESET_PORT && size == 1) {
		v = c->reset_control;
	}
	pthread_mutex_unlock(&c->lock);
	return v;
}

static void pci_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;

	pthread_mutex_lock(&c->lock);
	if (port >= 0xcfc) {
		uint8_t *config = pci_config(c);
		unsigned reg = (c->pci_address & 0xfc) + (port & 3);

		for (unsigned i = 0; config && i < size && reg + i < 256; i++)
			if (pci_writable(c, config, reg + i))
				config[reg + i] = (uint8_t)(value >> (8 * i));
	} else if (port == 0xcf8 && size == 4) {
		c->pci_address = value & 0x80fffffc;
	} else if (port == RESET_PORT && size == 1) {
		c->reset_control = value & 2;
		if (value & 4)
			c->host->reset(c->host->ctx);
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- ACPI PM1 and the SMI command port ---- */

static void update_sci(struct chipset *c)
{
	bool level = (c->pm1_control & CNT_SCI_EN) && (c->pm1_status & c->pm1_enable);

	if (level != c->sci_level) {
		c->sci_level = level;
		c->host->set_irq(c->host->ctx, SCI_IRQ, level);
	}
}

static uint32_t pm_in(void *chipset, uint16_t port, unsigned size)
{
	struct chipset *c = chipset;
	uint16_t reg[4] = { 0 };
	uint32_t v = 0;
	unsigned at = port - PM_BASE;

	pthread_mutex_lock(&c->lock);
	reg[0] = c->pm1_status;
	reg[1] = c->pm1_enable;
	reg[2] = c->pm1_control;
	pthread_mutex_unlock(&c->lock);
	if (at + size <= sizeof(reg))
		memcpy(&v, (const uint8_t *)reg + at, size);
	return v;
}

static void pm_write(struct chipset *c, unsigned reg, uint16_t value)
{
	switch (reg) {
	case 0:
		c->pm1_status &= (uint16_t)~value; /* write one to clear */
		break;
	case 2:
		c->pm1_enable = value & EN_ALL;
		break;
	case 4:
		c->pm1_control = (uint16_t)((c->pm1_control & CNT_SCI_EN) | (value & 0x1c02)); /* SCI_EN is the SMI handler's */
		if ((value & CNT_SLP_EN) && (value >> 10 & 7) == SLEEP_TYPE_S5)
			c->host->power_off(c->host->ctx);
		break;
	}
	update_sci(c);
}

/* Bytes change their half of a register; the other half of a status register is left alone. */
static void pm_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;
	unsigned at = port - PM_BASE;

	pthread_mutex_lock(&c->lock);
	if (size == 1) {
		const uint16_t old[3] = { 0, c->pm1_enable, c->pm1_control };
		unsigned shift = at % 2 * 8;

		if (at < 6)
			pm_write(c, at & ~1u, (uint16_t)((old[at / 2] & ~(0xffu << shift)) | (value & 0xff) << shift));
	} else {
		for (unsigned i = 0; i < size; i += 2)
			pm_write(c, at + i, (uint16_t)(value >> (8 * i)));
	}
	pthread_mutex_unlock(&c->lock);
}

void chipset_power_button(struct chipset *c)
{
	pthread_mutex_lock(&c->lock);
	c->pm1_status |= STS_PWRBTN;
	update_sci(c);
	pthread_mutex_unlock(&c->lock);
}

static uint32_t smi_in(void *chipset, uint16_t port, unsigned size)
{
	struct chipset *c = chipset;

	return c->smi[port & 1];
}

static void smi_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;

	pthread_mutex_lock(&c->lock);
	c->smi[port & 1] = (uint8_t)value;
	if (port == SMI_CMD && value == ACPI_ENABLE)
		c->pm1_control |= CNT_SCI_EN;
	if (port == SMI_CMD && value == ACPI_DISABLE)
		c->pm1_control &= (uint16_t)~CNT_SCI_EN;
	update_sci(c);
	pthread_mutex_unlock(&c->lock);
}

/* ---- the other ways out ---- */

static uint32_t port92_in(void *chipset, uint16_t port, unsigned size)
{
	struct chipset *c = chipset;

	return c->port92 | 2u; /* A20 is always on */
}

static void port92_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;

	pthread_mutex_lock(&c->lock);
	if ((value & 1) && !(c->port92 & 1))
		c->host->reset(c->host->ctx);
	c->port92 = (uint8_t)(value & ~1u);
	pthread_mutex_unlock(&c->lock);
}

/* No keyboard controller is there; its status says "idle", so that code which waits for it before pulsing reset does not wait. */
static uint32_t kbd_in(void *chipset, uint16_t port, unsigned size) { return port == 0x64 ? 0x1c : 0; }

static void kbd_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;

	pthread_mutex_lock(&c->lock);
	if (port == 0x64) {
		c->kbd_output_port = value == 0xd1;
		if ((value & 0xf1) == 0xf0) /* pulse output lines; line 0 is reset */
			c->host->reset(c->host->ctx);
	} else {
		if (c->kbd_output_port && !(value & 1))
			c->host->reset(c->host->ctx);
		c->kbd_output_port = false;
	}
	pthread_mutex_unlock(&c->lock);
}

static uint32_t debug_in(void *chipset, uint16_t port, unsigned size) { return 0; }
static void debug_out(void *chipset, uint16_t port, unsigned size, uint32_t value)
{
	struct chipset *c = chipset;

	c->host->debug_exit(c->host->ctx, (int)(((value << 1) | 1) & 255));
}

/* ---- the whole ---- */

void chipset_init(struct chipset *c, const struct dev_host *host)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->host = host;
	pci_reset(c);
}

void chipset_reset(struct chipset *c)
{
	pthread_mutex_lock(&c->lock);
	pci_reset(c);
	c->pci_address = 0;
	c->pm1_status = c->pm1_enable = c->pm1_control = 0;
	memset(c->smi, 0, sizeof(c->smi));
	c->reset_control = c->port92 = 0;
	c->kbd_output_port = false;
	update_sci(c);
	pthread_mutex_unlock(&c->lock);
}

bool chipset_claim(struct chipset *c, struct bus *b, bool debug_exit)
{
	const struct bus_claim claims[] = {
		{ pci_in, pci_out, c, 0xcf8, 8, 4 },
		{ pm_in, pm_out, c, PM_BASE, 8, 4 },
		{ smi_in, smi_out, c, SMI_CMD, 2, 1 },
		{ port92_in, port92_out, c, 0x92, 1, 1 },
		{ kbd_in, kbd_out, c, 0x60, 1, 1 },
		{ kbd_in, kbd_out, c, 0x64, 1, 1 },
		{ debug_in, debug_out, c, DEBUG_EXIT_PORT, 4, 4 },
	};
	unsigned n = sizeof(claims) / sizeof(claims[0]) - (debug_exit ? 0 : 1);

	for (unsigned i = 0; i < n; i++)
		if (!bus_claim(b, &claims[i]))
			return false;
	return true;
}

void chipset_save(struct chipset *c, struct state_out *o)
{
	pthread_mutex_lock(&c->lock);
	state_begin(o, CHIPSET_TAG, VERSION, 0);
	state_put_u32(o, c->pci_address);
	state_put(o, c->pci, sizeof(c->pci));
	state_put_u16(o, c->pm1_status);
	state_put_u16(o, c->pm1_enable);
	state_put_u16(o, c->pm1_control);
	state_put(o, (const uint8_t[]){ c->smi[0], c->smi[1], c->reset_control, c->port92, c->kbd_output_port }, 5);
	state_end(o);
	pthread_mutex_unlock(&c->lock);
}

/* Configuration registers: those that a guest cannot write keep what they are here. */
static void load_pci(struct chipset *c, const uint8_t pci[PCI_FUNCTIONS][256])
{
	pci_reset(c);
	for (unsigned f = 0; f < PCI_FUNCTIONS; f++)
		for (unsigned reg = 0; reg < 256; reg++)
			if (pci_writable(c, c->pci[f], reg))
				c->pci[f][reg] = pci[f][reg];
}

bool chipset_load(struct chipset *c, struct state_in *in)
{
	uint8_t pci[PCI_FUNCTIONS][256], misc[5];
	uint32_t address = state_get_u32(in);
	uint16_t pm1[3];

	state_get(in, pci, sizeof(pci));
	for (unsigned i = 0; i < 3; i++)
		pm1[i] = state_get_u16(in);
	state_get(in, misc, sizeof(misc));
	if (in->bad || in->version > VERSION)
		return false;
	pthread_mutex_lock(&c->lock);
	c->pci_address = address & 0x80fffffc;
	load_pci(c, pci);
	c->pm1_status = pm1[0] & STS_ALL;
	c->pm1_enable = pm1[1] & EN_ALL;
	c->pm1_control = pm1[2] & (0x1c02 | CNT_SCI_EN);
	memcpy(c->smi, misc, 2);
	c->reset_control = misc[2] & 2;
	c->port92 = (uint8_t)(misc[3] & ~1u);
	c->kbd_output_port = misc[4] & 1;
	c->sci_level = !((c->pm1_control & CNT_SCI_EN) && (c->pm1_status & c->pm1_enable)); /* so that the line is set anew */
	update_sci(c);
	pthread_mutex_unlock(&c->lock);
	return true;
}
