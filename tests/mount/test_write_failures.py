"""Files that can't be committed are counted and named, once in the log, and not tried in vain."""

import errno
import lzma
import os
import re
import struct
import unittest
import zlib

import support
import xzformat
from support import MountTest
from write_support import (Strace, WriteMount, assert_valid, attribute, in_threads, leftovers,
                           outcome, read_file, stored_path, write_at, write_file)

CONTENT = xzformat.text(1, 100_000)
# Python has one name for two errors with the same number.
UNSUPPORTED = errno.errorcode[errno.EOPNOTSUPP]
OPTIONS = "block_size=64KiB,preset=0,min_size=1"
# Removes root's rights over files of others; it may still mount.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set",
                  "-chown,-fowner,-dac_override,-dac_read_search,-fsetid")


class Failures(MountTest):
    def at(self, name):
        return os.path.join(self.source, name)

    def assert_given_up(self, mount, name, *words):
        """The file is the only one that xzfs has given up, and sync and the figures say so."""
        error = mount.sync_error()
        # A file that was closed while its commit was tried is looked at once more.
        support.wait_until(lambda: mount.commits()["pending"] == 0,
                           lambda: f"nothing is pending, after {error!r}: {mount.commits()}\n"
                                   f"{mount.log()[-3000:]}")
        commits = mount.commits()
        self.assertEqual(commits["given_up"], 1)
        self.assertEqual([(file["path"], file["state"]) for file in commits["uncommitted"]],
                         [(name, "given_up")])
        for told in (error, commits["uncommitted"][0]["reason"]):
            for word in (name, *words):
                self.assertIn(word, told)
        return commits

    def assert_all_committed(self, mount):
        mount.sync()
        commits = mount.commits()
        self.assertEqual((commits["pending"], commits["given_up"], commits["uncommitted"]),
                         (0, 0, []))


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Directories(Failures):
    def setUp(self):
        super().setUp()
        os.mkdir(self.at("d"))

    def test_a_new_file_in_a_directory_that_only_grows_stays_plain_and_is_not_encoded(self):
        with WriteMount(self.source, OPTIONS) as mount, attribute("a", self.at("d")):
            with Strace(mount.pid, "trace=openat2,renameat2,unlinkat") as strace:
                write_file(mount / "d/new", CONTENT)
                self.assert_given_up(mount, "d/new", "may only be appended to")
                self.assert_given_up(mount, "d/new")  # sync has it looked at again, but not encoded
                calls = strace.calls()
            self.assertTrue(any('"new"' in call.text for call in calls))
            self.assertFalse([call for call in calls if re.search(r"\d\.tmp", call.text)])
            self.assertEqual(os.listdir(self.at("d")), ["new"])
            self.assertIn("may only be appended to", mount.info("d/new")["stays_plain"])

    def test_a_file_that_was_given_up_is_committed_if_it_changes_once_the_reason_is_gone(self):
        with WriteMount(self.source, OPTIONS) as mount:
            with attribute("a", self.at("d")):
                write_file(mount / "d/new", CONTENT)
                self.assert_given_up(mount, "d/new")
            write_at(mount / "d/new", 0, b"changed")
            self.assert_all_committed(mount)
            self.assertEqual(mount.state("d/new"), "compressed")
        self.assertEqual(leftovers(self.source), [])

    def test_a_file_that_was_given_up_is_committed_by_the_next_mount(self):
        with attribute("a", self.at("d")), WriteMount(self.source, OPTIONS) as mount:
            write_file(mount / "d/new", CONTENT)
            write_file(mount / "other", CONTENT)
            self.assert_given_up(mount, "d/new")
        self.assertNotEqual(leftovers(self.source), [])
        with WriteMount(self.source, OPTIONS) as mount:
            self.assert_all_committed(mount)
            assert_valid(self, stored_path(self.source, "d/new"), CONTENT)
        self.assertEqual(leftovers(self.source), [])

    def test_a_file_that_was_given_up_is_committed_under_its_new_name(self):
        for ends in ("now", "by the next mount"):
            with self.subTest(ends):
                with WriteMount(self.source, OPTIONS) as mount:
                    with attribute("a", self.at("d")):
                        write_file(mount / "d/new", CONTENT)
                        self.assert_given_up(mount, "d/new")
                    os.rename(mount / "d/new", mount / "d/moved")
                    self.assertEqual(mount.commits()["uncommitted"][0]["path"], "d/moved")
                    if ends == "now":
                        self.assert_all_committed(mount)
                    else:
                        mount.kill()
                with WriteMount(self.source, OPTIONS) as mount:
                    self.assert_all_committed(mount)
                    assert_valid(self, stored_path(self.source, "d/moved"), CONTENT)
                    os.unlink(mount / "d/moved")
                self.assertEqual(leftovers(self.source), [])

    def test_a_file_that_is_opened_and_not_changed_is_not_tried_again(self):
        with WriteMount(self.source, OPTIONS) as mount, attribute("a", self.at("d")):
            write_file(mount / "d/new", CONTENT)
            failed = self.assert_given_up(mount, "d/new")["failed"]
            for _ in range(3):
                os.close(os.open(mount / "d/new", os.O_RDWR))
            commits = mount.commits()
            self.assertEqual((commits["pending"], commits["given_up"], commits["failed"]),
                             (0, 1, failed))

    def test_a_file_that_is_removed_is_no_longer_reported(self):
        with WriteMount(self.source, OPTIONS) as mount:
            with attribute("a", self.at("d")):
                write_file(mount / "d/one", CONTENT)
                write_file(mount / "d/two", CONTENT)
                self.assertIn("2 files", mount.sync_error())
            os.unlink(mount / "d/one")
            self.assertEqual([file["path"] for file in mount.commits()["uncommitted"]], ["d/two"])
            os.unlink(self.at("d/two"))
            self.assert_all_committed(mount)
        self.assertEqual(leftovers(self.source), [])

    def test_with_sync_close_the_close_returns_the_error(self):
        with WriteMount(self.source, OPTIONS + ",sync_close") as mount:
            with attribute("a", self.at("d")):
                self.assertEqual(outcome(lambda path: write_file(path, CONTENT), mount / "d/new"),
                                 "EPERM")
                self.assertEqual(read_file(mount / "d/new"), CONTENT)
            write_file(mount / "d/new", CONTENT)
            self.assertEqual(mount.state("d/new"), "compressed")

    def test_a_file_that_is_a_mount_point_is_not_encoded(self):
        write_file(self.at("file"), CONTENT)
        support.run(["mount", "--bind", self.at("file"), self.at("file")])
        try:
            with WriteMount(self.source, OPTIONS) as mount:
                write_at(mount / "file", 0, b"changed")
                self.assert_given_up(mount, "file", "mount point")
                self.assertEqual(sorted(os.listdir(self.source)), [".xzfs", "d", "file"])
        finally:
            support.run(["umount", self.at("file")])


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class WithoutRights(Failures):
    """The daemon is not root, or lacks root's rights, and another user owns the files."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.at("theirs"))
        os.chmod(self.at("theirs"), 0o777)
        write_file(self.at("theirs/plain"), CONTENT)
        support.make_compressed(self.source, "theirs/compressed", CONTENT)
        for name in ("theirs/plain", "theirs/compressed.xz"):
            os.chown(self.at(name), 1001, 1001)
            os.chmod(self.at(name), 0o666)

    def test_a_plain_file_of_others_takes_changes_and_stays_plain(self):
        with WriteMount(self.source, OPTIONS, prefix=WITHOUT_RIGHTS) as mount:
            with Strace(mount.pid, "trace=pwrite64") as strace:
                write_at(mount / "theirs/plain", 0, b"changed")
                self.assert_given_up(mount, "theirs/plain", "owner")
                self.assertFalse([call for call in strace.calls()
                                  if re.search(r"/\d+\.tmp", call.text)])  # it isn't encoded
            self.assertEqual(sorted(os.listdir(self.at("theirs"))), ["compressed.xz", "plain"])
            self.assertEqual(read_file(self.at("theirs/plain"))[:7], b"changed")

    def test_a_compressed_file_of_others_takes_no_changes(self):
        with WriteMount(self.source, OPTIONS, prefix=WITHOUT_RIGHTS) as mount:
            self.assertEqual(outcome(lambda path: write_at(path, 0, b"x"), mount / "theirs/compressed"),
                             "EPERM")
            self.assertEqual(outcome(lambda path: os.truncate(path, 0), mount / "theirs/compressed"),
                             "EPERM")
            self.assertEqual(read_file(mount / "theirs/compressed"), CONTENT)
            self.assert_all_committed(mount)

    def test_in_a_sticky_directory_of_others_nothing_is_published(self):
        os.chmod(self.at("theirs"), 0o1777)
        os.chown(self.at("theirs"), 1001, 1001)
        with WriteMount(self.source, OPTIONS, prefix=WITHOUT_RIGHTS) as mount:
            write_at(mount / "theirs/plain", 0, b"changed")
            self.assert_given_up(mount, "theirs/plain", "sticky")
            write_file(mount / "theirs/ours", CONTENT)
            self.assert_given_up(mount, "theirs/plain", "sticky")
            self.assertEqual(sorted(os.listdir(self.at("theirs"))),
                             ["compressed.xz", "ours.xz", "plain"])

    def test_a_new_file_may_deny_everything_and_is_read_by_its_handle(self):
        os.mkdir(self.at("ours"))
        for mode in (0o200, 0, 0o400):
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                oracle = os.open(self.at(f"ours/oracle{mode}-{flags}"), flags | os.O_CREAT, mode)
                os.close(oracle)
                with WriteMount(self.source, OPTIONS, prefix=WITHOUT_RIGHTS) as mount:
                    fd = os.open(mount / f"ours/{mode}-{flags}", flags | os.O_CREAT, mode)
                    if flags != os.O_RDONLY:
                        self.assertEqual(os.write(fd, b"content"), 7)
                    if flags != os.O_WRONLY:
                        self.assertEqual(os.pread(fd, 10, 0),
                                         b"content" if flags == os.O_RDWR else b"")
                    os.close(fd)

    def test_in_a_directory_that_may_not_be_changed_nothing_is_published(self):
        os.chown(self.at("theirs"), 1001, 1001)
        os.chmod(self.at("theirs"), 0o755)
        os.chown(self.at("theirs/plain"), 0, 0)
        with WriteMount(self.source, OPTIONS, prefix=WITHOUT_RIGHTS) as mount:
            write_at(mount / "theirs/plain", 0, b"changed")
            self.assert_given_up(mount, "theirs/plain", "Permission denied")


class Names(Failures):
    def test_a_plain_file_without_room_for_a_suffix_stays_plain(self):
        name = "n" * 253
        write_file(self.at(name), CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / name, 0, b"changed")
            self.assert_all_committed(mount)
            self.assertEqual(mount.state(name), "plain")
            self.assertIn("too long", mount.info(name)["stays_plain"])
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.log().count("too long"), 1)
        self.assertEqual(leftovers(self.source), [])
        self.assertEqual(read_file(self.at(name))[:7], b"changed")

    def test_a_file_whose_name_is_too_long_to_be_escaped_is_written_under_that_name(self):
        name = "m" * 247 + ".xz"
        write_file(self.at(name), CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / name, 10, b"changed")
            os.truncate(mount / name, 50_000)
            self.assertEqual(os.listdir(mount.path), [name])
            wanted = CONTENT[:10] + b"changed" + CONTENT[17:50_000]
            self.assertEqual(read_file(mount / name), wanted)
            self.assert_all_committed(mount)  # this name has room
            self.assertEqual(mount.state(name), "compressed")
            assert_valid(self, stored_path(self.source, name), wanted)
        self.assertEqual(leftovers(self.source), [])

    def test_a_file_whose_name_is_too_long_to_be_escaped_can_not_become_compressed_content(self):
        name = "m" * 250 + ".xz"
        write_file(self.at(name), CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            for change in (lambda path: write_at(path, 0, b"\xfd7zXZ\0\0\4"),
                           lambda path: write_at(path, 0, b"\xfd7zXZ\0" + CONTENT)):
                self.assertEqual(outcome(change, mount / name), "ENAMETOOLONG")
            write_at(mount / name, 3, b"XZ\0")
            self.assertEqual(outcome(lambda path: write_at(path, 0, b"\xfd7z"), mount / name),
                             "ENAMETOOLONG")
            os.truncate(mount / name, 0)
            fd = os.open(mount / name, os.O_WRONLY | os.O_APPEND)
            self.assertEqual(os.write(fd, b"\xfd7z"), 3)
            self.assertEqual(outcome(lambda _: os.write(fd, b"XZ\0"), ""), "ENAMETOOLONG")
            os.close(fd)
            self.assertEqual(os.listdir(mount.path), [name])
            self.assertEqual(read_file(mount / name), b"\xfd7z")
            self.assert_all_committed(mount)

    def test_a_file_whose_compressed_name_is_taken_is_given_up_and_reported(self):
        with WriteMount(self.source, OPTIONS) as mount:
            write_file(mount / "file", CONTENT)
            write_file(self.at("file.xz"), b"of somebody else")
            self.assert_given_up(mount, "file", "'file.xz' already exists")
            self.assertEqual(read_file(self.at("file.xz")), b"of somebody else")
            os.unlink(self.at("file.xz"))
            write_at(mount / "file", 0, b"changed")
            self.assert_all_committed(mount)

    def test_a_file_whose_escaped_name_is_taken_is_given_up_and_reported(self):
        write_file(self.at("x.xz"), b"plain text " * 1000)
        write_file(self.at("x.xz.xzhot"), b"of somebody else")
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "x.xz", 0, b"changed")
            self.assert_given_up(mount, "x.xz", "'x.xz.xzhot' already exists")
            self.assertEqual(sorted(os.listdir(mount.path)), ["x.xz", "x.xz.xzhot"])
            self.assertEqual(read_file(mount / "x.xz")[:7], b"changed")
            self.assertEqual(read_file(mount / "x.xz.xzhot"), b"of somebody else")


class Unsupported(Failures):
    def test_a_file_from_a_newer_xz_is_called_unsupported_and_takes_no_changes(self):
        write_file(self.at("plain"), CONTENT)
        write_file(self.at("file.xz"), xzformat.without_a_filter(self.at("plain")))
        with WriteMount(self.source, OPTIONS) as mount:
            self.assertEqual(outcome(read_file, mount / "file"), "EIO")
            for flags in (os.O_WRONLY, os.O_RDWR | os.O_APPEND):
                self.assertEqual(outcome(lambda path: os.close(os.open(path, flags)),
                                         mount / "file"), UNSUPPORTED)
            self.assertEqual(outcome(lambda path: os.truncate(path, 0), mount / "file"),
                             UNSUPPORTED)
            self.assertIn("liblzma", mount.info("file")["unsupported"])
            self.assertNotIn("damaged", mount.info("file"))
            self.assertNotIn("damaged:", mount.log())
            self.assertEqual(mount.log().count("unsupported: file.xz, Block 0"), 1)
            self.assertEqual(mount.stats()["damaged"], {"blocks": 0, "files": 0})
            self.assert_all_committed(mount)
            os.rename(mount / "file", mount / "other")  # everything else works with it
            os.unlink(mount / "other")

    def test_a_stream_with_flags_of_a_newer_format_is_called_unsupported(self):
        packed = bytearray(lzma.compress(CONTENT, preset=0))
        for flags, crc in ((6, 8), (len(packed) - 3, len(packed) - 12)):
            packed[flags] |= 0x10  # reserved
        packed[8:12] = struct.pack("<I", zlib.crc32(bytes(packed[6:8])))
        footer = len(packed) - 12
        packed[footer:footer + 4] = struct.pack("<I", zlib.crc32(bytes(packed[footer + 4:-2])))
        write_file(self.at("file.xz"), bytes(packed))
        with WriteMount(self.source, OPTIONS) as mount:
            self.assertEqual(outcome(read_file, mount / "file"), "EIO")
            self.assertEqual(outcome(lambda path: write_at(path, 0, b"x"), mount / "file"),
                             UNSUPPORTED)
            self.assertIn("unsupported", mount.info("file"))
            self.assertNotIn("damaged:", mount.log())

    def test_a_change_beside_a_damaged_block_is_given_up_and_kept(self):
        content = xzformat.text(1, 200_000)
        write_file(self.at("plain"), content)
        stored = bytearray(support.xz_output(self.at("plain"),
                                             ("xz", "-c", "-0", "--block-size=100000")))
        stored[2000] ^= 1
        write_file(self.at("file.xz"), bytes(stored))
        with WriteMount(self.source, OPTIONS) as mount:
            write_at(mount / "file", 50_000, b"in the damaged one")
            self.assert_given_up(mount, "file")
            self.assertEqual(mount.commits()["failed"], 1)
            self.assertEqual(mount.state("file"), "edited")
        self.assertNotEqual(leftovers(self.source), [])


class Waiting(Failures):
    def test_a_file_that_waits_is_named_and_logged_once(self):
        write_file(self.at("log"), CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            fd = os.open(self.at("log"), os.O_WRONLY)  # leases prevent its commit
            try:
                write_at(mount / "log", 0, b"changed")
                for _ in range(3):
                    self.assertIn("open for writing", mount.sync_error())
                commits = mount.commits()
                self.assertEqual((commits["pending"], commits["given_up"]), (1, 0))
                self.assertEqual([(file["path"], file["state"])
                                  for file in commits["uncommitted"]], [("log", "waits")])
                self.assertGreaterEqual(commits["failed"], 3)
                self.assertEqual(mount.log().count("open for writing"), 1)
            finally:
                os.close(fd)
            self.assert_all_committed(mount)


class Elsewhere(Failures):
    def test_a_plain_file_open_for_writing_stays_usable_when_it_is_removed_in_the_source(self):
        write_file(self.at("file"), CONTENT)
        with WriteMount(self.source, OPTIONS + ",attr_timeout=0") as mount:
            fd = os.open(mount / "file", os.O_RDWR)
            try:
                os.unlink(self.at("file"))
                self.assertEqual(os.fstat(fd).st_nlink, 0)
                self.assertEqual(os.write(fd, b"changed"), 7)
                self.assertEqual(os.pread(fd, 20, 0), b"changed" + CONTENT[7:20])
                os.fsync(fd)
                self.assertEqual(os.fstat(fd).st_size, len(CONTENT))
            finally:
                os.close(fd)
            self.assert_all_committed(mount)


class Unchanged(Failures):
    """A program that opens a file for writing and writes nothing has changed nothing."""

    def test_opening_for_writing_leaves_the_source_as_it_was(self):
        write_file(self.at("plain"), CONTENT)
        write_file(self.at("text.xz"), b"no xz at all " * 100)
        support.make_compressed(self.source, "compressed", CONTENT)
        support.make_compressed(self.source, "pair", CONTENT)
        write_file(self.at("pair"), CONTENT)
        times = os.stat(self.at("pair.xz"))
        os.utime(self.at("pair"), ns=(times.st_atime_ns, times.st_mtime_ns))

        def look():
            return {name: os.lstat(self.at(name)) for name in sorted(os.listdir(self.source))}

        before = look()
        with WriteMount(self.source, OPTIONS) as mount:
            for name in ("plain", "text.xz", "compressed", "pair"):
                for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
                    os.close(os.open(mount / name, flags))
            self.assert_all_committed(mount)
            self.assertEqual(look(), before)
            self.assertEqual(mount.commits()["done"], 0)
            write_at(mount / "text.xz", 0, b"NO")
            self.assertEqual(read_file(self.at("text.xz.xzhot"))[:5], b"NO xz")
        self.assertEqual(leftovers(self.source), [])

    def test_a_name_is_never_missing_while_it_is_escaped(self):
        names = [f"t{at}.xz" for at in range(support.scaled(200, 20))]
        for name in names:
            write_file(self.at(name), b"no xz at all " * 100)
        with WriteMount(self.source, OPTIONS) as mount:
            done = []

            def work(what):
                if what == "change":
                    for name in names:
                        write_at(mount / name, 0, b"NO")
                    done.append(True)
                while not done:
                    listed = os.listdir(mount.path) if what == "list" else names
                    self.assertEqual(sorted(listed), sorted(names))
                    for name in names:
                        os.stat(mount / name)

            in_threads(work, ["change", "list", "stat", "stat"])
            self.assert_all_committed(mount)
            self.assertEqual({mount.state(name) for name in names}, {"compressed"})


class Notes(Failures):
    """The list of pending files."""

    def pending_size(self):
        sizes = []
        for folder, _, files in os.walk(self.at(".xzfs")):
            sizes += [os.path.getsize(os.path.join(folder, name)) for name in files
                      if name.startswith("pending")]
        return sum(sizes)

    def test_the_list_stays_short_over_many_opens_of_one_file(self):
        write_file(self.at("one"), b"")
        with WriteMount(self.source, OPTIONS) as mount:
            log = os.open(mount / "log", os.O_WRONLY | os.O_CREAT)
            try:
                for _ in range(support.scaled(5000, 500)):
                    fd = os.open(mount / "one", os.O_WRONLY)
                    os.write(fd, b"x")
                    os.close(fd)
                self.assertLess(self.pending_size(), 200)
                self.assertGreater(self.pending_size(), 0)
            finally:
                os.close(log)
            mount.sync()
            support.wait_until(lambda: self.pending_size() == 0, "the list is empty")

    def test_the_list_is_empty_once_an_idle_mount_has_no_writer(self):
        with WriteMount(self.source, OPTIONS + ",settle=0") as mount:
            log = os.open(mount / "log", os.O_WRONLY | os.O_CREAT)
            write_file(mount / "one", CONTENT)
            support.wait_until(lambda: mount.state("one") == "compressed", "it is committed")
            os.unlink(mount / "log")
            self.assertGreater(self.pending_size(), 0)
            os.close(log)
            support.wait_until(lambda: self.pending_size() == 0, "nothing is noted any more")


if __name__ == "__main__":
    support.main()
