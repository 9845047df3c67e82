/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of newc cpio archives (cpio(5), "New ASCII Format"). The archive is hostile: whatever it holds, the reader ends and stays inside it. */
#ifndef FS_CPIO_H
#define FS_CPIO_H

#include "core/types.h"

#define CPIO_NAME_MAX 512
struct cpio_source {
	int (*read)(void *ctx, uint64_t offset, void *buf, size_t n); /* all n bytes, within size, or a negative errno */
	void *ctx;
	uint64_t size;
};
struct cpio_entry {
	uint32_t mode, mtime;
	uint64_t data, size; /* where its content lies in the archive; checked to be inside */
	uint64_t name_at;    /* where its name lies, with its 0 */
	char name[CPIO_NAME_MAX];
};
bool cpio_is_archive(const struct cpio_source *s);
/* The entry at *offset (0 at first), which moves to the next. 1: there is one; 0: end; -EINVAL: malformed from here on. */
int cpio_next(const struct cpio_source *s, uint64_t *offset, struct cpio_entry *e);

#endif
