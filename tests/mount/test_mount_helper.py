#!/usr/bin/env python3
"""How the program `xzfs` works with its surroundings: mount(8), service managers, signals, umount.

The helpers of mount(8) need root.
"""

import fcntl
import lzma
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import support
from cli import (BINARY, CONTENT, FSTAB_WORDS, MOUNT_FAILED, OK, ROOT_ONLY, USAGE, CommandLineTest,
                 mounts_at, processes_with, thread_places)
from own_mounts import in_own_namespace
from support import HANGS_S, SLOWNESS, stop, wait_until


class Notify(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(HANGS_S * SLOWNESS)
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
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)

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
            hidden.settimeout(HANGS_S * SLOWNESS)
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
                self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)
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
            self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)
        self.assert_nothing_left()

    def test_signals_that_are_ignored_stay_so(self):
        daemon = self.start(self.source, self.mnt,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        daemon.send_signal(signal.SIGHUP)
        time.sleep(0.2)  # time in which nothing must happen
        self.assertIsNone(daemon.poll())
        self.assert_reads()

    def test_umount_ends_the_daemon(self):
        daemon = self.start(self.source, self.mnt)
        support.run(["umount", self.mnt])
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)
        self.assert_nothing_left()

    def test_umount_refuses_while_a_file_is_open(self):
        daemon = self.start(self.source, self.mnt)
        with open(self.mnt + "/file", "rb", buffering=0) as file:
            done = subprocess.run(["umount", self.mnt], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 32)
            self.assertIn("busy", done.stderr)
            self.assertEqual(file.read(), CONTENT)
        support.run(["umount", self.mnt])
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)

    def test_lazy_umount_ends_the_daemon_with_the_last_file(self):
        daemon = self.start(self.source, self.mnt)
        with open(self.mnt + "/file", "rb", buffering=0) as file:
            support.run(["umount", "-l", self.mnt])
            self.assertEqual(mounts_at(self.mnt), [])
            self.assertEqual(file.read(), CONTENT)
            self.assertIsNone(daemon.poll())
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)

    def test_second_signal_ends_it_at_once(self):
        # The source is another FUSE file system. Its daemon is stopped, so it answers nothing.
        below = os.path.join(self.folder, "below")
        os.mkdir(below)
        # The file is so large that the kernel can't have cached all of it by then: a listing reads its
        # ends, and xzfs reads only the requested slices of a giant Block.
        support.make_compressed(self.source, "deep", os.urandom(4 << 20))
        lower = subprocess.Popen(["bindfs", "-f", self.source, below], stdin=subprocess.DEVNULL)
        self.addCleanup(lower.wait)
        self.addCleanup(lower.kill)
        wait_until(lambda: mounts_at(below), "bindfs answers")
        daemon = self.start(below, self.mnt, "-o", "ro,whole_block_limit=1MiB")
        self.assertTrue(os.path.exists(self.mnt + "/deep"))
        stop(lower)
        reader = subprocess.Popen(["cat", self.mnt + "/deep"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(reader.wait)
        self.addCleanup(reader.kill)
        # This cleanup runs first: nothing else can end while the lower mount is stopped.
        self.addCleanup(lower.send_signal, signal.SIGCONT)
        # This is the mount below: the reader waits for its daemon, and not just for a moment.
        wait_until(lambda: any("request" in place for place in
                               thread_places(daemon.pid)), "the daemon waits for an answer")
        self.assertIsNone(reader.poll())
        daemon.terminate()
        time.sleep(0.5)  # time in which nothing must happen
        self.assertEqual(len(mounts_at(self.mnt)), 1, "one signal waits for what is being read")
        daemon.terminate()
        wait_until(lambda: not mounts_at(self.mnt), "the second one does not", 10)
        # Only now it is sure to end: the kernel may have to close files below for it.
        lower.send_signal(signal.SIGCONT)
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)


@ROOT_ONLY
class MountHelper(CommandLineTest):
    """mount(8) runs /sbin/mount.TYPE. The links exist only while a test runs."""

    def setUp(self):
        super().setUp()
        # Only one test run on a machine at a time.
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
                              timeout=HANGS_S * SLOWNESS, check=False, **more)

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

    def test_root_mounts_with_set_user_id_and_devices_unless_told(self):
        """mount(8) doesn't pass suid and dev on, because they are its defaults."""
        for words, flags in (("rw", []), ("suid,dev", []), ("nosuid,nodev", [b"nosuid", b"nodev"])):
            with self.subTest(words):
                self.assert_mounted_by(self.mount("-t", "xzfs", self.source, self.mnt, "-o", words))
                [entry] = mounts_at(self.mnt)
                self.assertEqual([flag for flag in entry.options if flag in (b"nosuid", b"nodev")],
                                 flags)
                self.unmount()

    def test_set_id_bits_and_devices_have_no_effect_if_they_have_none_in_the_source(self):
        support.run(["mount", "--bind", self.source, self.source])
        support.run(["mount", "-o", "remount,bind,nosuid", self.source])
        self.assert_mounted_by(self.mount("-t", "xzfs", self.source, self.mnt))
        self.assertIn(b"nosuid", mounts_at(self.mnt)[0].options)

    def test_mounts_in_another_namespace(self):
        holder = subprocess.Popen(in_own_namespace("sh", "-c", "echo; exec sleep 600"),
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
        # Without a link of xzfs, mount(8) runs mount.fuse3, which searches the program in PATH. mount(8)
        # leaves only the shell's default PATH.
        os.unlink("/sbin/mount.fuse.xzfs")
        self.addCleanup(os.symlink, BINARY, "/sbin/mount.fuse.xzfs")
        self.link("/usr/local/bin/xzfs")
        self.assert_mounted_by(self.mount("-t", "fuse.xzfs", self.source, self.mnt, "-o",
                                          "rw,nofail,_netdev"))


if __name__ == "__main__":
    support.main()
