"""Sources that span several file systems; needs root.

Each kind of border has its own class, which makes a source with a directory `inner` beyond it. All
classes run the same tests.
"""

import errno
import lzma
import os
import subprocess
import tempfile

import support
from filesystems_support import OPTIONS, Case, mount_at, names_below, tree_of
from support import run, temp_dir, wait_until
from test_write_disk import disk, unmount
from write_support import (WriteMount, assert_valid, leftovers, patched, read_file,
                           write_at, write_file)


class Identity(Case):
    """Two files with the same inode number on two file systems are never taken for one file."""

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

    def test_two_files_with_one_inode_number_stay_two_files(self):
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

    def test_a_listing_has_the_inode_number_that_stat_gives(self):
        mount = self.two_tmpfs()
        for folder in ("a", "b"):
            with os.scandir(mount / folder) as lines:
                for line in lines:
                    self.assertEqual(line.inode(), os.lstat(line.path).st_ino, line.path)

    def test_a_walk_reaches_every_subvolume(self):
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
    """What must hold for a directory `inner` of the source if a rename doesn't reach it, or if it
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
        """Makes a new file and changes a compressed one; returns their contents."""
        write_file(mount / "top/inner/new", self.plain)
        write_file(mount / "top/outer", self.plain)
        write_at(mount / "top/inner/old", len(self.plain), b"more\n")
        return {"top/inner/new": self.plain, "top/outer": self.plain,
                "top/inner/old": self.plain + b"more\n"}

    def assert_content(self, mount, wanted):
        for name, content in wanted.items():
            support.assert_same(self, read_file(mount / name), content, name)

    def assert_committed(self, wanted):
        """Checks this with the files in the source only."""
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

    def test_files_written_there_are_committed_there(self):
        with self.run_mount() as mount:
            wanted = self.write_pending(mount)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assert_content(mount, wanted)
            self.assertEqual(mount.state("top/inner/new"), "compressed")
            self.assertEqual(mount.state("top/inner/old"), "compressed")
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
        # As if another program had done it: no note mentions it.
        os.rename(os.path.join(self.inner, "b"), os.path.join(self.inner, "c"))
        with self.run_mount("preset=0,settle=0") as mount:
            wanted = {"top/inner/c/deep/" + name: patched(self.plain, 5, name.encode())
                      for name in ("one", "two")}
            self.assert_content(mount, {k: v for k, v in wanted.items() if k.endswith("one")})
            wait_until(lambda: mount.stats()["commits"]["done"] == 2, "both are committed")
            self.assert_content(mount, wanted)
        self.assert_committed(wanted)
        self.assert_nothing_left()

    def test_programs_that_copy_and_walk_find_every_file(self):
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

    def test_programs_that_copy_and_walk_find_every_file(self):
        """A file that is there twice is found twice, as in the source."""
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
    """Another project of one XFS, as with project quotas (ext4's are the same, but not every kernel has
    them): the device and the mount are the same, but a rename gives EXDEV."""

    def make_inner(self):
        self.image, self.source = self.stack.enter_context(
            disk(["mkfs.xfs", "-q"], 300 << 20))
        self.inner = os.path.join(self.source, "top/inner")
        os.makedirs(self.inner)
        run(["xfs_io", "-c", "chproj 17", "-c", "chattr +P", self.inner])

    def test_a_directory_with_only_the_hidden_folder_can_be_removed(self):
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
    """The source is an overlayfs with layers on two file systems."""

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


class OnFuse:
    """The source is on a FUSE file system, and no other program writes to it."""

    def setUp(self):
        Case.setUp(self)
        self.branches = [self.enterContext(temp_dir(f"xzfs-branch{number}-")) for number in (1, 2)]
        self.make_inner()
        self.source = self.enterContext(temp_dir("xzfs-fuse-"))
        self.mount_source()
        self.stack.callback(unmount, self.source)
        self.inner = os.path.join(self.source, "top/inner")
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        os.makedirs(self.inner, exist_ok=True)
        write_file(os.path.join(self.inner, "old.xz"), lzma.compress(self.plain, preset=0))

    def make_inner(self):
        pass

    def mount_source(self):
        raise NotImplementedError

    def run_mount(self, options=OPTIONS):
        return WriteMount(self.source, options + ",single_client")

    def private_top(self):
        return self.source

    def between_mounts(self):
        """Its inode numbers may be others afterwards."""
        unmount(self.source)
        self.mount_source()


class Bindfs(OnFuse, Beyond, Case):

    def mount_source(self):
        # Otherwise bindfs shows an old link count for a second.
        run(["bindfs", "-o", "attr_timeout=0", self.branches[0], self.source])


class Mergerfs(OnFuse, Beyond, Case):
    """Two file systems are shown as one: nothing shows from outside which files a rename can reach."""

    def make_inner(self):
        mount_at(self.stack, "none", self.branches[1], "-t", "tmpfs", "-o", "size=64m")
        for branch in self.branches:
            os.makedirs(os.path.join(branch, "top"))
        os.mkdir(os.path.join(self.branches[1], "top/inner"))

    def mount_source(self):
        run(["mergerfs", "-o", "use_ino,minfreespace=0", ":".join(self.branches), self.source])


if __name__ == "__main__":
    support.main()
