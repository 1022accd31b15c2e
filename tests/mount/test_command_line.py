#!/usr/bin/env python3
"""How the program `xzfs` starts, refuses to, and is seen in the mount table.

Much of it needs root: other users, private mount namespaces.
"""

import errno
import os
import shutil
import signal
import stat
import subprocess
import time
import unittest

import support
from cli import (BINARY, CONTENT, FSTAB_WORDS, INTERNAL, INTERRUPTED, LANDLOCK_CREATE_RULESET,
                 MOUNT_FAILED, OK, ROOT_ONLY, SETSID, SYSTEM, USAGE, X86_64, CommandLineTest,
                 mounts_at, processes_with, seccomp_kill)
from own_mounts import in_own_namespace
from support import HANGS_S, SLOWNESS, scaled, wait_until


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
            self.assertIn("stale mount: its daemon has exited", done.stderr)
            self.assertIn(f"xzfsctl umount {self.mnt}", done.stderr)
        self.assertEqual(len(mounts_at(self.mnt)), 1, "it is not ours to take away")

    def test_a_mount_of_xzfs_is_no_source(self):
        for mountpoint in (self.mnt, self.source):
            with self.subTest(mountpoint):
                self.start(self.source, mountpoint, mnt=mountpoint)
                other = os.path.join(self.folder, "other")
                os.makedirs(other, exist_ok=True)
                os.makedirs(mountpoint + "/sub", exist_ok=True)
                for source, words in ((mountpoint, "is a mount of xzfs"),
                                      (mountpoint + "/sub", "lies in a mount of xzfs")):
                    done = self.xzfs(source, other)
                    self.assertEqual(done.returncode, MOUNT_FAILED, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertIn(words, done.stderr)
                    self.assertIn(f"xzfsctl umount --wait {mountpoint}", done.stderr)
                self.assertEqual(self.xzfs(mountpoint, mountpoint).returncode, MOUNT_FAILED)
                self.assertEqual(len(mounts_at(mountpoint)), 1)
                self.unmount(mountpoint)

    def test_the_same_source_on_the_same_mountpoint_is_refused(self):
        self.start(self.source, self.mnt)
        for source in (self.source, self.source + "/../source/"):
            done = self.xzfs(source, self.mnt)
            self.assertEqual(done.returncode, MOUNT_FAILED, done.stderr)
            self.assertIn("is already mounted here", done.stderr)
            self.assertEqual(len(mounts_at(self.mnt)), 1)
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        self.start(self.source, other, mnt=other)  # several mounts of one source are fine
        self.assert_reads(other)

    def test_a_source_in_or_above_that_of_another_mount_is_refused(self):
        os.mkdir(self.source + "/sub")
        self.start(self.source, self.mnt)
        other = self.folder + "-other"
        os.mkdir(other)
        self.addCleanup(os.rmdir, other)
        for source, words in ((self.source + "/sub", f"use {self.mnt}/sub"),
                              (self.folder, "contains")):
            done = self.xzfs(source, other)
            self.assertEqual(done.returncode, MOUNT_FAILED, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(words, done.stderr)
        self.unmount()
        self.assertEqual(self.xzfs(self.source + "/sub", other).returncode, OK)
        self.unmount(other)

    def test_options_of_other_file_systems_get_a_message_that_helps(self):
        self.assert_refused(self.xzfs("-ro", self.source, self.mnt), USAGE, "did you mean -o ro?")
        self.assert_refused(self.xzfs(self.source, self.mnt, "-o", "uid=1000,gid=1000"), USAGE,
                            "files keep the owners", "allow_other")
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", "nonempty,kernel_cache"))

    def test_the_same_in_the_foreground(self):
        self.assert_refused(self.xzfs("-f", self.folder + "/none", self.mnt), MOUNT_FAILED)
        self.assert_refused(self.xzfs("-d", self.source, self.mnt, "-o", "zzz"), USAGE)

    @ROOT_ONLY
    def test_missing_device_gets_a_hint(self):
        # In a mount namespace of its own, where /dev has only null.
        script = ("mkdir dev && mount -t tmpfs none dev && touch dev/null && "
                  "mount --bind /dev/null dev/null && mount --move dev /dev && exec \"$@\"")
        done = subprocess.run(in_own_namespace("sh", "-c", script, "sh", BINARY, self.source, self.mnt),
                              cwd=self.folder, capture_output=True, text=True, timeout=60,
                              check=False)
        self.assert_refused(done, SYSTEM, "/dev/fuse", "modprobe fuse")


class OrdinaryUser(CommandLineTest):
    """Tests as the user `nobody`, with a copy of the program that this user can reach."""

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
        """Runs the program as the user nobody in a mount namespace that `script` has prepared. There
        every user may open /dev/fuse."""
        node = os.path.join(self.folder, "fuse-node")
        if not os.path.exists(node):
            os.mknod(node, stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
            os.chmod(node, 0o666)
        script = f"mount --bind {node} /dev/fuse && {script} exec \"$@\""
        return in_own_namespace("sh", "-c", script, "sh", *self.AS_NOBODY, self.copy, *arguments)

    def run_in_namespace(self, script, *arguments):
        return subprocess.run(self.in_namespace(script, *arguments), capture_output=True, text=True,
                              timeout=HANGS_S * SLOWNESS, check=False)

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
        # /dev/fuse may be out of reach, too: the program reports this reason first.
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
        last = done.stderr.splitlines()[-1]  # fusermount3 prints its message first
        self.assertIn(self.folder + "/foreign", last)
        self.assertIn("fusermount3 refused", last)
        self.assertIn("fusermount3: user has no write access to mountpoint", done.stderr)
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
        # A process keeps the namespace alive, so the test can look into it from outside.
        watcher = subprocess.Popen([*inside, "sh", "-c", "echo; exec sleep 600"],
                                   stdout=subprocess.PIPE)
        self.addCleanup(watcher.wait)
        self.addCleanup(watcher.kill)
        self.addCleanup(watcher.stdout.close)
        watcher.stdout.readline()
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)
        with open(f"/proc/{watcher.pid}/mountinfo", encoding="utf-8") as lines:
            self.assertFalse([line for line in lines if self.mnt in line])

    def test_an_idle_mount_is_unmounted_with_fusermount3(self):
        with subprocess.Popen(self.in_namespace("", "-f", self.source, self.mnt, "-o", "idle=1"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as daemon:
            self.addCleanup(daemon.kill)
            self.assertEqual(daemon.wait(HANGS_S * SLOWNESS), OK)
            self.assertIn("it is unmounted", daemon.stdout.read())


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

    def test_rw_is_the_default(self):
        self.start(self.source, self.mnt, "-o", "rw")
        with open(self.mnt + "/new", "wb") as new:
            new.write(b"content")
        self.assertEqual(self.log(), "")

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
        began = time.monotonic()
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        delay_s = time.monotonic() - began
        self.unmount()
        # Before xzfs catches the signals it has done nothing, so a signal just ends it. The delay
        # converges on the time between that and the mount, whatever else the machine does.
        for attempt in range(400):
            if attempt >= scaled(40, least=10) and codes >= {OK, INTERRUPTED}:
                break
            process = subprocess.Popen([BINARY, self.source, self.mnt], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay_s)  # seconds into the start, where the test interrupts it
            process.send_signal((signal.SIGTERM, signal.SIGINT)[attempt % 2])
            code = process.wait(HANGS_S * SLOWNESS)
            codes.add(code)
            if code == OK:
                delay_s *= 0.8
                self.assert_reads()
                self.unmount()
            else:
                delay_s *= 1.1 if code != INTERRUPTED else 1
                self.assertIn(code, (INTERRUPTED, -signal.SIGTERM, -signal.SIGINT))
                self.assert_nothing_left()
        self.assertGreaterEqual(codes, {OK, INTERRUPTED})


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

    def test_is_without_set_user_id_and_devices(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt))
        for flag in (b"rw", b"nosuid", b"nodev"):
            self.assertIn(flag, self.entry().options)
        for flag in (b"ro", b"noexec"):
            self.assertNotIn(flag, self.entry().options)

    @ROOT_ONLY
    def test_is_read_only_if_the_source_is_and_says_so_once(self):
        support.run(["mount", "--bind", self.source, self.source])
        support.run(["mount", "-o", "remount,bind,ro", self.source])
        done = self.xzfs(self.source, self.mnt)
        self.assert_mounted_by(done)
        [line] = done.stderr.splitlines()
        self.assertIn(f"xzfs: warning: {self.source} is read-only, so the mount is read-only", line)
        self.assertIn(b"ro", self.entry().options)
        with self.assertRaises(OSError) as caught:
            os.mkdir(self.mnt + "/new")
        self.assertEqual(caught.exception.errno, errno.EROFS)
        self.unmount()
        done = self.xzfs(self.source, self.mnt, "-o", "ro")
        self.assert_mounted_by(done)
        self.assertEqual(done.stderr, "")

    def test_is_read_only_if_asked_to(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", "ro"))
        self.assertIn(b"ro", self.entry().options)

    @ROOT_ONLY
    def test_follows_mount_flags(self):
        self.assert_mounted_by(self.xzfs(self.source, self.mnt, "-o", "suid,dev,noexec"))
        self.assertNotIn(b"nosuid", self.entry().options)
        self.assertNotIn(b"nodev", self.entry().options)
        self.assertIn(b"noexec", self.entry().options)


if __name__ == "__main__":
    support.main()
