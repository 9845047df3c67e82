/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line discipline. Canonical mode keeps the line under edit behind `ready`; a line end or ^D moves `ready` up to it. Raw mode
 * reads whatever is between head and tail. When the ring is full, further bytes are dropped, but a line end always fits:
 * the last place is kept for it.
 */
#include "fs/ldisc.h"
#include "core/core.h"

static bool lflag(const struct ldisc *l, uint32_t f) { return l->termios.lflag & f; }
static uint32_t used(const struct ldisc *l) { return l->tail - l->head; }
static bool is_cc(const struct ldisc *l, int which, uint8_t c) { return l->termios.cc[which] && l->termios.cc[which] == c; }
static void emit(struct ldisc *l, const char *bytes, size_t n) { l->emit(l->ctx, bytes, n); }

void ldisc_init(struct ldisc *l, void (*emit_fn)(void *, const char *, size_t), void *ctx)
{
	static const uint8_t cc[TTY_NCCS] = {
		[TTY_VINTR] = 3, [TTY_VQUIT] = 28, [TTY_VERASE] = 127, [TTY_VKILL] = 21, [TTY_VEOF] = 4, [TTY_VMIN] = 1, [TTY_VSTART] = 17,
		[TTY_VSTOP] = 19, [TTY_VSUSP] = 26, [TTY_VREPRINT] = 18, [TTY_VDISCARD] = 15, [TTY_VWERASE] = 23, [TTY_VLNEXT] = 22,
	};

	memset(l, 0, sizeof(*l));
	l->emit = emit_fn;
	l->ctx = ctx;
	l->termios.iflag = TTY_ICRNL | TTY_IXON;
	l->termios.oflag = TTY_OPOST | TTY_ONLCR;
	l->termios.cflag = 010002 | 060 | 0200 | 04000; /* B115200, CS8, CREAD, CLOCAL */
	l->termios.lflag = TTY_ISIG | TTY_ICANON | TTY_ECHO | TTY_ECHOE | TTY_ECHOK | TTY_ECHOCTL | TTY_ECHOKE | TTY_IEXTEN;
	memcpy(l->termios.cc, cc, sizeof(cc));
}

/* ---- output ---- */

