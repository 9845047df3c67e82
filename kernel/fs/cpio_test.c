/* SPDX-License-Identifier: Apache-2.0 */
/* The archive reader on good, cut, changed and random archives: it ends, and stays inside the source. */
#include "fs/cpio.h"
#include "core/core.h"
#include "test/unit.h"

struct memory { const char *bytes; size_t size; };

static int memory_read(void *ctx, uint64_t offset, void *buf, size_t n)
{
	const struct memory *m = ctx;

	if (offset > m->size || n > m->size - offset)
		abort();
	memcpy(buf, m->bytes + offset, n);
	return 0;
}

static size_t put(char *at, const char *name, unsigned mode, const char *data, unsigned size)
{
	size_t n = (size_t)sprintf(at, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1, mode, 0, 0, 1, 7, size, 0, 0, 0, 0,
				   (unsigned)strlen(name) + 1, 0);

	strcpy(at + n, name);
	for (n += strlen(name) + 1; n % 4; n++)
		at[n] = 0;
	memcpy(at + n, data, size);
	for (n += size; n % 4; n++)
		at[n] = 0;
	return n;
}

static size_t make(char *at)
{
	size_t n = put(at, "dir", 0040755, "", 0);

	n += put(at + n, "dir/file", 0100644, "hello", 5);
	n += put(at + n, "link", 0120777, "dir/file", 8);
	return n + put(at + n, "TRAILER!!!", 0, "", 0);
}

/* Reads to the end; every entry must lie inside. Returns the last result. */
static int walk(const char *bytes, size_t size, unsigned *n)
{
	struct memory m = { bytes, size };
	struct cpio_source s = { memory_read, &m, size };
	struct cpio_entry e;
	uint64_t at = 0, before;
	int r;

	*n = 0;
	do {
		before = at;
		r = cpio_next(&s, &at, &e);
		if (r == 1) {
			CHECK(at > before && e.data <= size && e.size <= size - e.data);
			CHECK(strnlen(e.name, sizeof(e.name)) < sizeof(e.name));
			(*n)++;
		}
	} while (r == 1);
	return r;
}

TEST(reads_an_archive)
{
	char buf[1024];
	size_t size = make(buf);
	struct memory m = { buf, size };
	struct cpio_source s = { memory_read, &m, size };
	struct cpio_entry e;
	uint64_t at = 0;

	CHECK(cpio_is_archive(&s));
	CHECK_EQ(cpio_next(&s, &at, &e), 1);
	CHECK(!strcmp(e.name, "dir") && e.mode == 0040755);
	CHECK_EQ(cpio_next(&s, &at, &e), 1);
	CHECK(!strcmp(e.name, "dir/file") && e.size == 5 && !memcmp(buf + e.data, "hello", 5));
	CHECK(!strcmp(buf + e.name_at, "dir/file"));
	CHECK_EQ(cpio_next(&s, &at, &e), 1);
	CHECK_EQ(cpio_next(&s, &at, &e), 0);
}

TEST(every_cut_ends)
{
	char buf[1024];
	size_t size = make(buf);
	unsigned n;

	for (size_t cut = 0; cut < size; cut++) {
		char *copy = malloc(cut ? cut : 1); /* the sanitizer guards its end */

		memcpy(copy, buf, cut);
		walk(copy, cut, &n);
		CHECK(n <= 3);
		free(copy);
	}
}

TEST(fuzz)
{
	unsigned n;

	srand(1);
	for (int i = 0; i < 20000; i++) {
		char buf[1024];
		size_t size = make(buf);

		for (int k = rand() % 4; k >= 0; k--)
			buf[(size_t)rand() % size] = (char)(rand() % 2 ? "0123456789abcdefFG"[rand() % 18] : rand());
		walk(buf, size, &n);
	}
}

TEST(refuses_long_and_unterminated_names)
{
	char buf[2048] = { 0 };
	unsigned n;

	sprintf(buf, "070701%0104d", 0);
	memcpy(buf + 6 + 8 * 11, "00000201", 8);
	CHECK_EQ(walk(buf, sizeof(buf), &n), -EINVAL);
	memcpy(buf + 6 + 8 * 11, "00000004", 8);
	memset(buf + 110, 'x', 8);
	CHECK_EQ(walk(buf, sizeof(buf), &n), -EINVAL);
}
