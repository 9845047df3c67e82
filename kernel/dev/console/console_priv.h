/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/dev/console only. */
#ifndef DEV_CONSOLE_CONSOLE_PRIV_H
#define DEV_CONSOLE_CONSOLE_PRIV_H

#include "dev/console/console.h"

/* The lock of a console's output: not taken any more once the host panics, when its holder may have been stopped. */
static inline uint64_t console_lock(struct spinlock *l)
{
	return READ_ONCE(panic_cpu) ? 0 : spin_lock_irqsave(l);
}
static inline void console_unlock(struct spinlock *l, uint64_t flags)
{
	if (!READ_ONCE(panic_cpu))
		spin_unlock_irqrestore(l, flags);
}

/* console.c: whom input goes to. receiver_set returns when the old one does not run any more; not from a receiver, interrupts on. */
struct receiver {
	console_fn fn;
	void *ctx;
};
void receiver_call(struct receiver *r, const uint8_t *data, size_t n);
void receiver_set(struct receiver *r, console_fn fn, void *ctx);

/* uart16550.c: COM1 */
bool uart_init(void);                        /* false: there is none */
void uart_write(const void *data, size_t n); /* waits for the transmitter; the caller serializes */
void uart_input_start(void (*fn)(const uint8_t *data, size_t n)); /* from the interrupt handler */

/* link.c */
struct link_parser {
	enum { LINK_WANT_MAGIC, LINK_WANT_CHANNEL, LINK_WANT_LENGTH, LINK_WANT_DATA } state;
	uint8_t channel, length, have;
	uint8_t data[255];
};
void link_parse(struct link_parser *p, const uint8_t *in, size_t n, void (*frame)(unsigned channel, const uint8_t *data, size_t n));
void link_start(bool stamp);
void link_input(const uint8_t *data, size_t n);

/* screen.c: a terminal of at most SCREEN_CELLS characters over something that can draw one */
#define SCREEN_CELLS 12800
struct screen_ops {
	void (*draw)(unsigned col, unsigned row, uint8_t c);
	unsigned cols, rows;
	unsigned jump; /* rows by which it scrolls: more where drawing is slow */
};
void screen_start(const struct screen_ops *ops);
void screen_write(const char *text, size_t n);
bool vga_text_init(uint8_t *base, struct screen_ops *ops);
bool framebuffer_init(uint8_t *base, const struct boot_framebuffer *fb, struct screen_ops *ops);

#endif
