/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path walk: from the root or a directory, component by component, through symbolic links, whose number and length are bounded.
 *
 * The text still to walk lies in the caller's path until the first link is followed, then in one heap page of the walk's own,
 * where each link's target is put before the rest.
 */
#include "fs/vfs.h"

struct walker {
	struct walk *w;
	struct node *at;    /* directory reached */
	const char *rest;   /* text still to walk */
	unsigned links;
};

static const char *skip_slashes(const char *p)
{
	while (*p == '/')
		p++;
	return p;
}

/* Replaces the link just met by its target. */
static int follow_link(struct walker *k, struct node *link)
{
	struct walk *w = k->w;
	size_t rest_len = strlen(k->rest);

	if (++k->links > WALK_MAX_LINKS)
		return -ELOOP;
	if (!link->size)
		return -ENOENT;
	if (link->size + 1 + rest_len >= LINUX_PATH_MAX)
		return -ENAMETOOLONG;
	if (!w->buf) {
		w->buf = kpage_alloc(MT_FS);
		if (!w->buf)
			return -ENOMEM;
	}
	memmove(w->buf + link->size + (rest_len ? 1 : 0), k->rest, rest_len + 1);
	if (rest_len)
		w->buf[link->size] = '/';
	if (vfs_readlink(link, w->buf, link->size) != (int64_t)link->size)
		return -EIO;
	k->rest = w->buf;
	if (*k->rest == '/')
		k->at = &fs_root;
	return 0;
}

static int walk_special(struct walker *k, const char *name, size_t len)
{
	if (len == 2) {
		if (!k->at->parent)
			return -ENOENT;
		k->at = k->at->parent;
	}
	k->w->dir = NULL;
	k->w->node = k->at;
	k->w->name = name;
	k->w->name_len = len;
	return 0;
}

/* One component: *last says whether text ended here. 1: go on, 0: done, or an error. */
static int walk_step(struct walker *k, bool follow_last)
{
	struct walk *w = k->w;
	const char *name = skip_slashes(k->rest), *end = name;
	struct node *n;
	bool last;

	while (*end && *end != '/')
		end++;
	w->slash = *end == '/';
	k->rest = skip_slashes(end);
	last = !*k->rest;
	if (name == end) {
		w->dir = NULL;
		w->node = k->at;
		w->name_len = 0;
		return 0;
	}
	if (!node_is(k->at, S_IFDIR))
		return -ENOTDIR;
	if (!k->at->parent)
		return -ENOENT;
	if (*name == '.' && (end - name == 1 || (end - name == 2 && name[1] == '.'))) {
		int r = walk_special(k, name, (size_t)(end - name));

		return r ? r : !last;
	}
	if (end - name > LINUX_NAME_MAX)
		return -ENAMETOOLONG;
	n = node_child(k->at, name, (size_t)(end - name));
	if (n && node_is(n, S_IFLNK) && (!last || follow_last || w->slash)) {
		int r = follow_link(k, n);

		return r ? r : 1;
	}
	if (!n && !last)
		return -ENOENT;
	w->dir = k->at;
	w->node = n;
	w->name = name;
	w->name_len = (size_t)(end - name);
	k->at = n;
	return !last;
}

int walk_path(struct walk *w, struct node *cwd, const char *path, bool follow_last)
{
	struct walker k = { w, *path == '/' ? &fs_root : cwd, path, 0 };
	int r = 1;

	DEBUG_ASSERT(mutex_held(&fs_tree_lock));
	*w = (struct walk){ 0 };
	if (!*path)
		return -ENOENT;
	while (r > 0)
		r = walk_step(&k, follow_last);
	if (!r && w->slash && w->node && !node_is(w->node, S_IFDIR))
		r = -ENOTDIR;
	return r;
}

void walk_end(struct walk *w)
{
	if (w->buf)
		kpage_free(w->buf);
}
