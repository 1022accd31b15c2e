"""Writes through the mount in each state, one call after the other; and on a plain directory."""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import shutil
import subprocess
import sys

import support
import write_support
import xzformat
from support import MIB
from write_support import STATES, patched, read_file, write_all, write_at, write_file

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 0x10


def fallocate(fd, mode, offset, length):
    if _libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Calls:
    """The Blocks are small, so every change meets their borders."""

    options = "block_size=64KiB,preset=0,min_size=1"

    def for_each_state(self, content):
        """Yields (name, path, state) of a new file with `content` in each state."""
        for state in STATES:
            name = f"of-{state}"
            yield name, self.store(name, content, state), state

    def test_a_new_file_holds_what_was_written(self):
        for size in (1, 4096, 65535, 65536, 65537, 300_000):
            content = xzformat.text(size, size)
            path = self.path(f"new{size}")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                self.assertEqual(os.fstat(fd).st_size, 0)
                write_all(fd, content)
                self.assertEqual(os.fstat(fd).st_size, size)
                self.assertEqual(os.pread(fd, size + 1, 0), content)
            finally:
                os.close(fd)
            self.assert_errno(errno.EEXIST, os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            self.assert_content(f"new{size}", content)
            self.assert_committed(f"new{size}", content)
            self.assert_errno(errno.EEXIST, os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def test_writes_at_any_offset_of_any_length_are_read_back(self):
        rng = random.Random(write_support.SEED)
        content = xzformat.text(1, 300_000)
        for name, path, state in self.for_each_state(content):
            wanted = bytearray(content)
            fd = os.open(path, os.O_RDWR)
            try:
                for _ in range(60):
                    at = rng.choice((0, rng.randrange(320_000), 65536 * rng.randrange(6)))
                    new = rng.randbytes(rng.choice((1, 17, 4096, 65536, 100_000)))
                    self.assertEqual(os.pwrite(fd, new, at), len(new))
                    wanted[:] = patched(bytes(wanted), at, new)
                    at = rng.randrange(len(wanted))
                    self.assertEqual(os.pread(fd, 70_000, at), wanted[at:at + 70_000])
                self.assertEqual(os.fstat(fd).st_size, len(wanted))
            finally:
                os.close(fd)
            self.assert_state(name, "plain" if state == "plain" else "edited")
            self.assert_content(name, bytes(wanted), "before the commit")
            self.assert_committed(name, bytes(wanted), "after the commit")

    def test_a_write_past_the_end_leaves_zeros(self):
        content = xzformat.text(2, 100_000)
        for name, path, _ in self.for_each_state(content):
            write_at(path, 500_001, b"far away")
            wanted = content + bytes(400_001) + b"far away"
            self.assert_content(name, wanted)
            self.assert_committed(name, wanted)

    def test_truncate_shrinks_and_extends_with_zeros(self):
        content = xzformat.text(3, 200_000)
        for by_fd in (False, True):
            for name, path, state in self.for_each_state(content):
                wanted = content
                for size in (150_000, 65536, 260_000, 65537, 65535, 1, 4000, 0, 100_000):
                    if by_fd:
                        fd = os.open(path, os.O_RDWR)
                        os.ftruncate(fd, size)
                        self.assertEqual(os.fstat(fd).st_size, size)
                        os.close(fd)
                    else:
                        os.truncate(path, size)
                    wanted = wanted[:size] + bytes(max(0, size - len(wanted)))
                    self.assert_content(name, wanted, f"truncated to {size}")
                write_at(path, 50_000, b"in the middle")
                wanted = patched(wanted, 50_000, b"in the middle")
                self.assert_content(name, wanted)
                self.assert_committed(name, wanted, state)
                os.unlink(path)

    def test_a_truncation_of_a_compressed_file_still_shows_after_the_commit(self):
        content = xzformat.text(4, 200_000)
        for size in (199_999, 131_072, 300_000, 5):
            path = self.store("cut", content, "compressed")
            os.truncate(path, size)
            wanted = (content + bytes(100_000))[:size]
            self.assert_committed("cut", wanted)

    def test_o_trunc_empties_the_file(self):
        content = xzformat.text(5, 150_000)
        for name, path, _ in self.for_each_state(content):
            write_file(path, b"a new beginning")
            self.assert_content(name, b"a new beginning")
            self.assert_committed(name, b"a new beginning")
            os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
            self.assert_content(name, b"")
            write_at(path, 0, content)
            self.assert_committed(name, content)

    def test_appending_writers_never_overwrite_each_other(self):
        """Several processes use O_APPEND. All their records are there, complete, in their order."""
        writers, records = 4, support.scaled(150, 30)
        program = """
import os, sys
path, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_APPEND)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(count):
    record = b"%d:%06d:" % (number, turn) + b"x" * (turn * 7 % 100) + b"\\n"
    assert os.write(fd, record) == len(record)
"""
        begin = xzformat.text(6, 70_000) + b"\n"
        for name, path, _ in self.for_each_state(begin):
            processes = [subprocess.Popen(
                [sys.executable, "-c", program, path, str(number), str(records)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE) for number in range(writers)]
            for process in processes:
                self.assertEqual(process.stdout.readline(), b"ready\n")
            for process in processes:
                process.stdin.write(b"go\n")
                process.stdin.flush()
            for process in processes:
                self.assertEqual(process.wait(60 * support.SLOWNESS), 0)
                process.stdin.close()
                process.stdout.close()
            got = read_file(path)
            self.assertEqual(got[:len(begin)], begin)
            lines = got[len(begin):].splitlines()
            self.assertEqual(len(lines), writers * records)
            for number in range(writers):
                mine = [line for line in lines if line.startswith(b"%d:" % number)]
                self.assertEqual(mine, [b"%d:%06d:" % (number, turn) + b"x" * (turn * 7 % 100)
                                        for turn in range(records)])
            self.assert_committed(name, got)

    def test_shared_mappings_write_to_the_file(self):
        content = xzformat.text(7, 200_000)
        for name, path, _ in self.for_each_state(content):
            wanted = content
            fd = os.open(path, os.O_RDWR)
            view = mmap.mmap(fd, len(content))
            os.close(fd)  # the mapping alone holds the file from here on
            self.assertEqual(view[:], content)
            for at in (0, 65530, 131_072, 199_990):
                view[at:at + 10] = b"0123456789"
                wanted = patched(wanted, at, b"0123456789")
            # An mmap and a descriptor see each other's bytes.
            self.assert_content(name, wanted, "through a descriptor while it is mapped")
            write_at(path, 70_000, b"by write")
            wanted = patched(wanted, 70_000, b"by write")
            self.assertEqual(view[70_000:70_008], b"by write")
            view.flush()
            view[100_000:100_005] = b"later"  # written back without a msync
            view.close()
            wanted = patched(wanted, 100_000, b"later")
            self.assert_content(name, wanted, "after munmap")
            self.assert_committed(name, wanted)

    def test_a_mapping_is_written_to_after_the_file_was_extended(self):
        for name, path, _ in self.for_each_state(b"x" * 5000):
            with open(path, "r+b") as file:
                os.ftruncate(file.fileno(), 3 * 65536)
                with mmap.mmap(file.fileno(), 0) as view:
                    view[65536 * 2 + 5:65536 * 2 + 9] = b"here"
            wanted = patched(b"x" * 5000 + bytes(3 * 65536 - 5000), 65536 * 2 + 5, b"here")
            self.assert_content(name, wanted)
            self.assert_committed(name, wanted)

    def test_fallocate_extends_and_keeps_content(self):
        content = xzformat.text(8, 100_000)
        for name, path, _ in self.for_each_state(content):
            fd = os.open(path, os.O_RDWR)
            try:
                fallocate(fd, 0, 50_000, 100_000)
                self.assertEqual(os.fstat(fd).st_size, 150_000)
                fallocate(fd, KEEP_SIZE, 0, 400_000)
                self.assertEqual(os.fstat(fd).st_size, 150_000)
                fallocate(fd, 0, 0, 10)
                self.assertEqual(os.fstat(fd).st_size, 150_000)
                self.assert_errno(errno.EINVAL, fallocate, fd, 0, 0, 0)
            finally:
                os.close(fd)
            self.assert_content(name, content + bytes(50_000))
            self.assert_committed(name, content + bytes(50_000))

    def test_a_punched_hole_reads_as_zeros(self):
        content = xzformat.text(9, 300_000)
        for name, path, _ in self.for_each_state(content):
            fd = os.open(path, os.O_RDWR)
            wanted = content
            try:
                for at, length in ((0, 10), (4096, 8192), (65000, 70_001), (290_000, 50_000)):
                    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, at, length)
                    wanted = patched(wanted, at, bytes(length))[:len(content)]
                    self.assertEqual(os.pread(fd, 400_000, 0), wanted)
                try:
                    fallocate(fd, ZERO_RANGE, 299_000, 2000)
                except OSError as error:
                    self.assertEqual(error.errno, errno.EOPNOTSUPP)
                else:
                    wanted = patched(wanted, 299_000, bytes(2000))
            finally:
                os.close(fd)
            self.assert_content(name, wanted)
            self.assert_committed(name, wanted)

    def test_data_is_never_reported_as_a_hole(self):
        """Tests SEEK_DATA and SEEK_HOLE; bytes that only the base of an edited file has are data."""
        parts = ((0, b"begin" * 1000), (400_000, b"middle" * 1000), (900_000, b"end" * 1000))
        whole = b""
        for at, data in parts:
            whole = patched(whole, at, data)
        for name, path, state in self.for_each_state(whole):
            write_at(path, 1_200_000, b"new")
            wanted = patched(whole, 1_200_000, b"new")
            fd = os.open(path, os.O_RDONLY)
            try:
                seen = bytearray(len(wanted))
                at = 0
                while True:
                    try:
                        at = os.lseek(fd, at, os.SEEK_DATA)
                    except OSError as error:
                        self.assertEqual(error.errno, errno.ENXIO)
                        break
                    end = os.lseek(fd, at, os.SEEK_HOLE)
                    self.assertGreater(end, at)
                    seen[at:end] = os.pread(fd, end - at, at)
                    at = end
                self.assertEqual(bytes(seen), wanted, f"what SEEK_DATA shows, {state}")
                self.assertEqual(os.lseek(fd, len(wanted) - 1, os.SEEK_HOLE), len(wanted))
                for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                    self.assert_errno(errno.ENXIO, os.lseek, fd, len(wanted), whence)
            finally:
                os.close(fd)
            self.assert_committed(name, wanted)

    def test_files_are_copied_within_the_directory(self):
        content = xzformat.text(10, 500_000)
        for name, path, _ in self.for_each_state(content):
            shutil.copyfile(path, path + ".sendfile")
            self.assert_content(name + ".sendfile", content)
            support.run(["cp", "-p", path, path + ".cp"])
            self.assert_content(name + ".cp", content)
            self.assertEqual(os.stat(path + ".cp").st_mtime_ns, os.stat(path).st_mtime_ns)
            source = os.open(path, os.O_RDONLY)
            target = os.open(path + ".range", os.O_RDWR | os.O_CREAT)
            try:
                done = 0
                while done < len(content):
                    done += os.copy_file_range(source, target, len(content) - done)
            finally:
                os.close(source)
                os.close(target)
            self.assert_content(name + ".range", content)
            for suffix in (".sendfile", ".cp", ".range"):
                self.assert_committed(name + suffix, content)

    def test_a_descriptor_only_does_what_it_was_opened_for(self):
        for _, path, _ in self.for_each_state(b"some content"):
            fd = os.open(path, os.O_RDONLY)
            self.assert_errno(errno.EBADF, os.write, fd, b"x")
            self.assert_errno(errno.EINVAL, os.ftruncate, fd, 1)
            os.close(fd)
            fd = os.open(path, os.O_WRONLY)
            self.assert_errno(errno.EBADF, os.read, fd, 1)
            os.close(fd)
            self.assert_errno(errno.ENOTDIR, os.open, path + "/x", os.O_CREAT | os.O_WRONLY)
            self.assert_errno(errno.ENOENT, os.open, path + "-/x", os.O_CREAT | os.O_WRONLY)
        self.assert_errno(errno.EISDIR, os.open, self.root, os.O_WRONLY)

    def test_a_reader_sees_later_writes_whatever_state_the_file_gets(self):
        content = xzformat.text(11, 200_000)
        for name, path, _ in self.for_each_state(content):
            reader = os.open(path, os.O_RDONLY)
            view = mmap.mmap(reader, len(content), access=mmap.ACCESS_READ)
            try:
                wanted = content
                for turn in range(4):
                    self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                    support.assert_same(self, view[:], wanted[:len(view)], f"{name} mapped")
                    if turn % 2:
                        self.sync()
                        self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                    new = b"turn %d" % turn
                    write_at(path, 65530 + turn, new)
                    wanted = patched(wanted, 65530 + turn, new)
                self.sync()
                self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                os.truncate(path, 70_000)
                self.assertEqual(os.pread(reader, 300_000, 0), wanted[:70_000])
                self.sync()
                self.assertEqual(os.pread(reader, 300_000, 0), wanted[:70_000])
            finally:
                view.close()
                os.close(reader)
            self.assert_committed(name, wanted[:70_000])

    def test_an_unlinked_file_is_read_and_written_until_it_is_closed(self):
        content = xzformat.text(12, 200_000)
        for name, path, state in self.for_each_state(content):
            writer = os.open(path, os.O_RDWR)
            reader = os.open(path, os.O_RDONLY)
            try:
                os.unlink(path)
                self.assertEqual(os.listdir(self.root), [])
                self.assert_errno(errno.ENOENT, os.stat, path)
                self.assertEqual(os.fstat(reader).st_nlink, 0)
                self.assertEqual(os.pread(reader, 300_000, 0), content)
                self.assertEqual(os.pwrite(writer, b"changed", 65533), 7)
                os.ftruncate(writer, 150_000)
                wanted = patched(content, 65533, b"changed")[:150_000]
                self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                os.fsync(writer)
                os.fchmod(writer, 0o600)
                self.assertEqual(os.fstat(reader).st_mode & 0o7777, 0o600)
                self.assertEqual(os.fstat(reader).st_size, 150_000)
                # The name is free, and another file takes it.
                write_file(path, b"the next one")
                self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                self.sync()
                self.assertEqual(os.pread(reader, 300_000, 0), wanted)
                self.assertEqual(os.pwrite(writer, b"again", 0), 5)
                self.assertEqual(os.pread(reader, 5, 0), b"again")
            finally:
                os.close(writer)
                os.close(reader)
            self.assert_committed(name, b"the next one", state)
            os.unlink(path)

    def test_syncing_files_and_directories_succeeds(self):
        for _, path, _ in self.for_each_state(b"content" * 1000):
            for flags in (os.O_RDONLY, os.O_RDWR):
                fd = os.open(path, flags)
                if flags == os.O_RDWR:
                    os.pwrite(fd, b"new", 10)
                os.fsync(fd)
                os.fdatasync(fd)
                os.close(fd)
            fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
            fd = os.open(path, os.O_RDWR | os.O_SYNC)
            self.assertEqual(os.write(fd, b"sync"), 4)
            os.close(fd)

    def test_a_direct_writer_and_a_cached_reader_agree(self):
        content = xzformat.text(13, 262_144)
        for name, path, _ in self.for_each_state(content):
            self.assert_content(name, content)  # now in the page cache
            fd = os.open(path, os.O_RDWR | os.O_DIRECT)
            page = mmap.mmap(-1, 8192)
            page[:] = b"D" * 8192
            try:
                self.assertEqual(os.pwrite(fd, page, 65536 - 4096), 8192)
            finally:
                os.close(fd)
                page.close()
            wanted = patched(content, 65536 - 4096, b"D" * 8192)
            self.assert_content(name, wanted)
            self.assert_committed(name, wanted)

    def test_a_file_without_a_name_gets_one_or_is_refused(self):
        """Tests O_TMPFILE, if the kernel and libfuse have it."""
        try:
            fd = os.open(self.root, os.O_RDWR | os.O_TMPFILE, 0o600)
        except OSError as error:
            self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.EISDIR))
            return
        try:
            os.write(fd, b"without a name")
            self.assertEqual(os.listdir(self.root), [])
            self.assertEqual(_libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD,
                                          os.fsencode(self.path("named")), AT_SYMLINK_FOLLOW), 0)
        finally:
            os.close(fd)
        self.assert_content("named", b"without a name")

    def test_locks_hold_between_processes(self):
        program = """
import errno, fcntl, sys
file = open(sys.argv[1], "r+b")
for lock in (lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
             lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)):
    try:
        lock()
        print("got", end=" ")
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
"""
        for _, path, _ in self.for_each_state(b"content" * 1000):
            with open(path, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self.assertEqual(write_support.child(program, path).split(), ["EAGAIN", "got"])
                fcntl.flock(file, fcntl.LOCK_UN)
                fcntl.lockf(file, fcntl.LOCK_EX, 10, 0)
                self.assertEqual(write_support.child(program, path).split(), ["got", "EAGAIN"])
                fcntl.lockf(file, fcntl.LOCK_UN, 10, 0)
                self.assertEqual(write_support.child(program, path).split(), ["got", "got"])

    def test_a_large_file_is_written_in_large_pieces(self):
        content = xzformat.text(14, MIB) * 8
        path = self.path("large")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            write_all(fd, content)
            self.assertEqual(os.pread(fd, 1000, 5 * MIB), content[5 * MIB:5 * MIB + 1000])
        finally:
            os.close(fd)
        self.assert_committed("large", content)
        self.assertEqual(os.stat(path).st_size, len(content))


class OnTheMount(Calls, write_support.OnMount):
    pass


class OnAPlainDirectory(Calls, write_support.OnPlainDirectory):
    pass


if __name__ == "__main__":
    support.main()
