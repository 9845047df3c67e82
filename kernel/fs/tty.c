/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's terminal: /dev/console, and /dev/tty for the session that it controls. Bytes come from dev/console (the serial line,
 * or the runner link's console channel) on an input world, pass the line discipline and wake readers; ^C and its kin become
 * signals to the foreground process group through tty_hooks.
 *
 * Lock: tty.lock (mutex), over the line discipline and the session's numbers; not held over copies to ring 3 or waits.
 */
#include "fs/tty.h"
#include "fs/ldisc.h"
#include "fs/vfs.h"

struct tty_hooks tty_hooks;

static struct {
	struct mutex lock;
	struct waitq wait;
	struct ldisc ldisc;
	struct linux_winsize size;
	int sid, pgrp; /* controlling session and its foreground group; 0: none */
	void (*output)(const char *bytes, size_t n);
} tty;

static void tty_emit(void *ctx, const char *bytes, size_t n)
{
	if (tty.output)
		tty.output(bytes, n);
}

void tty_input(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int sig, pgrp;

		mutex_lock(&tty.lock);
		sig = ldisc_input(&tty.ldisc, (uint8_t)bytes[i]);
		pgrp = tty.pgrp;
		mutex_unlock(&tty.lock);
		if (sig && pgrp && tty_hooks.signal_group)
			tty_hooks.signal_group(pgrp, sig);
	}
	waitq_wake_all(&tty.wait);
}

/* A background group of the controlling session may not read: it is stopped until it is in front again. */
static int tty_check_foreground(void)
{
	int group;

	if (!tty.sid || !tty_hooks.session || tty_hooks.session() != tty.sid)
		return 0;
	group = tty_hooks.group();
	if (group == tty.pgrp || !tty.pgrp)
		return 0;
	tty_hooks.signal_group(group, SIGTTIN_);
	return current->signalled ? -EINTR : -EIO; /* ignored or blocked */
}

/* Without canonical mode and with VMIN 0 a read gives up after VTIME tenths of a second, perhaps at once. */
static uint64_t tty_read_deadline(void)
{
	const struct linux_termios *t = &tty.ldisc.termios;

	if ((t->lflag & TTY_ICANON) || t->cc[TTY_VMIN])
		return UINT64_MAX;
	return clock_ns() + t->cc[TTY_VTIME] * (NSEC_PER_SEC / 10);
}

static int64_t tty_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	char bytes[256];
	uint64_t deadline = tty_read_deadline();
	size_t part;
	int r = tty_check_foreground();

	if (r || !n)
		return r;
	for (;;) {
		bool readable;

		mutex_lock(&tty.lock);
		readable = ldisc_readable(&tty.ldisc);
		part = readable ? ldisc_read(&tty.ldisc, bytes, MIN(n, sizeof(bytes))) : 0;
		mutex_unlock(&tty.lock);
		if (readable)
			break;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		r = waitq_wait(&tty.wait, ldisc_readable(&tty.ldisc), true, deadline);
		if (r)
			return r == -ETIMEDOUT ? 0 : r;
	}
	return arch_user_write(buf, bytes, part) ? -EFAULT : (int64_t)part;
}

static int64_t tty_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	char bytes[256];
	uint64_t done = 0;

	while (done < n) {
		size_t part = MIN(n - done, sizeof(bytes));
		int r = waitq_wait(&tty.wait, !READ_ONCE(tty.ldisc.stopped), true, UINT64_MAX);

		if (r)
			return done ? (int64_t)done : r;
		if (arch_user_read(bytes, uva(buf.v + done), part))
			return done ? (int64_t)done : -EFAULT;
		mutex_lock(&tty.lock);
		ldisc_output(&tty.ldisc, bytes, part);
		mutex_unlock(&tty.lock);
		done += part;
	}
	return (int64_t)done;
}

static unsigned tty_poll(struct file *f, struct waitq **q)
{
	*q = &tty.wait;
	return (ldisc_readable(&tty.ldisc) ? POLL_IN : 0) | (tty.ldisc.stopped ? 0 : POLL_OUT);
}

static int64_t put_int(uint64_t arg, int v) { return arch_user_write(uva(arg), &v, sizeof(v)); }

