/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest guest: one line, power off. */
#include "guest.h"

void guest_main(uint32_t magic, uint32_t info)
{
	(void)info;
	CHECK_EQ(magic, 0x2BADB002);
	print("GUEST hello\n");
	guest_done();
}
