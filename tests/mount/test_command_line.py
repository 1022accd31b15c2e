#!/usr/bin/env python3
"""What starts, refuses, ends and is seen of the program `xzfs`, on real mounts.

Much of it needs root: mount(8), other users, private mount namespaces.
"""

import contextlib
import ctypes
import errno
import fcntl
import lzma
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import support
from support import SLOWNESS, scaled, temp_dir, wait_until

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
    """The mounts on `path`, the one that is seen last."""
    with open("/proc/self/mountinfo", "rb") as table:
        entries = [Entry(line) for line in table]
    return [entry for entry in entries if entry.path == os.fsencode(path)]


def processes_with(argument):
    """The living processes that have `argument` on their command line, this one left out."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if os.fsencode(argument) in cmdline.read().split(b"\0"):
                    found.append(int(pid))
    return [pid for pid in found if pid != os.getpid()]


def seccomp_kill(number):
    """For preexec_fn: whoever makes that system call is killed at once, with its whole process."""
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
        support.make_cold(path, "file", CONTENT)
        return path

    def clean_up(self):
        """Nothing outlives a test, also one that failed."""
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
        """Runs the program until it returns; the daemon must have let go of stdout and stderr."""
        return subprocess.run([program or BINARY, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60 * SLOWNESS, check=False, **more)

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
        """One line on stderr with all the words, nothing on stdout, nothing left."""
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


class Help(CommandLineTest):
    def test_help_is_on_stdout_and_short(self):
        done = self.xzfs("-h")
        self.assertEqual((done.returncode, done.stderr), (OK, ""))
        for word in ("SOURCE MOUNTPOINT", "cache_size=SIZE", "allow_other", "Example"):
            self.assertIn(word, done.stdout)
        self.assertLess(len(done.stdout.splitlines()), 45)

    def test_version_names_program_and_version(self):
        done = self.xzfs("-V")
        self.assertEqual((done.returncode, done.stderr), (OK, ""))
        self.assertRegex(done.stdout, r"^xzfs \d+\.\d+\.\d+\n")


class Refusals(CommandLineTest):
    def test_unknown_option_gets_one_line_with_the_nearest_name(self):
        done = self.xzfs(self.source, self.mnt, "-o", "cahce_size=1G")
        self.assert_refused(done, USAGE, "unknown option 'cahce_size' (did you mean cache_size?)")

    def test_usage_mistakes_exit_with_1(self):
        for arguments in ([], [self.source], [self.source, self.mnt, "more"], ["-o"],
                          ["-x", self.source, self.mnt], ["--nonsense", self.source, self.mnt],
                          *([self.source, self.mnt, "-o", option] for option in
                            ("zzz", "cache_size=1M", "cache_size=1.5G", "cache_size=99999999999G",
                             "threads=x", "attr_timeout=-1", "allow_other=yes", "remount",
                             "whole_block_limit=64M,cache_size=32M"))):
            with self.subTest(arguments):
                self.assert_refused(self.xzfs(*arguments), USAGE)

    def test_cache_size_below_the_least_names_the_least(self):
        self.assert_refused(self.xzfs(self.source, self.mnt, "-o", "cache_size=31MiB"), USAGE,
                            "31MiB", "32MiB")

    def test_missing_source(self):
        self.assert_refused(self.xzfs(self.folder + "/none", self.mnt), MOUNT_FAILED,
                            self.folder + "/none", "source", "No such file")

    def test_missing_mountpoint(self):
        self.assert_refused(self.xzfs(self.source, self.folder + "/none"), MOUNT_FAILED,
                            self.folder + "/none", "mountpoint", "No such file")

    def test_file_as_source(self):
        self.assert_refused(self.xzfs(self.source + "/file.xz", self.mnt), MOUNT_FAILED,
                            "directories only")

    def test_file_as_mountpoint(self):
        self.assert_refused(self.xzfs(self.source, self.source + "/file.xz"), MOUNT_FAILED,
                            "mountpoint is not a directory")

    def test_mountpoint_inside_the_source(self):
        os.mkdir(self.source + "/sub")
        self.assert_refused(self.xzfs(self.source, self.source + "/sub"), MOUNT_FAILED,
                            "inside the source")

    def test_source_inside_the_mountpoint(self):
        self.assert_refused(self.xzfs(self.source, self.folder), MOUNT_FAILED,
                            "inside the mountpoint")

    def test_stale_mount_gets_a_hint(self):
        daemon = self.start(self.source, self.mnt)
        daemon.kill()
        daemon.wait()
        self.assert_errno(errno.ENOTCONN, os.statvfs, self.mnt)
        for source, mountpoint in ((self.source, self.mnt), (self.mnt, self.source)):
            done = self.xzfs(source, mountpoint)
            self.assertEqual(done.returncode, MOUNT_FAILED)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertIn(f"fusermount3 -u {self.mnt}", done.stderr)
            self.assertIn(f"umount {self.mnt}", done.stderr)
        self.assertEqual(len(mounts_at(self.mnt)), 1, "it is not ours to take away")

    def test_the_same_in_the_foreground(self):
        self.assert_refused(self.xzfs("-f", self.folder + "/none", self.mnt), MOUNT_FAILED)
        self.assert_refused(self.xzfs("-d", self.source, self.mnt, "-o", "zzz"), USAGE)

    @ROOT_ONLY
    def test_missing_device_gets_a_hint(self):
        # In a mount namespace of its own, where /dev is empty but for null.
        script = ("mkdir dev && mount -t tmpfs none dev && touch dev/null && "
                  "mount --bind /dev/null dev/null && mount --move dev /dev && exec \"$@\"")
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", BINARY, self.source,
                               self.mnt], cwd=self.folder, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assert_refused(done, SYSTEM, "/dev/fuse", "modprobe fuse")


class OrdinaryUser(CommandLineTest):
    """As `nobody`, with a copy of the program that nobody can reach."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.copy = os.path.join(self.folder, "xzfs")
        shutil.copy(BINARY, self.copy)
        os.chmod(self.copy, 0o755)
        self.mine = os.path.join(self.folder, "mine")
        os.mkdir(self.mine)
        shutil.chown(self.mine, "nobody")
        self.mnt = os.path.join(self.mine, "mnt")
        os.mkdir(self.mnt)
        shutil.chown(self.mnt, "nobody")

    AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

    def in_namespace(self, script, *arguments):
        """Runs the program as nobody in a mount namespace that `script` has prepared: there
        /dev/fuse is a node that everybody may open."""
        node = os.path.join(self.folder, "fuse-node")
        if not os.path.exists(node):
            os.mknod(node, stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
            os.chmod(node, 0o666)
        script = f"mount --bind {node} /dev/fuse && {script} exec \"$@\""
        return ["unshare", "-m", "sh", "-c", script, "sh", *self.AS_NOBODY, self.copy, *arguments]

    def run_in_namespace(self, script, *arguments):
        return subprocess.run(self.in_namespace(script, *arguments), capture_output=True, text=True,
                              timeout=60 * SLOWNESS, check=False)

    def test_device_that_is_not_permitted_gets_a_hint(self):
        if os.stat("/dev/fuse").st_mode & 0o006:
            self.skipTest("/dev/fuse is open to everybody here")
        done = subprocess.run([*self.AS_NOBODY, self.copy, self.source, self.mnt],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assert_refused(done, SYSTEM, "/dev/fuse", "not permitted", "--device /dev/fuse")

    def test_allow_other_without_consent_gets_a_hint(self):
        with open("/etc/fuse.conf", encoding="utf-8", errors="replace") as conf:
            if any(line.strip() == "user_allow_other" for line in conf):
                self.skipTest("user_allow_other is set here")
        # /dev/fuse may be out of reach as well: this is said first.
        done = subprocess.run([*self.AS_NOBODY, self.copy, self.source, self.mnt, "-o",
                               "allow_other"], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assert_refused(done, USAGE, "user_allow_other", "/etc/fuse.conf")

    def test_missing_fusermount3_gets_a_hint(self):
        if not os.path.exists("/usr/bin/fusermount3"):
            self.skipTest("fusermount3 is elsewhere")
        done = self.run_in_namespace("mount --bind /dev/null /usr/bin/fusermount3 &&", self.source,
                                     self.mnt)
        self.assert_refused(done, SYSTEM, "fusermount3", "package fuse3")

    def test_source_that_may_not_be_read(self):
        os.chmod(self.source, 0o700)
        self.assert_refused(self.run_in_namespace("", self.source, self.mnt), MOUNT_FAILED,
                            self.source, "Permission denied")

    def test_foreign_mountpoint_is_refused_with_the_reason(self):
        os.mkdir(self.folder + "/foreign", 0o755)
        done = self.run_in_namespace("", self.source, self.folder + "/foreign")
        self.assertEqual(done.returncode, MOUNT_FAILED, done.stderr)
        last = done.stderr.splitlines()[-1]  # fusermount3 speaks first
        self.assertIn(self.folder + "/foreign", last)
        self.assertIn("must belong to you", last)
        self.assert_nothing_left(self.folder + "/foreign")

    def test_mounts_with_fusermount3_and_unmounts_on_a_signal(self):
        daemon = subprocess.Popen(self.in_namespace("", "-f", self.source, self.mnt),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(daemon.stdout.close)
        self.addCleanup(daemon.kill)
        table = f"/proc/{daemon.pid}/mountinfo"

        def mounted():
            self.assertIsNone(daemon.poll(), daemon.poll() is not None and daemon.stdout.read())
            with open(table, encoding="utf-8") as lines:
                return any(f" {self.mnt} " in line and "fuse.xzfs" in line for line in lines)

        wait_until(mounted, "nobody's mount is there")
        inside = ["nsenter", "--target", str(daemon.pid), "--mount", *self.AS_NOBODY]
        self.assertEqual(support.run([*inside, "cat", self.mnt + "/file"]), CONTENT)
        # Outside of the namespace a process keeps it alive, so what it shows is seen from there.
        watcher = subprocess.Popen([*inside, "sh", "-c", "echo; exec sleep 600"],
                                   stdout=subprocess.PIPE)
        self.addCleanup(watcher.wait)
        self.addCleanup(watcher.kill)
        self.addCleanup(watcher.stdout.close)
        watcher.stdout.readline()
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(30 * SLOWNESS), OK)
        with open(f"/proc/{watcher.pid}/mountinfo", encoding="utf-8") as lines:
            self.assertFalse([line for line in lines if self.mnt in line])


class Starting(CommandLineTest):
    def test_returns_when_the_mount_answers(self):
        for _ in range(scaled(50, least=5)):
            done = self.xzfs(self.source, self.mnt)
            self.assert_mounted_by(done)
            self.assertEqual((done.stdout, done.stderr), ("", ""))
            self.unmount()

    def test_relative_paths_are_those_of_the_caller(self):
        self.assert_mounted_by(self.xzfs("source", "./mnt/../mnt", cwd=self.folder))

    def test_background_process_leaves_the_session_and_the_folder(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, cwd=self.folder))
        [daemon] = processes_with(self.mnt)
        self.assertEqual(os.getsid(daemon), daemon)
        self.assertEqual(os.readlink(f"/proc/{daemon}/cwd"), "/")
        for fd in (0, 1, 2):
            self.assertEqual(os.readlink(f"/proc/{daemon}/fd/{fd}"), "/dev/null")

    def test_works_with_stdio_closed(self):
        def close():
            os.closerange(0, 3)
        done = subprocess.run([BINARY, self.source, self.mnt], preexec_fn=close, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, OK)
        self.assert_reads()

    def test_fstab_words_are_swallowed(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", FSTAB_WORDS))

    def test_every_option_is_accepted(self):
        self.assert_mounted_by(self.xzfs(
            self.source, self.mnt, "-o", "cache_size=64MiB,threads=2,whole_block_limit=1M,"
            "attr_timeout=0.5,entry_timeout=2,ro", "-o", "sync,async,dirsync,exec,noexec"))

    def test_size_suffixes_are_those_of_xz(self):
        for size in ("33554432", "32768KiB", "32768K", "32768k", "32768kB", "32Mi", "32m", "1G"):
            with self.subTest(size):
                self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", f"cache_size={size}"))
                self.unmount()

    def test_writing_is_announced_to_be_impossible(self):
        self.start(self.source, self.mnt, "-o", "rw")
        wait_until(lambda: "read-only" in self.log(), "the log says it", 5)
        self.assertEqual(len(self.log().splitlines()), 1, self.log())
        self.assert_errno(errno.EROFS, open, self.mnt + "/new", "wb")

    def test_mounts_over_the_source_itself(self):
        self.assertEqual(self.xzfs(self.source, self.source).returncode, OK)
        self.assert_reads(self.source)
        self.assertEqual(os.listdir(self.source), ["file"])
        self.unmount(self.source)
        self.assertEqual(os.listdir(self.source), ["file.xz"])

    def test_single_threaded_mount_reads(self):
        self.start("-s", self.source, self.mnt)
        self.assert_reads()

    def test_debugging_logs_requests(self):
        self.start("-d", self.source, self.mnt)
        self.assert_reads()
        self.assertGreater(len(self.log()), 100)

    def test_only_the_main_thread_keeps_its_rights(self):
        daemon = self.start(self.source, self.mnt)
        self.assert_reads()
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as status:
                [line] = [line for line in status if line.startswith("NoNewPrivs:")]
            self.assertEqual(int(line.split()[1]), 0 if int(task) == daemon.pid else 1)

    @ROOT_ONLY
    def test_allow_other_lets_others_in(self):
        read = [*OrdinaryUser.AS_NOBODY, "cat", self.mnt + "/file"]
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        self.assertNotEqual(subprocess.run(read, capture_output=True, check=False).returncode, 0)
        self.unmount()
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", "allow_other"))
        self.assertEqual(support.run(read), CONTENT)

    @ROOT_ONLY
    @unittest.skipUnless(X86_64, "system call numbers of x86_64")
    def test_silent_death_of_the_daemon_is_reported(self):
        for call in (SETSID, LANDLOCK_CREATE_RULESET):  # before and after the mount is made
            with self.subTest(call):
                done = self.xzfs(self.source, self.mnt, preexec_fn=seccomp_kill(call))
                self.assert_refused(done, INTERNAL, "killed by signal")

    def test_interrupted_start_leaves_nothing(self):
        codes = set()
        for attempt in range(scaled(40, least=10)):
            process = subprocess.Popen([BINARY, self.source, self.mnt], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # Through all of the start, which takes some milliseconds.
            time.sleep(attempt % 20 * 0.0005 * SLOWNESS)
            process.send_signal((signal.SIGTERM, signal.SIGINT)[attempt % 2])
            code = process.wait(30 * SLOWNESS)
            codes.add(code)
            if code == OK:
                self.assert_reads()
                self.unmount()
            else:
                # Before the signals are caught nothing has been done: they end it as they do all.
                self.assertIn(code, (INTERRUPTED, -signal.SIGTERM, -signal.SIGINT))
                self.assert_nothing_left()
        self.assertIn(INTERRUPTED, codes)


class MountTable(CommandLineTest):
    def entry(self, mnt=None):
        [entry] = mounts_at(mnt or self.mnt)
        return entry

    def test_shows_type_and_source(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        self.assertEqual(self.entry().type, b"fuse.xzfs")
        self.assertEqual(self.entry().device, os.fsencode(self.source))

    def test_shows_sources_with_odd_names(self):
        for name in ("with, comma", "a,b c", "back\\slash", "tab\there", "tail\\", "x=y,rw",
                     "caf\u00e9 #1"):
            with self.subTest(name):
                source = self.make_source(name)
                self.assert_mounted_by(self.xzfs(source, self.mnt))
                self.assertEqual(self.entry().device, os.fsencode(source))
                self.assertEqual(self.entry().type, b"fuse.xzfs")
                self.unmount()

    def test_mounts_on_odd_names(self):
        for name in ("m, n", "back\\slash", "new\nline"):
            with self.subTest(name):
                mnt = os.path.join(self.folder, name)
                os.mkdir(mnt)
                self.assertEqual(self.xzfs(self.source, mnt).returncode, OK)
                self.assert_reads(mnt)
                self.assertEqual(self.entry(mnt).type, b"fuse.xzfs")
                self.unmount(mnt)

    def test_is_read_only_without_set_user_id_and_devices(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        for flag in (b"ro", b"nosuid", b"nodev"):
            self.assertIn(flag, self.entry().options)
        self.assertNotIn(b"noexec", self.entry().options)

    @ROOT_ONLY
    def test_follows_mount_flags(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", "suid,dev,noexec"))
        self.assertNotIn(b"nosuid", self.entry().options)
        self.assertNotIn(b"nodev", self.entry().options)
        self.assertIn(b"noexec", self.entry().options)


class Notify(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(20 * SLOWNESS)
        self.address = os.path.join(self.folder, "notify")
        self.socket.bind(self.address)
        self.environment = dict(os.environ, NOTIFY_SOCKET=self.address)

    def next(self):
        return self.socket.recv(4096).split(b"\n")[0]

    def test_tells_readiness_and_the_end_by_signal(self):
        daemon = self.start(self.source, self.mnt, env=self.environment)
        self.assertEqual(self.next(), b"READY=1")
        daemon.terminate()
        self.assertEqual(self.next(), b"STOPPING=1")
        self.assertEqual(daemon.wait(20 * SLOWNESS), OK)

    def test_tells_readiness_and_the_end_by_umount_from_the_background(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, env=self.environment))
        self.assertEqual(self.next(), b"READY=1")
        self.unmount()
        self.assertEqual(self.next(), b"STOPPING=1")

    def test_tells_nothing_when_there_is_no_mount(self):
        self.xzfs(self.folder + "/none", self.mnt, env=self.environment)
        self.socket.settimeout(0)
        self.assertRaises(BlockingIOError, self.next)

    def test_speaks_even_when_the_mount_hides_the_socket(self):
        address = os.path.join(self.source, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hidden:
            hidden.settimeout(20 * SLOWNESS)
            hidden.bind(address)
            done = self.xzfs(self.source, self.source, env=dict(os.environ, NOTIFY_SOCKET=address))
            self.assertEqual(done.returncode, OK, done.stderr)
            self.assertEqual(hidden.recv(4096).split(b"\n")[0], b"READY=1")
            self.unmount(self.source)


class Ending(CommandLineTest):
    def test_signals_unmount_and_exit_with_0(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number):
                daemon = self.start(self.source, self.mnt)
                self.assert_reads()
                daemon.send_signal(number)
                self.assertEqual(daemon.wait(20 * SLOWNESS), OK)
                self.assert_nothing_left()

    def test_signals_end_the_background_process_too(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        [daemon] = processes_with(self.mnt)
        os.kill(daemon, signal.SIGTERM)
        wait_until(lambda: not mounts_at(self.mnt), "the mount is gone")
        self.assert_nothing_left()

    def test_signal_ends_it_although_files_are_open(self):
        daemon = self.start(self.source, self.mnt)
        with open(self.mnt + "/file", "rb", buffering=0) as file:
            self.assertEqual(file.read(5), CONTENT[:5])
            daemon.terminate()
            self.assertEqual(daemon.wait(20 * SLOWNESS), OK)
        self.assert_nothing_left()

    def test_signals_that_are_ignored_stay_so(self):
        daemon = self.start(self.source, self.mnt,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        daemon.send_signal(signal.SIGHUP)
        time.sleep(0.2)  # nothing is to happen
        self.assertIsNone(daemon.poll())
        self.assert_reads()

    def test_umount_ends_the_daemon(self):
        daemon = self.start(self.source, self.mnt)
        support.run(["umount", self.mnt])
        self.assertEqual(daemon.wait(20 * SLOWNESS), OK)
        self.assert_nothing_left()

    def test_umount_refuses_while_a_file_is_open(self):
        daemon = self.start(self.source, self.mnt)
        with open(self.mnt + "/file", "rb", buffering=0) as file:
            done = subprocess.run(["umount", self.mnt], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 32)
            self.assertIn("busy", done.stderr)
            self.assertEqual(file.read(), CONTENT)
        support.run(["umount", self.mnt])
        self.assertEqual(daemon.wait(20 * SLOWNESS), OK)

    def test_lazy_umount_ends_the_daemon_with_the_last_file(self):
        daemon = self.start(self.source, self.mnt)
        with open(self.mnt + "/file", "rb", buffering=0) as file:
            support.run(["umount", "-l", self.mnt])
            self.assertEqual(mounts_at(self.mnt), [])
            self.assertEqual(file.read(), CONTENT)
            self.assertIsNone(daemon.poll())
        self.assertEqual(daemon.wait(20 * SLOWNESS), OK)

    def test_second_signal_ends_it_at_once(self):
        # A source that answers nothing: another mount, whose daemon is stopped.
        below = os.path.join(self.folder, "below")
        os.mkdir(below)
        # Too large for what the kernel has cached of it by then to be all.
        support.make_cold(self.source, "deep.xz", lzma.compress(os.urandom(4 << 20), preset=0))
        lower = self.start(self.source, below, mnt=below)
        daemon = self.start(below, self.mnt)
        self.assertTrue(os.path.exists(self.mnt + "/deep"))
        lower.send_signal(signal.SIGSTOP)
        self.addCleanup(lower.send_signal, signal.SIGCONT)
        reader = subprocess.Popen(["cat", self.mnt + "/deep"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(reader.wait)
        self.addCleanup(reader.kill)
        time.sleep(0.5)  # until its read waits for the lower mount
        self.assertIsNone(reader.poll())
        daemon.terminate()
        time.sleep(0.5)
        self.assertEqual(len(mounts_at(self.mnt)), 1, "one signal waits for what is being read")
        daemon.terminate()
        wait_until(lambda: not mounts_at(self.mnt), "the second one does not", 10)
        # Its end is sure only now: the kernel may have to close files below for it.
        lower.send_signal(signal.SIGCONT)
        self.assertEqual(daemon.wait(10 * SLOWNESS), OK)


@ROOT_ONLY
class MountHelper(CommandLineTest):
    """mount(8) runs /sbin/mount.TYPE. The links are there for the length of a test only."""

    def setUp(self):
        super().setUp()
        # One test run of a machine at a time.
        lock = open(os.path.join(tempfile.gettempdir(), "xzfs-mount-links.lock"), "wb")
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("mount.xzfs", "mount.fuse.xzfs"):
            self.link(os.path.join("/sbin", name))

    def link(self, path):
        kept = None
        if os.path.lexists(path):
            kept = path + ".kept-by-xzfs-test"
            os.rename(path, kept)
            self.addCleanup(os.rename, kept, path)
        os.symlink(BINARY, path)
        self.addCleanup(os.unlink, path)

    def mount(self, *arguments, **more):
        return subprocess.run(["mount", *arguments], capture_output=True, text=True,
                              timeout=60 * SLOWNESS, check=False, **more)

    def test_mount_types(self):
        for kind in ("xzfs", "fuse.xzfs"):
            with self.subTest(kind):
                self.assert_mounted_by(self.mount("-t", kind, self.source, self.mnt))
                [entry] = mounts_at(self.mnt)
                self.assertEqual(entry.type, b"fuse.xzfs")
                self.assertEqual(entry.device, os.fsencode(self.source))
                self.unmount()

    def test_fstab_words(self):
        for kind in ("xzfs", "fuse.xzfs"):
            for words in (FSTAB_WORDS, "rw,nofail,_netdev,user,x-systemd.automount"):
                with self.subTest(f"{kind} {words}"):
                    self.assert_mounted_by(
                        self.mount("-t", kind, self.source, self.mnt, "-o", words))
                    self.unmount()

    def test_line_of_fstab(self):
        source = self.make_source("with space")
        fstab = os.path.join(self.folder, "fstab")
        with open(fstab, "w", encoding="ascii") as file:
            file.write(f"{source} {self.mnt} fuse.xzfs "
                       "ro,allow_other,cache_size=64MiB,nofail,"
                       f"x-systemd.requires-mounts-for=/srv 0 0\n".replace("with space",
                                                                        "with\\040space"))
        self.assert_mounted_by(self.mount("-T", fstab, self.mnt))
        self.assertEqual(mounts_at(self.mnt)[0].device, os.fsencode(source))

    def test_fake_mounts_nothing(self):
        self.assertEqual(self.mount("-f", "-t", "xzfs", self.source, self.mnt).returncode, OK)
        helper = self.xzfs(self.source, self.mnt, "-f", program="/sbin/mount.xzfs")
        self.assertEqual(helper.returncode, OK)
        self.assert_nothing_left()

    def test_sloppy_ignores_unknown_options(self):
        done = self.mount("-t", "xzfs", self.source, self.mnt, "-o", "nonsense=1")
        self.assertNotEqual(done.returncode, OK)
        self.assertIn("unknown option 'nonsense'", done.stderr)
        self.assert_nothing_left()
        self.assert_mounted_by(
            self.mount("-s", "-t", "xzfs", self.source, self.mnt, "-o", "nonsense=1"))

    def test_quiet_letters(self):
        self.assert_mounted_by(self.mount("-n", "-v", "-t", "xzfs", self.source, self.mnt))
        self.unmount()
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-n", "-v", "-t", "fuse.xzfs",
                                         "-o", "rw,relatime", program="/sbin/mount.fuse.xzfs"))

    def test_refusal_comes_back_with_reason_and_code(self):
        done = self.mount("-t", "xzfs", self.folder + "/none", self.mnt)
        self.assertEqual(done.returncode, MOUNT_FAILED)
        self.assertIn("No such file", done.stderr)
        done = self.mount("-t", "fuse.xzfs", self.source, self.mnt, "-o", "cache_size=1")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("32MiB", done.stderr)

    def test_mounts_in_another_namespace(self):
        holder = subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; exec sleep 600"],
                                  stdout=subprocess.PIPE)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        self.addCleanup(holder.stdout.close)
        holder.stdout.readline()
        done = self.mount("-N", str(holder.pid), "-t", "xzfs", self.source, self.mnt)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(mounts_at(self.mnt), [])
        inside = ["nsenter", "--target", str(holder.pid), "--mount"]
        self.assertEqual(support.run([*inside, "cat", self.mnt + "/file"]), CONTENT)
        support.run([*inside, "umount", self.mnt])
        self.assert_nothing_left()

    @unittest.skipUnless(os.path.exists("/sbin/mount.fuse3"), "needs fuse3's helper")
    def test_works_through_the_helper_of_fuse3(self):
        # With no link of ours, mount(8) takes mount.fuse3, and that a program from PATH, for which
        # mount(8) leaves the shell's default only.
        os.unlink("/sbin/mount.fuse.xzfs")
        self.addCleanup(os.symlink, BINARY, "/sbin/mount.fuse.xzfs")
        self.link("/usr/local/bin/xzfs")
        self.assert_mounted_by(self.mount("-t", "fuse.xzfs", self.source, self.mnt, "-o",
                                          "rw,nofail,_netdev"))


if __name__ == "__main__":
    support.main()
