/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/fs: files as ring 3 sees them. One small VFS over ramfs (the root, built from the cpio in the
 * image; boot modules at /vms; both served straight from where they lie) and devfs (/dev).
 *
 * struct file is an open description: reference-counted, shared by dup and fork. All calls may sleep. Design: docs/user-worlds.md.
 */
#ifndef FS_FS_H
#define FS_FS_H

#include "mem/mem.h"
#include "sched/sched.h"

struct file;
struct node;
#define POLL_IN 1
#define POLL_OUT 4
#define POLL_ERR 8
#define POLL_HUP 16

/* Operations of an open file. Buffers are ring 3's (uva_t): copy with arch_user_*. NULL: -EINVAL or a sane default. */
struct file_ops {
	int64_t (*read)(struct file *f, uva_t buf, uint64_t n, uint64_t *pos);
	int64_t (*write)(struct file *f, uva_t buf, uint64_t n, uint64_t *pos);
	int64_t (*ioctl)(struct file *f, uint64_t cmd, uint64_t arg);
	int64_t (*mmap)(struct file *f, struct aspace *as, uint64_t offset, uint64_t len, int prot);
	unsigned (*poll)(struct file *f, struct waitq **q); /* ready mask now; *q: where changes are announced */
	void (*release)(struct file *f);                    /* last reference */
};
struct file {
	const struct file_ops *ops;
	void *object;     /* the device's or file system's own */
	struct node *node;
	uint64_t pos;
	uint32_t flags;   /* O_* of the Linux ABI */
	uint32_t refs;    /* atomic */
};
struct file *file_new(const struct file_ops *ops, void *object, uint32_t flags); /* NULL without memory */
void file_ref(struct file *f);
void file_unref(struct file *f);

/* /dev/NAME. open may fill f->object; it returns 0 or -errno. */
int devfs_add(const char *name, int (*open)(struct file *f, void *ctx), const struct file_ops *ops, void *ctx);
/* A file descriptor for f in the current process (takes the reference); for devices that hand out handles. sys registers the function. */
extern int (*fd_install_hook)(struct file *f);
/* Number of the current process; likewise. */
extern uint32_t (*proc_pid_hook)(void);

#endif
