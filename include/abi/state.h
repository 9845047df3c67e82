/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one self-describing format for the state of a VM: a sequence of records, each with tag, version, instance and length,
 * payload little endian and padded to 8 bytes. Ring 0 and ring 3 write and read it with the same inline functions.
 *
 * Writing never fails in the middle: a full buffer sets `overflow` and counts on, so that a pass over a zero-sized buffer
 * measures. Reading is for hostile input: a short or malformed record sets `bad`, all further reads give 0.
 * A reader accepts any version up to its own, and ignores payload past what it knows (newer minor additions go to the end).
 */
#ifndef ABI_STATE_H
#define ABI_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_record {
	uint32_t tag;      /* four letters */
	uint16_t version;
	uint16_t instance; /* vCPU number, device number */
	uint32_t length;   /* payload bytes, without padding */
	uint32_t reserved;
};
_Static_assert(sizeof(struct state_record) == 16, "state format");
#define STATE_TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct state_out {
	uint8_t *buf;
	size_t cap, len;   /* len may pass cap: then overflow */
	size_t record;     /* offset of the open record */
	bool overflow;
};
static inline void state_put(struct state_out *o, const void *p, size_t n)
{
	if (o->len + n <= o->cap && !o->overflow)
		__builtin_memcpy(o->buf + o->len, p, n);
	else
		o->overflow = true;
	o->len += n;
}
static inline void state_begin(struct state_out *o, uint32_t tag, uint16_t version, uint16_t instance)
{
	struct state_record r = { tag, version, instance, 0, 0 };

	o->record = o->len;
	state_put(o, &r, sizeof(r));
}
static inline void state_end(struct state_out *o)
{
	uint32_t length = (uint32_t)(o->len - o->record - sizeof(struct state_record));
	static const uint8_t zero[8];

	state_put(o, zero, (8 - length % 8) % 8);
	if (!o->overflow)
		__builtin_memcpy(o->buf + o->record + offsetof(struct state_record, length), &length, 4);
}
static inline void state_put_u64(struct state_out *o, uint64_t v) { state_put(o, &v, 8); }
static inline void state_put_u32(struct state_out *o, uint32_t v) { state_put(o, &v, 4); }
static inline void state_put_u16(struct state_out *o, uint16_t v) { state_put(o, &v, 2); }
static inline void state_put_u8(struct state_out *o, uint8_t v) { state_put(o, &v, 1); }

struct state_in { /* one record's payload */
	const uint8_t *p;
	size_t left;
	uint16_t version, instance;
	uint32_t tag;
	bool bad;
};
/* Steps to the next record of buf[0..len); *pos starts at 0. False at the end or when malformed (*pos < len then). */
static inline bool state_next(const uint8_t *buf, size_t len, size_t *pos, struct state_in *in)
{
	struct state_record r;
	size_t padded;

	if (len - *pos < sizeof(r))
		return false;
	__builtin_memcpy(&r, buf + *pos, sizeof(r));
	padded = ((size_t)r.length + 7) & ~(size_t)7;
	if (padded > len - *pos - sizeof(r))
		return false;
	*in = (struct state_in){ buf + *pos + sizeof(r), r.length, r.version, r.instance, r.tag, false };
	*pos += sizeof(r) + padded;
	return true;
}
static inline void state_get(struct state_in *in, void *p, size_t n)
{
	if (in->bad || in->left < n) {
		in->bad = true;
		__builtin_memset(p, 0, n);
		return;
	}
	__builtin_memcpy(p, in->p, n);
	in->p += n;
	in->left -= n;
}
static inline uint64_t state_get_u64(struct state_in *in) { uint64_t v; state_get(in, &v, 8); return v; }
static inline uint32_t state_get_u32(struct state_in *in) { uint32_t v; state_get(in, &v, 4); return v; }
static inline uint16_t state_get_u16(struct state_in *in) { uint16_t v; state_get(in, &v, 2); return v; }
static inline uint8_t state_get_u8(struct state_in *in) { uint8_t v; state_get(in, &v, 1); return v; }

#endif
