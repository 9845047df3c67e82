# SPDX-License-Identifier: Apache-2.0
"""The host by itself: its shell, power cycles and kills that leave no byte behind, shares, idleness, bad input."""

import json
import os
import re
import tempfile

from harness import RELEASE, check, guest_file, run_guest, run_host, scenario


def write_vmx(folder, name, text):
    path = os.path.join(folder, name + ".vmx")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


@scenario("host.shell", seconds=5)
def shell(log):
    """busybox's shell runs pipes and loops on the host's console."""
    run = run_host("--host-exec", "for i in 1 2 3; do echo n$i; done | grep -v n2 | wc -l; ls /dev; mica --help; mica vm list --json").expect_status(0)
    check(re.search(r"^\s*2$", run.exec, re.M), f"the shell's output:\n{run.exec}")
    check("vmm" in run.exec, f"no /dev/vmm:\n{run.exec}")


@scenario("host.console", seconds=8)
def console(log):
    run = run_host(stdin=b"\necho sum=$((6*7))\nmica host poweroff\n", timeout=60)
    check("sum=42" in run.out, f"the console:\n{run.out}\n{run.host[-1500:]}")


@scenario("host.crash", seconds=5)
def crash(log):
    """A user world that crashes is logged with registers and kills nothing else."""
    run = run_host("--host-exec", "sh -c 'kill -SEGV $$'; echo status $?", "--host-exec", "echo alive").expect_status(0)
    check("status 139" in run.exec and "alive" in run.exec, run.exec)


CYCLES = """
n=0
while [ $n -lt {cycles} ]; do
  mica vm start cycle >/dev/null || echo start-failed
  while mica vm list | grep -q -w running; do sleep 0.02; done
  n=$((n+1))
  [ $n = 1 ] && sleep 1 && for f in before after before; do mica mem show > /tmp/$f; done
done
sleep 1
mica mem show > /tmp/after
cmp /tmp/before /tmp/after && echo MEM-EQUAL || {{ cat /tmp/before /tmp/after; echo MEM-DIFFERENT; }}
"""


def one_line(script):
    out = []
    for line in script.strip().splitlines():
        line = line.strip()
        out.append(line if line.endswith(("do", "then", "{")) else line + ";")
    return " ".join(out)


@scenario("host.power-cycles", seconds=60)
def power_cycles(log):
    """After 100 power cycles `mica mem show` is equal to the byte."""
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        vmx = write_vmx(tmp, "cycle", f'memsize = "64"\nnumvcpus = "2"\nmica.autostart = "FALSE"\nmica.boot.kernel = "{guest_file("hello.elf")}"\n')
        run = run_guest("--vmx", vmx, "--host-exec", one_line(CYCLES.format(cycles=100)), timeout=300)
    log(run.exec)
    check("MEM-EQUAL" in run.exec and "start-failed" not in run.exec, f"{run.exec}\n{run.tail()}")


KILLS = """
n=0
while [ $n -lt 21 ]; do
  mica vm start victim >/dev/null || echo start-failed
  sleep 0.$((RANDOM % 9))$((RANDOM % 10))
  kill -9 $(cut -b 10- /run/vm/0.state)
  while mica vm list | grep -q -w -e running -e starting; do sleep 0.02; done
  n=$((n+1))
  [ $n = 1 ] && sleep 1 && for f in before after before; do mica mem show > /tmp/$f; done
done
sleep 1
mica mem show > /tmp/after
cmp /tmp/before /tmp/after && echo MEM-EQUAL || {{ cat /tmp/before /tmp/after; echo MEM-DIFFERENT; }}
"""


@scenario("host.kills", seconds=60)
def kills(log):
    """vmx killed at 20 random points of boot, I/O and save (torture on, memory pinned at times): nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        vmx = write_vmx(tmp, "victim", 'memsize = "256"\nnumvcpus = "2"\nmica.autostart = "FALSE"\nmica.torture.exits = "200"\nmica.torture.memory = "1"\n'
                        f'mica.boot.kernel = "{guest_file("l2.vmlinux")}"\nmica.boot.initrd = "{guest_file("linux.cpio")}"\n'
                        'mica.boot.append = "console=ttyS0 panic=-1 t=check=1000"\n')
        run = run_guest("--vmx", vmx, "--host-exec", one_line(KILLS.format()), timeout=300)
    log(run.exec)
    check("MEM-EQUAL" in run.exec and "start-failed" not in run.exec, f"{run.exec}\n{run.tail()}")


@scenario("host.bad-input", seconds=12)
def bad_input(log):
    """A malformed .vmx, kernel or initrd gives one clear error with file and place, status 2, and the host goes on."""
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        noise = os.path.join(tmp, "noise.bin")
        with open(noise, "wb") as f:
            f.write(bytes((i * 37 + 11) & 255 for i in range(5000)))
        broken = write_vmx(tmp, "broken", 'memsize = "64"\nthis line is no assignment\n')
        run_guest("--kernel", noise, timeout=60).expect_status(2)
        run = run_guest("--vmx", broken, timeout=60).expect_status(2)
        check(re.search(r"broken\S*\.vmx.*\b2\b", run.err), f"the error names no file and line:\n{run.err}")
        with open(guest_file("l2.vmlinux"), "rb") as f:
            head = f.read(100000)
        cut = os.path.join(tmp, "cut.elf")
        with open(cut, "wb") as f:
            f.write(head)
        run = run_guest("--kernel", cut, timeout=60).expect_status(2)
        check("cut.elf" in run.err, f"the error names no file:\n{run.err}")


@scenario("host.shares", seconds=60)
def shares(log):
    """Two busy VMs with shares 1:2 on one CPU get 1:2 within 5 %."""
    with tempfile.TemporaryDirectory(prefix="mica-vmx-") as tmp:
        args = []
        for name, share in (("low", 1000), ("high", 2000)):
            args += ["--vmx", write_vmx(tmp, name, f'memsize = "256"\nsched.cpu.shares = "{share}"\nmica.boot.kernel = "{guest_file("l2.vmlinux")}"\n'
                                        f'mica.boot.initrd = "{guest_file("linux.cpio")}"\nmica.boot.append = "console=ttyS0 panic=-1 quiet t=spin=60"\n')]
        run = run_guest(*args, "--icount", "--host-exec", "sleep 20; mica vm list --json; sleep 20; mica vm list --json", build=RELEASE, timeout=280)
    samples = [json.loads(line) for line in re.findall(r"^\[.*\]$", run.exec, re.M)]
    check(len(samples) == 2, f"want two listings\n{run.exec}\n{run.tail()}")
    used = {}
    for name in ("low", "high"):
        a, b = (next(vm for vm in s if vm["name"] == name)["cpu_ns"] for s in samples)
        used[name] = b - a
    ratio = used["high"] / used["low"]
    log(f"high got {ratio:.4f} times low")
    check(1.9 <= ratio <= 2.1, f"shares 1:2 gave 1:{ratio:.3f}")


@scenario("host.idle", seconds=20)
def idle(log):
    """An empty host wakes up at most 20 times in 10 virtual seconds."""
    run = run_host("--icount", "--host-exec", "mica counters | grep sched.wakes; sleep 10; mica counters | grep sched.wakes", build=RELEASE)
    values = [int(v) for v in re.findall(r"sched\.wakes\s+(\d+)", run.exec)]
    check(len(values) >= 2, f"no counter:\n{run.exec}\n{run.host[-1500:]}")
    log(f"{values[-1] - values[0]} wake-ups in 10 s")
    check(values[-1] - values[0] <= 20, f"{values[-1] - values[0]} wake-ups in 10 virtual seconds")
