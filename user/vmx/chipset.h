/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The i440FX/PIIX board as far as ring 3 shows it: PCI configuration space by CF8/CFC with three functions (host bridge,
 * ISA bridge, power management), ACPI PM1 registers, and the ways to reset or leave a PC: 0xCF9, 0x92, 0x64, and the
 * debug-exit port 0xF4 when the VM's file asks for it.
 *
 * Lock: chipset->lock over everything. The host's functions are called under it and must not come back.
 */
#ifndef USER_VMX_CHIPSET_H
#define USER_VMX_CHIPSET_H

#include "user/vmx/bus.h"

#include <pthread.h>

#define PM_BASE 0x600          /* EVT 0x600, CNT 0x604, TMR 0x608 (ring 0) */
#define SMI_CMD 0xb2
#define ACPI_ENABLE 0xf1
#define ACPI_DISABLE 0xf0
#define SCI_IRQ 9
#define SLEEP_TYPE_S5 0        /* QEMU's PIIX4 has the same */
#define RESET_PORT 0xcf9
#define RESET_VALUE 6
#define DEBUG_EXIT_PORT 0xf4

enum pci_function { PCI_HOST, PCI_ISA, PCI_PM, PCI_FUNCTIONS };
struct chipset {
	pthread_mutex_t lock;
	const struct dev_host *host;
	uint32_t pci_address;
	uint8_t pci[PCI_FUNCTIONS][256];
	uint16_t pm1_status, pm1_enable, pm1_control;
	bool sci_level;
	uint8_t smi[2];        /* 0xB2, 0xB3 */
	uint8_t reset_control; /* 0xCF9 */
	uint8_t port92;
	bool kbd_output_port;  /* command D1 was given: the next byte at 0x60 is the output port */
};
void chipset_init(struct chipset *c, const struct dev_host *host);
void chipset_reset(struct chipset *c);
bool chipset_claim(struct chipset *c, struct bus *b, bool debug_exit);
void chipset_power_button(struct chipset *c);
void chipset_save(struct chipset *c, struct state_out *o);
bool chipset_load(struct chipset *c, struct state_in *in);
#define CHIPSET_TAG STATE_TAG('C', 'H', 'I', 'P')

#endif
