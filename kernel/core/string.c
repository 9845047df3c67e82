/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and string functions. The compiler calls the first four on its own, so nothing here may be
 * turned back into a call of itself (hence the pragma).
 *
 * Long copies go by eight bytes an iteration: that is what processors without fast byte strings
 * like, and an instruction-counting emulator counts each iteration of a REP as one instruction.
 */
#include "core/core.h"

#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

typedef uint64_t __attribute__((may_alias, aligned(1))) word_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) half_t;

/* At most 16 bytes: everything is loaded before anything is stored, so that overlap does not matter. */
static inline void copy_small(uint8_t *d, const uint8_t *s, size_t n)
{
	if (n >= 8) {
		uint64_t a = *(const word_t *)s, b = *(const word_t *)(s + n - 8);

		*(word_t *)d = a;
		*(word_t *)(d + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const half_t *)s, b = *(const half_t *)(s + n - 4);

		*(half_t *)d = a;
		*(half_t *)(d + n - 4) = b;
	} else if (n) {
		uint8_t a = s[0], b = s[n / 2], c = s[n - 1];

		d[0] = a;
		d[n / 2] = b;
		d[n - 1] = c;
	}
}

void *memcpy(void *d, const void *s, size_t n)
{
	void *to = d;
	size_t words = n >> 3;

	if (n <= 16) {
		copy_small(d, s, n);
		return d;
	}
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(s), "+c"(words) : : "memory");
	n &= 7;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n) : : "memory");
	return d;
}

void *memmove(void *d, const void *s, size_t n)
{
	uint8_t *to = d;
	const uint8_t *from = s;

	if (to <= from || to >= from + n || n <= 16)
		return memcpy(d, s, n);
	while (n >= 8) {
		n -= 8;
		*(word_t *)(to + n) = *(const word_t *)(from + n);
	}
	while (n--)
		to[n] = from[n];
	return d;
}

void *memset(void *d, int c, size_t n)
{
	uint64_t word = 0x0101010101010101ull * (uint8_t)c;
	size_t words = n >> 3;
	void *to = d;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(word) : "memory");
	n &= 7;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(word) : "memory");
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	while (n >= 8 && *(const word_t *)x == *(const word_t *)y)
		x += 8, y += 8, n -= 8;
	for (; n; x++, y++, n--)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	while (n && *a && *a == *b)
		a++, b++, n--;
	return n ? (uint8_t)*a - (uint8_t)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)(uintptr_t)s;
}

size_t strlcpy(char *d, const char *s, size_t size)
{
	size_t n = strlen(s);

	if (size) {
		size_t m = MIN(n, size - 1);

		memcpy(d, s, m);
		d[m] = 0;
	}
	return n;
}
