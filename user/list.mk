user-programs := vmx init mica
user-lib := user/lib/vmx_config.c user/lib/vms.c
user-vmx := user/lib/vmx_config.c $(addprefix user/vmx/,main.c vm.c run.c torture.c console.c timer.c bus.c uart.c rtc.c chipset.c aml.c acpi.c \
	load.c load_linux.c load_elf.c load_multiboot.c)
user-init := $(user-lib) $(addprefix user/init/,init.c host.c vm.c job.c)
user-mica := $(user-lib) $(addprefix user/mica/,main.c vm.c host.c json.c)

units += user/lib/vmx_config_test user/vmx/load_test user/vmx/dev_test user/vmx/acpi_test
user-flags := -D_GNU_SOURCE
user/lib/vmx_config_test-with := user/lib/vmx_config.c
user/lib/vmx_config_test-flags := $(user-flags)
user/vmx/load_test-with := $(addprefix user/vmx/,load.c load_linux.c load_elf.c load_multiboot.c)
user/vmx/load_test-flags := $(user-flags)
user/vmx/dev_test-with := $(addprefix user/vmx/,bus.c uart.c rtc.c chipset.c)
user/vmx/dev_test-flags := $(user-flags) -pthread
user/vmx/acpi_test-with := user/vmx/acpi.c user/vmx/aml.c
user/vmx/acpi_test-flags := $(user-flags)
fuzzers += user/lib/vmx_config_test user/vmx/load_test user/vmx/dev_test
