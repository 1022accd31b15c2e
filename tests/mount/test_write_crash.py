"""kill -9 of the daemon at any moment: acknowledged data is there, everything else is old or new."""

import glob
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock

import support
import write_scenarios
import write_support
import xzformat
from support import MIB, wait_until
from write_scenarios import CHANGES, OPTIONS, Sweep, act, check_recovered, prepare
from write_support import (Strace, WriteMount, assert_valid, patched, read_file, stored_path,
                           write_at, write_file)


class FromTheStart(WriteMount):
    """A mount with strace on its daemon from the first call on; the daemon stays our child."""

    def __init__(self, source, options, *expressions):
        super().__init__(source, options)
        self._expressions = expressions

    def _start(self):
        self._logs = tempfile.mkdtemp(prefix="xzfs-strace-")
        program = os.path.join(self._folder, "xzfs")
        words = ["strace", "-D", *Strace.flags(self._logs, self._expressions), support.BINARY]
        with open(program, "w", encoding="ascii") as script:
            script.write("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in words) + ' "$@"\n')
        os.chmod(program, 0o755)
        with unittest.mock.patch.object(support, "BINARY", program):
            super()._start()

    def calls(self):
        return write_support.read_calls(self._logs)

    def _clean_up(self):
        super()._clean_up()
        support.run(["rm", "-rf", self._logs])


class AtEachCall(support.MountTest):
    """strace kills the daemon on entering the K-th call of a kind."""

    def test_operations_are_atomic_and_what_was_acknowledged_stays(self):
        sweep = Sweep(self, write_scenarios.all_scenarios(), CHANGES, 35)
        for scenario, call, number in sweep:
            what = f"{scenario.name}, killed at {call} {number}"
            with support.temp_dir("xzfs-source-") as source:
                allowed, killed = self.kill_at(source, scenario, call, number)
                sweep.hit += killed
                check_recovered(self, source, allowed, what)
        sweep.report("kills")

    def kill_at(self, source, scenario, call, number):
        """The trees that may exist then, and whether the daemon was killed before it did all steps."""
        mount = prepare(self, source, scenario)
        with Strace(mount.pid, f"trace={call}", f"inject={call}:signal=KILL:when={number}"):
            allowed, error = act(scenario, mount)
            if error is not None:
                wait_until(lambda: not mount.alive(), f"{scenario.name} fails only by the kill at "
                           f"{call} {number}, not with {error}", 5)
            killed = not mount.alive()
        mount.kill()
        mount.__exit__(None, None, None)
        return allowed, killed

    def test_recovery_is_killed_and_repeated(self):
        """A kill cuts off the operation, then the recovery, twice; the third mount completes it."""
        scenarios = [*write_scenarios.commits(), *write_scenarios.renames()]
        sweep = Sweep(self, scenarios, ("renameat2", "unlinkat", "fsync", "linkat"), 25)
        for scenario, call, number in sweep:
            with support.temp_dir("xzfs-source-") as source:
                allowed, _ = self.kill_at(source, scenario, call, number)
                for turn in range(2):
                    where = sweep.rng.choice(("renameat2", "unlinkat", "fsync", "openat", "pwrite64",
                                              "linkat", "ftruncate"))
                    when = sweep.rng.randrange(1, 8)
                    sweep.hit += self.kill_recovery(source, where, when)
                check_recovered(self, source, allowed, f"{scenario.name}, killed at {call} {number},"
                                f" its recovery at {where} {when}")
        sweep.report("recoveries killed")

    def kill_recovery(self, source, call, number):
        """Whether the daemon died while it recovered and committed what it found."""
        mount = FromTheStart(source, OPTIONS, f"trace={call}",
                             f"inject={call}:signal=KILL:when={number}")
        try:
            mount.__enter__()
        except (AssertionError, OSError):
            if mount.process.poll() is None or mount.process.returncode != -signal.SIGKILL:
                raise
            return True
        try:
            mount.sync()
        except OSError:
            pass
        killed = mount.process.poll() == -signal.SIGKILL
        mount.kill()
        mount.__exit__(None, None, None)
        return killed


class Writer:
    """Changes its own files in one thread; knows which changes are acknowledged and which are running."""

    def __init__(self, number, rng):
        self.number, self.rng = number, rng
        self.tree = {}     # what every later mount must show, by name
        self.pending = None  # (kind, {name: content or None} afterwards) while a call is running
        self.acknowledged = 0

    def names(self):
        return [f"w{self.number}-{letter}" for letter in "abcd"] + [f"w{self.number}.xz"]

    def attempt(self, kind, after, call):
        """Makes one call, or several that lead to `after`."""
        self.pending = (kind, after)
        call()
        for name, content in after.items():
            if content is None:
                self.tree.pop(name, None)
            else:
                self.tree[name] = content
        self.pending = None
        self.acknowledged += 1

    def step(self, root):
        rng = self.rng
        name = rng.choice(self.names())
        path = os.path.join(root, name)
        old = self.tree.get(name)
        if old is None:
            fd = None

            def create():
                nonlocal fd
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            self.attempt("exact", {name: b""}, create)
            content = xzformat.text(rng.randrange(100), rng.randrange(1, 120_000))
            try:
                self.attempt("bytes", {name: content},
                             lambda: write_support.write_all(fd, content))
            finally:
                os.close(fd)
            return
        kind = rng.choice(("write", "write", "write", "append", "truncate", "rename", "unlink"))
        if kind == "write":
            at = rng.randrange(len(old) + 1000)
            new = rng.randbytes(rng.randint(1, 4096))
            self.attempt("bytes", {name: patched(old, at, new)}, lambda: write_at(path, at, new))
        elif kind == "append":
            new = rng.randbytes(rng.randint(1, 4096))
            self.attempt("bytes", {name: old + new}, lambda: write_at(path, len(old), new))
        elif kind == "truncate":
            size = rng.randrange(len(old) + 5000)
            self.attempt("exact", {name: old[:size] + bytes(max(0, size - len(old)))},
                         lambda: os.truncate(path, size))
        elif kind == "rename":
            other = rng.choice(self.names())
            if other != name:
                self.attempt("exact", {name: None, other: old},
                             lambda: os.rename(path, os.path.join(root, other)))
        elif len(self.tree) > 2:
            self.attempt("exact", {name: None}, lambda: os.unlink(path))

    def check(self, test, got, what):
        """`got` is {name: content} of this writer's names. From here on it is acknowledged."""
        before = self.tree
        kind, after = self.pending or ("exact", {})
        changed = {name: before.get(name) for name in after}
        test.assertEqual({name: len(content) for name, content in got.items() if name not in after},
                         {name: len(content) for name, content in before.items()
                          if name not in after}, f"{what}: names and sizes")
        for name, content in before.items():
            if name not in after:
                support.assert_same(test, got[name], content, f"{what}: {name}")
        now = {name: got.get(name) for name in after}
        if now not in (changed, after):
            if kind != "bytes":
                test.fail(f"{what}: {list(after)} are neither as before nor as after")
            (name,) = after
            old, new, seen = before[name], after[name], got.get(name)
            test.assertIsNotNone(seen, f"{what}: {name} is missing")
            test.assertLessEqual(min(len(old), len(new)), len(seen))
            test.assertLessEqual(len(seen), max(len(old), len(new)))
            for at, byte in enumerate(seen):
                if byte not in (old[at:at + 1] or b"\0") + new[at:at + 1]:
                    test.fail(f"{what}: {name} has a byte of neither at {at}")
        self.tree, self.pending = dict(got), None


class AtRandom(support.MountTest):

    def test_nothing_that_was_acknowledged_is_lost(self):
        """Writers note which calls returned, while the test kills the daemon again and again."""
        rng = random.Random(f"{write_support.SEED} {self.id()}")
        writers = [Writer(number, random.Random(rng.random())) for number in range(3)]
        end = time.monotonic() + write_support.seconds(15)
        kills = in_flight = pending = commits = 0
        # On a busy machine it takes longer until the test has killed the daemon in each of these states.
        while time.monotonic() < end or kills < 3 or not (in_flight and pending and commits):
            options = f"{OPTIONS},settle={rng.choice((0, 0, 0.02, 1000))}"
            mount = WriteMount(self.source, options)
            with mount:
                what = f"after {kills} kills"
                for writer in writers:
                    writer.check(self, {name: read_file(mount / name)
                                        for name in os.listdir(mount.path)
                                        if name in writer.names()}, what)
                threads = [threading.Thread(target=self.write, args=(writer, mount.path))
                           for writer in writers]
                for thread in threads:
                    thread.start()
                wait_until(lambda: mount.process.poll() is not None
                           or any(writer.acknowledged > 5 for writer in writers), "writes are done")
                time.sleep(rng.random() * 0.4)  # the moment is the test's random choice
                figures = mount.commits()
                commits += figures["done"]
                pending += figures["pending"]
                mount.kill_daemon()
                for thread in threads:
                    thread.join(support.HANGS_S)
                    self.assertFalse(thread.is_alive(), "a writer hangs after the daemon died")
                mount.reap()
                kills += 1
                in_flight += sum(writer.pending is not None for writer in writers)
                for writer in writers:
                    writer.acknowledged = 0
        tree = {}
        with WriteMount(self.source, OPTIONS) as mount:
            for writer in writers:
                writer.check(self, {name: read_file(mount / name)
                                    for name in os.listdir(mount.path) if name in writer.names()},
                             "at last")
                tree.update(writer.tree)
            mount.sync()
        write_scenarios.assert_names_and_sizes(
            self, write_support.stored_snapshot(self.source), tree, "at last")
        self.assertEqual(write_support.leftovers(self.source), [])
        print(f"{self.id()}: {kills} kills, {in_flight} calls in flight, {pending} pending, "
              f"{commits} commits", file=sys.stderr)

    @staticmethod
    def write(writer, root):
        try:
            while True:
                writer.step(root)
        except OSError:
            pass  # the daemon is dead


class AtTheEnd(support.MountTest):
    """Signals, and the commits that an unmount leaves to the next mount."""

    CONTENT = xzformat.text(30, MIB) * 24

    def begin(self):
        """A mount with a plain and an edited file, whose commits take seconds."""
        mount = WriteMount(self.source, "preset=9e,block_size=1MiB,compress_threads=1")
        mount.__enter__()
        write_file(mount / "edited", self.CONTENT[:100_000])
        mount.sync()
        write_at(mount / "edited", 50_000, self.CONTENT)
        write_file(mount / "plain", self.CONTENT)
        return mount, {"edited": patched(self.CONTENT[:100_000], 50_000, self.CONTENT),
                       "plain": self.CONTENT}

    def check(self, wanted):
        with WriteMount(self.source, "preset=0,block_size=1MiB") as mount:
            for name, content in wanted.items():
                support.assert_same(self, read_file(mount / name), content, name)
            mount.sync()
            for name in wanted:
                self.assertEqual(mount.state(name), "compressed")
        for name, content in wanted.items():
            assert_valid(self, stored_path(self.source, name), content)
        self.assertEqual(write_support.leftovers(self.source), [])

    def test_a_second_signal_leaves_pending_files_to_the_next_mount(self):
        mount, wanted = self.begin()
        mount.process.send_signal(signal.SIGTERM)
        wait_until(lambda: any(os.stat(path).st_size for path in
                               glob.glob(self.source + "/.xzfs/*/*.tmp") if os.path.exists(path)),
                   "the first signal makes it commit")
        self.assertTrue(mount.alive())
        mount.process.send_signal(signal.SIGTERM)
        self.assertEqual(mount.process.wait(support.HANGS_S * support.SLOWNESS), 0)
        mount.ended = True
        mount.__exit__(None, None, None)
        self.assertTrue(os.path.exists(os.path.join(self.source, "plain"))
                        or os.listdir(os.path.join(self.source, ".xzfs")), "something was parked")
        self.check(wanted)

    def test_a_mount_after_a_killed_one_shows_all_changes_at_once(self):
        mount, wanted = self.begin()
        mount.kill()
        mount.__exit__(None, None, None)
        self.check(wanted)

    def test_a_second_daemon_does_not_adopt_the_files_of_a_living_one(self):
        """The same source is mounted a second time while the first mount has pending files."""
        first, wanted = self.begin()
        with WriteMount(self.source, "preset=0") as second:
            self.assertEqual(second.commits()["pending"], 0)
            write_file(second / "other", b"other " * 1000)
            second.sync()
            # The overlay belongs to the first mount.
            self.assertEqual(first.state("edited"), "edited")
            support.assert_same(self, read_file(first / "edited"), wanted["edited"], "edited")
        first.kill()
        first.__exit__(None, None, None)
        self.check({**wanted, "other": b"other " * 1000})

    def test_the_descriptors_of_a_dead_mount_fail_and_do_not_hang(self):
        mount, wanted = self.begin()
        program = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.pwrite(fd, b"acknowledged", 0)
print("written", flush=True)
sys.stdin.readline()
for act in (lambda: os.pwrite(fd, b"too late", 0), lambda: os.fsync(fd)):
    try:
        act()
        print("succeeds")
    except OSError as error:
        print("fails", error.errno)
"""
        process = subprocess.Popen([sys.executable, "-c", program, mount / "plain"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"written\n")
        mount.kill()
        mount.__exit__(None, None, None)
        out, _ = process.communicate(b"go\n", timeout=30)
        self.assertEqual(out.count(b"fails"), 2, out)
        wanted["plain"] = patched(wanted["plain"], 0, b"acknowledged")
        self.check(wanted)


if __name__ == "__main__":
    support.main()
