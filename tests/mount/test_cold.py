"""compress=cold: which files are compressed and when, and what xzfs remembers of them."""

import contextlib
import os
import threading
import time
import unittest

import support
import xzformat
from support import MIB, wait_until
from write_support import (SavingMount, WriteMount, assert_valid, noise, patched, read_file, write_at,
                           write_file)

TEXT = xzformat.text(1, 200_000)
QUICK = "compress=cold,cold_after=1s,preset=0"


class Cold(support.MountTest):
    def stored(self, name):
        return os.path.join(self.source, name)

    def put(self, name, content=TEXT, mode=0o644):
        os.makedirs(os.path.dirname(self.stored(name)), exist_ok=True)
        write_file(self.stored(name), content, mode)

    def is_compressed(self, name):
        return os.path.exists(self.stored(name + ".xz")) and not os.path.exists(self.stored(name))

    def await_compressed(self, *names):
        for name in names:
            # The search has idle priority: it hardly runs while other tests keep the processors busy.
            wait_until(lambda name=name: self.is_compressed(name), f"{name} is compressed", 120)

    @staticmethod
    def await_walks(mount, count):
        """Waits until this many more walks have begun and ended."""
        end = mount.stats()["cold"]["walks"] + count + 1  # the walk that is running now doesn't count
        wait_until(lambda: mount.stats()["cold"]["walks"] >= end, "the source is searched again",
                   120)


class Policy(Cold):
    def test_unused_files_are_compressed_also_if_written_without_the_mount(self):
        self.put("old/from the source")
        self.put("old/x.xz.xzhot")  # shown as x.xz, as if it had been written through the mount
        os.setxattr(self.stored("old/from the source"), "user.colour", b"blue")
        os.utime(self.stored("old/from the source"), ns=(10**18, 10**18 + 7))
        with WriteMount(self.source, QUICK) as mount:
            write_file(mount / "written", TEXT)
            before = os.stat(mount / "old/from the source")
            self.await_compressed("old/from the source", "written")
            wait_until(lambda: os.path.exists(self.stored("old/x.xz.xz")), "x.xz, too")
            after = os.stat(mount / "old/from the source")
            self.assertEqual((after.st_mtime_ns, after.st_ino, after.st_mode),
                             (before.st_mtime_ns, before.st_ino, before.st_mode))
            self.assertEqual(os.getxattr(mount / "old/from the source", "user.colour"), b"blue")
            for name in ("old/from the source", "old/x.xz", "written"):
                self.assertEqual(read_file(mount / name), TEXT)
            self.await_walks(mount, 1)
            cold = mount.stats()["cold"]
            self.assertEqual(cold["compressed"]["files"], 3)
            self.assertEqual(cold["compressed"]["plain_bytes"], 3 * len(TEXT))
            self.assertLess(cold["compressed"]["compressed_bytes"], len(TEXT))
            self.assertEqual(cold["plain"]["files"], 0)
        for name in ("old/from the source.xz", "old/x.xz.xz", "written.xz"):
            assert_valid(self, self.stored(name), TEXT)
        self.assertFalse(os.path.exists(self.stored(".xzfs")))  # xzfs needs to remember nothing

    def test_a_close_leaves_a_file_plain_until_it_is_cold(self):
        """Settle, sync and unmount don't compress it. An old mtime that was just set doesn't count."""
        self.put("file in the source")
        os.utime(self.stored("file in the source"), (10**9, 10**9))  # it was changed just now, though
        with WriteMount(self.source, "compress=cold,cold_after=1h,settle=0,sync_close") as mount:
            write_file(mount / "file", TEXT)
            os.utime(mount / "file", (10**9, 10**9))
            mount.sync()
            wait_until(lambda: mount.stats()["cold"]["walks"] == 1, "a walk")
            cold = mount.stats()["cold"]
            # The walk may have found a file that was just made and still empty.
            self.assertEqual(cold["plain"]["files"],
                             cold["waiting"]["files"] + cold["kept_plain"]["files"])
            self.assertGreaterEqual(cold["waiting"]["files"], 1)
            self.assertEqual(mount.stats()["commits"]["done"], 0)
        self.assertEqual(read_file(self.stored("file")), TEXT)
        self.assertEqual(read_file(self.stored("file in the source")), TEXT)

    def test_a_compressed_file_that_is_changed_is_committed_when_it_is_closed(self):
        """Otherwise its changes would stay in .xzfs only."""
        with WriteMount(self.source, "compress=cold,cold_after=1h,settle=0,preset=0") as mount:
            support.make_compressed(self.source, "file", TEXT)
            write_at(mount / "file", 5, b"changed")
            mount.sync()
            self.assertEqual(mount.stats()["commits"]["done"], 1)
        assert_valid(self, self.stored("file.xz"), patched(TEXT, 5, b"changed"))

    def test_a_file_that_is_read_through_the_mount_is_not_cold(self):
        self.put("read")
        self.put("left alone")
        with WriteMount(self.source, "compress=cold,cold_after=3s,preset=0") as mount:
            def left_alone_is_cold():
                self.assertEqual(read_file(mount / "read"), TEXT)
                return self.is_compressed("left alone")

            wait_until(left_alone_is_cold, "what nobody reads is compressed")
            self.await_walks(mount, 0)
            self.assertEqual(read_file(mount / "read"), TEXT)
            self.assertFalse(self.is_compressed("read"))
            self.await_compressed("read")  # now that nobody reads it any more

    def test_an_open_file_is_not_compressed_and_that_is_no_error(self):
        self.put("open in the source")
        self.put("open in the mount")
        self.put("free")
        with WriteMount(self.source, QUICK) as mount, contextlib.ExitStack() as stack:
            stack.enter_context(open(self.stored("open in the source"), "r+b"))
            stack.enter_context(open(mount / "open in the mount", "rb"))
            self.await_compressed("free")
            self.await_walks(mount, 1)
            self.assertFalse(self.is_compressed("open in the source"))
            self.assertFalse(self.is_compressed("open in the mount"))
            stats = mount.stats()
            self.assertEqual(stats["cold"]["waiting"]["files"], 2)
            self.assertEqual((stats["commits"]["failed"], stats["commits"]["last_error"]), (0, ""))
            stack.close()
            self.await_compressed("open in the source", "open in the mount")

    def test_files_that_stay_plain_in_any_mode_stay_plain_here(self):
        self.put("photo.jpg")
        self.put("keep/all")
        self.put("small", b"few")
        self.put("linked")
        os.link(self.stored("linked"), self.stored("other name"))
        self.put("set-id")
        os.chmod(self.stored("set-id"), 0o4755)
        self.put("sub/compressed")
        with WriteMount(self.source, QUICK + ",exclude=*.jpg,exclude=keep/*,min_size=4") as mount:
            self.await_compressed("sub/compressed")
            self.await_walks(mount, 1)
            self.assertEqual(mount.stats()["cold"]["kept_plain"]["files"], 6)
            self.assertEqual(mount.stats()["cold"]["compressed"]["files"], 1)
        for name in ("photo.jpg", "keep/all", "small", "linked", "other name", "set-id"):
            self.assertTrue(os.path.exists(self.stored(name)), name)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_other_file_systems_below_the_source_are_left_alone(self):
        self.put("file")
        os.mkdir(self.stored("other"))
        support.run(["mount", "-t", "tmpfs", "tmpfs", self.stored("other")])
        try:
            self.put("other/file")
            with WriteMount(self.source, QUICK) as mount:
                self.await_compressed("file")
                self.await_walks(mount, 1)
                self.assertEqual(mount.stats()["commits"]["failed"], 0)
            self.assertFalse(self.is_compressed("other/file"))
        finally:
            support.run(["umount", self.stored("other")])


