"""The library does what Python's lzma module does with the same bytes, and docs/library.md says for
each of the module's names what ours is."""

import io
import json
import lzma
import os
import random
import re
import subprocess
import unittest

PROBE = os.environ["XZFS_LZMA_PROBE"]
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "library.md")

RANDOM = random.Random(7)
WORDS = [RANDOM.randbytes(RANDOM.randrange(2, 9)) for _ in range(300)]
TEXT = b" ".join(RANDOM.choice(WORDS) for _ in range(20000))
SAMPLES = {"nothing": b"", "a byte": b"x", "words": TEXT, "noise": RANDOM.randbytes(30000),
           "zeros": bytes(200000)}
CHECKS = [lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256]
LZMA2 = {"id": lzma.FILTER_LZMA2, "preset": 1}
CHAINS = [
    [{"id": lzma.FILTER_LZMA2}],
    [{"id": lzma.FILTER_LZMA2, "preset": 3 | lzma.PRESET_EXTREME}],
    [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 16, "lc": 1, "lp": 2, "pb": 0,
      "mode": lzma.MODE_FAST, "nice_len": 60, "mf": lzma.MF_HC3, "depth": 20}],
    [{"id": lzma.FILTER_LZMA2, "mode": lzma.MODE_NORMAL, "mf": lzma.MF_BT2, "nice_len": 30}],
    [{"id": lzma.FILTER_LZMA2, "mode": lzma.MODE_NORMAL, "mf": lzma.MF_BT3, "dict_size": 4096}],
    [{"id": lzma.FILTER_LZMA2, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC4}],
    [{"id": lzma.FILTER_LZMA2, "mode": lzma.MODE_NORMAL, "mf": lzma.MF_BT4}],
    [{"id": lzma.FILTER_DELTA, "dist": 5}, LZMA2],
    [{"id": lzma.FILTER_DELTA}, LZMA2],
    [{"id": lzma.FILTER_DELTA, "dist": 256}, {"id": lzma.FILTER_X86, "start_offset": 4096}, LZMA2],
] + [[{"id": bcj}, LZMA2] for bcj in (lzma.FILTER_X86, lzma.FILTER_IA64, lzma.FILTER_ARM,
                                      lzma.FILTER_ARMTHUMB, lzma.FILTER_POWERPC, lzma.FILTER_SPARC)]
LZMA1 = [{"id": lzma.FILTER_LZMA1, "preset": 2, "lc": 2, "dict_size": 1 << 17}]


