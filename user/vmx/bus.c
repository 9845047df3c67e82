/* SPDX-License-Identifier: Apache-2.0 */
/* Port dispatch: see bus.h. */
#include "user/vmx/bus.h"

#include <string.h>

static uint32_t nobody_in(void *dev, uint16_t port, unsigned size) { return ~0u; }
static void nobody_out(void *dev, uint16_t port, unsigned size, uint32_t value) {}

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
	b->claim[0] = (struct bus_claim){ nobody_in, nobody_out, NULL, 0, 0, 4 };
	b->nr_claims = 1;
}

bool bus_claim(struct bus *b, const struct bus_claim *c)
{
	if (b->nr_claims >= BUS_CLAIMS || (uint32_t)c->base + c->count > BUS_PORTS)
		return false;
	for (unsigned p = c->base; p < c->base + (unsigned)c->count; p++)
		if (b->index[p])
			return false;
	memset(b->index + c->base, (int)b->nr_claims, c->count);
	b->claim[b->nr_claims++] = *c;
	return true;
}

static const struct bus_claim *find(const struct bus *b, uint16_t port)
{
	return &b->claim[port < BUS_PORTS ? b->index[port] : 0];
}

static uint32_t port_in(const struct bus *b, uint16_t port, unsigned size)
{
	const struct bus_claim *c = find(b, port);
	uint32_t v = 0;

	if (size <= c->widest)
		return c->in(c->dev, port, size);
	for (unsigned i = 0; i < size; i++) {
		c = find(b, (uint16_t)(port + i));
		v |= (c->in(c->dev, (uint16_t)(port + i), 1) & 0xff) << (8 * i);
	}
	return v;
}

static void port_out(const struct bus *b, uint16_t port, unsigned size, uint32_t value)
{
	const struct bus_claim *c = find(b, port);

	if (size <= c->widest) {
		c->out(c->dev, port, size, value);
		return;
	}
	for (unsigned i = 0; i < size; i++) {
		c = find(b, (uint16_t)(port + i));
		c->out(c->dev, (uint16_t)(port + i), 1, value >> (8 * i) & 0xff);
	}
}

static __attribute__((noinline)) void string_io(const struct bus *b, struct vmm_run *run)
{
	unsigned size = run->io.size, count = run->io.count;
	uint8_t *data = run->io.data;

	if ((size != 1 && size != 2 && size != 4) || count > sizeof(run->io.data) / size)
		return; /* the kernel never sends it */
	for (; count; count--, data += size) {
		uint32_t v = 0;

		if (run->io.in) {
			v = port_in(b, run->io.port, size);
			memcpy(data, &v, size);
		} else {
			memcpy(&v, data, size);
			port_out(b, run->io.port, size, v);
		}
	}
}

/* One access that its device takes whole is nearly all there is; four bytes are always moved, the kernel looks at `size` of them. */
void bus_io(const struct bus *b, struct vmm_run *run)
{
	const struct bus_claim *c = find(b, run->io.port);
	unsigned size = run->io.size;
	uint32_t v;

	if (__builtin_expect(run->io.count != 1 || size > c->widest, 0)) {
		string_io(b, run);
	} else if (run->io.in) {
		v = c->in(c->dev, run->io.port, size);
		memcpy(run->io.data, &v, sizeof(v));
	} else {
		memcpy(&v, run->io.data, sizeof(v));
		c->out(c->dev, run->io.port, size, size == 4 ? v : v & ((1u << 8 * size) - 1));
	}
}
