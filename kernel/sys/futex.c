/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes (futex(2)): sleepers by (address space, address) in hashed buckets. No memory is shared between address spaces here,
 * so private and shared ones are the same.
 *
 * A waiter queues itself first and reads the word afterwards, so that a waker that changes the word and then looks into the
 * bucket cannot miss it; the read may fault and sleep, so no lock is held over it. A waiter leaves only under its bucket's lock.
 * Wakers hold that lock while they touch the waiter, which lives on its sleeper's stack.
 */
#include "sys/proc.h"
#include "sys/syscall.h"

#define BUCKETS 64
enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE = 4, FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET = 10 };
enum { FUTEX_PRIVATE = 128, FUTEX_CLOCK_REALTIME = 256 };

struct futex_waiter {
	struct list link;
	struct aspace *as;
	uint64_t addr;
	uint32_t bits;
	bool woken;
	struct world *world;
	struct bucket *bucket; /* changes when requeued */
};
static struct bucket {
	struct spinlock lock;
	struct list waiters;
} buckets[BUCKETS];

static void futex_init(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		spin_init(&buckets[i].lock, "futex", RANK_FS);
		list_init(&buckets[i].waiters);
	}
}
INIT_CALL(INIT_FS, futex_init);

static struct bucket *bucket_of(const struct aspace *as, uint64_t addr)
{
	uint64_t h = ((uintptr_t)as >> 4 ^ addr >> 2) * 0x9e3779b97f4a7c15ull;

	return &buckets[h >> 58];
}

static struct bucket *lock_bucket_of(struct futex_waiter *w)
{
	for (;;) {
		struct bucket *b = READ_ONCE(w->bucket);

		spin_lock(&b->lock);
		if (b == w->bucket)
			return b;
		spin_unlock(&b->lock);
	}
}

/* Off the queue unless somebody took it off. True: it was woken. */
static bool waiter_leave(struct futex_waiter *w)
{
	struct bucket *b = lock_bucket_of(w);
	bool woken = w->woken;

	if (!woken)
		list_remove(&w->link);
	spin_unlock(&b->lock);
	return woken;
}

static int waiter_sleep(struct futex_waiter *w, uint64_t deadline)
{
	int r = 0;

	for (;;) {
		world_prepare_block();
		if (READ_ONCE(w->woken))
			break;
		if (current->kill || current->signalled) {
			r = -EINTR;
			break;
		}
		if (sched_block_until(deadline)) {
			r = -ETIMEDOUT;
			break;
		}
	}
	world_cancel_block();
	return r;
}

static int64_t futex_wait(struct aspace *as, uint64_t addr, uint32_t val, uint64_t deadline, uint32_t bits)
{
	struct futex_waiter w = { .as = as, .addr = addr, .bits = bits, .world = current, .bucket = bucket_of(as, addr) };
	uint32_t now;
	int r;

	if (!bits)
		return -EINVAL;
	spin_lock(&w.bucket->lock);
	list_push_back(&w.bucket->waiters, &w.link);
	spin_unlock(&w.bucket->lock);
	r = arch_user_read(&now, uva(addr), sizeof(now));
	if (!r && now != val)
		r = -EAGAIN;
	if (!r)
		r = waiter_sleep(&w, deadline);
	return waiter_leave(&w) ? 0 : r;
}

int64_t futex_wake(struct aspace *as, uint64_t addr, unsigned count, uint32_t bits)
{
	struct bucket *b = bucket_of(as, addr);
	unsigned n = 0;

	spin_lock(&b->lock);
	list_for_each_safe(l, next, &b->waiters) {
		struct futex_waiter *w = list_entry(l, struct futex_waiter, link);

		if (n >= count)
			break;
		if (w->as != as || w->addr != addr || !(w->bits & bits))
			continue;
		list_remove(l);
		w->woken = true;
		world_wake(w->world);
		n++;
	}
	spin_unlock(&b->lock);
	return n;
}

static void lock_two(struct bucket *a, struct bucket *b)
{
	struct bucket *first = a < b ? a : b, *second = a < b ? b : a;

	spin_lock(&first->lock);
	if (first != second)
		spin_lock_nested(&second->lock);
}

/* Wakes `count` and moves up to `moved` more to another address, without waking them. */
static int64_t futex_requeue(struct aspace *as, uint64_t from, uint64_t to, unsigned count, unsigned moved)
{
	struct bucket *a = bucket_of(as, from), *b = bucket_of(as, to);
	unsigned woken = 0, n = 0;

	lock_two(a, b);
	list_for_each_safe(l, next, &a->waiters) {
		struct futex_waiter *w = list_entry(l, struct futex_waiter, link);

		if (w->as != as || w->addr != from)
			continue;
		if (woken < count) {
			list_remove(l);
			w->woken = true;
			world_wake(w->world);
			woken++;
		} else if (n < moved) {
			list_remove(l);
			w->addr = to;
			WRITE_ONCE(w->bucket, b);
			list_push_back(&b->waiters, l);
			n++;
		} else {
			break;
		}
	}
	if (a != b)
		spin_unlock(&b->lock);
	spin_unlock(&a->lock);
	return woken + n;
}

/* Clock time at which to give up: relative for FUTEX_WAIT, absolute for the BITSET form. */
static int futex_deadline(int op, uint64_t timeout, uint64_t *deadline)
{
	uint64_t ns;
	int r;

	*deadline = UINT64_MAX;
	if (!timeout)
		return 0;
	r = user_timespec(timeout, &ns);
	if (r)
		return r;
	if ((op & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME)) == FUTEX_WAIT)
		*deadline = deadline_after(ns);
	else if (op & FUTEX_CLOCK_REALTIME)
		*deadline = ns > wall_clock_ns() ? deadline_after(ns - wall_clock_ns()) : 0;
	else
		*deadline = ns;
	return 0;
}

SYSCALL(futex)
{
	struct aspace *as = t->proc->as;
	uint64_t addr = a0, deadline;
	int op = (int)a1;
	uint32_t val = (uint32_t)a2, now;
	int r;

	if (addr & 3)
		return -EINVAL;
	switch (op & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME)) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		r = futex_deadline(op, a3, &deadline);
		if (a3)
			t->call = UINT64_MAX; /* a timed wait does not start again: its time would */
		return r ? r : futex_wait(as, addr, val, deadline, (op & 127) == FUTEX_WAIT ? UINT32_MAX : (uint32_t)a5);
	case FUTEX_WAKE:
		return futex_wake(as, addr, val, UINT32_MAX);
	case FUTEX_WAKE_BITSET:
		return a5 ? futex_wake(as, addr, val, (uint32_t)a5) : -EINVAL;
	case FUTEX_CMP_REQUEUE:
		if (arch_user_read(&now, uva(addr), sizeof(now)))
			return -EFAULT;
		if (now != (uint32_t)a5)
			return -EAGAIN;
		return futex_requeue(as, addr, a4, val, (unsigned)a3);
	case FUTEX_REQUEUE:
		return futex_requeue(as, addr, a4, val, (unsigned)a3);
	default:
		return -ENOSYS;
	}
}
