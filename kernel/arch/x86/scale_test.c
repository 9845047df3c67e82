/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions between TSC ticks, nanoseconds and APIC timer ticks. */
#include "arch/x86/scale.h"
#include "test/unit.h"

#define GHZ 1000000000ull

TEST(exact_at_one_ghz)
{
	uint64_t f = scale_make(GHZ, GHZ);

	CHECK_EQ(scale(0, f), 0);
	CHECK_EQ(scale(123456789012345ull, f), 123456789012345ll);
}

TEST(there_and_back)
{
	static const uint64_t hz[] = { 800000000, GHZ, 2596129481, 2999999999, 3700000000, 4294967295, 4294967296, 5123456789, 9999999999 };

	for (unsigned i = 0; i < sizeof(hz) / sizeof(hz[0]); i++) {
		uint64_t to_ns = scale_make(hz[i], GHZ), to_tsc = scale_make(GHZ, hz[i]);
		uint64_t year = 365ull * 86400 * GHZ;

		/* A second is right to 3 ns, a year there and back to 100 ms: the factors are cut off at 32 bits. */
		CHECK(scale(hz[i], to_ns) + 3 >= GHZ && scale(hz[i], to_ns) <= GHZ);
		CHECK(scale(GHZ, to_tsc) + 3 >= hz[i] && scale(GHZ, to_tsc) <= hz[i]);
		CHECK(year - scale(scale(year, to_tsc), to_ns) < 100000000);
	}
}

TEST(frequencies_are_rounded_only_within_doubt)
{
	CHECK_EQ(frequency_round(999995000, 10000, 1000000), 1000000000);
	CHECK_EQ(frequency_round(2596129481, 50000, 1000000), 2596129481);
	CHECK_EQ(frequency_round(2596029481, 200000, 1000000), 2596000000);
	CHECK_EQ(frequency_round(2596129481, 200000, 1000000), 2596129481); /* 50 parts in a million away */
	CHECK_EQ(frequency_round(100, 1000000, 1000000), 100); /* never to 0 */
}
