/* SPDX-License-Identifier: Apache-2.0 */
/* AML writer: see aml.h. Op codes: ACPI 6.4, table 20.2; descriptors: section 6.4. */
#include "user/vmx/aml.h"

#include <string.h>

enum { OP_ZERO, OP_ONE, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD, OP_DWORD, OP_STRING, OP_QWORD, OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12 };
enum { OP_EXT = 0x5b, OP_EXT_DEVICE = 0x82 };

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (n > a->cap - a->len) {
		a->overflow = true;
		return;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

void aml_byte(struct aml *a, uint8_t v) { aml_bytes(a, &v, 1); }

void aml_integer(struct aml *a, uint64_t v)
{
	unsigned size = v < 0x100 ? 1 : v < 0x10000 ? 2 : v < 0x100000000ull ? 4 : 8;

	if (v < 2) {
		aml_byte(a, v ? OP_ONE : OP_ZERO);
		return;
	}
	aml_byte(a, size == 1 ? OP_BYTE : size == 2 ? OP_WORD : size == 4 ? OP_DWORD : OP_QWORD);
	aml_bytes(a, &v, size);
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

/* Three letters of 5 bits and four hex digits, big endian (section 19.3.4). */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	v = __builtin_bswap32(v);
	aml_byte(a, OP_DWORD);
	aml_bytes(a, &v, 4);
}

/* Package lengths are always written in four bytes: simplest, and valid. */
static void begin(struct aml *a)
{
	if (a->depth >= AML_DEPTH) {
		a->overflow = true;
		return;
	}
	a->open[a->depth++] = a->len;
	aml_bytes(a, "\0\0\0\0", 4);
}

void aml_end(struct aml *a)
{
	size_t at, n;

	if (!a->depth || a->overflow)
		return;
	at = a->open[--a->depth];
	n = a->len - at;
	a->buf[at] = (uint8_t)(0xc0 | (n & 15));
	a->buf[at + 1] = (uint8_t)(n >> 4);
	a->buf[at + 2] = (uint8_t)(n >> 12);
	a->buf[at + 3] = (uint8_t)(n >> 20);
}

static void name_string(struct aml *a, const char *name)
{
	if (*name == '\\')
		aml_byte(a, (uint8_t)*name++);
	for (unsigned i = 0; i < 4; i++)
		aml_byte(a, *name ? (uint8_t)*name++ : '_');
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, OP_SCOPE);
	begin(a);
	name_string(a, path);
}

void aml_device(struct aml *a, const char *name)
{
	aml_byte(a, OP_EXT);
	aml_byte(a, OP_EXT_DEVICE);
	begin(a);
	name_string(a, name);
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, OP_NAME);
	name_string(a, name);
}

void aml_package(struct aml *a, uint8_t count)
{
	aml_byte(a, OP_PACKAGE);
	begin(a);
	aml_byte(a, count);
}

static void res_bytes(struct aml_resources *r, const void *p, size_t n)
{
	if (n <= sizeof(r->bytes) - r->len) {
		memcpy(r->bytes + r->len, p, n);
		r->len += n;
	}
}

void res_io(struct aml_resources *r, uint16_t base, uint8_t count)
{
	const uint8_t d[] = { 0x47, 1, (uint8_t)base, (uint8_t)(base >> 8), (uint8_t)base, (uint8_t)(base >> 8), 1, count };

	res_bytes(r, d, sizeof(d));
}

void res_irq(struct aml_resources *r, unsigned irq)
{
	const uint8_t d[] = { 0x22, (uint8_t)(1u << irq), (uint8_t)(1u << irq >> 8) }; /* edge, high, not shared */

	res_bytes(r, d, sizeof(d));
}

/* Word address space descriptor: type 0 memory, 1 I/O, 2 bus; flags 0x0c: minimum and maximum fixed. */
static void res_word(struct aml_resources *r, uint8_t type, uint8_t type_flags, uint16_t min, uint16_t max)
{
	const uint16_t v[5] = { 0, min, max, 0, (uint16_t)(max - min + 1) };
	const uint8_t d[] = { 0x88, 13, 0, type, 0x0c, type_flags };

	res_bytes(r, d, sizeof(d));
	res_bytes(r, v, sizeof(v));
}

void res_word_bus(struct aml_resources *r, uint16_t min, uint16_t max) { res_word(r, 2, 0, min, max); }
void res_word_io(struct aml_resources *r, uint16_t min, uint16_t max) { res_word(r, 1, 3, min, max); }

void res_dword_memory(struct aml_resources *r, uint32_t min, uint32_t max, bool cacheable)
{
	const uint32_t v[5] = { 0, min, max, 0, max - min + 1 };
	const uint8_t d[] = { 0x87, 23, 0, 0, 0x0c, (uint8_t)(cacheable ? 3 : 1) };

	res_bytes(r, d, sizeof(d));
	res_bytes(r, v, sizeof(v));
}

void aml_resources(struct aml *a, const struct aml_resources *r)
{
	aml_byte(a, OP_BUFFER);
	begin(a);
	aml_integer(a, r->len + 2);
	aml_bytes(a, r->bytes, r->len);
	aml_bytes(a, "\x79\0", 2); /* end tag; checksum 0: not used */
	aml_end(a);
}
