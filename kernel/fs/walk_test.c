/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and what is done with them, over a real tree of nodes. */
#include "fs/vfs.h"
#include "test/unit.h"

static int lookup(const char *path)
{
	struct node *n;
	int r;

	fs_core_init();
	r = vfs_lookup(&fs_root, path, true, &n);
	if (!r)
		node_unref(n);
	return r;
}
static int make(const char *path, uint32_t mode) { fs_core_init(); return vfs_make(&fs_root, path, mode, NULL); }
static int link_to(const char *path, const char *target) { return vfs_make(&fs_root, path, S_IFLNK | 0777, target); }

static int path_is(const char *path, const char *want)
{
	struct node *n;
	char buf[256];
	int r = vfs_lookup(&fs_root, path, true, &n);

	if (r)
		return r;
	r = vfs_path_of(n, buf, sizeof(buf)) > 0 && !strcmp(buf, want);
	node_unref(n);
	return r;
}

TEST(dots_and_slashes)
{
	CHECK_EQ(make("/a", S_IFDIR | 0755), 0);
	CHECK_EQ(make("a/b", S_IFDIR | 0755), 0);
	CHECK_EQ(make("/a/b/f", S_IFREG | 0644), 0);
	CHECK_EQ(path_is("/", "/"), 1);
	CHECK_EQ(path_is("///a//b/../b/./f", "/a/b/f"), 1);
	CHECK_EQ(path_is("/../../a/", "/a"), 1);
	CHECK_EQ(lookup(""), -ENOENT);
	CHECK_EQ(lookup("/a/b/f/"), -ENOTDIR);
	CHECK_EQ(lookup("/a/b/f/x"), -ENOTDIR);
	CHECK_EQ(lookup("/a/none"), -ENOENT);
	CHECK_EQ(lookup("/none/x"), -ENOENT);
	CHECK_EQ(make("/a", S_IFDIR | 0755), -EEXIST);
	CHECK_EQ(make("/", S_IFDIR | 0755), -EEXIST);
	CHECK_EQ(make("/a/.", S_IFDIR | 0755), -EEXIST);
}

TEST(links)
{
	CHECK_EQ(make("/l", S_IFDIR | 0755), 0);
	CHECK_EQ(make("/l/d", S_IFDIR | 0755), 0);
	CHECK_EQ(make("/l/d/f", S_IFREG | 0644), 0);
	CHECK_EQ(link_to("/l/abs", "/l/d"), 0);
	CHECK_EQ(link_to("/l/rel", "../l/abs/./"), 0);
	CHECK_EQ(path_is("/l/rel/f", "/l/d/f"), 1);
	CHECK_EQ(link_to("/l/x", "y"), 0);
	CHECK_EQ(link_to("/l/y", "x"), 0);
	CHECK_EQ(lookup("/l/x"), -ELOOP);
	CHECK_EQ(link_to("/l/self", "self/self/self/self"), 0);
	CHECK_EQ(lookup("/l/self"), -ELOOP);
	CHECK_EQ(link_to("/l/dangling", "nowhere"), 0);
	CHECK_EQ(lookup("/l/dangling"), -ENOENT);
}

TEST(a_link_that_grows_the_path_is_bounded)
{
	char target[3000];

	memset(target, 'a', sizeof(target));
	for (size_t i = 100; i < sizeof(target); i += 101)
		target[i] = '/';
	strcpy(target + sizeof(target) - 6, "/grow");
	CHECK_EQ(link_to("/grow", target), 0);
	CHECK_EQ(lookup("/grow"), -ENOENT);
	memcpy(target, "/grow/", 6);
	CHECK_EQ(link_to("/grow2", target), 0);
	CHECK(lookup("/grow2") < 0);
}

TEST(removing_and_renaming)
{
	struct node *gone;

	make("/r", S_IFDIR | 0755);
	make("/r/d", S_IFDIR | 0755);
	make("/r/d/e", S_IFDIR | 0755);
	make("/r/f", S_IFREG | 0644);
	CHECK_EQ(vfs_remove(&fs_root, "/r/d", true), -ENOTEMPTY);
	CHECK_EQ(vfs_remove(&fs_root, "/r/d", false), -EISDIR);
	CHECK_EQ(vfs_remove(&fs_root, "/r/f", true), -ENOTDIR);
	CHECK_EQ(vfs_remove(&fs_root, "/", true), -EINVAL);
	CHECK_EQ(vfs_rename(&fs_root, "/r/d", &fs_root, "/r/d/e/x"), -EINVAL); /* under itself */
	CHECK_EQ(vfs_rename(&fs_root, "/r/d", &fs_root, "/r/f"), -ENOTDIR);
	CHECK_EQ(vfs_rename(&fs_root, "/r/f", &fs_root, "/r/d/g"), 0);
	CHECK_EQ(lookup("/r/d/g"), 0);
	CHECK_EQ(lookup("/r/f"), -ENOENT);
	CHECK_EQ(vfs_rename(&fs_root, "/r/d/g", &fs_root, "/r/d/g"), 0);
	CHECK_EQ(vfs_lookup(&fs_root, "/r/d/e", true, &gone), 0);
	CHECK_EQ(vfs_remove(&fs_root, "/r/d/e", true), 0);
	{ /* a working directory that was removed leads nowhere */
		struct node *n;

		CHECK_EQ(vfs_lookup(gone, "..", true, &n), -ENOENT);
		CHECK_EQ(vfs_make(gone, "x", S_IFREG | 0644, NULL), -ENOENT);
	}
	node_unref(gone);
}

