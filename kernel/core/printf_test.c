/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's formatting against the C library's, over every flag that both have, and strings and truncation. */
#define vsnprintf kernel_vsnprintf
#define snprintf kernel_snprintf
#include "core/printf.c"
#undef vsnprintf
#undef snprintf
#include "test/unit.h"

#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
#pragma clang diagnostic ignored "-Wformat"

static void compare(const char *fmt, uint64_t v)
{
	char ours[128], theirs[128];
	int a = kernel_snprintf(ours, sizeof(ours), fmt, v), b = snprintf(theirs, sizeof(theirs), fmt, v);

	if (a != b || strcmp(ours, theirs)) {
		printf("%s: [%s] %d, want [%s] %d\n", fmt, ours, a, theirs, b);
		unit_failures++;
	}
}

TEST(numbers)
{
	static const char *const flags[] = { "", "-", "0", "-0", "#", "#0" }, *const widths[] = { "", "1", "7", "25" };
	static const char *const precisions[] = { "", ".", ".0", ".3", ".22" }, *const lengths[] = { "", "h", "hh", "l", "ll", "z" };
	static const uint64_t values[] = { 0, 1, 9, 10, 127, 128, 255, 65535, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, UINT64_MAX };
	static const char conversions[] = "diuxXo";

	for (unsigned f = 0; f < ARRAY_SIZE(flags); f++)
		for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
			for (unsigned p = 0; p < ARRAY_SIZE(precisions); p++)
				for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++)
					for (unsigned c = 0; conversions[c]; c++)
						for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
							char fmt[32];

							if (*flags[f] == '#' && (conversions[c] | 32) != 'x')
								continue;
							snprintf(fmt, sizeof(fmt), "<%%%s%s%s%s%c>", flags[f], widths[w], precisions[p], lengths[l], conversions[c]);
							compare(fmt, values[v]);
						}
}

TEST(strings_and_characters)
{
	char b[64];

	kernel_snprintf(b, sizeof(b), "%s|%8s|%-8s|%.2s|%c|%3c|%%|%*d|%-*d|%s", "abc", "abc", "abc", "abc", 'x', 'y', 5, 42, 5, 42, (char *)NULL);
	CHECK(!strcmp(b, "abc|     abc|abc     |ab|x|  y|%|   42|42   |(null)"));
	kernel_snprintf(b, sizeof(b), "%p", (void *)0x1234);
	CHECK(!strcmp(b, "0x1234"));
	kernel_snprintf(b, sizeof(b), "%.3s", (const char[]){ 'a', 'b', 'c' }); /* not terminated: not read past the precision */
	CHECK(!strcmp(b, "abc"));
}

TEST(truncation)
{
	char b[8] = "zzzzzzz";

	CHECK_EQ(kernel_snprintf(b, 4, "%s", "abcdef"), 6);
	CHECK(!strcmp(b, "abc") && b[4] == 'z');
	CHECK_EQ(kernel_snprintf(b, 1, "%d", 1234), 4);
	CHECK_EQ(b[0], 0);
	CHECK_EQ(kernel_snprintf(NULL, 0, "%d", 1234), 4);
	CHECK_EQ(kernel_snprintf(b, sizeof(b), "ab%"), 2);
	CHECK_EQ(kernel_snprintf(b, sizeof(b), "%q"), 2);
}
