/* SPDX-License-Identifier: Apache-2.0 */
/* eventfd(2) and timerfd_create(2): a counter, and a clock, that can be read, waited for and polled. */
#include "fs/vfs.h"

/* ---- eventfd ---- */

struct eventfd {
	struct spinlock lock;
	struct waitq wait;
	uint64_t count;
	bool semaphore;
};

static int64_t eventfd_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct eventfd *e = f->object;
	uint64_t v = 0;

	if (n < sizeof(v))
		return -EINVAL;
	while (!v) {
		int r;

		spin_lock(&e->lock);
		v = e->semaphore ? e->count != 0 : e->count;
		e->count -= v;
		spin_unlock(&e->lock);
		if (v)
			break;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&e->wait, READ_ONCE(e->count), true, UINT64_MAX);
		if (r)
			return r;
	}
	waitq_wake_all(&e->wait);
	return arch_user_write(buf, &v, sizeof(v)) ? -EFAULT : (int64_t)sizeof(v);
}

static int64_t eventfd_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct eventfd *e = f->object;
	uint64_t v;

	if (n < sizeof(v))
		return -EINVAL;
	if (arch_user_read(&v, buf, sizeof(v)))
		return -EFAULT;
	if (v == UINT64_MAX)
		return -EINVAL;
	for (;;) {
		bool fits;
		int r;

		spin_lock(&e->lock);
		fits = v < UINT64_MAX - e->count;
		if (fits)
			e->count += v;
		spin_unlock(&e->lock);
		if (fits)
			break;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&e->wait, v < UINT64_MAX - READ_ONCE(e->count), true, UINT64_MAX);
		if (r)
			return r;
	}
	waitq_wake_all(&e->wait);
	return sizeof(v);
}

static unsigned eventfd_poll(struct file *f, struct waitq **q)
{
	struct eventfd *e = f->object;
	uint64_t count = READ_ONCE(e->count);

	*q = &e->wait;
	return (count ? POLL_IN : 0) | (count < UINT64_MAX - 1 ? POLL_OUT : 0);
}

static void eventfd_release(struct file *f) { kfree(f->object); }

static const struct file_ops eventfd_ops = { .read = eventfd_read, .write = eventfd_write, .poll = eventfd_poll, .release = eventfd_release };

struct file *eventfd_create(uint64_t value, bool semaphore, uint32_t flags)
{
	struct eventfd *e = kzalloc(sizeof(*e), MT_FS);
	struct file *f;

	if (!e)
		return NULL;
	spin_init(&e->lock, "eventfd", RANK_FS);
	waitq_init(&e->wait);
	e->count = value;
	e->semaphore = semaphore;
	f = file_new(&eventfd_ops, e, O_RDWR | flags);
	if (!f)
		kfree(e);
	return f;
}

/* ---- timerfd: expirations are computed from the clock; the timer only wakes sleepers ---- */

struct timerfd {
	struct timer timer;
	struct spinlock lock;
	struct waitq wait;
	uint64_t next_ns, interval_ns; /* next_ns 0: disarmed */
};
static const struct file_ops timerfd_ops;

static void timerfd_fire(struct timer *t) { waitq_wake_all(&container_of(t, struct timerfd, timer)->wait); }

static bool timerfd_expired(const struct timerfd *t)
{
	uint64_t next = READ_ONCE(t->next_ns);

	return next && clock_ns() >= next;
}

/* Takes the expirations so far and arms for the next; lock held. */
static uint64_t timerfd_take(struct timerfd *t)
{
	uint64_t n, now = clock_ns();

	if (!timerfd_expired(t))
		return 0;
	n = 1;
	if (t->interval_ns) {
		n += (now - t->next_ns) / t->interval_ns;
		t->next_ns += n * t->interval_ns;
	} else {
		t->next_ns = 0;
	}
	return n;
}

static int64_t timerfd_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct timerfd *t = f->object;
	uint64_t v, next;

	if (n < sizeof(v))
		return -EINVAL;
	for (;;) {
		int r;

		spin_lock(&t->lock);
		v = timerfd_take(t);
		next = t->next_ns;
		spin_unlock(&t->lock);
		if (v)
			break;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&t->wait, timerfd_expired(t), true, UINT64_MAX);
		if (r)
			return r;
	}
	if (next)
		timer_set(&t->timer, next);
	return arch_user_write(buf, &v, sizeof(v)) ? -EFAULT : (int64_t)sizeof(v);
}

static unsigned timerfd_poll(struct file *f, struct waitq **q)
{
	struct timerfd *t = f->object;

	*q = &t->wait;
	return timerfd_expired(t) ? POLL_IN : 0;
}

static void timerfd_release(struct file *f)
{
	struct timerfd *t = f->object;

	timer_cancel(&t->timer);
	kfree(t);
}

static const struct file_ops timerfd_ops = { .read = timerfd_read, .poll = timerfd_poll, .release = timerfd_release };

struct file *timerfd_create(uint32_t flags)
{
	struct timerfd *t = kzalloc(sizeof(*t), MT_FS);
	struct file *f;

	if (!t)
		return NULL;
	timer_init(&t->timer, timerfd_fire);
	spin_init(&t->lock, "timerfd", RANK_FS);
	waitq_init(&t->wait);
	f = file_new(&timerfd_ops, t, O_RDWR | flags);
	if (!f)
		kfree(t);
	return f;
}

int timerfd_get(struct file *f, struct timerfd_spec *s)
{
	struct timerfd *t = f->object;
	uint64_t now = clock_ns();

	if (f->ops != &timerfd_ops)
		return -EINVAL;
	spin_lock(&t->lock);
	s->interval_ns = t->interval_ns;
	s->value_ns = !t->next_ns ? 0 : t->next_ns > now ? t->next_ns - now : 1;
	spin_unlock(&t->lock);
	return 0;
}

int timerfd_set(struct file *f, const struct timerfd_spec *s, bool absolute, struct timerfd_spec *old)
{
	struct timerfd *t = f->object;
	uint64_t next = !s->value_ns ? 0 : absolute ? s->value_ns : clock_ns() + s->value_ns;
	int r = timerfd_get(f, old);

	if (r)
		return r;
	timer_cancel(&t->timer);
	spin_lock(&t->lock);
	t->next_ns = next;
	t->interval_ns = s->interval_ns;
	spin_unlock(&t->lock);
	if (next)
		timer_set(&t->timer, next);
	return 0;
}
