kernel += kernel/dev/console/uart16550.c kernel/dev/console/link.c kernel/dev/console/console.c kernel/dev/console/screen.c \
	kernel/dev/console/vga_text.c kernel/dev/console/framebuffer.c
units += kernel/dev/console/console_test
kernel/dev/console/console_test-with := kernel/dev/console/link.c kernel/dev/console/screen.c kernel/core/printf.c kernel/arch/host/host_core.c

console-font := /usr/share/grub/ascii.pf2
$(BUILD)/k/kernel/dev/console/framebuffer.o: $(BUILD)/font/font.h
$(BUILD)/k/kernel/dev/console/framebuffer.o: KFLAGS += -I$(BUILD)/font
$(BUILD)/font/font.h: tools/mkfont $(console-font)
	@mkdir -p $(@D)
	@tools/mkfont $(console-font) > $@
