# SPDX-License-Identifier: Apache-2.0
"""VMs on their way into the host: .vmx texts, the files they name, and the newc archive that holds both."""

import os

from . import RunnerError

BOOT_KEYS = ("mica.boot.kernel", "mica.boot.initrd")


def parse_vmx(path):
    """key (lower case) -> value of a .vmx file, and its text. Lines that are no assignment are left to vmx to judge."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            text = f.read()
    except OSError as e:
        raise RunnerError(f"{path}: cannot read the VM's description: {e.strerror}") from e
    values = {}
    for line in text.splitlines():
        key, eq, value = line.partition("=")
        if eq and not line.lstrip().startswith("#"):
            values[key.strip().lower()] = value.strip().strip('"')
    return values, text


def quoted(value):
    """A value as .vmx files spell it: quotes, bars and line ends as |XX."""
    out = "".join(f"|{ord(c):02X}" if c in '"|\n\r#' and ord(c) < 256 else c for c in value)
    return f'"{out}"'


class Archive:
    """Files for /vms: a flat folder, names kept unless two files would share one."""

    def __init__(self):
        self.files = {}    # name in the archive -> path, or bytes
        self.names = {}    # real path -> name

    def add_file(self, path):
        real = os.path.realpath(path)
        if real in self.names:
            return self.names[real]
        if not os.path.isfile(real):
            raise RunnerError(f"{path}: no such file")
        base = os.path.basename(path).replace(",", "_").replace(" ", "_")
        name = self.unique(base)
        self.files[name], self.names[real] = real, name
        return name

    def add_text(self, name, text):
        name = self.unique(name)
        self.files[name] = text.encode("utf-8", "surrogateescape")
        return name

    def unique(self, name):
        candidate, n = name, 1
        while candidate in self.files:
            candidate = f"{n}-{name}"
            n += 1
        return candidate

    def bring_boot_value(self, value, folder, is_initrd):
        """Adds the files that a boot key names; returns the value with their names in the archive."""
        pieces = value.split(",") if is_initrd else [value]
        out = []
        for piece in pieces:
            path, args = split_args(piece.strip(), folder) if is_initrd else (piece, "")
            if not path:
                raise RunnerError(f"'{value}': an empty file name")
            out.append(self.add_file(os.path.join(folder, path)) + args)
        return ",".join(out)

    def write(self, f):
        """The newc archive, reproducible: fixed owner and time."""
        inode = 0
        for name in sorted(self.files):
            content = self.files[name]
            if isinstance(content, str):
                with open(content, "rb") as src:
                    content = src.read()
            inode += 1
            f.write(newc_header(inode, 0o100644, len(content), name))
            f.write(content + b"\0" * (-len(content) % 4))
        f.write(newc_header(0, 0, 0, "TRAILER!!!"))


def split_args(piece, folder):
    """'FILE args' -> (FILE, ' args'). A file's name may have blanks: the longest that exists wins."""
    end = len(piece)
    while end > 0:
        if os.path.isfile(os.path.join(folder, piece[:end])):
            return piece[:end], piece[end:]
        end = piece.rfind(" ", 0, end)
    path, blank, args = piece.partition(" ")
    return path, blank + args


def newc_header(inode, mode, size, name):
    raw = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % v for v in fields) + raw
    return head + b"\0" * (-len(head) % 4)


def add_vm(archive, order, values, text, folder, default_name, extra):
    """One VM into the archive as NN-name.vmx: its text, boot files renamed, runner's own lines last (the last one wins)."""
    lines = [l for l in text.splitlines() if l.partition("=")[0].strip().lower() not in BOOT_KEYS]
    for key in BOOT_KEYS:
        if values.get(key):
            value = archive.bring_boot_value(values[key], folder, key.endswith("initrd"))
            lines.append(f"{key} = {quoted(value)}")
    name = values.get("displayname") or default_name
    if not values.get("displayname"):
        lines.append(f"displayName = {quoted(name)}")
    lines += [f"{k} = {quoted(v)}" for k, v in extra]
    archive.add_text(f"{order:02d}-{default_name}.vmx", "\n".join(lines) + "\n")
    return name
