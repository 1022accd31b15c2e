"""The compression "xzfs" of fsspec. Skipped if that isn't installed."""

import lzma
import os
import sys
import tempfile
import unittest

import xzfs
from python_support import PLAIN, STORED

try:
    import fsspec
except ModuleNotFoundError:
    print("fsspec is not installed")
    sys.exit(77)


class Fsspec(unittest.TestCase):
    def test_it_opens_files_that_seek_by_their_index(self):
        xzfs.register_fsspec()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.xz")
            with fsspec.open(path, "wb", compression="xzfs") as file:
                file.write(PLAIN)
            with open(path, "rb") as stored:
                self.assertEqual(lzma.decompress(stored.read()), PLAIN)
            with fsspec.open(path, "rb", compression="xzfs") as file:
                self.assertIsInstance(file, xzfs.LZMAFile)
                file.seek(-9, os.SEEK_END)
                self.assertEqual(file.read(), PLAIN[-9:])
                self.assertEqual(len(file.blocks), 2)
            with fsspec.open(path, "rt", compression="xzfs") as file:
                self.assertEqual(file.readline(), PLAIN.decode().splitlines(keepends=True)[0])

    def test_it_reads_what_fsspec_has_elsewhere(self):
        xzfs.register_fsspec()
        with fsspec.open("memory://b.xz", "wb") as file:
            file.write(STORED)
        with fsspec.open("memory://b.xz", compression="xzfs") as file:
            self.assertEqual(len(file.blocks), 21)
            file.seek(700000)
            self.assertEqual(file.read(5), PLAIN[700000:700005])

    def test_it_takes_the_place_of_xz_if_that_is_asked_for(self):
        xzfs.register_fsspec()
        with fsspec.open("memory://c.xz", "wb", compression="infer") as file:
            self.assertNotIsInstance(file, xzfs.LZMAFile)
        xzfs.register_fsspec(for_xz=True)
        with fsspec.open("memory://c.xz", "wb", compression="infer") as file:
            self.assertIsInstance(file, xzfs.LZMAFile)


if __name__ == "__main__":
    unittest.main()
