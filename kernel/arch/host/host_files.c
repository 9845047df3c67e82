/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernel/fs and kernel/sys need around them in host unit tests: ring 3's memory is the test's own (addresses below a page
 * fault), sleeping ends at once as if the deadline had passed, windows lead straight to the address.
 */
#include "fs/vfs.h"

struct boot_info boot_info;

int arch_user_read(void *dst, uva_t src, size_t n)
{
	if (n && src.v < PAGE_SIZE)
		return -EFAULT;
	memcpy(dst, (const void *)(uintptr_t)src.v, n);
	return 0;
}
int arch_user_write(uva_t dst, const void *src, size_t n)
{
	if (n && dst.v < PAGE_SIZE)
		return -EFAULT;
	memcpy((void *)(uintptr_t)dst.v, src, n);
	return 0;
}

void waitq_init(struct waitq *q) { list_init(&q->waiters); }
void waitq_wake_all(struct waitq *q) { (void)q; }
void waitq_add(struct waitq *q, struct waitq_entry *e) { list_push_back(&q->waiters, &e->link); }
void waitq_remove(struct waitq *q, struct waitq_entry *e) { (void)q; list_remove(&e->link); }
void world_prepare_block(void) {}
void world_cancel_block(void) {}
bool sched_block_until(uint64_t deadline) { (void)deadline; return true; }
bool world_wake(struct world *w) { (void)w; return true; }
void sched_yield(void) {}

void *window_get(hpa_t any) { return (void *)(uintptr_t)any.v; }
void window_put(const void *p) { (void)p; }
void module_release(uint64_t base, uint64_t size) { (void)base; (void)size; }
uint64_t wall_clock_ns(void) { return host_clock_ns; }
