/* SPDX-License-Identifier: Apache-2.0 */
/* Does what no emulation can carry out: runs code where no memory is. Its VM must be stopped with a report, and nothing else. */
#include "guest.h"

void guest_main(uint32_t magic, uint32_t info)
{
	(void)magic;
	(void)info;
	print("GUEST jumps into nothing\n");
	((void (*)(void))0xfd000000ull)();
	print("GUEST came back\n");
	debug_exit(3);
}
