emul := $(addprefix kernel/hv/,emul.c emul_alu.c emul_decode.c emul_exec.c emul_fpu.c emul_io.c emul_mem.c emul_mmio.c emul_seg.c emul_string.c emul_task.c emul_walk.c)
kernel += $(emul)

emul-fake := $(emul) kernel/hv/emul_test_vm.c kernel/arch/host/host_core.c kernel/arch/host/host_heap.c
units += kernel/hv/emul_decode_test kernel/hv/emul_exec_test
kernel/hv/emul_decode_test-with := kernel/hv/emul_decode.c
kernel/hv/emul_decode_test-libs := -lZydis
kernel/hv/emul_exec_test-with := $(emul-fake)
