/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the boot path left in memory, made into boot_info: PVH's hvm_start_info (Xen's
 * public/arch-x86/hvm/start_info.h, versions 0 and 1) and the tags of Multiboot2 (specification 2.0,
 * section 3.6).
 *
 * Loaders are not hostile but their tables can be wrong, so every length is checked and nothing is
 * read that `phys` does not give. The memory map comes out sorted and disjoint: where entries
 * overlap, the less usable kind wins, since RAM that is not there is worse than RAM not used.
 */
#include "core/core.h"

struct boot_info boot_info;
uint8_t bootinfo_rsdp_copy[36];

#define RAW_RANGES 128
#define PHYS_LIMIT (1ull << 52)

/* ---- the memory map ---- */
struct raw_map {
	unsigned n;
	struct boot_range range[RAW_RANGES];
};
static struct raw_map raw; /* boot only, one CPU; too large for the stack */

static void raw_add(uint64_t base, uint64_t size, uint32_t type)
{
	if (base >= PHYS_LIMIT || !size || raw.n == RAW_RANGES)
		return;
	size = MIN(size, PHYS_LIMIT - base);
	raw.range[raw.n++] = (struct boot_range){ base, size, type };
}

/* How strongly a type forbids use. */
static unsigned type_rank(uint32_t type)
{
	switch (type) {
	case 1: return 0;
	case 3: return 1;
	case 4: return 2;
	default: return 3;
	}
}

static void sort_edges(uint64_t *edge, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t v = edge[i];
		unsigned j = i;

		for (; j && edge[j - 1] > v; j--)
			edge[j] = edge[j - 1];
		edge[j] = v;
	}
}

/* The strongest type that covers [from, to), or 0 when nothing does. */
static uint32_t type_between(uint64_t from, uint64_t to)
{
	uint32_t type = 0;

	for (unsigned i = 0; i < raw.n; i++) {
		const struct boot_range *r = &raw.range[i];

		if (r->base <= from && r->base + r->size >= to && (!type || type_rank(r->type) > type_rank(type)))
			type = r->type ? r->type : 2;
	}
	return type;
}

static void range_append(struct boot_info *b, uint64_t base, uint64_t size, uint32_t type)
{
	struct boot_range *last = b->nr_ranges ? &b->range[b->nr_ranges - 1] : NULL;

	if (last && last->type == type && last->base + last->size == base)
		last->size += size;
	else if (b->nr_ranges < ARRAY_SIZE(b->range)) /* beyond: a hole, which nobody uses */
		b->range[b->nr_ranges++] = (struct boot_range){ base, size, type };
}

static void ranges_finish(struct boot_info *b)
{
	static uint64_t edge[2 * RAW_RANGES];
	unsigned n = 0;

	for (unsigned i = 0; i < raw.n; i++) {
		edge[n++] = raw.range[i].base;
		edge[n++] = raw.range[i].base + raw.range[i].size;
	}
	sort_edges(edge, n);
	b->nr_ranges = 0;
	for (unsigned i = 0; i + 1 < n; i++) {
		uint32_t type = edge[i] < edge[i + 1] ? type_between(edge[i], edge[i + 1]) : 0;

		if (type)
			range_append(b, edge[i], edge[i + 1] - edge[i], type);
	}
}

uint64_t bootinfo_ram(const struct boot_info *b)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < b->nr_ranges; i++)
		if (b->range[i].type == 1)
			sum += b->range[i].size;
	return sum;
}

/* ---- strings and modules ---- */

/* Copies a string that ends somewhere within physical memory, byte by byte at the end of what is readable. */
static void copy_phys_string(char *d, size_t size, phys_fn phys, uint64_t pa)
{
	size_t i = 0;

	for (; pa && i + 1 < size; i++) {
		const char *c = phys(pa + i, 1);

		if (!c || !*c)
			break;
		d[i] = *c;
	}
	d[i] = 0;
}

