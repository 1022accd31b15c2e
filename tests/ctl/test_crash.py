"""kill -9 of pack, unpack and reblock at every system call: each file is complete, old or new."""

import collections
import os
import random
import subprocess
import sys

import ctl_trees
import support
import xzformat
from ctl_support import CTL, CtlTest, environment, write

KIB = 1 << 10
# The calls that change something, and the calls that look before and after.
CALLS = ("renameat2", "linkat", "unlinkat", "fsync", "fdatasync", "pwrite64", "openat2", "mkdirat", "fchmod", "utimensat",
         "fcntl", "flock", "newfstatat", "statx", "sync_file_range", "ftruncate", "pread64")
CONTENTS = {f"d/{name}": xzformat.text(number, 20 * KIB + number)
            for number, name in enumerate(("a", "b.log", "x.xz"))}
# One file with two names.
CONTENTS["d/e/link"] = CONTENTS["d/linked"] = xzformat.text(9, 15 * KIB)


class Crash(CtlTest):
    def setUp(self):
        # In memory: the test is about the calls, not about the disk.
        self.folder = self.enterContext(support.temp_dir("/dev/shm/xzfsctl-"))

    def strace(self, *words):
        return subprocess.run(["strace", "-f", "-qq", "-o", self.path("log"), *words],
                              cwd=self.folder, env=environment(), capture_output=True,
                              timeout=120 * support.SLOWNESS, check=False)

    def prepare(self, command):
        support.run(["rm", "-rf", self.path("t")])
        for name, content in CONTENTS.items():
            if name == "d/linked" and command != "reblock":
                os.link(self.path("t", "d/e/link"), self.path("t", name))
            else:
                write(self.path("t", name), content)
                os.utime(self.path("t", name), ns=(1, 1_500_000_000_000_000_003))
        if command != "pack":
            for name, content in CONTENTS.items():
                if name == "d/linked" and command != "reblock":
                    os.link(self.path("t", "d/e/link.xz"), self.path("t", name + ".xz"))
                else:
                    compressed = support.make_compressed(self.path("t"), name, content)
                    os.utime(compressed, ns=(1, 1_500_000_000_000_000_003))
                os.unlink(self.path("t", name))

    def check(self, what):
        """Every file is there, complete, in one form or in both."""
        for name, content in CONTENTS.items():
            compressed = self.path("t", name + ".xz")
            forms = []
            for plain in (self.path("t", name), self.path("t", name + ".xzhot")):
                if os.path.exists(plain):
                    with open(plain, "rb") as file:
                        forms.append(file.read())
            if os.path.exists(compressed):
                forms.append(support.run(["xz", "-dc", compressed]))
            self.assertGreater(len(forms), 0, f"{what}: {name} is gone")
            for form in forms:
                self.assertEqual(form, content, f"{what}: {name}")

    def sweep(self, command, options, done):
        """`done` checks the files after the command ran again."""
        words = [CTL, command, "-T1", *options, "t"]
        self.prepare(command)
        self.strace("-e", "trace=" + ",".join(CALLS), *words)
        done()
        form = "" if command == "unpack" else ".xz"
        self.assertEqual(os.stat(self.path("t", "d/linked" + form)).st_nlink,
                         1 if command == "reblock" else 2)
        counts = collections.Counter()
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            for line in log:
                thread, _, call = line.partition(" ")
                counts[call.strip().partition("(")[0], thread] += 1
        # strace counts the calls of each thread separately.
        most = collections.Counter()
        for (call, _), count in counts.items():
            most[call] = max(most[call], count)
        places = [(call, number) for call in CALLS for number in range(1, most[call] + 1)]
        self.assertGreater(len(places), 50)
        rng = random.Random(os.environ.get("XZFS_TEST_SEED", "1"))
        chosen = rng.sample(places, min(len(places), support.scaled(40, 10)))
        # The calls that change files are always all tried.
        chosen += [place for place in places if place[0] in ("renameat2", "linkat", "unlinkat", "fsync", "fdatasync")
                   and place not in chosen]
        killed = 0
        for call, number in chosen:
            self.prepare(command)
            what = f"{command} killed at {call} {number}"
            ended = self.strace("-e", "trace=" + call, "-e",
                                f"inject={call}:signal=KILL:when={number}", *words)
            killed += ended.returncode != 0
            self.check(what)
            self.ctl(command, "-T1", *options, "t")
            self.check(what + ", and run again")
            done()
            self.assertFalse(os.path.exists(self.path("t", ".xzfs")), f"{what}: leftovers")
        print(f"{self.id()}: {len(chosen)} of {len(places)} places, {killed} kills",
              file=sys.stderr)
        self.assertGreater(killed, len(chosen) * 3 // 4)

    def names(self):
        return {name for name in ctl_trees.stored(self.path("t"))}

    def test_pack(self):
        self.sweep("pack", ["-0"], lambda: self.assertEqual(
            self.names(), {name + ".xz" for name in CONTENTS}))

    def test_unpack(self):
        # x.xz is the plain file's name; its stored name is escaped.
        self.sweep("unpack", [], lambda: self.assertTrue(
            self.names() <= {*CONTENTS, "d/x.xz.xzhot"} and len(self.names()) == len(CONTENTS),
            self.names()))

    def test_reblock(self):
        self.sweep("reblock", ["--block-size=8KiB"], lambda: self.assertEqual(
            self.names(), {name + ".xz" for name in CONTENTS}))


if __name__ == "__main__":
    support.main()
