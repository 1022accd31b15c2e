#!/usr/bin/env python3
"""A mount as the upper layer of overlayfs, as container engines use it: upperdir and workdir lie on it.
For that the mount needs RENAME_WHITEOUT, trusted.* attributes, and file types in its listings."""

import errno
import os
import stat
import subprocess

import support
import write_support
from support import wait_until
from write_support import WriteMount, read_file, write_at, write_file


class UpperLayer(support.MountTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.lower = self.enterContext(support.temp_dir("xzfs-lower-"))
        for name in ("read", "edited", "removed", "moved", "replaced"):
            write_file(os.path.join(self.lower, name), f"lower {name}\n".encode() * 1000)
        os.makedirs(os.path.join(self.lower, "folder/below"))
        write_file(os.path.join(self.lower, "folder/below/file"), b"deep")
        os.mkdir(os.path.join(self.lower, "gone"))
        self.mount = self.enterContext(WriteMount(self.source, "preset=0,allow_other"))
        for name in ("upper", "work"):
            os.mkdir(self.mount / name)
        self.merged = self.enterContext(support.temp_dir("xzfs-merged-"))
        self.mount_overlay()

    def mount_overlay(self):
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", self.merged, "-o",
             f"lowerdir={self.lower},upperdir={self.mount / 'upper'},workdir={self.mount / 'work'}"],
            capture_output=True, text=True, check=False)
        if "unknown filesystem type" in done.stderr:
            self.skipTest("this kernel has no overlayfs")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.addCleanup(subprocess.run, ["umount", self.merged], stderr=subprocess.DEVNULL,
                        check=False)

    def umount_overlay(self):
        wait_until(lambda: subprocess.run(["umount", self.merged], capture_output=True,
                                          check=False).returncode == 0, "overlay is unmounted")

    def path(self, name):
        return os.path.join(self.merged, name)

    def change_everything(self):
        write_at(self.path("edited"), 6, b"EDIT")
        os.unlink(self.path("removed"))
        os.rename(self.path("moved"), self.path("moved.xz"))
        write_file(self.path("new"), b"new content\n" * 1000)
        os.rename(self.path("new"), self.path("replaced"))
        os.rmdir(self.path("gone"))
        os.rename(self.path("folder/below/file"), self.path("folder/file"))
        os.rmdir(self.path("folder/below"))
        os.mkdir(self.path("made"))
        os.symlink("made", self.path("link"))
        os.link(self.path("replaced"), self.path("linked"))

    def check(self):
        lower = {name: f"lower {name}\n".encode() * 1000 for name in ("read", "edited", "moved")}
        edited = write_support.patched(lower["edited"], 6, b"EDIT")
        new = b"new content\n" * 1000
        wanted = {"read": lower["read"], "edited": edited, "moved.xz": lower["moved"],
                  "replaced": new, "linked": new, "folder/file": b"deep"}
        for name, content in wanted.items():
            self.assertEqual(read_file(self.path(name)), content, name)
        self.assertEqual(sorted(os.listdir(self.merged)), ["edited", "folder", "link", "linked",
                                                           "made", "moved.xz", "read", "replaced"])
        self.assertEqual(os.listdir(self.path("folder")), ["file"])
        self.assertEqual(os.readlink(self.path("link")), "made")
        for name in ("removed", "moved", "gone", "folder/below"):
            self.assert_errno(errno.ENOENT, os.lstat, self.path(name))

    def test_all_changes_hold_at_once_and_after_a_new_mount(self):
        self.change_everything()
        self.check()
        self.umount_overlay()
        self.mount.sync()
        upper = self.mount / "upper"
        whiteouts = [name for name in os.listdir(upper)
                     if stat.S_ISCHR(os.lstat(os.path.join(upper, name)).st_mode)]
        self.assertEqual(sorted(whiteouts), ["gone", "moved", "removed"])
        self.assertTrue(os.path.exists(os.path.join(self.source, "upper/replaced"))
                        or os.path.exists(os.path.join(self.source, "upper/replaced.xz")))
        self.assertTrue(os.path.exists(os.path.join(self.source, "upper/edited.xz")))
        self.mount_overlay()
        self.check()
        # A file that is compressed by now is changed again.
        write_at(self.path("edited"), 100, b"AGAIN")
        os.rename(self.path("edited"), self.path("edited again"))
        self.assertEqual(read_file(self.path("edited again"))[100:105], b"AGAIN")
        self.assert_errno(errno.ENOENT, os.lstat, self.path("edited"))
        self.umount_overlay()

    def test_a_program_that_saves_by_rename_works_in_it(self):
        for turn in range(20):
            write_file(self.path("temp"), b"turn %d" % turn)
            os.rename(self.path("temp"), self.path("read"))
            self.assertEqual(read_file(self.path("read")), b"turn %d" % turn)
        self.umount_overlay()


if __name__ == "__main__":
    support.main()
