/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on paths. Each comes in one or two forms, with and without a directory's descriptor; one function serves both. */
#include "sys/syscall.h"

int path_get(struct thread *t, int dirfd, uint64_t user, struct path_arg *out)
{
	int64_t n;
	int r = 0;

	out->base = NULL;
	out->name = kpage_alloc(MT_PROC);
	if (!out->name)
		return -ENOMEM;
	n = arch_user_read_string(out->name, uva(user), LINUX_PATH_MAX);
	if (n < 0)
		r = (int)n;
	else if (dirfd == AT_FDCWD || out->name[0] == '/')
		out->base = proc_cwd(t->proc);
	else {
		struct file *f = fd_get(t->proc->files, (uint64_t)(int64_t)dirfd);

		if (f && f->node) {
			out->base = f->node;
			node_ref(out->base);
		}
		r = !f ? -EBADF : !f->node ? -ENOTDIR : 0;
		if (f)
			file_put(f);
	}
	if (r) {
		kpage_free(out->name);
		out->name = NULL;
	}
	return r;
}

void path_put(struct path_arg *p)
{
	kpage_free(p->name);
	node_unref(p->base);
}

/* The node that (dirfd, path) names, referenced. */
static int node_of(struct thread *t, int dirfd, uint64_t path, unsigned flags, struct node **out)
{
	struct path_arg p;
	int r = path_get(t, dirfd, path, &p);

	if (r)
		return r;
	if (!p.name[0] && (flags & AT_EMPTY_PATH)) {
		*out = p.base;
		node_ref(p.base);
	} else {
		r = vfs_lookup(p.base, p.name, !(flags & AT_SYMLINK_NOFOLLOW), out);
	}
	path_put(&p);
	return r;
}

static int64_t do_open(struct thread *t, int dirfd, uint64_t path, uint32_t flags, uint32_t mode)
{
	struct path_arg p;
	struct file *f;
	int r = path_get(t, dirfd, path, &p);

	if (r)
		return r;
	r = vfs_open(p.base, p.name, flags, mode & ~t->proc->umask, &f);
	path_put(&p);
	return r ? r : fd_install_from(t->proc->files, f, 0, flags & O_CLOEXEC);
}

SYSCALL(open) { return do_open(t, AT_FDCWD, a0, (uint32_t)a1, (uint32_t)a2); }
SYSCALL(openat) { return do_open(t, (int)a0, a1, (uint32_t)a2, (uint32_t)a3); }

/* ---- facts ---- */

static int64_t put_stat(struct node *n, uint64_t user)
{
	struct linux_stat st;

	node_stat(n, &st);
	return arch_user_write(uva(user), &st, sizeof(st));
}

static int64_t fd_stat(struct thread *t, uint64_t fd, struct linux_stat *st)
{
	struct file *f = fd_get(t->proc->files, fd);

	if (!f)
		return -EBADF;
	if (f->node)
		node_stat(f->node, st);
	else
		*st = (struct linux_stat){ .dev = 1, .ino = 2, .nlink = 1, .mode = S_IFCHR | 0600, .blksize = PAGE_SIZE };
	file_put(f);
	return 0;
}

static int64_t do_stat(struct thread *t, int dirfd, uint64_t path, uint64_t user, unsigned flags)
{
	struct node *n;
	int64_t r = node_of(t, dirfd, path, flags, &n);

	if (r)
		return r;
	r = put_stat(n, user);
	node_unref(n);
	return r;
}

SYSCALL(fstat)
{
	struct linux_stat st;
	int64_t r = fd_stat(t, a0, &st);

	return r ? r : arch_user_write(uva(a1), &st, sizeof(st));
}
SYSCALL(stat) { return do_stat(t, AT_FDCWD, a0, a1, 0); }
SYSCALL(lstat) { return do_stat(t, AT_FDCWD, a0, a1, AT_SYMLINK_NOFOLLOW); }

static bool empty_path(uint64_t path)
{
	char c = 1;

	return !arch_user_read(&c, uva(path), 1) && !c;
}

SYSCALL(newfstatat)
{
	if ((a3 & AT_EMPTY_PATH) && empty_path(a1) && (int)a0 != AT_FDCWD)
		return sys_fstat(t, a0, a2, 0, 0, 0, 0);
	return do_stat(t, (int)a0, a1, a2, (unsigned)a3);
}

struct linux_statx_time { int64_t sec; uint32_t nsec; int32_t pad; };
struct linux_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, pad0;
	uint64_t ino, size, blocks, attributes_mask;
	struct linux_statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t pad1[14];
};
_Static_assert(sizeof(struct linux_statx) == 256, "struct statx");

