"""xzfsctl report: the page is right, self-contained, and safe with hostile names."""

import contextlib
import os
import shutil
import socket
import subprocess
import unittest

import report_reader
import support
import xzformat
from ctl_support import CTL, MountCtlTest, environment, write
from report_reader import area, judge, judge_treemap
from support import MIB, make_compressed
from write_support import WriteMount, noise, read_file, write_file


def path_of(rect):
    """The path of the directory or file that a rectangle shows."""
    return rect["title"].split("\n")[0]


def top_of(rect):
    """The directory below the root that a rectangle shows or is in."""
    return path_of(rect).split("/")[0]


def run_command(command, folder):
    """Runs a command line of the page, as a reader would who copies it. Anywhere but in the tree."""
    path = os.path.dirname(CTL) + ":" + os.environ["PATH"]
    return subprocess.run(["bash", "-c", command], cwd=folder, check=False, text=True,
                          env=environment(PATH=path), capture_output=True)


def files_below(folder):
    """The paths of all files below it, as bytes."""
    folder = os.fsencode(folder)
    return {os.path.relpath(os.path.join(top, name), folder)
            for top, _, names in os.walk(folder) for name in names}


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
        tops = {top_of(rect): area(rect) for rect in leaves}
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
        classes = {top_of(rect): rect["class"] for rect in leaves}
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

    def test_rotated_logs_are_of_one_kind_and_other_numbers_are_not(self):
        for name in ("app.log", "app.log.1", "app.log.12", "b.LOG-20260131", "c.log.2026-01-31.3",
                     "syslog", "syslog.1", "syslog-20260131", "libz.so.1.2.13", "libc.so.6",
                     "man/ls.1", "man/cp.1", "man/open.2", "README", "tool-5.4", "tool-5"):
            write(os.path.join(self.source, name), xzformat.text(1, 20_000))
        # The stored names of a series count, too.
        write(os.path.join(self.source, "web/messages.1"), xzformat.text(1, 20_000))
        self.compressed("web/messages.2", b"x")
        page = self.report(self.source)
        self.assertEqual({row[0]: row[1] for row in page.tables["pack"][1:]},
                         {".log and rotated ones": "5", "syslog and rotated ones": "3",
                          ".so and rotated ones": "2", ".1": "2", ".2": "1", "(no ending)": "1",
                          "messages and rotated ones": "1", "tool-5 and rotated ones": "2"})

    def test_commands_pack_the_files_of_their_row_and_no_others(self):
        odd = b"it's $HOME \xff\n*[a]"  # a folder; its name is in each path
        source = os.path.join(os.fsencode(self.source), odd)
        kinds = {".log and rotated ones": [b"a.log", b"b.LOG.1", b"deep er/c.log-20260131"],
                 "syslog and rotated ones": [b"syslog", b"syslog.1"],
                 "w*[?]\\x and rotated ones": [b"w*[?]\\x", b"w*[?]\\x.2"],
                 ".txt": [b"n.txt", b"n.Txt"], "(no ending)": [b"README", b"wide"]}
        for name in sum(kinds.values(), []):
            write(os.path.join(source, name), xzformat.text(3, 50_000))
        commands = self.report(source).commands
        self.assertEqual({name for name, _ in commands}, {"", *kinds})
        # Files without an ending last: find(1) can't tell them from the first file of a series.
        for name, command in sorted(commands[1:], key=lambda each: each[0] == "(no ending)"):
            before = files_below(source)
            done = run_command(command, self.folder)
            self.assertEqual(done.returncode, 0, (command, done.stderr))
            self.assertEqual(before - files_below(source), set(kinds[name]), command)
            self.assertEqual(files_below(source) - before, {path + b".xz" for path in kinds[name]})
        # Nothing is left; the command for all of them does that as well.
        self.assertIn("All files are compressed", self.report(source).text)
        self.assertEqual(run_command("xzfsctl unpack -q ." , source).returncode, 0)
        self.assertEqual(run_command(commands[0][1], self.folder).returncode, 0)
        self.assertIn("All files are compressed", self.report(source).text)

    def test_what_would_not_shrink_gets_no_command(self):
        write(os.path.join(self.source, "photo.jpg"), noise(1, MIB))
        page = self.report(self.source)
        self.assertEqual(page.tables["pack"][1][0], ".jpg")
        self.assertEqual([name for name, _ in page.commands], [""])

    def test_large_files_are_cells_and_small_ones_share_one(self):
        write(os.path.join(self.source, "dumps/large.img"), noise(1, 4 * MIB))
        write(os.path.join(self.source, "dumps/middle.img"), noise(1, 2 * MIB))
        for number in range(50):
            write(os.path.join(self.source, f"dumps/small{number:02}"), noise(1, 4096))
        leaves = judge_treemap(self.report(self.source))
        areas = {path_of(rect): area(rect) for rect in leaves}
        self.assertEqual(set(areas), {"dumps/large.img", "dumps/middle.img", "dumps"})
        self.assertAlmostEqual(areas["dumps/large.img"] / areas["dumps/middle.img"], 2, delta=0.02)
        self.assertIn("50 small parts\n50 files", leaves[-1]["title"])

    def test_directories_with_nothing_but_one_in_them_are_one_row(self):
        write(os.path.join(self.source, "locale/fr/LC_MESSAGES/a.mo"), noise(1, 100_000))
        write(os.path.join(self.source, "locale/de/LC_MESSAGES/a.mo"), noise(1, 100_000))
        os.makedirs(os.path.join(self.source, "locale/de/empty"))
        page = self.report(self.source)
        self.assertEqual({row[0] for row in page.tables["directories"][1:]},
                         {".", "locale", "locale/fr/LC_MESSAGES", "locale/de/LC_MESSAGES"})

    def test_the_head_names_the_real_path_and_the_host(self):
        os.symlink(self.source, self.path("link"))
        page = self.report("link/.")
        heading = f"{os.path.realpath(self.source)} on {socket.gethostname()}"
        self.assertIn(f"{heading} - xzfs", page.text)
        self.assertGreaterEqual(page.text.count(heading), 2)

    @unittest.skipIf(shutil.which("strace") is None, "needs strace")
    def test_progress_is_shown_when_it_is_wanted(self):
        for number in range(4):
            write(os.path.join(self.source, f"{number}/file"), b"x")
        def lines(when):
            # Makes listings slow: the first line comes after a second.
            done = subprocess.run(
                ["strace", "-o", "/dev/null", "-e", "inject=getdents64:delay_enter=300000", CTL,
                 "report", "--progress", when, self.source, "-o", "-"],
                check=True, capture_output=True, text=True, env=environment())
            return done.stderr.splitlines()
        self.assertRegex(lines("always")[0], r"^[1-4] files? looked at, .* on disk$")
        self.assertEqual(lines("auto"), [])

    def test_files_with_giant_blocks_are_to_be_reblocked_and_others_are_not(self):
        content = bytes(40 * MIB)
        self.compressed("giant", content, "-T1")  # xz from 5.6 on makes several Blocks by itself
        self.compressed("large", content, "--block-size=8MiB")
        self.compressed("fine", content, "--block-size=1MiB")
        rows = self.report(self.source).tables["reblock"]
        self.assertEqual([row[0] for row in rows[1:]], ["giant.xz", "large.xz"])
        self.assertTrue(rows[1][2].startswith("40"))

    def test_the_command_below_a_giant_file_reblocks_it_alone(self):
        name = "it's -v\u00a0$(x) \n.img"
        for path in (name, "other.img"):
            self.compressed(path, bytes(12 * MIB), "-T1")
        os.link(self.compressed("linked", bytes(12 * MIB), "-T1"), self.path("second-name"))
        page = self.report(self.source)
        self.assertIn("2 compressed files have Blocks", page.text)
        command = {row: text for row, text in page.commands}[name.replace("\n", "\\x0a") + ".xz"]
        self.assertEqual(run_command(command, self.folder).returncode, 0, command)
        page = self.report(self.source)
        self.assertEqual([row[0] for row in page.tables["reblock"][1:]], ["other.img.xz"])
        self.assertIn("1 compressed file has Blocks", page.text)

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

    def test_commands_of_a_mount_name_the_stored_files_of_its_source(self):
        self.compressed("sub/giant", bytes(12 * MIB), "-T1")
        write(os.path.join(self.source, "sub/plain.log"), xzformat.text(1, MIB))
        with WriteMount(self.source, "compress=off") as mount:
            page = self.report(mount / "sub")
            self.assertEqual([row[0] for row in page.tables["reblock"][1:]], ["giant"])
            stored = os.path.join(os.path.realpath(self.source), "sub/giant.xz")
            self.assertIn(("giant", f"xzfsctl reblock {stored}"), page.commands)
            self.assertNotIn("Unmount it first", page.text)
            for name, command in page.commands:
                if name:  # the others do the same once more, and would find nothing to do
                    self.assertEqual(run_command(command, self.folder).returncode, 0, command)
        self.assertEqual(sorted(os.listdir(os.path.join(self.source, "sub"))),
                         ["giant.xz", "plain.log.xz"])

    def test_commands_for_a_source_that_its_mount_covers_say_that_it_must_be_unmounted(self):
        write(os.path.join(self.source, "plain.log"), xzformat.text(1, MIB))
        subprocess.run([support.BINARY, self.source, self.source, "-o", "compress=off"], check=True)
        try:
            page = self.report(self.source)
        finally:
            self.ctl("umount", "--wait", self.source)
        self.assertIn("Unmount it first", page.text)
        command = dict(page.commands)[".log"]
        self.assertEqual(run_command(command, self.folder).returncode, 0, command)
        self.assertIn("plain.log.xz", os.listdir(self.source))

    def test_hostile_names_are_shown_and_have_no_effect(self):
        names = [b"<script>alert(1)", b"<title><img src=x onerror=alert(1)>",
                 b'" onload="alert(1)', b"' x='", b"&lt;b&gt;", b"new\nline", b"\x1b[2J\x07",
                 b"not utf-8 \xff\xc0\xaf\xed\xa0\x80", "right\u202eleft".encode(), b"]]><!--",
                 "é漢字🙂".encode(), b"x" * 200, b"$(touch ran)`touch ran`;touch ran"]
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

    def test_a_path_that_would_end_the_script_does_not(self):
        # The slash is that between a folder and its file.
        for folder, name in (("<", "script><img src=x onerror=alert(1)>"), ("a", "b"),
                             ("<", "title><script>alert(1)")):
            write(os.path.join(self.source, folder, name), noise(1, 200_000))
        page = self.report(self.source)
        judge_treemap(page)
        self.assertIn("</script><img src=x onerror=alert(1)>",
                      {row[0] for row in page.tables["largest"]})
        self.assertIn("</title><script>alert(1)",
                      {path_of(rect) for rect in page.maps["narrow"]})

    def test_the_page_stays_small_however_large_the_tree_is(self):
        def size(directories):
            for number in range(directories):
                write(os.path.join(self.source, f"dir{number % 50}", f"sub{number}", "file.txt"),
                      b"some text " * (number % 97 + 1))
            page = self.report(self.source)
            judge_treemap(page)
            return len(page.content)

        small = size(400)
        large = size(support.scaled(3000, 1500))
        self.assertLess(large, small + 120_000)

    def test_a_page_with_little_in_it_is_small(self):
        self.assertLess(len(self.report(self.source).content), 20_000)
        write(os.path.join(self.source, "file.log"), b"line\n" * 5000)
        self.assertLess(len(self.report(self.source).content), 25_000)

    def test_an_empty_tree_a_file_and_a_missing_one(self):
        page = self.report(self.source)
        self.assertIn("There are no files here", page.text)
        self.compressed("file", b"x")
        self.assertIn("All files are compressed", self.report(self.source).text)
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
        self.assertIn("1 file or directory could not be looked at", judge(out).text)


if __name__ == "__main__":
    support.main()
