/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's memory functions against the C library's, at every small length, offset and overlap. */
#define memcpy kernel_memcpy
#define memmove kernel_memmove
#define memset kernel_memset
#define memcmp kernel_memcmp
#define strlen kernel_strlen
#define strnlen kernel_strnlen
#define strcmp kernel_strcmp
#define strncmp kernel_strncmp
#define strchr kernel_strchr
#define strlcpy kernel_strlcpy
#include "core/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strlcpy
#include "test/unit.h"

#define SIZE 96
static uint8_t a[SIZE], b[SIZE], start[SIZE];

static void fill(void)
{
	for (unsigned i = 0; i < SIZE; i++)
		start[i] = (uint8_t)(i * 37 + 1);
	memcpy(a, start, SIZE);
	memcpy(b, start, SIZE);
}

TEST(copies)
{
	for (unsigned n = 0; n < 40; n++)
		for (unsigned d = 0; d < 40; d++)
			for (unsigned s = 0; s < 40; s++) {
				fill();
				kernel_memmove(a + d, a + s, n);
				memmove(b + d, b + s, n);
				CHECK(!memcmp(a, b, SIZE));
				fill();
				kernel_memcpy(a + d, start + s, n);
				memcpy(b + d, start + s, n);
				CHECK(!memcmp(a, b, SIZE));
			}
}

static int sign(int v) { return (v > 0) - (v < 0); }

TEST(fill_and_compare)
{
	for (unsigned n = 0; n < 40; n++)
		for (unsigned d = 0; d < 20; d++) {
			fill();
			kernel_memset(a + d, 0x1c3, n);
			memset(b + d, 0xc3, n);
			CHECK(!memcmp(a, b, SIZE));
			CHECK_EQ(sign(kernel_memcmp(a + d, start + d, n)), sign(memcmp(a + d, start + d, n)));
			CHECK_EQ(kernel_memcmp(a, b, SIZE), 0);
		}
}

TEST(strings)
{
	char buf[4];

	CHECK_EQ(kernel_strlen("abc"), 3);
	CHECK_EQ(kernel_strnlen("abc", 2), 2);
	CHECK(kernel_strcmp("a", "b") < 0 && kernel_strcmp("ab", "a") > 0 && !kernel_strcmp("", "") && kernel_strcmp("\x80", "a") > 0);
	CHECK(!kernel_strncmp("abc", "abd", 2) && kernel_strncmp("abc", "abd", 3) < 0 && !kernel_strncmp("a", "a", 9));
	CHECK(*kernel_strchr("abc", 'b') == 'b' && !kernel_strchr("abc", 'x') && !*kernel_strchr("abc", 0));
	CHECK_EQ(kernel_strlcpy(buf, "abcdef", sizeof(buf)), 6);
	CHECK(!strcmp(buf, "abc"));
}
