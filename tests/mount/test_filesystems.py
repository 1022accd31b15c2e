"""Sources that span several file systems; needs root.

Each kind of border has its own class, which makes a source with a directory `inner` beyond it. What
the tests ask for is the same for all of them.
"""

import contextlib
import os
import subprocess
import tempfile
import unittest

import support
from support import run, temp_dir
from test_write_disk import disk, mount_image, unmount
from write_support import (WriteMount, assert_valid, read_file, stored_path, write_at, write_file)

OPTIONS = "preset=0,settle=1000"


def root_refusal():
    return None if os.geteuid() == 0 else "needs root"


def mount_at(stack, what, path, *options):
    """mount(8) until the stack is left."""
    run(["mount", *options, what, path])
    stack.callback(unmount, path)
    return path


def names_below(path):
    """What find says, without errors."""
    found = subprocess.run(["find", "."], cwd=path, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, check=False)
    if found.stderr or found.returncode:
        raise AssertionError(found.stderr)
    return sorted(found.stdout.decode().split())


def tree_of(path):
    """{name: content} of the regular files."""
    return {os.path.relpath(os.path.join(folder, name), path):
            read_file(os.path.join(folder, name))
            for folder, _, names in os.walk(path) for name in names}


class Case(support.MountTest):
    """A test with an exit stack, whose mounts go in the right order."""

    def setUp(self):
        super().setUp()
        if root_refusal():
            self.skipTest(root_refusal())
        self.stack = self.enterContext(contextlib.ExitStack())

    def mount(self, source, options=OPTIONS, **more):
        return self.stack.enter_context(WriteMount(source, options, **more))


class Identity(Case):
    """Two files are never taken for one because their file systems give the same inode number."""

    def two_tmpfs(self):
        for name in "ab":
            inner = os.path.join(self.source, name)
            os.mkdir(inner)
            mount_at(self.stack, "none", inner, "-t", "tmpfs")
            write_file(os.path.join(inner, "f"), b"the first\n" if name == "a" else b"another\n")
            os.link(os.path.join(inner, "f"), os.path.join(inner, "f2"))
        self.assertEqual(os.stat(os.path.join(self.source, "a/f")).st_ino,
                         os.stat(os.path.join(self.source, "b/f")).st_ino, "the test's own case")
        return self.mount(self.source)

    def test_two_files_with_one_inode_number_are_two(self):
        mount = self.two_tmpfs()
        numbers = {os.stat(mount / name).st_ino for name in ("a/f", "b/f")}
        self.assertEqual(len(numbers), 2)
        self.assertEqual(os.stat(mount / "a/f").st_ino, os.stat(mount / "a/f2").st_ino)
        compared = subprocess.run(["cmp", "-s", mount / "a/f", mount / "b/f"], check=False)
        self.assertEqual(compared.returncode, 1)
        run(["cp", mount / "a/f", mount / "b/f"])
        self.assertEqual(read_file(mount / "b/f2"), b"the first\n")

    def test_copies_keep_files_of_two_file_systems_apart(self):
        mount = self.two_tmpfs()
        wanted = tree_of(mount.path)
        self.assertEqual(len(wanted), 4)
        for make in (["cp", "-a", mount.path + "/.", "COPY"],
                     ["rsync", "-aH", mount.path + "/", "COPY"],
                     ["sh", "-c", 'tar -C "$0" -c . | tar -C "$1" -x', mount.path, "COPY"]):
            copy = tempfile.mkdtemp(dir=self.enterContext(temp_dir()))
            run([copy if word == "COPY" else word for word in make])
            self.assertEqual(tree_of(copy), wanted, make[0])
            self.assertTrue(os.path.samefile(copy + "/a/f", copy + "/a/f2"))

    def test_a_plain_listing_tells_the_number_that_a_stat_tells(self):
        mount = self.two_tmpfs()
        for folder in ("a", "b"):
            with os.scandir(mount / folder) as lines:
                for line in lines:
                    self.assertEqual(line.inode(), os.lstat(line.path).st_ino, line.path)

    def test_a_walk_meets_every_subvolume(self):
        if not os.access("/usr/sbin/mkfs.btrfs", os.X_OK):
            self.skipTest("btrfs-progs is not installed")
        _, source = self.stack.enter_context(disk(["mkfs.btrfs", "-q"], 200 << 20))
        for name in ("one", "two", "two/deep"):
            run(["btrfs", "-q", "subvolume", "create", os.path.join(source, name)])
            write_file(os.path.join(source, name, "x"), name.encode())
        mount = self.mount(source)
        self.assertEqual(names_below(mount.path), names_below(source))
        self.assertEqual(names_below(source), [".", "./one", "./one/x", "./two", "./two/deep",
                                               "./two/deep/x", "./two/x"])
        self.assertEqual(run(["ls", "-R", "."], cwd=mount.path), run(["ls", "-R", "."], cwd=source))
        self.assertEqual(len({os.stat(mount / (name + "/x")).st_ino
                              for name in ("one", "two", "two/deep")}), 3)
        sizes = [run(["du", "-sb", "."], cwd=path).split()[0] for path in (mount.path, source)]
        self.assertEqual(sizes[0], sizes[1])


if __name__ == "__main__":
    support.main()