class Memory(Cold):
    def test_a_file_that_does_not_shrink_is_tried_once_until_it_changes(self):
        self.put("noise", noise(1, 300_000))
        options = QUICK + ",block_size=64KiB"
        with SavingMount(self.source, options) as mount:
            def tried():
                return mount.stats()["cold"]["unshrinkable"]["files"] == 1

            wait_until(tried, "it is tried")
            self.await_walks(mount, 2)
            self.assertTrue(tried())
            self.assertEqual(mount.stats()["cold"]["compressed"]["files"], 0)
            self.assertEqual(mount.commits()["in_vain"], 1)
            self.assertEqual(mount.commits()["unshrinkable"]["files"], 1)
        with SavingMount(self.source, options) as mount:
            # Nothing is encoded again: a look at the folder of new files never finds one.
            end = mount.stats()["cold"]["walks"] + 3
            while mount.stats()["cold"]["walks"] < end:
                self.assertEqual([name for _, _, names in os.walk(self.stored(".xzfs"))
                                  for name in names if name.endswith(".tmp")], [])
            self.assertEqual(mount.stats()["cold"]["unshrinkable"]["files"], 1)
            self.assertEqual(mount.commits()["in_vain"], 0)
            write_file(mount / "noise", TEXT)
            self.await_compressed("noise")
            self.assertEqual(read_file(mount / "noise"), TEXT)

    def test_a_mount_that_wants_less_saving_tries_the_files_again(self):
        self.put("nearly noise", noise(1, 950_000) + bytes(50_000))
        for least, tried in (("10", 1), ("20", 0), ("8", 1)):
            with WriteMount(self.source, QUICK + f",min_saving={least}") as mount:
                wait_until(lambda mount=mount:
                           mount.stats()["cold"]["unshrinkable"]["files"] == 1, "it is met")
                self.assertEqual(mount.commits()["in_vain"], tried, least)
        with WriteMount(self.source, QUICK + ",min_saving=1"):
            self.await_compressed("nearly noise")

    def test_what_saves_no_disk_block_is_not_looked_at(self):
        self.put("note", b"hi\n")
        with SavingMount(self.source, QUICK) as mount:
            self.await_walks(mount, 1)
            self.assertEqual(mount.stats()["cold"]["unshrinkable"]["files"], 1)
            self.assertEqual(mount.stats()["cold"]["kept_plain"]["files"], 0)
            self.assertEqual(mount.commits()["in_vain"], 0)

    def test_a_file_that_is_changed_through_the_mount_is_tried_again_when_a_tenth_has_changed(self):
        with SavingMount(self.source, QUICK) as mount:
            write_file(mount / "noise", noise(1, 300_000))
            wait_until(lambda: mount.commits()["in_vain"] == 1, "it is tried")
            write_at(mount / "noise", 5, b"changed")
            self.await_walks(mount, 1)
            wait_until(lambda: mount.stats()["cold"]["unshrinkable"]["files"] == 1, "it is known")
            self.assertEqual(mount.commits()["in_vain"], 1)
            write_at(mount / "noise", 5, noise(2, 30_000))
            wait_until(lambda: mount.commits()["in_vain"] == 2, "it is tried again")

    def test_the_search_goes_on_where_it_was_and_umount_does_not_wait_for_it(self):
        slow = xzformat.text(2, 10 * MIB)
        for name in ("a/1", "a.b/2", "c/3"):
            self.put(name)
        self.put("b/slow", slow)
        with WriteMount(self.source, QUICK + ",preset=9e,block_size=32MiB") as mount:
            self.await_compressed("a/1", "a.b/2")
            wait_until(lambda: mount.stats()["cold"]["directory"] == "b", "it comes to b")
            begin = time.monotonic()
        self.assertLess(time.monotonic() - begin, 10 * support.SLOWNESS)
        self.assertEqual(read_file(self.stored("b/slow")), slow)
        self.assertFalse(self.is_compressed("c/3"))
        self.assertIn(b"b", read_file(self.stored(".xzfs/cold")))
        self.put("a/new")
        with WriteMount(self.source, QUICK) as mount:
            self.await_compressed("b/slow", "c/3", "a/new")
            self.assertEqual(read_file(mount / "b/slow"), slow)
        # "a" comes before "b", so the next walk compressed it.
        self.assertGreater(os.stat(self.stored("a/new.xz")).st_ctime_ns,
                           os.stat(self.stored("c/3.xz")).st_ctime_ns)

    def test_damaged_notes_do_no_harm(self):
        self.put("noise", noise(1, 100_000))
        with SavingMount(self.source, QUICK) as mount:
            wait_until(lambda: mount.stats()["cold"]["unshrinkable"]["files"] == 1, "it is tried")
        notes = read_file(self.stored(".xzfs/cold"))
        for broken in (notes[:-3], b"", b"\xff" * 100, notes + notes[:9], bytes(5000)):
            write_file(self.stored(".xzfs/cold"), broken)
            with SavingMount(self.source, QUICK) as mount:
                wait_until(lambda mount=mount: mount.stats()["cold"]["walks"] > 0, "a walk")
                self.assertNotIn("error", mount.log())
            self.assertEqual(read_file(self.stored("noise")), noise(1, 100_000))

    def test_programs_that_write_during_the_search_lose_nothing(self):
        """Writers and the search for cold files work on the same files, again and again."""
        names = [f"file{number}" for number in range(4)]
        for name in names:
            self.put(name)
        with WriteMount(self.source, "compress=cold,cold_after=0s,preset=0,settle=0") as mount:
            expected = {name: TEXT for name in names}
            end = time.monotonic() + support.scaled(30, 8) / 10
            rounds = 0

            def work(name):
                nonlocal rounds
                while time.monotonic() < end:
                    more = os.urandom(20).hex().encode()
                    offset = int.from_bytes(os.urandom(2), "little")
                    write_at(mount / name, offset, more)
                    expected[name] = patched(expected[name], offset, more)
                    self.assertEqual(read_file(mount / name), expected[name])
                    rounds += 1

            threads = [threading.Thread(target=work, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertGreater(rounds, 10)
            self.await_compressed(*names)
            for name in names:
                self.assertEqual(read_file(mount / name), expected[name])
            self.assertGreater(mount.stats()["cold"]["compressed"]["files"], 0)
        for name in names:
            self.assertEqual(support.xz_output(self.stored(name + ".xz"), ("xz", "-dc")),
                             expected[name])


if __name__ == "__main__":
    support.main()
