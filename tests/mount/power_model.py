"""Does random operations and cuts the power: no name that was on the disk loses its content.

The operations are those of write_model.py; the disk logs what is written (disk_log.py). Everything is
synced before them. After a cut, this must hold for a name that existed all the time:

- The name exists, and all of its file can be read.
- Its content is complete, and is one that it has had since its file was last synced. It may be a
  mixture only if a program has written to the file in place since then, as in the source.
- If a plain file that nobody synced took the name of another plain file, the file system of the
  source decides the content. The same is true below a directory that was renamed.

No name exists that never existed before. On btrfs, though, a name may be shown twice, plain and
compressed: of several changes of names btrfs may keep a later one and lose an earlier one
(docs/guarantees.md, "Limits"). The test counts such names and doesn't judge them. On btrfs it also
doesn't judge names in a directory that was renamed, which may still hold files that were moved out of
it before, or a disk that btrfs itself can't mount any more. Run this by hand; XZFS_TEST_SEED and
XZFS_TEST_SECONDS choose what it does and for how long.
"""

import collections
import contextlib
import glob
import os
import stat
import sys
import time

import disk_log
import support
import write_support
from power_support import Cuts, PowerTest
from support import temp_dir
from write_model import EXCHANGE, Model, renameat2

LARGEST = 60_000

File = collections.namedtuple("File", "inode digest mtime_ns")
# `began` and `ended`: where the disk's log ended at those moments. `wild`: the names whose content
# may be anything from then on. `loose`: the names of these that may also be gone. `synced`: the
# inode of a file that was synced, or None.
Step = collections.namedtuple("Step", "began ended files wild loose synced")


