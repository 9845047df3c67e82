/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runner link: many byte streams over one serial port, between mica and tools/run-guest.
 *
 * A frame is LINK_MAGIC, channel, length (1..255), then that many bytes; both directions. Bytes outside a frame are noise and
 * skipped (early firmware output). In the host the channels are /dev/link/N, opened by init and vmx.
 */
#ifndef ABI_LINK_H
#define ABI_LINK_H

#define LINK_MAGIC 0x1d
enum link_channel {
	LINK_LOG = 0,     /* host's log, out */
	LINK_CONSOLE = 1, /* host's console: shell, both ways (/dev/console when linked) */
	LINK_EVENT = 2,   /* text lines for the runner, out (below) */
	LINK_EXEC = 3,    /* output of --host-exec commands, out */
	LINK_REPORT = 4,  /* reports for stderr, out */
	LINK_VM0 = 16,    /* + n: COM1 of the n-th VM, both ways; up to 64 VMs */
	LINK_CHANNELS = 96
};
/*
 * Event lines:   ready TSC HOST_KIB RAM_KIB
 *                vm N NAME start
 *                vm N NAME exit STATUS     STATUS of its vmx process: 0 off; odd = debug exit; 2 bad configuration; 4 reset with mica.onReset=exit;
 *                                          126 stopped with a report; 122 the process died otherwise
 *                exec-done
 *                done                      no VM left running, none to start: the runner may stop the machine
 */

#endif
