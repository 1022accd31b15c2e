"""Reader: random access over paths and file objects, from many threads; hostile file objects."""

import gc
import io
import os
import sys
import tempfile
import threading
import unittest
import weakref

import xzfs
from python_support import BLOCK, PLAIN, STORED, FileObject, in_threads


class Readers(unittest.TestCase):
    def read_all(self, reader):
        return reader.read_at(0)

    def test_the_block_map_says_where_each_block_is(self):
        with xzfs.Reader(io.BytesIO(STORED)) as reader:
            blocks = reader.blocks
            self.assertEqual((len(blocks), reader.size, reader.compressed_size), (21, len(PLAIN), len(STORED)))
            for number, block in enumerate(blocks):
                self.assertEqual((block.number, block.offset), (number, number * BLOCK))
                self.assertEqual(block.size, min(BLOCK, len(PLAIN) - block.offset))
                self.assertEqual(block.check, xzfs.CHECK_CRC64)
                # Its header, and where the next one begins.
                self.assertEqual(STORED[block.compressed_offset + 1] & 0x3C, 0)
                end = block.compressed_offset + (block.compressed_size + 3) // 4 * 4
                self.assertEqual(end, blocks[number + 1].compressed_offset if number < 20 else end)
            self.assertEqual(blocks[-1], blocks[20])
            self.assertEqual(blocks[2:5], [blocks[2], blocks[3], blocks[4]])
            self.assertEqual(blocks.find(BLOCK), blocks[1])
            for number in (21, -22):
                self.assertRaises(IndexError, lambda number=number: blocks[number])
            self.assertRaises(IndexError, blocks.find, len(PLAIN))
        self.assertRaises(ValueError, lambda: blocks[0])

    def test_offsets_beyond_the_end_and_huge_sizes(self):
        with xzfs.Reader(io.BytesIO(STORED)) as reader:
            self.assertEqual(reader.read_at(len(PLAIN) - 3, 1 << 62), PLAIN[-3:])
            self.assertEqual(reader.read_at(len(PLAIN)), b"")
            self.assertEqual(reader.read_at(1 << 200, 1 << 200), b"")
            self.assertEqual(reader.readinto_at(1 << 70, bytearray(5)), 0)
            self.assertRaises(ValueError, reader.read_at, -1)
            self.assertRaises(ValueError, reader.readinto_at, -1, bytearray(1))
            self.assertRaises(TypeError, reader.read_at, 1.5)
            self.assertRaises((TypeError, BufferError), reader.readinto_at, 0, b"constant")

    def test_a_file_that_claims_a_huge_size_is_refused_before_it_takes_memory(self):
        # An Index of one Block of 2^60 bytes; the rest is as it should be.
        import zlib
        stored = xzfs.compress(b"x")
        header, block = stored[:12], stored[12:-28]
        unpadded = len(block)
        number = b""
        for value in (unpadded, 1 << 60):
            while value >= 0x80:
                number += bytes([value & 0x7F | 0x80])
                value >>= 7
            number += bytes([value])
        index = b"\x00\x01" + number
        index += bytes(-len(index) % 4)
        index += zlib.crc32(index).to_bytes(4, "little")
        footer = (len(index) // 4 - 1).to_bytes(4, "little") + header[6:8]
        data = header + block + index + zlib.crc32(footer).to_bytes(4, "little") + footer + b"YZ"
        for call in (lambda: xzfs.decompress(data), lambda: xzfs.open(io.BytesIO(data)).read(),
                     lambda: xzfs.Reader(io.BytesIO(data)).read_at(0)):
            self.assertRaises((xzfs.LZMAError, MemoryError), call)

    def test_threads_read_any_range_and_the_object_is_used_by_one_at_a_time(self):
        file = FileObject(STORED)
        with xzfs.Reader(file, threads=2) as reader:
            def work(number):
                for offset in range(number * 1000, len(PLAIN), 50021):
                    self.assertEqual(reader.read_at(offset, 2 * BLOCK), PLAIN[offset:offset + 2 * BLOCK])
            in_threads(4, work)
        self.assertEqual(file.most_inside, 1)
        self.assertGreaterEqual(file.reads, 20)

    def test_streams_of_one_reader_have_positions_of_their_own(self):
        with xzfs.Reader(io.BytesIO(STORED)) as reader:
            first, second = reader.stream(), reader.stream()
            first.seek(5000)
            self.assertEqual(second.read(5), PLAIN[:5])
            self.assertEqual(first.read(5), PLAIN[5000:5005])
            second.close()
            self.assertEqual(first.readline(), PLAIN[5005:].split(b"\n")[0] + b"\n")

    def test_what_the_file_object_raises_comes_out_and_the_next_read_is_right(self):
        class Mine(Exception):
            pass

        def refuse(file):
            if file.angry:
                raise Mine("offset %d" % file.position)
        file = FileObject(STORED, refuse)
        file.angry = False
        with xzfs.Reader(file, threads=2) as reader:
            file.angry = True
            for offset in range(0, len(PLAIN), 5 * BLOCK):
                with self.assertRaisesRegex(Mine, "offset"):
                    reader.read_at(offset, 4 * BLOCK)

            def work(number):
                with self.assertRaises(Mine):
                    reader.read_at(number * BLOCK, BLOCK)
            in_threads(4, lambda _: work(3))
            file.angry = False
            self.assertEqual(self.read_all(reader), PLAIN)

    def test_exceptions_keep_neither_the_object_nor_the_reader(self):
        def refuse(file):
            if file.angry:
                raise OSError(5, "boom")
        file = FileObject(STORED, refuse)
        file.angry = False
        reader = xzfs.Reader(file, threads=2)
        file.angry = True
        with self.assertRaisesRegex(OSError, "boom"):
            reader.read_at(0)
        references = sys.getrefcount(refuse)
        for _ in range(50):
            try:
                reader.read_at(0)
            except OSError:
                pass
        self.assertLessEqual(sys.getrefcount(refuse), references + 5)
        gone = weakref.ref(file)
        del file, reader
        gc.collect()
        self.assertIsNone(gone())

    def test_a_file_object_that_shrinks_is_an_oserror(self):
        file = FileObject(STORED)
        with xzfs.Reader(file, threads=1) as reader:
            file.data = STORED[:5000]
            with self.assertRaisesRegex(OSError, "shorter") as raised:
                reader.read_at(10 * BLOCK, 10)
            self.assertEqual(raised.exception.errno, 116)
            file.data = STORED
            self.assertEqual(self.read_all(reader), PLAIN)

    def test_a_path_that_changes_is_estale(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(STORED)
            file.flush()
            with xzfs.Reader(file.name) as reader:
                os.truncate(file.name, 5000)
                with self.assertRaises(OSError) as raised:
                    reader.read_at(10 * BLOCK, 10)
                self.assertEqual(raised.exception.errno, 116)

    def test_odd_file_objects_are_errors(self):
        class Odd(FileObject):
            answer = None

            def read(self, size=-1):
                data = super().read(size)
                return data if self.answer is None else self.answer(data)
        for answer, wanted in ((lambda data: data + b"more", OSError), (lambda data: "text", TypeError),
                               (lambda data: 7, TypeError), (lambda data: [None][0], OSError)):
            file = Odd(STORED)
            with xzfs.Reader(file, threads=1) as reader:
                file.answer = answer
                self.assertRaises(wanted, reader.read_at, 0, 10)
                file.answer = None
                self.assertEqual(reader.read_at(0, 10), PLAIN[:10])
        for odd in (object(), 5, None):
            self.assertRaises(TypeError, xzfs.Reader, odd)
        self.assertRaises(FileNotFoundError, xzfs.Reader, "/nonexistent/a.xz")
        self.assertRaises(IsADirectoryError, xzfs.Reader, "/")
        self.assertRaises(xzfs.LZMAError, xzfs.Reader, io.BytesIO(b"not compressed"))
        self.assertRaises(xzfs.LZMAError, xzfs.Reader, io.BytesIO())

    def test_a_file_object_that_reads_from_its_own_reader_is_an_error(self):
        def back(file):
            if file.reader is not None:
                file.reader.read_at(0, 10)
        file = FileObject(STORED, back)
        file.reader = None
        with xzfs.Reader(file, threads=1) as reader:
            file.reader = reader
            self.assertRaises(ValueError, reader.read_at, 5 * BLOCK, 10)
            file.reader = None

    def test_a_memory_limit_holds(self):
        self.assertRaises(xzfs.LZMAError, lambda: xzfs.Reader(io.BytesIO(STORED), memory_limit=1000).read_at(0))

    def test_lzma_and_lz_files_are_one_block_each(self):
        alone = xzfs.compress(PLAIN, xzfs.FORMAT_ALONE)
        with xzfs.Reader(io.BytesIO(alone)) as reader:
            self.assertEqual((reader.size, len(reader.blocks)), (len(PLAIN), 1))
            self.assertEqual(reader.read_at(70000, 5), PLAIN[70000:70005])

    def test_after_close_everything_is_a_valueerror_and_close_may_come_again(self):
        reader = xzfs.Reader(io.BytesIO(STORED))
        stream = reader.stream()
        reader.close()
        reader.close()
        self.assertTrue(reader.closed)
        for call in (lambda: reader.read_at(0), lambda: reader.size, lambda: reader.blocks[0], stream.read):
            self.assertRaises(ValueError, call)

    def test_close_and_del_while_threads_read(self):
        for forget in (lambda held: held[0].close(), lambda held: held.clear()):
            held = [xzfs.Reader(FileObject(STORED), threads=2)]
            begun = threading.Barrier(4)

            def work(number, held=held, begun=begun):
                reader = held[0]
                begun.wait()
                try:
                    self.assertEqual(reader.read_at(number * BLOCK), PLAIN[number * BLOCK:])
                except ValueError:
                    pass  # it was closed before
            threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            begun.wait()
            forget(held)
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    unittest.main()
