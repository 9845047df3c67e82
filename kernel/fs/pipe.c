/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes and FIFOs: a ring of PIPE_SIZE bytes between the readers and writers of one S_IFIFO node (a nameless one for pipe()).
 * The node owns the ring; open files hold the node. Lock: the pipe's mutex for the ring; it is held over copies to ring 3,
 * which is safe since resolving such a fault never comes back to a pipe. Sleepers of all kinds share one wait queue.
 */
#include "fs/vfs.h"

#define PIPE_SIZE KIB(16)
#define PIPES_MAX 256 /* 4 MiB of rings at most */

struct pipe {
	struct mutex lock;
	struct waitq wait;
	uint32_t readers, writers;
	uint32_t readers_seen, writers_seen; /* ever opened: a FIFO's open waits for the next of the other kind */
	uint32_t start, len;
	char *ring;
};

void (*fs_sigpipe_hook)(void);
static const struct file_ops pipe_ops;

static uint32_t nr_pipes;

static void pipe_free(struct pipe *p)
{
	if (p)
		kfree(p->ring);
	kfree(p);
	__atomic_fetch_sub(&nr_pipes, 1, __ATOMIC_RELAXED);
}

static struct pipe *pipe_new(void)
{
	struct pipe *p = NULL;

	if (__atomic_add_fetch(&nr_pipes, 1, __ATOMIC_RELAXED) <= PIPES_MAX)
		p = kzalloc(sizeof(*p), MT_FS);
	if (p)
		p->ring = kmalloc(PIPE_SIZE, MT_FS);
	if (!p || !p->ring) {
		pipe_free(p);
		return NULL;
	}
	mutex_init(&p->lock, "pipe");
	waitq_init(&p->wait);
	return p;
}

void fifo_free(struct node *n)
{
	if (n->pipe)
		pipe_free(n->pipe);
}

static bool reads(const struct file *f) { return (f->flags & O_ACCMODE) != O_WRONLY; }
static bool writes(const struct file *f) { return (f->flags & O_ACCMODE) != O_RDONLY; }

static void pipe_attach(struct pipe *p, struct file *f)
{
	mutex_lock(&p->lock);
	p->readers += reads(f);
	p->readers_seen += reads(f);
	p->writers += writes(f);
	p->writers_seen += writes(f);
	mutex_unlock(&p->lock);
	f->ops = &pipe_ops;
	f->object = p;
	waitq_wake_all(&p->wait);
}

static void pipe_release(struct file *f)
{
	struct pipe *p = f->object;

	mutex_lock(&p->lock);
	p->readers -= reads(f);
	p->writers -= writes(f);
	mutex_unlock(&p->lock);
	waitq_wake_all(&p->wait);
}

/* Bytes between the ring and ring 3, in at most two parts. */
static int ring_copy(struct pipe *p, uint32_t at, uva_t user, uint32_t n, bool out)
{
	while (n) {
		uint32_t from = at % PIPE_SIZE, part = (uint32_t)MIN(n, PIPE_SIZE - from);
		int r = out ? arch_user_write(user, p->ring + from, part) : arch_user_read(p->ring + from, user, part);

		if (r)
			return r;
		at += part;
		user.v += part;
		n -= part;
	}
	return 0;
}

static int64_t pipe_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct pipe *p = f->object;
	uint32_t part;
	int r;

	if (!n)
		return 0;
	mutex_lock(&p->lock);
	while (!p->len) {
		bool open = p->writers;

		mutex_unlock(&p->lock);
		if (!open)
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&p->wait, READ_ONCE(p->len) || !READ_ONCE(p->writers), true, UINT64_MAX);
		if (r)
			return r;
		mutex_lock(&p->lock);
	}
	part = (uint32_t)MIN(n, p->len);
	r = ring_copy(p, p->start, buf, part, true);
	if (!r) {
		p->start = (uint32_t)((p->start + part) % PIPE_SIZE);
		p->len -= part;
	}
	mutex_unlock(&p->lock);
	waitq_wake_all(&p->wait);
	return r ? r : (int64_t)part;
}

