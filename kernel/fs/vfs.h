/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of files, as kernel/sys and the file systems of kernel/fs use it; devices need only fs.h.
 *
 * A node is a directory, file, symbolic link, FIFO or device. Each has one name (no hard links), so the tree is the nodes
 * themselves. References: one by the tree while the node has a name, one by each open file, working directory and program.
 * Locks: fs_tree_lock (mutex) for names, parents and children; fs_data_lock (mutex) for the content of writable files.
 * Order: tree, then data. Neither is held over a copy to or from ring 3.
 */
#ifndef FS_VFS_H
#define FS_VFS_H

#include "fs/fs.h"
#include "fs/linux_abi.h"

enum node_store {
	STORE_NONE,     /* nothing to read: directories, devices, FIFOs */
	STORE_IN_PLACE, /* bytes in the kernel's image or another place that never goes away */
	STORE_MODULE,   /* a boot module at a physical address, through windows */
	STORE_PAGES,    /* writable: an array of heap pages, holes allowed */
};
struct pipe;
struct node {
	uint32_t mode;           /* S_IFMT and permissions; type immutable */
	uint32_t refs;           /* atomic */
	uint64_t ino;            /* I: also the order among siblings and the position in getdents64 */
	const char *name;        /* tree lock */
	struct node *parent;     /* tree lock; NULL once removed; the root's is itself */
	struct list link;        /* tree lock: parent's children, by ino */
	struct list children;    /* tree lock */
	int64_t mtime_ns;
	uint8_t store;           /* enum node_store; data lock */
	bool name_owned;         /* name is from the heap */
	uint32_t rdev;
	uint64_t size;           /* data lock */
	union {
		const void *bytes;   /* IN_PLACE */
		uint64_t phys;       /* MODULE */
		struct { void **page; uint32_t nr; } pages; /* PAGES: nr entries, each NULL or a heap page */
		struct { const struct file_ops *ops; int (*open)(struct file *f, void *ctx); void *ctx; } dev; /* S_IFCHR */
		struct pipe *pipe;   /* S_IFIFO, while open; tree lock */
	};
};
extern struct node fs_root;
extern struct mutex fs_tree_lock, fs_data_lock;
static inline bool node_is(const struct node *n, uint32_t type) { return (n->mode & S_IFMT) == type; }

/* ---- node.c ---- */
void fs_core_init(void);                 /* idempotent; before anything else here */
struct node *node_new(uint32_t mode);    /* one reference; NULL without memory */
void node_ref(struct node *n);
void node_unref(struct node *n);
/* ---- wallclock.c ---- */
uint64_t wall_clock_ns(void);            /* since 1970, from the machine's clock at start */
void wall_clock_set(uint64_t ns);
/* Tree lock held. add: the name's bytes are copied unless `borrowed` (they live as long as the tree). */
int node_add(struct node *dir, struct node *n, const char *name, bool borrowed);
void node_remove(struct node *n);        /* drops the tree's reference */
struct node *node_child(struct node *dir, const char *name, size_t len);
/* Whole path of directories below the root, made where missing; tree lock held. NULL: no memory, or a file is in the way. */
struct node *node_make_dirs(const char *path, size_t len);
void node_stat(struct node *n, struct linux_stat *st);

/* ---- walk.c: result of a path walk, tree lock held by the caller throughout ---- */
struct walk {
	struct node *dir;   /* holds the last component; NULL when that is the root, . or .. */
	struct node *node;  /* NULL: dir has no such name */
	const char *name;   /* last component, inside path or buf; not terminated */
	size_t name_len;
	bool slash;         /* path ended in a slash: a directory is meant */
	char *buf;          /* heap page when symbolic links were followed */
};
#define WALK_MAX_LINKS 40
/* 0 also when only the last component is missing. walk_end() frees what it took, always. */
int walk_path(struct walk *w, struct node *cwd, const char *path, bool follow_last);
void walk_end(struct walk *w);

/* ---- vfs.c: paths to actions; each takes the tree lock itself. cwd is never NULL, path a terminated kernel string ---- */
int vfs_lookup(struct node *cwd, const char *path, bool follow, struct node **out); /* referenced */
int vfs_open(struct node *cwd, const char *path, uint32_t flags, uint32_t mode, struct file **out);
int vfs_make(struct node *cwd, const char *path, uint32_t mode, const char *link_target); /* directory, FIFO, symlink, file */
int vfs_remove(struct node *cwd, const char *path, bool directory);
int vfs_rename(struct node *old_cwd, const char *old, struct node *new_cwd, const char *new_path);
int64_t vfs_readlink(struct node *n, char *buf, size_t size);
int64_t vfs_path_of(struct node *n, char *buf, size_t size); /* length with its 0, or -ERANGE, -ENOENT */
int64_t vfs_getdents(struct file *f, uva_t buf, uint64_t n);

/* ---- data.c: content ---- */
int64_t node_read(struct node *n, uint64_t offset, void *buf, size_t size); /* bytes, 0 at the end; -EIO: module released */
int64_t node_write(struct node *n, uint64_t offset, const void *buf, size_t size);
int node_truncate(struct node *n, uint64_t size);
void node_data_free(struct node *n);
extern const struct file_ops node_file_ops; /* of regular files and directories */
extern const struct aspace_source node_aspace_source; /* object: the node */
uint64_t fs_pages_used(void);
#define FS_PAGES_MAX (MIB(8) / PAGE_SIZE) /* all writable files together */

/* ---- pipe.c, eventfd.c ---- */
int pipe_create(struct file **reader, struct file **writer, uint32_t flags);
int fifo_open(struct node *n, struct file *f);   /* may wait for the other end */
void fifo_free(struct node *n);
struct file *eventfd_create(uint64_t value, bool semaphore, uint32_t flags);
struct file *timerfd_create(uint32_t flags);
struct timerfd_spec { uint64_t interval_ns, value_ns; };
/* value_ns: clock time (absolute) or from now, 0 disarms. -EINVAL: not a timerfd. */
int timerfd_set(struct file *f, const struct timerfd_spec *s, bool absolute, struct timerfd_spec *old);
int timerfd_get(struct file *f, struct timerfd_spec *s);
/* Fires a signal to the caller for a write to a pipe without readers; sys registers it. */
extern void (*fs_sigpipe_hook)(void);

/* ---- devfs.c, devices ---- */
void random_bytes(void *buf, size_t n);
void chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint32_t out[16]);
/* A read-only text file: emit prints into the buffer by text_printf; every open takes one picture of it. */
struct text_out {
	char *buf;
	size_t size, len;
};
void text_printf(struct text_out *t, const char *fmt, ...) __printf(2, 3);
int devfs_add_text(const char *name, void (*emit)(struct text_out *t));

/* ---- tty.c: what the terminal asks of processes; sys registers it ---- */
struct tty_hooks {
	void (*signal_group)(int pgid, int sig);
	int (*session)(void);        /* of the current process */
	int (*group)(void);
	bool (*session_leader)(void);
	bool (*group_in_session)(int pgid, int sid);
};
extern struct tty_hooks tty_hooks;
/* The session whose controlling terminal this is ends. */
void tty_session_ended(int sid);

/* ---- boot modules (data.c, archive.c) ---- */
extern bool fs_modules_released; /* reads give -EIO from then on */
bool fs_modules_release(void);

#endif
