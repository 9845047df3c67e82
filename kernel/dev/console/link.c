/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runner link (abi/link.h): frames of many channels over COM1.
 *
 * Output is framed and written under one lock, so frames of different CPUs never mix. With
 * mica.stamp each line of a VM's channel begins with the host's clocks, taken when its first byte
 * is sent. Input is parsed in the serial interrupt and handed to the channel's receiver.
 */
#include "arch/x86/arch.h"
#include "dev/console/console_priv.h"

#define PAYLOAD_MAX 255

static struct spinlock tx_lock = SPINLOCK_INIT("link", RANK_CONSOLE);
static bool active, stamping;
static bool within_line[LINK_CHANNELS]; /* tx_lock */
static struct link_parser parser;       /* serial interrupt only */
static struct receiver receivers[LINK_CHANNELS];

bool link_active(void) { return active; }

void link_start(bool stamp)
{
	active = true;
	stamping = stamp;
}

/* ---- out ---- */

/* Collects payload until a frame is full; tx_lock. */
struct frame {
	unsigned channel, n;
	uint8_t bytes[3 + PAYLOAD_MAX];
};

static void frame_flush(struct frame *f)
{
	if (!f->n)
		return;
	f->bytes[0] = LINK_MAGIC;
	f->bytes[1] = (uint8_t)f->channel;
	f->bytes[2] = (uint8_t)f->n;
	uart_write(f->bytes, 3 + f->n);
	f->n = 0;
}

static void frame_add(struct frame *f, const uint8_t *data, size_t n)
{
	while (n) {
		size_t piece = MIN(n, (size_t)(PAYLOAD_MAX - f->n));

		memcpy(f->bytes + 3 + f->n, data, piece);
		f->n += (unsigned)piece;
		data += piece;
		n -= piece;
		if (f->n == PAYLOAD_MAX)
			frame_flush(f);
	}
}

static void frame_add_stamp(struct frame *f)
{
	char stamp[48];
	int n = snprintf(stamp, sizeof(stamp), "T %lu %lu ", arch_rdtsc(), clock_ns());

	frame_add(f, (const uint8_t *)stamp, (size_t)n);
}

static void frame_add_stamped(struct frame *f, const uint8_t *data, size_t n)
{
	bool *within = &within_line[f->channel];

	for (size_t i = 0; i < n; i++) {
		if (!*within)
			frame_add_stamp(f);
		*within = data[i] != '\n';
		frame_add(f, &data[i], 1);
	}
}

void link_send(unsigned channel, const void *data, size_t n)
{
	struct frame f = { .channel = channel };
	uint64_t flags;

	if (!active || channel >= LINK_CHANNELS)
		return;
	flags = console_lock(&tx_lock);
	if (stamping && channel >= LINK_VM0)
		frame_add_stamped(&f, data, n);
	else
		frame_add(&f, data, n);
	frame_flush(&f);
	console_unlock(&tx_lock, flags);
}

/* ---- in ---- */
static bool parse_header(struct link_parser *p, uint8_t c)
{
	switch (p->state) {
	case LINK_WANT_MAGIC:
		if (c == LINK_MAGIC)
			p->state = LINK_WANT_CHANNEL;
		return true;
	case LINK_WANT_CHANNEL:
		p->channel = c;
		p->state = c < LINK_CHANNELS ? LINK_WANT_LENGTH : LINK_WANT_MAGIC;
		return true;
	case LINK_WANT_LENGTH:
		p->length = c;
		p->have = 0;
		p->state = c ? LINK_WANT_DATA : LINK_WANT_MAGIC;
		return true;
	default:
		return false;
	}
}

void link_parse(struct link_parser *p, const uint8_t *in, size_t n, void (*frame)(unsigned channel, const uint8_t *data, size_t n))
{
	while (n) {
		size_t piece;

		if (parse_header(p, *in)) {
			in++, n--;
			continue;
		}
		piece = MIN(n, (size_t)(p->length - p->have));
		memcpy(p->data + p->have, in, piece);
		p->have = (uint8_t)(p->have + piece);
		in += piece;
		n -= piece;
		if (p->have == p->length) {
			p->state = LINK_WANT_MAGIC;
			frame(p->channel, p->data, p->length);
		}
	}
}

static void deliver(unsigned channel, const uint8_t *data, size_t n) { receiver_call(&receivers[channel], data, n); }

void link_input(const uint8_t *data, size_t n) { link_parse(&parser, data, n, deliver); }

void link_receiver(unsigned channel, console_fn fn, void *ctx)
{
	if (channel < LINK_CHANNELS)
		receiver_set(&receivers[channel], fn, ctx);
}
