"""File systems that come and go below a source, copies of sources, sources in sources; needs root."""

import errno
import lzma
import os
import shutil
import subprocess

import support
from filesystems_support import OPTIONS, Case, mount_at, names_below, tree_of
from own_mounts import in_own_namespace
from support import run, temp_dir, wait_until
from test_write_disk import disk, unmount
from write_support import (WriteMount, assert_valid, leftovers, patched, read_file,
                           write_at, write_file)


class Borders(Case):
    """File systems below the source that are mounted later, or can't be written to."""

    def setUp(self):
        super().setUp()
        self.inner = os.path.join(self.source, "inner")
        os.mkdir(self.inner)
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))

    def store(self, path):
        write_file(path, lzma.compress(self.plain, preset=0))

    def test_a_file_system_that_is_mounted_later_gets_its_own_xzfs_folder(self):
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

    def test_writing_to_a_read_only_file_system_below_fails_and_nothing_is_tried_again(self):
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

    def test_pending_changes_on_a_read_only_file_system_are_shown_and_stay(self):
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
            self.assertIn("mount point", mount.sync_error())
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.state("inner/point"), "plain")
        self.assertEqual(read_file(other), patched(self.plain, 0, b"CHANGED"))

    def test_files_stay_plain_where_there_is_no_room_for_the_xzfs_folder(self):
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

    def attach(self, image):
        """A loop device of it, until the test ends."""
        loop = run(["losetup", "--find", "--show", image]).decode().strip()
        self.stack.callback(run, ["losetup", "--detach", loop])
        return loop

    def test_pending_changes_are_found_when_the_device_has_another_number(self):
        image, source = self.stack.enter_context(disk(["mkfs.ext4", "-q"], 32 << 20))
        self.store(os.path.join(source, "old.xz"))
        device = os.stat(source).st_dev
        with WriteMount(source, OPTIONS) as mount:
            write_at(mount / "old", 0, b"NEW")
            write_file(mount / "new", self.plain)
            mount.kill()
        unmount(source)
        loop = self.attach(image)
        if os.stat(loop).st_rdev == device:
            loop = self.attach(image)  # another one, as the first stays
        mount_at(self.stack, loop, source)
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

    def test_the_pending_changes_of_a_source_below_are_committed_by_the_mount_above(self):
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
        # The files as they would look after another mount of the source.
        for name in ("old.xz", "other.xz"):
            path = os.path.join(real, name)
            run(["cp", "-p", path, path + ".copy"])
            if name == "other.xz":  # and one with other content, but the same size and time
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
    """Two mounts; the source of one lies in the source of the other."""

    def setUp(self):
        super().setUp()
        self.inner = os.path.join(self.source, "inner")
        os.mkdir(self.inner)
        self.plain = b"".join(b"%d\n" % i for i in range(20_000))
        write_file(os.path.join(self.inner, "old.xz"), lzma.compress(self.plain, preset=0))

    def test_a_source_in_the_source_of_another_mount_is_refused(self):
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "inner/old", 0, b"NEW")
            with temp_dir() as place:
                # In a namespace that sees no mount of xzfs.
                done = subprocess.run(
                    in_own_namespace(support.BINARY, self.inner, place),
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                self.assertEqual(done.returncode, 32, done.stdout)
                self.assertIn(b"lies in the source of another running mount", done.stdout)
                self.assertEqual(done.stdout.count(b"\n"), 1)
            self.assertEqual(read_file(mount / "inner/old"), patched(self.plain, 0, b"NEW"))

    def test_a_mounted_source_that_appears_below_is_hidden_and_its_tree_read_only(self):
        inner = self.stack.enter_context(WriteMount(self.inner, OPTIONS))
        write_at(inner / "old", 0, b"NEW")
        inner_private = names_below(os.path.join(self.inner, ".xzfs"))
        with temp_dir() as place:
            # In a namespace that doesn't show the first mount, so xzfs doesn't refuse this one.
            outer = subprocess.Popen(
                in_own_namespace(support.BINARY, "-f", self.source, place),
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
