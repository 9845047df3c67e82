/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion between frequencies by one multiplication: 64.32 fixed point. Pure, so that host tests reach it. */
#ifndef ARCH_X86_SCALE_H
#define ARCH_X86_SCALE_H

#include "core/types.h"

/* Factor from ticks at `from` Hz to ticks at `to` Hz. The remainder of to / from must fit 32 bits: true when either is 1 GHz. */
static inline uint64_t scale_make(uint64_t from, uint64_t to) { return (to / from << 32) + ((to % from) << 32) / from; }

static inline uint64_t scale(uint64_t ticks, uint64_t factor) { return (uint64_t)((unsigned __int128)ticks * factor >> 32); }

/* hz, or the multiple of `unit` nearest to it when that is no further away than what the measurement leaves in doubt, and
 * than 20 parts in a million: a wide doubt is no reason to believe in round numbers. */
static inline uint64_t frequency_round(uint64_t hz, uint64_t doubt, uint64_t unit)
{
	uint64_t round = (hz + unit / 2) / unit * unit;
	uint64_t off = round > hz ? round - hz : hz - round;

	return round && off <= doubt && off <= hz / 50000 ? round : hz;
}

#endif
