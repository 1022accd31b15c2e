"""System calls of the daemon fail: the caller gets the error, nothing is lost, and the daemon goes on.

The tests also check the order of the calls by which a commit and a rename publish a file.
"""

import contextlib
import errno
import os
import re

import support
import write_scenarios
import write_support
import xzformat
from support import wait_until
from write_scenarios import CHANGES, LOOKS, OPTIONS, Sweep, act, assert_allowed, prepare, tree_of
from write_support import STATES, Strace, WriteMount, read_file, write_at, write_file


class AtEachCall(support.MountTest):

    def sweep(self, calls, codes, when, seconds):
        sweep = Sweep(self, write_scenarios.all_scenarios(), calls, seconds)
        told = 0
        for scenario, call, number in sweep:
            code = sweep.rng.choice(codes)
            fault = f"{call}:error={code}:when={number}{when}"
            what = f"{scenario.name}, {fault}"
            with support.temp_dir("xzfs-source-") as source, contextlib.ExitStack() as stack:
                mount = prepare(self, source, scenario)
                stack.push(mount)
                with Strace(mount.pid, f"trace={call}", f"inject={fault}") as strace:
                    allowed, error = act(scenario, mount)
                    self.assertTrue(mount.alive(), what)
                    if error is not None:
                        told += 1
                        self.assertIn(errno.errorcode[error.errno], (code, "EIO"), what)
                    strace.detach()
                    sweep.hit += strace.injected() > 0
                # The fault is over: all files are there at once, and can be committed.
                got = tree_of(mount.path)
                assert_allowed(self, got, allowed, what)
                self.sync_again(mount, what)
                self.assertEqual(tree_of(mount.path), got, what)
                stack.close()
                # The next mount removes what could not be removed then.
                write_scenarios.check_recovered(self, source, [got], what)
        sweep.report("calls that failed")
        return told

    def sync_again(self, mount, what):
        """A commit that failed is tried again; before that, sync may report the last error once more."""
        def committed():
            try:
                mount.sync()
            except OSError:
                return False
            return mount.commits()["pending"] == 0
        wait_until(committed, f"{what}: the commit is repeated", 30)

    def test_a_call_that_fails_once_is_reported_or_repeated(self):
        self.assertGreater(self.sweep(CHANGES + LOOKS, ("EIO", "ENOSPC"), "", 25), 0)

    def test_calls_that_fail_from_some_point_on_lose_nothing(self):
        self.assertGreater(self.sweep(CHANGES, ("EIO", "ENOSPC", "EROFS"), "+", 20), 0)

    def test_an_interrupted_call_is_repeated(self):
        """EINTR never reaches a caller."""
        calls = tuple(call for call in CHANGES if call not in ("renameat2", "unlinkat", "linkat"))
        self.assertEqual(self.sweep(calls, ("EINTR",), "", 6), 0)

    def test_a_failed_fsync_stays_failed(self):
        """No later fsync reports success for data that the kernel may have dropped."""
        content = xzformat.text(40, 100_000)
        for state in ("plain", "edited"):
            for name in ("fsync", "fdatasync"):
                with support.temp_dir("xzfs-source-") as source, WriteMount(source, OPTIONS) as mount:
                    write_file(mount / "file", content)
                    if state == "edited":
                        mount.sync()
                    fd = os.open(mount / "file", os.O_RDWR)
                    try:
                        os.pwrite(fd, b"unsynced", 0)
                        self.assertEqual(mount.state("file"), state)
                        with Strace(mount.pid, "trace=fsync,fdatasync",
                                    "inject=fsync,fdatasync:error=EIO:when=1") as strace:
                            self.assert_errno(errno.EIO, getattr(os, name), fd)
                            strace.detach()
                            self.assertGreater(strace.injected(), 0)
                        for again in (os.fsync, os.fdatasync, os.fsync):
                            self.assert_errno(errno.EIO, again, fd)
                        self.assertEqual(os.pread(fd, 8, 0), b"unsynced")
                    finally:
                        os.close(fd)
                    self.assertEqual(read_file(mount / "file")[8:], content[8:])
                    os.unlink(mount / "file")

    def test_close_returns_the_error_of_the_last_sync_with_sync_close(self):
        with WriteMount(self.source, OPTIONS + ",sync_close") as mount:
            # Starting strace forks, and the child would close its copy of an open descriptor.
            with Strace(mount.pid, "trace=fsync,fdatasync",
                        "inject=fsync,fdatasync:error=EIO:when=1+") as strace:
                fd = os.open(mount / "file", os.O_CREAT | os.O_WRONLY, 0o644)
                os.write(fd, xzformat.text(41, 50_000))
                self.assert_errno(errno.EIO, os.close, fd)
                strace.detach()
                self.assertGreater(strace.injected(), 0)
            self.assertEqual(mount.state("file"), "plain")
            self.assertEqual(read_file(mount / "file"), xzformat.text(41, 50_000))
            self.assertGreaterEqual(mount.commits()["failed"], 1)
            self.assertTrue(mount.commits()["last_error"])
            self.sync_again(mount, "after the fault")
            self.assertEqual(mount.state("file"), "compressed")


