# SPDX-License-Identifier: Apache-2.0
"""The kernel by itself, without the runner: its self-test on several CPUs, what a panic prints, what it refuses to run on."""

import os
import re
import subprocess
import tempfile
import time

from harness import DEBUG, check, read_text, scenario

ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm", "-seed", "1"]


def boot(append, until, cpus=2, memory=512, seconds=90):
    """Boots the debug kernel and gives its serial output once that matches `until`, or all there is when QEMU or the time has ended."""
    with tempfile.TemporaryDirectory(prefix="mica-test-") as tmp:
        serial = os.path.join(tmp, "serial")
        cmd = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", str(cpus), "-m", str(memory), *ICOUNT, "-display", "none", "-monitor", "none",
               "-no-reboot", "-serial", f"file:{serial}", "-kernel", os.path.join(DEBUG, "mica.elf"), "-append", append]
        qemu = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end and qemu.poll() is None and not re.search(until, read_text(serial)):
                time.sleep(0.1)
            return read_text(serial)
        finally:
            qemu.kill()
            qemu.wait()


@scenario("kernel.selftest", seconds=15)
def selftest(log):
    """Sleep, wake-ups, mutex, worlds that come and go, calls between CPUs, shares 1 to 2: on one CPU and on four."""
    for cpus in (1, 4):
        out = boot("mica.selftest", r"selftest: all ok|mica has stopped", cpus)
        check("selftest: all ok" in out, f"{cpus} CPUs:\n{out[-3000:]}")


@scenario("kernel.panic", seconds=5)
def panic(log):
    """Text, registers and names of functions, from a CPU while another one runs."""
    out = boot("mica.selftest=panic", "mica has stopped")
    check(re.search(r"PANIC on CPU \d: selftest: a panic on purpose\n", out) and re.search(r" selftest\+0x", out) and "rbx" in out, out[-3000:])
    out = boot("mica.selftest=fault", "mica has stopped")
    check("0x1000" in out and re.search(r"rip [0-9a-f]{16} memset\+0x", out) and re.search(r"\brax [0-9a-f]{16}", out), out[-3000:])


@scenario("kernel.little-ram", seconds=3)
def little_ram(log):
    out = boot("", "mica cannot start", memory=24)
    check(re.search(r"mica cannot start: it needs at least 32 MiB of RAM, this machine has 23\n", out), out)
