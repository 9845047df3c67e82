# SPDX-License-Identifier: Apache-2.0
"""Torture (make torture): a stock kernel with 2 vCPUs checks its memory and its clock while the VM is saved, destroyed and loaded again
at every 1,000th exit, and while a helper world keeps moving its memory."""

import re

from harness import check, guest_file, run_guest, scenario


def check_chatter(run):
    """Every line that the guest's chatter thread wrote came out, whole and in order."""
    lines = re.findall(r"^chatter (\d+) (\w*)$", run.out, re.M)
    check(len(lines) > 20, f"{len(lines)} lines of chatter\n{run.tail()}")
    for want, (number, text) in enumerate(lines):
        check(int(number) == want and text == "abcdefghijklmnopqrstuvwxyz" * 2, f"line {want} of the chatter came out as {number} {text}")


def torture(log, label, rounds, settings, want_rounds=0, want_moves=0, timeout=900):
    args = [a for s in settings for a in ("--set", s)]
    run = run_guest("--kernel", guest_file("l2.vmlinux"), "--initrd", guest_file("linux.cpio"), "--append", f"console=ttyS0 quiet panic=-1 t=check={rounds}",
                    "--cpus", 2, "--memory", 256, *args, timeout=timeout)
    run.expect_status(0).expect("GUEST check-ok", r"memcheck: 2 threads, \d+ rounds, right")
    run.forbid("WRONG", "soft lockup")
    check_chatter(run)
    m = re.search(r"torture: (\d+) rounds, (\d+) moves", run.host)
    check(m, f"no account of the torture in the host's log\n{run.tail()}")
    log(f"{label}: {m[0]}")
    check(int(m[1]) >= want_rounds, f"{m[1]} rounds, want {want_rounds}\n{run.tail()}")
    check(int(m[2]) >= want_moves, f"{m[2]} moves, want {want_moves}\n{run.tail()}")


@scenario("torture.save-load", seconds=120, proven=False)
def save_load(log):
    torture(log, "save, destroy, load", 50, ["mica.torture.exits=1000"], want_rounds=200)


@scenario("torture.memory", seconds=90, proven=False)
def memory(log):
    torture(log, "moving memory", 10, ["mica.torture.memory=1"], want_moves=10000)


@scenario("torture.both", seconds=120, proven=False)
def both(log):
    torture(log, "both", 50, ["mica.torture.exits=1000", "mica.torture.memory=1"], want_rounds=200, want_moves=1000)


@scenario("torture.long", seconds=1800, soak_only=True)
def long_run(log):
    torture(log, "both, long", 1000, ["mica.torture.exits=1000", "mica.torture.memory=1"], want_rounds=5000, want_moves=100000, timeout=7200)
