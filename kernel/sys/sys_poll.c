/* SPDX-License-Identifier: Apache-2.0 */
/* poll, ppoll, select, pselect6: one engine. A file without a poll operation is always ready. */
#include "sys/syscall.h"

#define POLL_NVAL 32
#define POLL_SMALL 8

struct linux_pollfd { int32_t fd; int16_t events, revents; };
struct poll_item {
	struct file *file;
	struct waitq *queue;
	struct waitq_entry entry;
};
struct poll_set {
	unsigned n;
	struct linux_pollfd *fds;
	struct poll_item *items;
	struct linux_pollfd small_fds[POLL_SMALL];
	struct poll_item small_items[POLL_SMALL];
};

static int poll_set_alloc(struct poll_set *s, uint64_t n)
{
	if (n > 4 * FD_MAX)
		return -EINVAL;
	s->n = (unsigned)n;
	s->fds = s->small_fds;
	s->items = s->small_items;
	if (n > POLL_SMALL) {
		s->fds = kmalloc(n * sizeof(*s->fds), MT_PROC);
		s->items = kmalloc(n * sizeof(*s->items), MT_PROC);
	}
	if (s->fds && s->items)
		return 0;
	kfree(s->fds);
	kfree(s->items);
	return -ENOMEM;
}

static void poll_set_free(struct poll_set *s)
{
	if (s->fds == s->small_fds)
		return;
	kfree(s->fds);
	kfree(s->items);
}

static unsigned poll_one(struct poll_item *it, struct waitq **q)
{
	*q = NULL;
	return it->file->ops->poll ? it->file->ops->poll(it->file, q) : POLL_IN | POLL_OUT;
}

static void poll_open(struct poll_set *s, struct fdtable *files)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct poll_item *it = &s->items[i];

		it->file = s->fds[i].fd < 0 ? NULL : fd_get(files, (uint64_t)s->fds[i].fd);
		it->queue = NULL;
		if (!it->file)
			continue;
		poll_one(it, &it->queue);
		if (it->queue)
			waitq_add(it->queue, &it->entry);
	}
}

static void poll_close(struct poll_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct poll_item *it = &s->items[i];

		if (it->queue)
			waitq_remove(it->queue, &it->entry);
		if (it->file)
			file_put(it->file);
	}
}

static unsigned poll_look(struct poll_set *s)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < s->n; i++) {
		struct linux_pollfd *p = &s->fds[i];
		struct waitq *q;

		p->revents = 0;
		if (s->items[i].file)
			p->revents = (int16_t)(poll_one(&s->items[i], &q) & ((unsigned)p->events | POLL_ERR | POLL_HUP));
		else if (p->fd >= 0)
			p->revents = POLL_NVAL;
		ready += p->revents != 0;
	}
	return ready;
}

/* Number of ready descriptors, 0 at the deadline, -EINTR. Poll operations do not sleep, so they may run between prepare and block. */
static int64_t poll_wait(struct poll_set *s, struct fdtable *files, uint64_t deadline)
{
	int64_t r;

	poll_open(s, files);
	for (;;) {
		world_prepare_block();
		r = poll_look(s);
		if (r)
			break;
		if (current->kill || current->signalled) {
			r = -EINTR;
			break;
		}
		if (sched_block_until(deadline)) {
			r = poll_look(s);
			break;
		}
	}
	world_cancel_block();
	poll_close(s);
	return r;
}

static int64_t do_poll(struct thread *t, uint64_t user, uint64_t n, uint64_t deadline)
{
	struct poll_set s;
	int64_t r = poll_set_alloc(&s, n);

	if (r)
		return r;
	if (arch_user_read(s.fds, uva(user), n * sizeof(*s.fds)))
		r = -EFAULT;
	else
		r = poll_wait(&s, t->proc->files, deadline);
	if (r >= 0 && arch_user_write(uva(user), s.fds, n * sizeof(*s.fds)))
		r = -EFAULT;
	poll_set_free(&s);
	return r;
}

SYSCALL(poll) { return do_poll(t, a0, a1, (int)a2 < 0 ? UINT64_MAX : deadline_after((uint64_t)(int)a2 * 1000000)); }

/* For the time of one call; goes back at the return to ring 3, after a handler had its turn. */
static int swap_mask(struct thread *t, uint64_t user, uint64_t size)
{
	uint64_t mask;

	if (!user)
		return 0;
	if (size != sizeof(mask))
		return -EINVAL;
	if (arch_user_read(&mask, uva(user), sizeof(mask)))
		return -EFAULT;
	t->saved_mask = t->mask;
	t->restore_mask = true;
	signal_set_mask(t, mask);
	return 0;
}

