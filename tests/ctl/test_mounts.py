"""The commands that talk to a mount: stats, top, set, sync, drop-cache, umount."""

import json
import os
import re
import signal
import subprocess
import termios
import unittest

import ctl_support
import own_mounts
import support
import xzformat
from ctl_support import MountCtlTest
from support import MIB, Mount, make_compressed, stopped, wait_until
from terminal import Terminal
from write_support import (WriteMount, assert_valid, attribute, noise, read_file, write_file)

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')
VALUE = re.compile(r"[+-]?(?:Inf|NaN|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")


def parse_exposition(text):
    """{name: (type, {labels: value})}. Checks the text as promtool does, and fails if it isn't valid."""
    assert text.endswith("\n"), "the last line must end"
    families, family = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            assert NAME.fullmatch(name) and rest, line
            if word == "HELP":
                assert name not in families, f"{name} twice"
                family = families[name] = {"help": rest, "type": None, "samples": {}}
            else:
                assert word == "TYPE" and families.get(name) is family, line
                assert rest in ("counter", "gauge", "histogram") and family["type"] is None, line
                family["type"] = rest
            continue
        found = re.fullmatch(r"([^{ ]+)\{(.*)\} (\S+)", line)
        assert found, f"no sample: {line!r}"
        name, labels, value = found.groups()
        assert NAME.fullmatch(name) and VALUE.fullmatch(value), line
        pairs, at = [], 0
        while at < len(labels):
            label = LABEL.match(labels, at)
            assert label, line
            pairs.append(label.groups())
            at = label.end()
        base = re.sub(r"_(bucket|sum|count)$", "", name) if family["type"] == "histogram" else name
        assert families.get(base) is family, f"{line}: not below its TYPE"
        key = (name, tuple(pairs))
        assert key not in family["samples"], f"{line}: twice"
        family["samples"][key] = float(value)
    for name, family in families.items():
        assert family["type"] and family["samples"], name
        assert family["type"] != "counter" or name.endswith("_total"), name
        assert family["type"] != "gauge" or not name.endswith("_total"), name
    return families


