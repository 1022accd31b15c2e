"""Sources that span several file systems; needs root.

Each kind of border has its own class, which makes a source with a directory `inner` beyond it. What
the tests ask for is the same for all of them.
"""

import contextlib
import errno
import lzma
import os
import shutil
import subprocess
import tempfile
import unittest

import support
from support import run, temp_dir, wait_until
from test_write_disk import disk, mount_image, unmount
from write_support import (WriteMount, assert_valid, leftovers, patched, read_file, write_at,
                           write_file)

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


class Beyond:
    """What is asked for of a directory `inner` of the source that a rename doesn't reach, or that
    is on another file system. `make_inner` makes it."""

    others = {}  # what else is there

    def setUp(self):
        super().setUp()
        self.inner = os.path.join(self.source, "top/inner")
        os.makedirs(self.inner)
        self.make_inner()
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        write_file(os.path.join(self.inner, "old.xz"), lzma.compress(self.plain, preset=0))

    def make_inner(self):
        raise NotImplementedError

    def write_pending(self, mount):
        """A new file, and a change of a compressed one: their contents."""
        write_file(mount / "top/inner/new", self.plain)
        write_file(mount / "top/outer", self.plain)
        write_at(mount / "top/inner/old", len(self.plain), b"more\n")
        return {"top/inner/new": self.plain, "top/outer": self.plain,
                "top/inner/old": self.plain + b"more\n"}

    def assert_content(self, mount, wanted):
        for name, content in wanted.items():
            support.assert_same(self, read_file(mount / name), content, name)

    def assert_committed(self, wanted):
        """By what is in the source alone."""
        for name, content in wanted.items():
            path = os.path.join(self.source, name)
            self.assertFalse(os.path.exists(path), name)
            assert_valid(self, path + ".xz", content)

    def assert_nothing_left(self):
        for folder, folders, _ in os.walk(self.source):
            if ".xzfs" in folders:
                self.assertEqual(leftovers(folder), [])
                folders.remove(".xzfs")

    def run_mount(self, options=OPTIONS):
        return WriteMount(self.source, options)

    def test_what_is_written_there_is_committed_there(self):
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assert_content(mount, wanted)
            self.assertEqual(mount.state("top/inner/new"), "cold")
            self.assertEqual(mount.state("top/inner/old"), "cold")
        self.assert_committed(wanted)
        self.assert_nothing_left()

    def test_the_folder_of_pending_changes_there_is_not_seen(self):
        with self.run_mount() as mount:
            self.write_pending(mount)
            self.assertTrue(os.path.isdir(os.path.join(self.private_top(), ".xzfs")))
            self.assertEqual(sorted(names_below(mount.path)),
                             [".", "./top", "./top/inner", "./top/inner/new", "./top/inner/old",
                              "./top/outer"])
            for folder in ("top/inner", "top", ""):
                self.assert_errno(errno.ENOENT, os.stat, mount / os.path.join(folder, ".xzfs"))
                self.assert_errno(errno.EPERM, os.mkdir, mount / os.path.join(folder, ".xzfs"))

    def private_top(self):
        return self.inner

    def test_what_a_killed_mount_left_is_there_at_once_and_committed_by_the_next(self):
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            mount.kill()
        self.between_mounts()
        with self.run_mount("preset=0,settle=0") as mount:
            self.assert_content(mount, wanted)
            mount.sync()
            self.assert_content(mount, wanted)
        self.assert_committed(wanted)
        self.assert_nothing_left()

    def between_mounts(self):
        pass

    def test_changes_of_files_below_a_renamed_directory_survive_a_kill(self):
        os.makedirs(os.path.join(self.inner, "a/deep"))
        for name in ("one", "two"):
            write_file(os.path.join(self.inner, "a/deep", name + ".xz"),
                       lzma.compress(self.plain, preset=0))
        with self.run_mount("compress=off,preset=0") as mount:
            for name in ("one", "two"):
                write_at(mount / ("top/inner/a/deep/" + name), 5, name.encode())
            os.rename(mount / "top/inner/a", mount / "top/inner/b")
            mount.kill()
        # As if somebody else had done it: no note tells of it.
        os.rename(os.path.join(self.inner, "b"), os.path.join(self.inner, "c"))
        with self.run_mount("preset=0,settle=0") as mount:
            wanted = {"top/inner/c/deep/" + name: patched(self.plain, 5, name.encode())
                      for name in ("one", "two")}
            self.assert_content(mount, {k: v for k, v in wanted.items() if k.endswith("one")})
            wait_until(lambda: mount.stats()["commits"]["done"] == 2, "both are committed")
            self.assert_content(mount, wanted)
        self.assert_committed(wanted)
        self.assert_nothing_left()

    def test_programs_that_copy_and_walk_meet_what_is_there(self):
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            os.link(mount / "top/inner/new", mount / "top/inner/link")
            wanted.update(self.others, **{"top/inner/link": self.plain})
            for make in (["cp", "-a", mount.path + "/.", "COPY"],
                         ["rsync", "-aH", mount.path + "/", "COPY"],
                         ["sh", "-c", 'tar -C "$0" -c . | tar -C "$1" -x', mount.path, "COPY"]):
                with temp_dir() as copy:
                    run([copy if word == "COPY" else word for word in make])
                    self.assertEqual(tree_of(copy), wanted, make[0])
                    self.assertTrue(os.path.samefile(copy + "/top/inner/new",
                                                     copy + "/top/inner/link"))
            total = int(run(["du", "-s", "--apparent-size", "-B1", mount / "top/inner"]).split()[0])
            self.assertGreater(total, 2 * len(self.plain))

    def test_a_tree_there_can_be_moved_into_and_out_of_and_removed(self):
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            os.mkdir(mount / "top/inner/d")
            write_file(mount / "top/inner/d/x", b"x" * 5000)
            run(["mv", mount / "top/inner/d", mount / "top/d"])
            run(["mv", mount / "top/inner/old", mount / "top/d/old"])
            run(["mv", mount / "top/d", mount / "top/inner/e"])
            mount.sync()
            self.assert_content(mount, {"top/inner/e/x": b"x" * 5000,
                                        "top/inner/e/old": wanted["top/inner/old"]})
            run(["sh", "-c", 'rm -r "$0"/*', mount / "top/inner"])
            self.assertEqual(os.listdir(mount / "top/inner"), [])
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
        self.assert_nothing_left()


