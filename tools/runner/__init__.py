# SPDX-License-Identifier: Apache-2.0
"""Boots mica in an emulator, with or without VMs: what tools/run-guest and tools/run-host share.

vmfiles.py  VMs described by options or .vmx files -> the archive that the boot hands to mica
machine.py  the emulated machine: QEMU's command line, boot media
link.py     the byte streams over the serial port (include/abi/link.h)
session.py  one run: the machine, the streams, the time limit, the exit status
"""


class RunnerError(Exception):
    """Something that the user can put right; the text says what."""


EXIT_OFF, EXIT_USAGE, EXIT_RESET, EXIT_HOST, EXIT_TIMEOUT, EXIT_STOPPED = 0, 2, 4, 122, 124, 126
