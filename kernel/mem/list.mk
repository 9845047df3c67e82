kernel += kernel/mem/layout.c kernel/mem/block.c kernel/mem/tables.c kernel/mem/heap.c kernel/mem/window.c kernel/mem/vmap.c \
	kernel/mem/user_frame.c kernel/mem/vma.c kernel/mem/aspace.c kernel/mem/init.c kernel/mem/account.c

mem-host := kernel/arch/host/host_core.c kernel/arch/host/host_mem.c kernel/mem/layout.c kernel/mem/block.c kernel/mem/tables.c \
	kernel/mem/heap.c kernel/mem/vmap.c kernel/mem/user_frame.c kernel/mem/account.c
units += kernel/mem/block_test kernel/mem/heap_test
kernel/mem/block_test-with := $(mem-host)
kernel/mem/heap_test-with := $(mem-host)
units += kernel/mem/aspace_test kernel/mem/window_test
kernel/mem/aspace_test-with := $(mem-host) kernel/mem/vma.c kernel/mem/aspace.c kernel/arch/host/host_mutex.c
kernel/mem/window_test-with := $(mem-host) kernel/mem/window.c
kernel/mem/window_test-flags := -DHOST_REAL_WINDOWS
