"""The source changes under the mount: the next open sees the new bytes, and no reader sees a mixture."""

import contextlib
import errno
import lzma
import os
import threading

import support
import xzformat
from support import MIB, Mount, MountTest

OLD, NEW = b"old", b"new"


def content(kind, size=6 * MIB):
    """Every 16 bytes say whether they belong to the old or the new file, and at which offset."""
    return b"".join(b"%s %011d\n" % (kind, at) for at in range(0, size, 16))


def versions_in(data):
    return {data[at:at + 3] for at in range(0, len(data) // 16 * 16, 16)}


def pack(plain, block=256 << 10):
    blocks = ()
    for at in range(0, len(plain), block):
        blocks += xzformat.blocks_of(plain[at:at + block])
    return xzformat.stream(blocks, lzma.CHECK_CRC32)


class Changes(MountTest):

    @classmethod
    def setUpClass(cls):
        cls.old, cls.new = content(OLD), content(NEW)
        cls.old_stored, cls.new_stored = pack(cls.old), pack(cls.new)
        cls.longer = cls.old + content(NEW, MIB)
        cls.longer_stored = cls.old_stored + pack(cls.longer[len(cls.old):])

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.source, "file.xz")

    # The ways in which a stored file changes.

    def store_old(self):
        with open(self.path, "wb") as out:
            out.write(self.old_stored)

    def replace(self):
        with open(self.path + ".tmp", "wb") as out:
            out.write(self.new_stored)
        os.rename(self.path + ".tmp", self.path)
        return self.new

    def rewrite(self):
        with open(self.path, "r+b") as out:
            out.truncate(0)
            out.write(self.new_stored)
        return self.new

    def rewrite_without_truncating(self):
        """The inode stays, and the file is never shorter than the old one."""
        with open(self.path, "r+b") as out:
            out.write(self.new_stored)
            out.truncate()
        return self.new

    def grow(self):
        with open(self.path, "ab") as out:
            out.write(self.longer_stored[len(self.old_stored):])
        return self.longer

    def remove(self):
        os.unlink(self.path)

    CHANGES = ("replace", "rewrite", "rewrite_without_truncating", "grow", "remove")

    def open_new(self, path, wanted):
        """Opens until the new file is there (at once with entry_timeout=0, else after it)."""
        def size_is_new():
            try:
                return os.stat(path).st_size == len(wanted) or None
            except OSError as error:
                self.assertIn(error.errno, (errno.ENOENT, errno.EIO))
        if len(wanted) != len(self.old):
            support.wait_until(size_is_new, "the new size is seen", 5)
        with open(path, "rb", buffering=0) as file:
            return file.read()

    def read_rest(self, fd, offset, step):
        """What a reader gets that opened the old file, until it ends or fails."""
        parts = []
        while True:
            try:
                part = os.pread(fd, step, offset)
            except OSError as error:
                self.assertIn(error.errno, (errno.EIO, errno.ESTALE, errno.ENOENT))
                break
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def assert_old_prefix(self, got, offset, what):
        support.assert_same(self, got, self.old[offset:offset + len(got)], what)

    def test_the_next_open_sees_the_new_file_and_the_old_reader_no_mixture(self):
        step = 128 << 10
        for options in ("entry_timeout=0,attr_timeout=0", ""):
            for change in self.CHANGES:
                for direct in (0, os.O_DIRECT):
                    with self.subTest(change=change, options=options, direct=bool(direct)):
                        self.store_old()
                        with Mount(self.source, options) as mount:
                            self.check_one(mount / "file", change, step, direct, not options)

    def check_one(self, path, change, step, direct, timeouts):
        # Cached in the kernel and in the daemon: half of it.
        with open(path, "rb", buffering=0) as file:
            self.assertEqual(file.read(MIB), self.old[:MIB])
        fd = os.open(path, os.O_RDONLY | direct)
        try:
            half = len(self.old) // 2 // step * step
            begun = b""
            while len(begun) < half:
                begun += os.pread(fd, step, len(begun))
            self.assert_old_prefix(begun, 0, "before the change")

            wanted = getattr(self, change)()

            rest = self.read_rest(fd, len(begun), step)
            self.assert_old_prefix(rest, len(begun), f"old reader after {change}")
            if change == "remove":
                gone = lambda: not os.path.exists(path)  # pylint: disable=unnecessary-lambda-assignment
                if timeouts:
                    support.wait_until(gone, "the name is gone", 5)
                self.assertTrue(gone())
                self.assert_errno(errno.ENOENT, os.open, path, os.O_RDONLY)
            else:
                if timeouts:
                    # The kernel may use what it knows for entry_timeout (1 s). Then it must ask.
                    def new():
                        try:
                            with open(path, "rb", buffering=0) as file:
                                got = file.read()
                        except OSError:
                            return False
                        self.assertLessEqual(versions_in(got), {OLD, NEW})
                        if change != "grow":
                            self.assertEqual(len(versions_in(got)), 1, "a mixture")
                        return got == wanted
                    support.wait_until(new, "an open sees the new bytes", 5)
                support.assert_same(self, self.open_new(path, wanted), wanted, "next open")
            # The old reader reads again, now that the new bytes may be in the kernel's cache.
            rest = self.read_rest(fd, 0, step)
            if change == "grow":
                # Its old bytes are a part of the new file, too.
                self.assertTrue(wanted.startswith(rest))
            else:
                self.assert_old_prefix(rest, 0, f"old reader after the new one, {change}")
        finally:
            os.close(fd)

    def test_readers_during_changes_get_one_version_or_an_error(self):
        """A writer replaces and rewrites all the time; each open file is one version."""
        self.store_old()
        stop = threading.Event()
        failures, passes, errors = [], [0, 0], [0]

        def change():
            turn = 0
            while not stop.is_set():
                turn += 1
                if turn % 3 == 0:
                    self.rewrite()
                elif turn % 2:
                    self.replace()
                else:
                    with open(self.path + ".tmp", "wb") as out:
                        out.write(self.old_stored)
                    os.rename(self.path + ".tmp", self.path)
                stop.wait(0.02)

        def read(path, direct):
            while not stop.is_set():
                try:
                    fd = os.open(path, os.O_RDONLY | direct)
                except OSError as error:
                    # In the middle of a rewrite its Index can't be read.
                    if error.errno not in (errno.EIO, errno.ESTALE, errno.ENOENT):
                        failures.append(error)
                    errors[0] += 1
                    continue
                try:
                    got = self.read_rest(fd, 0, 100_000)
                finally:
                    os.close(fd)
                if len(versions_in(got)) > 1:
                    failures.append(f"a mixture in {len(got)} bytes")
                    stop.set()
                elif got == self.old:
                    passes[0] += 1
                elif got == self.new:
                    passes[1] += 1

        with Mount(self.source, "entry_timeout=0,attr_timeout=0") as mount:
            threads = [threading.Thread(target=change)]
            threads += [threading.Thread(target=read, args=(mount / "file", flag))
                        for flag in (0, os.O_DIRECT, 0)]
            for thread in threads:
                thread.start()
            with contextlib.suppress(AssertionError):
                support.wait_until(lambda: failures or min(passes) >= support.scaled(20, 3),
                                   "each version was read a few times", 12)
            stop.set()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            self.assertGreater(min(passes), 0, f"{passes} whole reads, {errors} refused")


if __name__ == "__main__":
    support.main()