class Tmpfs(Beyond, Case):
    """A tmpfs below an ext4 (or what TMPDIR is)."""

    def make_inner(self):
        mount_at(self.stack, "none", self.inner, "-t", "tmpfs")


class Bind(Beyond, Case):
    """A directory from elsewhere on the same file system: the device is the same, the mount isn't.
    """

    def make_inner(self):
        self.elsewhere = self.enterContext(temp_dir("xzfs-bound-"))
        mount_at(self.stack, self.elsewhere, self.inner, "--bind")


class BindFromInside(Beyond, Case):
    """A directory of the source, seen in a second place of it, too."""

    def make_inner(self):
        os.mkdir(os.path.join(self.source, "first"))
        mount_at(self.stack, os.path.join(self.source, "first"), self.inner, "--bind")

    def test_programs_that_copy_and_walk_meet_what_is_there(self):
        """What is there twice is met twice, as in the source."""
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            wanted.update({"first/new": self.plain, "first/old": wanted["top/inner/old"]})
            self.assertEqual(tree_of(mount.path), wanted)
            self.assertEqual(os.stat(mount / "first/old").st_ino,
                             os.stat(mount / "top/inner/old").st_ino)

    def test_the_folder_of_pending_changes_there_is_not_seen(self):
        with self.run_mount() as mount:
            self.write_pending(mount)
            self.assertNotIn(".xzfs", " ".join(names_below(mount.path)))


