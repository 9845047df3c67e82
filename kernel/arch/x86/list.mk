kernel += kernel/arch/x86/entry.S kernel/arch/x86/copy.S kernel/arch/x86/trampoline.S
kernel += $(patsubst %,kernel/arch/x86/%.c,cpu descriptors traps backtrace user fpu context paging acpi platform lapic ioapic clock smp power)
units += kernel/arch/x86/acpi_test kernel/arch/x86/scale_test
kernel/arch/x86/acpi_test-with := kernel/arch/x86/acpi.c
