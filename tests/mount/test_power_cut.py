"""The power fails at any moment: a file that had a name keeps its old content or has its whole new one.

The programs that write sync nothing. The disk logs all writes (disk_log.py). The test mounts the source
as it would be after a cut: after each flush, after a sample of the writes between flushes, and without
a sample of the writes that no flush followed. XZFS_TEST_SECONDS and XZFS_TEST_SCALE say for how long;
with enough time the test covers every flush of every scenario.
"""

import os
import sys
import time

import disk_log
import support
import write_scenarios
import write_support
from power_support import Cuts, PowerTest
from write_model import EXCHANGE, renameat2
from write_scenarios import ONE, TWO, Scenario
from write_support import STATES, patched, write_at, write_file

CTL = os.environ.get("XZFSCTL_BINARY", "")
EDITED = patched(ONE, 70_000, b"changed")


class Case:
    """A scenario, and what may exist after a cut: `judge(tree)` returns what is wrong, or None."""

    def __init__(self, scenario, judge=None):
        self.name, self.scenario = scenario.name, scenario
        self.trees = [{name: content for name, (content, _) in scenario.begin.items()}]
        self.trees += [after for _, after in scenario.steps] + list(scenario.also)
        self._judge = judge

    def judge(self, tree):
        if self._judge is not None:
            return self._judge(tree)
        return None if tree in self.trees else "none of the trees that are allowed"


def _old_or_new(old, new, fresh):
    """`two` is the old or the new file, and `one` is gone if `two` is the new one. Otherwise `one`,
    which nobody synced, has its old or its new content; a `fresh` file may have any content."""
    def judge(tree):
        if set(tree) - {"one", "two"}:
            return f"a name too many: {sorted(tree)}"
        if tree.get("two") == new:
            return "one is still there" if "one" in tree else None
        if tree.get("two") != old:
            return "two is neither the old nor the new file"
        return None if fresh or tree.get("one") in (ONE, new) else "one is not what it was"
    return judge


def _exchanged(old, new, fresh):
    def judge(tree):
        if set(tree) - {"one", "two"}:
            return f"a name too many: {sorted(tree)}"
        if tree.get("two") == new and tree.get("one") == old:
            return None
        if tree.get("two") != old:
            return "two is neither the old nor the new file"
        return None if fresh or tree.get("one") in (ONE, new) else "one is not what it was"
    return judge


def unsynced_renames():
    """A file with content that nobody has synced takes the name of a file that is on the disk."""
    over = {"two": ONE}
    for state in STATES:
        def fresh(mount):
            write_file(mount / "one", ONE)

        def edit(mount):
            write_at(mount / "one", 70_000, b"changed")

        def move(mount):
            os.rename(mount / "one", mount / "two")

        def swap(mount):
            renameat2(mount / "one", mount / "two", EXCHANGE)

        begin = {"two": (TWO, state)}
        # Over a plain file, the file system of the source decides.
        if state != "plain":
            yield Case(Scenario(f"rename a new file over {state}", begin,
                                [(fresh, {"one": ONE, "two": TWO}), (move, over)]),
                       _old_or_new(TWO, ONE, True))
            yield Case(Scenario(f"exchange a new file with {state}", begin,
                                [(fresh, {"one": ONE, "two": TWO}),
                                 (swap, {"one": TWO, "two": ONE})]),
                       _exchanged(TWO, ONE, True))
        begin = {"one": (ONE, "compressed"), **begin}
        yield Case(Scenario(f"edit and rename over {state}", begin,
                            [(edit, {"one": EDITED, "two": TWO}), (move, {"two": EDITED})]),
                   _old_or_new(TWO, EDITED, False))
        if state != "plain":
            yield Case(Scenario(f"edit and exchange with {state}", begin,
                                [(edit, {"one": EDITED, "two": TWO}),
                                 (swap, {"one": TWO, "two": EDITED})]),
                       _exchanged(TWO, EDITED, False))


def operations():
    for scenario in write_scenarios.all_scenarios():
        if scenario.name == "create a file":
            # Nobody synced it, so the file system of the source decides, and may show zeros.
            yield Case(scenario, lambda tree: None if set(tree) <= {"file"} and
                       tree.get("file", b"") in (b"", b"short", bytes(5)) else "not that file")
        elif scenario.name == "truncate a plain file":
            # Here it decides, too: ext4 writes zeros behind the new end before it stores the size.
            yield Case(scenario, lambda tree: None if tree.get("other") == TWO and
                       tree.get("file", b"").startswith(ONE[:66_000]) else "not that file")
        elif scenario.name == "truncate a edited file":
            # The file was cut and grew again without a sync: it has old bytes or zeros there.
            yield Case(scenario._replace(also=({"file": ONE[:70_000], "other": TWO},)))
        else:
            yield Case(scenario)


