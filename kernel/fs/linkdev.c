/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console and the runner's link as files. Received bytes arrive in interrupt context: they go into a small ring each, from
 * which a world feeds the terminal, and readers of /dev/link/N take theirs. A full ring drops what comes.
 * Lock of a ring: its spinlock, with interrupts off.
 */
#include "dev/console/console.h"
#include "fs/tty.h"
#include "fs/vfs.h"

#define RING_SIZE 4096
#define CONSOLE_RING 1024

struct byte_ring {
	struct spinlock lock;
	struct waitq wait;
	uint32_t head, tail, size; /* indices run freely; size is a power of two */
	uint8_t *bytes;
};

static void ring_receive(void *ctx, const uint8_t *data, size_t n)
{
	struct byte_ring *r = ctx;
	uint64_t flags = spin_lock_irqsave(&r->lock);

	for (size_t i = 0; i < n && r->tail - r->head < r->size; i++)
		r->bytes[r->tail++ & (r->size - 1)] = data[i];
	spin_unlock_irqrestore(&r->lock, flags);
	waitq_wake_all(&r->wait);
}

static size_t ring_take(struct byte_ring *r, char *buf, size_t n)
{
	uint64_t flags = spin_lock_irqsave(&r->lock);
	size_t done = 0;

	while (done < n && r->head != r->tail)
		buf[done++] = (char)r->bytes[r->head++ & (r->size - 1)];
	spin_unlock_irqrestore(&r->lock, flags);
	return done;
}

static bool ring_has(const struct byte_ring *r) { return READ_ONCE(r->tail) != READ_ONCE(r->head); }

static void ring_init(struct byte_ring *r, uint8_t *bytes, uint32_t size)
{
	spin_init(&r->lock, "byte ring", RANK_DEV);
	waitq_init(&r->wait);
	r->head = r->tail = 0;
	r->size = size;
	r->bytes = bytes;
}

/* ---- /dev/link/N: the ring exists while the channel is open for reading ---- */

struct link_channel_file {
	unsigned channel;
	struct byte_ring ring;
	uint8_t bytes[RING_SIZE];
};
static uint8_t link_open_count[LINK_CHANNELS]; /* readers; one at a time gets the input (tree lock not needed: atomic) */

static int link_open(struct file *f, void *ctx)
{
	unsigned channel = (unsigned)(uintptr_t)ctx;
	struct link_channel_file *c;
	uint8_t none = 0;

	if (!link_active())
		return -ENXIO;
	if ((f->flags & O_ACCMODE) == O_WRONLY) {
		f->object = NULL;
		return 0;
	}
	if (!__atomic_compare_exchange_n(&link_open_count[channel], &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return -EBUSY;
	c = kmalloc(sizeof(*c), MT_TTY);
	if (!c) {
		__atomic_store_n(&link_open_count[channel], 0, __ATOMIC_RELEASE);
		return -ENOMEM;
	}
	c->channel = channel;
	ring_init(&c->ring, c->bytes, RING_SIZE);
	link_receiver(channel, ring_receive, &c->ring);
	f->object = c;
	return 0;
}

static void link_release(struct file *f)
{
	struct link_channel_file *c = f->object;

	if (!c)
		return;
	link_receiver(c->channel, NULL, NULL);
	__atomic_store_n(&link_open_count[c->channel], 0, __ATOMIC_RELEASE);
	kfree(c);
}

static int64_t link_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	struct link_channel_file *c = f->object;
	char bytes[256];
	size_t part;

	if (!n)
		return 0;
	while (!(part = ring_take(&c->ring, bytes, MIN(n, sizeof(bytes))))) {
		int r;

		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&c->ring.wait, ring_has(&c->ring), true, UINT64_MAX);
		if (r)
			return r;
	}
	return arch_user_write(buf, bytes, part) ? -EFAULT : (int64_t)part;
}

static int64_t link_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	unsigned channel = (unsigned)(uintptr_t)f->node->dev.ctx;
	char bytes[256];
	uint64_t done = 0;

	while (done < n && !current->kill) {
		size_t part = MIN(n - done, sizeof(bytes));

		if (arch_user_read(bytes, uva(buf.v + done), part))
			return done ? (int64_t)done : -EFAULT;
		link_send(channel, bytes, part);
		done += part;
	}
	return (int64_t)done;
}

static unsigned link_poll(struct file *f, struct waitq **q)
{
	struct link_channel_file *c = f->object;

	if (!c)
		return POLL_OUT;
	*q = &c->ring.wait;
	return POLL_OUT | (ring_has(&c->ring) ? POLL_IN : 0);
}

static const struct file_ops link_ops = { .read = link_read, .write = link_write, .poll = link_poll, .release = link_release };

/* ---- the terminal's input world ---- */

static uint8_t console_bytes[CONSOLE_RING];
static struct byte_ring console_ring;

static void console_feed(void *arg)
{
	char bytes[128];

	for (;;) {
		size_t n = ring_take(&console_ring, bytes, sizeof(bytes));

		if (n)
			tty_input(bytes, n);
		else
			waitq_wait(&console_ring.wait, ring_has(&console_ring), false, UINT64_MAX);
	}
}

static void tty_output(const char *bytes, size_t n) { console_write(bytes, n); }

static void linkdev_init(void)
{
	struct world *w;
	char name[16];

	if (link_active())
		for (unsigned i = 1; i < LINK_CHANNELS; i++) {
			snprintf(name, sizeof(name), "link/%u", i);
			if (devfs_add(name, link_open, &link_ops, (void *)(uintptr_t)i))
				log_error("no memory for /dev/%s", name);
		}
	ring_init(&console_ring, console_bytes, CONSOLE_RING);
	w = world_create("console", WORLD_KERNEL, console_feed, NULL);
	if (!w) {
		log_error("no memory for the console's input");
		return;
	}
	tty_set_output(tty_output);
	world_start(w);
	console_receiver(ring_receive, &console_ring);
}
INIT_CALL(INIT_SYS, linkdev_init);
