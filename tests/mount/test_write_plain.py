"""Which files a mount leaves plain, and what makes it compress them after all."""

import ctypes
import os
import stat

import support
import xzformat
from support import MIB, wait_until
from write_support import (SavingMount, Strace, WriteMount, assert_valid, noise, patched, read_file,
                           write_all, write_at, write_file)

TEXT = xzformat.text(1, 100_000)
_libc = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE = 2


def exchange(a, b):
    if _libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


class Plain(support.MountTest):
    def stored(self, name):
        return os.path.join(self.source, name)

    def stored_names(self, folder=""):
        return sorted(name for name in os.listdir(self.stored(folder)) if name != ".xzfs")


class Freed(Plain):
    """An operation ends the reason for which a file was left plain."""

    def put(self, mount, *names, content=TEXT):
        for name in names:
            write_file(mount / name, content)
        mount.sync()

    def test_a_file_that_is_renamed_out_of_exclude_is_compressed(self):
        with WriteMount(self.source, "exclude=*.log") as mount:
            self.put(mount, "app.log", "other.log")
            self.assertEqual(self.stored_names(), ["app.log", "other.log"])
            os.rename(mount / "app.log", mount / "app.log.1")
            os.rename(mount / "other.log", mount / "another.log")
            mount.sync()
            self.assertEqual(self.stored_names(), ["another.log", "app.log.1.xz"])
            self.assertEqual(read_file(mount / "app.log.1"), TEXT)
        assert_valid(self, self.stored("app.log.1.xz"), TEXT)

    def test_such_a_rename_in_a_later_mount_or_by_the_path_of_a_glob_or_into_a_taken_name_counts_too(self):
        os.makedirs(self.stored("work"))
        with WriteMount(self.source, "exclude=*.log,exclude=work/*") as mount:
            self.put(mount, "app.log", "work/result", "work/over")
            self.put(mount, "taken")
        self.assertEqual(self.stored_names(), ["app.log", "taken.xz", "work"])
        with WriteMount(self.source, "exclude=*.log,exclude=work/*") as mount:
            os.rename(mount / "app.log", mount / "app.log.1")
            os.rename(mount / "work/result", mount / "result")
            os.rename(mount / "work/over", mount / "taken")
            mount.sync()
            self.assertEqual(self.stored_names(),
                             ["app.log.1.xz", "result.xz", "taken.xz", "work"])

    def test_a_file_that_loses_an_excluded_name_by_an_exchange_is_compressed(self):
        with WriteMount(self.source, "exclude=*.log") as mount:
            self.put(mount, "app.log", content=TEXT[::-1])
            self.put(mount, "old")
            exchange(mount / "app.log", mount / "old")
            mount.sync()
            self.assertEqual(self.stored_names(), ["app.log.xz", "old.xz"])
            self.assertEqual(read_file(mount / "old"), TEXT[::-1])

    def test_a_rename_compresses_no_file_that_no_rule_has_kept_plain(self):
        """It was in the source, and no program has written to it through a mount."""
        write_file(self.stored("old"), TEXT)
        with WriteMount(self.source, "exclude=*.log") as mount:
            os.rename(mount / "old", mount / "older")
            mount.sync()
            self.assertEqual(self.stored_names(), ["older"])

    def test_nothing_is_compressed_after_a_rename_with_compress_off(self):
        with WriteMount(self.source, "exclude=*.log,compress=off") as mount:
            self.put(mount, "app.log")
            os.rename(mount / "app.log", mount / "app.log.1")
            mount.sync()
            self.assertEqual(self.stored_names(), ["app.log.1"])

    def test_a_file_that_waits_for_its_commit_and_is_renamed_into_exclude_stays_plain(self):
        with WriteMount(self.source, "exclude=*.log") as mount:
            write_file(mount / "app", TEXT)
            os.rename(mount / "app", mount / "app.log")
            mount.sync()
            self.assertEqual(self.stored_names(), ["app.log"])

    def test_a_file_is_compressed_when_its_last_link_but_one_goes(self):
        for way in ("removed", "replaced"):
            with self.subTest(way), WriteMount(self.source) as mount:
                write_file(mount / "a", TEXT)
                os.link(mount / "a", mount / "b")
                os.link(mount / "a", mount / "c")
                mount.sync()
                os.unlink(mount / "c")
                mount.sync()
                self.assertEqual(self.stored_names(), ["a", "b"])
                if way == "removed":
                    os.unlink(mount / "a")
                else:
                    write_file(mount / "new", TEXT)
                    os.rename(mount / "new", mount / "a")
                mount.sync()
                self.assertIn("b.xz", self.stored_names())
                self.assertEqual(read_file(mount / "b"), TEXT)
                for name in ("a", "b"):
                    if os.path.exists(mount / name):
                        os.unlink(mount / name)

    def test_a_file_is_compressed_when_its_set_id_bit_goes(self):
        with WriteMount(self.source) as mount:
            for name, mode in (("by chmod", 0o4755), ("by chown", 0o4755), ("kept", 0o4755)):
                write_file(mount / name, TEXT)
                os.chmod(mount / name, mode)
            mount.sync()
            self.assertEqual(self.stored_names(), ["by chmod", "by chown", "kept"])
            os.chmod(mount / "by chmod", 0o755)
            os.chmod(mount / "kept", 0o4711)
            os.chown(mount / "by chown", 1, 1)
            if os.stat(mount / "by chown").st_mode & stat.S_ISUID:
                os.chmod(mount / "by chown", 0o755)
            mount.sync()
            self.assertEqual(self.stored_names(), ["by chmod.xz", "by chown.xz", "kept"])

    def test_a_file_whose_compressed_name_was_taken_is_compressed_under_its_new_name(self):
        write_file(self.stored("a.xz"), noise(1, 5000))
        with WriteMount(self.source, "settle=0") as mount:
            write_file(mount / "a", TEXT)
            wait_until(lambda: mount.commits()["given_up"] == 1, "the file is given up")
            os.rename(mount / "a", mount / "b")
            wait_until(lambda: self.stored_names() == ["a.xz", "b.xz"], "it is compressed")
            mount.sync()
            self.assertEqual(mount.commits()["given_up"], 0)


