/* SPDX-License-Identifier: Apache-2.0 */
/* 16550A UART: see uart.h. Register names and bits: National Semiconductor PC16550D, section 8. */
#include "user/vmx/uart.h"

#include <string.h>

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 0xc, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4 };
enum { LCR_DLAB = 0x80, MCR_LOOP = 0x10 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
#define VERSION 1

void uart_init(struct uart *u, uint16_t base, uint8_t irq, const struct dev_host *host)
{
	memset(u, 0, sizeof(*u));
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->space, NULL);
	u->host = host;
	u->base = base;
	u->irq = irq;
	u->lsr = LSR_THRE | LSR_TEMT;
	u->dll = 12; /* 9600 */
}

static void set_lsr(struct uart *u, uint8_t v) { __atomic_store_n(&u->lsr, v, __ATOMIC_RELEASE); }

static unsigned rx_trigger(const struct uart *u)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The cause to report, highest priority first. */
static uint8_t cause(const struct uart *u)
{
	if ((u->ier & IER_LINE) && (u->lsr & LSR_OE))
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx_count)
		return u->rx_count >= rx_trigger(u) ? IIR_RX : IIR_TIMEOUT;
	if ((u->ier & IER_TX) && u->thre_pending)
		return IIR_TX;
	if ((u->ier & IER_MODEM) && u->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	bool level = cause(u) != IIR_NONE;

	if (level != u->irq_level) {
		u->irq_level = level;
		u->host->set_irq(u->host->ctx, u->irq, level);
	}
}

static uint8_t modem_lines(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((u->mcr & 2 ? MSR_CTS : 0) | (u->mcr & 1 ? MSR_DSR : 0) | (u->mcr & 4 ? MSR_RI : 0) | (u->mcr & 8 ? MSR_DCD : 0));
}

static void rx_push(struct uart *u, uint8_t byte)
{
	if (u->rx_count == UART_FIFO) {
		set_lsr(u, u->lsr | LSR_OE);
		return;
	}
	u->rx[(u->rx_head + u->rx_count++) % UART_FIFO] = byte;
	set_lsr(u, u->lsr | LSR_DR);
}

static uint8_t rx_pop(struct uart *u)
{
	uint8_t byte;

	if (!u->rx_count)
		return 0;
	byte = u->rx[u->rx_head];
	u->rx_head = (u->rx_head + 1) % UART_FIFO;
	if (!--u->rx_count) {
		set_lsr(u, u->lsr & ~LSR_DR);
		pthread_cond_signal(&u->space);
	}
	return byte;
}

static void rx_clear(struct uart *u)
{
	u->rx_count = 0;
	set_lsr(u, u->lsr & ~LSR_DR);
	pthread_cond_signal(&u->space);
}

static void flush_locked(struct uart *u)
{
	if (u->out_count && u->send)
		u->send(u->ctx, u->out, u->out_count);
	u->out_count = 0;
}

static void transmit(struct uart *u, uint8_t byte)
{
	u->thre_pending = true;
	if (u->mcr & MCR_LOOP) {
		rx_push(u, byte);
		return;
	}
	u->out[u->out_count++] = byte;
	if (byte == '\n' || u->out_count == UART_OUT)
		flush_locked(u);
	else if (u->out_count == 1 && u->flush_later)
		u->flush_later(u->ctx);
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t c = cause(u);

	if (c == IIR_TX)
		u->thre_pending = false;
	return c | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t v = u->lsr;

	set_lsr(u, v & ~LSR_OE);
	return v;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t v = modem_lines(u) | u->msr_delta;

	u->msr_delta = 0;
	return v;
}

static uint8_t read_register(struct uart *u, unsigned reg)
{
	switch (reg) {
	case RBR_THR_DLL: return u->lcr & LCR_DLAB ? u->dll : rx_pop(u);
	case IER_DLM: return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case IIR_FCR: return read_iir(u);
	case LCR: return u->lcr;
	case MCR: return u->mcr;
	case LSR: return read_lsr(u);
	case MSR: return read_msr(u);
	default: return u->scr;
	}
}

uint32_t uart_in(void *uart, uint16_t port, unsigned size)
{
	struct uart *u = uart;
	unsigned reg = (port - u->base) & 7;
	uint8_t v;

	if (reg == LSR) {
		v = __atomic_load_n(&u->lsr, __ATOMIC_ACQUIRE);
		if (!(v & LSR_OE))
			return v;
	}
	pthread_mutex_lock(&u->lock);
	v = read_register(u, reg);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return v;
}

static void write_ier(struct uart *u, uint8_t v)
{
	if ((v & IER_TX) && !(u->ier & IER_TX))
		u->thre_pending = true; /* enabling it while the transmitter is empty raises it */
	u->ier = v & 0x0f;
}

static void write_fcr(struct uart *u, uint8_t v)
{
	if ((v ^ u->fcr) & FCR_ENABLE)
		v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	if (v & FCR_CLEAR_RX)
		rx_clear(u);
	if (v & FCR_CLEAR_TX)
		u->thre_pending = true;
	u->fcr = v & 0xc9;
}

