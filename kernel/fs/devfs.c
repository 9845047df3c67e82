/* SPDX-License-Identifier: Apache-2.0 */
/* /dev: nodes that drivers register, the memory devices, and read-only text files whose content is made when they are opened. */
#include "fs/vfs.h"

/* Numbers that programs know (Linux, Documentation/admin-guide/devices.txt); all others count up from 10:64. */
static uint32_t device_number(const char *name)
{
	static const struct { const char *name; uint32_t rdev; } known[] = {
		{ "null", 0x103 }, { "zero", 0x105 }, { "random", 0x108 }, { "urandom", 0x109 }, { "tty", 0x500 }, { "console", 0x501 },
	};
	static uint32_t next = 0xa40;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].rdev;
	return next++;
}

static struct node *device_dir(const char *path, const char **base)
{
	const char *last = path;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			last = p + 1;
	*base = last;
	return node_make_dirs(path, (size_t)(last - path));
}

int devfs_add(const char *name, int (*open)(struct file *f, void *ctx), const struct file_ops *ops, void *ctx)
{
	struct node *dir, *n = node_new(S_IFCHR | 0666);
	char path[128];
	const char *base;
	int r = -ENOMEM;

	if (!n)
		return -ENOMEM;
	snprintf(path, sizeof(path), "dev/%s", name);
	n->dev.ops = ops;
	n->dev.open = open;
	n->dev.ctx = ctx;
	fs_core_init();
	mutex_lock(&fs_tree_lock);
	dir = device_dir(path, &base);
	if (dir) {
		struct node *old = node_child(dir, base, strlen(base));

		if (old) /* a plain file that the root archive put there */
			node_remove(old);
		n->rdev = device_number(name);
		r = node_add(dir, n, base, false);
	}
	mutex_unlock(&fs_tree_lock);
	node_unref(n);
	return r;
}

/* ---- text files ---- */

void text_printf(struct text_out *t, const char *fmt, ...)
{
	size_t left = t->len < t->size ? t->size - t->len : 0;
	va_list ap;

	va_start(ap, fmt);
	t->len += (size_t)vsnprintf(left ? t->buf + t->len : NULL, left, fmt, ap);
	va_end(ap);
}

struct text_picture {
	size_t len;
	char bytes[];
};

static int text_open(struct file *f, void *ctx)
{
	void (*emit)(struct text_out *t) = (void (*)(struct text_out *))ctx;
	struct text_out t = { 0 };
	struct text_picture *p;

	emit(&t); /* measures */
	t.size = t.len + KIB(1);
	p = kmalloc(sizeof(*p) + t.size, MT_FS);
	if (!p)
		return -ENOMEM;
	t.buf = p->bytes;
	t.len = 0;
	emit(&t);
	p->len = MIN(t.len, t.size - 1);
	f->object = p;
	return 0;
}

static int64_t text_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	const struct text_picture *p = f->object;

	if (*pos >= p->len)
		return 0;
	n = MIN(n, p->len - *pos);
	if (arch_user_write(buf, p->bytes + *pos, n))
		return -EFAULT;
	*pos += n;
	return (int64_t)n;
}

static void text_release(struct file *f) { kfree(f->object); }

static const struct file_ops text_ops = { .read = text_read, .release = text_release };

int devfs_add_text(const char *name, void (*emit)(struct text_out *t)) { return devfs_add(name, text_open, &text_ops, (void *)emit); }

/* ---- memory devices ---- */

static int64_t null_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos) { return 0; }
static int64_t null_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos) { return (int64_t)n; }

/* Fills ring 3's buffer piece by piece; a kill or signal ends a long one. */
static int64_t fill(uva_t buf, uint64_t n, void (*piece)(void *p, size_t size))
{
	char bytes[256] = { 0 };
	uint64_t done = 0;

	while (done < n && !current->kill && (!current->signalled || !done)) {
		size_t part = MIN(n - done, sizeof(bytes));

		if (piece)
			piece(bytes, part);
		if (arch_user_write(uva(buf.v + done), bytes, part))
			return done ? (int64_t)done : -EFAULT;
		done += part;
	}
	return (int64_t)done;
}
static int64_t zero_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos) { return fill(buf, n, NULL); }
static int64_t random_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos) { return fill(buf, n, random_bytes); }
static int64_t zero_mmap(struct file *f, struct aspace *as, uint64_t offset, uint64_t len, int prot)
{
	return aspace_map(as, 0, len, prot, false, NULL, NULL, 0, 0);
}

static const struct file_ops null_ops = { .read = null_read, .write = null_write };
static const struct file_ops zero_ops = { .read = zero_read, .write = null_write, .mmap = zero_mmap };
static const struct file_ops random_ops = { .read = random_read, .write = null_write };

static void devfs_init(void)
{
	devfs_add("null", NULL, &null_ops, NULL);
	devfs_add("zero", NULL, &zero_ops, NULL);
	devfs_add("random", NULL, &random_ops, NULL);
	devfs_add("urandom", NULL, &random_ops, NULL);
}
INIT_CALL(INIT_FS, devfs_init);