class Stats(MountCtlTest):
    def used_mount(self, options="preset=0,settle=0"):
        """A mount in which a file was read and another one written."""
        content = xzformat.text(1, 256 << 10)
        make_compressed(self.source, "compressed", content)
        mount = self.enterContext(WriteMount(self.source, options))
        self.assertEqual(read_file(mount / "compressed"), content)
        write_file(mount / "written", content)
        mount.sync()
        return mount

    def test_json_has_the_figures_of_the_mount(self):
        mount = self.used_mount()
        told = self.json("stats", mount.path)["mounts"]
        own = mount.stats()
        self.assertEqual([entry["path"] for entry in told], [mount.path])
        for key in ("served_bytes", "decoded_bytes", "cache", "commits", "settings", "reads"):
            self.assertEqual(told[0]["stats"][key], own[key], key)
        self.assertEqual(own["commits"]["done"], 1)

    def test_the_table_has_the_figures_that_matter(self):
        mount = self.used_mount()
        out, _ = self.ctl("stats", mount.path)
        self.assertRegex(out, r"\n  Files compressed +1\n")
        self.assertRegex(out, r"\n    their size +256\.0+ KiB\n")
        self.assertRegex(out, r"\n  Cache hit rate +[0-9.]+ %\n")
        self.assertLess(len(out.splitlines()), 40)

    def test_prometheus_text_is_valid_and_right(self):
        mount = self.used_mount("preset=0,settle=0,compress=cold,cold_after=1h")
        out, _ = self.ctl("stats", "--prometheus", mount.path)
        families = parse_exposition(out)
        own = mount.stats()
        label = (("mount", mount.path),)
        for name, value in (("xzfs_served_bytes_total", own["served_bytes"]),
                            ("xzfs_cache_hits_total", own["cache"]["hits"]),
                            ("xzfs_commits_total", own["commits"]["done"]),
                            ("xzfs_cache_size_bytes", own["budget"]["total_bytes"])):
            self.assertEqual(families[name]["samples"], {(name, label): value})
        self.assertIn("xzfs_cold_waiting_files", families)
        times = families["xzfs_read_duration_seconds"]["samples"]
        buckets = [(float(dict(labels)["le"]), count) for (name, labels), count in times.items()
                   if name.endswith("_bucket")]
        self.assertEqual(buckets, sorted(buckets))
        self.assertEqual([count for _, count in buckets], sorted(count for _, count in buckets))
        count = times["xzfs_read_duration_seconds_count", label]
        self.assertEqual(buckets[-1], (float("inf"), count))
        self.assertEqual(count, own["reads"]["count"])
        self.assertGreater(times["xzfs_read_duration_seconds_sum", label], 0)

    def test_several_mounts_with_odd_names_are_one_valid_text(self):
        other = self.path('so"urce\\')
        os.mkdir(other)
        with Mount(self.source) as first, Mount(other) as second:
            out, _ = self.ctl("stats", "--prometheus", first.path, second.path)
            families = parse_exposition(out)
            for name, family in families.items():
                if family["type"] != "histogram":
                    self.assertEqual(len(family["samples"]), 2, name)
            self.assertIn(("source", self.path('so\\"urce\\\\')),
                          [label for _, labels in families["xzfs_info"]["samples"]
                           for label in labels])

    def test_a_folder_that_is_no_mount_is_refused(self):
        _, err = self.ctl("stats", self.folder, code=1)
        self.assertIn("is not the top of a mount of xzfs", err)
        _, err = self.ctl("stats", self.path("missing"), code=1)
        self.assertIn("No such file", err)
        self.ctl("stats", "--json", "--prometheus", self.folder, code=1)
        for command in ("sync", "drop-cache", "umount", "top"):
            _, err = self.ctl(command, self.folder, code=1)
            self.assertIn("is not the top of a mount of xzfs", err)

    def test_stats_begins_with_what_waits_and_failed_and_says_since_when(self):
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "file", xzformat.text(2, MIB))
            lines = self.ctl("stats", mount.path)[0].splitlines()
            self.assertEqual(lines[0], mount.path)
            self.assertRegex(lines[1], rf"^  xzfs [0-9.]+, source {re.escape(self.source)}, "
                                       r"mounted for [0-9:]+ (s|min)$")
            self.assertRegex(lines[2], r"^  Waiting to be compressed +1$")
            self.assertRegex(lines[3], r"^    their size +1\.0 MiB$")
            self.assertRegex(lines[4], r"^  Left uncompressed +0$")
            self.assertRegex(lines[5], r"^  Attempts that failed +0$")

    def test_without_a_mount_all_mounts_are_meant(self):
        other = self.enterContext(support.temp_dir("xzfs-source-"))
        with WriteMount(self.source) as first, WriteMount(other) as second:
            # Other tests may have mounts on this machine.
            told = [entry["path"] for entry in
                    json.loads(subprocess.run([ctl_support.CTL, "stats", "--json"], check=False,
                                              capture_output=True, env=ctl_support.environment())
                               .stdout)["mounts"]]
            self.assertLessEqual({first.path, second.path}, set(told))
            self.assertEqual(len(told), len(set(told)))
            _, err = self.ctl("top", code=1)
            self.assertIn("there are several mounts, name one of them:", err)
            self.assertIn(first.path, err)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_without_any_mount_it_says_so(self):
        alone = own_mounts.in_own_namespace(ctl_support.CTL, "sync")
        with Mount(self.source):
            done = subprocess.run(alone, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  check=False, env=ctl_support.environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn("no mount of xzfs is there", done.stderr)

    def test_prometheus_has_one_series_for_a_mount_however_it_is_named(self):
        with Mount(self.source) as mount:
            os.symlink(mount.path, self.path("link"))
            relative = os.path.relpath(mount.path, self.folder)
            told = set()
            for name in (mount.path, mount.path + "/", relative, "link"):
                families = parse_exposition(self.ctl("stats", "--prometheus", name)[0])
                told |= {labels for _, labels in families["xzfs_nodes"]["samples"]}
                ((_, labels),) = families["xzfs_info"]["samples"]
                self.assertEqual(dict(labels)["source"], self.source)
                self.assertRegex(dict(labels)["version"], r"^[0-9.]+$")
            self.assertEqual(told, {(("mount", mount.path),)})

    def test_output_replaces_the_file_as_a_whole(self):
        with Mount(self.source) as mount:
            for _ in range(2):
                self.ctl("stats", "--prometheus", "-o", "x.prom", mount.path)
                with open(self.path("x.prom"), encoding="utf-8") as file:
                    parse_exposition(file.read())
                self.assertEqual(os.listdir(self.folder), ["x.prom"])
            with open(self.path("x.prom"), "rb") as held:
                self.ctl("stats", "--json", "-o", "x.prom", mount.path)
                self.assertNotEqual(os.fstat(held.fileno()).st_ino,
                                    os.stat(self.path("x.prom")).st_ino, "it is another file")
                parse_exposition(held.read().decode())
            traced = support.run(["strace", "-f", "-e", "trace=fsync,rename,renameat2,renameat",
                                  "-o", "/dev/stdout", ctl_support.CTL, "stats", "-o",
                                  self.path("x.prom"), mount.path], env=ctl_support.environment())
            calls = re.findall(rb"(fsync|rename)", traced)
            self.assertEqual(calls[:2], [b"fsync", b"rename"])

    def test_top_prints_one_page_if_stdout_is_not_a_terminal(self):
        mount = self.used_mount()
        out, _ = self.ctl("top", "--interval", "0.2s", mount.path)
        self.assertTrue(out.startswith(f"xzfs {mount.path}, mounted for "))
        self.assertRegex(out, r"reading +[0-9]+ reads/s")
        self.assertIn("hit rate", out)
        self.assertNotIn("\x1b", out)


class Top(MountCtlTest):
    ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"

    def setUp(self):
        super().setUp()
        make_compressed(self.source, "compressed", xzformat.text(1, 256 << 10))
        self.mount = self.enterContext(Mount(self.source))
        read_file(self.mount / "compressed")

    def top(self, **more):
        return Terminal("top", "--interval", "0.1s", self.mount.path, **more)

    def pages(self, terminal, count):
        """Waits for so many pages; returns the lines of the last one."""
        whole = terminal.wait_for(
            lambda out: len(found := re.findall(rb"\x1b\[H(.*?)\x1b\[J", out, re.S)) >= count
            and found, "pages")
        return whole[-1].replace(b"\x1b[K", b"").decode().split("\r\n")

    def assert_restored(self, terminal):
        self.assertEqual(terminal.out.count(self.ENTER), terminal.out.count(self.LEAVE))
        self.assertIn(b"\x1b[?25h", terminal.out)
        self.assertEqual(terminal.mode(), terminal.before)

    def test_q_quits_with_0_and_the_terminal_is_as_it_was(self):
        with self.top() as terminal:
            self.pages(terminal, 3)
            self.assertNotIn(b"\x1b[2J", terminal.out, "the screen does not flicker")
            self.assertFalse(terminal.mode()[3] & termios.ECHO)
            terminal.type(b"x")
            terminal.type(b"q")
            self.assertEqual(terminal.wait(), 0)
            self.assertTrue(terminal.out.startswith(self.ENTER))
            self.assert_restored(terminal)

    def test_every_signal_restores_the_terminal_and_ends_it_as_it_would(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
                       signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE):
            with self.top() as terminal:
                self.pages(terminal, 1)
                self.assertEqual(terminal.end(number), -number)
                self.assert_restored(terminal)

    def test_it_stops_and_continues_like_other_programs(self):
        with self.top() as terminal:
            self.pages(terminal, 1)
            terminal.process.send_signal(signal.SIGTSTP)
            terminal.wait_for(lambda out: self.LEAVE in out, "it leaves the screen")
            wait_until(lambda: os.waitid(os.P_PID, terminal.process.pid,
                                         os.WSTOPPED | os.WNOHANG | os.WNOWAIT), "it stops")
            self.assertEqual(terminal.mode(), terminal.before)
            terminal.process.send_signal(signal.SIGCONT)
            terminal.wait_for(lambda out: out.count(self.ENTER) == 2, "it is back")
            terminal.type(b"q")
            self.assertEqual(terminal.wait(), 0)
            self.assert_restored(terminal)

    def test_the_page_fits_the_terminal_also_when_that_changes(self):
        with self.top(columns=100, LC_ALL="C.UTF-8") as terminal:
            self.pages(terminal, 2)
            terminal.resize(30, 6)
            terminal.wait_for(
                lambda out: len(self.pages(terminal, 1)) <= 6
                and all(len(line) <= 30 for line in self.pages(terminal, 1)), "a small page")
            terminal.type(b"q")
            self.assertEqual(terminal.wait(), 0)

    def test_bars_are_utf_8_only_where_the_locale_is(self):
        for locale, is_ascii in (("C", True), ("C.UTF-8", False)):
            with self.top(LC_ALL=locale) as terminal:
                page = "\n".join(self.pages(terminal, 2))
                self.assertIn("hit rate", page)
                self.assertEqual(page.isascii(), is_ascii, page)
                terminal.type(b"q")
                self.assertEqual(terminal.wait(), 0)

    def test_keys_and_signals_end_it_while_the_daemon_hangs(self):
        for end in (lambda terminal: terminal.type(b"q") or terminal.wait(),
                    lambda terminal: terminal.end(signal.SIGTERM)):
            with self.top() as terminal:
                self.pages(terminal, 2)
                with stopped(self.mount.process):
                    terminal.wait_for(lambda out: b"no answer for 2 s, q quits" in out, "it says so")
                    self.assertIn("hit rate", "\n".join(self.pages(terminal, 1)))
                    self.assertIn(end(terminal), (0, -signal.SIGTERM))
                    self.assert_restored(terminal)

    def test_it_goes_on_when_the_daemon_does(self):
        with self.top() as terminal:
            self.pages(terminal, 1)
            with stopped(self.mount.process):
                terminal.wait_for(lambda out: b"no answer" in out, "it says so")
            terminal.out = b""
            self.assertEqual(self.pages(terminal, 2)[-1], "q quits")
            terminal.type(b"q")
            self.assertEqual(terminal.wait(), 0)

    def test_it_ends_well_when_the_mount_does(self):
        with self.top() as terminal:
            self.pages(terminal, 1)
            self.ctl("umount", "--wait", self.mount.path)
            self.assertEqual(terminal.wait(), 0)
            self.assertIn(f"xzfsctl: {self.mount.path} is not mounted any more".encode(),
                          terminal.out)
            self.assert_restored(terminal)


class Control(MountCtlTest):
    def test_set_changes_the_settings_of_the_mount(self):
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            self.ctl("set", mount.path, "settle=0", "cache_size=64MiB")
            write_file(mount / "file", b"content " * 1000)
            wait_until(lambda: os.path.exists(os.path.join(self.source, "file.xz")), "a commit")
            self.assertEqual(mount.stats()["budget"]["total_bytes"], 64 * MIB)

    def test_set_says_what_is_wrong_and_does_the_rest(self):
        with Mount(self.source) as mount:
            _, err = self.ctl("set", mount.path, "preset=17", "settle=3", "threads=2", code=1)
            self.assertIn("preset=17 is not one of xz's", err)
            self.assertIn("threads can't change while the mount runs", err)
            self.assertEqual(mount.stats()["settings"]["settle_seconds"], 3)
            self.assertEqual(mount.stats()["settings"]["preset"], 6)

    def test_set_without_a_value_shows_the_values_and_that_they_do_not_last(self):
        with Mount(self.source, "preset=9e,cache_size=64MiB,settle=0.5,log_level=error,"
                                "compress_threads=2") as mount:
            out, err = self.ctl("set", mount.path)
            self.assertEqual(out.splitlines(), ["cache_size=64MiB", "compress_threads=2",
                                                "settle=0.5", "preset=9e", "min_saving=1", "idle=0",
                                                "log_level=error"])
            self.assertIn("lasts until the mount ends", err)
            # What it prints can be given back.
            self.ctl("set", mount.path, *out.split())
            self.assertEqual(self.ctl("set", mount.path)[0], out)

    def test_sync_returns_when_all_is_compressed(self):
        content = xzformat.text(2, MIB)
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "file", content)
            self.ctl("sync", mount.path)
            assert_valid(self, os.path.join(self.source, "file.xz"), content)

    def test_sync_and_umount_wait_say_which_file_is_left_and_why(self):
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "file", xzformat.text(2, MIB))
            write_file(os.path.join(self.source, "file.xz"), b"of somebody else")
            _, err = self.ctl("sync", mount.path, code=1)
            self.assertIn("1 file is not compressed: file stays uncompressed: 'file.xz' already "
                          "exists", err)
            self.assertNotIn("only root", err)
            out, _ = self.ctl("stats", mount.path)
            self.assertRegex(out, r"Left uncompressed +1\b")
            self.assertIn("Left uncompressed: file (file stays", out)
            _, err = self.ctl("umount", "--wait", mount.path, code=2)
            self.assertIn("1 file is not compressed yet (file stays uncompressed", err)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_right_that_a_commit_lacks_is_not_reported_as_missing_for_the_user(self):
        os.mkdir(os.path.join(self.source, "d"))
        with WriteMount(self.source, "settle=1000,preset=0") as mount, \
                attribute("a", os.path.join(self.source, "d")):
            write_file(mount / "d/file", xzformat.text(2, MIB))
            _, err = self.ctl("sync", mount.path, code=1)
            self.assertIn("d/file", err)
            self.assertIn("appended to", err)
            self.assertNotIn("only root", err)

    def test_drop_cache_makes_the_next_read_decode(self):
        content = xzformat.text(3, MIB)
        make_compressed(self.source, "file", content)
        with Mount(self.source) as mount:
            read_file(mount / "file")
            before = mount.stats()["decoded_bytes"]
            self.ctl("drop-cache", mount.path)
            self.assertEqual(read_file(mount / "file"), content)
            self.assertGreaterEqual(mount.stats()["decoded_bytes"], before + len(content))

    def test_umount_wait_returns_when_everything_is_compressed_and_the_daemon_has_ended(self):
        content = xzformat.text(4, MIB // 2)
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "file", content)
            self.ctl("umount", "--wait", mount.path)
            # At once, without polling.
            self.assertTrue(os.path.exists(os.path.join(self.source, "file.xz")))
            self.assertFalse(os.path.exists(os.path.join(self.source, ".xzfs")))
            with open(f"/proc/{mount.pid}/stat", encoding="ascii") as stat:
                self.assertEqual(stat.read().rsplit(")", 1)[1].split()[0], "Z")
        assert_valid(self, os.path.join(self.source, "file.xz"), content)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_umount_wait_ends_with_2_and_says_how_many_files_are_left_uncompressed(self):
        support.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", self.source])
        self.addCleanup(support.run, ["umount", self.source])
        content = noise(5, 8 * MIB)  # its commit takes its space twice for a moment
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "small", b"small " * 1000)
            write_file(mount / "large", content)
            out, err = self.ctl("umount", "--wait", mount.path, code=2)
            self.assertEqual(out, "")
            self.assertIn(f"{mount.path} is unmounted, but 1 file is not compressed yet", err)
            self.assertIn("No space left", err)
            self.assertIn("the next mount goes on with it", err)
            self.assertEqual(read_file(os.path.join(self.source, "large")), content)
        self.assertTrue(os.path.exists(os.path.join(self.source, "small.xz")))

    def test_umount_wait_reports_a_daemon_that_was_killed_before_it_was_done(self):
        with WriteMount(self.source, "settle=1000,preset=9e,block_size=64MiB,compress_threads=1"
                        ) as mount:
            write_file(mount / "file", xzformat.text(5, 8 * MIB))
            umount = subprocess.Popen([ctl_support.CTL, "umount", "--wait", mount.path],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      env=ctl_support.environment())
            wait_until(lambda: not os.path.ismount(mount.path), "it is unmounted")
            mount.kill()
            err = umount.communicate(timeout=60)[1]
            self.assertEqual(umount.returncode, 2, err)
            self.assertIn("ended before it had compressed all files", err)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_umount_wait_names_the_process_with_a_copy_of_the_mount_in_another_namespace(self):
        with WriteMount(self.source) as mount:
            holder = subprocess.Popen(own_mounts.in_own_namespace("sh", "-c", "echo; read line",
                                                                  keep=(mount.path,)),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(holder.wait)
            self.addCleanup(holder.kill)
            self.addCleanup(holder.stdout.close)
            self.addCleanup(holder.stdin.close)
            holder.stdout.readline()
            umount = subprocess.Popen([ctl_support.CTL, "umount", "--wait", mount.path],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      env=ctl_support.environment())
            self.addCleanup(umount.kill)
            line = umount.stderr.readline()
            self.assertIn("another mount namespace (of a container or a service) still has it", line)
            self.assertIn(f"process {holder.pid} (sh) has it", line)
            remedy = line[line.index("nsenter"):].split()
            self.assertIsNone(umount.poll())
            support.run(remedy)
            self.assertEqual(umount.wait(60), 0)
            self.assertEqual(umount.communicate()[1], "")

    def dead_mount(self):
        """A mount with a killed daemon, under a path as people type it."""
        mount = self.enterContext(WriteMount(self.source, "settle=1000"))
        write_file(mount / "file", b"content")
        os.kill(mount.pid, signal.SIGKILL)
        mount.process.wait(60)
        mount.ended = True
        os.symlink(os.path.dirname(mount.path), self.path("link"))
        return mount, os.path.join("link", os.path.basename(mount.path))

    def test_the_message_for_a_dead_mount_says_what_to_do(self):
        _, name = self.dead_mount()
        for words in (("stats", name), ("set", name, "settle=1"), ("sync", name), ("top", name),
                      ("drop-cache", name), ("info", name), ("report", name)):
            _, err = self.ctl(*words, code=1)
            self.assertIn(f"{name}: a mount whose daemon is gone", err)
            self.assertIn(f"xzfsctl umount {name}", err)

    def test_umount_removes_a_dead_mount(self):
        for words, code in (((), 0), (("--wait",), 2)):
            mount, name = self.dead_mount()
            _, err = self.ctl("umount", *words, name, code=code)
            self.assertIn("the next mount goes on with the files that were pending", err)
            self.assertFalse(os.path.ismount(mount.path))
            self.assertEqual(os.listdir(mount.path), [])
            os.unlink(self.path("link"))
        self.assertEqual(read_file(os.path.join(self.source, "file")), b"content")

    def test_umount_removes_a_dead_mount_that_a_process_is_in(self):
        mount = self.enterContext(WriteMount(self.source))
        with open(os.devnull, "rb") as null, subprocess.Popen(
                ["cat"], stdin=subprocess.PIPE, stdout=null.fileno(), cwd=mount.path) as inside:
            os.kill(mount.pid, signal.SIGKILL)
            mount.process.wait(60)
            mount.ended = True
            self.ctl("umount", mount.path)
            self.assertFalse(os.path.ismount(mount.path))
            inside.stdin.close()

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_the_message_for_other_users_says_who_may(self):
        with WriteMount(self.source, "allow_other") as mount:
            _, err = self.ctl("umount", mount.path, code=1, as_nobody=True)
            self.assertEqual(err, f"xzfsctl: {mount.path}: only root and the user who mounted it "
                                  "(uid 0) may unmount it\n")
        with WriteMount(self.source) as mount:
            for command in ("stats", "umount", "sync", "top", "info", "report"):
                _, err = self.ctl(command, mount.path, code=1, as_nobody=True)
                self.assertIn("Permission denied", err)
                self.assertIn("uid 0", err)
                self.assertIn("allow_other", err)

    def test_umount_of_a_mount_in_use_says_so(self):
        make_compressed(self.source, "file", b"content")
        with Mount(self.source) as mount:
            with open(mount / "file", "rb"):
                _, err = self.ctl("umount", "--wait", mount.path, code=1)
                self.assertIn("is in use", err)
                self.assertEqual(read_file(mount / "file"), b"content")
            self.ctl("umount", mount.path)
            wait_until(lambda: not mount.alive(), "the daemon ends")


if __name__ == "__main__":
    support.main()