def paths_in(text):
    """Paths of descriptors, and of names relative to them: `7</dir>, "name"` is /dir/name."""
    pairs = re.findall(r'\d+<([^>]*)>, "((?:[^"\\]|\\.)*)"', text)
    return [os.path.join(folder, name) for folder, name in pairs]


def descriptor_path(text):
    found = re.match(r"\d+<([^>]*)>", text)
    return found[1] if found else None


class Order(support.MountTest):
    """A trace of the system calls shows how files are published."""

    WRITES = ("pwrite64", "write", "copy_file_range", "ftruncate", "fallocate")

    def traced(self, act_on):
        """The calls that the daemon makes because of act_on(mount), in order."""
        with WriteMount(self.source, OPTIONS) as mount:
            for state in ("edited", "compressed"):
                write_file(mount / state, xzformat.text(42, 200_000))
            mount.sync()
            write_file(mount / "plain", xzformat.text(43, 200_000))
            write_at(mount / "edited", 70_000, b"changed")
            with Strace(mount.pid, "trace=desc,file") as strace:
                act_on(mount)
                strace.detach()
                calls = [call for call in strace.calls() if not call.failed]
        self.assertEqual(write_support.leftovers(self.source), [])
        return calls

    def publications(self, calls):
        """Renames and links from the folder .xzfs into the tree: (call, from, to)."""
        private = os.path.realpath(self.source) + "/.xzfs/"
        for call in calls:
            if call.name in ("renameat2", "renameat", "linkat"):
                paths = paths_in(call.text)
                if len(paths) == 2 and "RENAME_EXCHANGE" in call.text:
                    paths.sort(key=lambda path: not path.startswith(private))
                if len(paths) == 2 and paths[0].startswith(private) and not paths[1].startswith(
                        private):
                    yield call, *paths

    def names_of(self, calls, temp):
        """The names that the file has had in the folder .xzfs."""
        names = {temp}
        for call in calls:
            paths = paths_in(call.text) if call.name in ("renameat", "renameat2") else []
            if len(paths) == 2 and paths[1] == temp and "EXCHANGE" not in call.text:
                names.add(paths[0])
        return names

    def assert_ordered(self, calls):
        found = 0
        for call, temp, target in self.publications(calls):
            found += 1
            temps = self.names_of(calls, temp)
            syncs = [other for other in calls if other.name in ("fsync", "fdatasync")]
            before = [other for other in syncs if other.end <= call.begin
                      and descriptor_path(other.text) in temps]
            self.assertTrue(before, f"{temp} is synced before it becomes {target}")
            late = [other for other in calls if other.name in self.WRITES
                    and descriptor_path(other.text) in temps and other.begin > before[-1].begin]
            self.assertEqual(late, [], "nothing is written between the sync and the rename")
            claims = os.path.join(os.path.dirname(temp), "claims")
            claimed = [other for other in calls if other.end <= call.begin
                       and descriptor_path(other.text) == claims]
            self.assertEqual([other.name for other in claimed if other.name in
                              ("pwrite64", "fdatasync")][-1:], ["fdatasync"],
                             f"what {target} is going to be is on the disk before")
            folder = os.path.dirname(target)
            after = [other for other in syncs if other.begin >= call.end
                     and descriptor_path(other.text) == folder]
            self.assertTrue(after, f"{folder} is synced after {target} was published")
        return found

    def test_a_commit_syncs_the_data_then_renames_then_syncs_the_directory(self):
        calls = self.traced(lambda mount: mount.sync())
        self.assertEqual(self.assert_ordered(calls), 2)
        # The old file is removed after the new file has its name.
        names = {os.path.basename(target): call for call, _, target in self.publications(calls)}
        self.assertEqual(set(names), {"plain.xz", "edited.xz"})
        plain = [call for call in calls if call.name == "unlinkat"
                 and os.path.join(os.path.realpath(self.source), "plain") in paths_in(call.text)]
        self.assertEqual(len(plain), 1)
        self.assertGreaterEqual(plain[0].begin, names["plain.xz"].end)

    def test_fsync_of_a_file_reaches_the_source(self):
        def act_on(mount):
            for name in STATES:
                fd = os.open(mount / name, os.O_RDWR)
                os.pwrite(fd, b"to be synced", 5)
                os.fsync(fd)
                os.close(fd)
            fd = os.open(mount.path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        calls = self.traced(act_on)
        source = os.path.realpath(self.source)
        synced = {descriptor_path(call.text) for call in calls
                  if call.name in ("fsync", "fdatasync")}
        self.assertIn(source + "/plain", synced)
        self.assertIn(source, synced)
        self.assertGreaterEqual(len([path for path in synced if path and ".xzfs/" in path]), 2,
                                "the overlays of two files")
        # Nothing was written to any of those files after their last sync.
        for path in synced - {None, source}:
            last = max(call.begin for call in calls if call.name in ("fsync", "fdatasync")
                       and descriptor_path(call.text) == path)
            late = [call for call in calls if call.name in self.WRITES
                    and descriptor_path(call.text) == path and call.begin > last]
            self.assertEqual(late, [], path)


if __name__ == "__main__":
    support.main()
