/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's memory for host unit tests: an arena that stands for physical memory, windows into it, and page tables that are a list. */
#ifndef ARCH_HOST_HOST_MEM_H
#define ARCH_HOST_HOST_MEM_H

#include "mem/mem.h"

/* A fresh machine of `bytes` RAM in one range from 0; the first early_blocks after block 0 are the kernel's heap when with_heap. */
void host_mem_init(uint64_t bytes, unsigned early_blocks);
extern unsigned host_mappings;    /* present entries in all page tables */
extern unsigned host_windows_held;
extern unsigned host_flushes;

#endif
