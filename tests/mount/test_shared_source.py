#!/usr/bin/env python3
"""Sources on FUSE or a network: xzfs can't see what others write there. bindfs stands for all of them."""

import errno
import os
import subprocess

import support
from cli import MOUNT_FAILED, OK, CommandLineTest, mounts_at
from support import wait_until
from write_support import Strace


class SharedSource(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.shared = os.path.join(self.folder, "shared")
        os.mkdir(self.shared)
        below = subprocess.Popen(["bindfs", "-f", self.source, self.shared],
                                 stdin=subprocess.DEVNULL)
        self.addCleanup(below.wait)
        self.addCleanup(support.run, ["umount", "-l", self.shared])
        wait_until(lambda: mounts_at(self.shared), "bindfs answers")

    def test_is_mounted_read_only_and_one_line_says_why(self):
        done = self.xzfs(self.shared, self.mnt)
        self.assert_mounted_by(done)
        [line] = done.stderr.splitlines()
        for words in ("lies on FUSE", "read-only", "-o single_client", "-o ro"):
            self.assertIn(words, line)
        self.assertIn(b"ro", mounts_at(self.mnt)[0].options)
        self.assert_errno(errno.EROFS, os.mkdir, self.mnt + "/new")
        self.unmount()

    def test_says_nothing_when_it_is_meant_to_be_read_only(self):
        done = self.xzfs(self.shared, self.mnt, "-o", "ro")
        self.assert_mounted_by(done)
        self.assertEqual(done.stderr, "")
        self.unmount()

    def test_is_written_to_by_its_single_client(self):
        """xzfs keeps no lease there: leases do not show what other clients do."""
        daemon = self.start(self.shared, self.mnt, "-o", "single_client,settle=0")
        self.assertEqual(self.log(), "")
        with Strace(daemon.pid, "trace=fcntl") as strace:
            with open(self.mnt + "/new", "wb") as new:
                new.write(b"line\n" * 10_000)
            self.assertEqual(os.getxattr(self.mnt, "user.xzfs.cmd.sync"), b"ok")
            calls = [call.text for call in strace.calls()]
        self.assertEqual(support.xz_output(self.source + "/new.xz"), b"line\n" * 10_000)
        leases = [text for text in calls if "F_SETLEASE" in text]
        self.assertEqual(sum("F_RDLCK" in text for text in leases),
                         sum("F_UNLCK" in text for text in leases), "given back at once")
        self.assertFalse([text for text in calls if "F_GETLEASE" in text])
        self.unmount()

    def test_a_mount_of_a_mount_over_bindfs_is_refused_as_any_other(self):
        self.assertEqual(self.xzfs(self.shared, self.mnt, "-o", "ro").returncode, OK)
        self.assertEqual(self.xzfs(self.mnt, self.mnt).returncode, MOUNT_FAILED)
        self.unmount()


if __name__ == "__main__":
    support.main()
