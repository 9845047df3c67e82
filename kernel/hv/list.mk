gmem := kernel/hv/nested.c kernel/hv/gmem.c kernel/hv/gmem_frames.c kernel/hv/gmem_torture.c
kernel += $(gmem)
units += kernel/hv/nested_test
kernel/hv/nested_test-with = $(gmem) $(mem-host) kernel/arch/host/host_mutex.c
# the sanitizers call the C library's
kernel/hv/nested_test-flags := -Dsched_yield=kernel_sched_yield

emul := $(addprefix kernel/hv/,emul.c emul_alu.c emul_decode.c emul_exec.c emul_fpu.c emul_io.c emul_mem.c emul_mmio.c emul_seg.c emul_string.c emul_task.c emul_walk.c)
kernel += $(emul)

emul-fake := $(emul) kernel/hv/emul_test_vm.c kernel/arch/host/host_core.c kernel/arch/host/host_heap.c
units += $(addprefix kernel/hv/,emul_decode_test emul_exec_test emul_fuzz_test emul_io_test emul_task_test emul_walk_test)
kernel/hv/emul_decode_test-with := kernel/hv/emul_decode.c
kernel/hv/emul_decode_test-libs := -lZydis
kernel/hv/emul_exec_test-with := $(emul-fake)
kernel/hv/emul_io_test-with := $(emul-fake)
kernel/hv/emul_walk_test-with := $(emul-fake)
kernel/hv/emul_task_test-with := $(emul-fake)
kernel/hv/emul_fuzz_test-with := $(emul-fake)

kernel += kernel/hv/init.c kernel/hv/run.c kernel/hv/inject.c kernel/hv/report.c
kernel += kernel/hv/exit.c kernel/hv/exit_cr.c kernel/hv/bus.c kernel/hv/hypercall.c
kernel += kernel/hv/cpuid.c kernel/hv/cpuid_table.c kernel/hv/msr.c

units += kernel/hv/cpuid_table_test kernel/hv/msr_test
kernel/hv/cpuid_table_test-with := kernel/hv/cpuid_table.c kernel/arch/host/host_core.c
kernel/hv/msr_test-with := kernel/hv/msr.c kernel/arch/host/host_core.c
kernel += kernel/hv/vm.c kernel/hv/vcpu.c kernel/hv/vcpu_regs.c kernel/hv/irq.c kernel/hv/state.c kernel/hv/torture.c kernel/hv/vmm_dev.c
vm-life := $(addprefix kernel/hv/,vm.c vcpu.c vcpu_regs.c irq.c state.c fake_hv.c) $(filter kernel/hv/dev/%,$(wildcard kernel/hv/dev/lapic*.c kernel/hv/dev/pi[ct].c kernel/hv/dev/ioapic.c))
units += kernel/hv/vm_test
kernel/hv/vm_test-with := $(filter-out %_test.c,$(vm-life)) $(addprefix kernel/arch/host/,host_core.c host_heap.c host_timer.c host_mutex.c)