TEST(listing_goes_on_after_removals)
{
	struct file *f;
	char buf[128], name[32];
	unsigned seen = 0;

	make("/list", S_IFDIR | 0755);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "/list/%d", i);
		CHECK_EQ(make(name, S_IFREG | 0644), 0);
	}
	CHECK_EQ(vfs_open(&fs_root, "/list", O_RDONLY | O_DIRECTORY, 0, &f), 0);
	for (;;) {
		int64_t n = vfs_getdents(f, uva((uintptr_t)buf), sizeof(buf));

		CHECK(n >= 0);
		if (n <= 0)
			break;
		for (int64_t at = 0; at < n; at += ((struct linux_dirent64 *)(buf + at))->reclen) {
			struct linux_dirent64 *d = (struct linux_dirent64 *)(buf + at);

			if (d->name[0] == '.')
				continue;
			seen++;
			snprintf(name, sizeof(name), "/list/%s", d->name);
			CHECK_EQ(vfs_remove(&fs_root, name, false), 0);
		}
	}
	CHECK_EQ(seen, 50);
	CHECK_EQ(vfs_getdents(f, uva((uintptr_t)buf), 8), 0);
	file_unref(f);
	CHECK_EQ(vfs_remove(&fs_root, "/list", true), 0);
}

TEST(content)
{
	static const char archive[] = "from the archive";
	struct node *n;
	char buf[64];

	make("/c", S_IFREG | 0644);
	CHECK_EQ(vfs_lookup(&fs_root, "/c", true, &n), 0);
	CHECK_EQ(node_write(n, 5000, "tail", 4), 4);
	CHECK_EQ(node_read(n, 4998, buf, 10), 6);
	CHECK(!memcmp(buf, "\0\0tail", 6));
	CHECK_EQ(node_truncate(n, 5001), 0);
	CHECK_EQ(node_truncate(n, 6000), 0);
	CHECK_EQ(node_read(n, 5000, buf, 4), 4);
	CHECK(!memcmp(buf, "t\0\0\0", 4));
	CHECK_EQ(node_write(n, UINT64_MAX - 1, "x", 1), -EFBIG);
	CHECK_EQ(node_read(n, UINT64_MAX, buf, 1), 0);
	CHECK_EQ(node_truncate(n, 0), 0);
	CHECK_EQ(fs_pages_used(), 0);
	node_data_free(n);
	n->store = STORE_IN_PLACE;
	n->bytes = archive;
	n->size = sizeof(archive) - 1;
	CHECK_EQ(node_write(n, 0, "FROM", 4), 4);
	CHECK_EQ(node_read(n, 0, buf, sizeof(buf)), 16);
	CHECK(!memcmp(buf, "FROM the archive", 16));
	CHECK(!strcmp(archive, "from the archive"));
	CHECK_EQ(vfs_remove(&fs_root, "/c", false), 0);
	CHECK_EQ(fs_pages_used(), 1); /* still open */
	node_unref(n);
	CHECK_EQ(fs_pages_used(), 0);
}

TEST(space_is_bounded)
{
	static char chunk[65536];
	struct node *n;
	uint64_t at = 0;
	int64_t r;

	make("/big", S_IFREG | 0644);
	CHECK_EQ(vfs_lookup(&fs_root, "/big", true, &n), 0);
	do {
		r = node_write(n, at, chunk, sizeof(chunk));
		at += r > 0 ? (uint64_t)r : 0;
	} while (r > 0);
	CHECK_EQ(r, -ENOSPC);
	CHECK(fs_pages_used() <= FS_PAGES_MAX);
	CHECK_EQ(link_to("/no", "room"), -ENOSPC);
	CHECK_EQ(vfs_remove(&fs_root, "/big", false), 0);
	node_unref(n);
	CHECK_EQ(fs_pages_used(), 0);
}

TEST(pipes)
{
	struct file *r, *w;
	char buf[16];

	CHECK_EQ(pipe_create(&r, &w, O_NONBLOCK), 0);
	CHECK_EQ(r->ops->read(r, uva((uintptr_t)buf), 4, NULL), -EAGAIN);
	CHECK_EQ(w->ops->write(w, uva((uintptr_t)"abcdef"), 6, NULL), 6);
	CHECK_EQ(r->ops->read(r, uva((uintptr_t)buf), 4, NULL), 4);
	CHECK_EQ(r->ops->read(r, uva(8), 2, NULL), -EFAULT);
	file_unref(w);
	CHECK_EQ(r->ops->read(r, uva((uintptr_t)buf), 9, NULL), 2);
	CHECK_EQ(r->ops->read(r, uva((uintptr_t)buf), 9, NULL), 0);
	file_unref(r);
}