def ctl_runs():
    """xzfsctl replaces files; their content stays."""
    def run(*arguments):
        def step(mount):
            support.run([CTL, *arguments, mount.source])
        return step

    both = {"one": ONE, "two": TWO}
    for command, state in (("pack", "plain"), ("unpack", "compressed"), ("reblock", "compressed")):
        options = ("--block-size=16KiB",) if command == "reblock" else ()
        yield Case(Scenario(f"xzfsctl {command}", {"one": (ONE, state), "two": (TWO, state)},
                            [(run(command, "-q", *options), both)]))


class PowerCut(PowerTest):

    def record(self, disk, case):
        """Does the steps on `disk`, and returns the records of their writes."""
        source = os.path.join(disk.path, "source")
        os.mkdir(source)
        beside = os.path.join(disk.path, "beside")
        mount = write_scenarios.prepare(self, source, case.scenario)
        try:
            self.sync(disk, mount, case.scenario.begin)
            disk.keep()
            _, error = write_scenarios.act(case.scenario, mount)
            self.assertIsNone(error, f"{case.name}: {error}")
            # When another file is synced, the order of changes of names reaches the disk. Data that
            # no program synced need not.
            with open(beside, "wb") as file:
                os.fsync(file.fileno())
            support.run(["sync", "-f", disk.path])
            end = disk.position()
        finally:
            mount.kill()
            mount.__exit__(None, None, None)
        return end

    def check(self, disk, case, records, back, what):
        self.boot()
        with disk.cut(records, back) as path:
            source = os.path.join(path, "source")
            with write_support.WriteMount(source, write_scenarios.OPTIONS) as mount:
                tree = write_scenarios.tree_of(mount.path)
                wrong = case.judge(tree)
                if wrong is not None:
                    sizes = {name: len(content) for name, content in tree.items()}
                    self.fail(f"{what}: {wrong}\n{sizes}\nstored: {sorted(os.listdir(source))}\n"
                              f"{mount.log()[-2000:]}")
                mount.sync()
                self.assertEqual(write_scenarios.tree_of(mount.path), tree, f"{what}: after a sync")
            stored = write_support.stored_snapshot(source)
            write_scenarios.assert_names_and_sizes(self, stored, tree, what)
            self.assertEqual(write_support.leftovers(source), [], what)

    def sweep(self, filesystem, cases, seconds):
        if not disk_log.has_mkfs(filesystem):
            self.fail(f"{filesystem.mkfs[0]} is not installed")
        end = time.monotonic() + write_support.seconds(seconds) * support.SLOWNESS
        cases = list(cases)
        self.rng.shuffle(cases)
        seen, done = Cuts(), 0
        for case in cases:
            if done and time.monotonic() > end:
                break
            done += 1
            with support.temp_dir("xzfs-power-") as folder:
                disk = disk_log.LoggedDisk(folder, filesystem)
                with disk:
                    past = self.record(disk, case)
                records = disk.records(past)
                # Some cuts of each case; all of them if there is time.
                for number, (kind, count, back) in enumerate(self.cuts(records)):
                    if number >= 3 and time.monotonic() > end:
                        break
                    setattr(seen, kind, getattr(seen, kind) + 1)
                    self.check(disk, case, records[:count], back,
                               f"{filesystem.name}: {case.name}: {kind} {count} of {len(records)}")
        print(f"{self.id()}: {done} of {len(cases)} cases, {seen}", file=sys.stderr)
        self.assertGreater(seen.flushes + seen.writes + seen.kept_back, 2)


def _test(filesystem, cases):
    def test(self):
        self.sweep(filesystem, cases(), 12)
    return test


for _filesystem in (disk_log.EXT4, disk_log.XFS, disk_log.BTRFS):
    for _name, _cases in (
            ("content_that_was_not_synced_never_costs_what_was_on_the_disk", unsynced_renames),
            ("every_operation_is_done_or_not", operations),
            ("xzfsctl_keeps_what_files_hold", ctl_runs)):
        setattr(PowerCut, f"test_{_name}_on_{_filesystem.name}", _test(_filesystem, _cases))


if __name__ == "__main__":
    support.main()
