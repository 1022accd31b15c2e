"""The decoder test files: good ones read as `xz -dc`, the others give EIO where they are damaged."""

import errno
import lzma
import os
import random
import subprocess

import support
import xzformat
from support import Bytes, Mount, MountTest

MAGIC = {".xz": b"\xfd7zXZ\0", ".lz": b"LZIP"}


def read_or_errno(path):
    """The whole content, or the errno that open or read gave."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        return error.errno
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)


def judge_block(stream, block):
    """What `xz -dc` gives for one Block alone: its bytes, or None if it is damaged."""
    alone = xzformat.stream((block,), stream.check)
    done = subprocess.run(["xz", "-dc"], input=alone, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout if done.returncode == 0 else None


class Corpus(MountTest):

    def stored_corpora(self):
        """Stores one set of files after the other; yields their names."""
        for self.files in support.corpora():
            self.source = self.enterContext(support.temp_dir("xzfs-source-"))
            for name, content in self.files.items():
                with open(os.path.join(self.source, name), "wb") as stored:
                    stored.write(content)
            yield sorted(self.files)

    def stored(self, name):
        return self.files[name]

    def logical(self, name):
        """Rules 1, 2 and 5: without its magic a file is shown as it is stored."""
        stem, suffix = os.path.splitext(name)
        magic = MAGIC.get(suffix, b"")
        return stem if self.stored(name).startswith(magic) else name

    def test_good_files_read_as_xz_dc(self):
        for names in self.stored_corpora():
            self.check_good([name for name in names if name.startswith("good-")])

    def check_good(self, good):
        self.assertGreaterEqual(len(good), 30)
        with Mount(self.source) as mount:
            for name in good:
                with self.subTest(name):
                    expected = Bytes(support.xz_output(os.path.join(self.source, name)))
                    path = mount / self.logical(name)
                    self.assertEqual(os.stat(path).st_size, expected.size)
                    support.random_preads(self, path, expected, support.scaled(100), 1)
                    support.read_fully(self, path, expected, name)
                    support.read_by_mmap(self, path, expected, name)
            self.assertEqual(mount.stats()["damaged"]["blocks"], 0)
            self.assertEqual(mount.stats()["damaged"]["files"], 0)

    def test_others_never_return_bytes_that_fail_their_check(self):
        for names in self.stored_corpora():
            self.check_others([name for name in names if not name.startswith("good-")])

    def check_others(self, others):
        self.assertGreaterEqual(len(others), 60)
        refused = partly = 0
        with Mount(self.source) as mount:
            for name in others:
                with self.subTest(name):
                    logical = self.logical(name)
                    got = read_or_errno(mount / logical)
                    if logical == name:
                        self.assertEqual(got, self.stored(name), "no magic: shown as it is stored")
                        continue
                    if name == "unsupported-check.xz":
                        # The Check can't be verified: the mount gives what xz prints, or nothing.
                        self.assertIn(got, (errno.EIO, b"Hello\nWorld!\n"))
                        continue
                    self.assertEqual(got, errno.EIO)
                    refused += 1
                    partly += self.check_each_block(mount / logical, name)
            self.assertTrue(mount.alive())
            # The daemon still works.
            self.assertEqual(read_or_errno(mount / "good-1-check-crc32"), b"Hello\nWorld!\n")
            stats = mount.stats()
            self.assertGreater(stats["damaged"]["blocks"], 15)
            self.assertGreater(stats["damaged"]["files"], 15)
        self.assertGreater(refused, 55)
        self.assertGreater(partly, 10)

    def check_each_block(self, path, name):
        """If the Index can be read, exactly the Blocks that xz refuses give EIO."""
        try:
            streams = xzformat.parse(self.stored(name))
        except (ValueError, IndexError):
            self.assertEqual(read_or_errno(path), errno.EIO)
            return 0
        try:
            # Through the page cache a read that touches no damage still fails if its page has some.
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            # The whole file is refused: its Index contradicts what is stored.
            self.assertEqual(error.errno, errno.EIO)
            return 0
        checked, offset = 0, 0
        try:
            for stream in streams:
                for block in stream.blocks:
                    if block.plain_size and offset + block.plain_size < 1 << 40:
                        good = judge_block(stream, block)
                        try:
                            got = os.pread(fd, block.plain_size, offset)
                        except OSError as error:
                            self.assertEqual(error.errno, errno.EIO)
                            got = None
                        self.assertEqual(got, good, f"Block at {offset}")
                        checked += 1
                    offset += block.plain_size
        finally:
            os.close(fd)
        return checked


class Damage(MountTest):

    BLOCK = 50_000
    COUNT = 40

    def make(self, name, damaged, check=lzma.CHECK_CRC64):
        """A file of COUNT Blocks, one byte flipped in the middle of the damaged one."""
        content = xzformat.text(21, self.BLOCK * self.COUNT)
        blocks = []
        for at in range(0, len(content), self.BLOCK):
            blocks += xzformat.blocks_of(content[at:at + self.BLOCK], check=check)
        stored = bytearray(xzformat.stream(blocks, check))
        (stream,) = xzformat.parse(bytes(stored))
        place = stream.blocks[damaged]
        stored[place.offset + len(place.stored) // 2] ^= 0x10
        with open(os.path.join(self.source, name + ".xz"), "wb") as out:
            out.write(stored)
        return content, place

    def test_a_damaged_block_is_eio_for_reads_that_touch_it_and_nothing_else(self):
        number = 17
        content, place = self.make("log", number)
        begin, end = number * self.BLOCK, (number + 1) * self.BLOCK
        rng = random.Random(4)
        with Mount(self.source) as mount:
            fd = os.open(mount / "log", os.O_RDONLY | os.O_DIRECT)
            try:
                inside = outside = 0
                # Edges first, then anywhere.
                ranges = [(begin - 10, 10), (begin - 10, 11), (begin, 1), (end - 1, 1), (end, 1),
                          (end - 1, 5), (begin, self.BLOCK), (0, begin), (end, 10**6)]
                for _ in range(support.scaled(2000)):
                    ranges.append((rng.randrange(len(content)), rng.randint(1, 30_000)))
                for offset, length in ranges:
                    touches = offset < end and offset + length > begin
                    try:
                        got = os.pread(fd, length, offset)
                    except OSError as error:
                        self.assertEqual(error.errno, errno.EIO)
                        self.assertTrue(touches, f"EIO for {length} at {offset}")
                        inside += 1
                    else:
                        # A short read may return the bytes before the damage.
                        if touches:
                            self.assertLess(offset, begin, f"{length} at {offset} must be EIO")
                            self.assertEqual(got, content[offset:begin][:len(got)])
                            self.assertLessEqual(len(got), begin - offset)
                        else:
                            self.assertEqual(got, content[offset:offset + length])
                            outside += 1
            finally:
                os.close(fd)
            self.assertGreater(inside, 5)
            self.assertGreater(outside, 100 if support.SCALE >= 0.2 else 10)
            # A program that reads without O_DIRECT gets everything before the damage, then EIO.
            with open(mount / "log", "rb", buffering=0) as file:
                got = b""
                with self.assertRaises(OSError) as caught:
                    while part := file.read(1000):
                        got += part
                self.assertEqual(caught.exception.errno, errno.EIO)
                self.assertTrue(content.startswith(got))
                self.assertLessEqual(len(got), begin)
                # Whole pages before the damage must arrive; the damaged page can't.
                self.assertGreaterEqual(len(got), begin // 4096 * 4096 - 1000)
            self.assertEqual(mount.stats()["damaged"]["blocks"], 1)
            lines = [line for line in mount.log().splitlines() if "log.xz" in line]
            self.assertEqual(len(lines), 1, mount.log())
            self.assertIn(f"Block {number}", lines[0])
            numbers = {int(word) for word in
                       "".join(c if c.isdigit() else " " for c in lines[0]).split()}
            self.assertIn(begin, numbers, lines[0])
            self.assertTrue({end, end - 1, self.BLOCK} & numbers, lines[0])
            self.assertIsNotNone(place)

    def test_a_giant_block_is_refused_as_a_whole_once_its_check_has_failed(self):
        """Larger than whole_block_limit, so it streams; the Check is known only at its end."""
        content = xzformat.text(6, 5_000_000)
        (block,) = xzformat.blocks_of(content, check=lzma.CHECK_SHA256)
        stored = bytearray(xzformat.stream((block,), lzma.CHECK_SHA256))
        (stream,) = xzformat.parse(bytes(stored))
        stored[stream.blocks[0].offset + len(block.stored) - 5] ^= 1  # in the Check itself
        with open(os.path.join(self.source, "giant.xz"), "wb") as out:
            out.write(stored)
        with Mount(self.source, "cache_size=32MiB,whole_block_limit=1MiB") as mount:
            fd = os.open(mount / "giant", os.O_RDONLY | os.O_DIRECT)
            try:
                offset = 0
                with self.assertRaises(OSError) as caught:
                    while part := os.pread(fd, 100_000, offset):
                        support.assert_same(self, part, content[offset:offset + len(part)], "giant")
                        offset += len(part)
                self.assertEqual(caught.exception.errno, errno.EIO)
                self.assertLess(offset, len(content))
                for place in (0, 1_000_000, len(content) - 1):
                    self.assert_errno(errno.EIO, os.pread, fd, 10, place)
            finally:
                os.close(fd)
            self.assertEqual(mount.stats()["damaged"]["blocks"], 1)
            self.assertEqual(mount.log().count("giant.xz"), 1, mount.log())

    def test_every_flipped_byte_is_eio_or_harmless(self):
        """S2: one byte of a small file changed at a time; a read is right or EIO, never wrong."""
        content = xzformat.text(5, 3000)
        blocks = sum((xzformat.blocks_of(content[at:at + 1000]) for at in (0, 1000, 2000)), ())
        stored = xzformat.stream(blocks, lzma.CHECK_CRC32)
        step = 1 if support.SCALE >= 1 else int(1 / support.SCALE)
        places = range(0, len(stored), step)
        for at in places:
            changed = bytearray(stored)
            changed[at] ^= 0xFF
            with open(os.path.join(self.source, f"flip{at}.xz"), "wb") as out:
                out.write(changed)
        refused = served = 0
        with Mount(self.source) as mount:
            for at in places:
                if at < 6:  # without the magic it is a plain file of that name
                    self.assertEqual(len(read_or_errno(mount / f"flip{at}.xz")), len(stored))
                    continue
                try:
                    fd = os.open(mount / f"flip{at}", os.O_RDONLY | os.O_DIRECT)
                except OSError as error:
                    self.assertEqual(error.errno, errno.EIO)
                    refused += 1
                    continue
                try:
                    for offset in (0, 1000, 2000):
                        try:
                            got = os.pread(fd, 1000, offset)
                        except OSError as error:
                            self.assertEqual(error.errno, errno.EIO, f"byte {at}")
                            refused += 1
                        else:
                            self.assertEqual(got, content[offset:offset + 1000], f"byte {at}")
                            served += 1
                finally:
                    os.close(fd)
            self.assertTrue(mount.alive())
        self.assertGreater(refused, 20)
        self.assertGreater(served, 20)

    def test_a_truncated_file_never_passes_for_an_empty_one(self):
        content, _ = self.make("whole", 0)
        with open(os.path.join(self.source, "whole.xz"), "rb") as whole:
            stored = whole.read()
        cuts = (6, 11, 12, 13, 40, len(stored) // 2, len(stored) - 1, len(stored) - 12)
        for cut in cuts:
            with open(os.path.join(self.source, f"cut{cut}.xz"), "wb") as out:
                out.write(stored[:cut])
        with Mount(self.source) as mount:
            for cut in cuts:
                with self.subTest(cut=cut):
                    self.assert_errno(errno.EIO, os.open, mount / f"cut{cut}", os.O_RDONLY)
            # They are still listed and have attributes.
            self.assertEqual(len(os.listdir(mount.path)), len(cuts) + 1)
            self.assertEqual(mount.stats()["damaged"]["files"], len(cuts))
            self.assertIsNotNone(content)


if __name__ == "__main__":
    support.main()
