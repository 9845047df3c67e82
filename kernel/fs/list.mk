kernel += kernel/fs/archive.c kernel/fs/cpio.c kernel/fs/data.c kernel/fs/devfs.c kernel/fs/eventfd.c kernel/fs/file.c kernel/fs/ldisc.c kernel/fs/linkdev.c \
	kernel/fs/mica.c kernel/fs/node.c kernel/fs/pipe.c kernel/fs/random.c kernel/fs/tty.c kernel/fs/vfs.c kernel/fs/walk.c kernel/fs/wallclock.c
units += kernel/fs/cpio_test kernel/fs/ldisc_test kernel/fs/walk_test
kernel/fs/cpio_test-with := kernel/fs/cpio.c kernel/arch/host/host_core.c
kernel/fs/ldisc_test-with := kernel/fs/ldisc.c kernel/arch/host/host_core.c
kernel/fs/walk_test-with := kernel/fs/node.c kernel/fs/walk.c kernel/fs/vfs.c kernel/fs/data.c kernel/fs/file.c kernel/fs/pipe.c \
	kernel/arch/host/host_core.c kernel/arch/host/host_heap.c kernel/arch/host/host_mutex.c kernel/arch/host/host_files.c
