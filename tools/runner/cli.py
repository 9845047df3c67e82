# SPDX-License-Identifier: Apache-2.0
"""The command lines of run-guest and run-host."""

import argparse
import os

from . import EXIT_USAGE, RunnerError, vmfiles
from .session import run_session

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
OWN_KEYS = ("mica.debugExit", "mica.onReset")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def setting(text):
    key, eq, value = text.partition("=")
    if not eq or not key.strip():
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key.strip(), value.strip()


def common_parser(prog, description):
    p = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    p.add_argument("--build", metavar="DIR", default=os.path.join(TOP, "build"), help="where mica was built (default: build)")
    p.add_argument("--host-memory", metavar="MIB", type=positive, default=4096, help="memory of the machine (4096)")
    p.add_argument("--host-cpus", metavar="N", type=positive, default=2, help="its CPUs (2)")
    p.add_argument("--timeout", metavar="S", type=positive, default=300, help="seconds until the run is given up (300)")
    p.add_argument("--emulator", choices=("qemu", "bochs"), default="qemu", help="qemu (bochs comes with the Intel backend)")
    p.add_argument("--boot", choices=("pvh", "bios", "efi"), default="pvh", help="pvh: mica.elf; bios, efi: mica.img")
    p.add_argument("--icount", action="store_true", help="count instructions: one CPU, repeatable to the bit")
    p.add_argument("--stamp", action="store_true", help="prefix each line of output with the host's clocks")
    p.add_argument("--host-log", metavar="FILE", help="the host's own log")
    p.add_argument("--host-exec", metavar="CMD", action="append", help="run in the host's shell once VMs run (repeatable)")
    p.add_argument("--host-exec-log", metavar="FILE", help="what those commands print")
    p.add_argument("--host-console", metavar="SOCKET", help="the host's shell on a UNIX socket")
    p.add_argument("--host-append", metavar="WORD", action="append", help="a word for mica's own command line (repeatable)")
    p.add_argument("--qemu-arg", metavar="ARG", action="append", default=[], help="one word for QEMU's command line (repeatable)")
    return p


def guest_parser():
    p = common_parser("run-guest", "Boots mica in an emulator and virtual machines in it. The first VM's COM1 is standard input and "
                      "output; on a terminal, Ctrl-] leaves. Exit status: 0 every guest powered off; 2 usage; 4 reset with --on-reset "
                      "exit; 122 the host or this runner failed; 124 time-out; 126 a VM was stopped (report on stderr); else what a "
                      "guest wrote to port 0xf4 as ((value << 1) | 1) & 255.")
    p.add_argument("--kernel", metavar="FILE", help="bzImage, ELF with a PVH note, or Multiboot image")
    p.add_argument("--initrd", metavar="'FILE args,FILE2'", help="initrd or Multiboot modules")
    p.add_argument("--append", metavar="STR", help="the kernel's command line")
    p.add_argument("--memory", metavar="MIB", type=positive, help="the VM's memory (512)")
    p.add_argument("--cpus", metavar="N", type=positive, help="its vCPUs (1)")
    p.add_argument("--set", metavar="KEY=VALUE", type=setting, action="append", default=[], help="a line for its .vmx (repeatable)")
    p.add_argument("--vmx", metavar="FILE", action="append", default=[], help="a VM described by a file (repeatable)")
    p.add_argument("--serial-dir", metavar="DIR", help="COM1 of further VMs goes to DIR/NAME.log")
    p.add_argument("--on-reset", choices=("restart", "exit"), default="restart", help="when a guest resets (restart)")
    return p


def host_exec_file(opt, archive):
    if opt.host_exec:
        if any("\n" in c for c in opt.host_exec):
            raise RunnerError("--host-exec: a command is one line")
        archive.files[".exec"] = ("\n".join(opt.host_exec) + "\n").encode()


def one_vm(opt, archive):
    """The VM that --kernel and its companions describe."""
    values = {"displayname": "guest", "memsize": str(opt.memory or 512), "numvcpus": str(opt.cpus or 1), "mica.boot.kernel": opt.kernel}
    if opt.initrd:
        values["mica.boot.initrd"] = opt.initrd
    lines = ['displayName = "guest"', f'memsize = "{opt.memory or 512}"', f'numvcpus = "{opt.cpus or 1}"', 'serial0.present = "TRUE"']
    if opt.append is not None:
        lines.append(f"mica.boot.append = {vmfiles.quoted(opt.append)}")
    return values, "\n".join(lines)


def collect_vms(opt, parser):
    """Archive and names of all VMs, in order."""
    archive, names = vmfiles.Archive(), []
    own = [("mica.debugExit", "TRUE"), ("mica.onReset", opt.on_reset)] + opt.set
    if opt.vmx and (opt.kernel or opt.initrd or opt.append is not None or opt.memory or opt.cpus):
        parser.error("--vmx describes the VM; --kernel, --initrd, --append, --memory, --cpus do not go with it")
    if not opt.vmx and not opt.kernel:
        parser.error("which VM? give --kernel FILE or --vmx FILE")
    if opt.kernel:
        values, text = one_vm(opt, archive)
        overridden = dict(opt.set).get("displayName", "guest")
        vmfiles.add_vm(archive, 0, values, text, os.getcwd(), "guest", own)
        names.append(overridden)
    for i, path in enumerate(opt.vmx):
        values, text = vmfiles.parse_vmx(path)
        base = os.path.splitext(os.path.basename(path))[0]
        extra = own if i == 0 else own[:2]
        names.append(vmfiles.add_vm(archive, i, values, text, os.path.dirname(os.path.abspath(path)), base, extra))
    return archive, names


def check(opt, parser):
    if opt.emulator == "bochs":
        parser.error("--emulator bochs comes with the Intel backend; use qemu")
    if opt.icount and opt.boot != "pvh":
        parser.error("--icount counts by the PVH boot only")


def guest_main(argv):
    parser = guest_parser()
    opt = parser.parse_args(argv)
    opt.exec_only = False
    check(opt, parser)
    try:
        archive, names = collect_vms(opt, parser)
        host_exec_file(opt, archive)
    except RunnerError as e:
        parser.exit(EXIT_USAGE, f"run-guest: {e}\n")
    return run_session(opt, archive, names)


def host_main(argv):
    parser = common_parser("run-host", "Boots mica in an emulator without a virtual machine; the host's console is standard input and output "
                           "(on a terminal, Ctrl-] leaves). With --host-exec the run ends when the commands are done.")
    parser.add_argument("--file", metavar="FILE", action="append", default=[], help="a file to find in the host's /vms (repeatable)")
    opt = parser.parse_args(argv)
    opt.serial_dir = None
    opt.exec_only = bool(opt.host_exec)
    check(opt, parser)
    archive = vmfiles.Archive()
    try:
        host_exec_file(opt, archive)
        for path in opt.file:
            archive.add_file(path)
    except RunnerError as e:
        parser.exit(EXIT_USAGE, f"run-host: {e}\n")
    return run_session(opt, archive, [], console=True)