class Subvolume(Beyond, Case):
    """A btrfs subvolume of a btrfs source."""

    def make_inner(self):
        if not os.access("/usr/sbin/mkfs.btrfs", os.X_OK):
            self.skipTest("btrfs-progs is not installed")
        self.image, self.source = self.stack.enter_context(disk(["mkfs.btrfs", "-q"], 200 << 20))
        self.inner = os.path.join(self.source, "top/inner")
        os.mkdir(os.path.join(self.source, "top"))
        run(["btrfs", "-q", "subvolume", "create", self.inner])


class Project(Beyond, Case):
    """Another project of one XFS (as project quotas have it; ext4's are the same, but not every
    kernel has them): the same device and mount, but a rename says EXDEV."""

    def make_inner(self):
        self.image, self.source = self.stack.enter_context(
            disk(["mkfs.xfs", "-q"], 300 << 20))
        self.inner = os.path.join(self.source, "top/inner")
        os.makedirs(self.inner)
        run(["xfs_io", "-c", "chproj 17", "-c", "chattr +P", self.inner])

    def test_a_directory_that_only_has_the_hidden_folder_can_be_removed(self):
        with self.run_mount() as mount:
            self.write_pending(mount)
            mount.sync()
            write_at(mount / "top/inner/old", 0, b"pending")
            self.assertTrue(os.path.isdir(os.path.join(self.inner, ".xzfs")))
            run(["rm", "-r", mount / "top/inner"])
            self.assertFalse(os.path.exists(self.inner))
            os.mkdir(mount / "top/inner")
            write_file(mount / "top/inner/again", self.plain)
            mount.sync()
        self.assert_committed({"top/inner/again": self.plain})

    def write_pending(self, mount):
        wanted = super().write_pending(mount)
        write_file(os.path.join(self.source, "probe"), b"")
        self.assert_errno(errno.EXDEV, os.rename, os.path.join(self.source, "probe"),
                          os.path.join(self.inner, "probe"))
        os.unlink(os.path.join(self.source, "probe"))
        return wanted

    def test_the_folder_of_pending_changes_there_is_not_seen(self):
        with self.run_mount() as mount:
            self.write_pending(mount)
            mount.sync()
            self.assertTrue(os.path.isdir(os.path.join(self.inner, ".xzfs")))
            self.assertNotIn(".xzfs", " ".join(names_below(mount.path)))
            self.assert_errno(errno.ENOENT, os.stat, mount / "top/inner/.xzfs")
            self.assert_errno(errno.EPERM, os.mkdir, mount / "top/inner/.xzfs")


