"""What was decoded once is not decoded again: the mount's own figures show it."""

import errno
import lzma
import os
import random
import threading

import support
import xzformat
from support import MIB, Bytes, Mount, MountTest, make_compressed, wait_until


class Cache(MountTest):

    def store_blocks(self, name, content, block=MIB):
        blocks = sum((xzformat.blocks_of(content[at:at + block])
                      for at in range(0, len(content), block)), ())
        with open(os.path.join(self.source, name + ".xz"), "wb") as out:
            out.write(xzformat.stream(blocks, lzma.CHECK_CRC32))

    def store_repeated(self, name, count, size=MIB):
        """`count` equal Blocks: a large file that costs little to make."""
        content = xzformat.text(3, size)
        with open(os.path.join(self.source, name + ".xz"), "wb") as out:
            out.write(xzformat.stream(xzformat.blocks_of(content) * count, lzma.CHECK_CRC32))
        return content

    def test_readers_of_one_block_decode_it_once(self):
        readers, files = 8, support.scaled(10, 2)
        content = xzformat.text(1, 4 * MIB)
        for number in range(files):
            make_compressed(self.source, f"f{number}", content)
        with Mount(self.source) as mount:
            for number in range(files):
                before = mount.stats()
                start, failures = threading.Barrier(readers), []

                def read(offset, path=mount / f"f{number}", start=start, failures=failures):
                    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
                    try:
                        start.wait(60)
                        if os.pread(fd, 5000, offset) != content[offset:offset + 5000]:
                            failures.append(offset)
                    finally:
                        os.close(fd)

                threads = [threading.Thread(target=read, args=(n * 400_000,))
                           for n in range(readers)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(failures, [])
                after = mount.stats()
                self.assertEqual(after["decoded_bytes"] - before["decoded_bytes"], len(content))
            self.assertGreater(after["cache"]["single_flight_joins"], 0)

    def test_decoded_data_of_removed_files_takes_no_memory(self):
        with Mount(self.source, "settle=1000,preset=0,min_saving=0") as mount:
            def used():
                return mount.stats()["budget"]["used_bytes"]

            before, count = used(), 300
            for number in range(count):
                with open(mount / f"f{number}", "wb") as file:
                    file.write(xzformat.text(number, 3000))
            os.getxattr(mount.path, "user.xzfs.cmd.sync")
            for number in range(count):
                path = mount / f"f{number}"
                with open(path, "r+b", buffering=0) as file:
                    file.write(b"edited")
                if number % 2:
                    os.chmod(path, 0o600)
            os.getxattr(mount.path, "user.xzfs.cmd.sync")
            for number in range(count):
                fd = os.open(mount / f"f{number}", os.O_RDONLY | os.O_DIRECT)
                self.assertEqual(os.pread(fd, 6, 0), b"edited")
                if number % 3 == 0:
                    os.unlink(mount / f"f{number}")  # while it is open
                os.close(fd)
                if number % 3:
                    os.unlink(mount / f"f{number}")
            self.assertEqual(mount.stats()["commits"]["done"], 2 * count)
            # Each took over 3 KiB. What decoders keep for the next Block belongs to no file.
            wait_until(lambda: used() <= before + count * 1024, f"{before} bytes and not much more")

    def test_only_with_verify_stream_a_damaged_block_is_served_until_its_check_was_verified(self):
        content = random.Random(5).randbytes(3 * MIB)  # uncompressed: only the Check tells
        self.store_blocks("a", content)
        with open(os.path.join(self.source, "a.xz"), "r+b") as stored:
            stored.seek(MIB + MIB // 2)
            stored.write(bytes(16))
        self.assertEqual(self.first_read_of_the_damaged_block("block", content), b"")
        # Sometimes the Check is verified before the reader continues.
        wait_until(lambda: self.first_read_of_the_damaged_block("stream", content) != b"",
                   "the damaged Block is served")

    def first_read_of_the_damaged_block(self, verify, content):
        with Mount(self.source, f"verify={verify}") as mount:
            fd = os.open(mount / "a", os.O_RDONLY | os.O_DIRECT)
            try:
                first = self.read_or_nothing(fd, MIB)
                self.assertIn(first, (b"", content[MIB:][:4096]))
                wait_until(lambda: mount.stats()["damaged"]["blocks"] == 1,
                           "the damage is counted")
                self.assertEqual(self.read_or_nothing(fd, MIB), b"")
                for intact in (0, 2 * MIB):
                    self.assertEqual(os.pread(fd, MIB, intact), content[intact:][:MIB])
            finally:
                os.close(fd)
        return first

    def read_or_nothing(self, fd, offset):
        try:
            return os.pread(fd, 4096, offset)
        except OSError as error:
            self.assertEqual(error.errno, errno.EIO)
            return b""

    def test_many_random_readers_of_more_than_the_cache_holds_get_right_bytes(self):
        content = {name: xzformat.text(number, 24 * MIB)
                   for number, name in enumerate(("a", "b", "c"))}
        for name, plain in content.items():
            self.store_blocks(name, plain, block={"a": 2 * MIB, "b": 300_000, "c": MIB}[name])
        with Mount(self.source, "cache_size=32MiB") as mount:
            failures = []

            def read(number):
                rng = random.Random(number)
                fds = {name: os.open(mount / name, os.O_RDONLY | os.O_DIRECT) for name in content}
                try:
                    for _ in range(support.scaled(60, 10)):
                        name = rng.choice("abc")
                        offset, length = rng.randrange(24 * MIB), rng.randint(1, 700_000)
                        got = os.pread(fds[name], length, offset)
                        if got != content[name][offset:offset + length]:
                            failures.append((name, offset, length))
                finally:
                    for fd in fds.values():
                        os.close(fd)

            threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            stats = mount.stats()
            self.assertGreater(stats["cache"]["evictions"], 10)
            self.assertLessEqual(stats["budget"]["used_bytes"], 32 * MIB)
            support.check_rss(self, mount, 32 + 8 * 4 + 48, "8 readers in a cache of 32 MiB")

    def test_a_scan_does_not_flush_what_is_read_again(self):
        plain = xzformat.text(2, 3 * MIB)
        self.store_blocks("plain", plain, block=MIB // 2)
        count = support.scaled(300, 100)
        self.store_repeated("scan", count)
        with Mount(self.source, "cache_size=32MiB") as mount:
            for _ in range(4):
                support.random_preads(self, mount / "plain", Bytes(plain), 100, 1)
            with open(mount / "scan", "rb", buffering=0) as file:
                read = 0
                while part := file.read(MIB):
                    read += len(part)
            self.assertEqual(read, count * MIB)
            before = mount.stats()["decoded_bytes"]
            support.random_preads(self, mount / "plain", Bytes(plain), 100, 2)
            self.assertEqual(mount.stats()["decoded_bytes"], before, "plain Blocks were flushed")

    def test_sequential_readers_get_decode_ahead_and_random_ones_do_not(self):
        part = self.store_repeated("ahead", 64)
        with Mount(self.source, "threads=2") as mount:
            fd = os.open(mount / "ahead", os.O_RDONLY | os.O_DIRECT)
            try:
                rng = random.Random(3)
                for _ in range(30):
                    at = rng.randrange(64) * MIB + rng.randrange(MIB // 2)
                    self.assertEqual(os.pread(fd, 100, at), part[at % MIB:at % MIB + 100])
                ahead = mount.stats()["decode_ahead"]
                self.assertLessEqual(ahead["useful"] + ahead["wasted"], 3)
                for at in range(0, 64 * MIB, 128 << 10):
                    os.pread(fd, 128 << 10, at)
                self.assertGreater(mount.stats()["decode_ahead"]["useful"], 5)
                # Decoding ahead decoded nothing twice.
                self.assertLessEqual(mount.stats()["decoded_bytes"], 64 * MIB)
            finally:
                os.close(fd)

    def test_random_reads_in_a_giant_block_go_back_to_restart_points(self):
        part = xzformat.text(6, 4 * MIB)
        content = b"".join(part[turn * 9973:] + part[:turn * 9973] for turn in range(16))
        with open(os.path.join(self.source, "giant.xz"), "wb") as out:
            out.write(lzma.compress(content, preset=3))  # a dictionary of 4 MiB
        for options, file_is_used in (("cache_size=32MiB", True),
                                      ("cache_size=32MiB,restart_file_size=0", False)):
            with Mount(self.source, options + ",whole_block_limit=1MiB") as mount:
                self.assertEqual(mount.stats()["giant_block_restarts"], 0)
                failures = []
                # Without points each costs half of the Block.
                count = support.scaled(60, 15) if file_is_used else 4

                def read(seed, path=mount / "giant", failures=failures, count=count):
                    rng = random.Random(seed)
                    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
                    try:
                        for _ in range(count):
                            offset = rng.randrange(6 * MIB, len(content) - 5000)
                            if os.pread(fd, 5000, offset) != content[offset:offset + 5000]:
                                failures.append(offset)
                    finally:
                        os.close(fd)

                threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(failures, [])
                stats = mount.stats()
                if file_is_used:
                    self.assertGreater(stats["restart_points"]["restored"], 10)
                    self.assertLessEqual(stats["giant_block_restarts"], 6)
                self.assertLessEqual(stats["budget"]["used_bytes"], 32 * MIB)
                support.check_rss(self, mount, 32 + 16 * 1 + 48, "random reads in a giant Block")

    def test_the_kernel_keeps_its_pages_across_opens_until_the_file_changes(self):
        content = xzformat.text(5, 2 * MIB)
        path = make_compressed(self.source, "file", content)
        with open(os.path.join(self.source, "plain"), "wb") as out:
            out.write(content)
        with Mount(self.source, "attr_timeout=0,entry_timeout=0") as mount:
            for name in ("file", "plain"):
                support.read_fully(self, mount / name, Bytes(content), "first")
            served = mount.stats()["served_bytes"]
            for _ in range(5):
                support.read_fully(self, mount / "file", Bytes(content), "again")
            self.assertEqual(mount.stats()["served_bytes"], served)
            # The file was only touched: its identity changed, so the kernel reads the pages again.
            os.utime(path, ns=(1, 1))
            support.read_fully(self, mount / "file", Bytes(content), "touched")
            self.assertEqual(mount.stats()["served_bytes"], served + len(content))

    def test_plain_files_read_as_they_are_and_show_their_changes(self):
        rng = random.Random(4)
        content = bytearray(rng.randbytes(3 * MIB + 17))
        path = os.path.join(self.source, "plain.bin")
        with open(path, "wb") as out:
            out.write(content)
        os.truncate(os.path.join(self.source, "plain.bin"), len(content) + 5 * MIB)  # a hole
        content += bytes(5 * MIB)
        with Mount(self.source, "attr_timeout=0,entry_timeout=0") as mount:
            support.random_preads(self, mount / "plain.bin", Bytes(bytes(content)),
                                  support.scaled(1000), 6)
            support.read_fully(self, mount / "plain.bin", Bytes(bytes(content)), "plain")
            for turn in range(5):
                at = rng.randrange(len(content) - 5000)
                content[at:at + 5000] = rng.randbytes(5000)
                content += b"more %d" % turn
                with open(path, "r+b") as out:
                    out.write(content)
                support.read_fully(self, mount / "plain.bin", Bytes(bytes(content)), "changed")
            # Names appear and vanish, also those that the kernel remembers as absent.
            self.assertFalse(os.path.exists(mount / "late"))
            make_compressed(self.source, "late", b"late content")
            with open(mount / "late", "rb") as file:
                self.assertEqual(file.read(), b"late content")
            os.rename(os.path.join(self.source, "late.xz"), os.path.join(self.source, "l2.xz"))
            self.assertFalse(os.path.exists(mount / "late"))
            self.assertEqual(sorted(os.listdir(mount.path)), ["l2", "plain.bin"])


if __name__ == "__main__":
    support.main()
