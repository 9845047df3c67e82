/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux bzImage by the 64-bit boot protocol, or the 32-bit one for kernels without a 64-bit entry
 * (Linux, Documentation/x86/boot.rst; struct boot_params: Documentation/x86/zero-page.rst).
 */
#include "user/vmx/load.h"

#include <string.h>

#define SECTOR 512u
#define HDR 0x1f1u              /* struct setup_header in the file and in boot_params */
#define HDR_MAX 0x290u          /* boot_params has room for it up to here */
#define MIN_LOAD 0x100000ull
#define XLF_KERNEL_64 1u
#define LOADED_HIGH 1u

struct header { /* what we use of it */
	uint8_t raw[HDR_MAX];   /* the first bytes of the file: offsets as in boot.rst */
	unsigned end;           /* first byte after struct setup_header */
	uint16_t version;
	uint64_t payload;       /* offset of the protected-mode kernel */
	uint64_t payload_size;
	uint64_t load, init_size;
	bool is64;
};

static uint16_t get16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint64_t get64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }

bool linux_probe(const struct boot_file *f)
{
	uint8_t magic[4];

	return f->size >= HDR_MAX && f->read(f, 0x202, magic, 4) && !memcmp(magic, "HdrS", 4);
}

static bool read_header(const struct boot_file *f, struct header *h, struct uerror *err)
{
	unsigned sects;

	if (!boot_file_read(f, 0, h->raw, sizeof(h->raw), err))
		return false;
	h->version = get16(h->raw + 0x206);
	h->end = 0x202u + h->raw[0x201];
	if (get16(h->raw + 0x1fe) != 0xaa55)
		return uerror_set(err, "%s: no boot signature at offset 0x1fe", f->name);
	if (h->version < 0x206)
		return uerror_set(err, "%s: boot protocol %u.%02u at offset 0x206 is too old (2.06 or later is needed)", f->name, h->version >> 8,
				  h->version & 255);
	if (h->end > HDR_MAX)
		h->end = HDR_MAX; /* fields that nobody knew when this was written are not passed on */
	if (!(h->raw[0x211] & LOADED_HIGH))
		return uerror_set(err, "%s: a zImage (loadflags at offset 0x211): only bzImages can be started", f->name);
	sects = h->raw[HDR] ? h->raw[HDR] : 4;
	h->payload = (sects + 1) * SECTOR;
	if (h->payload >= f->size)
		return uerror_set(err, "%s: cut short: the kernel proper starts at offset 0x%llx, the file ends at 0x%llx", f->name,
				  (unsigned long long)h->payload, (unsigned long long)f->size);
	h->payload_size = f->size - h->payload;
	/* syssize (in 16 bytes) says how much of it there must be; signatures may follow. */
	if ((uint64_t)get32(h->raw + 0x1f4) * 16 > h->payload_size + 15)
		return uerror_set(err, "%s: cut short: 0x%llx bytes of the kernel proper are missing (syssize at offset 0x1f4)", f->name,
				  (unsigned long long)get32(h->raw + 0x1f4) * 16 - h->payload_size);
	h->is64 = h->version >= 0x20c && (get16(h->raw + 0x236) & XLF_KERNEL_64);
	return true;
}

/* Where it goes: the address it prefers, else (when it can be moved) as low as its alignment allows. */
static bool place(const struct boot_file *f, struct header *h, const struct guest_memory *m, struct uerror *err)
{
	uint64_t align = get32(h->raw + 0x230), prefer = MIN_LOAD;
	bool relocatable = h->raw[0x234];

	h->init_size = h->payload_size;
	if (h->version >= 0x20a) {
		prefer = get64(h->raw + 0x258);
		if (get32(h->raw + 0x260) > h->init_size)
			h->init_size = get32(h->raw + 0x260);
	}
	h->load = prefer;
	if (h->load >= MIN_LOAD && boot_range_ok(m, h->load, h->init_size))
		return true;
	if (relocatable && align && !(align & (align - 1))) {
		h->load = (MIN_LOAD + align - 1) & ~(align - 1);
		if (boot_range_ok(m, h->load, h->init_size))
			return true;
	}
	return uerror_set(err, "%s: needs %llu MiB of memory at 0x%llx (offset 0x258), the VM has %llu MiB below 4 GiB: raise memsize", f->name,
			  (unsigned long long)((h->init_size + 0xfffff) >> 20), (unsigned long long)prefer, (unsigned long long)(m->low >> 20));
}

