"""Killed readers, many files, busy unmounts, slow and hostile files: nothing hangs, costs are bounded."""

import errno
import lzma
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib

import support
import xzformat
from support import MIB, Bytes, Mount, MountTest, make_compressed

# Reads at random until it is killed; prints a line when it begins.
READER = """
import os, random, sys
rng = random.Random(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
size = os.fstat(fd).st_size
print("reading", flush=True)
while True:
    os.pread(fd, rng.randint(1, 400_000), rng.randrange(size))
"""


def start_reader(path, seed):
    reader = subprocess.Popen([sys.executable, "-c", READER, path, str(seed)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if reader.stdout.readline() != b"reading\n":
        raise AssertionError(f"the reader of {path} did not start")
    return reader


def end_reader(reader):
    reader.kill()
    reader.wait(support.HANGS_S * support.SLOWNESS)
    reader.stdout.close()


class Readers(MountTest):

    def setUp(self):
        super().setUp()
        self.content = xzformat.text(1, 8 * MIB)
        blocks = sum((xzformat.blocks_of(self.content[at:at + MIB])
                      for at in range(0, len(self.content), MIB)), ())
        with open(os.path.join(self.source, "file.xz"), "wb") as out:
            out.write(xzformat.stream(blocks, lzma.CHECK_CRC32))
        make_compressed(self.source, "small", b"small content")

    def test_killed_readers_leave_nothing_behind(self):
        kills = support.scaled(50, 8)
        in_flight = 0
        rng = random.Random(5)
        with Mount(self.source, "cache_size=32MiB") as mount:
            for turn in range(kills):
                readers = [start_reader(mount / "file", turn * 2 + n) for n in range(2)]
                served = mount.stats()["served_bytes"]
                support.wait_until(lambda: mount.stats()["served_bytes"] > served, "it reads")
                threading.Event().wait(rng.random() * 0.02)
                for reader in readers:
                    self.assertIsNone(reader.poll(), "the reader ended by itself")
                    end_reader(reader)
                    self.assertEqual(reader.returncode, -signal.SIGKILL)
                    in_flight += 1
            support.read_fully(self, mount / "file", Bytes(self.content), "afterwards")
        self.assertEqual(in_flight, 2 * kills)

    def test_thousands_of_opens_and_closes(self):
        rounds = support.scaled(6_000, 500)
        with Mount(self.source) as mount:
            def churn(seed):
                rng = random.Random(seed)
                for turn in range(rounds // 4):
                    fd = os.open(mount / "file", os.O_RDONLY)
                    if turn % 10 == 0:
                        at = rng.randrange(len(self.content))
                        if os.pread(fd, 10, at) != self.content[at:at + 10]:
                            failures.append(at)
                    os.close(fd)
            failures = []
            threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            # There is less than one descriptor for a hundred opens, so none is kept for each open.
            self.assertLess(len(mount.descriptors()), 20 + mount.stats()["descriptors"]["limit"])

    def test_a_thousand_files_open_at_once(self):
        count = 1000
        for number in range(count):
            make_compressed(self.source, f"f{number}", b"%d" % number * 1000)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for flags, options in (((), ""), (("-s",), "threads=1")):
            with self.subTest(flags=flags), Mount(self.source, options, flags) as mount:
                held = [os.open(mount / f"f{number}", os.O_RDONLY) for number in range(count)]
                try:
                    for _ in range(2):
                        for number, fd in enumerate(held):
                            self.assertEqual(os.pread(fd, 20_000, 0), b"%d" % number * 1000)
                finally:
                    for fd in held:
                        os.close(fd)

    def test_one_thread_serves_many_readers(self):
        for flags, options in (((), "threads=1"), (("-s",), ""), (("-s",), "threads=1"),
                               (("-s",), "threads=1,cache_size=32MiB")):
            with self.subTest(flags=flags, options=options), \
                    Mount(self.source, options, flags) as mount:
                support.read_concurrently(self, mount / "file", Bytes(self.content), 1,
                                          readers=8, count=support.scaled(60))

    def test_a_busy_mount_refuses_umount_and_survives_it(self):
        with Mount(self.source) as mount:
            with open(mount / "file", "rb", buffering=0) as file:
                self.assertEqual(file.read(10), self.content[:10])
                tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
                done = subprocess.run([*tool, mount.path], stderr=subprocess.PIPE, check=False,
                                      timeout=60)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(b"busy", done.stderr)
                self.assertEqual(file.read(10), self.content[10:20])
                self.assertTrue(mount.alive())

    def test_signals_unmount_also_under_load(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number.name), Mount(self.source) as mount:
                readers = [start_reader(mount / "file", n) for n in range(2)]
                try:
                    mount.process.send_signal(number)
                    self.assertEqual(mount.process.wait(support.HANGS_S * support.SLOWNESS), 0)
                finally:
                    for reader in readers:
                        end_reader(reader)
                # The name is free again.
                self.assertEqual(os.listdir(mount.path), [])

    def test_a_killed_daemon_leaves_readers_with_an_error_and_the_source_mountable(self):
        mount = Mount(self.source)
        mount.__enter__()
        try:
            reader = start_reader(mount / "file", 1)
            mount.process.kill()
            reader.wait(20)
            reader.stdout.close()
            self.assertNotEqual(reader.returncode, 0)
        finally:
            mount.process.wait(20)
            mount._clean_up()
        with Mount(self.source) as again:
            support.read_fully(self, again / "file", Bytes(self.content), "again")


class Slow(MountTest):

    # How long a small read may wait while others have giant Blocks decoded: it needs one decode slot,
    # and the reader of a giant Block gives its slot up after each slice.
    BOUND_S = 2.0

    def test_a_slow_file_does_not_stall_others(self):
        giant = xzformat.Giant(512 * MIB)
        giant.write(os.path.join(self.source, "giant.xz"))
        names = [f"small{number}" for number in range(300)]
        enough = support.scaled(1024) * MIB
        for name in names:
            make_compressed(self.source, name, name.encode() * 500)
        for options in ("cache_size=64MiB", "cache_size=32MiB,threads=1"):
            with self.subTest(options=options), \
                    Mount(self.source, options + ",entry_timeout=0,attr_timeout=0") as mount:
                # More readers than the daemon serves at once.
                readers = [start_reader(mount / "giant", seed) for seed in range(24)]
                try:
                    start = mount.stats()["decoded_bytes"]
                    worst_stat = worst_read = decoded = turn = 0
                    # Until several hundred small reads ran during the decoding of the giant Block.
                    while decoded < enough or turn < len(names):
                        name = names[turn % len(names)]
                        turn += 1
                        begin = time.monotonic()
                        self.assertEqual(os.stat(mount / name).st_size, len(name) * 500)
                        between = time.monotonic()
                        fd = os.open(mount / name, os.O_RDONLY | os.O_DIRECT)
                        self.assertEqual(os.pread(fd, 9000, 0), name.encode() * 500)
                        os.close(fd)
                        worst_stat = max(worst_stat, between - begin)
                        worst_read = max(worst_read, time.monotonic() - between)
                        decoded = mount.stats()["decoded_bytes"] - start
                    alive = [reader.poll() is None for reader in readers]
                finally:
                    for reader in readers:
                        end_reader(reader)
                print(f"{options}: worst stat {worst_stat * 1000:.0f} ms, worst open + read "
                      f"{worst_read * 1000:.0f} ms of {turn}, beside {decoded >> 20} MiB decoded",
                      file=sys.stderr)
                self.assertEqual(alive, [True] * 24)
                self.assertLess(worst_stat, self.BOUND_S * support.SLOWNESS)
                self.assertLess(worst_read, self.BOUND_S * support.SLOWNESS)


class Deep(MountTest):

    # One stack frame or more per level would take some MiB of stack, and a thread has 8.
    DEPTH = 12_000

    def setUp(self):
        super().setUp()
        # shutil.rmtree recurses.
        self.addCleanup(subprocess.run, ["rm", "-rf", self.source + "/d"], check=False)

    def test_a_tree_deeper_than_a_stack_is_walked_and_read(self):
        make_compressed(self.source, "file", b"deep down")
        for number in range(600):
            os.mkdir(os.path.join(self.source, f"other{number}"))
        folder = os.open(self.source, os.O_RDONLY)
        for _ in range(self.DEPTH):
            os.mkdir("d", dir_fd=folder)
            below = os.open("d", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.link(os.path.join(self.source, "file.xz"), "file.xz", dst_dir_fd=folder)
        os.close(folder)
        with Mount(self.source) as mount:
            at = os.open(mount.path, os.O_RDONLY)
            for _ in range(self.DEPTH):
                below = os.open("d", os.O_PATH, dir_fd=at)
                os.close(at)
                at = below
            # Then no descriptor on the way down is open any more.
            for number in range(600):
                os.listdir(mount / f"other{number}")
            with open(os.open("file", os.O_RDONLY, dir_fd=at), "rb") as file:
                self.assertEqual(file.read(), b"deep down")
            os.close(at)


class Hostile(MountTest):

    CACHE_MIB = 32

    def store(self, name, content):
        with open(os.path.join(self.source, name), "wb") as out:
            out.write(content)

    def test_hostile_headers_cost_bounded_memory_and_time(self):
        good = xzformat.text(1, 5000)
        (block,) = xzformat.blocks_of(good)

        # An Index that claims more Blocks than its bytes can hold.
        for count in (1_000_001, 1 << 40, (1 << 63) - 1):
            self.store(f"claims{count}.xz",
                       xzformat.stream((block,), lzma.CHECK_CRC32, claimed_count=count))
        # An Index of a million Blocks that are not there.
        self.store("absent.xz", xzformat.stream((block,), lzma.CHECK_CRC32,
                                                records=[(20, 1)] * 1_200_000))
        # Sizes near the limits of the format, one by one and in sum.
        self.store("huge.xz", xzformat.stream((block,), lzma.CHECK_CRC32,
                                              records=[(block.unpadded_size, (1 << 62))]))
        self.store("overflow.xz", xzformat.stream(
            (block, block), lzma.CHECK_CRC32,
            records=[(block.unpadded_size, (1 << 63) - 5)] * 2))
        self.store("overflow2.xz", xzformat.stream(
            (block,), lzma.CHECK_CRC32, records=[(block.unpadded_size, (1 << 63) - 5)]) * 3)
        self.store("small-claim.xz", xzformat.stream(
            (block,), lzma.CHECK_CRC32, records=[(block.unpadded_size, 10)]))
        # Block Header flags for four filters, the longest header, garbage inside.
        self.store("garbage.xz", b"\xfd7zXZ\0" + random.Random(1).randbytes(1 << 20))
        # A .lzma header that asks for 4 GiB of dictionary and promises an exabyte.
        self.store("promises.lzma", struct.pack("<BIQ", 0x5D, 0xFFFFFFFF, 1 << 60) + bytes(100))
        self.store("big-dict.lz", b"LZIP\1\x1d" + random.Random(2).randbytes(1000))
        shown = os.listdir(self.source)
        began = time.monotonic()
        with Mount(self.source, f"cache_size={self.CACHE_MIB}MiB") as mount:
            refused = 0
            for name in os.listdir(mount.path):
                for offset in (0, 4000, 10**12, 1 << 60):
                    try:
                        fd = os.open(mount / name, os.O_RDONLY)
                    except OSError as error:
                        self.assertIn(error.errno, (errno.EIO, errno.EFBIG), name)
                        refused += 1
                        continue
                    try:
                        got = os.pread(fd, 100_000, offset)
                        if offset >= os.fstat(fd).st_size:
                            self.assertEqual(got, b"", name)
                            continue
                        # A file without a known magic is a plain file.
                        with open(os.path.join(self.source, name), "rb") as stored:
                            self.assertEqual(got, stored.read()[offset:][:100_000], name)
                    except OSError as error:
                        self.assertIn(error.errno, (errno.EIO, errno.EFBIG, errno.EINVAL), name)
                        refused += 1
                    finally:
                        os.close(fd)
            self.assertTrue(mount.alive())
            self.assertGreaterEqual(refused, 4 * 8)
            support.check_rss(self, mount, self.CACHE_MIB + 64, "hostile headers")
        self.assertEqual(len(shown), 11)
        self.assertLess(time.monotonic() - began, 20 * support.SLOWNESS)

    def test_a_dictionary_of_4_gib_is_only_a_claim(self):
        """`xz -dc` reads it. Its content is small, so xzfs must read it, too."""
        plain = xzformat.text(3, 60_000)
        chunks = lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[
            {"id": lzma.FILTER_LZMA2, "preset": 0}])[:-1]
        block = xzformat.lzma2_block((chunks,), len(plain), 40, zlib.crc32(plain))
        self.store("dict.xz", xzformat.stream((block,) * 20, lzma.CHECK_CRC32))
        with Mount(self.source, f"cache_size={self.CACHE_MIB}MiB") as mount:
            got = None
            support.read_concurrently(self, mount / "dict", Bytes(plain * 20), 1,
                                      count=support.scaled(50))
            with open(mount / "dict", "rb") as file:
                got = file.read()
            support.assert_same(self, got, plain * 20, "a 4 GiB dictionary")
            support.check_rss(self, mount, self.CACHE_MIB + 64, "4 GiB dictionaries")

    def test_a_million_true_blocks_read_right_or_are_refused_as_too_big(self):
        """1.2 million Blocks of one byte: the file is valid, and its Index alone takes tens of MiB."""
        (block,) = xzformat.blocks_of(b"x")
        count = support.scaled(1_200_000, 1_000_100)
        self.store("blocks.xz", xzformat.stream((block,) * count, lzma.CHECK_CRC32))
        self.store("calm.xz", lzma.compress(b"calm"))
        with Mount(self.source, "cache_size=128MiB") as mount:
            self.assertEqual(os.stat(mount / "blocks").st_size, count)
            with open(mount / "blocks", "rb", buffering=0) as file:
                for offset in (0, 1, count // 2, count - 2):
                    file.seek(offset)
                    self.assertEqual(file.read(50), b"x" * min(50, count - offset))
            with open(mount / "calm", "rb") as file:
                self.assertEqual(file.read(), b"calm")
            support.check_rss(self, mount, 128 + 64, "a million Blocks")


if __name__ == "__main__":
    support.main()
