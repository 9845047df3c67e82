/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on descriptors: reading, writing, positions, duplication, control. */
#include "sys/syscall.h"

#define IOV_MAX 1024
#define TRANSFER_MAX 0x7ffff000ull

static bool can_read(const struct file *f) { return (f->flags & O_ACCMODE) != O_WRONLY && !(f->flags & O_PATH); }
static bool can_write(const struct file *f) { return (f->flags & O_ACCMODE) != O_RDONLY && !(f->flags & O_PATH); }

static int64_t file_transfer(struct file *f, bool write, uint64_t buf, uint64_t n, uint64_t *pos)
{
	if (write ? !can_write(f) : !can_read(f))
		return -EBADF;
	if (write ? !f->ops->write : !f->ops->read)
		return -EINVAL;
	n = MIN(n, TRANSFER_MAX);
	return write ? f->ops->write(f, uva(buf), n, pos) : f->ops->read(f, uva(buf), n, pos);
}

static int64_t fd_transfer(struct thread *t, uint64_t fd, bool write, uint64_t buf, uint64_t n, uint64_t *pos)
{
	struct file *f = fd_get(t->proc->files, fd);
	int64_t r;

	if (!f)
		return -EBADF;
	r = file_transfer(f, write, buf, n, pos ? pos : &f->pos);
	file_put(f);
	return r;
}

SYSCALL(read) { return fd_transfer(t, a0, false, a1, a2, NULL); }
SYSCALL(write) { return fd_transfer(t, a0, true, a1, a2, NULL); }
SYSCALL(pread64) { return (int64_t)a3 < 0 ? -EINVAL : fd_transfer(t, a0, false, a1, a2, &a3); }
SYSCALL(pwrite64) { return (int64_t)a3 < 0 ? -EINVAL : fd_transfer(t, a0, true, a1, a2, &a3); }

static int64_t fd_transfer_vector(struct thread *t, uint64_t fd, bool write, uint64_t vector, uint64_t count)
{
	struct { uint64_t base, len; } iov;
	struct file *f;
	int64_t r = 0, done = 0;

	if (count > IOV_MAX)
		return -EINVAL;
	f = fd_get(t->proc->files, fd);
	if (!f)
		return -EBADF;
	for (uint64_t i = 0; i < count; i++) {
		if (arch_user_read(&iov, uva(vector + i * sizeof(iov)), sizeof(iov))) {
			r = -EFAULT;
			break;
		}
		if (!iov.len)
			continue;
		r = file_transfer(f, write, iov.base, iov.len, &f->pos);
		if (r < 0)
			break;
		done += r;
		if ((uint64_t)r < iov.len)
			break;
	}
	file_put(f);
	return done ? done : r;
}

SYSCALL(readv) { return fd_transfer_vector(t, a0, false, a1, a2); }
SYSCALL(writev) { return fd_transfer_vector(t, a0, true, a1, a2); }
SYSCALL(close) { return fd_close(t->proc->files, (unsigned)a0); }

static int64_t seek(struct file *f, int64_t offset, unsigned whence)
{
	int64_t base;

	if (!f->node || node_is(f->node, S_IFIFO) || f->node->rdev == 0x500 || f->node->rdev == 0x501)
		return -ESPIPE;
	switch (whence) {
	case 0:
		base = 0;
		break;
	case 1:
		base = (int64_t)f->pos;
		break;
	case 2:
		base = (int64_t)READ_ONCE(f->node->size);
		break;
	default:
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, offset, &offset) || offset < 0)
		return -EINVAL;
	f->pos = (uint64_t)offset;
	return offset;
}

SYSCALL(lseek)
{
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r;

	if (!f)
		return -EBADF;
	r = seek(f, (int64_t)a1, (unsigned)a2);
	file_put(f);
	return r;
}

/* FIONBIO is every file's. Apart, so that the common way saves nothing for it. */
static __attribute__((noinline)) int64_t ioctl_any_file(struct file *f, uint32_t cmd, uint64_t arg)
{
	int on;

	if (cmd != FIONBIO)
		return -ENOTTY;
	if (arch_user_read(&on, uva(arg), sizeof(on)))
		return -EFAULT;
	f->flags = on ? f->flags | O_NONBLOCK : f->flags & ~(uint32_t)O_NONBLOCK;
	return 0;
}

SYSCALL(ioctl)
{
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r;

	if (unlikely(!f))
		return -EBADF;
	r = likely(f->ops->ioctl) ? f->ops->ioctl(f, (uint32_t)a1, a2) : -ENOTTY;
	if (unlikely(r == -ENOTTY))
		r = ioctl_any_file(f, (uint32_t)a1, a2);
	file_put(f);
	return r;
}

/* ---- duplication ---- */

SYSCALL(dup)
{
	struct file *f = fd_get(t->proc->files, a0);

	return f ? fd_install_from(t->proc->files, f, 0, false) : -EBADF;
}

SYSCALL(dup3)
{
	struct file *f;

	if (a0 == a1 || (a2 & ~(uint64_t)O_CLOEXEC))
		return -EINVAL;
	f = fd_get(t->proc->files, a0);
	return f ? fd_install_at(t->proc->files, f, (unsigned)a1, a2 & O_CLOEXEC) : -EBADF;
}