class OverlayFs(Beyond, Case):
    """The source is an overlayfs, whose layers are two file systems."""

    def make_inner(self):
        lower = self.enterContext(temp_dir("xzfs-lower-"))
        upper = self.enterContext(temp_dir("xzfs-upper-"))
        merged = self.enterContext(temp_dir("xzfs-merged-"))
        mount_at(self.stack, "none", upper, "-t", "tmpfs")
        for name in ("upper", "work"):
            os.mkdir(os.path.join(upper, name))
        os.makedirs(os.path.join(lower, "top/inner"))
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        write_file(os.path.join(lower, "top/inner/old.xz"), lzma.compress(self.plain, preset=0))
        write_file(os.path.join(lower, "top/inner/below.xz"), lzma.compress(b"below", preset=0))
        mount_at(self.stack, "overlay", merged, "-t", "overlay", "-o",
                 f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work,xino=off")
        self.source = merged
        self.others = {"top/inner/below": b"below"}
        self.inner = os.path.join(merged, "top/inner")

    def setUp(self):
        Case.setUp(self)
        self.make_inner()

    def private_top(self):
        return self.source

    def test_the_folder_of_pending_changes_there_is_not_seen(self):
        with self.run_mount() as mount:
            self.write_pending(mount)
            self.assertNotIn(".xzfs", " ".join(names_below(mount.path)))

    def test_a_file_of_the_lower_layer_is_edited_and_committed(self):
        with self.run_mount() as mount:
            write_at(mount / "top/inner/below", 0, b"B")
            self.assertEqual(read_file(mount / "top/inner/below"), b"Below")
            mount.kill()
        with self.run_mount() as mount:
            self.assertEqual(read_file(mount / "top/inner/below"), b"Below")
            mount.sync()
        self.assert_committed({"top/inner/below": b"Below"})
        self.assert_nothing_left()


class Borders(Case):
    """What comes and goes, and what can't be written to."""

    def setUp(self):
        super().setUp()
        self.inner = os.path.join(self.source, "inner")
        os.mkdir(self.inner)
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))

    def store(self, path):
        write_file(path, lzma.compress(self.plain, preset=0))

    def test_a_file_system_that_is_mounted_later_has_its_own_place(self):
        with WriteMount(self.source, OPTIONS + ",entry_timeout=0,attr_timeout=0") as mount:
            write_file(mount / "inner/covered", b"c" * 5000)
            mount_at(self.stack, "none", self.inner, "-t", "tmpfs")
            self.store(os.path.join(self.inner, "old.xz"))
            wait_until(lambda: os.listdir(mount / "inner") == ["old"], "it is seen")
            write_at(mount / "inner/old", 0, b"NEW")
            write_file(mount / "inner/new", self.plain)
            self.assertTrue(os.path.isdir(os.path.join(self.inner, ".xzfs")))
            mount.kill()
        with WriteMount(self.source, OPTIONS) as mount:
            self.assertEqual(read_file(mount / "inner/old"), patched(self.plain, 0, b"NEW"))
            mount.sync()
        assert_valid(self, os.path.join(self.inner, "old.xz"), patched(self.plain, 0, b"NEW"))
        assert_valid(self, os.path.join(self.inner, "new.xz"), self.plain)
        self.assertEqual(leftovers(self.inner), [])

    def test_a_read_only_one_says_so_and_asks_nothing_again(self):
        mount_at(self.stack, "none", self.inner, "-t", "tmpfs")
        self.store(os.path.join(self.inner, "old.xz"))
        run(["mount", "-o", "remount,ro", self.inner])
        with WriteMount(self.source, "preset=0,settle=0") as mount:
            with self.assertRaises(OSError) as caught:
                write_at(mount / "inner/old", 0, b"NEW")
            self.assertEqual(caught.exception.errno, errno.EROFS)
            self.assert_errno(errno.EROFS, write_file, mount / "inner/new", b"x")
            self.assertEqual(read_file(mount / "inner/old"), self.plain)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)

    def test_pending_changes_on_a_read_only_one_are_seen_and_stay(self):
        mount_at(self.stack, "none", self.inner, "-t", "tmpfs")
        self.store(os.path.join(self.inner, "old.xz"))
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "inner/old", 0, b"NEW")
            mount.kill()
        before = tree_of(self.inner)
        run(["mount", "-o", "remount,ro", self.inner])
        with WriteMount(self.source, "preset=0,settle=0") as mount:
            self.assertEqual(read_file(mount / "inner/old"), patched(self.plain, 0, b"NEW"))
            self.assert_errno(errno.EROFS, write_at, mount / "inner/old", 0, b"no")
        self.assertEqual(tree_of(self.inner), before)
        run(["mount", "-o", "remount,rw", self.inner])
        with WriteMount(self.source, OPTIONS) as mount:
            self.assertEqual(read_file(mount / "inner/old"), patched(self.plain, 0, b"NEW"))
            mount.sync()
        assert_valid(self, os.path.join(self.inner, "old.xz"), patched(self.plain, 0, b"NEW"))

    def test_a_file_that_is_a_mount_point_stays_as_it_is(self):
        other = os.path.join(self.enterContext(temp_dir()), "other")
        write_file(other, self.plain)
        self.store(other + ".xz")
        for name in ("point", "point2.xz"):
            write_file(os.path.join(self.inner, name), b"")
            mount_at(self.stack, other + (".xz" if name.endswith(".xz") else ""),
                     os.path.join(self.inner, name), "--bind")
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "inner/point", 0, b"CHANGED")
            self.assertEqual(read_file(mount / "inner/point2"), self.plain)
            with self.assertRaises(OSError) as caught:
                write_at(mount / "inner/point2", 0, b"no")
            self.assertEqual(caught.exception.errno, errno.EBUSY)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.state("inner/point"), "hot")
        self.assertEqual(read_file(other), patched(self.plain, 0, b"CHANGED"))

    def test_a_place_without_room_for_a_folder_leaves_plain_what_is_there(self):
        mount_at(self.stack, "none", self.inner, "-t", "tmpfs", "-o", "nr_inodes=4")
        self.store(os.path.join(self.inner, "old.xz"))
        write_file(os.path.join(self.inner, "new"), self.plain)
        write_file(os.path.join(self.inner, "more"), b"")
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "inner/new", 0, b"CHANGED")
            with self.assertRaises(OSError) as caught:
                write_at(mount / "inner/old", 0, b"no")
            self.assertEqual(caught.exception.errno, errno.ENOSPC)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.log().count("plain files there stay plain"), 1)
        self.assertEqual(read_file(os.path.join(self.inner, "new")),
                         patched(self.plain, 0, b"CHANGED"))

    def test_pending_changes_are_found_when_the_device_has_another_number(self):
        image, source = self.stack.enter_context(disk(["mkfs.ext4", "-q"], 32 << 20))
        self.store(os.path.join(source, "old.xz"))
        device = os.stat(source).st_dev
        with WriteMount(source, OPTIONS) as mount:
            write_at(mount / "old", 0, b"NEW")
            write_file(mount / "new", self.plain)
            mount.kill()
        unmount(source)
        blocker = self.enterContext(tempfile.NamedTemporaryFile())
        blocker.truncate(1 << 20)
        loop = run(["losetup", "-f", "--show", blocker.name]).decode().strip()
        self.stack.callback(run, ["losetup", "-d", loop])
        mount_image(image, source)
        self.assertNotEqual(os.stat(source).st_dev, device, "the test's own case")
        with WriteMount(source, OPTIONS) as mount:
            self.assertEqual(read_file(mount / "old"), patched(self.plain, 0, b"NEW"))
            mount.sync()
        assert_valid(self, os.path.join(source, "old.xz"), patched(self.plain, 0, b"NEW"))
        assert_valid(self, os.path.join(source, "new.xz"), self.plain)

    def test_a_snapshot_with_pending_changes_shows_them(self):
        if not os.access("/usr/sbin/mkfs.btrfs", os.X_OK):
            self.skipTest("btrfs-progs is not installed")
        _, source = self.stack.enter_context(disk(["mkfs.btrfs", "-q"], 200 << 20))
        self.store(os.path.join(source, "old.xz"))
        with WriteMount(source, OPTIONS) as mount:
            write_at(mount / "old", 0, b"NEW")
            run(["sync", "-f", source])
            run(["btrfs", "-q", "subvolume", "snapshot", source, os.path.join(source, "snap")])
            run(["btrfs", "-q", "subvolume", "snapshot", "-r", source,
                 os.path.join(source, "snap-ro")])
            for name in ("old", "snap/old", "snap-ro/old"):
                self.assertEqual(read_file(mount / name), patched(self.plain, 0, b"NEW"), name)
            write_at(mount / "old", 0, b"LATER")
            self.assertEqual(read_file(mount / "snap/old"), patched(self.plain, 0, b"NEW"))
            mount.sync()
        assert_valid(self, os.path.join(source, "old.xz"), patched(self.plain, 0, b"LATER"))
        assert_valid(self, os.path.join(source, "snap/old.xz"), patched(self.plain, 0, b"NEW"))
        assert_valid(self, os.path.join(source, "snap-ro/old.xz"), self.plain)


