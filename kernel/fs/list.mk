kernel += kernel/fs/archive.c kernel/fs/cpio.c kernel/fs/data.c kernel/fs/devfs.c kernel/fs/eventfd.c kernel/fs/file.c kernel/fs/ldisc.c kernel/fs/linkdev.c \
	kernel/fs/mica.c kernel/fs/node.c kernel/fs/pipe.c kernel/fs/random.c kernel/fs/tty.c kernel/fs/vfs.c kernel/fs/walk.c kernel/fs/wallclock.c
