# SPDX-License-Identifier: Apache-2.0
"""The machine under mica: QEMU's command line and the media it boots from."""

import os
import shutil
import subprocess

from . import RunnerError

OVMF_CODE = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd")
VOLUME_LABEL = "MICAVMS"
ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm", "-seed", "1"]


def need(path, what):
    if not os.path.exists(path):
        raise RunnerError(f"{path}: {what}")
    return path


def built(build, name):
    return need(os.path.join(build, name), "not built yet (type 'make')")


def vm_disk(path, archive_path, cmdline):
    """A FAT disk for the boot loader: the archive as one module, and the words for mica's command line."""
    size = os.path.getsize(archive_path)
    mib = max(4, size // (1 << 20) + 4)
    cfg = path + ".cfg"
    with open(cfg, "w", encoding="utf-8") as f:
        f.write(f'set mica_args="{cmdline}"\nset mica_modules="vms.cpio"\n')
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1")
    for cmd in (["truncate", "-s", f"{mib}M", path],
                ["mformat", "-i", path, "-v", VOLUME_LABEL, "-h", "16", "-s", "63", "-T", str(mib * 2048), "::"],
                ["mcopy", "-i", path, archive_path, "::vms.cpio"],
                ["mcopy", "-i", path, cfg, "::mica.cfg"]):
        done = subprocess.run(cmd, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunnerError(f"cannot make the disk of VM files: {' '.join(cmd[:1])}: {done.stderr.strip()}")
    return path


def qemu_command(opt, tmp, archive_path, link_fd, cmdline):
    """The whole command line for one run. opt: the parsed options; tmp: the run's own folder."""
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        raise RunnerError("qemu-system-x86_64: not installed (type 'make')")
    accel = os.environ.get("ACCEL", "tcg")
    cmd = [qemu, "-accel", accel]
    if opt.icount:
        cmd += ["-cpu", "max,-smap"] + ICOUNT + ["-smp", "1"]
    else:
        cmd += ["-cpu", "host" if accel == "kvm" else "max", "-smp", str(opt.host_cpus)]
    cmd += ["-m", str(opt.host_memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-chardev", f"socket,id=link,fd={link_fd}", "-serial", "chardev:link"]
    if opt.boot == "pvh":
        cmd += ["-kernel", built(opt.build, "mica.elf"), "-append", cmdline]
        if archive_path:
            cmd += ["-initrd", archive_path]
        return cmd + opt.qemu_arg
    image = built(opt.build, "mica.img")
    disks = [f"file={image},format=raw,if=none,id=boot,snapshot=on"]
    disks.append(f"file={vm_disk(os.path.join(tmp, 'vms.img'), archive_path, cmdline)},format=raw,if=none,id=vms,snapshot=on")
    if opt.boot == "efi":
        code = next((p for p in OVMF_CODE if os.path.exists(p)), None)
        if not code:
            raise RunnerError("OVMF firmware: not installed (package ovmf)")
        variables = os.path.join(tmp, "vars.fd")
        shutil.copyfile(code.replace("CODE", "VARS"), variables)
        cmd += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
                "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    cmd += ["-vga", "std", "-device", "ahci,id=ahci"]
    for i, (disk, ident) in enumerate(zip(disks, ("boot", "vms"))):
        cmd += ["-drive", disk, "-device", f"ide-hd,drive={ident},bus=ahci.{i},bootindex={i}"]
    return cmd + opt.qemu_arg
