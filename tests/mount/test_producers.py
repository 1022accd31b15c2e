"""A file from any program reads as `xz -dc` (or `lzip -dc`) gives it, at any offset."""

import lzma
import os
import random
import shutil
import subprocess
import sys

import support
import xzformat
from support import MIB, Bytes, Mount, MountTest

PREADS = 10_000


def mixed_content():
    """Text, machine code, incompressible bytes and zeros, of a size that no Block size divides."""
    with open(shutil.which("xz"), "rb") as program:
        code = program.read(256 << 10)
    noise = random.Random(3).randbytes(200_001)
    return b"".join((xzformat.text(1, 2 * MIB), code, noise, bytes(1 * MIB), xzformat.text(2, MIB),
                     b"\n.end"))


class Producers(MountTest):

    def setUp(self):
        super().setUp()
        self.content = mixed_content()
        self.work = self.enterContext(support.temp_dir("xzfs-plain-"))
        self.plain = os.path.join(self.work, "plain")
        with open(self.plain, "wb") as out:
            out.write(self.content)

    def store(self, name, content):
        with open(os.path.join(self.source, name), "wb") as out:
            out.write(content)

    def pack(self, name, *argv):
        with open(os.path.join(self.source, name), "wb") as out:
            subprocess.run((*argv, self.plain), stdout=out, check=True)

    def check_all(self, names, preads=PREADS, tool=None):
        """`names`: stored name -> logical name. Each file has a mount, which starts with nothing cached."""
        self.assertTrue(names)
        preads = support.scaled(preads)
        for seed, (stored, logical) in enumerate(names.items()):
            with self.subTest(stored=stored):
                command = tool or ("xz", "-dc")
                expected = Bytes(support.xz_output(os.path.join(self.source, stored), command))
                with Mount(self.source) as mount:
                    path = mount / logical
                    support.random_preads(self, path, expected, preads, seed)
                    support.read_concurrently(self, path, expected, seed,
                                              count=support.scaled(40))
                    support.read_by_mmap(self, path, expected, stored)
                    support.read_fully(self, path, expected, stored)
                    support.random_preads(self, path, expected, preads // 10, seed, direct=False)
                    self.assertEqual(mount.info(logical)["stored_name"], stored)
                    self.assertGreaterEqual(mount.stats()["served_bytes"], expected.size)

    def test_xz_itself(self):
        self.pack("threads.xz", "xz", "-T0", "-0", "-c")
        self.pack("single.xz", "xz", "-T1", "-1", "-c")
        self.pack("block-size.xz", "xz", "-0", "--block-size=100KiB", "-T2", "-c")
        self.pack("block-list.xz", "xz", "-0", "--block-list=10000,1,300000,65536,0", "-T1", "-c")
        self.pack("no-check.xz", "xz", "-0", "--check=none", "--block-size=1MiB", "-c")
        names = ("threads", "single", "block-size", "block-list", "no-check")
        self.check_all({f"{name}.xz": name for name in names})

    def test_pixz(self):
        subprocess.run(["pixz", "-0", "-t", "-p2", self.plain,
                        os.path.join(self.source, "pixz.xz")], check=True)
        # For a tar file pixz stores an index of the members in a Block of its own.
        tar = os.path.join(self.work, "some.tar")
        subprocess.run(["tar", "-C", self.work, "-cf", tar, "plain"], check=True)
        subprocess.run(["pixz", "-0", "-p2", tar, os.path.join(self.source, "tar.tpxz")],
                       check=True)
        os.rename(os.path.join(self.source, "tar.tpxz"), os.path.join(self.source, "some.tar.xz"))
        self.check_all({"pixz.xz": "pixz", "some.tar.xz": "some.tar"}, PREADS)

    def test_python_lzma_checks_and_presets(self):
        names = {}
        for name, more in {
                "none": {"check": lzma.CHECK_NONE}, "crc32": {"check": lzma.CHECK_CRC32},
                "crc64": {"check": lzma.CHECK_CRC64}, "sha256": {"check": lzma.CHECK_SHA256},
        }.items():
            self.store(name + ".xz", lzma.compress(self.content, preset=0, **more))
            names[name + ".xz"] = name
        self.store("extreme.xz",
                   lzma.compress(self.content[:MIB], preset=2 | lzma.PRESET_EXTREME))
        names["extreme.xz"] = "extreme"
        # Appended Streams, as logrotate and `xz >>` make them; Checks differ between Streams.
        third = len(self.content) // 3
        self.store("streams.xz", b"".join(
            lzma.compress(self.content[at:at + third], preset=0, check=check)
            for at, check in ((0, lzma.CHECK_CRC32), (third, lzma.CHECK_NONE),
                              (2 * third, lzma.CHECK_SHA256))))
        names["streams.xz"] = "streams"
        self.check_all(names)

    def test_filter_chains(self):
        last = {"id": lzma.FILTER_LZMA2, "preset": 0}
        chains = {
            "delta1": [{"id": lzma.FILTER_DELTA, "dist": 1}, last],
            "delta256": [{"id": lzma.FILTER_DELTA, "dist": 256}, last],
            "x86": [{"id": lzma.FILTER_X86}, last],
            "x86-offset": [{"id": lzma.FILTER_X86, "start_offset": 4096}, last],
            "delta-x86": [{"id": lzma.FILTER_DELTA, "dist": 4}, {"id": lzma.FILTER_X86}, last],
            "lclppb": [{"id": lzma.FILTER_LZMA2, "preset": 0, "lc": 0, "lp": 4, "pb": 0}],
            "big-dict": [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 64 * MIB}],
        }
        for name in ("POWERPC", "IA64", "ARM", "ARMTHUMB", "SPARC"):
            chains[name] = [{"id": getattr(lzma, "FILTER_" + name)}, last]
        for name, filters in chains.items():
            # A preset alone makes one Block; with two Streams the filters start twice.
            half = len(self.content) // 2
            self.store(name + ".xz", b"".join(
                lzma.compress(part, check=lzma.CHECK_CRC64, filters=filters)
                for part in (self.content[:half], self.content[half:])))
        self.check_all({name + ".xz": name for name in chains}, PREADS // 10)

    def test_a_filtered_block_that_streams_through_slices(self):
        """The Block exceeds the limit for whole Blocks, with every kind of filter state to continue."""
        content = self.content * 3
        last = {"id": lzma.FILTER_LZMA2, "preset": 0}
        for name, filters in {"plain": [last], "x86": [{"id": lzma.FILTER_X86}, last],
                              "delta": [{"id": lzma.FILTER_DELTA, "dist": 3}, last]}.items():
            self.store(name + ".xz", lzma.compress(content, filters=filters))
        with Mount(self.source, "cache_size=32MiB") as mount:
            for name in ("plain", "x86", "delta"):
                support.random_preads(self, mount / name, Bytes(content), support.scaled(60), 5)
                support.read_fully(self, mount / name, Bytes(content), name)

    def test_padding_and_empty_files(self):
        some = lzma.compress(self.content[:300_000], preset=0)
        empty = lzma.compress(b"")
        (empty_block,) = xzformat.blocks_of(b"x")  # the shape of a Block for the empty one below
        self.assertEqual(empty_block.plain_size, 1)
        chunkless = xzformat.lzma2_block([], 0, 0, 0)
        some_blocks = xzformat.blocks_of(self.content[:1000])
        self.store("padded.xz", some + bytes(4) + empty + bytes(4096) + some + bytes(8))
        self.store("many.xz", b"".join(
            lzma.compress(self.content[at:at + 500], preset=0) + bytes(at % 3 * 4)
            for at in range(0, 500_000, 500)))
        self.store("empty.xz", empty)
        self.store("empties.xz", empty + bytes(4) + empty + empty + bytes(4))
        self.store("empty-block.xz", xzformat.stream(
            (chunkless, *some_blocks, chunkless, *some_blocks, chunkless), lzma.CHECK_CRC32))
        self.store("only-empty-block.xz", xzformat.stream((chunkless,), lzma.CHECK_CRC32))
        names = ("padded", "many", "empty", "empties", "empty-block", "only-empty-block")
        self.check_all({f"{name}.xz": name for name in names}, PREADS // 10)

    def test_7z(self):
        subprocess.run(["7z", "a", "-txz", "-mx=1", "-bd",
                        os.path.join(self.source, "seven.xz"), self.plain],
                       stdout=subprocess.DEVNULL, check=True)
        self.check_all({"seven.xz": "seven"})

    def test_legacy_names(self):
        tar = os.path.join(self.work, "some.tar")
        subprocess.run(["tar", "-C", self.work, "-cf", tar, "plain"], check=True)
        self.store("python.lzma", lzma.compress(self.content, format=lzma.FORMAT_ALONE, preset=0))
        self.pack("xz.lzma", "xz", "--format=lzma", "-0", "-c")
        self.pack("one.lz", "lzip", "-0", "-c")
        # xz 5.4's decoder is the oracle for several members and for data behind them.
        part = len(self.content) // 2
        members = []
        for piece in (self.content[:part], self.content[part:]):
            members.append(subprocess.run(["lzip", "-0", "-c"], input=piece, check=True,
                                          stdout=subprocess.PIPE).stdout)
        self.store("members.lz", b"".join(members))
        self.store("trailing.lz", members[0] + b"behind the member\n")
        for name, tool in (("a.txz", ["xz", "-0", "-c"]),
                           ("b.tlz", ["xz", "--format=lzma", "-0", "-c"]),
                           ("c.tlz", ["lzip", "-0", "-c"])):
            with open(os.path.join(self.source, name), "wb") as out:
                subprocess.run([*tool, tar], stdout=out, check=True)
        self.check_all({
            "python.lzma": "python", "xz.lzma": "xz", "one.lz": "one", "members.lz": "members",
            "trailing.lz": "trailing", "a.txz": "a.tar", "b.tlz": "b.tar", "c.tlz": "c.tar",
        }, PREADS // 10)


class Huge(MountTest):

    def test_a_file_of_5_gib_of_zeros_reads_right_around_2_and_4_gib(self):
        """Markers straddle 2^31 and 2^32 and are the last bytes; everything else is zeros."""
        marker = xzformat.text(11, 65_537)
        (zeros,) = xzformat.blocks_of(bytes(16 * MIB))
        (marked,) = xzformat.blocks_of(marker)
        blocks, places, size = [], [], 0

        def fill_to(offset):
            nonlocal size
            while offset - size >= zeros.plain_size:
                blocks.append(zeros)
                size += zeros.plain_size
            if offset > size:
                blocks.extend(xzformat.blocks_of(bytes(offset - size)))
                size = offset

        for edge in (1 << 31, 1 << 32, 5 << 30):
            fill_to(edge - (30_000 if edge < 5 << 30 else len(marker)))
            places.append(size)
            blocks.append(marked)
            size += len(marker)
        self.assertEqual(size, 5 << 30)
        path = os.path.join(self.source, "sparse.xz")
        with open(path, "wb") as out:
            out.write(xzformat.stream(blocks, lzma.CHECK_CRC32))

        def expected(offset, length):
            out = bytearray(max(0, min(length, size - offset)))
            for place in places:
                begin, end = max(place, offset), min(place + len(marker), offset + length)
                if begin < end:
                    out[begin - offset:end - offset] = marker[begin - place:end - place]
            return bytes(out)

        listed = subprocess.run(["xz", "--robot", "-l", path], stdout=subprocess.PIPE, check=True)
        self.assertIn(str(size), listed.stdout.decode().splitlines()[1].split("\t"))
        with Mount(self.source) as mount:
            logical = mount / "sparse"
            self.assertEqual(os.stat(logical).st_size, size)
            fd = os.open(logical, os.O_RDONLY)
            try:
                for edge in (*places, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, size - 1,
                             size - 100_000, size, size + 1, 3 * (1 << 30), 0):
                    for back, length in ((0, 1), (5000, 100_000), (1 << 20, 3 << 20)):
                        offset = max(0, edge - back)
                        support.assert_same(self, os.pread(fd, length, offset),
                                            expected(offset, length)[:0x7FFFF000],
                                            f"{length} at {offset}")
                self.assertEqual(os.lseek(fd, 0, os.SEEK_END), size)
            finally:
                os.close(fd)
            self.assertLess(os.stat(logical).st_blocks * 512, 16 * MIB)

    def test_a_block_of_1_gib_reads_forwards_backwards_and_at_random_within_the_budget(self):
        cache_mib = 64
        giant = xzformat.Giant(1 << 30)
        giant.write(os.path.join(self.source, "giant.xz"))
        with Mount(self.source, f"cache_size={cache_mib}MiB") as mount:
            path = mount / "giant"
            size = giant.size if support.SCALE >= 1 else giant.size // 16
            # Bypasses the kernel's cache, which would otherwise answer all passes except the first.
            fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                self.assertEqual(os.fstat(fd).st_size, giant.size)
                for offset in range(0, size, 4 * MIB):
                    support.assert_same(self, os.pread(fd, 4 * MIB, offset),
                                        giant.at(offset, 4 * MIB), f"forwards at {offset}")
                steps = 0
                end = size
                # Far enough back that the data decoded in between can't all be cached.
                while steps < min(support.scaled(160, 20), end // MIB):
                    offset = size - (steps + 1) * MIB
                    support.assert_same(self, os.pread(fd, MIB, offset), giant.at(offset, MIB),
                                        f"backwards at {offset}")
                    steps += 1
                rng = random.Random(9)
                for _ in range(support.scaled(12, 3)):
                    offset = rng.randrange(size)
                    support.assert_same(self, os.pread(fd, 200_000, offset),
                                        giant.at(offset, 200_000), f"at random at {offset}")
            finally:
                os.close(fd)
            stats = mount.stats()
            went_back = stats["giant_block_restarts"] + stats["restart_points"]["restored"]
            self.assertGreater(went_back, support.scaled(8, 1), "no decoder ever went back")
            self.assertGreater(stats["decoded_bytes"], size * 1.1)
            self.assertEqual(mount.info("giant")["largest_block_bytes"], giant.size)
            print(f"giant: {stats['decoded_bytes'] >> 20} MiB decoded, "
                  f"{went_back} times back", file=sys.stderr)
            # The dictionary of the decoder is 1 MiB.
            support.check_rss(self, mount, cache_mib + 1 + 48, "1 GiB single Block")


if __name__ == "__main__":
    support.main()
