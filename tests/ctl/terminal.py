"""A program on a terminal of its own, with a size that can change."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import support
from ctl_support import CTL, environment


class Terminal:
    """`xzfsctl WORDS...` on a new terminal; ends it at the end of the context."""

    def __init__(self, *words, columns=80, rows=24, cwd=None, **env):
        self.ours, its = pty.openpty()
        self.resize(columns, rows, its)
        self.before = termios.tcgetattr(its)
        self._held = its  # the terminal stays when the program has ended
        self.out = b""
        self.process = subprocess.Popen(
            [CTL, *words], stdin=its, stdout=its, stderr=its, cwd=cwd, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env=environment(**env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._held)

    def resize(self, columns, rows=24, fd=None):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.ours if fd is None else fd, termios.TIOCSWINSZ, size)

    def mode(self):
        return termios.tcgetattr(self._held)

    def read(self, wait_s=0.0):
        """Takes what the program has written by now."""
        while select.select([self.ours], [], [], wait_s)[0]:
            with contextlib.suppress(OSError):
                self.out += os.read(self.ours, 65536)
            wait_s = 0

    def wait_for(self, condition, what):
        """Reads until condition(self.out) is true; returns its value."""
        end = time.monotonic() + 60 * support.SLOWNESS
        while True:
            value = condition(self.out)
            if value:
                return value
            if time.monotonic() > end or self.process.poll() is not None and not self._more():
                raise AssertionError(f"{what}: {self.out[-2000:]!r}")
            self.read(0.1)

    def _more(self):
        return bool(select.select([self.ours], [], [], 0)[0])

    def type(self, keys):
        os.write(self.ours, keys)

    def end(self, number=signal.SIGINT):
        """Sends a signal and returns how the program ended."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        end = time.monotonic() + 60 * support.SLOWNESS
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        code = self.process.wait(0)
        self.read()
        return code