static int deadline_of(uint64_t user_timeout, uint64_t *deadline)
{
	uint64_t ns;
	int r;

	*deadline = UINT64_MAX;
	if (!user_timeout)
		return 0;
	r = user_timespec(user_timeout, &ns);
	if (!r)
		*deadline = deadline_after(ns);
	return r;
}

SYSCALL(ppoll)
{
	uint64_t deadline;
	int r = deadline_of(a2, &deadline);

	if (!r)
		r = swap_mask(t, a3, a4);
	return r ? r : do_poll(t, a0, a1, deadline);
}

/* ---- select: bit sets in, bit sets out ---- */

#define SELECT_MAX FD_MAX
#define SET_WORDS (SELECT_MAX / 64)
enum { SET_READ, SET_WRITE, SET_EXCEPT, SETS };
static const unsigned set_events[SETS] = { POLL_IN, POLL_OUT, 0 };
static const unsigned set_ready[SETS] = { POLL_IN | POLL_HUP | POLL_ERR, POLL_OUT | POLL_ERR, 0 };

struct select_sets {
	uint64_t user[SETS];
	uint64_t bits[SETS][SET_WORDS];
	size_t bytes;
};

static int sets_read(struct select_sets *s, unsigned n)
{
	s->bytes = ALIGN_UP(n, 64) / 8;
	memset(s->bits, 0, sizeof(s->bits));
	for (int i = 0; i < SETS; i++)
		if (s->user[i] && arch_user_read(s->bits[i], uva(s->user[i]), s->bytes))
			return -EFAULT;
	return 0;
}

static bool set_has(const struct select_sets *s, int set, unsigned fd) { return s->bits[set][fd / 64] >> fd % 64 & 1; }

static void sets_to_poll(const struct select_sets *s, struct poll_set *p, unsigned n)
{
	p->n = 0;
	for (unsigned fd = 0; fd < n; fd++) {
		unsigned events = 0;
		bool wanted = false;

		for (int i = 0; i < SETS; i++)
			if (set_has(s, i, fd)) {
				wanted = true;
				events |= set_events[i];
			}
		if (wanted)
			p->fds[p->n++] = (struct linux_pollfd){ (int32_t)fd, (int16_t)events, 0 };
	}
}

static int64_t poll_to_sets(struct select_sets *s, const struct poll_set *p)
{
	int64_t count = 0;

	for (unsigned j = 0; j < p->n; j++) {
		unsigned fd = (unsigned)p->fds[j].fd;

		for (int i = 0; i < SETS; i++) {
			if (!set_has(s, i, fd))
				continue;
			if ((unsigned)p->fds[j].revents & set_ready[i])
				count++;
			else
				s->bits[i][fd / 64] &= ~BIT(fd % 64);
		}
		if (p->fds[j].revents & POLL_NVAL)
			return -EBADF;
	}
	for (int i = 0; i < SETS; i++)
		if (s->user[i] && arch_user_write(uva(s->user[i]), s->bits[i], s->bytes))
			return -EFAULT;
	return count;
}

static int64_t do_select(struct thread *t, uint64_t n, const uint64_t user[SETS], uint64_t deadline)
{
	struct select_sets sets = { .user = { user[0], user[1], user[2] } };
	struct poll_set p;
	int64_t r;

	if ((int64_t)n < 0)
		return -EINVAL;
	n = MIN(n, SELECT_MAX);
	r = sets_read(&sets, (unsigned)n);
	if (!r)
		r = poll_set_alloc(&p, n);
	if (r)
		return r;
	sets_to_poll(&sets, &p, (unsigned)n);
	r = poll_wait(&p, t->proc->files, deadline);
	if (r >= 0)
		r = poll_to_sets(&sets, &p);
	poll_set_free(&p);
	return r;
}

SYSCALL(select)
{
	const uint64_t user[SETS] = { a1, a2, a3 };
	struct linux_timeval tv;
	uint64_t deadline = UINT64_MAX;

	if (a4) {
		if (arch_user_read(&tv, uva(a4), sizeof(tv)))
			return -EFAULT;
		if (tv.sec < 0 || tv.usec < 0)
			return -EINVAL;
		deadline = tv.sec > INT32_MAX ? UINT64_MAX : deadline_after((uint64_t)tv.sec * NSEC_PER_SEC + (uint64_t)tv.usec * 1000);
	}
	return do_select(t, a0, user, deadline);
}

SYSCALL(pselect6)
{
	const uint64_t user[SETS] = { a1, a2, a3 };
	uint64_t deadline, mask[2] = { 0, 0 };
	int r = deadline_of(a4, &deadline);

	if (!r && a5 && arch_user_read(mask, uva(a5), sizeof(mask)))
		r = -EFAULT;
	if (!r)
		r = swap_mask(t, mask[0], mask[1]);
	return r ? r : do_select(t, a0, user, deadline);
}
