/* SPDX-License-Identifier: Apache-2.0 */
/* INIT_HV: chooses the backend that this machine can run and switches it on, on every CPU. */
#include "hv/hv_priv.h"

const struct hv_ops *hv;
const char *hv_missing = "virtual machines are not set up yet";

static const struct hv_ops *const backends[] = { &svm_ops };
static uint32_t hv_cpu_failures; /* atomic */

static void hv_enable_here(void *ops)
{
	if (((const struct hv_ops *)ops)->cpu_enable())
		__atomic_fetch_add(&hv_cpu_failures, 1, __ATOMIC_RELAXED);
}

static void hv_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
		hv_missing = backends[i]->probe();
		if (hv_missing)
			continue;
		if (backends[i]->setup()) {
			hv_missing = "there is too little memory to switch virtualization on";
			break;
		}
		smp_call_all(hv_enable_here, (void *)backends[i]);
		if (hv_cpu_failures) {
			hv_missing = "a processor could not switch virtualization on";
			break;
		}
		hv = backends[i];
		return;
	}
	log_error("no virtual machines here: %s", hv_missing);
}
INIT_CALL(INIT_HV, hv_init);
