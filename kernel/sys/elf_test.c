/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's checks: a good program's plan, each refusal, and random headers, whose accepted plans must be safe to map. */
#include "sys/elf.h"
#include "core/core.h"
#include "test/unit.h"

struct header { uint8_t ident[16]; uint16_t type, machine; uint32_t version; uint64_t entry, phoff, shoff; uint32_t flags; uint16_t ehsize, phentsize, phnum, a, b, c; };
struct phdr { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; };
struct image { struct header h; struct phdr p[3]; };
#define FILE_SIZE 0x5000

static struct image good(void)
{
	struct image i = {
		.h = { .ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 }, .type = 2, .machine = 62, .entry = 0x401010, .phoff = 64, .phentsize = 56, .phnum = 3 },
		.p = { { 1, 5, 0, 0x400000, 0, 0x1800, 0x1800, 4096 }, { 1, 6, 0x2010, 0x402010, 0, 0x100, 0x3000, 4096 }, { 0x6474e551, 6, 0, 0, 0, 0, 0, 16 } },
	};

	return i;
}

static int parse(const struct image *i, struct elf_plan *p) { return elf_parse((const uint8_t *)i, sizeof(*i), FILE_SIZE, p); }

static bool safe(const struct elf_plan *p)
{
	uint64_t end = ELF_LOWEST;

	for (unsigned i = 0; i < p->nr; i++) {
		const struct elf_segment *s = &p->segment[i];

		if (s->address < end || (s->address | s->size | s->offset) & PAGE_MASK || !s->size || s->file_bytes > s->size ||
		    s->address + s->size > ELF_HIGHEST || (s->file_bytes && s->offset + s->file_bytes > FILE_SIZE))
			return false;
		end = s->address + s->size;
	}
	return p->nr && p->entry < end && end == p->end;
}

TEST(a_good_program)
{
	struct image i = good();
	struct elf_plan p;

	CHECK_EQ(parse(&i, &p), 0);
	CHECK_EQ(p.nr, 2);
	CHECK_EQ(p.segment[1].address, 0x402000);
	CHECK_EQ(p.segment[1].size, 0x4000);
	CHECK_EQ(p.segment[1].file_bytes, 0x110);
	CHECK_EQ(p.phdr, 0x400040);
	CHECK_EQ(p.end, 0x406000);
	i.h.type = 3;
	i.h.entry = 0x1010;
	i.p[0].vaddr = 0;
	i.p[1].vaddr = 0x2010;
	CHECK_EQ(parse(&i, &p), 0);
	CHECK_EQ(p.entry, ELF_PIE_BASE + 0x1010);
	CHECK(safe(&p));
}

TEST(refusals)
{
	struct elf_plan p;
	struct image i;
#define REFUSED(change) do { i = good(); change; CHECK_EQ(parse(&i, &p), -ENOEXEC); } while (0)

	REFUSED(i.h.ident[4] = 1);
	REFUSED(i.h.machine = 3);
	REFUSED(i.h.type = 1);
	REFUSED(i.h.phnum = 0);
	REFUSED(i.h.phnum = 400);
	REFUSED(i.h.phoff = UINT64_MAX);
	REFUSED(i.h.phentsize = 32);
	REFUSED(i.h.entry = 0);
	REFUSED(i.h.entry = 0x500000);
	REFUSED(i.p[0].type = 3);
	REFUSED(i.p[0].vaddr = 0);
	REFUSED(i.p[0].offset = UINT64_MAX - 0xfff);
	REFUSED(i.p[0].filesz = 0x10000; i.p[0].memsz = 0x10000);
	REFUSED(i.p[0].memsz = 1);
	REFUSED(i.p[1].vaddr = 0x400010);
	REFUSED(i.p[1].memsz = UINT64_MAX);
	REFUSED(i.p[1].vaddr = 0xffff800000002010);
	REFUSED(i.p[1].offset = 0x2000);
	i = good();
	for (size_t n = 0; n < sizeof(i); n++)
		CHECK_EQ(elf_parse((const uint8_t *)&i, n, FILE_SIZE, &p), -ENOEXEC);
}

TEST(fuzz)
{
	unsigned accepted = 0;

	srand(3);
	for (int k = 0; k < 300000; k++) {
		struct image i = good();
		struct elf_plan p;
		uint8_t *bytes = (uint8_t *)&i;

		for (int n = rand() % 3; n >= 0; n--) {
			size_t at = (size_t)rand() % sizeof(i);

			bytes[at] = (uint8_t)(rand() % 2 ? rand() : bytes[at] ^ 1 << rand() % 8);
		}
		if (!parse(&i, &p)) {
			accepted++;
			CHECK(safe(&p));
		}
	}
	CHECK(accepted > 1000);
}
