/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of debug builds, each with the mistake that it is for planted. */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "test/unit.h"
#include <setjmp.h>

uint64_t host_clock_ns;
static unsigned preempt, cpu;
static jmp_buf back;
static char text[256];

void preempt_disable(void) { preempt++; }
void preempt_enable(void) { preempt--; }
unsigned preempt_depth(void) { return preempt; }
unsigned arch_cpu_id(void) { return cpu; }
void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	longjmp(back, 1);
}
#define PANICS(statement, words)                                                          \
	do {                                                                              \
		text[0] = 0;                                                              \
		if (!setjmp(back)) {                                                      \
			statement;                                                        \
		}                                                                         \
		CHECK(strstr(text, words) || (printf("[%s]\n", text), 0));                \
		preempt = 0;                                                              \
	} while (0)

TEST(order)
{
	struct spinlock low = SPINLOCK_INIT("low", RANK_VM), high = SPINLOCK_INIT("high", RANK_HEAP), twin = SPINLOCK_INIT("twin", RANK_VM);

	preempt = 0;
	spin_lock(&low);
	spin_lock(&high);
	CHECK_EQ(preempt, 2);
	spin_unlock(&low); /* any order of release */
	spin_unlock(&high);
	CHECK_EQ(preempt, 0);
	spin_lock(&high);
	PANICS(spin_lock(&low), "low (rank 10) taken while holding high (rank 100)");
	spin_unlock(&high);
	spin_lock(&low);
	PANICS(spin_lock(&twin), "taken while holding");
	PANICS(spin_lock(&low), "low taken twice");
	spin_unlock(&low);
}

TEST(equal_rank_by_address)
{
	struct spinlock l[2] = { SPINLOCK_INIT("first", RANK_HVDEV), SPINLOCK_INIT("second", RANK_HVDEV) };

	spin_lock(&l[0]);
	spin_lock_nested(&l[1]);
	spin_unlock(&l[1]);
	spin_unlock(&l[0]);
	spin_lock(&l[1]);
	PANICS(spin_lock_nested(&l[0]), "first (rank 60) taken while holding second");
	spin_unlock(&l[1]);
}

TEST(release_by_another)
{
	struct spinlock l = SPINLOCK_INIT("mine", RANK_FS);

	spin_lock(&l);
	CHECK(spin_held(&l));
	cpu = 1;
	CHECK(!spin_held(&l));
	PANICS(spin_unlock(&l), "does not hold");
	cpu = 0;
	preempt = 1;
	spin_unlock(&l);
	PANICS(spin_unlock(&l), "does not hold");
}

TEST(try)
{
	struct spinlock l = SPINLOCK_INIT("l", RANK_FS);

	preempt = 0;
	CHECK(spin_trylock(&l));
	cpu = 1;
	CHECK(!spin_trylock(&l));
	cpu = 0;
	spin_unlock(&l);
	CHECK_EQ(preempt, 0);
}
