"""LZMAFile, open, compress and decompress, beside lzma and xz."""

import io
import lzma
import os
import pathlib
import pickle
import random
import tempfile
import unittest

import xzfs
from python_support import BLOCK, PLAIN, STORED, FileObject, blocks_of, lzma_result, run_python


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "a.xz")

    def store(self, data=STORED):
        with open(self.path, "wb") as file:
            file.write(data)
        return self.path

    def test_every_name_of_lzma_is_there_and_constants_are_equal(self):
        for name in lzma.__all__:
            self.assertIn(name, xzfs.__all__)
            if name.isupper():
                self.assertEqual(getattr(xzfs, name), getattr(lzma, name), name)

    def test_a_path_an_object_and_a_descriptor_read_alike(self):
        path = self.store()
        for made in (path, os.fsencode(path), pathlib.Path(path), os.open(path, os.O_RDONLY),
                     FileObject(STORED), io.BytesIO(STORED)):
            with xzfs.open(made) as file:
                self.assertEqual(file.read(), PLAIN)
        with xzfs.open(path, "rt", encoding="ascii") as text:
            self.assertEqual(list(text), PLAIN.decode().splitlines(keepends=True))

    def test_a_descriptor_is_closed_with_the_file(self):
        descriptor = os.open(self.store(), os.O_RDONLY)
        xzfs.open(descriptor).close()
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_random_seeks_and_reads_are_those_of_the_plain_bytes(self):
        plain, generator = io.BytesIO(PLAIN), random.Random(7)
        with xzfs.open(self.store()) as file:
            for _ in range(300):
                offset, size = generator.randrange(len(PLAIN)), generator.choice((0, 1, 100, BLOCK, 3 * BLOCK))
                self.assertEqual(file.seek(offset), plain.seek(offset))
                how = generator.choice(("read", "readinto", "readline", "peek"))
                if how == "readinto":
                    buffer, wanted = bytearray(size), bytearray(size)
                    self.assertEqual(file.readinto(buffer), plain.readinto(wanted))
                    self.assertEqual(buffer, wanted)
                elif how == "peek":
                    self.assertTrue(PLAIN.startswith(file.peek(10), offset))
                else:
                    self.assertEqual(getattr(file, how)(size), getattr(plain, how)(size))
                self.assertEqual(file.tell(), offset if how == "peek" else plain.tell())

    def test_a_seek_decodes_no_more_than_the_block_that_is_read(self):
        file = FileObject(STORED)
        with xzfs.open(file) as opened:
            self.assertEqual(opened.seek(-10, io.SEEK_END), len(PLAIN) - 10)
            self.assertEqual(opened.read(), PLAIN[-10:])
            # The rest of the file is damaged, and nobody notices.
        damaged = bytearray(STORED)
        blocks = xzfs.Reader(io.BytesIO(STORED)).blocks
        damaged[blocks[5].compressed_offset + 50] ^= 1
        with xzfs.open(io.BytesIO(damaged)) as opened:
            opened.seek(-10, io.SEEK_END)
            self.assertEqual(opened.read(), PLAIN[-10:])
            opened.seek(5 * BLOCK)
            self.assertRaises(xzfs.LZMAError, opened.read, 1)
            opened.seek(6 * BLOCK)
            self.assertEqual(opened.read(9), PLAIN[6 * BLOCK:6 * BLOCK + 9])

    def test_it_begins_where_the_file_object_is(self):
        for kind in (io.BytesIO, FileObject):
            file = kind(b"header" + STORED)
            file.seek(6)
            with xzfs.open(file) as opened:
                opened.seek(100)
                self.assertEqual(opened.read(), PLAIN[100:])
                self.assertEqual(opened.seek(0), 0)
                self.assertEqual(opened.read(3), PLAIN[:3])
                self.assertEqual(len(opened.blocks), 21)

    def test_truncated_at_every_byte_it_ends_as_with_lzma(self):
        stored = blocks_of(PLAIN[:1000], 500)
        for end in range(len(stored)):
            part = stored[:end]
            self.assertEqual(lzma_result(lambda: xzfs.open(io.BytesIO(part)).read()),
                             lzma_result(lambda: lzma.open(io.BytesIO(part)).read()), end)
            self.assertEqual(lzma_result(lambda: xzfs.decompress(part)),
                             lzma_result(lambda: lzma.decompress(part)), end)
            # What comes before the end can be read.
            self.assertEqual(lzma_result(lambda: xzfs.open(io.BytesIO(part)).read(300)),
                             lzma_result(lambda: lzma.open(io.BytesIO(part)).read(300)), end)

    def test_with_any_byte_changed_it_is_an_error_or_what_lzma_reads(self):
        stored = blocks_of(PLAIN[:500], 250)
        for at in range(len(stored)):
            changed = stored[:at] + bytes([stored[at] ^ 0x55]) + stored[at + 1:]
            got = lzma_result(lambda: xzfs.open(io.BytesIO(changed)).read())
            wanted = lzma_result(lambda: lzma.open(io.BytesIO(changed)).read())
            # Which error it is depends on what is looked at first.
            self.assertIn(got, (xzfs.LZMAError, EOFError) if isinstance(wanted, type) else (wanted,), at)

    def test_several_streams_padding_and_what_follows(self):
        for data in (STORED * 3, STORED + bytes(8) + STORED, STORED + b"junk", STORED + lzma.compress(
                b"alone", lzma.FORMAT_ALONE), lzma.compress(b"") + STORED, lzma.compress(b""), b""):
            self.assertEqual(lzma_result(lambda: xzfs.decompress(data)),
                             lzma_result(lambda: lzma.decompress(data)) if bytes(8) not in data
                             else PLAIN * 2)
        # lzma drops what is behind padding.
        small = lzma.compress(b"first")
        self.assertEqual(xzfs.decompress(small + bytes(4) + small), b"firstfirst")
        with xzfs.open(io.BytesIO(STORED + bytes(8) + STORED)) as file:
            self.assertEqual(file.read(), PLAIN * 2)

    def test_what_is_written_xz_reads_in_every_mode(self):
        for mode in ("w", "x", "a"):
            if mode == "x":
                os.unlink(self.path)
            with xzfs.open(self.path, mode, block_size=BLOCK, preset=1, check=xzfs.CHECK_SHA256) as file:
                for at in range(0, len(PLAIN), 10007):
                    self.assertEqual(file.write(PLAIN[at:at + 10007]), len(PLAIN[at:at + 10007]))
                self.assertEqual(file.tell(), len(PLAIN))
            wanted = PLAIN * (2 if mode == "a" else 1)
            self.assertEqual(lzma.open(self.path).read(), wanted)
            with xzfs.open(self.path) as file:
                self.assertEqual({block.check for block in file.blocks}, {xzfs.CHECK_SHA256})
                self.assertEqual({block.size for block in file.blocks}, {BLOCK, 17})
        with self.assertRaises(FileExistsError):
            xzfs.open(self.path, "x")

    def test_wrong_options_leave_the_file_alone(self):
        self.store()
        for options in ({"preset": 10}, {"preset": "6"}, {"preset": -1}, {"check": 7}, {"check": "x"},
                        {"format": xzfs.FORMAT_RAW}, {"filters": 3}, {"block_size": 9, "format": 2},
                        {"filters": [{"id": xzfs.FILTER_LZMA2}], "threads": 2}):
            with self.assertRaises((ValueError, TypeError, OverflowError, xzfs.LZMAError)):
                xzfs.open(self.path, "w", **options)
            self.assertEqual(os.path.getsize(self.path), len(STORED), options)

    def test_compress_is_what_a_file_is_whatever_the_threads(self):
        wanted = xzfs.compress(PLAIN, block_size=BLOCK, threads=1)
        self.assertEqual(xzfs.compress(PLAIN, block_size=BLOCK, threads=3), wanted)
        file = io.BytesIO()
        with xzfs.open(file, "w", block_size=BLOCK) as opened:
            opened.write(memoryview(PLAIN))
        self.assertEqual(file.getvalue(), wanted)
        self.assertEqual(lzma.decompress(wanted), PLAIN)
        self.assertEqual(xzfs.decompress(wanted, threads=2), PLAIN)

    def test_buffers_of_every_kind(self):
        for data in (bytearray(PLAIN), memoryview(PLAIN), memoryview(PLAIN).cast("B")):
            self.assertEqual(xzfs.decompress(bytearray(xzfs.compress(data))), PLAIN)
        for data in ("text", None, 3, [1]):
            self.assertRaises(TypeError, xzfs.compress, data)
            self.assertRaises(TypeError, xzfs.decompress, data)
        self.assertRaises(BufferError, xzfs.compress, memoryview(PLAIN)[::2])

    def test_a_file_object_that_raises_raises(self):
        def refuse(_):
            raise KeyError("no")
        with self.assertRaisesRegex(KeyError, "no"):
            xzfs.open(FileObject(STORED, refuse)).read()

    def test_a_write_that_raises_raises_and_the_file_object_stays_open(self):
        class Full(io.BytesIO):
            def write(self, data):
                if self.tell() > 1000:
                    raise OSError(28, "no space")
                return super().write(data)
        full = Full()
        opened = xzfs.open(full, "w", block_size=BLOCK)
        with self.assertRaisesRegex(OSError, "no space") as raised:
            for _ in range(100):
                opened.write(PLAIN)
        self.assertEqual(raised.exception.errno, 28)
        self.assertRaises(OSError, opened.close)
        self.assertTrue(opened.closed)
        self.assertFalse(full.closed)

    def test_a_write_that_takes_a_part_gets_the_rest(self):
        class Slow(io.BytesIO):
            def write(self, data):
                return super().write(data[:1000])
        slow = Slow()
        with xzfs.open(slow, "w", block_size=BLOCK) as opened:
            opened.write(PLAIN)
        self.assertEqual(lzma.decompress(slow.getvalue()), PLAIN)

    def test_a_write_that_comes_back_to_the_same_file_is_an_error(self):
        class Back(io.BytesIO):
            opened = None

            def write(self, data):
                if self.opened is not None:
                    self.opened.write(b"again")
                return super().write(data)
        back = Back()
        opened = xzfs.open(back, "w", block_size=BLOCK)
        back.opened = opened
        with self.assertRaisesRegex(RuntimeError, "in the middle of writing"):
            for _ in range(10):
                opened.write(PLAIN)
        back.opened = None
        self.assertRaises(OSError, opened.close)

    def test_a_file_in_a_file(self):
        twice = blocks_of(STORED, BLOCK)
        with xzfs.open(xzfs.open(io.BytesIO(twice))) as file:
            file.seek(-7, io.SEEK_END)
            self.assertEqual(file.read(), PLAIN[-7:])
            self.assertEqual(file.seek(0), 0)
            self.assertEqual(file.read(), PLAIN)

    def test_a_pipe_is_read_as_it_comes(self):
        ends = os.pipe()
        with os.fdopen(ends[0], "rb") as out, os.fdopen(ends[1], "wb") as into:
            into.write(lzma.compress(b"through a pipe"))
            into.close()
            with xzfs.open(out) as file:
                self.assertFalse(file.seekable())
                self.assertEqual(file.read(), b"through a pipe")
                self.assertRaises(io.UnsupportedOperation, lambda: file.blocks)

    def test_pickling_is_refused(self):
        for made in (xzfs.open(self.store()), xzfs.Reader(self.path), xzfs.open(io.BytesIO(), "w")):
            with made:
                for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                    self.assertRaises(TypeError, pickle.dumps, made, protocol)

    def test_zipfile_and_tarfile_work_with_it_in_the_place_of_lzma(self):
        done = run_python("""
import io, sys, xzfs
sys.modules["lzma"] = xzfs
import tarfile, zipfile
out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as file:
    file.writestr("a", b"text" * 1000)
assert zipfile.ZipFile(out).read("a") == b"text" * 1000
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w:xz") as file:
    member = tarfile.TarInfo("a")
    member.size = 4000
    file.addfile(member, io.BytesIO(b"text" * 1000))
out.seek(0)
with tarfile.open(fileobj=out, mode="r:xz") as file:
    assert file.extractfile("a").read() == b"text" * 1000
""")
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
