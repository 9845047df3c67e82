/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and the tree that they form: making, naming, finding among siblings, removing. See vfs.h for references and locks. */
#include "fs/vfs.h"

struct mutex fs_tree_lock, fs_data_lock;
struct node fs_root = {
	.mode = S_IFDIR | 0755, .refs = 1, .ino = 1, .name = "", .parent = &fs_root, .link = LIST_INIT(fs_root.link),
	.children = LIST_INIT(fs_root.children),
};
#define NODES_MAX 8192 /* ring 3 makes them: the kernel's heap is not theirs to fill */
static uint64_t next_ino = 16;
static uint32_t nr_nodes;
static bool core_ready;

void fs_core_init(void)
{
	if (core_ready)
		return;
	core_ready = true;
	mutex_init(&fs_tree_lock, "fs tree");
	mutex_init(&fs_data_lock, "fs data");
}

struct node *node_new(uint32_t mode)
{
	struct node *n = NULL;

	if (__atomic_add_fetch(&nr_nodes, 1, __ATOMIC_RELAXED) <= NODES_MAX)
		n = kzalloc(sizeof(*n), MT_FS);
	if (!n) {
		__atomic_fetch_sub(&nr_nodes, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	n->mode = mode;
	n->refs = 1;
	n->ino = __atomic_fetch_add(&next_ino, 1, __ATOMIC_RELAXED);
	n->name = "";
	n->mtime_ns = (int64_t)wall_clock_ns();
	list_init(&n->link);
	list_init(&n->children);
	if (node_is(n, S_IFREG) || node_is(n, S_IFLNK))
		n->store = STORE_PAGES;
	return n;
}

void node_ref(struct node *n) { __atomic_fetch_add(&n->refs, 1, __ATOMIC_RELAXED); }

void node_unref(struct node *n)
{
	if (__atomic_sub_fetch(&n->refs, 1, __ATOMIC_ACQ_REL))
		return;
	node_data_free(n);
	if (node_is(n, S_IFIFO))
		fifo_free(n);
	if (n->name_owned)
		kfree((void *)n->name);
	kfree(n);
	__atomic_fetch_sub(&nr_nodes, 1, __ATOMIC_RELAXED);
}

int node_add(struct node *dir, struct node *n, const char *name, bool borrowed)
{
	struct list *at = dir->children.prev;

	DEBUG_ASSERT(mutex_held(&fs_tree_lock));
	if (!borrowed) {
		size_t len = strlen(name);
		char *copy = kmalloc(len + 1, MT_FS);

		if (!copy)
			return -ENOMEM;
		memcpy(copy, name, len + 1);
		name = copy;
	}
	if (n->name_owned)
		kfree((void *)n->name);
	n->name = name;
	n->name_owned = !borrowed;
	while (at != &dir->children && list_entry(at, struct node, link)->ino > n->ino)
		at = at->prev;
	list_insert_between(&n->link, at, at->next);
	n->parent = dir;
	node_ref(n);
	return 0;
}

void node_remove(struct node *n)
{
	DEBUG_ASSERT(mutex_held(&fs_tree_lock));
	list_remove(&n->link);
	n->parent = NULL;
	node_unref(n);
}

struct node *node_child(struct node *dir, const char *name, size_t len)
{
	list_for_each(p, &dir->children) {
		struct node *n = list_entry(p, struct node, link);

		if (!strncmp(n->name, name, len) && !n->name[len])
			return n;
	}
	return NULL;
}

static struct node *make_dir(struct node *dir, const char *name, size_t len)
{
	char copy[LINUX_NAME_MAX + 1];
	struct node *n;
	int r;

	if (len > LINUX_NAME_MAX)
		return NULL;
	n = node_new(S_IFDIR | 0755);
	if (!n)
		return NULL;
	memcpy(copy, name, len);
	copy[len] = 0;
	r = node_add(dir, n, copy, false);
	node_unref(n); /* the tree's reference remains; on failure this frees it */
	return r ? NULL : n;
}

struct node *node_make_dirs(const char *path, size_t len)
{
	struct node *dir = &fs_root;
	size_t at = 0;

	while (dir && at < len) {
		size_t end = at;
		struct node *n;

		while (end < len && path[end] != '/')
			end++;
		if (end > at && !(end == at + 1 && path[at] == '.')) {
			n = node_child(dir, path + at, end - at);
			dir = n ? n : make_dir(dir, path + at, end - at);
			if (dir && !node_is(dir, S_IFDIR))
				dir = NULL;
		}
		at = end + 1;
	}
	return dir;
}

void node_stat(struct node *n, struct linux_stat *st)
{
	*st = (struct linux_stat){
		.dev = 1, .ino = n->ino, .nlink = node_is(n, S_IFDIR) ? 2 : 1, .mode = n->mode, .rdev = n->rdev,
		.size = (int64_t)n->size, .blksize = PAGE_SIZE, .blocks = (int64_t)((n->size + 511) / 512),
	};
	st->atime = st->mtime = st->ctime = (uint64_t)n->mtime_ns / NSEC_PER_SEC;
	st->atime_ns = st->mtime_ns = st->ctime_ns = (uint64_t)n->mtime_ns % NSEC_PER_SEC;
}
