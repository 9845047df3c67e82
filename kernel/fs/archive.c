/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root archive in the kernel's image becomes the root directory, and boot modules become /vms: an archive's files, or the
 * module itself under its name. Nothing is copied; nodes point at the bytes where they lie.
 */
#include "fs/cpio.h"
#include "fs/vfs.h"

#define ARCHIVE_MAX_ENTRIES 8192

extern const char __rootfs_start[], __rootfs_end[];

struct archive {
	struct cpio_source source;
	const char *prefix;   /* directory for its files, ends in a slash; "" for the root */
	enum node_store store;
	uint64_t base;        /* IN_PLACE: address; MODULE: physical address */
};

static int memory_read(void *ctx, uint64_t offset, void *buf, size_t n)
{
	memcpy(buf, (const char *)ctx + offset, n);
	return 0;
}

static int module_source_read(void *ctx, uint64_t offset, void *buf, size_t n)
{
	struct node whole = { .mode = S_IFREG, .store = STORE_MODULE, .phys = *(uint64_t *)ctx, .size = UINT64_MAX };

	return node_read(&whole, offset, buf, n) == (int64_t)n ? 0 : -EIO;
}

static bool name_is_safe(const char *name)
{
	for (const char *p = name; *p;) {
		size_t len = 0;

		while (p[len] && p[len] != '/')
			len++;
		if (len > LINUX_NAME_MAX || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len + (p[len] == '/');
	}
	return true;
}

static const char *base_name(const char *path)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/' && p[1])
			base = p + 1;
	return base;
}

static int archive_add_node(const struct archive *a, struct node *dir, const struct cpio_entry *e, const char *base)
{
	struct node *n, *old = node_child(dir, base, strlen(base));
	int r;

	if (old && node_is(old, S_IFDIR))
		return -EISDIR;
	if (old)
		node_remove(old);
	n = node_new(e->mode & (S_IFMT | 07777));
	if (!n)
		return -ENOMEM;
	if (node_is(n, S_IFREG) || node_is(n, S_IFLNK)) {
		n->store = (uint8_t)a->store;
		n->size = e->size;
		if (a->store == STORE_IN_PLACE)
			n->bytes = (const char *)a->base + e->data;
		else
			n->phys = a->base + e->data;
	}
	/* The names of an archive in place are terminated where they lie. */
	if (a->store == STORE_IN_PLACE)
		r = node_add(dir, n, (const char *)a->base + e->name_at + (base - e->name), true);
	else
		r = node_add(dir, n, base, false);
	node_unref(n);
	return r;
}

static int archive_add(const struct archive *a, struct cpio_entry *e)
{
	char path[CPIO_NAME_MAX + 16];
	uint32_t type = e->mode & S_IFMT;
	size_t len = strlen(e->name);
	const char *base;
	struct node *dir;

	while (len && e->name[len - 1] == '/')
		e->name[--len] = 0;
	if (!name_is_safe(e->name))
		return -EINVAL;
	base = base_name(e->name);
	snprintf(path, sizeof(path), "%s%s", a->prefix, e->name);
	if (type == S_IFDIR)
		return node_make_dirs(path, strlen(path)) ? 0 : -ENOTDIR;
	if (!*base || !strcmp(base, ".") || (type != S_IFREG && type != S_IFLNK && type != S_IFIFO))
		return 0; /* the root itself, and device nodes: /dev has its own */
	dir = node_make_dirs(path, strlen(path) - strlen(base));
	return dir ? archive_add_node(a, dir, e, base) : -ENOTDIR;
}

static void archive_unpack(const struct archive *a, const char *what)
{
	struct cpio_entry *e = kmalloc(sizeof(*e), MT_FS);
	uint64_t at = 0;
	unsigned n = 0;
	int r = -ENOMEM;

	mutex_lock(&fs_tree_lock);
	while (e && n < ARCHIVE_MAX_ENTRIES && (r = cpio_next(&a->source, &at, e)) == 1) {
		int added = archive_add(a, e);

		if (added)
			log_warn("%s: cannot keep %s (error %d)", what, e->name, -added);
		n++;
	}
	mutex_unlock(&fs_tree_lock);
	if (r)
		log_error("%s: malformed archive after %u entries, at offset %lu (error %d)", what, n, at, -r);
	kfree(e);
}

static void module_add_file(const struct boot_module *m, unsigned index)
{
	const char *base = base_name(m->name);
	char name[64];
	struct node *dir, *n = node_new(S_IFREG | 0444);
	size_t len = 0;

	while (base[len] && base[len] != ' ' && base[len] != '/' && len < sizeof(name) - 1)
		len++;
	memcpy(name, base, len);
	name[len] = 0;
	if (!len || name[0] == '.')
		snprintf(name, sizeof(name), "module%u", index);
	mutex_lock(&fs_tree_lock);
	dir = node_make_dirs("vms", 3);
	if (dir && n && !node_child(dir, name, strlen(name))) {
		n->store = STORE_MODULE;
		n->phys = m->base;
		n->size = m->size;
		if (node_add(dir, n, name, false))
			log_error("module %s: no memory for its file", name);
	}
	mutex_unlock(&fs_tree_lock);
	if (n)
		node_unref(n);
}

static void modules_init(void)
{
	mutex_lock(&fs_tree_lock);
	node_make_dirs("vms", 3);
	mutex_unlock(&fs_tree_lock);
	for (unsigned i = 0; i < boot_info.nr_modules; i++) {
		struct boot_module *m = &boot_info.module[i];
		struct archive a = {
			.source = { module_source_read, &m->base, m->size }, .prefix = "vms/", .store = STORE_MODULE, .base = m->base,
		};

		if (cpio_is_archive(&a.source))
			archive_unpack(&a, m->name[0] ? m->name : "boot module");
		else
			module_add_file(m, i);
	}
}

static void archive_init(void)
{
	struct archive root = {
		.source = { memory_read, (void *)(uintptr_t)__rootfs_start, (uint64_t)(__rootfs_end - __rootfs_start) },
		.prefix = "", .store = STORE_IN_PLACE, .base = (uintptr_t)__rootfs_start,
	};

	fs_core_init();
	if (root.source.size)
		archive_unpack(&root, "root archive");
	modules_init();
	mem_release_modules_hook = fs_modules_release;
}
INIT_CALL(INIT_FS, archive_init);
