"""Every combination of Block size, cache size and thread count reads the same bytes."""

import itertools
import lzma
import os
import random
import subprocess
import threading

import support
import xzformat
from support import MIB, Bytes, Mount, MountTest

PLAIN_SIZE = 10 * MIB
BLOCK_SIZES = {"64KiB": "64KiB", "1MiB": "1MiB", "one": None}
CACHES = ("cache_size=32MiB", "")
THREADS = ("threads=1", "")


class Matrix(MountTest):

    def setUp(self):
        super().setUp()
        content = xzformat.text(7, PLAIN_SIZE)
        plain = os.path.join(self.source, "..", os.path.basename(self.source) + ".plain")
        self.addCleanup(os.unlink, plain)
        with open(plain, "wb") as out:
            out.write(content)
        for name, size in BLOCK_SIZES.items():
            argv = ["xz", "-0", "-T2" if size else "-T1", "-c", plain]
            if size:
                argv.append(f"--block-size={size}")
            with open(os.path.join(self.source, name + ".xz"), "wb") as out:
                subprocess.run(argv, stdout=out, check=True)
            self.assertEqual(support.xz_output(os.path.join(self.source, name + ".xz")), content)
        self.expected = Bytes(content)

    def test_every_cell_equals_xz_dc(self):
        blocks = {"64KiB": 160, "1MiB": 10, "one": 1}
        cells = 0
        for cache, threads in itertools.product(CACHES, THREADS):
            options = ",".join(filter(None, (cache, threads)))
            for name in BLOCK_SIZES:
                # Each cell has a mount, which begins with nothing cached and ends with the leak check.
                with self.subTest(block=name, options=options), \
                        Mount(self.source, options) as mount:
                    self.assertEqual(mount.info(name)["blocks"], blocks[name])
                    # Random reads come first: the full read would leave everything in the kernel's cache.
                    support.random_preads(self, mount / name, self.expected,
                                          support.scaled(1000), seed=cells)
                    support.read_concurrently(self, mount / name, self.expected, seed=cells,
                                              count=support.scaled(50))
                    support.read_by_mmap(self, mount / name, self.expected, name)
                    support.read_fully(self, mount / name, self.expected, name)
                    self.check_figures(mount.stats())
                    cells += 1
        self.assertEqual(cells, 12)

    def check_figures(self, stats):
        self.assertGreaterEqual(stats["served_bytes"], PLAIN_SIZE)
        self.assertGreaterEqual(stats["decoded_bytes"], PLAIN_SIZE)
        # The mount never exceeds the budget by more than one Block or slice per reading thread.
        readers = 8 + stats["threads"]
        self.assertLessEqual(stats["budget"]["peak_bytes"],
                             stats["budget"]["total_bytes"] + readers * stats["whole_block_limit_bytes"])
        self.assertLessEqual(stats["budget"]["used_bytes"], stats["budget"]["total_bytes"])


class OddFiles(MountTest):
    """Files of every structure, with options that make each of them a corner case."""

    OPTIONS = ("cache_size=32MiB,whole_block_limit=1",
               "cache_size=32MiB,whole_block_limit=64KiB,threads=1", "cache_size=32MiB")
    SIZES = (1, 100, 4095, 4096, 70_000, MIB, MIB + 1, 3 * MIB)

    def make_file(self, rng, text):
        """Some Streams of some Blocks with some Check, filters, padding; returns the plain bytes."""
        last = {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": rng.choice((4096, MIB))}
        chains = ([last], [last], [{"id": lzma.FILTER_DELTA, "dist": rng.randint(1, 256)}, last],
                  [{"id": lzma.FILTER_X86}, last])
        stored, plain = [], []
        for _ in range(rng.choice((1, 1, 2, 5))):
            check, blocks = rng.choice((0, 1, 4, 10)), []
            for _ in range(rng.choice((0, 1, 1, 3, 20))):
                size = rng.choice(self.SIZES) if rng.random() < 0.5 else rng.randint(1, 200_000)
                at = rng.randrange(len(text) - size)
                blocks += xzformat.blocks_of(text[at:at + size], check, filters=rng.choice(chains))
                plain.append(text[at:at + size])
            stored += (xzformat.stream(blocks, check), bytes(rng.choice((0, 0, 4, 40))))
        return b"".join(stored), b"".join(plain)

    def test_every_structure_reads_right_with_the_smallest_limits(self):
        rng = random.Random(12)
        text = xzformat.text(12, 4 * MIB)
        expected = {}
        for number in range(support.scaled(10, 5)):
            name = f"f{number}"
            stored, plain = self.make_file(rng, text)
            with open(os.path.join(self.source, name + ".xz"), "wb") as out:
                out.write(stored)
            self.assertEqual(support.xz_output(out.name), plain)
            expected[name] = Bytes(plain)
        for options in self.OPTIONS:
            with self.subTest(options=options), Mount(self.source, options) as mount:
                failures = []
                threads = [threading.Thread(target=self.read_some,
                                            args=(mount, expected, number, failures))
                           for number in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                if failures:
                    raise failures[0]
                if "whole_block_limit" in options:
                    self.assertGreater(mount.stats()["giant_block_restarts"], 0)
                self.assertLessEqual(mount.stats()["budget"]["used_bytes"], 32 * MIB)

    def read_some(self, mount, expected, number, failures):
        rng = random.Random(number)
        try:
            for _ in range(support.scaled(10, 3)):
                name = rng.choice(sorted(expected))
                how = rng.random()
                if how < 0.8:
                    support.random_preads(self, mount / name, expected[name], 20, rng.random(),
                                          direct=how < 0.6)
                else:
                    read = support.read_fully if how < 0.9 else support.read_by_mmap
                    read(self, mount / name, expected[name], name)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)


if __name__ == "__main__":
    support.main()
