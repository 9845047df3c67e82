/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine for the emulator's unit tests: two flat pieces of RAM, ROM, a device that ring 0 answers, one that ring 3 answers. */
#ifndef HV_EMUL_TEST_VM_H
#define HV_EMUL_TEST_VM_H

#include "hv/emul_priv.h"

#define TV_RAM_SIZE MIB(4)          /* at 0: page tables, code, stacks */
#define TV_RAM2 0x60000000ull       /* operands */
#define TV_ROM 0x61000000ull
#define TV_DEV0 0x70000000ull       /* answered in ring 0 */
#define TV_DEV3 0x70100000ull       /* answered in ring 3 */
#define TV_AREA 0x4000ull           /* bytes of each of the last four */
#define TV_CODE 0x8000ull
#define TV_PORT0 0x100              /* ports up to 0x1ff: ring 0; 0x200..0x2ff: ring 3 */
#define TV_PORT3 0x200

extern uint8_t *tv_ram, *tv_ram2, *tv_rom, *tv_dev0, *tv_dev3;
extern struct vcpu *tv_vcpu;
extern uint64_t tv_cr[HV_CRS];
extern struct vmm_segment tv_seg[10];
extern bool tv_fast_fails;          /* nested_lookup() finds nothing: slow paths */
extern unsigned tv_stops, tv_bus_accesses, tv_cas_fail, tv_phys_bits, tv_shadow_cleared, tv_backdoor_calls;
extern enum backdoor_result tv_backdoor;
extern char tv_stop_text[256];
extern uint32_t tv_port_val;        /* what IN reads, plus one each time */
extern uint8_t tv_out[4096];
extern unsigned tv_out_n;
/* Called for every question that ring 3 gets. */
extern void (*tv_ring3_hook)(void);

void tv_reset(void);                /* long mode, CPL 0, identity-mapped low 2 GiB, RIP at TV_CODE, memory unchanged */
void tv_mode(unsigned mode, bool protected_mode); /* 2 or 4: no paging, flat segments (real mode: base 0, limit 0xffff) */
void tv_cpl(unsigned cpl);
void tv_code(const void *bytes, unsigned n);
uint8_t *tv_memory(uint64_t gpa, uint64_t len); /* NULL outside */
/* Answers ring 3's questions until the emulator is done; EMUL_RING3 never comes back. Every question is saved and loaded in between. */
enum emul_result tv_finish(enum emul_result r);
enum emul_result tv_mmio(uint64_t gpa, bool write);

#endif
