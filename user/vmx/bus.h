/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of ring 3's devices. A device claims a run of ports with the widest access that it takes whole; wider accesses are
 * split into bytes, as ISA does. The look-up is one table access: it stands on the path of every port exit.
 *
 * Threads: handlers run in any vCPU's thread, several at once; each device has its own lock. Claims happen at start only.
 */
#ifndef USER_VMX_BUS_H
#define USER_VMX_BUS_H

#include "abi/state.h"
#include "abi/vmm.h"

#include <stdbool.h>
#include <stdint.h>

#define BUS_PORTS 0x1000u /* all our devices are below */
#define BUS_CLAIMS 24

struct bus_claim {
	uint32_t (*in)(void *dev, uint16_t port, unsigned size);
	void (*out)(void *dev, uint16_t port, unsigned size, uint32_t value);
	void *dev;
	uint16_t base, count;
	uint8_t widest; /* 1, 2 or 4 bytes */
};
struct bus {
	unsigned nr_claims;                  /* claim 0 is "nobody": reads all ones */
	struct bus_claim claim[BUS_CLAIMS];
	uint8_t index[BUS_PORTS];
};
void bus_init(struct bus *b);
/* False: no room, or ports taken. */
bool bus_claim(struct bus *b, const struct bus_claim *c);
/* Answers one port exit, strings included; what a read gives is left in the run page. */
void bus_io(const struct bus *b, struct vmm_run *run);

/* How devices reach the outside: interrupts and what happens to the VM. Tests put their own here. */
struct dev_host {
	void (*set_irq)(void *ctx, unsigned gsi, bool level);
	void (*power_off)(void *ctx);
	void (*reset)(void *ctx);
	void (*debug_exit)(void *ctx, int status);
	void *ctx;
};

#endif
