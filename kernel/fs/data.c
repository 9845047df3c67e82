/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content of files. Three stores, one interface (node_read):
 *   IN_PLACE  the embedded root archive: copied from where it lies; the first write moves it to pages
 *   MODULE    boot modules: copied through windows, one frame at a time, -EIO once they were released
 *   PAGES     heap pages made by writing, all files together at most FS_PAGES_MAX
 * Ring 3's buffers are reached through a bounce buffer, so that no lock or window is held over a copy that may fault.
 */
#include "fs/vfs.h"

bool fs_modules_released;
static uint64_t pages_used; /* data lock */

uint64_t fs_pages_used(void) { return READ_ONCE(pages_used); }

/* Boot modules may be taken for VMs at any time: a reader announces itself before it looks at the flag, and the taker waits for readers. */
static uint32_t module_readers;

static int module_read_open(uint64_t phys, void *buf, size_t n)
{
	while (n) {
		size_t part = MIN(n, PAGE_SIZE - (phys & PAGE_MASK));
		const void *p;

		if (__atomic_load_n(&fs_modules_released, __ATOMIC_SEQ_CST))
			return -EIO;
		p = window_get(hpa(phys));
		memcpy(buf, p, part);
		window_put(p);
		buf = (char *)buf + part;
		phys += part;
		n -= part;
	}
	return 0;
}

static int module_read(uint64_t phys, void *buf, size_t n)
{
	int r;

	__atomic_fetch_add(&module_readers, 1, __ATOMIC_SEQ_CST);
	r = module_read_open(phys, buf, n);
	__atomic_fetch_sub(&module_readers, 1, __ATOMIC_SEQ_CST);
	return r;
}

/* mem_release_modules_hook: every module goes back to the free blocks, and its files read as errors from now on. */
bool fs_modules_release(void)
{
	if (__atomic_exchange_n(&fs_modules_released, true, __ATOMIC_SEQ_CST) || !boot_info.nr_modules)
		return false;
	while (__atomic_load_n(&module_readers, __ATOMIC_SEQ_CST))
		sched_yield();
	for (unsigned i = 0; i < boot_info.nr_modules; i++)
		module_release(boot_info.module[i].base, boot_info.module[i].size);
	log_info("boot modules are given up for VMs' memory; the files under /vms are gone");
	return true;
}

static void pages_read(const struct node *n, uint64_t offset, char *buf, size_t size)
{
	while (size) {
		uint64_t i = offset / PAGE_SIZE, at = offset % PAGE_SIZE;
		size_t part = MIN(size, PAGE_SIZE - at);

		if (i < n->pages.nr && n->pages.page[i])
			memcpy(buf, (const char *)n->pages.page[i] + at, part);
		else
			memset(buf, 0, part);
		buf += part;
		offset += part;
		size -= part;
	}
}

int64_t node_read(struct node *n, uint64_t offset, void *buf, size_t size)
{
	int r = 0;

	mutex_lock(&fs_data_lock);
	if (offset >= n->size || n->store == STORE_NONE)
		size = 0;
	else if (size > n->size - offset)
		size = n->size - offset;
	if (n->store == STORE_PAGES)
		pages_read(n, offset, buf, size);
	else if (n->store == STORE_IN_PLACE && size)
		memcpy(buf, (const char *)n->bytes + offset, size);
	mutex_unlock(&fs_data_lock);
	if (n->store == STORE_MODULE) /* never changes its store: no lock needed, and it may be large */
		r = module_read(n->phys + offset, buf, size);
	return r ? r : (int64_t)size;
}

/* Page i of a PAGES file, made when missing; data lock held. */
static void *page_at(struct node *n, uint64_t i)
{
	if (i >= FS_PAGES_MAX)
		return NULL;
	if (i >= n->pages.nr) {
		uint32_t nr = (uint32_t)MIN(FS_PAGES_MAX, ALIGN_UP(MAX(i + 1, 2 * (uint64_t)n->pages.nr), 8));
		void **bigger = kzalloc(nr * sizeof(void *), MT_FS);

		if (!bigger)
			return NULL;
		if (n->pages.nr)
			memcpy(bigger, n->pages.page, n->pages.nr * sizeof(void *));
		kfree(n->pages.page);
		n->pages.page = bigger;
		n->pages.nr = nr;
	}
	if (!n->pages.page[i] && pages_used < FS_PAGES_MAX) {
		n->pages.page[i] = kpage_zalloc(MT_FS);
		pages_used += n->pages.page[i] != NULL;
	}
	return n->pages.page[i];
}

static int64_t pages_write(struct node *n, uint64_t offset, const char *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		uint64_t at = (offset + done) % PAGE_SIZE;
		size_t part = MIN(size - done, PAGE_SIZE - at);
		char *page = page_at(n, (offset + done) / PAGE_SIZE);

		if (!page)
			break;
		memcpy(page + at, buf + done, part);
		done += part;
	}
	if (done && offset + done > n->size)
		n->size = offset + done;
	return done || !size ? (int64_t)done : -ENOSPC;
}

/* Before the first write to a file of the root archive; data lock held. */
static int copy_up(struct node *n)
{
	const char *bytes = n->bytes;
	uint64_t size = n->size;

	if (n->store == STORE_PAGES)
		return 0;
	if (n->store != STORE_IN_PLACE)
		return -EROFS;
	n->store = STORE_PAGES;
	n->pages.page = NULL;
	n->pages.nr = 0;
	if (pages_write(n, 0, bytes, size) == (int64_t)size)
		return 0;
	node_data_free(n);
	n->store = STORE_IN_PLACE;
	n->bytes = bytes;
	n->size = size;
	return -ENOSPC;
}

