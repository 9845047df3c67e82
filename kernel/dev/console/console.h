/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's console: the serial port, raw or shared by many streams (the runner link of
 * abi/link.h), and the screen. Design: docs/console.md.
 */
#ifndef DEV_CONSOLE_CONSOLE_H
#define DEV_CONSOLE_CONSOLE_H

#include "abi/link.h"
#include "core/core.h"

/* ---- the runner link: there when the command line has mica.link ---- */
bool link_active(void);
/* Bytes for a channel, framed. Any context that may spin; dropped when there is no link. */
void link_send(unsigned channel, const void *data, size_t n);
/* Who gets what arrives on a channel; fn NULL: nobody, bytes are dropped. Called from the interrupt handler, interrupts off, no
 * lock held. After link_receiver returns the former fn does not run any more; call it with interrupts on. */
typedef void (*console_fn)(void *ctx, const uint8_t *data, size_t n);
void link_receiver(unsigned channel, console_fn fn, void *ctx);

/* ---- the operator's terminal: raw bytes, as the tty of sys wants them. With a link it is LINK_CONSOLE; else serial port and screen. ---- */
void console_write(const void *data, size_t n);
void console_receiver(console_fn fn, void *ctx);

#endif
