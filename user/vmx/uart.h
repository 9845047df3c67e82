/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A UART with both FIFOs. What the guest sends leaves through `send` in pieces (a line, 64 bytes, or what waited about
 * a millisecond); what comes in is pushed by uart_receive. Sending takes no time on the guest's clock, so the transmitter is
 * always empty: LSR needs the lock only when an overrun has to be cleared.
 *
 * Lock: uart->lock, over all fields but `lsr`, which is written under it and read without. set_irq and send are called under it.
 */
#ifndef USER_VMX_UART_H
#define USER_VMX_UART_H

#include "user/vmx/bus.h"

#include <pthread.h>

#define UART_FIFO 16
#define UART_OUT 64

struct uart {
	pthread_mutex_t lock;
	pthread_cond_t space;       /* the receiver has room again */
	const struct dev_host *host;
	void (*send)(void *ctx, const uint8_t *buf, size_t n);
	void (*flush_later)(void *ctx); /* asks for uart_flush within about 1 ms */
	void *ctx;
	uint16_t base;
	uint8_t irq;
	uint8_t ier, fcr, lcr, mcr, msr_delta, scr, dll, dlm;
	uint8_t lsr;                /* atomic: read without the lock */
	bool thre_pending;          /* the transmitter went empty and nobody was told */
	bool irq_level;
	uint8_t rx[UART_FIFO], rx_head, rx_count;
	uint8_t out[UART_OUT];
	unsigned out_count;
};
void uart_init(struct uart *u, uint16_t base, uint8_t irq, const struct dev_host *host);
void uart_reset(struct uart *u);
uint32_t uart_in(void *uart, uint16_t port, unsigned size);
void uart_out(void *uart, uint16_t port, unsigned size, uint32_t value);
/* Puts bytes into the receiver; returns how many had room. */
size_t uart_receive(struct uart *u, const uint8_t *buf, size_t n);
void uart_wait_space(struct uart *u);
void uart_flush(void *uart);
void uart_save(struct uart *u, struct state_out *o);
bool uart_load(struct uart *u, struct state_in *in); /* checks all, then takes all */
#define UART_TAG STATE_TAG('U', 'A', 'R', 'T')

#endif
