kernel += kernel/hv/svm/svm.c kernel/hv/svm/run.c kernel/hv/svm/enter.S kernel/hv/svm/exit.c kernel/hv/svm/asid.c kernel/hv/svm/event.c \
	kernel/hv/svm/regs.c kernel/hv/svm/msr.c kernel/hv/svm/state.c kernel/hv/svm/check.c

units += kernel/hv/svm/check_test kernel/hv/svm/exit_test
kernel/hv/svm/check_test-with := kernel/hv/svm/check.c
kernel/hv/svm/exit_test-with := kernel/hv/svm/exit.c kernel/hv/svm/event.c kernel/arch/host/host_core.c
