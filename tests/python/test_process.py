"""The GIL, signals, forks, and the end of the interpreter."""

import io
import os
import sys
import tempfile
import threading
import unittest

import xzfs
from python_support import BLOCK, PLAIN, STORED, FileObject, blocks_of, run_python, some_text


class Gil(unittest.TestCase):
    """The interpreter is told never to interrupt a thread. So while one calls, another one runs only if
    the call gives the GIL up."""

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1000)
        cls.plain = some_text(4 << 20)
        cls.stored = blocks_of(cls.plain, 1 << 20)

    def another_thread_runs_during(self, make_call):
        """True if the main thread ran while a thread was in the call. The call takes much longer than it
        takes to wake up; on a busy machine that may fail once, hence the tries."""
        for _ in range(20):
            call, begun, done = make_call(), threading.Event(), []

            def work(call=call, begun=begun, done=done):
                begun.set()
                call()
                done.append(True)
            thread = threading.Thread(target=work)
            thread.start()
            begun.wait()
            seen = not done
            thread.join()
            if seen:
                return True
        return False

    def test_the_check_itself_can_fail(self):
        self.assertFalse(self.another_thread_runs_during(lambda: lambda: sum(range(1000000))))

    def test_reading_releases_it(self):
        def reading():
            file = tempfile.TemporaryFile(buffering=0)
            self.addCleanup(file.close)
            file.write(self.stored)
            file.seek(0)
            reader = xzfs.Reader(file, cache_size=16 << 20)
            self.addCleanup(reader.close)
            return reader
        self.assertTrue(self.another_thread_runs_during(lambda: (
            lambda reader: lambda: reader.read_at(0))(reading())))
        self.assertTrue(self.another_thread_runs_during(lambda: (
            lambda reader: lambda: reader.readinto_at(0, bytearray(len(self.plain))))(reading())))

    def test_compress_and_decompress_release_it(self):
        self.assertTrue(self.another_thread_runs_during(
            lambda: lambda: xzfs.compress(self.plain, preset=1, threads=1)))
        self.assertTrue(self.another_thread_runs_during(
            lambda: lambda: xzfs.decompress(self.stored, threads=1)))

    def test_writing_releases_it(self):
        def writing():
            file = xzfs.open(io.BytesIO(), "w", preset=1, threads=1)
            self.addCleanup(file.close)
            return lambda: file.write(self.plain)
        self.assertTrue(self.another_thread_runs_during(writing))


class Processes(unittest.TestCase):
    def setUp(self):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(STORED)
        self.addCleanup(os.unlink, file.name)
        self.path = file.name

    def check(self, program, *arguments):
        done = run_python(program, self.path, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def test_a_reader_and_a_file_can_be_read_in_the_child_of_a_fork(self):
        self.check("""
import os, sys, xzfs
path = sys.argv[1]
reader, file = xzfs.Reader(path), xzfs.open(path)
other = xzfs.Reader(open(path, "rb"), threads=2)
wanted = reader.read_at(0), file.read(5), other.read_at(0)
child = os.fork()
if child == 0:
    assert reader.read_at(0) == wanted[0]
    assert other.read_at(0) == wanted[0]
    assert file.seek(0) == 0 and file.read(5) == wanted[1]
    reader.close()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert reader.read_at(0) == wanted[0]
""")

    def test_a_file_that_is_written_is_an_error_in_the_child_and_goes_on_in_the_parent(self):
        self.check("""
import io, lzma, os, sys, xzfs
out = io.BytesIO()
file = xzfs.open(out, "w", block_size=4096, threads=2)
file.write(b"parent" * 10000)
child = os.fork()
if child == 0:
    for call in (lambda: file.write(b"child"), file.close):
        try:
            call()
        except RuntimeError as error:
            assert "fork" in str(error)
        else:
            sys.exit(1)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
file.close()
assert lzma.decompress(out.getvalue()) == b"parent" * 10000
""")

    def test_multiprocessing_reads_files_of_its_parent(self):
        self.check("""
import multiprocessing, sys, xzfs
file = xzfs.open(sys.argv[1])
wanted = file.read()
def part(offset):
    file.seek(offset)
    return file.read(100) == wanted[offset:offset + 100]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(part, range(0, len(wanted), 100000)))
""")

    def test_python_ends_with_files_open(self):
        self.check("""
import io, sys, threading, xzfs
readers = [xzfs.Reader(open(sys.argv[1], "rb", buffering=0)), xzfs.Reader(sys.argv[1]),
           xzfs.Reader(io.BytesIO(open(sys.argv[1], "rb").read()), threads=2)]
for reader in readers:
    stream = reader.stream()
    for _ in range(30):
        stream.read(5000)  # so it decodes ahead
file = xzfs.open(sys.argv[1])
file.read(5)
sys.modules["kept for ever"] = readers, file
""")

    def test_what_was_written_is_complete_when_python_ends(self):
        self.check("""
import sys, xzfs
file = xzfs.open(sys.argv[1], "w")
file.write(b"not closed")
""")
        with xzfs.open(self.path) as file:
            self.assertEqual(file.read(), b"not closed")

    def test_python_ends_while_daemon_threads_read(self):
        for _ in range(5):
            self.check("""
import io, sys, threading, xzfs
data = open(sys.argv[1], "rb").read()
class Slow(io.BytesIO):
    def read(self, size=-1):
        sum(range(1000))
        return super().read(size)
begun = threading.Barrier(4)
def work(reader):
    begun.wait()
    while True:
        reader.read_at(0)
for reader in (xzfs.Reader(sys.argv[1], cache_size=1), xzfs.Reader(Slow(data), threads=2),
               xzfs.Reader(Slow(data), cache_size=1)):
    threading.Thread(target=work, args=(reader,), daemon=True).start()
begun.wait()
""")

    def test_ctrl_c_ends_a_read_of_a_slow_file_object(self):
        output = self.check("""
import io, os, signal, sys, xzfs
class Interrupted(io.BytesIO):
    def read(self, size=-1):
        if self.armed:
            os.kill(os.getpid(), signal.SIGINT)
        return super().read(size)
file = Interrupted(open(sys.argv[1], "rb").read())
file.armed = False
reader = xzfs.Reader(file, threads=1)
file.armed = True
try:
    reader.read_at(0)
except KeyboardInterrupt:
    file.armed = False
    print(len(reader.read_at(0)))
""")
        self.assertEqual(output, f"{len(PLAIN)}\n")


if __name__ == "__main__":
    unittest.main()
