user-programs := vmx init mica
user-lib := user/lib/vmx_config.c user/lib/vms.c
user-vmx := user/lib/vmx_config.c $(addprefix user/vmx/,main.c vm.c run.c torture.c console.c timer.c bus.c uart.c rtc.c chipset.c aml.c acpi.c \
	load.c load_linux.c load_elf.c load_multiboot.c)
user-init := $(user-lib) $(addprefix user/init/,init.c host.c vm.c job.c)
user-mica := $(user-lib) $(addprefix user/mica/,main.c vm.c host.c json.c)