/* Names: the first word of the module's command line, without its folders. */
static void module_add(struct boot_info *b, uint64_t base, uint64_t size, const char *cmdline)
{
	struct boot_module *m;
	const char *name = cmdline;

	if (b->nr_modules == ARRAY_SIZE(b->module) || base >= PHYS_LIMIT || size > PHYS_LIMIT - base)
		return;
	m = &b->module[b->nr_modules++];
	*m = (struct boot_module){ .base = base, .size = size };
	for (const char *c = cmdline; *c && *c != ' '; c++)
		if (*c == '/')
			name = c + 1;
	for (size_t i = 0; i + 1 < sizeof(m->name) && name[i] && name[i] != ' '; i++)
		m->name[i] = name[i];
}

/* ---- PVH ---- */
#define PVH_MAGIC 0x336ec578u
struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap;        /* from version 1 */
	uint32_t memmap_entries, reserved;
};
struct pvh_module { uint64_t base, size, cmdline, reserved; } __packed; /* where the loader says, aligned or not */
struct pvh_range { uint64_t base, size; uint32_t type, reserved; } __packed;
_Static_assert(sizeof(struct pvh_start_info) == 56 && offsetof(struct pvh_start_info, memmap) == 40, "hvm_start_info");

static void pvh_modules(struct boot_info *b, phys_fn phys, const struct pvh_start_info *si)
{
	for (uint32_t i = 0; i < si->nr_modules && i < ARRAY_SIZE(b->module); i++) {
		const struct pvh_module *m = phys(si->modlist + i * sizeof(*m), sizeof(*m));
		char line[sizeof(b->module[0].name) * 2];

		if (!m)
			break;
		copy_phys_string(line, sizeof(line), phys, m->cmdline);
		module_add(b, m->base, m->size, line);
	}
}

const char *bootinfo_parse_pvh(struct boot_info *b, phys_fn phys, uint64_t pa)
{
	struct pvh_start_info si = { 0 };
	const void *p = phys(pa, offsetof(struct pvh_start_info, memmap));

	memset(b, 0, sizeof(*b));
	raw.n = 0;
	strlcpy(b->loader, "pvh", sizeof(b->loader));
	if (!p)
		return "the PVH start info is not readable";
	memcpy(&si, p, offsetof(struct pvh_start_info, memmap));
	if (si.magic != PVH_MAGIC)
		return "the PVH start info has a wrong magic number";
	if (si.version >= 1 && (p = phys(pa, sizeof(si))))
		memcpy(&si, p, sizeof(si));
	copy_phys_string(b->cmdline, sizeof(b->cmdline), phys, si.cmdline);
	b->rsdp = si.rsdp;
	pvh_modules(b, phys, &si);
	for (uint32_t i = 0; i < si.memmap_entries && i < RAW_RANGES; i++) {
		const struct pvh_range *r = phys(si.memmap + i * sizeof(*r), sizeof(*r));

		if (!r)
			break;
		raw_add(r->base, r->size, r->type);
	}
	ranges_finish(b);
	return bootinfo_ram(b) ? NULL : "the boot loader handed over no memory map";
}

/* ---- Multiboot2 ---- */
enum { MB2_END = 0, MB2_CMDLINE = 1, MB2_MODULE = 3, MB2_MMAP = 6, MB2_FRAMEBUFFER = 8, MB2_RSDP_OLD = 14, MB2_RSDP_NEW = 15 };
struct mb2_tag { uint32_t type, size; };
struct mb2_module { struct mb2_tag tag; uint32_t start, end; char cmdline[]; };
struct mb2_mmap { struct mb2_tag tag; uint32_t entry_size, entry_version; };
struct mb2_range { uint64_t base, size; uint32_t type, reserved; };
struct mb2_framebuffer { struct mb2_tag tag; uint64_t base; uint32_t pitch, width, height; uint8_t bpp, kind; } __packed;
#define MB2_SIZE_MAX MIB(1)

static void mb2_string(char *d, size_t size, const char *s, size_t room)
{
	size_t n = MIN(strnlen(s, room), size - 1);

	memcpy(d, s, n);
	d[n] = 0;
}

static void mb2_module(struct boot_info *b, const struct mb2_tag *t)
{
	const struct mb2_module *m = (const void *)t;
	char line[sizeof(b->module[0].name) * 2];

	if (t->size < sizeof(*m) || m->end < m->start)
		return;
	mb2_string(line, sizeof(line), m->cmdline, t->size - sizeof(*m));
	module_add(b, m->start, m->end - m->start, line);
}

