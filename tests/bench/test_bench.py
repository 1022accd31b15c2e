"""scripts/bench without a mount and without figures of this machine: its verdicts on samples, its
charts, and its cases."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

import cases
import host
import peers
import report
import writers
from corpus import QUICK, Corpus

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "bench")


def samples(*values, **details):
    return {"samples": [peers.sample(value, **details) for value in values]}


def group(more_is_better, target, unit="MB/s"):
    return cases.Group("g", unit, more_is_better, {}, [cases.Row("title", "theirs", target)])


class Verdicts(unittest.TestCase):
    def judged(self, ours, theirs, more_is_better, target):
        row, = report.evaluate(group(more_is_better, target),
                               {"xzfs": samples(*ours), "theirs": samples(*theirs)})
        return row["ratio"], row["verdict"]

    def test_the_ratio_is_that_of_the_medians(self):
        self.assertEqual(self.judged([1, 100, 30], [10, 11, 1000], True, None), (30 / 11, ""))

    def test_a_rate_must_be_at_least_the_target(self):
        self.assertEqual(self.judged([95], [100], True, 0.95), (0.95, "ok"))
        self.assertEqual(self.judged([94], [100], True, 0.95), (0.94, "below"))

    def test_a_time_must_be_at_most_the_target(self):
        self.assertEqual(self.judged([115], [100], False, 1.15), (1.15, "ok"))
        self.assertEqual(self.judged([116], [100], False, 1.15), (1.16, "below"))

    def test_a_missing_or_failed_reader_is_a_row_that_says_why(self):
        for kind, shown in (("missing", "not available: no kernel module"),
                            ("failed", "failed: no kernel module")):
            rows = report.evaluate(group(True, 1.0),
                                   {"xzfs": samples(7), "theirs": {"samples": [],
                                                                   kind: "no kernel module"}})
            self.assertNotIn("ratio", rows[0])
            self.assertIn(shown, report.table(rows))
            self.assertIn("7", report.table(rows))

    def test_a_row_may_compare_another_figure_than_the_group(self):
        stored = cases.Figure("stored_bytes", "bytes", False)
        compared = dataclasses.replace(group(True, None), rows=[
            cases.Row("speed", "theirs", 0.9), cases.Row("size", "theirs", 1.005, figure=stored)])
        rows = report.evaluate(compared, {"xzfs": samples(95, stored_bytes=1006),
                                          "theirs": samples(100, stored_bytes=1000)})
        self.assertEqual([(row["ratio"], row["verdict"]) for row in rows],
                         [(0.95, "ok"), (1.006, "below")])
        self.assertIn("1.006", report.table(rows))
        self.assertIn("<= 1.005", report.table(rows))

    def test_a_survey_shows_each_reader_and_judges_none(self):
        figures = [{"key": "value", "unit": "MB/s"}, {"key": "read_ms", "unit": "ms"}]
        found = report.text([{"name": "choice", "survey": figures, "rows": [{"verdict": "below"}],
                              "readers": {"-6-1MiB": samples(7.5, read_ms=8.25),
                                          "-9-1MiB": {"samples": [], "failed": "no memory"}}}])
        self.assertEqual([line.split() for line in found.splitlines()],
                         [["choice", "MB/s", "ms"], ["-6-1MiB", "7.5", "8.25"],
                          ["-9-1MiB", "no", "memory"]])

    def test_memory_is_judged_by_the_run_nearest_to_its_bound(self):
        runs = [peers.sample(1, rss_bytes=50, bound_bytes=1000),
                peers.sample(1, rss_bytes=40, bound_bytes=41)]
        self.assertEqual(report.memory(runs), (40, 41, "ok"))
        runs.append(peers.sample(1, rss_bytes=42, bound_bytes=41))
        self.assertEqual(report.memory(runs), (42, 41, "below"))
        self.assertIsNone(report.memory([peers.sample(1)]))


class Charts(unittest.TestCase):
    def stored(self):
        readers = {"xzfs": samples(240, 250), "xz-T1": samples(130), "plain": samples(5000),
                   "avfs": {"samples": [], "missing": "not installed"}}
        return {"quick": False, "date": "2026-01-02T03:04:05", "machine": {"cpu": "A<B>", "cores": 2},
                "groups": [{"name": "seq-1m", "unit": "MB/s", "more_is_better": True,
                            "readers": readers}]}

    def drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            path, = report.plot(self.stored(), folder)
            return xml.etree.ElementTree.parse(path).getroot()

    def test_bars_are_as_long_as_their_values_and_the_uncompressed_is_broken(self):
        drawn = self.drawn()
        widths = [float(bar.get("width")) for bar in drawn.findall(".//{*}rect")]
        self.assertEqual(widths[0], report.BAR_WIDTH)
        self.assertAlmostEqual(widths[1], report.BAR_WIDTH * 130 / 245, delta=0.1)
        self.assertEqual(len(widths), 2)
        broken, = drawn.findall(".//{*}path")
        self.assertEqual(broken.get("d").count("M"), 2)
        self.assertIn(report.CUT_NOTE, [node.text for node in drawn.findall(".//{*}text")])

    def test_no_bar_is_broken_and_no_note_says_so_where_all_fit(self):
        drawn = xml.etree.ElementTree.fromstring(
            report.svg("title", "note", [("a", 2, "2 ms", True, False), ("b", 1, "1 ms", False, True)]))
        self.assertEqual(drawn.findall(".//{*}path"), [])
        self.assertEqual(len(drawn.findall(".//{*}text[@class='note']")), 1)

    def test_a_note_explains_a_plain_file_that_is_faster_through_fuse(self):
        def notes(**readers):
            return report.footnotes_of(report.bars_of(
                {"unit": "MB/s", "more_is_better": True, "readers": readers}))
        self.assertEqual(notes(plain=samples(800), passthrough=samples(1900)), [report.FUSE_NOTE])
        self.assertEqual(notes(plain=samples(1900), passthrough=samples(800)), [])
        self.assertEqual(notes(plain=samples(800)), [])

    def test_the_best_is_on_top_and_text_is_escaped(self):
        text = [node.text for node in self.drawn().findall(".//{*}text")]
        self.assertIn("A<B>", text[1])
        self.assertLess(text.index("xzfs"), text.index("xz -dc -T1 (no mount)"))

    def test_times_are_drawn_in_ms_with_the_shortest_on_top(self):
        bars = report.bars_of({"unit": "us", "more_is_better": False,
                               "readers": {"squashfs-1m": samples(9000), "xzfs": samples(8000)}})
        self.assertEqual([bar[1:3] for bar in bars], [(8.0, "8 ms"), (9.0, "9 ms")])


class Cases(unittest.TestCase):
    def test_rows_compare_readers_that_the_group_has(self):
        for each in cases.all_groups():
            for row in each.rows:
                self.assertIn(row.reference, each.readers, each.name)
                self.assertIn(row.ours, each.readers, each.name)
            self.assertLessEqual(each.slow | each.once, set(each.readers), each.name)
            self.assertTrue(each.on_request or not each.survey, each.name)

    def test_names_are_unique_and_charts_know_their_group(self):
        names = [each.row_name(row) for each in cases.all_groups() for row in each.rows]
        self.assertEqual(len(names), len(set(names)))
        groups = {each.name: each for each in cases.all_groups()}
        for name in report.CHARTS:
            shown = set(groups[name].readers) - set(report.LABELS)
            self.assertLessEqual(shown, {"avfs", "archivemount", "fuse-archive"}, name)

    def test_another_build_is_added_to_each_reader_of_xzfs(self):
        group = next(each for each in cases.all_groups() if each.name == "random-4k-uncached")
        bench = peers.Bench(Corpus("/", QUICK), "ours", "", "", True)
        group.readers["xzfs"] = lambda bench: bench.binary
        group, rows = cases.with_other_build(group, group.rows[:2], "theirs")
        self.assertEqual([(row.ours, row.reference) for row in rows[2:]],
                         [("xzfs", "xzfs-other-build"),
                          ("xzfs-verify=stream", "xzfs-verify=stream-other-build")])
        self.assertEqual([group.readers[name](bench) for name in
                          ("xzfs", "xzfs-other-build")], ["ours", "theirs"])

    def test_a_selection_has_only_the_requested_cases(self):
        def listed(*arguments):
            return subprocess.run([sys.executable, SCRIPT, "--list", *arguments], check=True,
                                  capture_output=True, text=True).stdout.splitlines()
        self.assertEqual(len(listed("--cases", "seq-1m/xz-T2")), 1)
        self.assertEqual(listed("--cases", "no such case"), [])
        self.assertLess(0, len(listed("--quick")))
        self.assertLess(len(listed("--quick")), len(listed()))
        self.assertEqual([line for line in listed() if line.startswith("choice")], [])
        self.assertEqual(len(listed("--cases", "choice")), 30)


@unittest.skipUnless(os.environ.get("READ_PROBE"), "READ_PROBE names the probe")
class Probe(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.plain = os.path.join(self.folder.name, "plain")
        with open(self.plain, "wb") as out:
            out.write(os.urandom(256 * 1024))

    def packed(self, *options):
        subprocess.run(["xz", "-kf1", *options, self.plain], check=True)
        return self.plain + ".xz"

    def probe(self, mode, path, **options):
        argv = [os.environ["READ_PROBE"], mode, path]
        argv += [word for key, value in options.items() for word in (f"--{key}", str(value))]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def test_each_part_of_a_file_is_read_once_forwards_and_backwards(self):
        for options in ({}, {"backward": 1}, {"threads": 3, "size": 10_000}):
            self.assertEqual(self.probe("seq", self.plain, **options)["bytes"], 256 * 1024)
        self.assertEqual(self.probe("seq", self.plain, limit=5000)["bytes"], 5000)

    def test_distinct_reads_are_as_many_as_the_file_has_stretches(self):
        found = self.probe("random", self.plain, count=1000, distinct=64 * 1024)
        self.assertEqual(found["reads"], 4)

    def test_the_reference_decodes_one_read_after_another(self):
        self.assertEqual(self.probe("decode-block", self.packed("--block-size=64KiB"),
                                    count=4, distinct=64 * 1024)["reads"], 4)
        found = self.probe("decode-from-start", self.packed(), count=50)
        self.assertEqual(found["reads"], 50)
        self.assertLess(found["p50_us"], found["max_us"])

    def test_no_reference_figure_comes_from_a_damaged_file_or_one_of_many_blocks(self):
        path = self.packed("--block-size=64KiB")
        self.assertIn("one Block", self.probe("decode-from-start", path))
        with open(path, "r+b") as stored:
            stored.seek(100 * 1024)
            stored.write(bytes(64))
        self.assertIn("bad Block", self.probe("decode-block", path, count=4, distinct=64 * 1024))


@unittest.skipUnless(os.environ.get("WRITE_PROBE"), "WRITE_PROBE names the probe")
class WriteProbe(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.source, self.content = self.path("source"), os.urandom(2_500_000)
        with open(self.source, "wb") as out:
            out.write(self.content)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, *arguments):
        done = subprocess.run([os.environ["WRITE_PROBE"], self.source, *arguments], text=True,
                              capture_output=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def test_the_probe_writes_the_source_at_the_requested_offset(self):
        target, size = self.path("target"), len(self.content)
        found = self.write(target)
        self.assertEqual(found["bytes"], size)
        self.assertLess(found["after_close_s"], found["seconds"])
        self.write(target, "--append", "--limit", "5000")
        self.write(target, "--offset", "1234567", "--limit", "5000")
        with open(target, "rb") as written:
            got = written.read()
        wanted = self.content + self.content[:5000]
        self.assertTrue(got == wanted[:1234567] + self.content[:5000] + wanted[1239567:])

    def test_the_probe_makes_new_files_or_changes_old_ones_as_told(self):
        self.assertIn("File exists", self.write(self.source))
        for how in (("--append",), ("--offset", "0")):
            self.assertIn("No such file", self.write(self.path("missing"), *how))

    def test_there_is_no_figure_of_a_commit_where_nothing_commits(self):
        self.assertIn("user.xzfs.cmd.sync",
                      self.write(self.path("target"), "--sync", self.folder))


class Writers(unittest.TestCase):
    def test_nothing_that_was_written_is_left(self):
        with tempfile.TemporaryDirectory() as work:
            for error in (None, host.Failed("no figure")):
                with contextlib.suppress(host.Failed), host.scratch_folder(work) as folder:
                    self.assertEqual(os.path.dirname(os.path.dirname(folder)), work)
                    os.mkdir(os.path.join(folder, "copy"))
                    if error:
                        raise error
                self.assertFalse(os.path.exists(folder))

    def test_a_read_that_outlasts_the_commit_gives_no_figure(self):
        at_work = {"pending": 1, "done": 0, "failed": 0, "cancelled": 0}
        for change in ({}, {"pending": 0, "done": 1}, {"failed": 1}, {"cancelled": 1}):
            stats = {"commits": at_work | change}
            with (unittest.mock.patch.object(host, "stats_of", return_value=stats),
                  self.assertRaises(host.Failed) if change else contextlib.nullcontext()):
                writers._require_at_work("mount")  # pylint: disable=protected-access

    def test_a_file_that_is_still_plain_or_has_another_size_does_not_count_as_committed(self):
        figures = {"stats": {"commits": {}}}

        def committed(plain_bytes):
            return writers._require_committed(  # pylint: disable=protected-access
                folder, "copy", plain_bytes, figures)

        with tempfile.TemporaryDirectory() as folder:
            plain = os.path.join(folder, "copy")
            with open(plain, "wb") as out:
                out.write(bytes(1000))
            with self.assertRaisesRegex(host.Failed, "not committed"):
                committed(1000)
            subprocess.run(["xz", plain], check=True)
            self.assertEqual(committed(1000), os.path.getsize(plain + ".xz"))
            with self.assertRaisesRegex(host.Failed, "1000 bytes, not 1001"):
                committed(1001)


class Corpora(unittest.TestCase):
    def test_an_existing_file_is_used_and_an_incomplete_one_is_not(self):
        with tempfile.TemporaryDirectory() as work:
            corpus = Corpus(work, QUICK)
            made = []

            def breaks_off(path):
                with open(path, "w", encoding="ascii") as out:
                    out.write("half")
                made.append(path)
                raise OSError("full")

            def completes(path):
                self.assertFalse(os.path.exists(path))
                with open(path, "w", encoding="ascii") as out:
                    out.write("whole")
                made.append(path)

            for maker in (breaks_off, completes, completes):
                corpus.recipes = lambda maker=maker: {"plain/log.txt": (maker, ())}
                with contextlib.suppress(OSError):
                    corpus.make("plain/log.txt")
                self.assertEqual(os.path.exists(corpus.path("plain/log.txt")),
                                 maker is completes)
            self.assertEqual(len(made), 2)


if __name__ == "__main__":
    unittest.main()
