# SPDX-License-Identifier: Apache-2.0
"""Checks of the tree itself."""

import os
import subprocess

from harness import DEBUG, TOP, Failure, check, scenario


@scenario("tree.rules", seconds=3)
def rules(log):
    done = subprocess.run([os.path.join(TOP, "tools", "check-tree"), DEBUG], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(done.stdout + done.stderr)


@scenario("tree.makefile", seconds=1)
def makefile(log):
    with open(os.path.join(TOP, "Makefile"), encoding="utf-8") as f:
        lines = f.read().count("\n")
    check(lines <= 250, f"the Makefile has {lines} lines, over 250")


@scenario("tree.image-reproducible", seconds=10)
def reproducible(log):
    """Two images from one mica.elf are equal to the bit."""
    import filecmp
    import tempfile
    import time
    with tempfile.TemporaryDirectory() as tmp:
        for name in ("a", "b"):
            subprocess.run([os.path.join(TOP, "tools", "mkimage"), os.path.join(DEBUG, "mica.elf"), f"{tmp}/{name}"], check=True)
            time.sleep(2.1)
        check(filecmp.cmp(f"{tmp}/a", f"{tmp}/b", shallow=False), "two images from the same mica.elf differ")
