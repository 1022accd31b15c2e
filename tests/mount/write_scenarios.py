"""Small operations that tests cut off anywhere, with the tree that must exist after each step.

A scenario has files in some state at the beginning, and steps. A step that returned is acknowledged:
its tree must exist whatever happens afterwards. A step that was cut off leaves its tree or the one
before it, never anything else.
"""

import collections
import contextlib
import itertools
import os
import random
import stat
import sys
import time

import support
import write_support
import xzformat
from write_model import EXCHANGE, WHITEOUT, renameat2
from write_support import STATES, Strace, WriteMount, patched, read_file, write_at, write_file

OPTIONS = "block_size=64KiB,preset=0,compress_threads=1,entry_timeout=0,attr_timeout=0"
ONE, TWO = xzformat.text(21, 150_000), xzformat.text(22, 100_000)

# The content that stands for a character device 0/0 in a tree.
A_WHITEOUT = b"a whiteout"

# Calls that change something. Other moments of a kill leave the same as a kill just before one of them.
CHANGES = ("openat", "openat2", "fsync", "fdatasync", "renameat2", "renameat", "unlinkat", "linkat",
           "mkdirat", "mknodat", "symlinkat", "ftruncate", "fallocate", "pwrite64", "write",
           "copy_file_range", "fchown", "fchownat", "fchmod", "fchmodat", "utimensat", "fsetxattr",
           "lsetxattr", "fremovexattr", "lremovexattr")
LOOKS = ("newfstatat", "fstat", "pread64", "getdents64", "flistxattr", "fgetxattr", "statx", "flock")

# `begin` is {name: (content, state)}; a step is (act(mount), tree after it); a tree is {name:
# content}. `also` are trees between those before and after a step of several calls.
Scenario = collections.namedtuple("Scenario", "name begin steps also", defaults=((),))


def _tree(begin):
    return {name: content for name, (content, _) in begin.items()}


def _without(tree, *names):
    return {name: content for name, content in tree.items() if name not in names}


def commits():
    yield Scenario("commit a plain file", {"file": (ONE, "plain")},
                   [(lambda mount: mount.sync(), {"file": ONE})])
    yield Scenario("commit an edited file", {"file": (ONE, "edited")},
                   [(lambda mount: mount.sync(), {"file": ONE})])
    yield Scenario("commit a file with a suffix", {"file.xz": (ONE, "plain")},
                   [(lambda mount: mount.sync(), {"file.xz": ONE})])


def changes():
    new = patched(ONE, 70_000, b"changed")
    for state in STATES:
        begin = {"file": (ONE, state), "other": (TWO, "compressed")}
        yield Scenario(f"write to a {state} file", begin, [
            (lambda mount: write_at(mount / "file", 70_000, b"changed"), {"file": new, "other": TWO}),
            (lambda mount: mount.sync(), {"file": new, "other": TWO})])
        yield Scenario(f"truncate a {state} file", begin, [
            (lambda mount: os.truncate(mount / "file", 66_000),
             {"file": ONE[:66_000], "other": TWO}),
            (lambda mount: os.truncate(mount / "file", 70_000),
             {"file": ONE[:66_000] + bytes(4000), "other": TWO})])
        yield Scenario(f"open a {state} file with O_TRUNC", begin, [
            (lambda mount: os.close(os.open(mount / "file", os.O_WRONLY | os.O_TRUNC)),
             {"file": b"", "other": TWO})])
        yield Scenario(f"unlink a {state} file", begin, [
            (lambda mount: os.unlink(mount / "file"), {"other": TWO})])
        yield Scenario(f"link a {state} file", begin, [
            (lambda mount: os.link(mount / "file", mount / "link"),
             {"file": ONE, "link": ONE, "other": TWO})])
    yield Scenario("create a file", {}, [
        (lambda mount: write_file(mount / "file", b"short"), {"file": b"short"})],
        ({"file": b""},))


def renames():
    for one, two in itertools.product(STATES, (*STATES, None)):
        begin = {"one": (ONE, one)}
        if two is not None:
            begin["two"] = (TWO, two)
        after = {"two": ONE}
        yield Scenario(f"rename {one} over {two}", begin, [
            (lambda mount: os.rename(mount / "one", mount / "two"), after),
            (lambda mount: mount.sync(), after)])
        if two is not None:
            yield Scenario(f"exchange {one} with {two}", begin, [
                (lambda mount: renameat2(mount / "one", mount / "two", EXCHANGE),
                 {"one": TWO, "two": ONE})])


def whiteouts():
    """RENAME_WHITEOUT: afterwards a device has the old name, never a file, and the old name always
    exists while the new one does."""
    for one, two in itertools.product(STATES, (*STATES, None)):
        begin = {"one": (ONE, one)}
        if two is not None:
            begin["two"] = (TWO, two)
        after = {"one": A_WHITEOUT, "two": ONE}
        yield Scenario(f"rename {one} over {two}, leaving a whiteout", begin, [
            (lambda mount: renameat2(mount / "one", mount / "two", WHITEOUT), after),
            (lambda mount: mount.sync(), after)])


def all_scenarios():
    return [*commits(), *changes(), *renames(), *(whiteouts() if os.geteuid() == 0 else ())]


