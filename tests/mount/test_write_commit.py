"""A commit makes a standard .xz with the file's bytes and attributes; and when it does."""

import contextlib
import errno
import glob
import lzma
import mmap
import os
import random
import re
import struct
import threading

import support
import write_support
import xzformat
from support import MIB, make_compressed, wait_until
from write_support import (WriteMount, assert_valid, listing, noise, patched, read_file,
                           stored_path, write_at, write_file)

CHECKS = {"none": "None", "crc32": "CRC32", "crc64": "CRC64", "sha256": "SHA-256"}
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def acl(*entries):
    """A POSIX ACL as the attribute's value: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# user::rw- user:1234:rwx group::r-- mask::rwx other::---
ACL = acl((1, 6, 0xFFFFFFFF), (2, 7, 1234), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF),
          (32, 0, 0xFFFFFFFF))


def attributes(path):
    return {key: os.getxattr(path, key) for key in os.listxattr(path)}


def dictionary_for(size):
    """The smallest dictionary of at least `size` bytes for which LZMA2 has a code."""
    return min(length << shift for length in (2, 3) for shift in range(11, 31)
               if length << shift >= size)


def expected_blocks(size, block):
    return [min(block, size - at) for at in range(0, size, block)]


class Kept(write_support.OnMount):
    options = "block_size=64KiB,preset=1,acl"

    def test_a_commit_changes_nothing_that_the_mount_shows(self):
        """Mode, owner, times to the nanosecond, xattrs, ACL, inode number; also of the stored file."""
        content = xzformat.text(1, 300_000)
        for state in ("plain", "edited"):
            name = f"kept-{state}"
            path = self.store(name, content, state)
            os.setxattr(path, "user.colour", b"blue")
            os.setxattr(path, "user.empty", b"")
            os.setxattr(path, "user.large", b"v" * 2000)
            if os.geteuid() == 0:
                os.chown(path, 1001, 1002)
                os.setxattr(path, "trusted.note", b"root only")
            os.chmod(path, 0o640)
            os.setxattr(path, "system.posix_acl_access", ACL)
            os.utime(path, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
            self.assert_state(name, state)
            before, notes = os.stat(path), attributes(path)
            directory = os.stat(self.root)
            self.assertEqual(notes["system.posix_acl_access"], ACL)
            reader = os.open(path, os.O_RDONLY)
            try:
                self.assert_committed(name, content, state)
                after = os.stat(path)
                self.assertEqual(os.fstat(reader).st_ino, before.st_ino)
            finally:
                os.close(reader)
            stored = os.stat(stored_path(self.source, name))
            for field in ("st_mtime_ns", "st_ctime_ns"):
                self.assertEqual(getattr(os.stat(self.root), field), getattr(directory, field),
                                 (field, state, "of the directory"))
            for field in ("st_mode", "st_uid", "st_gid", "st_nlink", "st_size", "st_ino",
                          "st_mtime_ns", "st_ctime_ns"):
                self.assertEqual(getattr(after, field), getattr(before, field), (field, state))
                if field not in ("st_size", "st_ino", "st_ctime_ns"):
                    self.assertEqual(getattr(stored, field), getattr(before, field), field)
            self.assertEqual(attributes(path), notes)
            self.assertEqual(attributes(stored_path(self.source, name)), notes)

    def test_a_commit_keeps_what_the_base_had(self):
        """Edits a file that xz made: its owner, mode and attributes stay."""
        content = xzformat.text(2, 200_000)
        stored = make_compressed(self.source, "base", content)
        os.chmod(stored, 0o604)
        os.setxattr(stored, "user.from", b"outside")
        if os.geteuid() == 0:
            os.chown(stored, 1003, 1004)
        before = os.stat(stored)
        write_at(self.path("base"), 1000, b"edited")
        self.sync()
        after = os.stat(stored)
        self.assertNotEqual(after.st_ino, before.st_ino)  # the stored file is another one
        for field in ("st_mode", "st_uid", "st_gid"):
            self.assertEqual(getattr(after, field), getattr(before, field), field)
        self.assertEqual(os.getxattr(stored, "user.from"), b"outside")
        assert_valid(self, stored, patched(content, 1000, b"edited"))


class Encoding(support.MountTest):

    def test_blocks_check_and_dictionary_follow_the_options(self):
        content = xzformat.text(3, 700_001)
        for block, check, preset in ((64 << 10, "none", "0"), (100_000, "crc32", "3e"),
                                     (256 << 10, "crc64", "6"), (4096, "sha256", "1"),
                                     (2 * MIB, "crc32", "9")):
            with self.subTest(block=block, check=check, preset=preset), WriteMount(
                    self.source, f"block_size={block},check={check},preset={preset}") as mount:
                name = f"file-{block}"
                write_file(mount / name, content)
                mount.sync()
                stored = stored_path(self.source, name)
                assert_valid(self, stored, content)
                seen = listing(stored)
                self.assertEqual(seen["blocks"], expected_blocks(len(content), block))
                self.assertEqual(seen["check"], CHECKS[check])
                dictionaries = re.findall(r"dict=(\d+)([KMG]iB)?", " ".join(seen["filters"]))
                self.assertTrue(dictionaries)
                for number, unit in dictionaries:
                    self.assertLessEqual(int(number) * UNITS[unit], dictionary_for(block))

    def test_sizes_are_taken_with_units(self):
        content = noise(1, 300_000)
        for text, block in (("128KiB", 128 << 10), ("65536", 65536), ("1MiB", MIB)):
            with WriteMount(self.source, f"block_size={text}") as mount:
                write_file(mount / "file", content)
                mount.sync()
                self.assertEqual(listing(stored_path(self.source, "file"))["blocks"],
                                 expected_blocks(len(content), block))

    def test_incompressible_data_is_stored_in_chunks(self):
        """The .xz is valid and hardly larger than the content; Blocks that compress are compressed."""
        content = noise(2, 2 * MIB) + xzformat.text(4, 2 * MIB) + noise(3, 300_000)
        with WriteMount(self.source, "block_size=256KiB,preset=1") as mount:
            write_file(mount / "mixed", content)
            mount.sync()
            figures = mount.commits()
            stored = stored_path(self.source, "mixed")
            assert_valid(self, stored, content)
            self.assertGreaterEqual(figures["blocks_stored"], 8)
            self.assertLess(figures["blocks_stored"], 12)
            self.assertLess(os.stat(stored).st_size,
                            (2 * MIB + 300_000) * 1.002 + MIB + 4096)

    def test_stored_size_is_that_of_xz(self):
        content = xzformat.text(5, 3 * MIB)
        plain = os.path.join(self.source, "plain")
        for preset in ("1", "6"):
            with WriteMount(self.source, f"block_size=512KiB,check=crc64,preset={preset}") as mount:
                write_file(mount / "file", content)
                mount.sync()
                stored = os.stat(stored_path(self.source, "file")).st_size
            write_file(plain, content)
            wanted = len(support.run(["xz", f"-{preset}", "-T1", "--block-size=512KiB", "-c", plain]))
            os.unlink(plain)
            self.assertLess(stored, wanted * 1.005 + 64, preset)


class Reuse(support.MountTest):
    """An edit encodes only the Blocks that it touches, whichever program wrote the file."""

    BLOCK = 128 << 10
    COUNT = 32

    def check(self, mount, name, content, change, encoded):
        """`change(path)` returns the new content; the commit encodes at most `encoded` Blocks."""
        before = mount.commits()
        wanted = change(mount / name)
        self.assertEqual(mount.state(name), "edited")
        mount.sync()
        after = mount.commits()
        assert_valid(self, stored_path(self.source, name), wanted)
        support.assert_same(self, read_file(mount / name), wanted, name)
        self.assertLessEqual(after["blocks_encoded"] - before["blocks_encoded"], encoded)
        self.assertEqual(after["done"], before["done"] + 1)
        return after["blocks_reused"] - before["blocks_reused"]

    def test_untouched_blocks_are_used_again(self):
        content = xzformat.text(6, self.BLOCK * self.COUNT)

        def append(path):
            write_at(path, len(content), b"a line more\n" * 340)
            return content + b"a line more\n" * 340

        def change(path):
            write_at(path, self.BLOCK * 9 + 77, b"changed" * 500)
            return patched(content, self.BLOCK * 9 + 77, b"changed" * 500)

        def cut(path):
            os.truncate(path, self.BLOCK * 20)
            return content[:self.BLOCK * 20]

        def straddle(path):
            write_at(path, self.BLOCK * 5 - 3, b"across")
            return patched(content, self.BLOCK * 5 - 3, b"across")

        def extend(path):
            os.truncate(path, len(content) + 10)
            return content + bytes(10)

        with WriteMount(self.source, f"block_size={self.BLOCK},preset=0,check=crc32") as mount:
            for act, encoded, reused in ((append, 1, self.COUNT), (change, 1, self.COUNT - 1),
                                         (cut, 0, 20), (straddle, 2, self.COUNT - 2),
                                         (extend, 1, self.COUNT)):
                with self.subTest(act.__name__):
                    write_file(mount / "large", content)
                    mount.sync()
                    self.assertEqual(self.check(mount, "large", content, act, encoded), reused)

    def test_blocks_that_other_programs_wrote_are_used_again(self):
        content = xzformat.text(7, self.BLOCK * self.COUNT)

        def append(path):
            write_at(path, len(content), b"the end\n")
            return content + b"the end\n"

        with WriteMount(self.source, f"block_size={self.BLOCK},preset=0") as mount:
            for check in ("crc32", "crc64", "sha256", "none"):
                plain = os.path.join(self.source, f"by-xz-{check}")
                write_file(plain, content)
                support.run(["xz", "-0", "-T2", f"--block-size={self.BLOCK}", f"--check={check}",
                             plain])
                with self.subTest(check=check):
                    self.assertEqual(self.check(mount, f"by-xz-{check}", content, append, 1),
                                     self.COUNT)

    def test_files_of_many_streams_and_of_one_block_are_edited(self):
        """Stream Padding, empty Streams, and one Block that holds everything."""
        parts = [xzformat.text(number, 90_000) for number in range(6)]
        content = b"".join(parts)
        stored = b"".join(lzma.compress(part, preset=0) + bytes(4 * (number % 3))
                          for number, part in enumerate(parts))
        stored += lzma.compress(b"")
        with WriteMount(self.source, "block_size=64KiB,preset=0") as mount:
            for name, base in (("streams", stored), ("one-block", lzma.compress(content, preset=1))):
                with open(stored_path(self.source, name), "wb") as out:
                    out.write(base)
                wanted = content
                for at in (0, 89_999, 270_000, len(content) - 1, len(content) + 5):
                    write_at(mount / name, at, b"!!")
                    wanted = patched(wanted, at, b"!!")
                    mount.sync()
                    assert_valid(self, stored_path(self.source, name), wanted)
                os.truncate(mount / name, 200_000)
                mount.sync()
                assert_valid(self, stored_path(self.source, name), wanted[:200_000])

    def test_many_edits_of_one_file_are_one_commit(self):
        rng = random.Random(write_support.SEED)
        content = xzformat.text(8, self.BLOCK * 8)
        with WriteMount(self.source, f"block_size={self.BLOCK},preset=0") as mount:
            write_file(mount / "file", content)
            mount.sync()
            done = mount.commits()["done"]
            for _ in range(support.scaled(400, 50)):
                at, new = rng.randrange(len(content) + 5000), rng.randbytes(rng.randint(1, 3000))
                write_at(mount / "file", at, new)
                content = patched(content, at, new)
            support.assert_same(self, read_file(mount / "file"), content, "edited")
            mount.sync()
            self.assertEqual(mount.commits()["done"], done + 1)
            assert_valid(self, stored_path(self.source, "file"), content)


class When(support.MountTest):

    def test_a_closed_file_settles_and_is_committed_and_an_open_one_is_not(self):
        with WriteMount(self.source, "settle=0.3,preset=0") as mount:
            with open(mount / "held", "wb", buffering=0) as held:
                held.write(b"held open " * 1000)
                write_file(mount / "closed", b"closed " * 1000)
                self.assertEqual(mount.state("closed"), "plain")  # the file is still settling
                self.assertGreaterEqual(mount.commits()["pending"], 1)
                self.assertGreaterEqual(mount.commits()["pending_bytes"], 7000)
                wait_until(lambda: mount.state("closed") == "compressed", "it is committed")
                self.assertEqual(mount.state("held"), "plain")
                mount.sync()
                self.assertEqual(mount.state("held"), "plain")
                held.write(b"more")
            wait_until(lambda: mount.state("held") == "compressed", "it is committed after its close")
            mount.sync()  # the file is compressed a moment before the commit ends
            figures = mount.commits()
            self.assertEqual((figures["pending"], figures["pending_bytes"], figures["failed"]),
                             (0, 0, 0))
            self.assertEqual(figures["done"], 2)
            self.assertEqual(figures["plain_bytes"], 10_004 + 7_000)
            self.assertEqual(figures["compressed_bytes"], sum(
                os.stat(path).st_size for path in glob.glob(self.source + "/*.xz")))
            # The same holds for an edited file.
            with open(mount / "closed", "r+b", buffering=0) as held:
                held.write(b"EDITED")
                self.assertEqual(mount.state("closed"), "edited")
                write_file(mount / "other", b"other " * 1000)
                wait_until(lambda: mount.state("other") == "compressed", "another is committed")
                self.assertEqual(mount.state("closed"), "edited")
            wait_until(lambda: mount.state("closed") == "compressed", "it is committed, too")
            assert_valid(self, stored_path(self.source, "closed"), b"EDITED " + b"closed " * 999)

    def test_opening_for_writing_without_writing_changes_nothing(self):
        content = xzformat.text(9, 100_000)
        with WriteMount(self.source) as mount:
            make_compressed(self.source, "compressed", content)
            before = os.stat(stored_path(self.source, "compressed"))
            for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND):
                fd = os.open(mount / "compressed", flags)
                self.assertEqual(os.fstat(fd).st_size, len(content))
                os.close(fd)
                self.assertEqual(mount.state("compressed"), "compressed")
            mount.sync()
            after = os.stat(stored_path(self.source, "compressed"))
            self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
            self.assertEqual(mount.commits()["done"], 0)

    def test_a_new_writer_cancels_a_commit(self):
        """It also cancels a commit that is encoding; nothing that the new writer writes is lost."""
        content = xzformat.text(10, 2 * MIB) * 8
        with WriteMount(self.source, "settle=0,preset=9e,block_size=1MiB,compress_threads=1") as mount:
            for state in ("plain", "edited"):
                before = mount.commits()
                if state == "edited":
                    # Changes each Block.
                    with open(mount / "file", "r+b", buffering=0) as file:
                        for at in range(0, len(content), MIB):
                            os.pwrite(file.fileno(), b"E", at)
                    content = b"".join(b"E" + content[at + 1:at + MIB]
                                       for at in range(0, len(content), MIB))
                else:
                    write_file(mount / "file", content)

                def encoding():
                    found = glob.glob(self.source + "/.xzfs/*/*.tmp")
                    with contextlib.suppress(FileNotFoundError):
                        return any(os.stat(path).st_size > 0 for path in found)
                    return False

                wait_until(encoding, "a commit is at work")
                self.assertEqual(mount.state("file"), state)
                fd = os.open(mount / "file", os.O_WRONLY)
                os.pwrite(fd, b"NEW", 5 * MIB + 7)
                content = patched(content, 5 * MIB + 7, b"NEW")
                wait_until(lambda: mount.commits()["cancelled"] > before["cancelled"],
                           "the commit is cancelled")
                self.assertEqual(mount.commits()["done"], before["done"])
                self.assertEqual(mount.state("file"), state)
                # The wait need not be short: the commit encodes at idle priority.
                os.getxattr(mount.path, "user.xzfs.cmd.set.preset=0")
                os.close(fd)
                mount.sync()
                os.getxattr(mount.path, "user.xzfs.cmd.set.preset=9e")
                self.assertEqual(mount.state("file"), "compressed")
                assert_valid(self, stored_path(self.source, "file"), content)

    def test_sync_close_waits_for_the_commit(self):
        with WriteMount(self.source, "sync_close,preset=0,block_size=64KiB") as mount:
            content = xzformat.text(11, 500_000)
            write_file(mount / "file", content)
            self.assertEqual(os.listdir(self.source).count("file.xz"), 1)
            self.assertEqual(mount.state("file"), "compressed")
            write_at(mount / "file", 200_000, b"edit")
            self.assertEqual(mount.state("file"), "compressed")
            content = patched(content, 200_000, b"edit")
            assert_valid(self, stored_path(self.source, "file"), content)
            with open(mount / "file", "r+b", buffering=0) as one:
                write_at(mount / "file", 0, b"two writers")  # another descriptor is still open
                one.write(b"TWO")
            self.assertEqual(mount.state("file"), "compressed")
            assert_valid(self, stored_path(self.source, "file"),
                         patched(content, 0, b"TWO writers"))

    def test_sync_close_succeeds_while_others_read(self):
        content = xzformat.text(13, 200_000)
        with WriteMount(self.source, "sync_close,preset=0") as mount:
            for number in range(10):
                path = mount / f"file{number}"
                has_read, ending = threading.Semaphore(0), threading.Event()

                def read(path=path, has_read=has_read, ending=ending):
                    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
                    buffer = mmap.mmap(-1, 256 << 10)
                    while not ending.is_set():
                        os.preadv(fd, [buffer], 0)
                        has_read.release()
                    os.close(fd)

                fd = os.open(path, os.O_CREAT | os.O_RDWR)
                os.pwrite(fd, content, 0)
                readers = [threading.Thread(target=read) for _ in range(3)]
                try:
                    for reader in readers:
                        reader.start()
                        has_read.acquire()
                    os.close(fd)  # EBUSY would mean that xzfs took the readers for writers
                    self.assertEqual(mount.state(f"file{number}"), "compressed")
                finally:
                    ending.set()
                    for reader in readers:
                        reader.join()

    def test_compress_off_leaves_new_files_plain(self):
        content = xzformat.text(12, 100_000)
        with WriteMount(self.source, "compress=off,settle=0") as mount:
            write_file(mount / "file", content)
            mount.sync()
            self.assertEqual(mount.state("file"), "plain")
            self.assertEqual(mount.commits()["done"], 0)
        self.assertEqual(os.listdir(self.source).count("file"), 1)
        self.assertEqual(read_file(os.path.join(self.source, "file")), content)

    def test_unmounting_and_sigterm_finish_what_is_pending(self):
        for end in ("umount", "SIGTERM"):
            content = xzformat.text(13, 300_000)
            with WriteMount(self.source) as mount:
                write_file(mount / end, content)
                mount.sync()
                write_file(mount / f"{end}-plain", content)
                write_at(mount / end, 100, b"edited")
                self.assertGreaterEqual(mount.commits()["pending"], 2)
                if end == "SIGTERM":
                    mount.process.terminate()
                    self.assertEqual(mount.process.wait(60), 0)
            assert_valid(self, stored_path(self.source, end), patched(content, 100, b"edited"))
            assert_valid(self, stored_path(self.source, f"{end}-plain"), content)
            self.assertEqual(write_support.leftovers(self.source), [])

    def test_a_read_only_mount_warns_of_changes_that_it_does_not_show(self):
        make_compressed(self.source, "compressed", b"content" * 100)
        with support.Mount(self.source, "ro") as mount:
            self.assertNotIn("not committed", mount.log())
        with WriteMount(self.source, "settle=3600") as mount:
            write_at(mount / "compressed", 0, b"edited ")
            mount.kill()
        with support.Mount(self.source, "ro") as mount:
            self.assertEqual(read_file(mount / "compressed"), b"content" * 100)
            self.assertIn("1 file has changes that are not committed and not shown", mount.log())
        with WriteMount(self.source) as mount:
            self.assertEqual(read_file(mount / "compressed")[:7], b"edited ")

    def test_a_read_only_mount_refuses_every_change(self):
        make_compressed(self.source, "compressed", b"content" * 100)
        write_file(os.path.join(self.source, "plain"), b"content")
        os.mkdir(os.path.join(self.source, "dir"))
        with support.Mount(self.source, "ro") as mount:
            for name in ("compressed", "plain"):
                path = mount / name
                for act in ((os.open, path, os.O_RDWR), (os.truncate, path, 1), (os.unlink, path),
                            (os.chmod, path, 0o600), (os.utime, path), (os.rename, path, path + "x"),
                            (os.link, path, path + "x"), (os.setxattr, path, "user.a", b"b"),
                            (os.open, path + "x", os.O_CREAT | os.O_WRONLY)):
                    self.assert_errno(errno.EROFS, *act)
            for act in ((os.mkdir, mount / "x"), (os.rmdir, mount / "dir"), (os.mkfifo, mount / "x"),
                        (os.symlink, "a", mount / "x")):
                self.assert_errno(errno.EROFS, *act)
            os.getxattr(mount.path, "user.xzfs.cmd.sync")
        self.assertEqual(sorted(os.listdir(self.source)), ["compressed.xz", "dir", "plain"])

    def test_files_of_the_old_formats_can_not_be_written(self):
        stored = lzma.compress(b"old" * 1000, format=lzma.FORMAT_ALONE)
        with open(os.path.join(self.source, "old.lzma"), "wb") as out:
            out.write(stored)
        write_file(os.path.join(self.source, "older"), b"older" * 1000)
        support.run(["lzip", os.path.join(self.source, "older")])
        with WriteMount(self.source) as mount:
            for name, content in (("old", b"old" * 1000), ("older", b"older" * 1000)):
                self.assertEqual(read_file(mount / name), content)
                for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC,
                              os.O_WRONLY | os.O_APPEND):
                    self.assert_errno(errno.EROFS, os.open, mount / name, flags)
                self.assert_errno(errno.EROFS, os.truncate, mount / name, 1)
                self.assert_errno(errno.EEXIST, os.open, mount / name,
                                  os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                self.assertEqual(read_file(mount / name), content)
            # They can be renamed like all other files.
            os.rename(mount / "old", mount / "renamed")
            self.assertEqual(read_file(mount / "renamed"), b"old" * 1000)
            os.unlink(mount / "older")
            self.assertEqual(os.listdir(mount.path), ["renamed"])
        self.assertEqual([name for name in os.listdir(self.source) if name != ".xzfs"],
                         ["renamed.lzma"])


if __name__ == "__main__":
    support.main()
