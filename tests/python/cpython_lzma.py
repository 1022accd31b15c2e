"""CPython's own tests of lzma, run against xzfs in its place.

EXCEPTIONS has the tests that may fail, each with the reason. One of them that passes is a failure, too:
then the list is out of date."""

import os
import sys
import tempfile
import unittest

import xzfs

# {name of a test: why xzfs is different}
EXCEPTIONS = {}
# Those that Python skips itself: everywhere except in special builds or with a lot of memory, and, before
# 3.12, those with names of bytes.
SKIPPED = {"test_compressor_bigmem", "test_decompressor_bigmem", "test_refleaks_in_decompressor___init__",
           "test_read_from_file_with_bytes_filename", "test_write_to_file_with_bytes_filename"}


def load():
    """The tests, which import lzma and get xzfs. They come with Python's test package."""
    lzma = sys.modules["lzma"]
    sys.modules["lzma"] = xzfs
    try:
        from test import test_lzma
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: install Python's test package, libpython3.{sys.version_info[1]}-testsuite")
    finally:
        sys.modules["lzma"] = lzma
    assert test_lzma.lzma is xzfs and test_lzma.LZMAFile is xzfs.LZMAFile
    return unittest.defaultTestLoader.loadTestsFromModule(test_lzma)


def main():
    suite = load()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=1).run(suite)
        os.chdir("/")
    names = {test.id().rsplit(".", 1)[1] for test, _ in result.failures + result.errors}
    skipped = {test.id().rsplit(".", 1)[1] for test, _ in result.skipped}
    wrong = [f"{name} fails, and is no known exception" for name in sorted(names - set(EXCEPTIONS))]
    wrong += [f"{name} passes, but is listed: {EXCEPTIONS[name]}" for name in sorted(set(EXCEPTIONS) - names)]
    wrong += [f"{name} was skipped" for name in sorted(skipped - SKIPPED)]
    if result.testsRun < 100:
        wrong.append(f"only {result.testsRun} tests ran")
    print(*wrong, sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
