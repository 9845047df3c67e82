# SPDX-License-Identifier: Apache-2.0
"""The stock Debian kernel in VMs of 1, 2, 4 and 8 vCPUs, as bzImage and by its PVH note; power-off, reboot, several at once, both firmwares."""

import re

from harness import Failure, check, guest_file, ready_line, run_guest, scenario

COMPLAINTS = (r"BUG", r"WARNING", r"soft lockup", r"Call Trace", r"Marking TSC unstable", r"timekeeping watchdog", r"firmware bug", r"Firmware Bug")


def boot(kernel, cpus, *more, action="info", **kw):
    return run_guest("--kernel", guest_file(kernel), "--initrd", guest_file("linux.cpio"), "--append", f"console=ttyS0 panic=-1 t={action}",
                     "--cpus", cpus, "--memory", 512, *more, **kw)


def check_boot(run, cpus):
    run.expect_status(0).expect(rf"GUEST up \S+ cpus {cpus}$", r"GUEST hypervisor-flag 1", r"Hypervisor detected: VMware", r"GUEST no-complaints", r"GUEST off")
    run.forbid(*COMPLAINTS)
    packages = re.findall(r"GUEST topology cpu\d+ package (\d+) core (\d+) siblings (\S+)", run.out)
    check(len(packages) == cpus, f"topology of {len(packages)} CPUs, want {cpus}\n{run.tail()}")
    check(len(set(packages)) == cpus and all("," not in p[2] and "-" not in p[2] for p in packages), f"topology {packages}: want one core, one thread each")


def add_boot(kernel, label, cpus):
    @scenario(f"linux.boot.{label}.{cpus}", seconds=20 + 4 * cpus)
    def _(log):
        check_boot(boot(kernel, cpus), cpus)


for _cpus in (1, 2, 4, 8):
    add_boot("vmlinuz", "bzimage", _cpus)
    add_boot("l2.vmlinux", "pvh", _cpus)


@scenario("linux.sockets", seconds=25)
def sockets(log):
    """cpuid.coresPerSocket shapes the topology that Linux sees."""
    run = boot("l2.vmlinux", 4, "--set", "cpuid.coresPerSocket=2").expect_status(0)
    found = re.findall(r"GUEST topology cpu\d+ package (\d+) core (\d+)", run.out)
    check(len({p for p, _ in found}) == 2 and len(set(found)) == 4, f"topology {found}: want two packages of two cores")


@scenario("linux.nox2apic", seconds=20)
def nox2apic(log):
    run = run_guest("--kernel", guest_file("l2.vmlinux"), "--initrd", guest_file("linux.cpio"), "--append", "console=ttyS0 panic=-1 nox2apic t=info",
                    "--cpus", 2)
    check_boot(run, 2)


@scenario("linux.reboot.exit", seconds=15)
def reboot_exit(log):
    boot("l2.vmlinux", 1, "--on-reset", "exit", action="reboot").expect_status(4).expect("GUEST reboots")


@scenario("linux.reboot.restart", seconds=25, proven=False)
def reboot_restart(log):
    """A reboot starts the guest again: seen by its second start-up, after which the time limit ends the run."""
    run = boot("l2.vmlinux", 2, action="reboot", timeout=90)
    check(run.status == 124 and run.out.count("GUEST up") >= 2, f"{run.out.count('GUEST up')} starts\n{run.tail()}")


@scenario("linux.firmware.bios", seconds=30)
def firmware_bios(log):
    check_boot(boot("vmlinuz", 2, "--boot", "bios"), 2)


@scenario("linux.firmware.efi", seconds=60, proven=False)
def firmware_efi(log):
    check_boot(boot("vmlinuz", 2, "--boot", "efi"), 2)


@scenario("linux.console", seconds=15, proven=False)
def console(log):
    """Standard input is the guest's COM1, byte for byte both ways."""
    run = boot("l2.vmlinux", 1, action="shell", stdin=b"\n" * 20 + b"echo sum=$((6*7))\npoweroff -f\n", timeout=120)
    run.expect_status(0).expect(r"sum=42")


@scenario("linux.two-and-a-crash", seconds=45)
def two_and_a_crash(log):
    """Two Linux VMs at once, a third VM crashing beside them: they do not notice."""
    import os
    import tempfile
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        for name in ("first", "second"):
            with open(f"{tmp}/{name}.vmx", "w", encoding="utf-8") as f:
                f.write(f'memsize = "384"\nnumvcpus = "2"\nmica.boot.kernel = "{guest_file("l2.vmlinux")}"\n'
                        f'mica.boot.initrd = "{guest_file("linux.cpio")}"\nmica.boot.append = "console=ttyS0 panic=-1 t=info"\n')
        with open(f"{tmp}/third.vmx", "w", encoding="utf-8") as f:
            f.write(f'memsize = "64"\nmica.boot.kernel = "{guest_file("stopped.elf")}"\n')
        run = run_guest("--vmx", f"{tmp}/first.vmx", "--vmx", f"{tmp}/second.vmx", "--vmx", f"{tmp}/third.vmx", timeout=200)
        check(os.path.exists(f"{tmp}/first.vmx"), "the .vmx file is gone")
    run.expect_status(126).expect(r"GUEST up \S+ cpus 2", "GUEST no-complaints", "GUEST off")
    second = run.serial.get("second", "")
    if not re.search(r"GUEST no-complaints", second):
        raise Failure(f"the second VM did not finish:\n{second[-2000:]}")
    check(re.search(r"rip|RIP", run.err), f"no report of the third VM on standard error:\n{run.err}")
    ready_line(run.host)