static void write_mcr(struct uart *u, uint8_t v)
{
	uint8_t before = modem_lines(u), changed;

	u->mcr = v & 0x1f;
	changed = before ^ modem_lines(u);
	u->msr_delta |= (uint8_t)((changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4);
	if ((changed & MSR_RI) && (before & MSR_RI))
		u->msr_delta |= 4; /* trailing edge of RI */
}

static void write_register(struct uart *u, unsigned reg, uint8_t v)
{
	switch (reg) {
	case RBR_THR_DLL:
		if (u->lcr & LCR_DLAB)
			u->dll = v;
		else
			transmit(u, v);
		break;
	case IER_DLM:
		if (u->lcr & LCR_DLAB)
			u->dlm = v;
		else
			write_ier(u, v);
		break;
	case IIR_FCR: write_fcr(u, v); break;
	case LCR: u->lcr = v; break;
	case MCR: write_mcr(u, v); break;
	case SCR: u->scr = v; break;
	default: break; /* LSR and MSR: factory test only */
	}
}

void uart_out(void *uart, uint16_t port, unsigned size, uint32_t value)
{
	struct uart *u = uart;

	pthread_mutex_lock(&u->lock);
	write_register(u, (port - u->base) & 7, (uint8_t)value);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

size_t uart_receive(struct uart *u, const uint8_t *buf, size_t n)
{
	size_t done = 0;

	pthread_mutex_lock(&u->lock);
	if (u->mcr & MCR_LOOP)
		done = n; /* the line is cut off in loopback mode */
	while (done < n && u->rx_count < (u->fcr & FCR_ENABLE ? UART_FIFO : 1))
		rx_push(u, buf[done++]);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return done;
}

void uart_wait_space(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	while (u->rx_count)
		pthread_cond_wait(&u->space, &u->lock);
	pthread_mutex_unlock(&u->lock);
}

void uart_flush(void *uart)
{
	struct uart *u = uart;

	pthread_mutex_lock(&u->lock);
	flush_locked(u);
	pthread_mutex_unlock(&u->lock);
}

/* Power-on state. Output that waited is sent; input that waited is lost. */
void uart_reset(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	flush_locked(u);
	u->ier = u->fcr = u->lcr = u->mcr = u->msr_delta = u->scr = u->dlm = 0;
	u->dll = 12;
	u->thre_pending = false;
	rx_clear(u);
	set_lsr(u, LSR_THRE | LSR_TEMT);
	update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

void uart_save(struct uart *u, struct state_out *o)
{
	pthread_mutex_lock(&u->lock);
	state_begin(o, UART_TAG, VERSION, 0);
	const uint8_t regs[] = { u->ier, u->fcr, u->lcr, u->mcr, u->msr_delta, u->scr, u->dll, u->dlm, u->lsr, u->thre_pending, u->rx_count };
	state_put(o, regs, sizeof(regs));
	for (unsigned i = 0; i < UART_FIFO; i++)
		state_put_u8(o, u->rx[(u->rx_head + i) % UART_FIFO]);
	state_put_u8(o, (uint8_t)u->out_count);
	state_put(o, u->out, UART_OUT);
	state_end(o);
	pthread_mutex_unlock(&u->lock);
}

bool uart_load(struct uart *u, struct state_in *in)
{
	uint8_t regs[11], rx[UART_FIFO], out[UART_OUT], out_count;

	state_get(in, regs, sizeof(regs));
	state_get(in, rx, sizeof(rx));
	out_count = state_get_u8(in);
	state_get(in, out, sizeof(out));
	if (in->bad || in->version > VERSION || regs[9] > 1 || regs[10] > UART_FIFO || out_count >= UART_OUT)
		return false;
	pthread_mutex_lock(&u->lock);
	u->ier = regs[0] & 0x0f;
	u->fcr = regs[1] & 0xc9;
	u->lcr = regs[2];
	u->mcr = regs[3] & 0x1f;
	u->msr_delta = regs[4] & 0x0f;
	u->scr = regs[5];
	u->dll = regs[6];
	u->dlm = regs[7];
	u->thre_pending = regs[9];
	u->rx_head = 0;
	u->rx_count = regs[10];
	memcpy(u->rx, rx, sizeof(rx));
	u->out_count = out_count;
	memcpy(u->out, out, sizeof(out));
	set_lsr(u, (uint8_t)(LSR_THRE | LSR_TEMT | (regs[8] & LSR_OE) | (u->rx_count ? LSR_DR : 0)));
	if (u->out_count && u->flush_later)
		u->flush_later(u->ctx);
	pthread_cond_signal(&u->space);
	u->irq_level = cause(u) != IIR_NONE;
	u->host->set_irq(u->host->ctx, u->irq, u->irq_level); /* whatever the line was */
	pthread_mutex_unlock(&u->lock);
	return true;
}
