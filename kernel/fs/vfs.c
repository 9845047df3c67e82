/* SPDX-License-Identifier: Apache-2.0 */
/* What system calls do with paths: open, make, remove, rename, list. Everything belongs to root; of permissions only execution is checked. */
#include "fs/vfs.h"

static char *name_copy(const struct walk *w, char buf[LINUX_NAME_MAX + 1])
{
	memcpy(buf, w->name, w->name_len);
	buf[w->name_len] = 0;
	return buf;
}

int vfs_lookup(struct node *cwd, const char *path, bool follow, struct node **out)
{
	struct walk w;
	int r;

	mutex_lock(&fs_tree_lock);
	r = walk_path(&w, cwd, path, follow);
	if (!r && !w.node)
		r = -ENOENT;
	if (!r) {
		*out = w.node;
		node_ref(w.node);
	}
	walk_end(&w);
	mutex_unlock(&fs_tree_lock);
	return r;
}

/* Adds a new node under the walk's last component; the node comes back referenced. */
static int make_node(const struct walk *w, uint32_t mode, struct node **out)
{
	char name[LINUX_NAME_MAX + 1];
	struct node *n;
	int r;

	if (!w->dir)
		return -EEXIST;
	n = node_new(mode);
	if (!n)
		return -ENOMEM;
	r = node_add(w->dir, n, name_copy(w, name), false);
	if (r) {
		node_unref(n);
		return r;
	}
	w->dir->mtime_ns = n->mtime_ns;
	*out = n;
	return 0;
}

static int open_check(const struct walk *w, uint32_t flags)
{
	const struct node *n = w->node;
	bool writes = (flags & O_ACCMODE) != O_RDONLY;

	if (!n)
		return !(flags & O_CREAT) ? -ENOENT : w->slash ? -EISDIR : 0;
	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (node_is(n, S_IFLNK) && !(flags & O_PATH))
		return -ELOOP;
	if ((flags & O_DIRECTORY) && !node_is(n, S_IFDIR))
		return -ENOTDIR;
	if (node_is(n, S_IFDIR) && (writes || (flags & O_CREAT)))
		return -EISDIR;
	return 0;
}

/* The file for a node, referenced node handed over. */
static int open_node(struct node *n, uint32_t flags, struct file **out)
{
	struct file *f = file_new(&node_file_ops, NULL, flags & ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC));
	int r = 0;

	if (!f) {
		node_unref(n);
		return -ENFILE;
	}
	f->node = n;
	if (flags & O_PATH) {
		*out = f;
		return 0;
	}
	if (node_is(n, S_IFCHR)) {
		const struct file_ops *ops = n->dev.ops;

		r = n->dev.open ? n->dev.open(f, n->dev.ctx) : 0;
		if (!r && f->ops == &node_file_ops)
			f->ops = ops; /* only now: release must not see a file that open refused */
	} else if (node_is(n, S_IFIFO)) {
		r = fifo_open(n, f);
	} else if (node_is(n, S_IFREG) && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) {
		r = node_truncate(n, 0);
	}
	if (r) {
		file_unref(f);
		return r;
	}
	*out = f;
	return 0;
}

int vfs_open(struct node *cwd, const char *path, uint32_t flags, uint32_t mode, struct file **out)
{
	struct walk w;
	struct node *n = NULL;
	int r;

	mutex_lock(&fs_tree_lock);
	r = walk_path(&w, cwd, path, !(flags & O_NOFOLLOW) && !((flags & O_CREAT) && (flags & O_EXCL)));
	if (!r)
		r = open_check(&w, flags);
	if (!r) {
		if (w.node) {
			n = w.node;
			node_ref(n);
		} else {
			r = make_node(&w, S_IFREG | (mode & 07777), &n);
		}
	}
	walk_end(&w);
	mutex_unlock(&fs_tree_lock);
	return r ? r : open_node(n, flags, out);
}

int vfs_make(struct node *cwd, const char *path, uint32_t mode, const char *link_target)
{
	struct walk w;
	struct node *n = NULL;
	int r;

	mutex_lock(&fs_tree_lock);
	r = walk_path(&w, cwd, path, false);
	if (!r && w.node)
		r = -EEXIST;
	if (!r && w.slash && (mode & S_IFMT) != S_IFDIR)
		r = -ENOENT;
	if (!r)
		r = make_node(&w, mode, &n);
	if (!r && link_target) {
		size_t len = strlen(link_target);

		if (node_write(n, 0, link_target, len) != (int64_t)len) {
			node_remove(n);
			r = -ENOSPC;
		}
	}
	if (n)
		node_unref(n);
	walk_end(&w);
	mutex_unlock(&fs_tree_lock);
	return r;
}

int vfs_remove(struct node *cwd, const char *path, bool directory)
{
	struct walk w;
	int r;

	mutex_lock(&fs_tree_lock);
	r = walk_path(&w, cwd, path, false);
	if (!r) {
		if (!w.node)
			r = -ENOENT;
		else if (!w.dir)
			r = directory ? -EINVAL : -EISDIR;
		else if (node_is(w.node, S_IFDIR) != directory)
			r = directory ? -ENOTDIR : -EISDIR;
		else if (!list_empty(&w.node->children))
			r = -ENOTEMPTY;
	}
	if (!r) {
		w.dir->mtime_ns = (int64_t)wall_clock_ns();
		node_remove(w.node);
	}
	walk_end(&w);
	mutex_unlock(&fs_tree_lock);
	return r;
}

