/* SPDX-License-Identifier: Apache-2.0 */
/* The line discipline of a terminal (termios(3)): what becomes of typed bytes and of printed ones. Pure; the caller locks. */
#ifndef FS_LDISC_H
#define FS_LDISC_H

#include "fs/linux_abi.h"

#define LDISC_SIZE 4096
#define LDISC_EOF 0x100 /* in place of a byte: end of file was typed here */
struct ldisc {
	struct linux_termios termios;
	uint16_t in[LDISC_SIZE]; /* ring; indices run freely */
	uint32_t head;           /* next to read */
	uint32_t ready;          /* canonical: end of the finished lines; the line being edited is ready .. tail */
	uint32_t tail;
	bool stopped;            /* ^S */
	void (*emit)(void *ctx, const char *bytes, size_t n); /* to the screen */
	void *ctx;
};

void ldisc_init(struct ldisc *l, void (*emit)(void *ctx, const char *bytes, size_t n), void *ctx);
/* One typed byte. Returns the signal that it asks for, or 0. */
int ldisc_input(struct ldisc *l, uint8_t c);
bool ldisc_readable(const struct ldisc *l);
uint32_t ldisc_available(const struct ldisc *l);
/* At most n bytes, at most one line when canonical; 0 with something readable: end of file. */
size_t ldisc_read(struct ldisc *l, char *buf, size_t n);
/* Printed bytes through output processing to emit. */
void ldisc_output(struct ldisc *l, const char *bytes, size_t n);
void ldisc_set(struct ldisc *l, const struct linux_termios *t);
void ldisc_flush_input(struct ldisc *l);

#endif
