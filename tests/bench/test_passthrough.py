"""The reference of the write cases really writes: a reference that loses bytes would be fast."""

import os
import subprocess
import sys
import tempfile
import unittest

import host

PROGRAM = os.environ.get("PASSTHROUGH", "")
# ctest takes this exit code for "skipped".
SKIPPED = 77


def refusal():
    """Why this machine can't mount, or None."""
    if not os.access(PROGRAM, os.X_OK):
        return f"PASSTHROUGH={PROGRAM!r} is not a program"
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "must be root, with /dev/fuse"
    return None


class Passthrough(unittest.TestCase):
    def setUp(self):
        self.work = self.enterContext(tempfile.TemporaryDirectory())
        self.source = os.path.join(self.work, "source")
        os.mkdir(self.source)
        self.mount = self.enterContext(host.fuse_mount(self.work, [PROGRAM, self.source, "{}"]))

    def path(self, name):
        return os.path.join(self.mount, name)

    def test_a_copied_tree_has_the_same_content_modes_and_times(self):
        tree = os.path.join(self.work, "tree")
        os.makedirs(os.path.join(tree, "a", "b"))
        os.symlink("b/big", os.path.join(tree, "a", "link"))
        for name, size in (("a/b/big", 3_000_001), ("a/small", 10), ("empty", 0)):
            with open(os.path.join(tree, name), "wb") as out:
                out.write(os.urandom(size))
        os.chmod(os.path.join(tree, "a", "small"), 0o640)
        host.run(["cp", "-r", "--preserve=mode,timestamps", tree, self.path("copy")])
        for copy in (self.path("copy"), os.path.join(self.source, "copy")):
            host.run(["diff", "-r", "--no-dereference", tree, copy])
            for name in ("a/small", "a/b"):
                wanted, got = os.stat(os.path.join(tree, name)), os.stat(os.path.join(copy, name))
                self.assertEqual((got.st_mode, got.st_mtime_ns),
                                 (wanted.st_mode, wanted.st_mtime_ns))

    def test_files_are_overwritten_appended_to_and_cut(self):
        with open(self.path("file"), "wb") as out:
            out.write(b"0123456789")
        with open(self.path("file"), "ab") as out:
            out.write(b"end")
        with open(self.path("file"), "r+b") as out:
            out.seek(2)
            out.write(b"xy")
        os.truncate(self.path("file"), 12)
        with open(os.path.join(self.source, "file"), "rb") as stored:
            self.assertEqual(stored.read(), b"01xy456789en")

    def test_the_caller_has_the_umask(self):
        subprocess.run(["sh", "-c", "umask 027; mkdir d; : > f"], cwd=self.mount, check=True)
        self.assertEqual([os.stat(os.path.join(self.source, name)).st_mode & 0o777
                          for name in ("d", "f")], [0o750, 0o640])

    def test_an_error_of_the_source_is_returned_as_it_is(self):
        os.mkdir(self.path("folder"))
        os.rmdir(os.path.join(self.source, "folder"))
        with self.assertRaises(FileNotFoundError):
            os.close(os.open(self.path("folder/file"), os.O_WRONLY | os.O_CREAT))


if __name__ == "__main__":
    why = refusal()
    if why:
        print(f"skipped: {why}")
        sys.exit(1 if os.environ.get("XZFS_REQUIRE_MOUNT") == "1" else SKIPPED)
    unittest.main()