class Copies(Case):
    """A copy of a source that has pending changes."""

    def setUp(self):
        super().setUp()
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        write_file(os.path.join(self.source, "old.xz"), lzma.compress(self.plain, preset=0))
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "old", 0, b"NEW")
            write_file(mount / "plain", self.plain)
            mount.kill()
        self.copy = os.path.join(self.enterContext(temp_dir("xzfs-copy-")), "copy")

    def make_copy(self, where):
        run(["cp", "-a", self.source, where])

    def test_nothing_in_a_copied_folder_is_applied(self):
        self.make_copy(self.copy)
        private = tree_of(os.path.join(self.copy, ".xzfs"))
        with WriteMount(self.copy, "preset=0,settle=0") as mount:
            self.assertEqual(read_file(mount / "old"), self.plain)
            mount.sync()
            self.assertIn("is a copy", mount.log())
        self.assertEqual(tree_of(os.path.join(self.copy, ".xzfs")), private)
        assert_valid(self, os.path.join(self.copy, "old.xz"), self.plain)

    def test_a_mount_of_a_copy_can_be_written_to_and_loses_nothing_of_it(self):
        self.make_copy(self.copy)
        private = set(tree_of(os.path.join(self.copy, ".xzfs")).values())
        with WriteMount(self.copy, "preset=0,settle=0") as mount:
            write_at(mount / "old", 0, b"OTHER")
            write_file(mount / "more", self.plain)
            mount.sync()
        assert_valid(self, os.path.join(self.copy, "old.xz"), patched(self.plain, 0, b"OTHER"))
        kept = tree_of(os.path.join(self.copy, ".xzfs/lost+found"))
        self.assertIn(b"NEW", b"".join(kept.values()))
        self.assertLessEqual(len(private - set(kept.values())), 3)  # marker and locks

    def test_a_copy_below_another_source_is_hidden_and_not_applied(self):
        below = os.path.join(self.enterContext(temp_dir("xzfs-outer-")), "copy")
        self.make_copy(below)
        private = tree_of(os.path.join(below, ".xzfs"))
        with WriteMount(os.path.dirname(below), "preset=0,settle=0") as mount:
            self.assertEqual(sorted(os.listdir(mount / "copy")), ["old", "plain"])
            self.assertEqual(read_file(mount / "copy/old"), self.plain)
            write_at(mount / "copy/old", 0, b"OTHER")
            mount.sync()
            self.assertEqual(mount.log().count("is a copy"), 1)
        assert_valid(self, os.path.join(below, "old.xz"), patched(self.plain, 0, b"OTHER"))
        self.assertEqual(tree_of(os.path.join(below, ".xzfs")), private)

    def test_a_source_below_another_one_is_taken_up_by_it(self):
        outer = os.path.dirname(self.source)
        moved = os.path.join(self.enterContext(temp_dir("xzfs-outer-", )), "was-source")
        os.rename(self.source, moved)
        with WriteMount(os.path.dirname(moved), OPTIONS) as mount:
            self.assertEqual(read_file(mount / "was-source/old"), patched(self.plain, 0, b"NEW"))
            mount.sync()
        self.assertTrue(outer)
        assert_valid(self, os.path.join(moved, "old.xz"), patched(self.plain, 0, b"NEW"))
        assert_valid(self, os.path.join(moved, "plain.xz"), self.plain)


