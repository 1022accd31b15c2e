"""Every combination of Block size, cache size and thread count reads the same bytes."""

import itertools
import os
import subprocess

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
                # One mount a cell: each begins with nothing cached and ends with the leak check.
                with self.subTest(block=name, options=options), \
                        Mount(self.source, options) as mount:
                    self.assertEqual(mount.info(name)["blocks"], blocks[name])
                    # Random first: the full read would leave everything in the kernel's cache.
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
        # The promise: never over the budget by more than one Block or slice per reading thread.
        readers = 8 + stats["threads"]
        self.assertLessEqual(stats["budget"]["peak"],
                             stats["budget"]["bytes"] + readers * stats["whole_block_limit"])
        self.assertLessEqual(stats["budget"]["used"], stats["budget"]["bytes"])


if __name__ == "__main__":
    support.main()