/* Waits for room; lock held on entry and on return. 0: there is room for `want` bytes. */
static int pipe_wait_room(struct pipe *p, struct file *f, uint32_t want)
{
	for (;;) {
		int r;

		if (!p->readers) {
			if (fs_sigpipe_hook)
				fs_sigpipe_hook();
			return -EPIPE;
		}
		if (PIPE_SIZE - p->len >= want)
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		mutex_unlock(&p->lock);
		r = waitq_wait(&p->wait, PIPE_SIZE - READ_ONCE(p->len) >= want || !READ_ONCE(p->readers), true, UINT64_MAX);
		mutex_lock(&p->lock);
		if (r)
			return r;
	}
}

static int64_t pipe_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct pipe *p = f->object;
	uint64_t done = 0;
	int r = 0;

	mutex_lock(&p->lock);
	while (done < n) {
		uint32_t part;

		r = pipe_wait_room(p, f, n <= PIPE_BUF ? (uint32_t)n : 1); /* up to PIPE_BUF bytes go whole (POSIX write) */
		if (r)
			break;
		part = (uint32_t)MIN(n - done, PIPE_SIZE - p->len);
		r = ring_copy(p, p->start + p->len, uva(buf.v + done), part, false);
		if (r)
			break;
		p->len += part;
		done += part;
		waitq_wake_all(&p->wait);
	}
	mutex_unlock(&p->lock);
	return done ? (int64_t)done : r;
}

static unsigned pipe_poll(struct file *f, struct waitq **q)
{
	struct pipe *p = f->object;
	unsigned mask = 0;

	*q = &p->wait;
	if (reads(f))
		mask |= (READ_ONCE(p->len) ? POLL_IN : 0) | (!READ_ONCE(p->writers) && p->writers_seen ? POLL_HUP : 0);
	if (writes(f))
		mask |= (PIPE_SIZE - READ_ONCE(p->len) >= PIPE_BUF ? POLL_OUT : 0) | (!READ_ONCE(p->readers) ? POLL_ERR : 0);
	return mask;
}

static int64_t pipe_ioctl(struct file *f, uint64_t cmd, uint64_t arg)
{
	struct pipe *p = f->object;
	uint32_t n = READ_ONCE(p->len);

	return cmd == FIONREAD ? arch_user_write(uva(arg), &n, sizeof(n)) : -ENOTTY;
}

static const struct file_ops pipe_ops = {
	.read = pipe_read, .write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl, .release = pipe_release,
};

int fifo_open(struct node *n, struct file *f)
{
	struct pipe *p;
	uint32_t seen;
	bool other;

	mutex_lock(&fs_tree_lock);
	if (!n->pipe)
		n->pipe = pipe_new();
	p = n->pipe;
	mutex_unlock(&fs_tree_lock);
	if (!p)
		return -ENOMEM;
	if ((f->flags & (O_ACCMODE | O_NONBLOCK)) == (O_WRONLY | O_NONBLOCK) && !READ_ONCE(p->readers))
		return -ENXIO;
	seen = reads(f) ? READ_ONCE(p->writers_seen) : READ_ONCE(p->readers_seen);
	other = reads(f) ? READ_ONCE(p->writers) : READ_ONCE(p->readers);
	pipe_attach(p, f);
	if (other || (reads(f) && writes(f)) || (f->flags & O_NONBLOCK))
		return 0;
	return waitq_wait(&p->wait, seen != (reads(f) ? READ_ONCE(p->writers_seen) : READ_ONCE(p->readers_seen)), true, UINT64_MAX);
}

int pipe_create(struct file **reader, struct file **writer, uint32_t flags)
{
	struct node *n = node_new(S_IFIFO | 0600);
	struct file *r, *w;

	if (!n)
		return -ENOMEM;
	n->pipe = pipe_new();
	r = n->pipe ? file_new(&node_file_ops, NULL, O_RDONLY | flags) : NULL;
	w = r ? file_new(&node_file_ops, NULL, O_WRONLY | flags) : NULL;
	if (!w) {
		if (r)
			file_unref(r);
		node_unref(n);
		return -ENFILE;
	}
	r->node = n;
	w->node = n;
	node_ref(n);
	pipe_attach(n->pipe, r);
	pipe_attach(n->pipe, w);
	*reader = r;
	*writer = w;
	return 0;
}
