# SPDX-License-Identifier: Apache-2.0
"""What scenarios share: running guests through tools/run-guest, the guests' files, and checks that say what they saw."""

import os
import re
import shutil
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DEBUG = os.path.join(TOP, "build", "debug")
RELEASE = os.path.join(TOP, "build")
GUESTS = os.path.join(TOP, "build", "guest")      # tiny guests, Linux initramfs images, made by the Makefile
SCENARIOS = []
SOAK = False


class Failure(Exception):
    """A check did not hold."""


class Scenario:
    def __init__(self, name, fn, seconds, soak_only, proven):
        self.name, self.fn, self.seconds, self.soak_only, self.proven = name, fn, seconds, soak_only, proven


def scenario(name, seconds=10, soak_only=False, proven=True):
    """Marks a function of one argument (a Log) as a test. seconds: about how long it takes, for the order of runs.
    proven=False: the product has not passed it yet; it runs when it is named, or in the soak, and the gate says that it is out."""
    def mark(fn):
        SCENARIOS.append(Scenario(name, fn, seconds, soak_only, proven))
        return fn
    return mark


class Log:
    def __init__(self):
        self.lines = []

    def __call__(self, text):
        self.lines.append(str(text))

    def text(self):
        return "\n".join(self.lines)


class Run:
    """One finished run of the runner: status, out (COM1 of the first VM), err, host (its log), folder for further files."""

    def __init__(self, status, out, err, host, execlog, serial):
        self.status, self.out, self.err, self.host, self.exec, self.serial = status, out, err, host, execlog, serial

    def expect_status(self, status):
        if self.status != status:
            raise Failure(f"exit status {self.status}, want {status}\n{self.tail()}")
        return self

    def expect(self, *patterns):
        """Each a regular expression that the first VM's output must contain."""
        for p in patterns:
            if not re.search(p, self.out, re.M):
                raise Failure(f"the guest's output lacks /{p}/\n{self.tail()}")
        return self

    def forbid(self, *patterns):
        for p in patterns:
            m = re.search(p, self.out, re.M)
            if m:
                raise Failure(f"the guest's output has /{p}/: {m.group(0)!r}\n{self.tail()}")
        return self

    def tail(self):
        cut = lambda t: "\n".join(t.splitlines()[-25:])  # noqa: E731
        return f"--- guest:\n{cut(self.out)}\n--- stderr:\n{cut(self.err)}\n--- host:\n{cut(self.host)}"


def read_text(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("utf-8", "replace").replace("\r", "")
    except OSError:
        return ""


def run_tool(tool, args, build, timeout, stdin):
    tmp = tempfile.mkdtemp(prefix="mica-test-")
    try:
        cmd = [os.path.join(TOP, "tools", tool), "--build", build, "--timeout", str(timeout), "--host-log", f"{tmp}/host.log",
               "--host-exec-log", f"{tmp}/exec.log"]
        if tool == "run-guest":
            cmd += ["--serial-dir", f"{tmp}/serial"]
        done = subprocess.run(cmd + [str(a) for a in args], input=stdin, capture_output=True, timeout=timeout + 90, check=False)
        serial = {f[:-4]: read_text(f"{tmp}/serial/{f}") for f in os.listdir(f"{tmp}/serial")} if os.path.isdir(f"{tmp}/serial") else {}
        text = lambda b: b.decode("utf-8", "replace").replace("\r", "")  # noqa: E731
        return Run(done.returncode, text(done.stdout), text(done.stderr), read_text(f"{tmp}/host.log"), read_text(f"{tmp}/exec.log"), serial)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def run_guest(*args, build=DEBUG, timeout=600, stdin=b""):
    return run_tool("run-guest", args, build, timeout, stdin)


def run_host(*args, build=DEBUG, timeout=120, stdin=b""):
    return run_tool("run-host", args, build, timeout, stdin)


def guest_file(name):
    path = os.path.join(GUESTS, name)
    if not os.path.exists(path):
        raise Failure(f"{path} has not been built")
    return path


def check(condition, text):
    if not condition:
        raise Failure(text)


def ready_line(host_log):
    """The numbers of the 'mica ready' line."""
    m = re.search(r"mica ready: tsc=(\d+) host_kib=(\d+) ram_kib=(\d+)", host_log)
    if not m:
        raise Failure("no 'mica ready' line in the host's log\n" + "\n".join(host_log.splitlines()[-30:]))
    return {k: int(v) for k, v in zip(("tsc", "host_kib", "ram_kib"), m.groups())}
