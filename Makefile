# mica: what is built, and the handful of commands a person types. `make help` lists them.
# Each folder names its own sources in a list.mk: `kernel += FILES` (ring 0), `units += FILE_test` (host unit tests; what such a
# program is made of beside FILE_test.c stands in `FILE_test-with`), `user-PROGRAM += FILES` (ring 3).

BUILD ?= build
ifeq ($(DEBUG),1)
BUILD := build/debug
endif
CC := gcc
HOSTCC ?= clang
kernel :=
units :=
guests :=
include $(sort $(shell find boot kernel user test -name list.mk))

WARN := -Wall -Wextra -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
INCLUDES := -Iinclude -Ikernel -Iboot
KFLAGS := -std=gnu17 -O2 -g -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) $(INCLUDES) $(WARN) \
	-mno-sse -mno-mmx -mno-80387 -mno-red-zone -mcmodel=kernel -fno-pic -fno-pie -fno-common -fno-strict-aliasing -fno-asynchronous-unwind-tables \
		-fcallgraph-info -fno-omit-frame-pointer -fstack-protector-strong -mstack-protector-guard=global -ffunction-sections -fdata-sections -fno-jump-tables
ifeq ($(DEBUG),1)
KFLAGS += -DCONFIG_DEBUG=1
endif
TFLAGS := -std=gnu17 -O1 -g $(INCLUDES) -I. -D__KERNEL_HOST_TEST__=1 -DCONFIG_DEBUG=1 -Wall -Wextra -Wno-unused-parameter -Wno-unused-function -Werror \
	-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-strict-aliasing

kobjs := $(patsubst %,$(BUILD)/k/%.o,$(basename $(filter %.c %.S,$(kernel))))
-include $(kobjs:.o=.d)

# ---- what a person types: each installs what is missing, then makes with all CPUs ----
.PHONY: all help run test bench size soak torture clean
SUB = tools/setup && $(MAKE) --no-print-directory -j$(shell nproc)
all:
	@$(SUB) release
help:
	@sed -n 's/^#: //p' Makefile
#: make           build the release: build/mica.elf and build/mica.img
#: make run       a Linux in a VM on mica, at your terminal (ACCEL=kvm: with nested hardware virtualization)
#: make test      the gate: unit tests, checks, system scenarios (FILTER=word: a part; make torture: the torture modes)
#: make soak      the long versions
#: make bench     instruction counts beside KVM's and Xen's
#: make size      image, lines of ring 0, lines that a guest can reach
run: all
	@$(MAKE) --no-print-directory linux-guests
	@echo "mica: a Linux will start in a VM; 'poweroff -f' there ends it, Ctrl-] leaves at any time."
	@tools/run-guest --boot bios --timeout 864000 --kernel build/guest/vmlinuz --initrd build/guest/linux.cpio --append "console=ttyS0 quiet t=shell"
test torture soak: everything
	@$(if $(filter torture,$@),test/run torture.,$(if $(filter soak,$@),test/run --soak $(FILTER),test/run $(FILTER)))
bench size: all
	@$(if $(filter bench,$@),$(MAKE) --no-print-directory linux-guests && test/bench/bench,tools/size)
clean:
	rm -rf build
.PHONY: everything release debug kernel-objects units units-build
everything:
	@$(SUB) release linux-guests guests units-build && $(SUB) DEBUG=1 debug
release debug: $(BUILD)/mica.elf $(BUILD)/mica.img
kernel-objects: $(kobjs)
$(BUILD)/mica.img: $(BUILD)/mica.elf tools/mkimage tools/grub.cfg
	@echo "  IMAGE $@"
	@tools/mkimage $< $@