class Library:
    """The library, through the probe."""

    def __init__(self):
        self.process = subprocess.Popen([PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def ask(self, what, **request):
        request = {key: value.hex() if isinstance(value, bytes) else value
                   for key, value in request.items() if value is not None}
        self.process.stdin.write(json.dumps({"what": what, **request}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def bytes_of(self, what, **request):
        """The bytes, or None if the library refuses."""
        answer = self.ask(what, **request)
        return bytes.fromhex(answer["data"]) if "data" in answer else None


def python_result(call):
    try:
        return call()
    except (lzma.LZMAError, ValueError, TypeError, EOFError, MemoryError):
        return None


def xz_result(stored):
    done = subprocess.run(["xz", "-dc"], input=stored, capture_output=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else None


class PythonLzma(unittest.TestCase):
    def setUp(self):
        self.library = Library()
        self.addCleanup(self.library.close)

    def both_compress(self, plain, format=lzma.FORMAT_XZ, check=-1, preset=None, filters=None):
        want = lzma.compress(plain, format=format, check=check, preset=preset, filters=filters)
        preset = 6 if preset is None else preset
        got = self.library.bytes_of("compress", data=plain, format=format, check=check,
                                    preset=preset & 31, extreme=preset > 31, filters=filters)
        self.assertEqual(got, want)
        raw = filters if format == lzma.FORMAT_RAW else None
        self.assertEqual(lzma.decompress(got, format=format, filters=raw), plain)
        self.assertEqual(self.library.bytes_of("decompress", data=want, format=format, filters=raw),
                         plain)

    def test_presets_and_checks_compress_to_the_same_bytes(self):
        for plain in SAMPLES.values():
            for check in CHECKS:
                self.both_compress(plain, check=check, preset=1)
            for preset in (0, 3, 6, 9, lzma.PRESET_DEFAULT | lzma.PRESET_EXTREME):
                self.both_compress(plain, preset=preset)

    def test_formats_and_filters_compress_to_the_same_bytes(self):
        for plain in SAMPLES.values():
            self.both_compress(plain, format=lzma.FORMAT_ALONE, preset=2)
            self.both_compress(plain, format=lzma.FORMAT_ALONE, filters=LZMA1)
            self.both_compress(plain, format=lzma.FORMAT_RAW, filters=LZMA1)
        for plain in (TEXT, SAMPLES["noise"]):
            for chain in CHAINS:
                self.both_compress(plain, filters=chain)
                self.both_compress(plain, format=lzma.FORMAT_RAW, filters=chain)

    def test_auto_tells_the_formats_apart(self):
        for format in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
            stored = lzma.compress(TEXT, format=format, preset=0)
            self.assertEqual(self.library.bytes_of("decompress", data=stored,
                                                   format=lzma.FORMAT_AUTO), TEXT)

    def test_options_are_refused_by_both_or_by_none(self):
        X, A, R = lzma.FORMAT_XZ, lzma.FORMAT_ALONE, lzma.FORMAT_RAW
        delta = {"id": lzma.FILTER_DELTA}
        refused = 0
        for options in (
                {"format": X}, {"format": R}, {"format": A}, {"format": X, "preset": 10},
                {"format": A, "check": lzma.CHECK_CRC32}, {"format": A, "check": lzma.CHECK_NONE},
                {"format": R, "check": lzma.CHECK_CRC64, "filters": [LZMA2]},
                {"format": X, "check": 7}, {"format": X, "check": lzma.CHECK_ID_MAX},
                {"format": X, "check": lzma.CHECK_UNKNOWN}, {"format": X, "filters": [delta]},
                {"format": X, "filters": [LZMA2, LZMA2]}, {"format": X, "filters": [LZMA2, delta]},
                {"format": X, "filters": LZMA1}, {"format": A, "filters": [LZMA2]},
                {"format": A, "filters": [delta] + LZMA1}, {"format": X, "filters": [delta] * 4},
                {"format": X, "filters": [delta] * 3 + [LZMA2]},
                {"format": X, "filters": [delta] * 4 + [LZMA2]},
                {"format": X, "filters": [{"id": lzma.FILTER_DELTA, "dist": 257}, LZMA2]},
                {"format": X, "filters": [{"id": lzma.FILTER_ARM, "start_offset": 3}, LZMA2]},
                {"format": X, "filters": [{**LZMA2, "lc": 4, "lp": 1}]},
                {"format": X, "filters": [{**LZMA2, "lc": 5}]},
                {"format": X, "filters": [{**LZMA2, "pb": 5}]},
                {"format": X, "filters": [{**LZMA2, "dict_size": 100}]},
                {"format": X, "filters": [{**LZMA2, "nice_len": 1}]},
                {"format": X, "filters": [{**LZMA2, "mode": 7}]},
                {"format": X, "filters": [{**LZMA2, "mf": 7}]},
                {"format": X, "filters": [{**LZMA2, "preset": 10}]}):
            with self.subTest(options=options):
                want = python_result(lambda: lzma.compress(b"text", **options))
                answer = self.library.ask("compress", data=b"text", **options)
                self.assertEqual(bytes.fromhex(answer["data"]) if "data" in answer else None, want)
                if want is None:
                    refused += 1
                    self.assertEqual(answer["error"], 22, answer)  # EINVAL
        self.assertGreater(refused, 15)

    def test_what_is_cut_or_damaged_is_refused_by_both(self):
        for format in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
            stored = lzma.compress(TEXT[:3000], format=format, preset=0)
            refused = 0
            broken = [stored[:end] for end in range(0, len(stored), 7)]
            for at in range(0, len(stored), 11):
                broken.append(stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1:])
            for data in broken:
                want = python_result(lambda: lzma.decompress(data))
                got = self.library.bytes_of("decompress", data=data, format=lzma.FORMAT_AUTO)
                self.assertEqual(got, want)
                refused += want is None
            self.assertGreater(refused, len(stored) // 7)

    def test_concatenated_streams_are_one_for_both(self):
        one, two = lzma.compress(b"one", check=lzma.CHECK_SHA256), lzma.compress(TEXT, preset=0)
        for data in (one + two, two + one + one):
            self.assertEqual(self.library.bytes_of("decompress", data=data,
                                                   format=lzma.FORMAT_AUTO), lzma.decompress(data))
        alone = lzma.compress(b"alone", format=lzma.FORMAT_ALONE)
        self.assertEqual(lzma.decompress(alone + one), b"aloneone")
        self.assertIsNone(xz_result(alone + one))
        self.assertIsNone(self.library.bytes_of("decompress", data=alone + one,
                                                format=lzma.FORMAT_AUTO))

    def test_behind_padding_we_read_on_as_xz_does(self):
        one, two = lzma.compress(b"one"), lzma.compress(b"two")
        read_on = 0
        for padding in range(9):
            for data in (one + bytes(padding) + two, one + bytes(padding), one + two + bytes(padding)):
                want = xz_result(data)
                self.assertEqual(self.library.bytes_of("decompress", data=data,
                                                       format=lzma.FORMAT_AUTO), want)
                theirs = python_result(lambda: lzma.decompress(data))
                read_on += want == b"onetwo" and theirs == b"one"
        # Python's module says nothing of the second Stream, and leaves it out.
        self.assertGreater(read_on, 0)
        for data in (one + b"more", one + two[:20]):
            self.assertIsNone(xz_result(data))
            self.assertIsNone(self.library.bytes_of("decompress", data=data,
                                                    format=lzma.FORMAT_AUTO))

    def test_memory_limits_are_the_same(self):
        refused = granted = 0
        for format in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
            for preset in (0, 6):
                stored = lzma.compress(TEXT, format=format, preset=preset)
                for limit in (1, 100000, 300000, 1 << 20, 9 << 20, 10 << 20, 1 << 30):
                    want = python_result(lambda: lzma.decompress(stored, memlimit=limit))
                    answer = self.library.ask("decompress", data=stored, format=lzma.FORMAT_AUTO,
                                              memlimit=limit)
                    if want is None:
                        refused += 1
                        self.assertEqual(answer.get("error"), 27, answer)  # EFBIG
                    else:
                        granted += 1
                        self.assertEqual(bytes.fromhex(answer["data"]), want)
        self.assertGreater(refused, 5)
        self.assertGreater(granted, 5)

    def compare_steps(self, stored, pieces, **options):
        theirs = lzma.LZMADecompressor(options.get("format", lzma.FORMAT_AUTO))
        answer = self.library.ask("decompressor", pieces=[[data.hex(), most] for data, most in pieces],
                                  format=options.get("format", lzma.FORMAT_AUTO), concatenated=False)
        for (data, most), step in zip(pieces, answer["steps"], strict=True):
            want = python_result(lambda: theirs.decompress(data, most))
            self.assertEqual(bytes.fromhex(step["data"]) if "data" in step else None, want)
            if want is None:
                return
            self.assertEqual(step["eof"], theirs.eof)
            self.assertEqual(step["needs_input"], theirs.needs_input)
            self.assertEqual(bytes.fromhex(step["unused_data"]), theirs.unused_data)
            self.assertEqual(step["check"], theirs.check)

    def test_decompressors_agree_at_each_step(self):
        chance = random.Random(3)
        for format in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
            for check in CHECKS if format == lzma.FORMAT_XZ else [-1]:
                stored = lzma.compress(TEXT, format=format, check=check, preset=0) + b"what follows"
                self.compare_steps(stored, [(stored, -1)])
                for _ in range(5):
                    pieces, at = [], 0
                    while at < len(stored) + 1000:
                        size = chance.randrange(5000)
                        pieces.append((stored[at:at + size], chance.choice([-1, 1, 700, 40000])))
                        at += size
                    self.compare_steps(stored, pieces)
                damaged = stored[:500] + b"\xff" + stored[501:]
                self.compare_steps(damaged, [(damaged[i:i + 100], -1)
                                             for i in range(0, len(damaged), 100)])

    def test_compressors_agree_at_each_step(self):
        for options in ({"format": lzma.FORMAT_XZ, "check": lzma.CHECK_CRC32},
                        {"format": lzma.FORMAT_ALONE}):
            theirs = lzma.LZMACompressor(preset=1, **options)
            pieces = [TEXT[i:i + 9999] for i in range(0, len(TEXT), 9999)]
            want = [theirs.compress(piece) for piece in pieces] + [theirs.flush()]
            answer = self.library.ask("compressor", pieces=[piece.hex() for piece in pieces],
                                      preset=1, **options)
            self.assertEqual([bytes.fromhex(step["data"]) for step in answer["steps"]], want)

    def test_checks_are_supported_by_both_or_by_none(self):
        for check in range(lzma.CHECK_UNKNOWN + 1):
            self.assertEqual(self.library.ask("is_check_supported", check=check)["is"],
                             lzma.is_check_supported(check), check)


class Table(unittest.TestCase):
    def test_each_public_name_of_the_module_is_in_the_table(self):
        with open(DOCS, encoding="utf-8") as file:
            rows = [line.split("|")[1] for line in file if line.startswith("|")]
        named = set(re.findall(r"`([\w.]+)", " ".join(rows)))
        names = list(lzma.__all__)
        for kind in (lzma.LZMACompressor, lzma.LZMADecompressor, lzma.LZMAFile):
            # What every file object of Python has is not the module's.
            inherited = dir(io.BufferedIOBase)
            names += [f"{kind.__name__}.{name}" for name in dir(kind)
                      if not name.startswith("_") and (name not in inherited or name in vars(kind))]
        self.assertGreater(len(names), 50)
        self.assertEqual([name for name in names if name not in named], [])


if __name__ == "__main__":
    unittest.main()