static int64_t tty_set_termios(uint64_t arg, bool flush)
{
	struct linux_termios t;

	if (arch_user_read(&t, uva(arg), sizeof(t)))
		return -EFAULT;
	mutex_lock(&tty.lock);
	ldisc_set(&tty.ldisc, &t);
	if (flush)
		ldisc_flush_input(&tty.ldisc);
	mutex_unlock(&tty.lock);
	waitq_wake_all(&tty.wait);
	return 0;
}

static int64_t tty_take_session(uint64_t force)
{
	int sid = tty_hooks.session(), r = 0;

	mutex_lock(&tty.lock);
	if (!tty_hooks.session_leader())
		r = -EPERM;
	else if (tty.sid && tty.sid != sid && !force)
		r = -EPERM;
	else if (tty.sid != sid) {
		tty.sid = sid;
		tty.pgrp = tty_hooks.group();
	}
	mutex_unlock(&tty.lock);
	return r;
}

static int64_t tty_set_group(uint64_t arg)
{
	int pgrp, r = 0;

	if (arch_user_read(&pgrp, uva(arg), sizeof(pgrp)))
		return -EFAULT;
	if (tty_hooks.session() != tty.sid)
		return -ENOTTY;
	if (pgrp <= 0)
		return -EINVAL;
	if (!tty_hooks.group_in_session(pgrp, tty.sid))
		return -EPERM;
	mutex_lock(&tty.lock);
	tty.pgrp = pgrp;
	mutex_unlock(&tty.lock);
	return r;
}

static int64_t tty_ioctl_session(uint64_t cmd, uint64_t arg)
{
	switch (cmd) {
	case TIOCSCTTY:
		return tty_take_session(arg);
	case TIOCNOTTY:
		if (tty_hooks.session() == tty.sid && tty_hooks.session_leader())
			tty_session_ended(tty.sid);
		return 0;
	case TIOCGPGRP:
		return tty_hooks.session() == tty.sid ? put_int(arg, tty.pgrp) : -ENOTTY;
	case TIOCSPGRP:
		return tty_set_group(arg);
	case TIOCGSID:
		return tty_hooks.session() == tty.sid ? put_int(arg, tty.sid) : -ENOTTY;
	default:
		return -ENOTTY;
	}
}

static int64_t tty_ioctl(struct file *f, uint64_t cmd, uint64_t arg)
{
	switch (cmd) {
	case TCGETS:
		return arch_user_write(uva(arg), &tty.ldisc.termios, sizeof(tty.ldisc.termios));
	case TCSETS:
	case TCSETSW:
		return tty_set_termios(arg, false);
	case TCSETSF:
		return tty_set_termios(arg, true);
	case TCFLSH:
		mutex_lock(&tty.lock);
		if (arg != 1)
			ldisc_flush_input(&tty.ldisc);
		mutex_unlock(&tty.lock);
		return 0;
	case TCSBRK:
	case TCXONC:
		return 0;
	case TIOCGWINSZ:
		return arch_user_write(uva(arg), &tty.size, sizeof(tty.size));
	case TIOCSWINSZ:
		return arch_user_read(&tty.size, uva(arg), sizeof(tty.size));
	case FIONREAD:
		return put_int(arg, (int)ldisc_available(&tty.ldisc));
	case TIOCOUTQ:
		return put_int(arg, 0);
	default:
		return tty_ioctl_session(cmd, arg);
	}
}

void tty_session_ended(int sid)
{
	int pgrp = 0;

	mutex_lock(&tty.lock);
	if (tty.sid == sid) {
		pgrp = tty.pgrp;
		tty.sid = tty.pgrp = 0;
	}
	mutex_unlock(&tty.lock);
	if (pgrp)
		tty_hooks.signal_group(pgrp, SIGHUP_);
}

static int tty_open_controlling(struct file *f, void *ctx) { return tty.sid && tty_hooks.session() == tty.sid ? 0 : -ENXIO; }

static const struct file_ops tty_ops = { .read = tty_read, .write = tty_write, .ioctl = tty_ioctl, .poll = tty_poll };

void tty_set_output(void (*output)(const char *bytes, size_t n)) { tty.output = output; }

static void tty_init(void)
{
	mutex_init(&tty.lock, "tty");
	waitq_init(&tty.wait);
	ldisc_init(&tty.ldisc, tty_emit, NULL);
	tty.size = (struct linux_winsize){ 25, 80, 0, 0 };
	devfs_add("console", NULL, &tty_ops, NULL);
	devfs_add("tty", tty_open_controlling, &tty_ops, NULL);
}
INIT_CALL(INIT_FS, tty_init);
