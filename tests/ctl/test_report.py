"""xzfsctl report: the page is right, self-contained, and safe with hostile names."""

import contextlib
import os
import subprocess
import unittest

import report_reader
import support
import xzformat
from ctl_support import CTL, MountCtlTest, environment, write
from report_reader import area, judge, judge_treemap
from support import MIB, make_compressed
from write_support import WriteMount, noise, read_file, write_file


def name_of(rect):
    """The directory that a rectangle shows, or that its file is in."""
    return rect["title"].split("\n")[0].split(":")[0]


def disk(path):
    return os.lstat(path).st_blocks * 512


class Report(MountCtlTest):
    def report(self, path, *words):
        out, _ = self.ctl("report", path, "-o", "-", *words, text=False)
        return judge(out.decode())

    def compressed(self, name, content, *options):
        """Makes NAME.xz with xz."""
        path = os.path.join(self.source, name + ".xz")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            subprocess.run(["xz", "-0", "-c", *options], input=content, stdout=out, check=True)
        return path

    def test_sizes_are_those_of_the_disk_and_of_the_plain_data(self):
        text = xzformat.text(1, 3 * MIB)
        paths = [self.compressed("logs/a", text), self.compressed("logs/deep/b", text[:MIB])]
        write(os.path.join(self.source, "images/c.img"), noise(1, MIB))
        page = self.report(self.source)
        rows = {row[0]: row for row in page.tables["directories"][1:]}
        self.assertEqual(set(rows), {".", "logs", "logs/deep", "images"})
        self.assertEqual(rows["logs"][1], "2")
        self.assertIn(f'title="{4 * MIB} bytes"', page.content)
        self.assertIn(f'title="{disk(paths[0]) + disk(paths[1])} bytes"', page.content)
        self.assertEqual(rows["."][1:3], ["3", "5.0 MiB"])

    def test_areas_of_the_treemap_are_proportional_to_the_disk_space(self):
        sizes = {"a": 32, "b": 16, "c": 8, "d/e": 4, "f": 2, "g": 1}
        for name, size in sizes.items():
            write(os.path.join(self.source, name, "file"), noise(2, size * 16384))
        page = self.report(self.source)
        leaves = judge_treemap(page)
        tops = {name_of(rect): area(rect) for rect in page.rects[1:] if "/" not in name_of(rect)}
        self.assertEqual(set(tops), {name.split("/")[0] for name in sizes})
        for name, size in sizes.items():
            share = tops[name.split("/")[0]] / sum(tops.values())
            self.assertAlmostEqual(share, size / sum(sizes.values()), delta=0.01, msg=name)
        # Incompressible data is in the last class.
        self.assertEqual({rect["class"] for rect in leaves}, {"r5"})

    def test_colours_show_the_ratio(self):
        for name, content in (("zeros/x", bytes(32 * MIB)), ("noise/x", noise(3, 32768))):
            self.compressed(name, content)
        leaves = judge_treemap(self.report(self.source))
        classes = {name_of(rect): rect["class"] for rect in leaves}
        self.assertEqual(classes, {"zeros": "r0", "noise": "r5"})

    def test_savings_by_packing_are_near_what_packing_saves(self):
        for number in range(4):
            write(os.path.join(self.source, f"part{number}.log"), xzformat.text(number, MIB // 2))
            write(os.path.join(self.source, f"photo{number}.JPG"), noise(number, MIB // 2))
        page = self.report(self.source)
        rows = {row[0]: row for row in page.tables["pack"][1:]}
        self.assertEqual(set(rows), {".log", ".jpg"})
        self.assertEqual(page.tables["pack"][1][0], ".log")  # the kind that saves more comes first
        packed = sum(len(subprocess.run(["xz", "-6", "-c", f"part{number}.log"], cwd=self.source,
                                        check=True, capture_output=True).stdout)
                     for number in range(4))
        number, unit = rows[".log"][3].split()
        self.assertEqual(unit, "MiB")
        self.assertAlmostEqual(float(number), (2 * MIB - packed) / MIB, delta=0.2)
        self.assertIn(rows[".jpg"][3].split()[0], ("0", "0.0"))

    def test_files_with_giant_blocks_are_to_be_reblocked_and_others_are_not(self):
        content = bytes(40 * MIB)
        self.compressed("giant", content, "-T1")  # xz from 5.6 on makes several Blocks by itself
        self.compressed("large", content, "--block-size=8MiB")
        self.compressed("fine", content, "--block-size=1MiB")
        rows = self.report(self.source).tables["reblock"]
        self.assertEqual([row[0] for row in rows[1:]], ["giant.xz", "large.xz"])
        self.assertTrue(rows[1][2].startswith("40"))

    def test_a_mount_is_seen_from_inside_with_its_history(self):
        content = xzformat.text(5, 2 * MIB)
        make_compressed(self.source, "compressed", content)
        with WriteMount(self.source, "compress=off") as mount:
            write_file(mount / "plain.log", content)
            read_file(mount / "compressed")
            page = self.report(mount.path)
            self.assertIn("The mount", page.text)
            self.assertGreater(int(page.tables["history"][1][1]), 0)
            self.assertEqual([row[0] for row in page.tables["pack"][1:]], [".log"])
            rows = {row[0]: row for row in page.tables["directories"][1:]}
            self.assertEqual(rows["."][1], "2")
            self.assertIn(f'title="{2 * len(content)} bytes"', page.content)
            # A directory in a mount works, too.
            os.mkdir(mount / "sub")
            write_file(mount / "sub/file", content)
            self.assertNotIn("The mount", self.report(mount / "sub").text)

    def test_hostile_names_are_shown_and_have_no_effect(self):
        names = [b"<script>alert(1)", b"<title><img src=x onerror=alert(1)>",
                 b'" onload="alert(1)', b"' x='", b"&lt;b&gt;", b"new\nline", b"\x1b[2J\x07",
                 b"not utf-8 \xff\xc0\xaf\xed\xa0\x80", "right\u202eleft".encode(), b"]]><!--",
                 "é漢字🙂".encode(), b"x" * 200]
        for number, name in enumerate(names):
            folder = os.path.join(os.fsencode(self.source), name)
            os.mkdir(folder)
            with open(os.path.join(folder, name + b".log"), "wb") as file:
                file.write(noise(number, 300_000 + number * 50_000))
        page = self.report(self.source)
        judge_treemap(page)
        shown = {row[0] for row in page.tables["directories"][1:]}
        for name in ("<script>alert(1)", '" onload="alert(1)', "&lt;b&gt;", "é漢字🙂",
                     "new\\x0aline", "\\x1b[2J\\x07", "]]><!--",
                     "not utf-8 \\xff\\xc0\\xaf\\xed\\xa0\\x80", "right\\xe2\\x80\\xaeleft"):
            self.assertIn(name, shown)

    def test_the_page_stays_small_however_large_the_tree_is(self):
        def size(directories):
            for number in range(directories):
                write(os.path.join(self.source, f"dir{number % 50}", f"sub{number}", "file.txt"),
                      b"some text " * (number % 97 + 1))
            page = self.report(self.source)
            judge_treemap(page)
            return len(page.content), len(page.rects)

        small, _ = size(400)
        large, rects = size(support.scaled(3000, 1500))
        self.assertLessEqual(rects, 500)
        self.assertLess(large, small + 120_000)

    def test_an_empty_tree_a_file_and_a_missing_one(self):
        page = self.report(self.source)
        self.assertIn("All files are compressed", page.text)
        write(os.path.join(self.source, "file"), b"x")
        _, err = self.ctl("report", os.path.join(self.source, "file"), code=1)
        self.assertIn("is not a directory", err)
        self.ctl("report", self.path("missing"), code=1)
        # Without -o the page is report.html in the current directory.
        self.ctl("report", self.source)
        with open(self.path("report.html"), encoding="utf-8") as file:
            report_reader.judge(file.read())
        _, err = self.ctl("report", self.source, "-o", "/dev/full", code=1)
        self.assertIn("No space left", err)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_full_disk_leaves_the_old_page_or_none(self):
        os.mkdir(self.path("disk"))
        support.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.path("disk")])
        self.addCleanup(support.run, ["umount", self.path("disk")])
        self.ctl("report", self.source, "-o", "old.html")
        old = read_file(self.path("old.html"))[:8000]
        write(self.path("disk/old.html"), old)
        with open(self.path("disk/ballast"), "wb", buffering=0) as ballast:
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(4096))
        for name in ("old.html", "new.html"):
            _, err = self.ctl("report", self.source, "-o", f"disk/{name}", code=1)
            self.assertIn("No space left", err)
        self.assertEqual(sorted(os.listdir(self.path("disk"))), ["ballast", "old.html"])
        self.assertEqual(read_file(self.path("disk/old.html")), old)

    def test_an_older_page_is_replaced_and_other_files_are_not(self):
        self.ctl("report", self.source)
        first = os.stat(self.path("report.html")).st_ino
        self.ctl("report", self.source)
        self.assertNotEqual(os.stat(self.path("report.html")).st_ino, first)
        write(self.path("report.html"), b"")
        self.ctl("report", self.source)
        write(self.path("thesis.html"), b"<!DOCTYPE html>\n<p>years of work")
        _, err = self.ctl("report", self.source, "-o", "thesis.html", code=1)
        self.assertIn("thesis.html exists and is no page of xzfsctl report", err)
        self.assertIn("--force", err)
        self.assertIn(b"years of work", read_file(self.path("thesis.html")))
        self.ctl("report", self.source, "-f", "-o", "thesis.html")
        report_reader.judge(read_file(self.path("thesis.html")).decode())

    def test_a_failed_write_of_the_page_to_stdout_is_an_error_that_says_why(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CTL, "report", self.source, "-o", "-"], stdout=full,
                                  stderr=subprocess.PIPE, check=False, env=environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"write to stdout: No space left on device", done.stderr)

    def test_damaged_files_are_counted_and_the_rest_is_shown(self):
        path = self.compressed("damaged", xzformat.text(6, MIB))
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) - 20)
        self.compressed("whole", xzformat.text(6, MIB))
        out, err = self.ctl("report", self.source, "-o", "-", code=2)
        self.assertIn("damaged.xz", err)
        self.assertIn("1 files or directories could not be looked at", judge(out).text)


if __name__ == "__main__":
    support.main()