class MinSaving(Plain):
    """What would not shrink stays plain."""

    def tried_in_vain(self, mount):
        return mount.commits()["in_vain"]

    def unshrinkable(self, mount):
        return tuple(mount.commits()["unshrinkable"].values())

    def test_small_and_random_files_stay_plain_and_text_is_compressed(self):
        with SavingMount(self.source) as mount:
            write_file(mount / "note", b"hi\n")
            write_file(mount / "one block", TEXT[:4096])
            write_file(mount / "two blocks", TEXT[:8192])
            write_file(mount / "photo.jpg", noise(1, 300_000))
            write_file(mount / "video", noise(2, 9 * MIB))
            write_file(mount / "text", TEXT)
            mount.sync()
            self.assertEqual(self.stored_names(), ["note", "one block", "photo.jpg", "text.xz",
                                                   "two blocks.xz", "video"])
            self.assertEqual(self.unshrinkable(mount), (4, 3 + 4096 + 300_000 + 9 * MIB))
            self.assertEqual(self.tried_in_vain(mount), 2)  # the small ones were not looked at
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.commits()["pending"], 0)
            self.assertIn("one disk block", mount.info("note")["stays_plain"])
            self.assertIn("less than min_saving", mount.info("photo.jpg")["stays_plain"])
            self.assertNotIn("stays_plain", mount.info("text"))
            for name in ("note", "photo.jpg", "text"):
                os.unlink(mount / name)
            self.assertEqual(self.unshrinkable(mount), (2, 4096 + 9 * MIB))

    def test_files_that_would_save_less_than_their_share_or_no_disk_block_stay_plain(self):
        content = noise(1, 950_000) + bytes(50_000)
        for option, names in (("min_saving=4", ["a.xz"]), ("min_saving=6%", ["a"]),
                              ("min_saving=100", ["a"]), ("min_saving=0", ["a.xz"])):
            with self.subTest(option), SavingMount(self.source, option) as mount:
                write_file(mount / "a", content)
                mount.sync()
                self.assertEqual(self.stored_names(), names)
                os.unlink(mount / "a")

    def test_holes_count_as_nothing_so_a_file_that_is_nearly_empty_stays_plain(self):
        with SavingMount(self.source) as mount:
            for name, data in (("noise", noise(1, 8192)), ("text", TEXT[:65536])):
                fd = os.open(mount / name, os.O_WRONLY | os.O_CREAT)
                os.ftruncate(fd, 64 * MIB)
                os.pwrite(fd, data, 32 * MIB)
                os.close(fd)
            mount.sync()
            self.assertEqual(self.stored_names(), ["noise", "text.xz"])

    def test_a_huge_file_is_not_read_whole_to_find_that_it_would_not_shrink(self):
        with SavingMount(self.source) as mount:
            fd = os.open(mount / "disk", os.O_WRONLY | os.O_CREAT)
            for part in range(64):
                write_all(fd, noise(part, MIB))
            os.close(fd)
            with Strace(mount.pid, "trace=pread64,preadv,preadv2,read,copy_file_range") as strace:
                mount.sync()
                strace.detach()
                calls = [call for call in strace.calls() if "/disk>" in call.text]
            self.assertEqual({call.name for call in calls}, {"pread64"})
            read = sum(int(call.text.split(", ")[-2]) for call in calls)
            self.assertGreater(read, 100_000)
            self.assertEqual(self.stored_names(), ["disk"])
            self.assertEqual(self.tried_in_vain(mount), 1)
            self.assertLess(read, 2 * MIB)

    def test_what_was_tried_in_vain_is_not_tried_again_until_a_tenth_has_changed(self):
        with SavingMount(self.source) as mount:
            write_file(mount / "photo", noise(1, 300_000))
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 1)
            for part in range(4):  # together less than a tenth
                write_at(mount / "photo", part * 1000, noise(10 + part, 1000))
                mount.sync()
                write_at(mount / "photo", 300_000 + part * 1000, noise(20 + part, 1000))
                os.utime(mount / "photo", (10**9, 10**9))
                mount.sync()
                self.assertEqual(self.tried_in_vain(mount), 1)
                self.assertIn("min_saving", mount.info("photo")["stays_plain"])
            write_at(mount / "photo", 0, noise(3, 30_000))
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 2)
            with open(mount / "photo", "ab") as photo:  # it grows by a tenth
                photo.write(noise(4, 31_000))
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 3)
            with open(mount / "photo", "ab") as photo:
                photo.write(TEXT)
            mount.sync()
            self.assertEqual(self.stored_names(), ["photo.xz"])
            self.assertEqual(self.unshrinkable(mount), (0, 0))

    def test_a_file_that_was_rewritten_with_its_size_is_tried_again(self):
        with SavingMount(self.source, "sync_close") as mount:
            write_file(mount / "file", noise(1, len(TEXT)))
            self.assertEqual(self.stored_names(), ["file"])
            write_at(mount / "file", 5, b"a few bytes")
            self.assertEqual(self.tried_in_vain(mount), 1)
            write_file(mount / "file", TEXT)
            self.assertEqual(self.stored_names(), ["file.xz"])

    def test_a_new_file_with_the_inode_number_of_a_removed_one_is_tried(self):
        with SavingMount(self.source) as mount:
            for name in (f"noise {number}" for number in range(8)):
                write_file(mount / name, noise(1, len(TEXT)))
            mount.sync()
            for name in self.stored_names():
                os.unlink(mount / name)
            for name in (f"text {number}" for number in range(8)):
                write_file(mount / name, TEXT)
            mount.sync()
            self.assertEqual(self.stored_names(), [f"text {number}.xz" for number in range(8)])

    def test_a_name_that_needs_the_escape_suffix_is_compressed_whatever_it_saves(self):
        with SavingMount(self.source) as mount:
            write_file(mount / "foo.tar.xz", noise(1, 300_000))
            write_file(mount / "bar.tar.xz", noise(1, 3 * MIB))
            write_file(mount / "tiny.txz", b"x")
            write_file(mount / "photo", noise(1, 300_000))
            write_file(mount / "note", b"x")
            mount.sync()
            self.assertEqual(self.stored_names(), ["bar.tar.xz.xz", "foo.tar.xz.xz", "note", "photo",
                                                   "tiny.txz.xz"])
            self.assertEqual(read_file(mount / "foo.tar.xz"), noise(1, 300_000))
            os.rename(mount / "photo", mount / "photo.xz")
            os.rename(mount / "note", mount / "note.lz")
            mount.sync()
            self.assertEqual(self.stored_names(), ["bar.tar.xz.xz", "foo.tar.xz.xz", "note.lz.xz",
                                                   "photo.xz.xz", "tiny.txz.xz"])

    def test_an_edited_file_stays_compressed_whatever_it_saves(self):
        support.make_compressed(self.source, "file", TEXT)
        support.make_compressed(self.source, "small", b"text")
        with SavingMount(self.source) as mount:
            write_file(mount / "file", noise(1, 200_000))
            write_at(mount / "small", 0, b"T")
            mount.sync()
            self.assertEqual(self.stored_names(), ["file.xz", "small.xz"])
            self.assertEqual(read_file(mount / "file"), noise(1, 200_000))
            self.assertEqual(self.unshrinkable(mount), (0, 0))

    def test_a_directory_of_photos_costs_nothing_but_one_look_at_each(self):
        photos = {f"IMG_{number}.jpg": noise(number, 100_000 + 250_000 * number)
                  for number in range(8)}
        with SavingMount(self.source, "settle=0") as mount:
            for name, content in photos.items():
                write_file(mount / name, content)
            mount.sync()
            self.assertEqual(self.stored_names(), sorted(photos))
            for name, content in photos.items():
                self.assertEqual(read_file(mount / name), content)
            # Programs that open photos for writing and change their tags.
            for name in photos:
                write_at(mount / name, 20, b"tag")
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), len(photos))
            self.assertEqual(self.stored_names(), sorted(photos))
            self.assertEqual(mount.commits()["blocks_encoded"], 0)

    def test_after_a_crash_the_next_mount_leaves_the_file_plain_too(self):
        with SavingMount(self.source) as mount:
            write_file(mount / "photo", noise(1, 300_000))
            write_file(mount / "text", TEXT)
            mount.kill()
        with SavingMount(self.source) as mount:
            mount.sync()
            self.assertEqual(self.stored_names(), ["photo", "text.xz"])
            self.assertEqual(self.tried_in_vain(mount), 1)
            mount.kill()
        with SavingMount(self.source) as mount:
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 0)  # nothing was pending
            write_at(mount / "photo", 5, b"x")
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 1)
            self.assertEqual(read_file(mount / "photo"), patched(noise(1, 300_000), 5, b"x"))
        self.assertEqual(self.stored_names(), ["photo", "text.xz"])

    def test_the_setting_can_be_changed_and_counts_from_then_on(self):
        with SavingMount(self.source) as mount:
            write_file(mount / "photo", noise(1, 300_000))
            mount.sync()
            self.assertEqual(mount.stats()["settings"]["min_saving_percent"], 1)
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.cmd.set.min_saving=5"), b"ok")
            write_at(mount / "photo", 0, b"x")
            mount.sync()
            self.assertEqual(self.tried_in_vain(mount), 1)  # it would save still less
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.cmd.set.min_saving=0"), b"ok")
            self.assertEqual(mount.stats()["settings"]["min_saving_percent"], 0)
            self.assertNotIn("stays_plain", mount.info("photo"))
            self.assertEqual(self.stored_names(), ["photo"])
            write_at(mount / "photo", 0, b"x")
            mount.sync()
            self.assertEqual(self.stored_names(), ["photo.xz"])
            self.assertIn(b"not a percentage",
                          os.getxattr(mount.path, "user.xzfs.cmd.set.min_saving=x"))


if __name__ == "__main__":
    support.main()
