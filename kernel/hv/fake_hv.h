/* SPDX-License-Identifier: Apache-2.0 */
/* Host unit tests of the life cycle of VMs (fake_hv.c). */
#ifndef HV_FAKE_HV_H
#define HV_FAKE_HV_H

#include "hv/hv_priv.h"

extern uint64_t fake_promised, fake_promisable;
extern unsigned fake_nested, fake_backends, fake_emuls, fake_flushes;
uint64_t fake_guest_tsc(struct vcpu *v); /* what the hardware would give the guest */

#endif
