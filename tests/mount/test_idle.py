#!/usr/bin/env python3
"""The option idle: a mount that nobody uses unmounts itself, and one that is in use does not."""

import os
import subprocess
import time

import support
from cli import mounts_at
from support import HANGS_S, SLOWNESS, make_compressed, wait_until
from write_support import WriteMount, read_file, stored_path, write_file

# The log tells of each attempt.
IDLE = "idle=1,preset=0,log_level=debug"
IN_USE = "is idle, but in use"


class Idle(support.MountTest):
    def assert_ends(self, mount):
        """The daemon ends by itself; nothing is mounted, and nothing had to be forced."""
        try:
            code = mount.process.wait(HANGS_S * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.fail(f"it is still mounted: {mount.log()[-4000:]}")
        self.assertEqual(code, 0, mount.log())
        self.assertEqual(mounts_at(mount.path), [])

    def await_attempts(self, mount, count, what=IN_USE):
        wait_until(lambda: mount.log().count(what) >= count, f"{count} attempts in vain")
        self.assertTrue(mount.alive())

    def test_a_mount_that_nobody_uses_is_unmounted(self):
        make_compressed(self.source, "file", b"text " * 1000)
        with WriteMount(self.source, IDLE) as mount:
            self.assertEqual(read_file(mount / "file"), b"text " * 1000)
            self.assert_ends(mount)
            self.assertIn("it is unmounted", mount.log())

    def test_what_was_written_is_compressed_before(self):
        with WriteMount(self.source, IDLE + ",settle=2") as mount:
            write_file(mount / "file", b"text " * 1000)
            self.assert_ends(mount)
            log = mount.log()
        self.assertIn("files wait to be compressed", log)
        self.assertEqual(os.listdir(self.source), ["file.xz"])
        self.assertEqual(support.xz_output(stored_path(self.source, "file")), b"text " * 1000)

    def test_a_mount_stays_while_files_wait_to_be_compressed(self):
        with WriteMount(self.source, IDLE + ",settle=1000") as mount:
            write_file(mount / "file", b"text " * 1000)
            self.await_attempts(mount, 2, "files wait to be compressed")
            mount.sync()
            self.assert_ends(mount)
        self.assertEqual(os.listdir(self.source), ["file.xz"])

    def test_an_open_file_keeps_the_mount(self):
        make_compressed(self.source, "file", b"text " * 1000)
        with WriteMount(self.source, IDLE) as mount:
            with open(mount / "file", "rb") as file:
                self.await_attempts(mount, 2)
                self.assertEqual(file.read(), b"text " * 1000)
            self.assert_ends(mount)

    def test_a_working_directory_keeps_the_mount(self):
        os.mkdir(os.path.join(self.source, "folder"))
        with WriteMount(self.source, IDLE) as mount:
            with subprocess.Popen(["sleep", "600"], cwd=mount / "folder") as program:
                try:
                    self.await_attempts(mount, 2)
                finally:
                    program.kill()
            self.assert_ends(mount)

    def test_requests_keep_the_mount(self):
        with WriteMount(self.source, "idle=3,attr_timeout=0,log_level=debug") as mount:
            end = time.monotonic() + 8
            while time.monotonic() < end:
                os.stat(mount.path)
                time.sleep(0.2)  # less than idle, so the mount is never unused for so long
            self.assertTrue(mount.alive())
            self.assertNotIn(IN_USE, mount.log())
            self.assert_ends(mount)

    def test_the_option_can_be_set_while_the_mount_runs(self):
        with WriteMount(self.source, "log_level=debug") as mount:
            self.assertEqual(mount.stats()["settings"]["idle_seconds"], 0)
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.cmd.set.idle=1h"), b"ok")
            self.assertEqual(mount.stats()["settings"]["idle_seconds"], 3600)
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.cmd.set.idle=1"), b"ok")
            self.assert_ends(mount)

    def test_it_can_be_switched_off_while_the_mount_runs(self):
        with WriteMount(self.source, IDLE) as mount:
            folder = os.open(mount.path, os.O_RDONLY)
            self.await_attempts(mount, 1)
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.cmd.set.idle=0"), b"ok")
            os.close(folder)
            before = mount.log().count(IN_USE)
            time.sleep(3)  # three times as long as the option said before
            self.assertTrue(mount.alive())
            self.assertEqual(mount.log().count(IN_USE), before)

    def test_a_mount_below_it_keeps_the_mount(self):
        """It is unmounted as by umount(8), never detached with what lies in it."""
        os.mkdir(os.path.join(self.source, "folder"))
        with WriteMount(self.source, IDLE) as mount:
            support.run(["mount", "-t", "tmpfs", "none", mount / "folder"])
            try:
                self.await_attempts(mount, 2)
            finally:
                support.run(["umount", mount / "folder"])
            self.assert_ends(mount)

    def test_another_mount_over_it_is_left_alone(self):
        with WriteMount(self.source, IDLE) as mount:
            support.run(["mount", "-t", "tmpfs", "none", mount.path])
            try:
                self.await_attempts(mount, 2)
                self.assertEqual(len(mounts_at(mount.path)), 2)
            finally:
                support.run(["umount", mount.path])
            self.assert_ends(mount)


if __name__ == "__main__":
    support.main()
