"""xzfsctl salvage: the bytes that xz gives for the undamaged parts, and no wrong byte."""

import json
import lzma
import os
import random
import stat
import subprocess
import unittest

import json_schema
import support
import xzformat
from ctl_support import CTL, CtlTest, environment, write

KIB = 1 << 10
SIZE = 20 * KIB  # of a Block


def encode(content, *words):
    return subprocess.run(["xz", "-0c", f"--block-size={SIZE}", *words], input=content,
                          stdout=subprocess.PIPE, check=True).stdout


def make(blocks=5, seed=1, *words):
    """(plain, stored, [(offset, end) of each Block])."""
    plain = xzformat.text(seed, blocks * SIZE - 1234)
    stored = encode(plain, *words)
    (stream,) = xzformat.parse(stored)
    return plain, stored, [(block.offset, block.offset + len(block.stored))
                           for block in stream.blocks]


def flipped(data, at, bit=0x10):
    return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1:]


class SalvageTest(CtlTest):
    def salvage(self, stored, *words):
        """Exit code, output or None, report."""
        write(self.path("in.xz"), stored)
        out = self.path("out")
        if os.path.exists(out):
            os.unlink(out)
        done = subprocess.run([CTL, "salvage", "--json", *words, "in.xz", "-o", "out"],
                              cwd=self.folder, env=environment(), capture_output=True, check=False,
                              timeout=support.HANGS_S * support.SLOWNESS)
        self.assertIn(done.returncode, (0, 1, 2), done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["command"], "salvage")
        json_schema.check_document(report)
        self.assertEqual(report["complete"], not report["missing"])
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["in.xz"] + (["out"] if os.path.exists(out) else []))
        if not os.path.exists(out):
            self.assertEqual(done.returncode, 1)
            return done.returncode, None, report
        self.assertEqual(done.returncode, 0 if report["complete"] else 2)
        with open(out, "rb") as file:
            content = file.read()
        self.assertEqual(len(content), report["output_bytes"])
        return done.returncode, content, report


