kernel += kernel/core/string.c kernel/core/printf.c kernel/core/log.c kernel/core/panic.c kernel/core/spinlock.c kernel/core/counter.c \
	kernel/core/bootinfo.c kernel/core/kmain.c kernel/core/smp.c kernel/core/trace.c
