/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's log: a ring of 64 KiB and the sinks (serial port, screen) that get each line as it is
 * written.
 *
 * A line may come from any context, NMI included. So the lock is one word that names the CPU that
 * holds it: a line that interrupts its own CPU inside the lock (an NMI, a fault in a sink) cannot
 * wait for it and is put aside in one of a few slots, which the holder empties before it lets go.
 * When the machine panics, the one CPU that still runs takes no lock at all.
 *
 * Lock order: the log's lock is the last one; sinks run under it and take only their own device's.
 */
#include "arch/x86/arch.h"
#include "core/core.h"

#define RING_SIZE 65536u
#define LINE_MAX 512
#define ASIDE_MAX 256

static char ring[RING_SIZE];
static uint64_t ring_end;          /* stream offset of the next byte; the lock's holder writes it */
static uint32_t log_owner;         /* CPU id + 1, 0 free */
static struct log_sink *sinks;     /* the log's lock */

enum { ASIDE_FREE, ASIDE_FILLING, ASIDE_FULL };
static struct aside {
	uint32_t state;
	char text[ASIDE_MAX];
} aside[4];
static uint32_t aside_lost;

/* False when this CPU holds it already. Interrupts off. */
static bool log_lock(void)
{
	uint32_t me = arch_cpu_id() + 1, seen = 0;

	if (READ_ONCE(panic_cpu) == me)
		return true;
	while (!__atomic_compare_exchange_n(&log_owner, &seen, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (seen == me)
			return false;
		seen = 0;
		arch_pause();
	}
	return true;
}

static void emit(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ring[(ring_end + i) % RING_SIZE] = text[i];
	__atomic_store_n(&ring_end, ring_end + len, __ATOMIC_RELEASE);
	for (struct log_sink *s = sinks; s; s = s->next)
		s->write(text, len);
}

static void aside_drain(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(aside); i++)
		if (__atomic_load_n(&aside[i].state, __ATOMIC_ACQUIRE) == ASIDE_FULL) {
			emit(aside[i].text, strlen(aside[i].text));
			__atomic_store_n(&aside[i].state, ASIDE_FREE, __ATOMIC_RELEASE);
		}
}

static void log_unlock(void)
{
	aside_drain();
	__atomic_store_n(&log_owner, 0, __ATOMIC_RELEASE);
}

static void aside_put(const char *text)
{
	for (unsigned i = 0; i < ARRAY_SIZE(aside); i++) {
		uint32_t seen = ASIDE_FREE;

		if (!__atomic_compare_exchange_n(&aside[i].state, &seen, ASIDE_FILLING, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		if (strlcpy(aside[i].text, text, ASIDE_MAX) >= ASIDE_MAX)
			aside[i].text[ASIDE_MAX - 2] = '\n';
		__atomic_store_n(&aside[i].state, ASIDE_FULL, __ATOMIC_RELEASE);
		return;
	}
	__atomic_fetch_add(&aside_lost, 1, __ATOMIC_RELAXED);
}

static size_t format_line(char *line, enum log_level level, const char *fmt, va_list ap)
{
	static const char *const word[] = { "error: ", "warning: ", "", "" };
	uint64_t us = tsc_hz ? clock_ns() / 1000 : 0;
	int n = snprintf(line, LINE_MAX, "[%5lu.%06lu] %s", us / 1000000, us % 1000000, word[level]);

	n += vsnprintf(line + n, LINE_MAX - 1 - (size_t)n, fmt, ap);
	if (n > LINE_MAX - 2)
		n = LINE_MAX - 2;
	/* One call, one line: what a name or a guest brought in must not forge further lines. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			line[i] = '?';
	line[n] = '\n';
	line[n + 1] = 0;
	return (size_t)n + 1;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX];
	uint64_t flags;
	va_list ap;
	size_t n;

#ifndef CONFIG_DEBUG
	if (level == LOG_DEBUG)
		return;
#endif
	va_start(ap, fmt);
	n = format_line(line, level, fmt, ap);
	va_end(ap);
	flags = arch_irq_save();
	if (log_lock()) {
		emit(line, n);
		log_unlock();
	} else {
		aside_put(line);
	}
	arch_irq_restore(flags);
}

/* What the ring still holds, at most `size` bytes from *pos; the lock is held. */
static size_t ring_copy(uint64_t *pos, char *buf, size_t size)
{
	uint64_t oldest = ring_end > RING_SIZE ? ring_end - RING_SIZE : 0;
	size_t n;

	if (*pos < oldest)
		*pos = oldest;
	if (*pos >= ring_end)
		return 0;
	n = MIN(size, ring_end - *pos);
	for (size_t i = 0; i < n; i++)
		buf[i] = ring[(*pos + i) % RING_SIZE];
	*pos += n;
	return n;
}

size_t log_read(uint64_t *pos, char *buf, size_t size)
{
	uint64_t flags = arch_irq_save();
	size_t n = 0;

	if (log_lock()) {
		n = ring_copy(pos, buf, MIN(size, 4096u));
		log_unlock();
	}
	arch_irq_restore(flags);
	return n;
}

void log_sink_add(struct log_sink *s)
{
	uint64_t flags = arch_irq_save(), pos = 0;
	bool locked = log_lock();
	char piece[128];
	size_t n;

	while ((n = ring_copy(&pos, piece, sizeof(piece))))
		s->write(piece, n);
	s->next = sinks;
	sinks = s;
	if (locked)
		log_unlock();
	arch_irq_restore(flags);
}

void log_sink_remove(struct log_sink *s)
{
	uint64_t flags = arch_irq_save();
	bool locked = log_lock();

	for (struct log_sink **p = &sinks; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	if (locked)
		log_unlock();
	arch_irq_restore(flags);
}
