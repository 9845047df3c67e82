# SPDX-License-Identifier: Apache-2.0
"""One run: starts the emulator, carries the streams, watches the clock, and says how it ended."""

import ctypes
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

from . import (EXIT_HOST, EXIT_OFF, EXIT_STOPPED, EXIT_TIMEOUT, RunnerError, link, machine)

ESCAPE = 0x1D  # Ctrl-] leaves, as telnet has it


def die_with_parent():
    """In the child before exec: the emulator never outlives the runner, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Stopped(Exception):
    """A signal asks us to end."""


class Session:
    def __init__(self, opt, archive, vm_names, console=False):
        self.opt, self.archive, self.vm_names, self.console = opt, archive, vm_names, console
        self.parser = link.Parser()
        self.outputs = {}       # channel -> file object, unbuffered binary
        self.status = {}        # VM number -> exit status
        self.events = bytearray()
        self.noise = bytearray()
        self.pending = bytearray()  # towards the machine
        self.done = self.ready = self.exec_done = self.left = False
        self.started = self.panicked = False
        self.listener = self.peer = self.qemu = self.wire = None
        self.terminal = None
        self.selector = selectors.DefaultSelector()

    # ---- set-up ----
    def run(self):
        def on_signal(number, _frame):
            raise Stopped(number)
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, on_signal)
        tmp = tempfile.mkdtemp(prefix="mica-run-")
        try:
            self.open_outputs()
            self.start(tmp)
            return self.loop(time.monotonic() + self.opt.timeout)
        finally:
            for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(s, signal.SIG_IGN)
            self.close()
            shutil.rmtree(tmp, ignore_errors=True)

    def open_outputs(self):
        o = self.opt
        if o.host_log:
            self.outputs[link.LOG] = open(o.host_log, "wb", buffering=0)
        if o.host_exec_log:
            self.outputs[link.EXEC] = open(o.host_exec_log, "wb", buffering=0)
        self.outputs[link.REPORT] = sys.stderr.buffer
        self.outputs[link.CONSOLE if self.console else link.VM0] = sys.stdout.buffer
        if o.serial_dir:
            os.makedirs(o.serial_dir, exist_ok=True)
            for i, name in enumerate(self.vm_names[1:], 1):
                path = os.path.join(o.serial_dir, name.replace("/", "_") + ".log")
                self.outputs[link.VM0 + i] = open(path, "wb", buffering=0)
        if o.host_console:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(o.host_console)
            self.listener.listen(1)

    def start(self, tmp):
        archive_path = None
        if self.archive.files or self.opt.boot != "pvh":
            archive_path = os.path.join(tmp, "vms.cpio")
            with open(archive_path, "wb") as f:
                self.archive.write(f)
        words = ["mica.link"] + (["mica.stamp"] if self.opt.stamp else []) + (self.opt.host_append or [])
        self.wire, theirs = socket.socketpair()
        for s in (self.wire, theirs):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        os.set_inheritable(theirs.fileno(), True)
        cmd = machine.qemu_command(self.opt, tmp, archive_path, theirs.fileno(), " ".join(words))
        self.qemu_errors = open(os.path.join(tmp, "qemu.err"), "w+b")
        self.qemu = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=self.qemu_errors, stderr=self.qemu_errors,
                                     close_fds=False, preexec_fn=die_with_parent, start_new_session=True)
        theirs.close()
        self.wire.setblocking(False)
        self.selector.register(self.wire, selectors.EVENT_READ, "wire")
        if self.listener:
            self.selector.register(self.listener, selectors.EVENT_READ, "listener")

    def open_stdin(self):
        """From now on standard input goes to the machine: once whoever reads it there is up."""
        try:
            fd = sys.stdin.fileno()
            if os.isatty(fd):
                self.terminal = (fd, termios.tcgetattr(fd))
                tty.setraw(fd)
            self.selector.register(fd, selectors.EVENT_READ, "stdin")
        except PermissionError:  # a plain file: always readable, so it cannot be waited for
            with os.fdopen(os.dup(fd), "rb") as f:
                self.pending += link.frames(link.CONSOLE if self.console else link.VM0, f.read(1 << 20))
        except (ValueError, OSError):
            pass  # no standard input

    def close(self):
        if self.terminal:
            termios.tcsetattr(self.terminal[0], termios.TCSADRAIN, self.terminal[1])
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
        if self.qemu:
            self.qemu.wait()
        if self.listener:
            self.listener.close()
            if os.path.exists(self.opt.host_console):
                os.unlink(self.opt.host_console)

    # ---- the run itself ----
    def loop(self, deadline):
        while not self.done and not self.left:
            left = deadline - time.monotonic()
            if left <= 0:
                sys.stderr.write(f"run-guest: time-out after {self.opt.timeout} s\n")
                return EXIT_TIMEOUT
            self.wants_write()
            for key, mask in self.selector.select(min(left, 1.0)):
                getattr(self, "on_" + key.data)(key.fileobj, mask)
            if self.panicked and not self.drain():
                return self.failed("the host panicked")
            if self.qemu.poll() is not None and not self.drain():
                return self.emulator_ended()
        return self.verdict()

    def wants_write(self):
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.pending else 0)
        if self.wire in self.selector.get_map():
            self.selector.modify(self.wire, mask, "wire")

    def on_wire(self, _file, mask):
        if mask & selectors.EVENT_WRITE and self.pending:
            try:
                sent = self.wire.send(self.pending[:65536])
                del self.pending[:sent]
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
        if mask & selectors.EVENT_READ:
            self.drain()

    def drain(self):
        """Reads what the machine sent; True when there was something."""
        try:
            data = self.wire.recv(65536)
        except (BlockingIOError, ConnectionResetError):
            return False
        if not data:
            if self.wire in self.selector.get_map():
                self.selector.unregister(self.wire)
            return False
        for channel, piece in self.parser.feed(data):
            self.on_piece(channel, piece)
        return True

    def on_piece(self, channel, piece):
        if channel is None:
            self.noise = (self.noise + piece)[-65536:]
            if link.LOG in self.outputs:
                self.outputs[link.LOG].write(piece)
            return
        if channel == link.EVENT:
            self.events += piece
            while b"\n" in self.events:
                line, _, self.events = self.events.partition(b"\n")
                self.on_event(line.decode("utf-8", "replace").split())
            return
        if channel == link.LOG:
            self.noise = (self.noise + piece)[-65536:]
            self.panicked = self.panicked or b"error: mica has stopped" in self.noise
        if channel == link.CONSOLE and self.peer:
            self.to_peer(piece)
        out = self.outputs.get(channel)
        if out:
            try:
                out.write(piece)
                out.flush()
            except BrokenPipeError:
                del self.outputs[channel]

    def on_event(self, words):
        if words[:1] == ["ready"]:
            self.ready = True
            if self.console:
                self.open_stdin()
        elif words[:2] == ["vm", "0"] and words[-1] == "start" and not self.console and not self.started:
            self.started = True
            self.open_stdin()
        elif words[:1] == ["vm"] and len(words) >= 5 and words[-2] == "exit":
            self.status[int(words[1])] = int(words[-1])
        elif words[:1] == ["exec-done"]:
            self.exec_done = True
            self.done = self.done or (self.opt.exec_only and not self.vm_names)
        elif words[:1] == ["done"]:
            self.done = self.done or bool(self.vm_names)

    def on_stdin(self, fd, _mask):
        data = os.read(fd, 4096)
        if not data:
            self.selector.unregister(fd)  # end of input ends nothing
            return
        if self.terminal and ESCAPE in data:
            self.left = True
            return
        self.pending += link.frames(link.CONSOLE if self.console else link.VM0, data)

    def on_listener(self, listener, _mask):
        peer, _ = listener.accept()
        if self.peer:
            self.selector.unregister(self.peer)
            self.peer.close()
        self.peer = peer
        self.selector.register(peer, selectors.EVENT_READ, "peer")

    def on_peer(self, peer, _mask):
        try:
            data = peer.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self.selector.unregister(peer)
            peer.close()
            self.peer = None
            return
        self.pending += link.frames(link.CONSOLE, data)

    def to_peer(self, piece):
        try:
            self.peer.sendall(piece)
        except OSError:
            self.selector.unregister(self.peer)
            self.peer.close()
            self.peer = None

    # ---- how it ended ----
    def verdict(self):
        if self.left or not self.vm_names:
            return EXIT_OFF
        codes = [self.status.get(i, EXIT_OFF) for i in range(len(self.vm_names))]
        for special in (EXIT_HOST, EXIT_STOPPED):
            if special in codes:
                return special
        return next((c for c in codes if c), EXIT_OFF)

    def emulator_ended(self):
        if self.console and self.qemu.returncode == 0:
            return EXIT_OFF  # the host was powered off from its console
        return self.failed(f"the emulator ended (status {self.qemu.returncode}) before the guests did")

    def failed(self, what):
        self.qemu_errors.seek(0)
        said = self.qemu_errors.read().decode("utf-8", "replace").strip()
        sys.stderr.write(f"run-guest: {what}\n")
        if said:
            sys.stderr.write(said + "\n")
        tail = self.noise.decode("utf-8", "replace").splitlines()[-40:]
        if tail:
            sys.stderr.write("run-guest: the host's last words:\n" + "\n".join(tail) + "\n")
        return EXIT_HOST


def run_session(opt, archive, vm_names, console=False):
    try:
        return Session(opt, archive, vm_names, console).run()
    except Stopped as s:
        return 128 + s.args[0]
    except RunnerError as e:
        sys.stderr.write(f"run-guest: {e}\n")
        return EXIT_HOST
    except OSError as e:
        sys.stderr.write(f"run-guest: {e}\n")
        return EXIT_HOST
