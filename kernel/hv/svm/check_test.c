/* SPDX-License-Identifier: Apache-2.0 */
/* Each check of check.c, first passing, then with the bug planted that it exists for. */
#include "hv/svm/svm_priv.h"
#include "test/unit.h"

static struct vmcb now, then;

static void good(void)
{
	memset(&now, 0, sizeof(now));
	now.c.misc2 = ICPT_VMRUN;
	now.c.asid = 1;
	now.c.clean = CLEAN_ALL;
	now.s.efer = EFER_SVME | BIT(8) | BIT(10);
	now.s.cr0 = BIT(31) | BIT(0) | BIT(5);
	now.s.cr4 = BIT(5);
	now.s.cs.attr = 0xa9b;
	now.s.dr6 = 0xffff0ff0;
	now.s.dr7 = 0x400;
	then = now;
}

TEST(good_state_passes)
{
	good();
	CHECK(!svm_check_clean(&now, &then));
	CHECK(!svm_check_state(&now, 40, 57));
	CHECK(!svm_check_generation(5, 5, TLB_KEEP));
}

#define STALE(field, group)                              \
	do {                                             \
		good();                                  \
		now.field ^= 1;                          \
		CHECK(svm_check_clean(&now, &then));     \
		now.c.clean &= ~(uint32_t)(group);       \
		CHECK(!svm_check_clean(&now, &then));    \
	} while (0)

TEST(planted_write_under_a_clean_bit)
{
	STALE(c.misc1, CLEAN_INTERCEPTS);
	STALE(c.cr_write, CLEAN_INTERCEPTS);
	STALE(c.exceptions, CLEAN_INTERCEPTS);
	STALE(c.tsc_offset, CLEAN_INTERCEPTS);
	STALE(c.msrpm, CLEAN_MAPS);
	STALE(c.asid, CLEAN_ASID);
	STALE(c.int_ctl, CLEAN_INT);
	STALE(c.int_vector, CLEAN_INT);
	STALE(c.nested_cr3, CLEAN_NESTED);
	STALE(s.g_pat, CLEAN_NESTED);
	STALE(s.cr0, CLEAN_CR);
	STALE(s.cr3, CLEAN_CR);
	STALE(s.efer, CLEAN_CR);
	STALE(s.dr7, CLEAN_DR);
	STALE(s.idtr.base, CLEAN_TABLES);
	STALE(s.cs.selector, CLEAN_SEG);
	STALE(s.cpl, CLEAN_SEG);
	STALE(s.cr2, CLEAN_CR2);
}

#define REFUSED(stmt)                                    \
	do {                                             \
		good();                                  \
		stmt;                                    \
		CHECK(svm_check_state(&now, 40, 48));    \
	} while (0)

TEST(planted_bad_states)
{
	REFUSED(now.s.efer &= ~EFER_SVME);
	REFUSED(now.s.cr0 |= BIT(29));
	REFUSED(now.s.cr0 |= BIT(32));
	REFUSED(now.s.cr3 = BIT(40));
	REFUSED(now.s.cr4 |= BIT(33));
	REFUSED(now.s.cr4 = 0);
	REFUSED(now.s.dr6 |= BIT(32));
	REFUSED(now.s.dr7 |= BIT(32));
	REFUSED(now.s.cs.attr |= 0x400);
	REFUSED(now.s.fs.base = BIT(47));
	REFUSED(now.s.idtr.base = BIT(47));
	REFUSED(now.c.misc2 = 0);
	REFUSED(now.c.asid = 0);
	REFUSED(now.c.event_inj = EVENT_VALID | 0x30);
	REFUSED(now.c.event_inj = EVENT_VALID | EVENT_EXCEPTION << EVENT_TYPE_SHIFT | 2);
	REFUSED(now.c.event_inj = EVENT_VALID | EVENT_EXCEPTION << EVENT_TYPE_SHIFT | 32);
	REFUSED(now.c.event_inj = EVENT_VALID | 5 << EVENT_TYPE_SHIFT);
}

TEST(planted_missing_flush)
{
	CHECK(svm_check_generation(4, 5, TLB_KEEP));
	CHECK(!svm_check_generation(4, 5, TLB_FLUSH_ASID));
	CHECK(!svm_check_generation(4, 5, TLB_FLUSH_ALL));
}