def regular_files(root):
    """{name: File} of a plain directory."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            if stat.S_ISREG(st.st_mode):
                found[os.path.relpath(path, root)] = File(
                    st.st_ino, write_support.digest(write_support.read_file(path)), st.st_mtime_ns)
    return found


class History(Model):
    """Remembers what each name has been after each step."""

    # The times of files show here which side wrote to them.
    OPERATIONS = tuple(operation for operation in Model.OPERATIONS if operation != "utime")

    def __init__(self, test, rng, mounted, oracle, largest, position):
        super().__init__(test, rng, mounted, oracle, largest)
        self.position = position
        self.steps = []
        self._synced = None
        self._has_moved_directory = False

    @staticmethod
    def may_differ(got, wanted):
        """A file system may give either error for a directory that isn't empty."""
        return {got, wanted} == {"EEXIST", "ENOTEMPTY"}

    def both(self, what, act, *arguments):
        before = self.counts[what]
        result = super().both(what, act, *arguments)
        if what in ("fsync", "fdatasync") and self.counts[what] > before:
            self._synced = os.fstat(self.used.fds[1]).st_ino
        return result

    def begin(self):
        """Everything is on the disk now."""
        place = self.position()
        self.unsynced = set()
        self._has_moved_directory = False
        self.steps = [Step(place, place, regular_files(self.oracle), frozenset(), frozenset(),
                           None)]

    def _is_plain(self, name):
        stored = os.path.join(self.test.source, name)
        return os.path.lexists(stored) or os.path.lexists(stored + ".xzhot")

    def step(self):
        if self.rng.random() < 0.15:
            self.replace()
            return
        operation = self.rng.choice(self.OPERATIONS)
        self.remember(getattr(self, operation), operation == "rename_directory")

    def replace(self):
        """Does what editors do: a new file takes the name of an old one."""
        names = sorted(self.steps[-1].files)
        if not names:
            return
        new, old = "new", self.rng.choice(names)
        content, flags = self.content(), self.rng.choice((0, 0, EXCHANGE))
        self.remember(lambda: self.both("write again", lambda side: write_support.write_file(
            self.at(side, new), content)))
        self.remember(lambda: self.both("replace", lambda side, old: renameat2(
            self.at(side, new), self.at(side, old), flags), old))

    def remember(self, act, moves_directories=False):
        """Does the operation, and remembers the new state of each name."""
        before = self.steps[-1].files
        self._has_moved_directory |= moves_directories
        plain = {name for name in before if self._is_plain(name)}
        began, self._synced = self.position(), None
        act()
        after = regular_files(self.oracle)
        inodes = {file.inode: file for file in before.values()}
        written = {file.inode for file in after.values()
                   if file.inode in inodes and file != inodes[file.inode]}
        written |= {file.inode for file in after.values() if file.inode not in inodes}
        self.unsynced |= written
        wild = {name for tree in (before, after) for name, file in tree.items()
                if file.inode in written}
        loose = {name for name, file in after.items()
                 if name in before and file.inode != before[name].inode
                 and file.inode in self.unsynced and (name in plain or moves_directories)}
        if self._synced is not None:
            self.unsynced.discard(self._synced)
        self.steps.append(Step(began, self.position(), after, frozenset(wild), frozenset(loose),
                               self._synced))

    def unordered(self, got, source):
        """On btrfs: the names of compressed files that are shown as they are stored, beside the plain
        files, and the names that they hide; and names that may be in a directory that was renamed. No
        operation here writes compressed files through the mount."""
        ever = set().union(*(step.files for step in self.steps))
        found = {name for name in got if name.endswith(".xz") and name.removesuffix(".xz") in got
                 and self._is_shown_as_stored(name, got[name], source)}
        if self._has_moved_directory:
            found |= {name for name in set(got) - ever if "/" in name}
        return found | {name.removesuffix(".xz") for name in found}

    @staticmethod
    def _is_shown_as_stored(name, digest, source):
        """Whether the name is that of a compressed file in the source, and shows the stored bytes."""
        try:
            stored = write_support.read_file(os.path.join(source, name))
        except FileNotFoundError:
            return False
        return stored.startswith(write_support.XZ_MAGIC) and write_support.digest(stored) == digest

    def judge(self, got, end, unjudged=frozenset()):
        """The lines that say what is wrong with `got`, {name: digest}, after a cut at `end`."""
        begun = self.steps[:1] + [step for step in self.steps[1:] if step.began <= end]
        ever = set().union(*(step.files for step in begun))
        wrong = [f"{name}: never was there" for name in sorted(set(got) - ever - unjudged)]
        always = set(begun[0].files).intersection(*(step.files for step in begun))
        for name in sorted(always.difference(unjudged, *(step.loose for step in begun))):
            if name not in got:
                wrong.append(f"{name}: is gone")
                continue
            start = max([0] + [i for i, step in enumerate(begun) if step.synced is not None and
                               step.ended <= end and step.synced == step.files[name].inode])
            if any(name in step.wild for step in begun[start + 1:]):
                continue
            wanted = [step.files[name].digest for step in begun[start:]]
            if got[name] not in wanted:
                wrong.append(f"{name}: has a content that it never had since step {start}")
        return wrong


