"""`N` and `N.xz` side by side, because of --keep or because xzfsctl was killed."""

import os
import subprocess

import support
import write_support
import xzformat
from ctl_support import CTL, MountCtlTest, environment
from write_support import WriteMount, read_file, write_at, write_file

TEXT = xzformat.text(41, 60_000)
TIME = 1_500_000_000_123_456_789


class Pairs(MountCtlTest):
    OPTIONS = "preset=0,entry_timeout=0,attr_timeout=0"

    def setUp(self):
        super().setUp()
        # The session of the mount makes the `.xzfs` that xzfsctl uses, too.
        self.mount = self.enterContext(WriteMount(self.source, self.OPTIONS))
        write_file(self.mount / "own", b"")

    def at(self, name):
        return os.path.join(self.source, name)

    def shown(self):
        return sorted(set(os.listdir(self.mount.path)) - {"own"})

    def left(self):
        return sorted(set(os.listdir(self.source)) - {"own", ".xzfs"})

    def prepare(self, command):
        for name in self.left():
            os.unlink(self.at(name))
        if command == "pack":
            write_file(self.at("file"), TEXT)
            os.utime(self.at("file"), ns=(TIME, TIME))
        else:
            support.make_compressed(self.source, "file", TEXT, mtime_ns=TIME)
        self.assertEqual(self.shown(), ["file"])

    def killed(self, command):
        """Kills the command while both names exist."""
        self.prepare(command)
        # The second rename of unpack puts the compressed file aside.
        call, number = ("unlinkat", 1) if command == "pack" else ("renameat2", 2)
        ended = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
             f"inject={call}:signal=KILL:when={number}", CTL, command, "-T1",
             self.at("file" if command == "pack" else "file.xz")],
            capture_output=True, check=False, timeout=support.HANGS_S * support.SLOWNESS, env=environment())
        self.assertNotEqual(ended.returncode, 0)
        self.assertEqual(self.left(), ["file", "file.xz"])

    def test_keep_leaves_two_files(self):
        for command in ("pack", "unpack"):
            with self.subTest(command):
                self.prepare(command)
                self.ctl(command, "--keep", self.source)
                self.assertEqual(self.left(), ["file", "file.xz"])
                self.assertEqual(self.shown(), ["file", "file.xz"])
                inode = os.stat(self.at("file.xz")).st_ino
                write_at(self.mount / "file", 0, b"changed")
                self.assertIn("'file.xz' already exists", self.mount.sync_error())
                self.assertEqual(os.stat(self.at("file.xz")).st_ino, inode)
                self.assertEqual(support.run(["xz", "-dc", self.at("file.xz")]), TEXT)
                os.unlink(self.mount / "file")
                self.assertEqual(self.left(), ["file.xz"])

    def test_pack_does_not_overwrite_a_file_that_was_kept(self):
        self.prepare("pack")
        self.ctl("pack", "-k", self.source)
        inode = os.stat(self.at("file.xz")).st_ino
        _, error = self.ctl("pack", "-v", self.source)
        self.assertIn(f"skipped {self.at('file')}: {self.at('file.xz')} already exists", error)
        self.assertEqual(self.left(), ["file", "file.xz"])
        self.assertEqual(os.stat(self.at("file.xz")).st_ino, inode)

    def test_a_mount_shows_one_file_after_a_kill_and_a_look_changes_nothing(self):
        for command in ("pack", "unpack"):
            with self.subTest(command):
                self.killed(command)
                self.assertEqual(self.shown(), ["file"])
                self.assertEqual(read_file(self.mount / "file"), TEXT)
                os.close(os.open(self.mount / "file", os.O_RDWR))
                self.assertEqual(self.left(), ["file", "file.xz"])

    def test_a_change_in_a_mount_after_a_kill_changes_the_one_file(self):
        """The hidden form never becomes visible."""
        changes = {
            "append": (lambda path: write_at(path, len(TEXT), b"more"), {"file": TEXT + b"more"}),
            "rename": (lambda path: os.rename(path, path + "-moved"), {"file-moved": TEXT}),
            "unlink": (os.unlink, {}),
        }
        for command in ("pack", "unpack"):
            for what, (change, after) in changes.items():
                with self.subTest(command, change=what):
                    self.killed(command)
                    change(self.mount / "file")
                    for _ in range(2):
                        self.assertEqual(self.shown(), sorted(after))
                        for name, content in after.items():
                            support.assert_same(self, read_file(self.mount / name), content, name)
                        self.assertEqual(self.left(), sorted(after))
                        self.ctl("reblock", self.source)  # which completes what killed runs have left
                    for name in after:
                        os.unlink(self.mount / name)

    def test_the_next_run_makes_one_file_of_the_pair(self):
        for command in ("pack", "unpack"):
            with self.subTest(command):
                self.killed(command)
                self.ctl(command, "-0" if command == "pack" else "-T1", self.source)
                self.assertEqual(self.left(), ["file.xz" if command == "pack" else "file"])
                self.assertEqual(read_file(self.mount / "file"), TEXT)

    def test_both_stay_if_one_of_the_pair_was_changed_after_a_kill(self):
        for command in ("pack", "unpack"):
            for changed in ("file", "file.xz"):
                with self.subTest(command, changed=changed):
                    self.killed(command)
                    with open(self.at(changed), "ab") as file:
                        file.write(bytes(4))
                    before = {name: read_file(self.at(name)) for name in self.left()}
                    self.assertEqual(self.shown(), ["file", "file.xz"])
                    self.ctl("reblock", self.source)
                    self.assertEqual({name: write_support.digest(read_file(self.at(name)))
                                      for name in self.left()},
                                     {name: write_support.digest(content)
                                      for name, content in before.items()})
                    self.assertEqual(self.shown(), ["file", "file.xz"])


if __name__ == "__main__":
    support.main()