def prepare(test, source, scenario):
    """A mount of `source` with the scenario's files in their states."""
    mount = WriteMount(source, OPTIONS)
    mount.__enter__()
    try:
        # The same as OnMount.store_all does.
        for name, (content, state) in scenario.begin.items():
            if state != "plain":
                before = patched(content, 1000, b"\0")
                write_file(mount / name, content if state == "compressed" else before)
        mount.sync()
        for name, (content, state) in scenario.begin.items():
            if state == "plain":
                write_file(mount / name, content)
            elif state == "edited":
                write_at(mount / name, 1000, content[1000:1001])
        for name, (_, state) in scenario.begin.items():
            test.assertEqual(mount.state(name), state, f"{scenario.name}: {name}")
    except BaseException:
        mount.kill()
        mount.__exit__(None, None, None)
        raise
    return mount


def act(scenario, mount):
    """Does the steps; returns the trees that may exist afterwards, and the error if any."""
    tree = _tree(scenario.begin)
    for step, after in scenario.steps:
        try:
            step(mount)
        except OSError as error:
            return [tree, after, *scenario.also], error
        tree = after
    return [tree], None


def tree_of(folder):
    def look(path):
        st = os.lstat(path)
        return A_WHITEOUT if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0 else read_file(path)

    return {name: look(os.path.join(folder, name)) for name in os.listdir(folder)}


def assert_allowed(test, got, allowed, what):
    """`got` is one of the trees."""
    if got in allowed:
        return
    lines = [f"{what}: {len(allowed)} trees are allowed, none of them is there"]
    for tree in allowed:
        for name in sorted(set(tree) | set(got)):
            if name not in got or name not in tree:
                lines.append(f"  {name}: {'missing' if name not in got else 'should be gone'}")
            elif got[name] != tree[name]:
                at = next((i for i, (a, b) in enumerate(zip(got[name], tree[name])) if a != b),
                          min(len(got[name]), len(tree[name])))
                lines.append(f"  {name}: {len(got[name])} bytes, wanted {len(tree[name])}, "
                             f"first difference at {at}")
        lines.append("  or")
    test.fail("\n".join(lines[:-1]))


def check_recovered(test, source, allowed, what):
    """The next mount has one of the trees, commits it, and leaves nothing behind."""
    with WriteMount(source, OPTIONS) as mount:
        got = tree_of(mount.path)
        assert_allowed(test, got, allowed, f"{what}: mounted again")
        mount.sync()
        assert_allowed(test, tree_of(mount.path), [got], f"{what}: after a sync")
    stored = write_support.stored_snapshot(source)
    assert_names_and_sizes(test, stored, got, what)
    test.assertEqual(write_support.leftovers(source), [], what)
    return got


def assert_names_and_sizes(test, stored, got, what):
    test.assertEqual({name.decode(): entry.content for name, entry in stored.items()},
                     {name: 0 if content is A_WHITEOUT else write_support.digest(content)
                      for name, content in got.items()},
                     f"{what}: stored")


def points(test, scenario, calls):
    """[(call, number)]: for each call, how often the thread that makes it most often does so in the
    scenario's steps. Calls that also talk to the kernel's FUSE are left out."""
    with support.temp_dir("xzfs-source-") as source:
        with contextlib.ExitStack() as stack:
            mount = prepare(test, source, scenario)
            stack.push(mount)
            strace = stack.enter_context(Strace(mount.pid, "trace=all"))
            allowed, error = act(scenario, mount)
            test.assertIsNone(error, f"{scenario.name}: {error}")
            test.assertEqual(len(allowed), 1)
            strace.detach()
            made = strace.calls()
        with_fuse = {call.name for call in made if "</dev/fuse" in call.text}
        most = collections.Counter()
        for (_, name), count in collections.Counter(
                (call.thread, call.name) for call in made).items():
            most[name] = max(most[name], count)
        check_recovered(test, source, allowed, scenario.name)
    return [(name, number) for name in calls if name not in with_fuse
            for number in range(1, most[name] + 1)]


class Sweep:
    """Visits all points of all scenarios in random order until the time is over.

    Each scenario gets its turn; with more time (XZFS_TEST_SECONDS, XZFS_TEST_SCALE) it visits all
    points. It prints how many it visited.
    """

    def __init__(self, test, scenarios, calls, seconds):
        self.test, self.calls = test, calls
        self.end = time.monotonic() + write_support.seconds(seconds) * support.SLOWNESS
        self.rng = random.Random(f"{write_support.SEED} {test.id()}")
        self.scenarios = list(scenarios)
        self.rng.shuffle(self.scenarios)
        self.found = self.done = self.hit = 0

    def __iter__(self):
        left = []
        for scenario in self.scenarios:
            found = points(self.test, scenario, self.calls)
            self.found += len(found)
            self.rng.shuffle(found)
            # At least two of each, also if there is no time for all.
            for call, number in found[:2]:
                self.done += 1
                yield scenario, call, number
            left += [(scenario, *point) for point in found[2:]]
            if time.monotonic() > self.end:
                break
        self.rng.shuffle(left)
        for point in left:
            if time.monotonic() > self.end:
                break
            self.done += 1
            yield point

    def report(self, what):
        print(f"{self.test.id()}: {self.hit} {what} at {self.done} of {self.found} points",
              file=sys.stderr)
        self.test.assertGreater(self.hit, 0, f"nothing was {what}")