$(BUILD)/k/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(KFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/k/%.o: %.S
	@mkdir -p $(@D)
	@echo "  AS $<"
	@$(CC) $(KFLAGS) -D__ASSEMBLER__ -MMD -MP -c -o $@ $<

# ---- the kernel: linked twice, so that the second time it carries its own symbol table ----
LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --build-id=none --gc-sections -T boot/mica.ld
$(BUILD)/mica.elf: $(kobjs) $(BUILD)/k/boot/rootfs.o boot/mica.ld tools/ksyms
	@echo "  LD $@"
	@tools/ksyms > $(BUILD)/ksyms-none.S && $(CC) -c -o $(BUILD)/ksyms-none.o $(BUILD)/ksyms-none.S
	@$(LD) $(LDFLAGS) -o $@.first $(kobjs) $(BUILD)/k/boot/rootfs.o $(BUILD)/ksyms-none.o
	@tools/ksyms $@.first > $(BUILD)/ksyms.S && $(CC) -c -o $(BUILD)/ksyms.o $(BUILD)/ksyms.S
	@$(LD) $(LDFLAGS) -o $@ $(kobjs) $(BUILD)/k/boot/rootfs.o $(BUILD)/ksyms.o
$(BUILD)/k/boot/rootfs.o: boot/rootfs.S $(BUILD)/root.cpio
	@mkdir -p $(@D)
	@$(CC) -DROOT_CPIO='"$(BUILD)/root.cpio"' -c -o $@ $<
# ---- ring 3: static programs against musl, and the root archive. What is brought from outside lies in $(CACHE) and is built once. ----
CACHE ?= .cache
export CACHE
UCC := $(CACHE)/musl/bin/musl-gcc
UFLAGS := -std=gnu17 -D_GNU_SOURCE -O2 -Iinclude -I. $(WARN) -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -fno-pie
$(UCC): third_party/pins tools/build-third-party tools/fetch-sources
	@tools/build-third-party musl && touch $@
$(CACHE)/busybox/busybox: $(UCC) third_party/busybox.config
	@tools/build-third-party busybox && touch $@
$(BUILD)/u/%.o: %.c $(UCC)
	@mkdir -p $(@D)
	@echo "  UCC $<"
	@$(UCC) $(UFLAGS) -MMD -MP -c -o $@ $<
define user-rule
$(BUILD)/user/$(1): $$(patsubst %.c,$(BUILD)/u/%.o,$$(user-$(1)))
	@mkdir -p $$(@D)
	@echo "  ULD $(1)"
	@$$(UCC) -static -no-pie -s -Wl,--gc-sections,--build-id=none,-z,noseparate-code -o $$@ $$^
endef
$(foreach p,$(user-programs),$(eval $(call user-rule,$(p))))
-include $(foreach p,$(user-programs),$(patsubst %.c,$(BUILD)/u/%.d,$(user-$(p))))
$(BUILD)/root.cpio: $(addprefix $(BUILD)/user/,$(user-programs)) $(CACHE)/busybox/busybox tools/mkroot
	@echo "  ROOT $@"
	@tools/mkroot $@ $(CACHE)/busybox/applets $(CACHE)/busybox/busybox $(addprefix $(BUILD)/user/,$(user-programs))

# ---- host unit tests: build/unit/<path of the test file> ----
unit-bins := $(patsubst %,build/unit/%,$(units))
define unit-rule
build/unit/$(1): $(1).c $($(1)-with) $$(wildcard kernel/arch/host/*) $$(shell find include kernel -name '*.h') test/unit.h
	@mkdir -p $$(@D)
	@echo "  UNIT $(1)"
	@$$(HOSTCC) $$(TFLAGS) $$($(1)-flags) -o $$@ $(1).c $$($(1)-with) $$($(1)-libs)
endef
$(foreach u,$(units),$(eval $(call unit-rule,$(u))))
units-build: $(unit-bins)
units: $(unit-bins)
	@set -e; for u in $(unit-bins); do echo "$$u"; $$u; done

# Test files that are libFuzzer targets too: `make fuzz` runs each for FUZZ_SECONDS.
FUZZ_SECONDS ?= 30
.PHONY: fuzz
fuzz:
	@set -e; for t in $(fuzzers); do mkdir -p build/fuzz/$$t.corpus; $(MAKE) --no-print-directory build/fuzz/$$t; \
		build/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -artifact_prefix=build/fuzz/ build/fuzz/$$t.corpus; done
define fuzz-rule
build/fuzz/$(1): $(1).c $($(1)-with) test/unit.h user/lib/fuzz.h
	@mkdir -p $$(@D)
	@$$(HOSTCC) $$(TFLAGS) $$($(1)-flags) -DFUZZ -fsanitize=fuzzer -o $$@ $(1).c $$($(1)-with)
endef
$(foreach f,$(fuzzers),$(eval $(call fuzz-rule,$(f))))

# ---- guests for tests, bench and make run: build/guest ----
GUESTFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-pic -fno-pie -mno-red-zone -mno-sse -mno-mmx -mno-80387 -mcmodel=small \
	-fno-stack-protector -fno-asynchronous-unwind-tables -Wall -Wextra -Werror -Itest/guest/common
GUESTLINK := -nostdlib -static -Wl,--build-id=none -Wl,-T,test/guest/common/guest.ld -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments -Wl,-z,noexecstack
.PHONY: guests linux-guests
guests: $(patsubst %,build/guest/%.elf,$(guests))
build/guest/%.elf: $(wildcard test/guest/common/*) $(wildcard test/guest/*/*.[chS])
	@mkdir -p $(@D)
	@echo "  GUEST $*"
	@$(CC) $(GUESTFLAGS) $(GUESTLINK) -o build/guest/$*.elf64 $(wildcard test/guest/common/*.S test/guest/common/*.c test/guest/$*/*.S test/guest/$*/*.c)
	@objcopy -O elf32-i386 build/guest/$*.elf64 $@
linux-guests:
	@test/bench/mkguest build/guest
	@test/linux/mkguest build/guest