static bool is_above(const struct node *upper, const struct node *n)
{
	for (; n != &fs_root; n = n->parent)
		if (n == upper)
			return true;
	return upper == &fs_root;
}

static int rename_check(const struct walk *from, const struct walk *to)
{
	const struct node *n = from->node, *old = to->node;

	if (!n)
		return -ENOENT;
	if (!from->dir || !to->dir)
		return -EBUSY;
	if (!node_is(n, S_IFDIR) && (from->slash || to->slash))
		return -ENOTDIR;
	if (node_is(n, S_IFDIR) && is_above(n, to->dir))
		return -EINVAL;
	if (!old || old == n)
		return 0;
	if (node_is(n, S_IFDIR) != node_is(old, S_IFDIR))
		return node_is(old, S_IFDIR) ? -EISDIR : -ENOTDIR;
	return list_empty(&old->children) ? 0 : -ENOTEMPTY;
}

static int rename_locked(const struct walk *from, const struct walk *to)
{
	char name[LINUX_NAME_MAX + 1];
	struct node *n = from->node, *parent = n ? n->parent : NULL;
	int r = rename_check(from, to);

	if (r || to->node == n)
		return r;
	list_remove(&n->link);
	r = node_add(to->dir, n, name_copy(to, name), false);
	if (r) { /* back to where it was: its name is still its own */
		struct list *at = parent->children.prev;

		while (at != &parent->children && list_entry(at, struct node, link)->ino > n->ino)
			at = at->prev;
		list_insert_between(&n->link, at, at->next);
		return r;
	}
	node_unref(n); /* node_add took a second one for the tree */
	if (to->node)
		node_remove(to->node);
	return 0;
}

int vfs_rename(struct node *old_cwd, const char *old, struct node *new_cwd, const char *new_path)
{
	struct walk from, to;
	int r;

	mutex_lock(&fs_tree_lock);
	r = walk_path(&from, old_cwd, old, false);
	if (!r) {
		r = walk_path(&to, new_cwd, new_path, false);
		if (!r)
			r = rename_locked(&from, &to);
		walk_end(&to);
	}
	walk_end(&from);
	mutex_unlock(&fs_tree_lock);
	return r;
}

int64_t vfs_readlink(struct node *n, char *buf, size_t size)
{
	if (!node_is(n, S_IFLNK))
		return -EINVAL;
	return node_read(n, 0, buf, size);
}

int64_t vfs_path_of(struct node *n, char *buf, size_t size)
{
	size_t at = size;
	int64_t r = 0;

	mutex_lock(&fs_tree_lock);
	if (at < 2)
		r = -ERANGE;
	else
		buf[--at] = 0;
	for (; !r && n != &fs_root; n = n->parent) {
		size_t len = strlen(n->name);

		if (!n->parent)
			r = -ENOENT;
		else if (len + 1 > at)
			r = -ERANGE;
		else {
			at -= len + 1;
			buf[at] = '/';
			memcpy(buf + at + 1, n->name, len);
		}
	}
	if (!r && !buf[at])
		buf[--at] = '/';
	mutex_unlock(&fs_tree_lock);
	if (r)
		return r;
	memmove(buf, buf + at, size - at);
	return (int64_t)(size - at);
}

/* Positions: 0 is ".", 1 is "..", then the child's ino + 1, so that a listing goes on where it was whatever was removed meanwhile. */
struct dir_entry { uint64_t ino, next; uint32_t mode; char name[LINUX_NAME_MAX + 1]; };

static bool dir_next(struct node *dir, uint64_t pos, struct dir_entry *e)
{
	if (pos < 2) {
		const struct node *n = pos && dir->parent ? dir->parent : dir;

		*e = (struct dir_entry){ n->ino, pos + 1, S_IFDIR, "." };
		if (pos)
			e->name[1] = '.';
		return true;
	}
	list_for_each(p, &dir->children) {
		const struct node *n = list_entry(p, struct node, link);

		if (n->ino < pos)
			continue;
		*e = (struct dir_entry){ .ino = n->ino, .next = n->ino + 1, .mode = n->mode };
		strlcpy(e->name, n->name, sizeof(e->name));
		return true;
	}
	return false;
}

int64_t vfs_getdents(struct file *f, uva_t buf, uint64_t n)
{
	union {
		struct linux_dirent64 d;
		char bytes[sizeof(struct linux_dirent64) + LINUX_NAME_MAX + 1 + 8];
	} rec;
	struct dir_entry e;
	uint64_t done = 0;

	if (!f->node || !node_is(f->node, S_IFDIR))
		return -ENOTDIR;
	for (;;) {
		bool more;
		size_t len, reclen;

		mutex_lock(&fs_tree_lock);
		more = dir_next(f->node, f->pos, &e);
		mutex_unlock(&fs_tree_lock);
		if (!more)
			return (int64_t)done;
		len = strlen(e.name);
		reclen = ALIGN_UP(sizeof(rec.d) + len + 1, 8);
		if (reclen > n - done)
			return done ? (int64_t)done : -EINVAL;
		memset(&rec, 0, reclen);
		rec.d.ino = e.ino;
		rec.d.off = (int64_t)e.next;
		rec.d.reclen = (uint16_t)reclen;
		rec.d.type = (uint8_t)((e.mode & S_IFMT) >> 12);
		memcpy(rec.d.name, e.name, len + 1);
		if (arch_user_write(uva(buf.v + done), &rec, reclen))
			return done ? (int64_t)done : -EFAULT;
		done += reclen;
		f->pos = e.next;
	}
}
