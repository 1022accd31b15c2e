"""However many threads wait for something, the mount answers others."""

import mmap
import os
import random
import threading

import support
import xzformat
from support import MIB, wait_until
from write_support import WriteMount, write_file

PAGE = 4096


def in_threads(count, work):
    """Starts `count` threads at the same moment; returns the list of them."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


class Waiting(support.MountTest):
    def store(self, name, plain, block_size):
        path = os.path.join(self.source, name)
        write_file(path, plain)
        support.run(["xz", "-0", f"--block-size={block_size}", path])

    def await_all(self, threads):
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive(), "somebody waits for ever")

    def test_many_open_one_file_for_writing_while_others_read_it_at_random(self):
        plain = xzformat.text(1, 4 * MIB) * 12
        self.store("file", plain, MIB)
        with WriteMount(self.source, "cache_size=32MiB") as mount:
            opened, read = [], []

            def open_it(_):
                os.close(os.open(mount / "file", os.O_RDWR))
                opened.append(1)

            for attempt in range(3):
                ending = threading.Event()

                def read_it(number, ending=ending, seed=attempt):
                    choose = random.Random(seed * 100 + number)
                    fd = os.open(mount / "file", os.O_RDONLY)
                    while not ending.is_set():
                        at = choose.randrange(len(plain) // PAGE) * PAGE
                        got = os.pread(fd, PAGE, at)
                        assert got == plain[at:at + PAGE], at
                        read.append(1)
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(fd)

                readers = in_threads(8, read_it)
                before = len(read)
                wait_until(lambda before=before: len(read) > before, "reads")
                self.await_all(in_threads(160, open_it))
                ending.set()
                self.await_all(readers)
            self.assertEqual(len(opened), 3 * 160)
            self.assertGreater(len(read), 10)

    def test_programs_that_wait_for_commits_keep_no_reader_waiting(self):
        plain = xzformat.text(2, 400_000)
        self.store("compressed", plain, 64 << 10)
        options = "sync_close,preset=9,compress_threads=1,block_size=64MiB"
        with WriteMount(self.source, options) as mount:
            ended = []

            def close_it(number):
                write_file(mount / f"file{number:03}", b"x" * 100 if number else slow)
                ended.append(number)

            def sync_it(_):
                mount.sync()
                ended.append("sync")

            slow = xzformat.text(3, 2 * MIB)
            first = in_threads(1, close_it)
            wait_until(lambda: os.path.exists(mount / "file000") and
                       os.stat(mount / "file000").st_size == len(slow), "the slow file")
            closers = in_threads(100, lambda number: close_it(number + 1))
            syncers = in_threads(100, sync_it)
            wait_until(lambda: mount.commits()["pending"] == 101, "all are closed")
            buffer = mmap.mmap(-1, PAGE)
            fd = os.open(mount / "compressed", os.O_RDONLY | os.O_DIRECT)
            for at in range(0, 64 * PAGE, PAGE):
                os.preadv(fd, [buffer], at)
                self.assertEqual(buffer[:], plain[at:at + PAGE])
            os.close(fd)
            self.assertEqual(ended, [], "the commit was to take longer")
            self.await_all(first + closers + syncers)
            self.assertEqual(len(ended), 201)


if __name__ == "__main__":
    support.main()
