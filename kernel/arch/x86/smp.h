/* SPDX-License-Identifier: Apache-2.0 */
/* Between smp.c and trampoline.S. */
#ifndef ARCH_X86_SMP_H
#define ARCH_X86_SMP_H

#define SMP_TRAMPOLINE 0x8000 /* in the first MiB, which no VM ever gets */

/* smp_claim */
#define SMP_CLOSED 0
#define SMP_OPEN 1
#define SMP_CLAIMED 2

#endif
