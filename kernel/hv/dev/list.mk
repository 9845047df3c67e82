kernel += kernel/hv/dev/lapic.c kernel/hv/dev/lapic_regs.c kernel/hv/dev/lapic_timer.c kernel/hv/dev/lapic_state.c \
	kernel/hv/dev/ioapic.c kernel/hv/dev/pic.c kernel/hv/dev/pit.c kernel/hv/dev/pmtimer.c
dev-host := kernel/arch/host/host_core.c kernel/arch/host/host_heap.c kernel/arch/host/host_timer.c
units += kernel/hv/dev/pic_test kernel/hv/dev/ioapic_test
kernel/hv/dev/pic_test-with := kernel/hv/dev/pic.c $(dev-host)
kernel/hv/dev/ioapic_test-with := kernel/hv/dev/ioapic.c $(dev-host)
units += kernel/hv/dev/lapic_test kernel/hv/dev/pit_test
kernel/hv/dev/lapic_test-with := kernel/hv/dev/lapic.c kernel/hv/dev/lapic_regs.c kernel/hv/dev/lapic_timer.c kernel/hv/dev/lapic_state.c $(dev-host)
kernel/hv/dev/pit_test-with := kernel/hv/dev/pit.c kernel/hv/dev/pmtimer.c $(dev-host)