static void mb2_mmap(const struct mb2_tag *t)
{
	const struct mb2_mmap *m = (const void *)t;

	if (t->size < sizeof(*m) || m->entry_size < sizeof(struct mb2_range))
		return;
	for (uint64_t off = sizeof(*m); off + m->entry_size <= t->size; off += m->entry_size) {
		struct mb2_range r;

		memcpy(&r, (const char *)t + off, sizeof(r));
		raw_add(r.base, r.size, r.type);
	}
}

static void mb2_framebuffer(struct boot_info *b, const struct mb2_tag *t)
{
	struct mb2_framebuffer f;

	if (t->size < sizeof(f))
		return;
	memcpy(&f, t, sizeof(f));
	/* Its type: 0 indexed, 1 direct RGB, 2 EGA text. */
	if (f.kind == 1 || f.kind == 2)
		b->fb = (struct boot_framebuffer){ f.base, f.pitch, f.width, f.height, f.bpp, f.kind };
}

/* The newer table wins, whatever the order of the tags. */
static void mb2_rsdp(const struct mb2_tag *t)
{
	size_t want = t->type == MB2_RSDP_NEW ? 36 : 20;

	if (t->size < sizeof(*t) + want || (want == 20 && bootinfo_rsdp_copy[15] >= 2))
		return;
	memset(bootinfo_rsdp_copy, 0, sizeof(bootinfo_rsdp_copy));
	memcpy(bootinfo_rsdp_copy, t + 1, want);
}

static void mb2_tag(struct boot_info *b, const struct mb2_tag *t)
{
	switch (t->type) {
	case MB2_CMDLINE:
		mb2_string(b->cmdline, sizeof(b->cmdline), (const char *)(t + 1), t->size - sizeof(*t));
		break;
	case MB2_MODULE:
		mb2_module(b, t);
		break;
	case MB2_MMAP:
		mb2_mmap(t);
		break;
	case MB2_FRAMEBUFFER:
		mb2_framebuffer(b, t);
		break;
	case MB2_RSDP_OLD:
	case MB2_RSDP_NEW:
		mb2_rsdp(t);
		break;
	}
}

const char *bootinfo_parse_multiboot2(struct boot_info *b, phys_fn phys, uint64_t pa)
{
	const uint32_t *head = phys(pa, 8);
	uint64_t size, off = 8;

	memset(b, 0, sizeof(*b));
	memset(bootinfo_rsdp_copy, 0, sizeof(bootinfo_rsdp_copy));
	raw.n = 0;
	strlcpy(b->loader, "multiboot2", sizeof(b->loader));
	if (!head)
		return "the Multiboot2 information is not readable";
	size = head[0];
	if (size > MB2_SIZE_MAX || !phys(pa, size))
		return "the Multiboot2 information is too long";
	while (off + sizeof(struct mb2_tag) <= size) {
		const struct mb2_tag *t = phys(pa + off, sizeof(*t));

		if (!t || t->type == MB2_END || t->size < sizeof(*t) || t->size > size - off)
			break;
		mb2_tag(b, t);
		off = ALIGN_UP(off + t->size, 8);
	}
	ranges_finish(b);
	return bootinfo_ram(b) ? NULL : "the boot loader handed over no memory map";
}

/* ---- command line ---- */
bool cmdline_find(const char *cmdline, const char *key, char *buf, size_t size)
{
	size_t n = strlen(key), len = 0;

	for (const char *c = cmdline; *c; c += len) {
		while (*c == ' ')
			c++;
		for (len = 0; c[len] && c[len] != ' ';)
			len++;
		if (len < n || strncmp(c, key, n) || (len > n && c[n] != '='))
			continue;
		if (size) {
			size_t m = len > n ? MIN(len - n - 1, size - 1) : 0;

			memcpy(buf, c + n + 1, m);
			buf[m] = 0;
		}
		return true;
	}
	return false;
}

bool cmdline_get(const char *key, char *buf, size_t size) { return cmdline_find(boot_info.cmdline, key, buf, size); }