SYSCALL(statx)
{
	const uint32_t basic = 0x7ff;
	struct linux_statx x;
	struct linux_stat st;
	struct linux_statx_time time;
	int64_t r;

	if ((a2 & AT_EMPTY_PATH) && empty_path(a1) && (int)a0 != AT_FDCWD) {
		r = fd_stat(t, a0, &st);
	} else {
		struct node *n;

		r = node_of(t, (int)a0, a1, (unsigned)a2, &n);
		if (!r) {
			node_stat(n, &st);
			node_unref(n);
		}
	}
	if (r)
		return r;
	time = (struct linux_statx_time){ (int64_t)st.mtime, (uint32_t)st.mtime_ns, 0 };
	x = (struct linux_statx){
		.mask = basic, .blksize = (uint32_t)st.blksize, .nlink = (uint32_t)st.nlink, .mode = (uint16_t)st.mode, .ino = st.ino,
		.size = (uint64_t)st.size, .blocks = (uint64_t)st.blocks, .atime = time, .ctime = time, .mtime = time,
		.rdev_major = (uint32_t)(st.rdev >> 8), .rdev_minor = (uint32_t)st.rdev & 0xff, .dev_minor = 1,
	};
	return arch_user_write(uva(a4), &x, sizeof(x));
}

/* Everything is root's: only execution depends on the mode. */
static int64_t do_access(struct thread *t, int dirfd, uint64_t path, unsigned mode, unsigned flags)
{
	struct node *n;
	int64_t r = node_of(t, dirfd, path, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH), &n);

	if (r)
		return r;
	if ((mode & 1) && node_is(n, S_IFREG) && !(n->mode & 0111))
		r = -EACCES;
	node_unref(n);
	return r;
}
SYSCALL(access) { return do_access(t, AT_FDCWD, a0, (unsigned)a1, 0); }
SYSCALL(faccessat) { return do_access(t, (int)a0, a1, (unsigned)a2, 0); }
SYSCALL(faccessat2) { return do_access(t, (int)a0, a1, (unsigned)a2, (unsigned)a3); }

static int64_t do_readlink(struct thread *t, int dirfd, uint64_t path, uint64_t user, int64_t size)
{
	char *buf;
	struct node *n = NULL;
	struct path_arg p;
	int64_t r;

	if (size <= 0)
		return -EINVAL;
	r = path_get(t, dirfd, path, &p);
	if (r)
		return r;
	buf = kpage_alloc(MT_PROC);
	if (!buf)
		r = -ENOMEM;
	else if (!strcmp(p.name, "/proc/self/exe")) /* there is no /proc, but C libraries ask this at start */
		r = t->proc->exe ? vfs_path_of(t->proc->exe, buf, PAGE_SIZE) - 1 : -ENOENT;
	else
		r = vfs_lookup(p.base, p.name, false, &n);
	if (n) {
		r = vfs_readlink(n, buf, PAGE_SIZE);
		node_unref(n);
	}
	if (r > 0) {
		r = MIN(r, size);
		if (arch_user_write(uva(user), buf, (size_t)r))
			r = -EFAULT;
	}
	if (buf)
		kpage_free(buf);
	path_put(&p);
	return r;
}
SYSCALL(readlink) { return do_readlink(t, AT_FDCWD, a0, a1, (int64_t)a2); }
SYSCALL(readlinkat) { return do_readlink(t, (int)a0, a1, a2, (int64_t)a3); }

/* ---- making and removing ---- */

static int64_t do_make(struct thread *t, int dirfd, uint64_t path, uint32_t mode, const char *target)
{
	struct path_arg p;
	int64_t r = path_get(t, dirfd, path, &p);

	if (r)
		return r;
	r = vfs_make(p.base, p.name, mode & ~(target ? 0 : t->proc->umask), target);
	path_put(&p);
	return r;
}

SYSCALL(mkdir) { return do_make(t, AT_FDCWD, a0, S_IFDIR | (a1 & 07777), NULL); }
SYSCALL(mkdirat) { return do_make(t, (int)a0, a1, S_IFDIR | (a2 & 07777), NULL); }

static int64_t do_mknod(struct thread *t, int dirfd, uint64_t path, uint32_t mode)
{
	uint32_t type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;

	if (type != S_IFREG && type != S_IFIFO)
		return -EPERM; /* devices are made by their drivers */
	return do_make(t, dirfd, path, type | (mode & 07777), NULL);
}
SYSCALL(mknod) { return do_mknod(t, AT_FDCWD, a0, (uint32_t)a1); }
SYSCALL(mknodat) { return do_mknod(t, (int)a0, a1, (uint32_t)a2); }

static int64_t do_symlink(struct thread *t, uint64_t target, int dirfd, uint64_t path)
{
	char *text = kpage_alloc(MT_PROC);
	int64_t r;

	if (!text)
		return -ENOMEM;
	r = arch_user_read_string(text, uva(target), LINUX_PATH_MAX);
	if (r >= 0)
		r = r ? do_make(t, dirfd, path, S_IFLNK | 0777, text) : -ENOENT;
	kpage_free(text);
	return r;
}
SYSCALL(symlink) { return do_symlink(t, a0, AT_FDCWD, a1); }
SYSCALL(symlinkat) { return do_symlink(t, a0, (int)a1, a2); }

