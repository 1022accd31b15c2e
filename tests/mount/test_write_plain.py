"""Which files a mount leaves plain, and what makes it compress them after all."""

import ctypes
import os
import stat

import support
import xzformat
from support import wait_until
from write_support import WriteMount, assert_valid, noise, read_file, write_file

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


if __name__ == "__main__":
    support.main()