class WithIndex(SalvageTest):
    def test_a_good_file_comes_back_complete(self):
        for content in (b"", xzformat.text(1, 3 * SIZE)):
            self.assertEqual(self.salvage(encode(content))[:2], (0, content))

    def test_a_flip_in_each_block_leaves_zeros_in_its_place(self):
        for words in ((), ("-T2",), ("--check=none",)):
            plain, stored, blocks = make(4, 1, *words)
            for number, (offset, end) in enumerate(blocks):
                for at in (offset, offset + 9, (offset + end) // 2, end - 1):
                    bad = flipped(stored, at)
                    begin, stop = number * SIZE, min((number + 1) * SIZE, len(plain))
                    code, content, report = self.salvage(bad)
                    if words == ("--check=none",) and code == 0:
                        continue  # without a Check nothing shows the damage
                    self.assertEqual(code, 2, (words, number, at - offset))
                    self.assertEqual(
                        content, plain[:begin] + bytes(stop - begin) + plain[stop:], at)
                    (missing,) = report["missing"]
                    self.assertEqual((missing["block"], missing["plain_begin"], missing["plain_end"]),
                                     (number, begin, stop))
                    self.assertEqual((missing["compressed_begin"], report["index_error"]),
                                     (offset, None))

    def test_partial_keeps_what_was_decoded_before_the_damage(self):
        """Compared with what Python's decoder gives for the intact bytes."""
        plain, stored, blocks = make(3)
        offset, end = blocks[1]
        at = end - (end - offset) // 4
        code, content, report = self.salvage(flipped(stored, at), "--partial")
        self.assertEqual((code, len(content)), (2, len(plain)))
        kept = report["missing"][0]["unverified_bytes"]
        self.assertEqual(report["unverified_bytes"], kept)
        before = lzma.LZMADecompressor().decompress(stored[:12] + stored[offset:at])
        self.assertGreater(len(before), SIZE // 2)
        self.assertEqual(content[SIZE:SIZE + len(before)], before)
        self.assertLessEqual(len(before), kept)
        self.assertEqual(content[SIZE + kept:2 * SIZE], bytes(SIZE - kept))
        self.assertEqual(content[2 * SIZE:], plain[2 * SIZE:])

    def test_many_streams(self):
        parts = [make(2, seed, f"--check={check}")
                 for seed, check in enumerate(("crc32", "crc64", "sha256"))]
        stored = b"".join(part[1] + bytes(4 * number) for number, part in enumerate(parts))
        plain = b"".join(part[0] for part in parts)
        at = len(parts[0][1]) + parts[1][2][0][0] + 500
        code, content, report = self.salvage(flipped(stored, at))
        begin = len(parts[0][0])
        self.assertEqual(code, 2)
        self.assertEqual(content, plain[:begin] + bytes(SIZE) + plain[begin + SIZE:])
        self.assertEqual(report["missing"][0]["block"], 2)


class WithoutIndex(SalvageTest):
    def test_a_file_truncated_anywhere_gives_all_blocks_before(self):
        plain, stored, blocks = make(5)
        index = blocks[-1][1]
        cuts = {0, 1, 11, 12, 13, index, index + 1, len(stored) - 1, len(stored) - 12,
                len(stored) - 13, *(edge for block in blocks for edge in block),
                *random.Random(1).sample(range(len(stored)), support.scaled(20, 10))}
        for cut in sorted(cuts):
            whole = sum(end <= cut for _, end in blocks)
            code, content, report = self.salvage(stored[:cut])
            with self.subTest(cut):
                # With the number of its Blocks there is proof that none is missing.
                expected = 1 if whole == 0 else 0 if cut >= index + 2 else 2
                self.assertEqual(code, expected, report)
                self.assertEqual(content, plain[:whole * SIZE] if whole else None)
                self.assertEqual(report["blocks"], whole)
                self.assertNotEqual(report["index_error"], None)
                if code != 0:
                    self.assertEqual(report["missing"][-1]["plain_end"], None)

    def test_partial_of_a_truncated_file_goes_on_to_its_end(self):
        """It goes as far as Python's decoder."""
        plain = xzformat.text(1, 300 * KIB)
        stored = lzma.compress(plain, preset=0)
        cut = len(stored) // 2
        code, content, report = self.salvage(stored[:cut], "--partial")
        self.assertEqual(code, 2)
        self.assertEqual(content, lzma.LZMADecompressor().decompress(stored[:cut]))
        self.assertEqual(report["plain_bytes"], 0)
        self.assertEqual(report["unverified_bytes"], len(content))
        self.assertEqual(self.salvage(stored[:cut])[:2], (1, None))

    def test_damage_where_the_headers_have_sizes_keeps_offsets_right(self):
        plain, stored, blocks = make(4, 1, "-T2")
        for number, (offset, end) in enumerate(blocks[:-1]):
            for at in (offset + 60, (offset + end) // 2, end - 1):
                code, content, report = self.salvage(flipped(stored, at)[:-40])
                self.assertEqual(code, 2)
                self.assertEqual(report["missing"][0]["plain_end"], (number + 1) * SIZE)
                whole = report["blocks"] + 1
                expected = plain[:number * SIZE] + bytes(SIZE) + plain[(number + 1) * SIZE:]
                self.assertEqual(content, expected[:whole * SIZE])

    def test_a_damaged_block_behind_a_lost_header_keeps_its_place(self):
        """The Check of its Stream is as certain as before."""
        for check in ("crc32", "crc64", "sha256"):
            plain, stored, blocks = make(6, 1, "-T2", f"--check={check}")
            bad = flipped(flipped(stored, blocks[2][0] + 1, 0xFF), sum(blocks[3]) // 2)
            code, content, report = self.salvage(bad[:-40])
            self.assertEqual(code, 2)
            first, second = report["missing"][:2]
            self.assertEqual((first["plain_begin"], first["plain_end"]), (2 * SIZE, None))
            self.assertEqual((second["compressed_begin"], second["compressed_end"]), blocks[3], check)
            self.assertEqual((second["plain_begin"], second["plain_end"]), (2 * SIZE, 3 * SIZE), check)
            whole = report["blocks"] + 1  # the Block of the damaged header has no known place
            expected = plain[:2 * SIZE] + bytes(SIZE) + plain[4 * SIZE:]
            self.assertEqual(content, expected[:whole * SIZE], check)

    def test_damage_where_the_headers_have_no_sizes_says_that_offsets_are_lost(self):
        plain, stored, blocks = make(4, 1, "-T1")
        for number, (offset, end) in enumerate(blocks):
            for at in (offset + 1, (offset + end) // 2):
                code, content, report = self.salvage(flipped(stored, at)[:-20])
                self.assertEqual(code, 2)
                self.assertEqual(content, plain[:number * SIZE] + plain[(number + 1) * SIZE:])
                self.assertEqual(report["offsets_known_to"], number * SIZE)
                self.assertEqual(report["missing"][0]["plain_end"], None)
                self.assertEqual(report["missing"][0]["compressed_begin"], offset)

    def test_a_flip_anywhere_outside_of_blocks_loses_nothing(self):
        plain, stored, blocks = make(3)
        doubtful = []
        for at in (*range(12), *range(blocks[-1][1], len(stored))):
            code, content, report = self.salvage(flipped(stored, at, 0x01))
            self.assertEqual(content, plain, at)
            self.assertEqual(report["offsets_known_to"], len(plain), at)
            doubtful += [at - blocks[-1][1]] if code == 2 else []
        # The Index' first byte, and its count: without them, more Blocks may have been there.
        self.assertEqual(doubtful, [0, 1])

    def test_the_check_of_a_stream_without_its_header_is_found(self):
        for check in ("crc32", "crc64", "sha256"):
            plain, stored, _ = make(3, 1, f"--check={check}")
            for at in (2, 7, 9):
                self.assertEqual(self.salvage(flipped(stored, at))[:2], (0, plain), (check, at))

    def test_streams_behind_a_damaged_one_are_found(self):
        first, second = make(2, 1, "--check=crc32"), make(2, 2, "--check=sha256")
        stored = first[1] + bytes(8) + second[1]
        behind = len(first[1]) + 8
        plain = first[0] + second[0]
        for at in (3, len(first[1]) - 20, len(first[1]) - 3, behind + 2):
            self.assertEqual(self.salvage(flipped(stored, at))[:2], (0, plain), at)
        # Damages the beginning of the second Stream and the end of the first.
        lost = stored[:first[2][1][1]] + bytes(behind - first[2][1][1] + 12) + stored[behind + 12:]
        code, content, _ = self.salvage(lost)
        self.assertEqual((code, content), (2, plain))

    def test_three_damages_in_random_places_never_give_a_wrong_byte(self):
        """Every Block of the output is one of the plain Blocks, in their order, or zeros."""
        plain, stored, _ = make(6)
        originals = [plain[at:at + SIZE] for at in range(0, len(plain), SIZE)]
        rng = random.Random(3)
        for _ in range(support.scaled(20, 10)):
            bad = stored
            for at in rng.sample(range(len(stored)), 3):
                bad = flipped(bad, at, rng.choice((1, 0x80, 0xFF)))
            _, content, report = self.salvage(bad)
            rest = content or b""
            found = []
            while rest:
                here = [number for number, block in enumerate(originals) if rest.startswith(block)]
                if here:
                    found.append(here[0])
                    rest = rest[len(originals[here[0]]):]
                else:
                    zeros = min(SIZE, len(rest))
                    self.assertEqual(rest[:zeros], bytes(zeros))
                    rest = rest[zeros:]
            self.assertEqual(found, sorted(set(found)))
            self.assertEqual(len(found), report["blocks"])
            self.assertGreaterEqual(len(found), len(originals) - 3)


class Output(SalvageTest):
    def test_stdout_is_refused_and_no_file_is_named_after_it(self):
        write(self.path("in.xz"), encode(b"content"))
        _, error = self.ctl("salvage", "in.xz", "-o", "-", code=1)
        self.assertIn("can't be stdout", error)
        self.assertEqual(os.listdir(self.folder), ["in.xz"])

    def test_the_output_is_not_overwritten_without_force_and_is_never_the_input(self):
        plain, stored, _ = make(2)
        write(self.path("a.xz"), stored)
        write(self.path("out"), b"mine")
        self.assertIn("--force", self.ctl("salvage", "a.xz", "-o", "out", code=1)[1])
        os.link(self.path("a.xz"), self.path("same"))
        for name in ("a.xz", "./a.xz", "same"):
            self.assertIn("itself", self.ctl("salvage", "-f", "a.xz", "-o", name, code=1)[1])
        self.ctl("salvage", "a.xz", code=1)
        self.ctl("salvage", "a.xz", "-o", "no/such/place", code=1)
        with open(self.path("out"), "rb") as file:
            self.assertEqual(file.read(), b"mine")
        self.ctl("salvage", "-f", "a.xz", "-o", "out")
        with open(self.path("out"), "rb") as file:
            self.assertEqual(file.read(), plain)
        with open(self.path("a.xz"), "rb") as file:
            self.assertEqual(file.read(), stored)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.xz", "out", "same"])

    def test_the_output_of_a_private_file_is_private(self):
        write(self.path("a.xz"), make(1)[1])
        os.chmod(self.path("a.xz"), 0o600)
        self.ctl("salvage", "a.xz", "-o", "out")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("out")).st_mode), 0o600)

    def test_the_report_for_people_names_the_damage(self):
        _, stored, blocks = make(3)
        write(self.path("a.xz"), flipped(stored, blocks[1][0] + 100))
        _, error = self.ctl("salvage", "a.xz", "-o", "out", code=2)
        self.assertIn(f"a.xz: Block 1 (plain bytes {SIZE}-{2 * SIZE}, file offset {blocks[1][0]}): ",
                      error)
        self.assertIn("salvaged 2 Blocks", error)
        self.assertIn("; missing: 1 part", error)
        write(self.path("none.xz"), b"no xz at all" * 1000)
        _, error = self.ctl("salvage", "none.xz", "-o", "none", code=1)
        self.assertIn("nothing can be salvaged; none was not written", error)


if __name__ == "__main__":
    unittest.main()