class UnstableNumbers(Case):
    """FUSE and network file systems may give a file another inode number at the next mount."""

    def test_pending_changes_are_found_by_what_the_file_holds(self):
        if shutil.which("bindfs") is None:
            self.skipTest("bindfs is not installed")
        plain = b"".join(b"%d\n" % i for i in range(20_000))
        real = self.enterContext(temp_dir("xzfs-real-"))
        for name in ("old", "other"):
            write_file(os.path.join(real, name + ".xz"), lzma.compress(plain, preset=0))
        run(["bindfs", real, self.source])
        with WriteMount(self.source, OPTIONS + ",single_client") as mount:
            for name in ("old", "other"):
                write_at(mount / name, 0, b"NEW")
            mount.kill()
        unmount(self.source)
        # As they would look after another mount of the source.
        for name in ("old.xz", "other.xz"):
            path = os.path.join(real, name)
            run(["cp", "-p", path, path + ".copy"])
            if name == "other.xz":  # and one whose content is another, with the same size and time
                times = os.stat(path)
                write_file(path + ".copy", read_file(path)[:-100] + bytes(100))
                os.utime(path + ".copy", ns=(times.st_atime_ns, times.st_mtime_ns))
            os.rename(path + ".copy", path)
        run(["bindfs", real, self.source])
        self.stack.callback(unmount, self.source)
        with WriteMount(self.source, OPTIONS + ",single_client") as mount:
            self.assertEqual(read_file(mount / "old"), patched(plain, 0, b"NEW"))
            mount.sync()
            self.assertEqual(mount.commits()["overlays_lost"], 1)
        assert_valid(self, os.path.join(real, "old.xz"), patched(plain, 0, b"NEW"))


