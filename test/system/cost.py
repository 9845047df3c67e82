# SPDX-License-Identifier: Apache-2.0
"""What mica costs, in instructions and bytes: the limits that the README promises."""

import os
import re
import sys

from harness import RELEASE, TOP, check, guest_file, ready_line, run_guest, run_host, scenario

sys.path.insert(0, os.path.join(TOP, "test", "bench"))
import figures  # noqa: E402


@scenario("figures.icount", seconds=90)
def icount(log):
    """Every limit of the bench's table but those of figures.OPEN, which are held where they are; two runs give the same counts to the last digit."""
    bare = figures.run_bare()
    run, host, _ = figures.run_mica(RELEASE)
    again, _, _ = figures.run_mica(RELEASE)
    nox, _, _ = figures.run_mica(RELEASE, "bench=1 nox2apic")
    _, boot_host, _ = figures.run_mica(RELEASE, "bench=0")
    rows = figures.verdicts(figures.derive(run, nox, host, bare, boot_host))
    for row in rows:
        log(f"{row[0]}: {row[1]} (limit {row[2]}) {'' if row[3] else 'NOT MET'}")
    different = [k for k in run if run[k] != again.get(k)]
    check(not different, f"two runs differ in {different}")
    lost = [r[0] for r in rows if not figures.held(r[0], r[1], r[3])]
    check(not lost, "limits not met: " + ", ".join(lost))


@scenario("figures.host-memory", seconds=20)
def host_memory(log):
    """RAM that the host takes: at most 16 MiB of 4 GiB with one VM defined and powered off, and 64 GiB cost less than 4 MiB more; itemized to the byte."""
    sizes = {}
    for gib, more in ((4, []), (64, ["--qemu-arg=-machine", "--qemu-arg=pc,memory-backend=m", "--qemu-arg=-object",
                                     "--qemu-arg=memory-backend-ram,id=m,size=64G,reserve=off"])):
        run = run_host("--host-memory", gib * 1024, "--host-exec", "mica mem show", "--host-exec", "mica mem show --json", *more, build=RELEASE)
        run.expect_status(0)
        sizes[gib] = ready_line(run.host)
        log(f"{gib} GiB: host takes {sizes[gib]['host_kib']} KiB of {sizes[gib]['ram_kib']} KiB\n{run.exec}")
    check(sizes[4]["host_kib"] <= 16 * 1024, f"the host takes {sizes[4]['host_kib']} KiB of 4 GiB")
    check(sizes[64]["host_kib"] - sizes[4]["host_kib"] < 4 * 1024, f"64 GiB cost {sizes[64]['host_kib'] - sizes[4]['host_kib']} KiB more")


@scenario("figures.largest-vm", seconds=40)
def largest_vm(log):
    """A VM of all that the host can still give, less 8 MiB, powers on and writes every page."""
    probe = run_host("--host-exec", "true", build=RELEASE).expect_status(0)
    facts = ready_line(probe.host)
    mib = (facts["ram_kib"] - facts["host_kib"]) // 1024 - 8
    mib -= mib % 4
    run = run_guest("--kernel", guest_file("memory.elf"), "--memory", mib, build=RELEASE, timeout=280)
    run.expect_status(0).expect(r"GUEST ok")
    m = re.search(r"GUEST wrote (\d+) MiB", run.out)
    check(m and int(m[1]) >= mib - 4, f"the guest wrote {m and m[1]} MiB of {mib}")


@scenario("figures.image", seconds=1)
def image(log):
    size = os.path.getsize(os.path.join(RELEASE, "mica.img"))
    log(f"{size} bytes")
    check(size <= 4 << 20, f"the disk image has {size} bytes, over 4 MiB")