static int64_t do_unlink(struct thread *t, int dirfd, uint64_t path, bool directory)
{
	struct path_arg p;
	int64_t r = path_get(t, dirfd, path, &p);

	if (r)
		return r;
	r = vfs_remove(p.base, p.name, directory);
	path_put(&p);
	return r;
}
SYSCALL(unlink) { return do_unlink(t, AT_FDCWD, a0, false); }
SYSCALL(rmdir) { return do_unlink(t, AT_FDCWD, a0, true); }
SYSCALL(unlinkat) { return do_unlink(t, (int)a0, a1, a2 & AT_REMOVEDIR); }

static int64_t do_rename(struct thread *t, int old_fd, uint64_t old, int new_fd, uint64_t new_path)
{
	struct path_arg from, to;
	int64_t r = path_get(t, old_fd, old, &from);

	if (r)
		return r;
	r = path_get(t, new_fd, new_path, &to);
	if (!r) {
		r = vfs_rename(from.base, from.name, to.base, to.name);
		path_put(&to);
	}
	path_put(&from);
	return r;
}
SYSCALL(rename) { return do_rename(t, AT_FDCWD, a0, AT_FDCWD, a1); }
SYSCALL(renameat) { return do_rename(t, (int)a0, a1, (int)a2, a3); }
SYSCALL(renameat2) { return a4 ? -EINVAL : do_rename(t, (int)a0, a1, (int)a2, a3); }

SYSCALL(truncate)
{
	struct node *n;
	int64_t r = node_of(t, AT_FDCWD, a0, 0, &n);

	if (r)
		return r;
	r = !node_is(n, S_IFREG) || (int64_t)a1 < 0 ? -EINVAL : node_truncate(n, a1);
	node_unref(n);
	return r;
}

/* ---- attributes: modes are kept, owners are always root, times are those of changes ---- */

static int64_t do_chmod(struct thread *t, int dirfd, uint64_t path, uint32_t mode)
{
	struct node *n;
	int64_t r = node_of(t, dirfd, path, 0, &n);

	if (r)
		return r;
	n->mode = (n->mode & S_IFMT) | (mode & 07777);
	node_unref(n);
	return 0;
}
SYSCALL(chmod) { return do_chmod(t, AT_FDCWD, a0, (uint32_t)a1); }
SYSCALL(fchmodat) { return do_chmod(t, (int)a0, a1, (uint32_t)a2); }
SYSCALL(fchmod)
{
	struct file *f = fd_get(t->proc->files, a0);

	if (!f)
		return -EBADF;
	if (f->node)
		f->node->mode = (f->node->mode & S_IFMT) | ((uint32_t)a1 & 07777);
	file_put(f);
	return 0;
}

static int64_t must_exist(struct thread *t, int dirfd, uint64_t path, unsigned flags)
{
	struct node *n;
	int64_t r = node_of(t, dirfd, path, flags, &n);

	if (!r)
		node_unref(n);
	return r;
}
SYSCALL(chown) { return must_exist(t, AT_FDCWD, a0, 0); }
SYSCALL(lchown) { return must_exist(t, AT_FDCWD, a0, AT_SYMLINK_NOFOLLOW); }
SYSCALL(fchown) { return sys_fsync(t, a0, 0, 0, 0, 0, 0); }
SYSCALL(fchownat) { return must_exist(t, (int)a0, a1, (unsigned)a4); }
SYSCALL(utimensat) { return a1 ? must_exist(t, (int)a0, a1, (unsigned)a3) : sys_fsync(t, a0, 0, 0, 0, 0, 0); }

/* ---- working directory ---- */

static int64_t set_cwd(struct thread *t, struct node *n)
{
	if (!node_is(n, S_IFDIR)) {
		node_unref(n);
		return -ENOTDIR;
	}
	proc_use_node(&t->proc->cwd, n);
	return 0;
}

SYSCALL(chdir)
{
	struct node *n;
	int64_t r = node_of(t, AT_FDCWD, a0, 0, &n);

	return r ? r : set_cwd(t, n);
}

SYSCALL(fchdir)
{
	struct file *f = fd_get(t->proc->files, a0);
	struct node *n;

	if (!f)
		return -EBADF;
	n = f->node;
	if (n)
		node_ref(n);
	file_put(f);
	return n ? set_cwd(t, n) : -ENOTDIR;
}

SYSCALL(getcwd)
{
	char *buf = kpage_alloc(MT_PROC);
	struct node *cwd = proc_cwd(t->proc);
	int64_t r = -ENOMEM;

	if (buf)
		r = vfs_path_of(cwd, buf, PAGE_SIZE);
	if (r > 0 && (uint64_t)r > a1)
		r = -ERANGE;
	if (r > 0 && arch_user_write(uva(a0), buf, (size_t)r))
		r = -EFAULT;
	node_unref(cwd);
	if (buf)
		kpage_free(buf);
	return r;
}

SYSCALL(umask)
{
	uint32_t old = t->proc->umask;

	t->proc->umask = (uint32_t)a0 & 0777;
	return old;
}
