# SPDX-License-Identifier: Apache-2.0
"""The tiny guests of test/guest, one row each: how it is run, how it must end. Each also runs under both torture modes where that makes sense."""

from harness import check, guest_file, ready_line, run_guest, scenario

# name, options, exit status, patterns in its output, seconds
TABLE = [
    ("hello", [], 0, ["GUEST hello", "GUEST ok"], 3),
    ("exits", [], 0, ["GUEST ok"], 3),
    ("irq", [], 0, ["GUEST ok"], 8),
    ("memory", ["--memory", 300], 0, ["GUEST ok", "GUEST wrote 300 MiB"], 8),
    ("memory-5g", ["--memory", 5120, "--host-memory", 6144], 0, ["GUEST ok", "GUEST wrote 5120 MiB"], 20),
    ("resets", [], 0, ["GUEST start 0", "GUEST start 3", "GUEST resets 4", "GUEST ok"], 5),
    ("smp", ["--cpus", 32, "--append", "n=32", "--memory", 64], 0, ["GUEST smp 32 vCPUs", "GUEST ok"], 30),
    ("smp-3", ["--cpus", 3, "--append", "n=3", "--memory", 64], 0, ["GUEST smp 3 vCPUs", "GUEST ok"], 8),
    ("stopped", [], 126, ["GUEST jumps"], 3),
]
TORTURED = ("exits", "irq", "memory", "resets", "smp-3")


def add(name, options, status, patterns, seconds):
    @scenario(f"tiny.{name}", seconds=seconds)
    def _(log):
        run = run_guest("--kernel", guest_file(name.split("-")[0] + ".elf"), *options, timeout=120)
        run.expect_status(status).expect(*patterns)
        ready_line(run.host)
    if name in TORTURED:
        @scenario(f"torture.tiny.{name}", seconds=seconds * 2)
        def _(log):
            run = run_guest("--kernel", guest_file(name.split("-")[0] + ".elf"), *options, "--set", "mica.torture.exits=50", "--set", "mica.torture.memory=1",
                            timeout=200)
            run.expect_status(status).expect(*patterns)


for row in TABLE:
    add(*row)


@scenario("tiny.stopped.report", seconds=3)
def stopped_report(log):
    """A VM that cannot go on is stopped with its registers, the bytes at RIP and the last exits on standard error."""
    run = run_guest("--kernel", guest_file("stopped.elf")).expect_status(126)
    for word in ("rip", "cr3", "exit"):
        check(word in run.err.lower(), f"the report lacks '{word}':\n{run.err}")


@scenario("tiny.debug-exit", seconds=3)
def debug_exit(log):
    """((value << 1) | 1) & 255 of what the guest wrote to port 0xf4: smp with a wrong count fails its checks and writes 1."""
    run_guest("--kernel", guest_file("smp.elf"), "--append", "n=2", "--memory", 64, timeout=100).expect_status(3).expect("GUEST failed")


@scenario("tiny.random", seconds=60, proven=False)
def random(log):
    """A million random accesses: the host lives, the other VM is undisturbed, the host's memory is back at its level."""
    random_accesses(log, 1000000, 400)


@scenario("tiny.random.long", seconds=600, soak_only=True)
def random_long(log):
    random_accesses(log, 10000000, 3600)


def random_accesses(log, count, timeout):
    import os
    import tempfile
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        for name, kernel, more in (("random", "random.elf", f'mica.boot.append = "n={count} d=7"\n'),
                                   ("neighbour", "l2.vmlinux", f'mica.boot.initrd = "{guest_file("linux.cpio")}"\n'
                                    'mica.boot.append = "console=ttyS0 panic=-1 t=check=8"\nnumvcpus = "2"\n')):
            with open(os.path.join(tmp, name + ".vmx"), "w", encoding="utf-8") as f:
                f.write(f'memsize = "256"\nmica.boot.kernel = "{guest_file(kernel)}"\n{more}')
        run = run_guest("--vmx", f"{tmp}/random.vmx", "--vmx", f"{tmp}/neighbour.vmx", timeout=timeout)
    run.expect_status(0).expect(rf"GUEST random done {count}", "GUEST ok")
    neighbour = run.serial.get("neighbour", "")
    check("GUEST check-ok" in neighbour and "GUEST no-complaints" in neighbour, f"the neighbour was disturbed:\n{neighbour[-2000:]}")
