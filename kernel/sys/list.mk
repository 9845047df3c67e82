kernel += kernel/sys/alarm.c kernel/sys/elf.c kernel/sys/exec.c kernel/sys/exit.c kernel/sys/fd.c kernel/sys/futex.c kernel/sys/init.c kernel/sys/proc.c kernel/sys/signal.c kernel/sys/signal_frame.c kernel/sys/sys_file.c kernel/sys/sys_info.c kernel/sys/sys_mem.c kernel/sys/sys_path.c kernel/sys/sys_poll.c kernel/sys/sys_proc.c kernel/sys/sys_signal.c kernel/sys/sys_time.c kernel/sys/syscall.c kernel/sys/trap.c 
units += kernel/sys/elf_test kernel/sys/fd_test kernel/sys/abi_test
kernel/sys/elf_test-with := kernel/sys/elf.c kernel/arch/host/host_core.c
kernel/sys/fd_test-with := kernel/sys/fd.c kernel/fs/file.c kernel/arch/host/host_core.c kernel/arch/host/host_heap.c
kernel/sys/fd_test-libs := -lpthread
