kernel += kernel/core/string.c kernel/core/printf.c kernel/core/log.c kernel/core/panic.c kernel/core/spinlock.c kernel/core/counter.c \
	kernel/core/bootinfo.c kernel/core/kmain.c kernel/core/smp.c kernel/core/trace.c
units += kernel/core/printf_test kernel/core/string_test kernel/core/log_test kernel/core/spinlock_test kernel/core/bootinfo_test
kernel/core/log_test-with := kernel/core/log.c
kernel/core/spinlock_test-with := kernel/core/spinlock.c
kernel/core/bootinfo_test-with := kernel/core/bootinfo.c
kernel/core/string_test-flags := -fno-builtin