int64_t node_write(struct node *n, uint64_t offset, const void *buf, size_t size)
{
	int64_t r;

	if (offset > FS_PAGES_MAX * PAGE_SIZE)
		return -EFBIG;
	mutex_lock(&fs_data_lock);
	r = copy_up(n);
	if (!r)
		r = pages_write(n, offset, buf, size);
	if (r > 0)
		n->mtime_ns = (int64_t)wall_clock_ns();
	mutex_unlock(&fs_data_lock);
	return r;
}

static void pages_cut(struct node *n, uint64_t size)
{
	for (uint64_t i = ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE; i < n->pages.nr; i++)
		if (n->pages.page[i]) {
			kpage_free(n->pages.page[i]);
			n->pages.page[i] = NULL;
			pages_used--;
		}
	if (size % PAGE_SIZE && size / PAGE_SIZE < n->pages.nr && n->pages.page[size / PAGE_SIZE])
		memset((char *)n->pages.page[size / PAGE_SIZE] + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
}

int node_truncate(struct node *n, uint64_t size)
{
	int r = 0;

	if (size > FS_PAGES_MAX * PAGE_SIZE)
		return -EFBIG;
	mutex_lock(&fs_data_lock);
	if (n->store == STORE_IN_PLACE && !size) { /* nothing of the archive's copy is needed */
		n->store = STORE_PAGES;
		n->pages.page = NULL;
		n->pages.nr = 0;
	}
	r = copy_up(n);
	if (!r) {
		if (size < n->size)
			pages_cut(n, size);
		if (!size && n->store == STORE_PAGES) { /* an emptied file takes what a new one does */
			kfree(n->pages.page);
			n->pages.page = NULL;
			n->pages.nr = 0;
		}
		n->size = size;
		n->mtime_ns = (int64_t)wall_clock_ns();
	}
	mutex_unlock(&fs_data_lock);
	return r;
}

/* With the data lock held by copy_up(), or for a node that nobody else can reach any more. */
void node_data_free(struct node *n)
{
	bool locked = mutex_held(&fs_data_lock);

	if (n->store != STORE_PAGES)
		return;
	if (!locked)
		mutex_lock(&fs_data_lock);
	pages_cut(n, 0);
	kfree(n->pages.page);
	n->pages.page = NULL;
	n->pages.nr = 0;
	if (!locked)
		mutex_unlock(&fs_data_lock);
}

/* ---- as open files ---- */

#define SMALL_BOUNCE 256
struct bounce {
	char small[SMALL_BOUNCE], *buf;
	size_t size;
};

static bool bounce_get(struct bounce *b, uint64_t n)
{
	b->buf = n > SMALL_BOUNCE ? kpage_alloc(MT_FS) : b->small;
	b->size = n > SMALL_BOUNCE ? PAGE_SIZE : SMALL_BOUNCE;
	return b->buf != NULL;
}

static void bounce_put(struct bounce *b)
{
	if (b->buf != b->small)
		kpage_free(b->buf);
}

static int64_t file_read(struct file *f, uva_t to, uint64_t n, uint64_t *pos)
{
	struct bounce b;
	uint64_t done = 0;
	int64_t r = 0;

	if (node_is(f->node, S_IFDIR))
		return -EISDIR;
	if (!bounce_get(&b, n))
		return -ENOMEM;
	while (done < n) {
		/* whole pages of the file after the first part: windows are taken once per frame */
		size_t part = MIN(n - done, b.size - (*pos & (b.size - 1)));

		r = node_read(f->node, *pos, b.buf, part);
		if (r <= 0)
			break;
		if (arch_user_write(uva(to.v + done), b.buf, (size_t)r)) {
			r = -EFAULT;
			break;
		}
		done += (uint64_t)r;
		*pos += (uint64_t)r;
	}
	bounce_put(&b);
	return done ? (int64_t)done : r;
}

static int64_t file_write(struct file *f, uva_t from, uint64_t n, uint64_t *pos)
{
	struct bounce b;
	uint64_t done = 0;
	int64_t r = 0;

	if (node_is(f->node, S_IFDIR))
		return -EISDIR;
	if (!bounce_get(&b, n))
		return -ENOMEM;
	if (f->flags & O_APPEND)
		*pos = READ_ONCE(f->node->size);
	while (done < n) {
		size_t part = MIN(n - done, b.size);

		if (arch_user_read(b.buf, uva(from.v + done), part)) {
			r = -EFAULT;
			break;
		}
		r = node_write(f->node, *pos, b.buf, part);
		if (r <= 0)
			break;
		done += (uint64_t)r;
		*pos += (uint64_t)r;
	}
	bounce_put(&b);
	return done ? (int64_t)done : r;
}

static int source_read(void *object, uint64_t offset, void *page, size_t n)
{
	int64_t r = node_read(object, offset, page, n);

	if (r >= 0 && (size_t)r < n)
		memset((char *)page + r, 0, n - (size_t)r);
	return r < 0 ? (int)r : 0;
}
static void source_ref(void *object) { node_ref(object); }
static void source_unref(void *object) { node_unref(object); }
const struct aspace_source node_aspace_source = { .read = source_read, .ref = source_ref, .unref = source_unref };

const struct file_ops node_file_ops = { .read = file_read, .write = file_write };