class OtherSources(Case):
    """Two mounts, of which one's source lies in the other's."""

    def setUp(self):
        super().setUp()
        self.inner = os.path.join(self.source, "inner")
        os.mkdir(self.inner)
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        write_file(os.path.join(self.inner, "old.xz"), lzma.compress(self.plain, preset=0))

    def test_a_source_within_another_ones_is_refused(self):
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "inner/old", 0, b"NEW")
            with temp_dir() as place:
                # In a namespace that sees no mount of xzfs.
                done = subprocess.run(
                    ["unshare", "-m", "sh", "-c", 'umount -l "$0"; exec "$1" "$2" "$3"', mount.path,
                     support.BINARY, self.inner, place],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                self.assertEqual(done.returncode, 32, done.stdout)
                self.assertIn(b"lies in the source of another mount", done.stdout)
                self.assertEqual(done.stdout.count(b"\n"), 1)
            self.assertEqual(read_file(mount / "inner/old"), patched(self.plain, 0, b"NEW"))

    def test_one_that_appears_below_is_hidden_and_its_tree_read_only(self):
        inner = self.stack.enter_context(WriteMount(self.inner, OPTIONS))
        write_at(inner / "old", 0, b"NEW")
        inner_private = names_below(os.path.join(self.inner, ".xzfs"))
        with temp_dir() as place:
            # Where the first one isn't seen, so that it isn't refused.
            outer = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", 'umount -l "$0"; exec "$1" -f "$2" "$3"', inner.path,
                 support.BINARY, self.source, place],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                root = f"/proc/{outer.pid}/root{place}"
                wait_until(lambda: os.path.exists(root + "/inner"), "it is mounted")
                self.assertEqual(os.listdir(root + "/inner"), ["old"])
                self.assertEqual(read_file(root + "/inner/old"), self.plain)
                self.assert_errno(errno.EROFS, write_at, root + "/inner/old", 0, b"no")
                self.assert_errno(errno.EROFS, write_file, root + "/inner/more", b"no")
                self.assert_errno(errno.EROFS, os.unlink, root + "/inner/old")
                self.assert_errno(errno.EROFS, os.chmod, root + "/inner/old", 0o600)
                write_file(root + "/outer", b"o" * 5000)
                self.assertEqual(names_below(os.path.join(self.inner, ".xzfs")), inner_private)
                inner.sync()
                assert_valid(self, os.path.join(self.inner, "old.xz"),
                             patched(self.plain, 0, b"NEW"))
            finally:
                outer.terminate()
                log = outer.communicate(timeout=20)[0].decode()
        self.assertEqual(log.count("source of another mount"), 1, log)


if __name__ == "__main__":
    support.main()
