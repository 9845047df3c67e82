/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/core only. */
#ifndef CORE_CORE_PRIV_H
#define CORE_CORE_PRIV_H

#include "core/core.h"

#ifdef CONFIG_DEBUG
void trace_print(void); /* newest last; only from a panic */
#else
static inline void trace_print(void) {}
#endif
extern uintptr_t __stack_chk_guard;

#endif
