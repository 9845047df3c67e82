/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole unit-test framework: TEST(name) { … } registers itself; CHECK counts. Each test
 * program ends with "N passed, N failed" and a non-zero status when anything failed or nothing ran.
 */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_test {
	const char *name;
	void (*fn)(void);
	struct unit_test *next;
};
static struct unit_test *unit_tests;
static int unit_failures;

#define TEST(id)                                                                          \
	static void unit_fn_##id(void);                                                   \
	static struct unit_test unit_##id = { #id, unit_fn_##id, NULL };                  \
	__attribute__((constructor)) static void unit_reg_##id(void)                      \
	{                                                                                 \
		unit_##id.next = unit_tests;                                              \
		unit_tests = &unit_##id;                                                  \
	}                                                                                 \
	static void unit_fn_##id(void)

#define CHECK(c)                                                                          \
	do {                                                                              \
		if (!(c)) {                                                               \
			printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #c);      \
			unit_failures++;                                                  \
		}                                                                         \
	} while (0)

#define CHECK_EQ(a, b)                                                                    \
	do {                                                                              \
		long long a_ = (long long)(a), b_ = (long long)(b);                       \
		if (a_ != b_) {                                                           \
			printf("%s:%d: %s = %lld (0x%llx), want %s = %lld (0x%llx)\n",    \
			       __FILE__, __LINE__, #a, a_, a_, #b, b_, b_);               \
			unit_failures++;                                                  \
		}                                                                         \
	} while (0)

int main(void)
{
	int passed = 0, failed = 0;

	for (struct unit_test *t = unit_tests; t; t = t->next) {
		int before = unit_failures;

		t->fn();
		if (unit_failures == before)
			passed++;
		else
			failed++, printf("FAIL %s\n", t->name);
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed || !passed;
}

#endif
