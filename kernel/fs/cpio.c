/* SPDX-License-Identifier: Apache-2.0 */
/*
 * newc cpio: each entry is a header of 110 characters (magic, then 13 numbers of 8 hexadecimal digits), the name with its 0,
 * padding to 4, the content, padding to 4. The entry TRAILER!!! ends the archive; so does the end of the source.
 *
 * Every number is checked against the source's size before use. Nothing here allocates.
 */
#include "fs/cpio.h"
#include "core/core.h"

#define CPIO_HEADER 110
enum { FIELD_MODE = 1, FIELD_MTIME = 5, FIELD_SIZE = 6, FIELD_NAMESIZE = 11 };

static bool cpio_hex(const char *digits, uint32_t *out)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++) {
		char c = digits[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = v << 4 | (uint32_t)(c - 'A' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

static bool cpio_magic(const char *header) { return !memcmp(header, "070701", 6) || !memcmp(header, "070702", 6); }

static bool cpio_field(const char *header, int field, uint32_t *out) { return cpio_hex(header + 6 + 8 * field, out); }

bool cpio_is_archive(const struct cpio_source *s)
{
	char magic[6];

	return s->size >= CPIO_HEADER && !s->read(s->ctx, 0, magic, sizeof(magic)) && cpio_magic(magic);
}

int cpio_next(const struct cpio_source *s, uint64_t *offset, struct cpio_entry *e)
{
	char header[CPIO_HEADER];
	uint32_t size, name_size;
	uint64_t at = *offset;

	if (at >= s->size || s->size - at < CPIO_HEADER)
		return 0;
	if (s->read(s->ctx, at, header, sizeof(header)) || !cpio_magic(header))
		return -EINVAL;
	if (!cpio_field(header, FIELD_MODE, &e->mode) || !cpio_field(header, FIELD_MTIME, &e->mtime) ||
	    !cpio_field(header, FIELD_SIZE, &size) || !cpio_field(header, FIELD_NAMESIZE, &name_size))
		return -EINVAL;
	if (!name_size || name_size > sizeof(e->name) || name_size > s->size - at - CPIO_HEADER)
		return -EINVAL;
	e->name_at = at + CPIO_HEADER;
	if (s->read(s->ctx, e->name_at, e->name, name_size) || e->name[name_size - 1])
		return -EINVAL;
	e->size = size;
	e->data = ALIGN_UP(e->name_at + name_size, 4);
	if (!strcmp(e->name, "TRAILER!!!"))
		return 0;
	if (e->data > s->size || size > s->size - e->data)
		return -EINVAL;
	*offset = ALIGN_UP(e->data + size, 4);
	return 1;
}
