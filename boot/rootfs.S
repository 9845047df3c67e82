/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded root: a newc cpio archive, between __rootfs_start and __rootfs_end. */
	.section .rootfs, "a"
	.incbin ROOT_CPIO