class PowerModel(PowerTest):
    SECONDS = 24
    OPTIONS = ("settle=0,preset=0,block_size=16KiB", "settle=0.1,preset=0,block_size=4KiB",
               "settle=1000,preset=0,block_size=16KiB", "compress=off")

    def run_round(self, filesystem, seen):
        options = self.rng.choice(self.OPTIONS)
        with temp_dir("xzfs-power-") as folder, temp_dir("xzfs-oracle-") as oracle:
            disk = disk_log.LoggedDisk(folder, filesystem)
            with disk:
                self.source = os.path.join(disk.path, "source")
                os.mkdir(self.source)
                mount = write_support.WriteMount(self.source, options)
                with mount:
                    history = History(self, self.rng, lambda: mount.path, oracle, LARGEST,
                                      disk.position)
                    for _ in range(120):
                        Model.step(history)
                    history.close_all()
                    if self.rng.random() < 0.7:
                        mount.sync()
                    self.sync(disk, mount, regular_files(oracle))
                    # Commits are running, and a copy takes its time.
                    support.run(["fsfreeze", "--freeze", disk.path])
                    try:
                        disk.keep()
                    finally:
                        support.run(["fsfreeze", "--unfreeze", disk.path])
                    history.begin()
                    for _ in range(self.rng.randrange(10, 60)):
                        history.step()
                    history.close_all()
                    support.run(["sync", "-f", disk.path])
                    end = disk.position()
                    mount.kill()
            records = disk.records(end)
            for kind, count, back in self.cuts(records)[:8]:
                setattr(seen, kind, getattr(seen, kind) + 1)
                what = (f"seed {write_support.SEED}: {filesystem.name}, {options}: {kind} {count} of "
                        f"{len(records)}")
                self.check(disk, history, records[:count], back, seen, what)
        return len(history.steps)

    def check(self, disk, history, records, back, seen, what):
        self.boot()
        end = records[-1].end if records else disk.begin
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(disk.cut(records, back))
            except AssertionError:
                if disk.filesystem.name != "btrfs":
                    raise
                seen.unmountable += 1
                return
            source = os.path.join(path, "source")
            found = self.stored_files(source)
            with write_support.WriteMount(source, "preset=0") as mount:
                got = {name: file.digest for name, file in regular_files(mount.path).items()}
                is_btrfs = disk.filesystem.name == "btrfs"
                unordered = history.unordered(got, source) if is_btrfs else set()
                seen.unordered += bool(unordered)
                wrong = history.judge(got, end, unordered)
                if wrong:
                    lines = "\n".join(map(str, history.log))
                    self.fail(f"{what}:\n" + "\n".join(wrong) + f"\nafter\n{lines}\n"
                              f"stored before:\n{found}\nnow:\n{self.stored_files(source)}\n"
                              f"{mount.log()[-3000:]}")
                mount.sync()
                after = {name: file.digest for name, file in regular_files(mount.path).items()}
                self.assertEqual(after, got, f"{what}: after a sync")
            if not unordered:
                write_support.stored_snapshot(source)
                self.drop_finds(source)
                self.assertEqual(write_support.leftovers(source), [], f"{what}\n{found}")

    @staticmethod
    def drop_finds(source):
        """Files that xzfs keeps although they may be of no use: the remains of a plain file that nobody
        synced and that was just committed; an earlier file of a name, by a mistake of the file system;
        and changes of a file that was replaced or removed since."""
        lost = os.path.join(source, ".xzfs/lost+found")
        for note in os.listdir(lost) if os.path.isdir(lost) else ():
            path = os.path.join(lost, note)
            if note.endswith(".note") and write_support.read_file(path).startswith(
                    (b"What a power cut has left of", b"An earlier ", b"Pending changes of")):
                for kept in glob.glob(path.removesuffix(".note") + "*"):
                    os.unlink(kept)

    @staticmethod
    def stored_files(source):
        """Text that shows which files exist, and what the records of sessions say."""
        lines = []
        for folder, _, names in os.walk(source):
            for name in names:
                path = os.path.join(folder, name)
                st = os.lstat(path)
                lines.append(f"{os.path.relpath(path, source)}: inode {st.st_ino}, {st.st_nlink} "
                             f"names, {st.st_size} bytes, mtime {st.st_mtime_ns}, ctime "
                             f"{st.st_ctime_ns}")
                if name == "claims" or name.endswith((".intent", ".note")):
                    lines.append(f"    {write_support.read_file(path)}")
        return "\n".join(lines)

    def run_rounds(self, filesystem):
        if not disk_log.has_mkfs(filesystem):
            self.fail(f"{filesystem.mkfs[0]} is not installed")
        end = time.monotonic() + write_support.seconds(self.SECONDS / 3)
        seen, rounds, steps = Cuts(), 0, 0
        while not rounds or time.monotonic() < end:
            steps += self.run_round(filesystem, seen)
            rounds += 1
        print(f"{self.id()}: {rounds} rounds, {steps} operations, {seen}", file=sys.stderr)

    def test_on_ext4(self):
        self.run_rounds(disk_log.EXT4)

    def test_on_xfs(self):
        self.run_rounds(disk_log.XFS)

    def test_on_btrfs(self):
        self.run_rounds(disk_log.BTRFS)


if __name__ == "__main__":
    support.main()
