"""pack, unpack and reblock are stopped at each system call while a mount of the source writes to the
file: they never undo what was written through the mount."""

import collections
import contextlib
import errno
import os
import random
import signal
import subprocess
import sys

import support
import write_support
import xzformat
from ctl_support import CTL, MountCtlTest, environment
from support import wait_until
from write_support import WriteMount, read_file

CALLS = ("renameat2", "linkat", "unlinkat", "fsync", "openat2", "newfstatat", "fcntl", "flock",
         "getdents64", "pread64")
PLAIN = xzformat.text(5, 30_000)
EDIT = b"edited through the mount"


def stands(pid):
    """Whether every thread is stopped, and not just because strace looks at it."""
    try:
        for _ in range(3):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as file:
                    if file.read().rpartition(")")[2].split()[0] not in "tT":
                        return False
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


def edit(file):
    file.write(EDIT)
    os.fsync(file.fileno())


class Races(MountCtlTest):
    def setUp(self):
        super().setUp()
        self.mount = self.enterContext(WriteMount(
            self.source, "preset=0,block_size=4KiB,settle=3600,entry_timeout=0,attr_timeout=0"))
        # Gives the mount its session: otherwise it could wait for the lock of a command that the test stops.
        write_support.write_file(self.mount / "own", b"")
        self.mount.sync()

    def strace(self, *words):
        with open(self.path("log"), "wb"):
            pass  # a fresh file for each run
        return subprocess.Popen(["strace", "-f", "-qq", "-o", self.path("log"), *words],
                                cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    def prepare(self, command, name):
        if command == "pack":
            with open(os.path.join(self.source, name), "wb") as file:
                file.write(PLAIN)
        else:
            support.make_compressed(self.source, name, PLAIN)
        self.assertEqual(os.path.getsize(self.mount / name), len(PLAIN))

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def places(self, command, words):
        """The calls that the command makes: (name, number, turn). strace counts by thread, so several
        calls have the same number; the turn distinguishes them."""
        self.prepare(command, "first")
        self.assertEqual(self.strace("-e", "trace=" + ",".join(CALLS), CTL, *words,
                                     self.source).wait(60), 0)
        counts = collections.Counter()
        for line in self.log().splitlines():
            thread, _, call = line.partition(" ")
            counts[call.strip().partition("(")[0], thread] += 1
        os.unlink(self.mount / "first")
        turns = collections.Counter()
        for (call, _), count in counts.items():
            turns.update((call, number) for number in range(1, count + 1) if call in CALLS)
        return [(*place, turn) for place, most in turns.items() for turn in range(1, most + 1)]

    def stopped_at(self, call, number, turn, words):
        """The command, stopped after that call, and its pid; None if it ended before."""
        tracer = self.strace("-e", "trace=" + call, "-e",
                             f"inject={call}:signal=STOP:when={number}", CTL, *words, self.source)

        def tracee():
            with contextlib.suppress(FileNotFoundError), open(
                    f"/proc/{tracer.pid}/task/{tracer.pid}/children", encoding="ascii") as file:
                return next((int(pid) for pid in file.read().split()), None)
            return None

        def stops(count):
            pid = tracee()
            return tracer.poll() is not None or (
                pid is not None and self.log().count("--- SIGSTOP") >= count and stands(pid))

        def goes_on(count):
            return tracer.poll() is not None or self.log().count("--- SIGCONT") >= count
        for count in range(1, turn + 1):
            wait_until(lambda count=count: stops(count), "the command stops or ends", 60)
            if tracer.poll() is None and count != turn:
                os.kill(tracee(), signal.SIGCONT)
                wait_until(lambda count=count: goes_on(count), "the command goes on", 60)
        return tracer, tracee() if tracer.poll() is None else None

    @staticmethod
    def has_ended(tracer, pid):
        """Lets the command go on; another of its threads may be stopped later."""
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return tracer.poll() is not None

    def sync(self):
        """Whether everything is committed. It isn't while the command has the file, or if the base of
        the changes is gone."""
        try:
            self.mount.sync()
        except OSError:
            return False
        return True

    def sweep(self, command, *options):
        words = [command, "-T1", *options]
        places = self.places(command, words)
        self.assertGreater(len(places), 20)
        rng = random.Random(os.environ.get("XZFS_TEST_SEED", "1"))
        chosen = rng.sample(places, min(len(places), support.scaled(60, 8)))
        stops = 0
        for count, place in enumerate(chosen):
            for commit in (True, False):
                name = f"f{count}{commit}"
                what = f"{command}, at {place}, commit: {commit}"
                self.prepare(command, name)
                # As a program would that had it open before.
                with open(self.mount / name, "rb+", buffering=0) as file:
                    tracer, pid = self.stopped_at(*place, words)
                    stops += pid is not None
                    try:
                        edit(file)
                    except OSError as error:
                        # It was replaced already; the program learns of it and opens it again.
                        self.assertEqual(error.errno, errno.ESTALE, what)
                        with open(self.mount / name, "rb+", buffering=0) as again:
                            edit(again)
                committed = commit and self.sync()
                wait_until(lambda: self.has_ended(tracer, pid), "the command ends", 60)
                error = tracer.stderr.read().decode()
                tracer.stderr.close()
                self.sync()
                self.check(name, what + "\n" + error, committed)
                os.unlink(self.mount / name)
        print(f"{self.id()}: {len(chosen)} of {len(places)} places, {stops} stops",
              file=sys.stderr)
        self.assertGreater(stops, len(chosen) // 4)

    def check(self, name, what, committed):
        self.assertEqual([entry for entry in os.listdir(self.mount.path) if entry not in (name, "own")], [],
                         what)
        content = read_file(self.mount / name)
        lost = os.path.join(self.source, ".xzfs", "lost+found")
        saved = os.path.isdir(lost) and any(EDIT in read_file(os.path.join(lost, file))
                                            for file in os.listdir(lost))
        if not committed and saved:
            self.assertEqual(content, PLAIN, what)
            support.run(["rm", "-r", lost])
            return
        self.assertEqual(content[:len(EDIT)], EDIT, what)
        self.assertEqual(content[len(EDIT):], PLAIN[len(EDIT):], what)

    def test_pack(self):
        self.sweep("pack", "-0")

    def test_unpack(self):
        self.sweep("unpack")

    def test_reblock(self):
        self.sweep("reblock", "-f", "--block-size=8KiB")


if __name__ == "__main__":
    support.main()