void ldisc_output(struct ldisc *l, const char *bytes, size_t n)
{
	char out[128];
	size_t len = 0;

	if (!(l->termios.oflag & TTY_OPOST)) {
		emit(l, bytes, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (len > sizeof(out) - 2) {
			emit(l, out, len);
			len = 0;
		}
		if (bytes[i] == '\n' && (l->termios.oflag & TTY_ONLCR))
			out[len++] = '\r';
		out[len++] = bytes[i];
	}
	if (len)
		emit(l, out, len);
}

static bool shown_as_caret(const struct ldisc *l, uint8_t c)
{
	return lflag(l, TTY_ECHOCTL) && (c < 32 || c == 127) && c != '\t' && c != '\n' && c != '\r';
}

static void echo(struct ldisc *l, uint8_t c)
{
	char text[2] = { '^', (char)(c ^ 0x40) };

	if (!lflag(l, TTY_ECHO)) {
		if (c == '\n' && lflag(l, TTY_ECHONL) && lflag(l, TTY_ICANON))
			ldisc_output(l, "\n", 1);
		return;
	}
	if (shown_as_caret(l, c))
		ldisc_output(l, text, 2);
	else
		ldisc_output(l, (const char *)&c, 1);
}

/* ---- editing the line ---- */

static uint16_t last(const struct ldisc *l) { return l->in[(l->tail - 1) % LDISC_SIZE]; }

static void erase_one(struct ldisc *l)
{
	uint16_t c = last(l);

	/* A UTF-8 character's trailing bytes go with its first one, and it takes one column. */
	while ((c & 0xc0) == 0x80 && l->tail - 1 != l->ready) {
		l->tail--;
		c = last(l);
	}
	l->tail--;
	if (lflag(l, TTY_ECHO) && lflag(l, TTY_ECHOE))
		for (int i = shown_as_caret(l, (uint8_t)c) ? 2 : 1; i > 0; i--)
			emit(l, "\b \b", 3);
}

static bool edit(struct ldisc *l, uint8_t c)
{
	if (is_cc(l, TTY_VERASE, c) || (c == '\b' && l->termios.cc[TTY_VERASE] == 127)) {
		if (l->tail != l->ready)
			erase_one(l);
		return true;
	}
	if (is_cc(l, TTY_VKILL, c)) {
		while (l->tail != l->ready)
			erase_one(l);
		return true;
	}
	if (is_cc(l, TTY_VWERASE, c) && lflag(l, TTY_IEXTEN)) {
		while (l->tail != l->ready && last(l) == ' ')
			erase_one(l);
		while (l->tail != l->ready && last(l) != ' ')
			erase_one(l);
		return true;
	}
	return false;
}

static void append(struct ldisc *l, uint16_t c) { l->in[l->tail++ % LDISC_SIZE] = c; }

static void input_canonical(struct ldisc *l, uint8_t c)
{
	bool line_end = c == '\n' || is_cc(l, TTY_VEOL, c), eof = is_cc(l, TTY_VEOF, c);

	if (edit(l, c))
		return;
	if (used(l) >= LDISC_SIZE - (line_end || eof ? 0u : 1u))
		return;
	if (!eof)
		echo(l, c);
	append(l, eof ? LDISC_EOF : c);
	if (line_end || eof)
		l->ready = l->tail;
}

static int signal_of(struct ldisc *l, uint8_t c)
{
	if (!lflag(l, TTY_ISIG))
		return 0;
	return is_cc(l, TTY_VINTR, c) ? SIGINT_ : is_cc(l, TTY_VQUIT, c) ? SIGQUIT_ : is_cc(l, TTY_VSUSP, c) ? SIGTSTP_ : 0;
}

int ldisc_input(struct ldisc *l, uint8_t c)
{
	uint32_t iflag = l->termios.iflag;
	int sig;

	if (iflag & TTY_ISTRIP)
		c &= 0x7f;
	if (c == '\r') {
		if (iflag & TTY_IGNCR)
			return 0;
		if (iflag & TTY_ICRNL)
			c = '\n';
	} else if (c == '\n' && (iflag & TTY_INLCR)) {
		c = '\r';
	}
	if (iflag & TTY_IXON) {
		if (is_cc(l, TTY_VSTOP, c) || is_cc(l, TTY_VSTART, c)) {
			l->stopped = is_cc(l, TTY_VSTOP, c);
			return 0;
		}
	}
	sig = signal_of(l, c);
	if (sig) {
		if (!lflag(l, TTY_NOFLSH))
			ldisc_flush_input(l);
		echo(l, c);
		l->stopped = false;
		return sig;
	}
	if (lflag(l, TTY_ICANON)) {
		input_canonical(l, c);
	} else if (used(l) < LDISC_SIZE) {
		append(l, c);
		l->ready = l->tail;
		echo(l, c);
	}
	return 0;
}

/* ---- reading ---- */

uint32_t ldisc_available(const struct ldisc *l) { return (lflag(l, TTY_ICANON) ? l->ready : l->tail) - l->head; }
bool ldisc_readable(const struct ldisc *l) { return ldisc_available(l) > 0; }

size_t ldisc_read(struct ldisc *l, char *buf, size_t n)
{
	uint32_t left = ldisc_available(l);
	size_t done = 0;

	while (done < n && left--) {
		uint16_t c = l->in[l->head % LDISC_SIZE];

		if (c == LDISC_EOF) {
			l->head++;
			if (lflag(l, TTY_ICANON))
				return done;
			continue;
		}
		l->head++;
		buf[done++] = (char)c;
		if (lflag(l, TTY_ICANON) && (c == '\n' || is_cc(l, TTY_VEOL, (uint8_t)c)))
			return done;
	}
	/* ^D after text only ends the read that it completes: it must not read as an end of file of its own next time. */
	if (done && left != UINT32_MAX && left && lflag(l, TTY_ICANON) && l->in[l->head % LDISC_SIZE] == LDISC_EOF)
		l->head++;
	return done;
}

void ldisc_flush_input(struct ldisc *l) { l->head = l->ready = l->tail; }

void ldisc_set(struct ldisc *l, const struct linux_termios *t)
{
	bool was_canonical = lflag(l, TTY_ICANON);

	l->termios = *t;
	if (was_canonical && !lflag(l, TTY_ICANON))
		l->ready = l->tail; /* the line under edit becomes readable as it is */
}
