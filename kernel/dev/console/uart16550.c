/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1, a 16550A (PC16550D data sheet): 115200 8N1, output polled with its FIFO, input by
 * interrupt. A port that is not there reads all ones; a transmitter that never empties is given up.
 */
#include "arch/x86/arch.h"
#include "dev/console/console_priv.h"

#define COM1 0x3f8
#define COM1_IRQ 4
enum { RBR = 0, THR = 0, DLL = 0, DLM = 1, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCR = 7 };
#define IER_RECEIVED 0x01
#define FCR_ENABLE 0x01
#define FCR_CLEAR 0x06
#define FCR_TRIGGER_8 0x80
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define MCR_DTR_RTS_OUT2 0x0b /* OUT2 lets the interrupt through to the line */
#define LSR_DATA 0x01
#define LSR_THR_EMPTY 0x20
#define FIFO_SIZE 16
#define TX_SPINS 1000000
#define RX_MAX 4096 /* bytes per interrupt: a stuck status bit must not hold the CPU */

static bool present;
static void (*input)(const uint8_t *data, size_t n);

bool uart_init(void)
{
	outb(COM1 + SCR, 0x5a);
	if (inb(COM1 + SCR) != 0x5a)
		return false;
	outb(COM1 + IER, 0);
	outb(COM1 + LCR, LCR_DLAB);
	outb(COM1 + DLL, 1); /* 115200 */
	outb(COM1 + DLM, 0);
	outb(COM1 + LCR, LCR_8N1);
	outb(COM1 + FCR, FCR_ENABLE | FCR_CLEAR | FCR_TRIGGER_8);
	outb(COM1 + MCR, MCR_DTR_RTS_OUT2);
	present = true;
	return true;
}

static bool transmitter_ready(void)
{
	for (unsigned i = 0; i < TX_SPINS; i++) {
		if (inb(COM1 + LSR) & LSR_THR_EMPTY)
			return true;
		arch_pause();
	}
	return false;
}

void uart_write(const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n && present) {
		size_t burst = MIN(n, (size_t)FIFO_SIZE);

		if (!transmitter_ready()) {
			present = false;
			return;
		}
		for (size_t i = 0; i < burst; i++)
			outb(COM1 + THR, p[i]);
		p += burst;
		n -= burst;
	}
}

/* The line is edge-triggered: all that arrived is taken, or no further edge comes. */
static void uart_interrupt(void *arg)
{
	uint8_t buf[64];
	unsigned n = 0, total = 0;

	(void)arg;
	(void)inb(COM1 + IIR);
	while (total++ < RX_MAX && (inb(COM1 + LSR) & LSR_DATA)) {
		buf[n++] = inb(COM1 + RBR);
		if (n == sizeof(buf)) {
			input(buf, n);
			n = 0;
		}
	}
	if (n)
		input(buf, n);
}

void uart_input_start(void (*fn)(const uint8_t *data, size_t n))
{
	uint64_t flags;
	int err;

	if (!present)
		return;
	input = fn;
	err = arch_isa_irq_attach(COM1_IRQ, uart_interrupt, NULL);
	if (err) {
		log_warn("serial input: no interrupt line (%d)", err);
		return;
	}
	outb(COM1 + IER, IER_RECEIVED);
	/* What arrived before raised no edge. */
	flags = arch_irq_save();
	uart_interrupt(NULL);
	arch_irq_restore(flags);
}
