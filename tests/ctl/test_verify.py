"""xzfsctl verify, cat, du and info, compared with xz, the plain bytes and du."""

import json
import lzma
import os
import random
import struct
import subprocess
import unittest

import support
import write_support
import xzformat
from ctl_support import CTL, CtlTest, environment, write

KIB = 1 << 10
MIB = 1 << 20


def blocked(content, size):
    return subprocess.run(["xz", "-0c", f"--block-size={size}"], input=content,
                          stdout=subprocess.PIPE, check=True).stdout


class Verify(CtlTest):
    def test_a_file_from_a_newer_xz_is_not_called_damaged(self):
        plain = self.path("plain")
        write(plain, b"some text " * 1000)
        write(self.path("new.xz"), xzformat.without_a_filter(plain))
        out, err = self.ctl("verify", self.path("new.xz"), code=1)
        self.assertIn("a newer liblzma may read it", err)
        self.assertNotIn("damaged", out + err)
        self.assertIn("1 could not be checked", err)
        self.assertIn("liblzma", self.json("info", self.path("new.xz"))["file"]["unsupported"])

    def test_each_damaged_block_is_named_with_its_bytes(self):
        content = xzformat.text(1, 500 * KIB)
        data = bytearray(blocked(content, 100 * KIB))
        write(self.path("good.xz"), bytes(data))
        blocks = self.json("list", "-v", "good.xz")["files"][0]["block_list"]
        for number in (1, 3):
            data[blocks[number]["compressed_offset"] + blocks[number]["compressed_bytes"] // 2] ^= 1
        write(self.path("bad.xz"), bytes(data))
        write(self.path("cut.xz"), bytes(data[:-30]))
        write(self.path("other"), b"not compressed")
        self.assertEqual(self.json("verify", "good.xz")["damaged"], [])
        report = self.json("verify", ".", code=1)
        found = [(entry["path"], entry["block"], entry.get("plain_begin"), entry.get("plain_end"))
                 for entry in report["damaged"]]
        self.assertEqual(found, [("./bad.xz", 1, 100 * KIB, 200 * KIB),
                                 ("./bad.xz", 3, 300 * KIB, 400 * KIB),
                                 ("./cut.xz", None, None, None)])
        self.assertEqual((report["files"], report["blocks"]), (2, 10))
        _, error = self.ctl("verify", "bad.xz", code=1)
        self.assertIn(f"bad.xz: Block 1 (plain bytes {100 * KIB}-{200 * KIB}, file offset ", error)

    def test_it_agrees_with_xz_on_every_flipped_byte(self):
        """In a small file with two Blocks: some Check covers every byte of it."""
        good = blocked(xzformat.text(2, 3 * KIB), 2 * KIB)
        positions = random.Random(1).sample(range(len(good)), support.scaled(60, 10))
        for at in positions:
            bad = bytearray(good)
            bad[at] ^= 0x40
            write(self.path(f"{at}.xz"), bytes(bad))
        report = self.json("verify", *(f"{at}.xz" for at in positions), code=1)
        # Without its magic bytes the file is of another kind.
        bad = {entry["path"] for entry in report["damaged"] + report["errors"]}
        self.assertEqual({entry["path"] for entry in report["errors"]},
                         {f"{at}.xz" for at in positions if at < 6})
        for at in positions:
            judged = subprocess.run(["xz", "-tq", self.path(f"{at}.xz")], check=False).returncode
            self.assertEqual(f"{at}.xz" in bad, judged != 0, at)

    def test_a_file_whose_content_contradicts_its_name_is_named_and_the_exit_code_is_2(self):
        good = lzma.compress(xzformat.text(5, 10 * KIB), preset=0)
        write(self.path("t/good.xz"), good)
        write(self.path("t/empty.xz"), b"")
        write(self.path("t/flipped.xz"), b"\xfc" + good[1:])
        write(self.path("t/plain.log"), b"not compressed")
        _, error = self.ctl("verify", "t", code=2)
        for name in ("t/empty.xz", "t/flipped.xz"):
            self.assertRegex(error, f"{name}: .*not compressed")
        self.assertNotIn("plain.log", error)
        self.assertNotIn("all good", error)
        self.assertIn("2 could not be checked", error)
        report = self.json("verify", "t", code=2)
        self.assertEqual((report["files"], report["damaged"]), (1, []))
        self.assertEqual([entry["path"] for entry in report["errors"]],
                         ["t/empty.xz", "t/flipped.xz"])
        for name in ("t/empty.xz", "t/flipped.xz", "t/plain.log"):
            report = self.json("verify", name, code=1)
            self.assertEqual((report["damaged"], len(report["errors"])), ([], 1), name)

    def test_a_file_that_can_not_be_checked_is_counted_and_never_good_or_damaged(self):
        write(self.path("good.xz"), lzma.compress(b"content"))
        os.mkfifo(self.path("fifo.xz"))
        for name in ("missing", "missing.xz", "fifo.xz"):
            _, error = self.ctl("verify", "good.xz", name, code=1)
            self.assertNotIn("all good", error)
            self.assertNotIn("damaged", error)
            self.assertIn("verified 1 file, 1 Block, 7 B: no damage; 1 could not be checked", error)
            _, error = self.ctl("verify", name, code=1)
            self.assertIn("nothing was verified; 1 could not be checked", error)
            report = self.json("verify", "good.xz", name, code=1)
            self.assertEqual([entry["path"] for entry in report["errors"]], [name])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_file_without_read_permission_is_not_called_damaged(self):
        write(self.path("t/good.xz"), lzma.compress(b"content"))
        write(self.path("t/secret.xz"), lzma.compress(b"content"))
        write(self.path("t/closed/any.xz"), lzma.compress(b"content"))
        os.chmod(self.path("t/secret.xz"), 0o600)
        os.chmod(self.path("t/closed"), 0o700)
        report = self.json("verify", "t", code=1, as_nobody=True)
        self.assertEqual((report["files"], report["damaged"]), (1, []))
        self.assertEqual({entry["path"] for entry in report["errors"]},
                         {"t/secret.xz", "t/closed"})
        self.assertTrue(all("Permission denied" in entry["message"]
                            for entry in report["errors"]))

    def test_a_tree_without_compressed_files_is_not_called_good(self):
        write(self.path("t/plain"), b"not compressed")
        _, error = self.ctl("verify", "t", code=2)
        self.assertIn("no compressed files", error)
        self.assertNotIn("all good", error)

    def test_large_files_and_all_formats_are_verified(self):
        write(self.path("giant.xz"), lzma.compress(xzformat.text(3, 6 * MIB), preset=0))
        for name, argv in {"a.lzma": ["xz", "-0c", "--format=lzma"], "b.lz": ["lzip", "-0c"]}.items():
            with open(self.path(name), "wb") as out:
                subprocess.run(argv, input=xzformat.text(4, 50 * KIB), stdout=out, check=True)
        report = self.json("verify", ".")
        self.assertEqual(report["files"], 3)
        self.assertEqual(report["plain_bytes"], 6 * MIB + 2 * 50 * KIB)


class Cat(CtlTest):
    def test_ranges_are_those_of_the_plain_bytes(self):
        content = xzformat.text(1, 700 * KIB)
        write(self.path("many.xz"), blocked(content, 64 * KIB))
        write(self.path("one.xz"), lzma.compress(content, preset=0))
        rng = random.Random(2)
        for name in ("many.xz", "one.xz"):
            self.assertEqual(self.ctl("cat", name, text=False)[0], content)
            for _ in range(support.scaled(10, 3)):
                offset = rng.randrange(len(content) + 1000)
                length = rng.randrange(200 * KIB)
                out, _ = self.ctl("cat", f"--offset={offset}", "--length", str(length), name,
                                  text=False)
                self.assertEqual(out, content[offset:offset + length], (offset, length))

    def test_damage_before_the_range_does_not_matter_and_in_it_is_an_error(self):
        content = xzformat.text(3, 300 * KIB)
        data = bytearray(blocked(content, 100 * KIB))
        data[5000] ^= 1
        write(self.path("a.xz"), bytes(data))
        out, _ = self.ctl("cat", "--offset=100KiB", "a.xz", text=False)
        self.assertEqual(out, content[100 * KIB:])
        _, error = self.ctl("cat", "a.xz", code=1)
        self.assertIn("a.xz", error)

    def test_a_dictionary_may_be_larger_than_a_mount_accepts(self):
        """1.5 GiB, as large as xz makes them. The kernel gives the memory only when it is written to."""
        content = xzformat.text(5, 50 * KIB)
        chunks = lzma.compress(content, format=lzma.FORMAT_RAW,
                               filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])[:-1]
        chunks += (b"\x01" + struct.pack(">H", 65535) + bytes(65536)) * 16  # a slice is whole
        block = xzformat.lzma2_block((chunks,), 3 << 29, 37, 0)
        write(self.path("a.xz"), xzformat.stream((block,), lzma.CHECK_CRC32))
        out, _ = self.ctl("cat", "--length", str(len(content)), "a.xz", text=False)
        self.assertEqual(out, content)

    def test_damage_is_named_by_block_and_range_with_advice(self):
        content = xzformat.text(3, 2000 * KIB)
        data = bytearray(blocked(content, 100 * KIB))
        write(self.path("good.xz"), bytes(data))
        place = self.json("list", "-v", "good.xz")["files"][0]["block_list"][13]
        data[place["compressed_offset"] + place["compressed_bytes"] // 2] ^= 1
        write(self.path("a.xz"), bytes(data))
        write(self.path("cut.xz"), bytes(data[:-30]))
        os.unlink(self.path("good.xz"))
        where = (f"Block 13 (plain bytes {1300 * KIB}-{1400 * KIB}, file offset "
                 f"{place['compressed_offset']}): the compressed data is damaged; ")
        for words in (("cat",), ("cat", "-o", "1350KiB", "-l", "1"), ("unpack",),
                      ("reblock", "--block-size=8KiB")):
            _, error = self.ctl(*words, "a.xz", code=1)
            self.assertIn(f"a.xz: {where}", error, words)
            self.assertIn("xzfsctl salvage", error)
            self.assertIn("xzfsctl verify", error)
        for words in (("cat",), ("unpack",), ("reblock",), ("list",), ("info",), ("verify",)):
            _, error = self.ctl(*words, "cut.xz", code=1)
            self.assertIn("cut.xz: ", error, words)
            self.assertIn("xzfsctl salvage", error, words)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.xz", "cut.xz"])

    def test_an_offset_behind_the_end_is_an_error(self):
        write(self.path("a.xz"), lzma.compress(b"content"))
        self.assertEqual(self.ctl("cat", "-o", "7", "a.xz")[0], "")
        self.assertEqual(self.ctl("cat", "-o", "6", "-l", "100", "a.xz")[0], "t")
        out, error = self.ctl("cat", "-o", "1TiB", "a.xz", code=1)
        self.assertEqual(out, "")
        self.assertIn("--offset 1099511627776 is behind the end of a.xz, which has 7 bytes", error)

    def test_cat_ends_when_its_reader_is_gone(self):
        write(self.path("a.xz"), lzma.compress(bytes(50 * MIB), preset=0))
        process = subprocess.Popen([CTL, "cat", "a.xz"], cwd=self.folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment())
        process.stdout.read(10)
        process.stdout.close()
        process.wait(30)
        self.assertNotEqual(process.returncode, 0)
        process.stderr.close()


class DuAndInfo(CtlTest):
    def make(self):
        contents = {"a.log": xzformat.text(1, 200 * KIB), "d/b": xzformat.text(2, 300 * KIB),
                    "d/e/c": xzformat.text(3, 100 * KIB)}
        for name, content in contents.items():
            write(self.path("t", name), content)
        self.ctl("pack", "-0", "t")
        write(self.path("t", "d", "plain"), os.urandom(70 * KIB))
        return sum(map(len, contents.values())) + 70 * KIB

    def test_du_agrees_with_du_and_with_a_mount(self):
        plain = self.make()
        report = {entry["path"]: entry for entry in self.json("du", "-d9", "t")["directories"]}
        self.assertEqual(list(report), ["t", "t/d", "t/d/e"])
        self.assertEqual(report["t"]["plain_bytes"], plain)
        self.assertEqual(report["t"]["saved_bytes"], plain - report["t"]["disk_bytes"])
        self.assertEqual((report["t"]["files"], report["t"]["compressed_files"]), (4, 3))
        files = sum(os.lstat(os.path.join(folder, name)).st_blocks * 512
                    for folder, _, names in os.walk(self.path("t")) for name in names)
        self.assertEqual(report["t"]["disk_bytes"], files)
        with write_support.WriteMount(self.path("t")) as mount:
            shown = sum(os.lstat(os.path.join(folder, name)).st_size
                        for folder, _, names in os.walk(mount.path) for name in names)
        self.assertEqual(shown, plain)
        out, _ = self.ctl("du", "t")
        self.assertEqual([line.split()[-1] for line in out.splitlines()], ["Directory", "t/d", "t"])

    def test_du_of_a_missing_path_prints_no_table(self):
        for words in ((), ("--ncdu",)):
            out, error = self.ctl("du", *words, "nosuch", code=1)
            self.assertEqual((out, error), ("", "xzfsctl: nosuch: No such file or directory\n"))
        self.assertEqual(self.json("du", "nosuch", code=1)["directories"], [])

    def test_du_shows_several_paths_and_with_s_a_line_for_each(self):
        self.make()
        for words in (("-s",), ("-d0",)):
            lines = self.ctl("du", *words, "t", "t/d", "t/d/plain")[0].splitlines()
            self.assertEqual([line.split()[-1] for line in lines],
                             ["Directory", "t", "t/d", "t/d/plain"])
        self.assertIn("--ncdu takes one PATH", self.ctl("du", "--ncdu", "t", "t", code=1)[1])

    def test_ncdu_reads_the_export(self):
        plain = self.make()
        major, minor, about, tree = json.loads(self.ctl("du", "--ncdu", "t")[0])
        self.assertEqual((major, minor, about["progname"]), (1, 2, "xzfsctl"))

        def total(folder):
            self.assertIn("name", folder[0])
            return sum(total(entry) if isinstance(entry, list) else entry["asize"]
                       for entry in folder[1:])
        self.assertEqual(total(tree), plain)

    def test_info_says_the_same_about_a_file_as_a_mount(self):
        self.make()
        outside = self.json("info", "t/a.log.xz")["file"]
        self.assertEqual(outside["logical_name"], "a.log")
        with write_support.WriteMount(self.path("t")) as mount:
            inside = self.json("info", mount / "a.log")["file"]
            for key in ("stored_name", "state", "plain_bytes", "compressed_bytes", "blocks", "filters",
                        "largest_block_bytes"):
                self.assertEqual(inside[key], outside[key], key)
            self.assertIn("cache", self.json("info", mount.path)["mount"])
        self.assertEqual(self.json("info", "t/d/plain")["file"]["state"], "plain")

    def test_info_is_a_page_for_people(self):
        self.make()
        size = os.path.getsize(self.path("t/a.log.xz"))
        wanted = [r"State +compressed", r"Plain size +200\.0 KiB \(204800 bytes\)",
                  rf"Compressed size +[0-9.]+ (KiB|B)( \({size} bytes\))?",
                  rf"Ratio +{size / 204800:.3f}", r"Format +xz", r"Blocks +1",
                  r"Largest Block +200\.0 KiB: good for reads at any offset", r"Check +CRC64",
                  r"Filters +lzma2:"]

        def check(path, lines):
            out = self.ctl("info", path)[0]
            self.assertTrue(out.startswith(f"{path}\n"), out)
            for line in lines:
                self.assertRegex(out, r"(?m)^  " + line)
            self.assertNotRegex(out, r"[a-z]_[a-z]|null", "no key of the document")

        directory = [r"Files below it +4, of these compressed: 3", r"Plain size +670\.0 KiB",
                     r"On the disk +", r"Saved +[0-9.]+ KiB \([0-9.]+ %\)"]
        check("t/a.log.xz", wanted + [r"Stored as +a\.log\.xz", r"A mount shows it as +a\.log"])
        check("t", directory)
        with write_support.WriteMount(self.path("t"), "compress=off") as mount:
            check(mount / "a.log", wanted + [rf"Stored as +{self.path('t/a.log.xz')}"])
            check(mount.path, [rf"xzfs [0-9.]+, source {self.path('t')}, mounted for",
                               r"Memory +[0-9.]+ .iB of ", r"Preset +6", r"Settle +[0-9.]+ s",
                               r"Not compressed yet +0 files, 0 B"])
            check(mount / "d", [r"Files below it +3, of these compressed: 2",
                                rf"Stored as +{self.path('t/d')}"])

    def test_info_of_a_damaged_file_ends_with_1_in_a_mount_and_outside(self):
        write(self.path("t/cut.xz"), blocked(xzformat.text(1, 9 * KIB), 4 * KIB)[:-30])
        with write_support.WriteMount(self.path("t")) as mount:
            for path in ("t/cut.xz", mount / "cut"):
                self.assertIn("truncated", self.json("info", path, code=1)["file"]["damaged"])
                out, error = self.ctl("info", path, code=1)
                self.assertRegex(out, r"\n  Stored as +\S*cut\.xz\n")
                self.assertRegex(out, r"\n  Damaged +.*truncated")
                self.assertEqual(error.count(f"{path}: "), 1)
                self.assertIn("truncated", error)


if __name__ == "__main__":
    support.main()
