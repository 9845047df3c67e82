/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMware backdoor: commands in ECX[15:0] under the magic in EAX, results in the 32-bit registers. Reached by port 0x5658,
 * by the hypercall instruction and by #GP on the port from ring 3; any privilege level may call.
 */
#include "hv/hv_priv.h"

#define BACKDOOR_MAGIC 0x564d5868u
enum { RAX, RCX, RDX, RBX };
enum {
	BACKDOOR_GETVERSION = 10, BACKDOOR_GETHWVERSION = 17, BACKDOOR_GETUUID = 19, BACKDOOR_GETMEMSIZE = 20, BACKDOOR_GETHZ = 45,
	BACKDOOR_VCPU_INFO = 68
};
#define PRODUCT_SERVER 2u
#define VCPU_INFO_SYNCED_TSC BIT(1)
#define VCPU_INFO_X2APIC BIT(3) /* usable without interrupt remapping */

COUNTER(backdoor_calls, "hv.backdoor.calls");

static void set(struct vcpu *v, unsigned reg, uint32_t val) { v->gpr[reg] = val; }

static void backdoor_uuid(struct vcpu *v)
{
	uint32_t word[4];

	memcpy(word, v->vm->config.bios_uuid, sizeof(word));
	set(v, RAX, word[0]);
	set(v, RBX, word[1]);
	set(v, RCX, word[2]);
	set(v, RDX, word[3]);
}

enum backdoor_result backdoor_call(struct vcpu *v)
{
	counter_add(backdoor_calls, 1);
	switch ((uint32_t)v->gpr[RAX] == BACKDOOR_MAGIC ? v->gpr[RCX] & 0xffff : 0) {
	case BACKDOOR_GETVERSION:
		set(v, RAX, 6);
		set(v, RBX, BACKDOOR_MAGIC);
		set(v, RCX, PRODUCT_SERVER);
		break;
	case BACKDOOR_GETHWVERSION:
		set(v, RAX, v->vm->config.hw_version);
		break;
	case BACKDOOR_GETUUID:
		backdoor_uuid(v);
		break;
	case BACKDOOR_GETMEMSIZE:
		set(v, RAX, (uint32_t)(v->vm->config.memory >> 20));
		break;
	case BACKDOOR_GETHZ: /* the same clock as leaf 0x40000010 tells, in whole kHz */
		set(v, RAX, (uint32_t)(tsc_hz / 1000 * 1000));
		set(v, RBX, (uint32_t)(tsc_hz / 1000 * 1000 >> 32));
		set(v, RCX, (uint32_t)LAPIC_TIMER_HZ);
		break;
	case BACKDOOR_VCPU_INFO:
		set(v, RAX, (uint32_t)(VCPU_INFO_SYNCED_TSC | (v->vm->config.flags & VMM_F_NO_X2APIC ? 0 : VCPU_INFO_X2APIC)));
		break;
	default:
		set(v, RAX, 0xffffffff);
	}
	return BACKDOOR_DONE;
}
