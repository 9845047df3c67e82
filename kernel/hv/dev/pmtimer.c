/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI PM timer: a free-running 32-bit count of guest time at 3579545 Hz (ACPI 4.8.2.1). It holds no state of its own. */
#include "hv/dev/dev.h"

#define PMTIMER_HZ 3579545ull

/* Seconds and the rest apart, since ns * Hz passes 64 bits within two hours. */
uint32_t pmtimer_read(uint64_t guest_ns)
{
	return (uint32_t)(guest_ns / NSEC_PER_SEC * PMTIMER_HZ + guest_ns % NSEC_PER_SEC * PMTIMER_HZ / NSEC_PER_SEC);
}
