/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables, and the look-up without a lock against closing threads. */
#define sched_yield libc_sched_yield /* the kernel has one, too */
#include <pthread.h>
#undef sched_yield
#include "sys/proc.h"
#include "test/unit.h"

void node_unref(struct node *n) { (void)n; }
static unsigned released;
static void release(struct file *f) { __atomic_fetch_add(&released, 1, __ATOMIC_RELAXED); }
static const struct file_ops ops = { .release = release };
static struct file *file(void) { return file_new(&ops, NULL, 0); }

TEST(lowest_first)
{
	struct fdtable *t = fdtable_new();

	for (int i = 0; i < 5; i++)
		CHECK_EQ(fd_install_from(t, file(), 0, false), i);
	CHECK_EQ(fd_close(t, 2), 0);
	CHECK_EQ(fd_close(t, 2), -EBADF);
	CHECK_EQ(fd_install_from(t, file(), 0, true), 2);
	CHECK_EQ(fd_get_cloexec(t, 2), 1);
	CHECK_EQ(fd_install_from(t, file(), 100, false), 100);
	CHECK_EQ(fd_install_at(t, file(), 2, false), 2);
	CHECK_EQ(fd_get_cloexec(t, 2), 0);
	CHECK_EQ(fd_install_at(t, file(), FD_MAX, false), -EBADF);
	CHECK(!fd_get(t, FD_MAX) && !fd_get(t, UINT64_MAX) && !fd_get(t, 50));
	CHECK_EQ(fd_set_cloexec(t, 50, true), -EBADF);
	fd_set_cloexec(t, 3, true);
	fd_close_on_exec(t);
	CHECK(!fd_get(t, 3));
	fdtable_unref(t);
	CHECK_EQ(file_count(), 0);
}

TEST(full_table_and_copy)
{
	struct fdtable *t = fdtable_new(), *copy;

	for (int i = 0; i < FD_MAX; i++)
		CHECK_EQ(fd_install_from(t, file(), 0, false), i);
	CHECK_EQ(fd_install_from(t, file(), 0, false), -EMFILE);
	CHECK_EQ(file_count(), FD_MAX);
	copy = fdtable_copy(t);
	CHECK_EQ(file_count(), FD_MAX);
	fdtable_unref(t);
	CHECK_EQ(file_count(), FD_MAX);
	fdtable_unref(copy);
	CHECK_EQ(file_count(), 0);
}

/* The spinlocks of host tests are not for threads: the closing side is one thread, and look-ups take no lock. */
static struct fdtable *shared;
static bool stop;
static void *look_up(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct file *f = fd_get(shared, 0);

		if (!f)
			continue;
		if (f->ops != &ops || !f->refs)
			abort();
		__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL); /* never the last: the closer waits for its count below */
	}
	return NULL;
}

TEST(look_up_races_with_replacement)
{
	struct file *a = file(), *b = file();
	pthread_t t[2];

	shared = fdtable_new();
	shared->slot[0] = a;
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, look_up, NULL);
	for (int i = 0; i < 100000; i++)
		__atomic_store_n(&shared->slot[0], i % 3 == 0 ? NULL : i & 1 ? a : b, __ATOMIC_RELEASE);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(a->refs, 1);
	CHECK_EQ(b->refs, 1);
	shared->slot[0] = NULL;
	file_unref(a);
	file_unref(b);
	fdtable_unref(shared);
	CHECK_EQ(file_count(), 0);
}
