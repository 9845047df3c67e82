/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's heap in host unit tests: the C library's, so that the sanitizers see every byte. host_heap_fail_after(n) makes the n-th allocation fail. */
#include "mem/mem.h"
#include <stdlib.h>

long host_heap_fail_after = -1; /* -1: never */
static bool host_heap_fails(void) { return host_heap_fail_after >= 0 && host_heap_fail_after-- == 0; }

void *kmalloc(size_t size, enum mem_tag tag)
{
	(void)tag;
	if (host_heap_fails())
		return NULL;
	return size >= PAGE_SIZE ? aligned_alloc(PAGE_SIZE, ALIGN_UP(size, PAGE_SIZE)) : malloc(size);
}
void *kzalloc(size_t size, enum mem_tag tag)
{
	void *p = kmalloc(size, tag);

	return p ? memset(p, 0, size) : NULL;
}
void kfree(void *p) { free(p); }
void *kpage_alloc(enum mem_tag tag) { return kmalloc(PAGE_SIZE, tag); }
void *kpage_zalloc(enum mem_tag tag) { return kzalloc(PAGE_SIZE, tag); }
void kpage_free(void *p) { free(p); }