static bool load_initrd(const struct boot_request *q, const struct header *h, const struct guest_memory *m, uint64_t *at, uint64_t *size,
			struct uerror *err)
{
	const struct boot_file *f = &q->module[0].file;

	*at = *size = 0;
	if (!q->nr_modules)
		return true;
	if (q->nr_modules > 1)
		return uerror_set(err, "%s: Linux takes one initrd, mica.boot.initrd names %u files", q->kernel.name, q->nr_modules);
	*size = f->size;
	*at = boot_place_high(m, f->size, h->load + h->init_size, get32(h->raw + 0x22c));
	if (f->size && !*at)
		return uerror_set(err, "%s: an initrd of %llu KiB does not fit into the VM's memory beside the kernel: raise memsize", f->name,
				  (unsigned long long)(f->size >> 10));
	return boot_file_copy(f, 0, f->size, m, *at, err);
}

static bool write_params(const struct boot_request *q, const struct header *h, const struct guest_memory *m, uint64_t initrd, uint64_t initrd_size,
			 struct uerror *err)
{
	uint8_t bp[4096] = { 0 };
	struct memory_map_entry map[MEMORY_MAP_MAX];
	unsigned n = boot_memory_map(m, map);
	size_t cmdline = strlen(q->append) + 1;

	if (cmdline - 1 > get32(h->raw + 0x238) || cmdline > BOOT_DATA_END - BOOT_TEXT)
		return uerror_set(err, "%s: takes a command line of %u characters at most (offset 0x238), mica.boot.append has %zu", q->kernel.name,
				  get32(h->raw + 0x238), cmdline - 1);
	memcpy(bp + HDR, h->raw + HDR, h->end - HDR);
	memcpy(bp + 0x70, &q->rsdp, 8);
	memset(bp + 0x1fa, 0xff, 2);            /* vid_mode: normal */
	bp[0x210] = 0xff;                       /* type_of_loader: undefined */
	put32(bp + 0x218, (uint32_t)initrd);
	put32(bp + 0x21c, (uint32_t)initrd_size);
	put32(bp + 0x0c4, (uint32_t)(initrd_size >> 32));
	put32(bp + 0x214, (uint32_t)h->load);   /* code32_start */
	put32(bp + 0x228, BOOT_TEXT);
	memset(bp + 0x250, 0, 8);               /* setup_data: none */
	bp[0x1e8] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		memcpy(bp + 0x2d0 + i * 20, &map[i].base, 8);
		memcpy(bp + 0x2d8 + i * 20, &map[i].size, 8);
		memcpy(bp + 0x2e0 + i * 20, &map[i].type, 4);
	}
	return guest_write(m, BOOT_PARAMS, bp, sizeof(bp), err) && guest_write(m, BOOT_TEXT, q->append, cmdline, err);
}

bool linux_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err)
{
	struct header h;
	uint64_t initrd, initrd_size;

	if (!read_header(&q->kernel, &h, err) || !place(&q->kernel, &h, m, err) || !load_initrd(q, &h, m, &initrd, &initrd_size, err) ||
	    !boot_file_copy(&q->kernel, h.payload, h.payload_size, m, h.load, err) || !write_params(q, &h, m, initrd, initrd_size, err))
		return false;
	if (!boot_regs(m, h.is64 ? BOOT_MODE_LINUX_64 : BOOT_MODE_LINUX_32, h.load + (h.is64 ? 0x200 : 0), regs, err))
		return false;
	regs->gpr[6] = BOOT_PARAMS; /* rsi */
	return true;
}
