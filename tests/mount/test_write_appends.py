"""O_APPEND appends at the file's real end, also if other mounts, and programs in the source, append to
it."""

import errno
import fcntl
import mmap
import os
import sys

import support
import xzformat
from support import MountTest, wait_until
from write_support import WriteMount, read_file, write_file

APPEND = os.O_WRONLY | os.O_APPEND


def append(path, line):
    """Does what `echo LINE >> PATH` does."""
    fd = os.open(path, APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


class Appends(MountTest):
    def lines(self, name="log"):
        return read_file(os.path.join(self.source, name)).splitlines(keepends=True)

    def assert_all_there(self, writers, count, name="log"):
        """All lines of each writer are there, in their order."""
        lines = self.lines(name)
        self.assertEqual(len(lines), len(writers) * count)
        for writer in writers:
            self.assertEqual([line for line in lines if line.startswith(writer)],
                             [b"%s%d\n" % (writer, at) for at in range(count)])

    def test_lines_of_two_mounts_are_all_there(self):
        with WriteMount(self.source) as one, WriteMount(self.source) as other:
            for at in range(200):
                append(one / "log", b"A%d\n" % at)
                append(other / "log", b"B%d\n" % at)
            self.assert_all_there([b"A", b"B"], 200)

    def test_no_line_is_lost_through_handles_that_stay_open(self):
        write_file(os.path.join(self.source, "log"), b"")
        with WriteMount(self.source) as one, WriteMount(self.source) as other:
            paths = [one / "log", other / "log", os.path.join(self.source, "log")]
            handles = [os.open(path, APPEND) for path in paths]
            try:
                for at in range(200):
                    for handle, writer in zip(handles, (b"A", b"B", b"C")):
                        line = b"%s%d\n" % (writer, at)
                        self.assertEqual(os.write(handle, line), len(line))
            finally:
                for handle in handles:
                    os.close(handle)
            self.assert_all_there([b"A", b"B", b"C"], 200)
            wait_until(lambda: read_file(one / "log") == read_file(paths[2]),
                       "the mount shows what is stored")

    def test_a_line_that_another_program_appended_is_read_and_counts_in_the_size(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"first\n")
        with WriteMount(self.source, "attr_timeout=60") as mount:
            fd = os.open(mount / "log", os.O_RDWR | os.O_APPEND)
            try:
                self.assertEqual(os.pread(fd, 100, 0), b"first\n")
                append(path, b"second, by a program in the source\n")
                os.write(fd, b"third\n")
                wanted = b"first\nsecond, by a program in the source\nthird\n"
                self.assertEqual(read_file(path), wanted)
                # The kernel put the line at the file's old end, and has it there in its page cache.
                wait_until(lambda: os.fstat(fd).st_size == len(wanted), "the size is the real one")
                wait_until(lambda: os.pread(fd, 100, 0) == wanted, "no stale page is left")
                with mmap.mmap(fd, len(wanted), prot=mmap.PROT_READ) as mapped:
                    self.assertEqual(mapped[:], wanted)
            finally:
                os.close(fd)

    def test_a_large_append_is_in_one_piece_if_no_other_program_appends(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"first\n")
        content = xzformat.text(1, 3_000_000)
        with WriteMount(self.source, "attr_timeout=60") as mount:
            fd = os.open(mount / "log", os.O_RDWR | os.O_APPEND)
            try:
                append(path, b"second\n")
                self.assertEqual(os.write(fd, content), len(content))
                support.assert_same(self, read_file(path), b"first\nsecond\n" + content, "stored")
                wait_until(lambda: read_file(mount / "log") == b"first\nsecond\n" + content,
                           "the mount shows what is stored")
            finally:
                os.close(fd)

    def test_a_handle_appends_as_long_as_it_has_the_flag(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"0123456789")
        with WriteMount(self.source, "attr_timeout=60") as mount:
            fd = os.open(mount / "log", os.O_RDWR)
            try:
                append(path, b"+")
                fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
                os.write(fd, b"-")
                self.assertEqual(read_file(path), b"0123456789+-")
                fcntl.fcntl(fd, fcntl.F_SETFL, 0)
                os.pwrite(fd, b"ab", 1)
                self.assertEqual(read_file(path), b"0ab3456789+-")
            finally:
                os.close(fd)

    def test_a_mapping_of_a_handle_with_the_flag_writes_in_place(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"x" * 8192)
        with WriteMount(self.source) as mount:
            fd = os.open(mount / "log", os.O_RDWR | os.O_APPEND)
            try:
                with mmap.mmap(fd, 8192) as mapped:
                    mapped[4096:4100] = b"here"
                    mapped.flush()
                self.assertEqual(read_file(path), b"x" * 4096 + b"here" + b"x" * 4092)
            finally:
                os.close(fd)

    def test_an_append_to_a_compressed_file_goes_behind_what_was_committed_elsewhere(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"first\n")
        with WriteMount(self.source, "attr_timeout=60,min_size=1") as mount:
            self.assertEqual(os.stat(mount / "log").st_size, 6)  # the kernel relies on it
            fd = os.open(mount / "log", APPEND)
            try:
                append(path, b"second\n")
                os.write(fd, b"third\n")
            finally:
                os.close(fd)
            mount.sync()
            self.assertEqual(mount.state("log"), "compressed")
            append(mount / "log", b"fourth\n")
            self.assertEqual(mount.state("log"), "edited")
            self.assertEqual(read_file(mount / "log"), b"first\nsecond\nthird\nfourth\n")
            mount.sync()
            stored = support.xz_output(path + ".xz")
            self.assertEqual(stored, b"first\nsecond\nthird\nfourth\n")

    def test_an_append_behind_a_truncation_elsewhere_leaves_no_hole(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"a line\n" * 1000)
        with WriteMount(self.source, "attr_timeout=60") as mount:
            fd = os.open(mount / "log", APPEND)
            try:
                self.assertEqual(os.fstat(fd).st_size, 7000)
                os.truncate(path, 0)  # as logrotate's copytruncate does
                os.write(fd, b"after\n")
                self.assertEqual(read_file(path), b"after\n")
                wait_until(lambda: read_file(mount / "log") == b"after\n", "no stale page is left")
            finally:
                os.close(fd)

    def test_an_append_over_the_limit_of_the_file_size_fails(self):
        with WriteMount(self.source) as mount:
            code = ("import errno, os, resource, signal, sys\n"
                    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
                    "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
                    "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n"
                    "print(os.write(fd, b'x' * 60), os.write(fd, b'x' * 60))\n"
                    "try:\n"
                    "    os.write(fd, b'x')\n"
                    "except OSError as error:\n"
                    "    print(errno.errorcode[error.errno])\n")
            out = support.run([sys.executable, "-c", code, mount / "log"])
            self.assertEqual(out.split(), [b"60", b"40", errno.errorcode[errno.EFBIG].encode()])


if __name__ == "__main__":
    support.main()