SYSCALL(dup2)
{
	struct file *f = fd_get(t->proc->files, a0);

	if (!f)
		return -EBADF;
	if (a0 == a1) {
		file_put(f);
		return (int64_t)a1;
	}
	return fd_install_at(t->proc->files, f, (unsigned)a1, false);
}

enum { F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, F_GETLK = 5, F_SETLK = 6, F_SETLKW = 7, F_DUPFD_CLOEXEC = 1030 };

SYSCALL(fcntl)
{
	const uint32_t changeable = O_APPEND | O_NONBLOCK;
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r = 0;

	if (!f)
		return -EBADF;
	switch (a1) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (a2 >= FD_MAX)
			break;
		return fd_install_from(t->proc->files, f, (unsigned)a2, a1 == F_DUPFD_CLOEXEC);
	case F_GETFD:
		r = fd_get_cloexec(t->proc->files, (unsigned)a0);
		break;
	case F_SETFD:
		r = fd_set_cloexec(t->proc->files, (unsigned)a0, a2 & 1);
		break;
	case F_GETFL:
		r = f->flags;
		break;
	case F_SETFL:
		f->flags = (f->flags & ~changeable) | ((uint32_t)a2 & changeable);
		break;
	case F_SETLK: /* locks between processes: nobody here contends */
	case F_SETLKW:
		break;
	default:
		r = -EINVAL;
	}
	if ((a1 == F_DUPFD || a1 == F_DUPFD_CLOEXEC) && !r)
		r = -EINVAL;
	file_put(f);
	return r;
}

/* ---- pipes and counters ---- */

static int64_t make_pipe(struct thread *t, uint64_t user, uint32_t flags)
{
	struct fdtable *files = t->proc->files;
	struct file *reader, *writer;
	int fd[2], r;

	if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	r = pipe_create(&reader, &writer, flags & O_NONBLOCK);
	if (r)
		return r;
	fd[0] = fd_install_from(files, reader, 0, flags & O_CLOEXEC);
	if (fd[0] < 0) {
		file_unref(writer);
		return fd[0];
	}
	fd[1] = fd_install_from(files, writer, 0, flags & O_CLOEXEC);
	r = fd[1] < 0 ? fd[1] : arch_user_write(uva(user), fd, sizeof(fd));
	if (r) {
		fd_close(files, (unsigned)fd[0]);
		if (fd[1] >= 0)
			fd_close(files, (unsigned)fd[1]);
	}
	return r;
}

SYSCALL(pipe) { return make_pipe(t, a0, 0); }
SYSCALL(pipe2) { return make_pipe(t, a0, (uint32_t)a1); }

#define EFD_SEMAPHORE 1
SYSCALL(eventfd2)
{
	struct file *f;

	if (a1 & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE))
		return -EINVAL;
	f = eventfd_create((uint32_t)a0, a1 & EFD_SEMAPHORE, (uint32_t)a1 & O_NONBLOCK);
	return f ? fd_install_from(t->proc->files, f, 0, a1 & O_CLOEXEC) : -ENFILE;
}

SYSCALL(timerfd_create)
{
	struct file *f;

	if (a0 > 1 || (a1 & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK)))
		return -EINVAL;
	f = timerfd_create((uint32_t)a1 & O_NONBLOCK);
	return f ? fd_install_from(t->proc->files, f, 0, a1 & O_CLOEXEC) : -ENFILE;
}

static int put_timerfd_spec(uint64_t user, const struct timerfd_spec *s)
{
	int r = user_put_timespec(user, s->interval_ns);

	return r ? r : user_put_timespec(user + sizeof(struct linux_timespec), s->value_ns);
}

SYSCALL(timerfd_settime)
{
	struct timerfd_spec s, old;
	struct file *f;
	int64_t r = user_timespec(a2, &s.interval_ns);

	if (!r)
		r = user_timespec(a2 + sizeof(struct linux_timespec), &s.value_ns);
	if (r)
		return r;
	f = fd_get(t->proc->files, a0);
	if (!f)
		return -EBADF;
	r = timerfd_set(f, &s, a1 & 1, &old);
	file_put(f);
	return !r && a3 ? put_timerfd_spec(a3, &old) : r;
}

SYSCALL(timerfd_gettime)
{
	struct timerfd_spec s;
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r;

	if (!f)
		return -EBADF;
	r = timerfd_get(f, &s);
	file_put(f);
	return r ? r : put_timerfd_spec(a1, &s);
}

/* ---- whole files ---- */

SYSCALL(fsync)
{
	struct file *f = fd_get(t->proc->files, a0);

	if (!f)
		return -EBADF;
	file_put(f); /* everything is in memory: there is nothing slower to wait for */
	return 0;
}
SYSCALL(fdatasync) { return sys_fsync(t, a0, a1, a2, a3, a4, a5); }
SYSCALL(sync) { return 0; }

SYSCALL(ftruncate)
{
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r = -EINVAL;

	if (!f)
		return -EBADF;
	if (f->node && node_is(f->node, S_IFREG) && can_write(f) && (int64_t)a1 >= 0)
		r = node_truncate(f->node, a1);
	file_put(f);
	return r;
}

SYSCALL(getdents64)
{
	struct file *f = fd_get(t->proc->files, a0);
	int64_t r;

	if (!f)
		return -EBADF;
	r = vfs_getdents(f, uva(a1), a2);
	file_put(f);
	return r;
}
