/* SPDX-License-Identifier: Apache-2.0 */
/* Formatting: the part of C's vsnprintf that core.h lists. Pure; never allocates. */
#include "core/core.h"

struct out {
	char *buf;
	size_t size, len; /* len counts what was wanted */
};

struct spec {
	bool left, zero, alternate; /* alternate: 0x before hexadecimal numbers */
	int width, precision; /* precision -1: none given */
	unsigned bytes;       /* size of the integer argument */
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void pad(struct out *o, char c, int n)
{
	while (n-- > 0)
		put(o, c);
}

static void put_string(struct out *o, const struct spec *sp, const char *s)
{
	int n;

	if (!s)
		s = "(null)";
	n = (int)(sp->precision >= 0 ? strnlen(s, (size_t)sp->precision) : strlen(s));
	if (!sp->left)
		pad(o, ' ', sp->width - n);
	for (int i = 0; i < n; i++)
		put(o, s[i]);
	if (sp->left)
		pad(o, ' ', sp->width - n);
}

/* prefix: "", "-" or "0x". */
static void put_number(struct out *o, const struct spec *sp, const char *prefix, uint64_t v, unsigned base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	int n = 0, zeros, fill;

	for (; v; v /= base)
		text[n++] = digits[v % base];
	if (!n && sp->precision)
		text[n++] = '0';
	zeros = MAX(sp->precision - n, 0);
	fill = sp->width - n - zeros - (int)strlen(prefix);
	if (sp->zero && !sp->left && sp->precision < 0)
		zeros = MAX(fill, 0), fill = 0;
	if (!sp->left)
		pad(o, ' ', fill);
	while (*prefix)
		put(o, *prefix++);
	pad(o, '0', zeros);
	while (n)
		put(o, text[--n]);
	if (sp->left)
		pad(o, ' ', fill);
}

static int parse_number(const char **f)
{
	int v = 0;

	for (; **f >= '0' && **f <= '9'; (*f)++)
		v = v < 10000 ? v * 10 + (**f - '0') : v;
	return v;
}

/* Flags, width, precision and length; *f then stands at the conversion. ap is a pointer since a width may be an argument. */
static struct spec parse_spec(const char **f, va_list *ap)
{
	struct spec sp = { .precision = -1, .bytes = 4 };

	for (;; (*f)++) {
		if (**f == '-')
			sp.left = true;
		else if (**f == '0')
			sp.zero = true;
		else if (**f == '#')
			sp.alternate = true;
		else
			break;
	}
	if (**f == '*')
		sp.width = va_arg(*ap, int), (*f)++;
	else
		sp.width = parse_number(f);
	if (sp.width < 0)
		sp.left = true, sp.width = -sp.width;
	if (**f == '.') {
		(*f)++;
		if (**f == '*')
			sp.precision = va_arg(*ap, int), (*f)++;
		else
			sp.precision = parse_number(f);
	}
	for (;; (*f)++) {
		if (**f == 'l' || **f == 'z' || **f == 'j' || **f == 't')
			sp.bytes = 8;
		else if (**f == 'h')
			sp.bytes = sp.bytes == 2 ? 1 : 2;
		else
			break;
	}
	return sp;
}

static uint64_t arg_unsigned(const struct spec *sp, va_list *ap)
{
	uint64_t v = sp->bytes == 8 ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);

	return sp->bytes == 2 ? (uint16_t)v : sp->bytes == 1 ? (uint8_t)v : v;
}

static int64_t arg_signed(const struct spec *sp, va_list *ap)
{
	int64_t v = sp->bytes == 8 ? va_arg(*ap, int64_t) : va_arg(*ap, int);

	return sp->bytes == 2 ? (int16_t)v : sp->bytes == 1 ? (int8_t)v : v;
}

static void convert(struct out *o, const struct spec *sp, char c, va_list *ap)
{
	struct spec plain = *sp;
	char one[2] = { 0, 0 };
	uint64_t u;
	int64_t v;

	switch (c) {
	case 'd':
	case 'i':
		v = arg_signed(sp, ap);
		put_number(o, sp, v < 0 ? "-" : "", v < 0 ? -(uint64_t)v : (uint64_t)v, 10, false);
		break;
	case 'u':
		put_number(o, sp, "", arg_unsigned(sp, ap), 10, false);
		break;
	case 'x':
	case 'X':
		u = arg_unsigned(sp, ap);
		put_number(o, sp, !sp->alternate || !u ? "" : c == 'X' ? "0X" : "0x", u, 16, c == 'X');
		break;
	case 'o':
		put_number(o, sp, "", arg_unsigned(sp, ap), 8, false);
		break;
	case 'p':
		put_number(o, sp, "0x", (uintptr_t)va_arg(*ap, void *), 16, false);
		break;
	case 's':
		put_string(o, sp, va_arg(*ap, const char *));
		break;
	case 'c':
		one[0] = (char)va_arg(*ap, int);
		plain.precision = 1;
		if (one[0])
			put_string(o, &plain, one);
		else
			put(o, 0);
		break;
	case '%':
		put(o, '%');
		break;
	default:
		put(o, '%');
		put(o, c);
	}
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = { .buf = buf, .size = size };
	va_list args;

	va_copy(args, ap);
	for (const char *f = fmt; *f; f++) {
		struct spec sp;

		if (*f != '%') {
			put(&o, *f);
			continue;
		}
		f++;
		sp = parse_spec(&f, &args);
		if (!*f)
			break;
		convert(&o, &sp, *f, &args);
	}
	va_end(args);
	if (size)
		buf[MIN(o.len, size - 1)] = 0;
	return (int)o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
