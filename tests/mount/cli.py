"""What the tests of the program itself share: they run it, and look at what it left."""

import contextlib
import ctypes
import os
import re
import signal
import struct
import subprocess
import unittest

import support
from support import HANGS_S, SLOWNESS, temp_dir, wait_until

BINARY = os.path.abspath(support.BINARY) if support.BINARY else ""
CONTENT = b"a plain line\n" * 100
FSTAB_WORDS = ("defaults,nofail,_netdev,auto,noauto,nouser,users,owner,group,relatime,noatime,"
               "lazytime,norelatime,strictatime,diratime,nodiratime,user,user=root,"
               "x-systemd.automount,X-mount.mkdir,comment=hello")
ROOT_ONLY = unittest.skipUnless(os.geteuid() == 0, "needs root")

OK, USAGE, SYSTEM, INTERNAL, INTERRUPTED, MOUNT_FAILED = 0, 1, 2, 4, 8, 32

_libc = ctypes.CDLL(None, use_errno=True)


class Entry:
    """One line of the mount table."""

    def __init__(self, line):
        words = line.split()
        dash = words.index(b"-")
        self.path = _unescape(words[4])
        self.options = words[5].split(b",")
        self.type = words[dash + 1]
        self.device = _unescape(words[dash + 2])


def _unescape(word):
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), word)


def mounts_at(path):
    """The mounts on `path`; the visible one comes last."""
    with open("/proc/self/mountinfo", "rb") as table:
        entries = [Entry(line) for line in table]
    return [entry for entry in entries if entry.path == os.fsencode(path)]


def processes_with(argument):
    """The living processes that have `argument` on their command line, except this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if os.fsencode(argument) in cmdline.read().split(b"\0"):
                    found.append(int(pid))
    return [pid for pid in found if pid != os.getpid()]


def thread_places(pid):
    """The kernel functions in which the process's threads wait."""
    places = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/wchan", encoding="ascii") as function:
            places.add(function.read())
    return places


def seccomp_kill(number):
    """For preexec_fn: a process that makes that system call is killed at once."""
    def install():
        code = ((0x20, 0, 0, 0),               # load the system call's number
                (0x15, 0, 1, number),          # equal?
                (0x06, 0, 0, 0x80000000),      # SECCOMP_RET_KILL_PROCESS
                (0x06, 0, 0, 0x7fff0000))      # SECCOMP_RET_ALLOW
        program = b"".join(struct.pack("HBBI", *line) for line in code)
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
        # PR_SET_SECCOMP, SECCOMP_MODE_FILTER; root needs no no_new_privs for it.
        if _libc.prctl(22, 2, header, 0, 0) != 0:
            os._exit(99)
    return install


SETSID, LANDLOCK_CREATE_RULESET = 112, 444
X86_64 = os.uname().machine == "x86_64"


class CommandLineTest(support.MountTest):
    def setUp(self):
        super().setUp()
        self.folder = os.path.realpath(self.enterContext(temp_dir("xzfs-cli-")))
        self.source = self.make_source("source")
        self.mnt = os.path.join(self.folder, "mnt")
        os.mkdir(self.mnt)
        self.addCleanup(self.clean_up)

    def make_source(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        support.make_compressed(path, "file", CONTENT)
        return path

    def clean_up(self):
        """Nothing outlives a test, even if the test fails."""
        for _ in range(10):
            left = [entry for entry in self.mounts_below_folder()]
            for path in left:
                _libc.umount2(path, 2)
            if not left:
                break
        for pid in processes_with(self.mnt):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def mounts_below_folder(self):
        with open("/proc/self/mountinfo", "rb") as table:
            paths = [Entry(line).path for line in table]
        return [path for path in paths if path.startswith(os.fsencode(self.folder) + b"/")]

    # Running.

    def xzfs(self, *arguments, program=None, **more):
        """Runs the program until it returns; by then the daemon must have closed stdout and stderr."""
        return subprocess.run([program or BINARY, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=HANGS_S * SLOWNESS, check=False, **more)

    def start(self, *arguments, **more):
        """Runs `xzfs -f` and returns when the mount answers."""
        mnt = more.pop("mnt", self.mnt)
        log = open(os.path.join(self.folder, "log"), "ab")  # pylint: disable=consider-using-with
        self.addCleanup(log.close)
        before = len(mounts_at(mnt))
        process = subprocess.Popen([BINARY, "-f", *arguments], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, **more)

        def end():
            if process.poll() is None:
                process.kill()
                process.wait()
        self.addCleanup(end)

        def answers():
            self.assertIsNone(process.poll(), f"xzfs ended early: {self.log()}")
            return len(mounts_at(mnt)) > before and os.listdir(mnt) is not None

        wait_until(answers, "the mount answers")
        return process

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    # Claims.

    def assert_reads(self, path=None):
        with open(os.path.join(path or self.mnt, "file"), "rb") as file:
            self.assertEqual(file.read(), CONTENT)

    def assert_nothing_left(self, mnt=None):
        self.assertEqual(mounts_at(mnt or self.mnt), [])
        wait_until(lambda: not processes_with(mnt or self.mnt), "no process is left", 5)

    def assert_mounted_by(self, done):
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(len(mounts_at(self.mnt)), 1)
        self.assert_reads()

    def assert_refused(self, done, code, *words):
        """One line on stderr has all the words. Nothing is on stdout, and nothing is left."""
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("xzfs: "), lines)
        for word in words:
            self.assertIn(word, lines[0])
        self.assert_nothing_left()

    def unmount(self, mnt=None):
        mnt = mnt or self.mnt
        support.run(["umount" if os.geteuid() == 0 else "fusermount3",
                     *([] if os.geteuid() == 0 else ["-u"]), mnt])
        self.assert_nothing_left(mnt)
