"""Disks that become full and disks that lose their power, on loop-mounted images; needs root."""

import contextlib
import ctypes
import errno
import os
import random
import subprocess
import sys
import threading
import time

import support
import write_support
from support import MIB, wait_until
from write_support import (WriteMount, assert_valid, leftovers, noise, patched, read_file,
                           stored_path, stored_snapshot, write_at, write_file)

_libc = ctypes.CDLL(None, use_errno=True)
OPTIONS = "preset=0,block_size=256KiB"


@contextlib.contextmanager
def disk(make, size):
    """A file system in a file: the path of the image, and of the mount. `make` is mkfs's argv."""
    with support.temp_dir("xzfs-disk-") as folder:
        image, path = os.path.join(folder, "image"), os.path.join(folder, "disk")
        with open(image, "wb") as out:
            out.truncate(size)
        support.make_filesystem(make, image)
        os.mkdir(path)
        mount_image(image, path)
        try:
            yield image, path
        finally:
            unmount(path)


def mount_image(image, path):
    # Otherwise mount reuses the loop device of the mount before, with what the kernel remembers of it.
    wait_until(lambda: not support.run(["losetup", "--associated", image]),
               "the loop device has let go of the image")
    support.run(["mount", "-o", "loop", image, path])


def unmount(path):
    def gone():
        if _libc.umount2(os.fsencode(path), 0) == 0:
            return True
        return ctypes.get_errno() == errno.EINVAL
    try:
        wait_until(gone, f"{path} can be unmounted", 10)
    except AssertionError:
        _libc.umount2(os.fsencode(path), 2)
        raise


def loop_refusal():
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices on this machine"
    return None


class DiskTest(support.MountTest):

    def setUp(self):
        super().setUp()
        refusal = loop_refusal()
        if refusal is not None:
            if support.REQUIRE_MOUNT and "loop" not in refusal:
                self.fail(refusal)
            self.skipTest(refusal)


EXT4 = ("mkfs.ext4", "-q", "-F", "-m", "0", "-I", "256")
XFS = ("mkfs.xfs", "-q", "-f")


class Full(DiskTest):
    SIZE = 40 * MIB

    def setUp(self):
        super().setUp()
        _, path = self.enterContext(disk(EXT4, self.SIZE))
        self.disk = path
        self.source = os.path.join(path, "source")
        os.mkdir(self.source)

    def free(self):
        st = os.statvfs(self.disk)
        return st.f_bavail * st.f_frsize

    def fill(self, leave):
        """Fills the disk except `leave` bytes, not through the mount."""
        path = os.path.join(self.disk, "ballast")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.posix_fallocate(fd, 0, max(1, self.free() - leave))
        finally:
            os.close(fd)
        return path

    def sync_again(self, mount):
        def committed():
            try:
                mount.sync()
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                return False
            return mount.commits()["pending"] == 0
        wait_until(committed, "the commits go on when there is space", 40)

    def test_the_writer_gets_the_error_of_a_full_disk_and_loses_nothing_that_was_accepted(self):
        with WriteMount(self.source, OPTIONS) as mount:
            write_file(mount / "old", noise(1, 5 * MIB))
            mount.sync()
            accepted, block = 0, noise(2, 128 << 10)
            fd = os.open(mount / "new", os.O_CREAT | os.O_RDWR, 0o644)
            try:
                with self.assertRaises(OSError) as caught:
                    while True:
                        accepted += os.write(fd, block)
                self.assertEqual(caught.exception.errno, errno.ENOSPC)
                self.assertGreater(accepted, 10 * MIB)
                size = os.fstat(fd).st_size
                self.assertGreaterEqual(size, accepted)
                got = os.pread(fd, accepted, 0)
                support.assert_same(self, got, (block * (accepted // len(block) + 1))[:accepted],
                                    "accepted bytes")
            finally:
                os.close(fd)
            # At 100 %, reads, truncations and removals still work.
            self.assertEqual(read_file(mount / "old"), noise(1, 5 * MIB))
            os.truncate(mount / "new", 1000)
            self.assertGreater(self.free(), 9 * MIB)
            os.unlink(mount / "new")
            write_file(mount / "next", block)
            mount.sync()
            self.assertEqual(mount.state("next"), "compressed")
        self.assertEqual(leftovers(self.source), [])

    def test_an_edit_that_finds_no_space_fails_at_the_write_and_the_file_stays(self):
        content = noise(3, 8 * MIB)
        with WriteMount(self.source, OPTIONS) as mount:
            write_file(mount / "file", content)
            mount.sync()
            ballast = self.fill(2 * MIB)
            wanted, accepted = content, 0
            fd = os.open(mount / "file", os.O_RDWR)
            try:
                with self.assertRaises(OSError) as caught:
                    for at in range(0, len(content), 128 << 10):
                        done = os.pwrite(fd, b"E" * (128 << 10), at)
                        wanted = patched(wanted, at, b"E" * done)
                        accepted += 1
                self.assertEqual(caught.exception.errno, errno.ENOSPC)
                self.assertGreater(accepted, 0)
                support.assert_same(self, os.pread(fd, len(wanted) + 1, 0), wanted, "full")
            finally:
                os.close(fd)
            # Its commit finds no space either: the file stays as it is, and sync reports it.
            self.assert_errno(errno.ENOSPC, mount.sync)
            self.assertEqual(mount.state("file"), "edited")
            support.assert_same(self, read_file(mount / "file"), wanted, "after a failed commit")
            figures = mount.commits()
            self.assertGreaterEqual(figures["failed"], 1)
            self.assertTrue(figures["last_error"])
            os.unlink(ballast)
            self.sync_again(mount)
            self.assertEqual(mount.state("file"), "compressed")
            assert_valid(self, stored_path(self.source, "file"), wanted)
        self.assertEqual(leftovers(self.source), [])

    def test_a_commit_that_finds_no_space_leaves_the_file_plain_and_goes_on_later(self):
        """Bytes that can't be compressed take their space twice for a moment."""
        content = noise(4, 20 * MIB)
        with WriteMount(self.source, OPTIONS) as mount:
            write_file(mount / "file", content)
            write_file(mount / "small", b"small " * 1000)
            free = self.free()
            self.assertLess(free, len(content))
            with self.assertRaises(OSError) as caught:
                mount.sync()
            self.assertEqual(caught.exception.errno, errno.ENOSPC)
            self.assertEqual(mount.state("file"), "plain")
            support.assert_same(self, read_file(mount / "file"), content, "after a failed commit")
            self.assertGreaterEqual(mount.commits()["failed"], 1)
            self.assertGreater(self.free(), free - MIB, "the temp was removed")
            os.truncate(mount / "file", 8 * MIB)
            self.sync_again(mount)
            self.assertEqual((mount.state("file"), mount.state("small")), ("compressed", "compressed"))
            assert_valid(self, stored_path(self.source, "file"), content[:8 * MIB])
        self.assertEqual(leftovers(self.source), [])

    def test_a_mount_on_a_full_disk_recovers_and_commits_later(self):
        content = noise(5, 4 * MIB)
        mount = WriteMount(self.source, OPTIONS)
        with mount:
            write_file(mount / "edited", content)
            mount.sync()
            write_at(mount / "edited", MIB, b"precious")
            write_file(mount / "plain", content)
            write_file(mount / "victim", b"victim" * 1000)
            mount.kill()
        wanted = patched(content, MIB, b"precious")
        ballast = self.fill(0)
        for end in ("kill", "umount"):
            with WriteMount(self.source, OPTIONS) as mount:
                support.assert_same(self, read_file(mount / "edited"), wanted, "edited")
                support.assert_same(self, read_file(mount / "plain"), content, "plain")
                if end == "kill":
                    with contextlib.suppress(OSError):
                        mount.sync()
                    mount.kill()
                else:
                    os.unlink(mount / "victim")
                    os.unlink(ballast)
                    self.sync_again(mount)
                    self.assertEqual((mount.state("edited"), mount.state("plain")), ("compressed", "compressed"))
        assert_valid(self, stored_path(self.source, "edited"), wanted)
        assert_valid(self, stored_path(self.source, "plain"), content)
        self.assertEqual(sorted(set(os.listdir(self.source)) - {".xzfs"}),
                         ["edited.xz", "plain.xz"])
        self.assertEqual(leftovers(self.source), [])

    def test_writers_and_commits_on_a_disk_that_becomes_full_again_and_again(self):
        """Two writers write while commits run all the time; the files have what close() accepted."""
        kept, refused = {}, [0]

        def work(number):
            rng = random.Random(f"{write_support.SEED} {number}")
            turn = 0
            while time.monotonic() < end or not refused[0]:
                turn += 1
                name, content = f"w{number}-{turn}", noise(turn * 7 + number, rng.randrange(3 * MIB))
                try:
                    write_file(mount / name, content)
                    kept[name] = content
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)
                    refused[0] += 1
                    for victim in [name for name in kept if name.startswith(f"w{number}-")][1:]:
                        os.unlink(mount / victim)
                        del kept[victim]
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(mount / name)

        with WriteMount(self.source, OPTIONS + ",settle=0") as mount:
            end = time.monotonic() + write_support.seconds(5)
            write_support.in_threads(work, [0, 1])
            for name, content in kept.items():
                support.assert_same(self, read_file(mount / name), content, name)
            for name in list(kept)[2:]:
                os.unlink(mount / name)
                del kept[name]
            self.sync_again(mount)
            print(f"{self.id()}: {refused[0]} refusals, {mount.commits()}", file=sys.stderr)
        self.assertGreater(refused[0], 0)
        for name, content in kept.items():
            if content:
                assert_valid(self, stored_path(self.source, name), content)
        self.assertEqual(leftovers(self.source), [])


# Writes in a separate process, so none of its output is lost with the mount. After fsync of a file and
# of its directory it prints a line with the file's acknowledged content.
SYNCER = """
import hashlib, os, random, sys
root, number, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = random.Random(f"{seed} {number}")
folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
contents = {}
def say(*words):
    print(*words, flush=True)
try:
    for turn in range(1000000):
        name = f"p{number}-{rng.randrange(6)}"
        path = os.path.join(root, name)
        old = contents.get(name, b"")
        what = rng.choice(("write", "append", "rename", "whole"))
        if what == "rename" and old:
            other = f"p{number}-{rng.randrange(6)}"
            if other == name:
                continue
            say("begin", name, "-", other, hashlib.sha256(old).hexdigest())
            os.rename(path, os.path.join(root, other))
            os.fsync(folder)
            contents[other] = contents.pop(name)
            say("done", name, "-", other, hashlib.sha256(old).hexdigest())
            continue
        if what == "write" and old:
            at, new = rng.randrange(len(old)), rng.randbytes(rng.randint(1, 20000))
            content = old[:at] + new + old[at + len(new):]
        elif what == "append" and old:
            at, new = len(old), rng.randbytes(rng.randint(1, 20000))
            content = old + new
        else:
            at, new = 0, rng.randbytes(1000) * rng.randint(1, 200)
            content = new + old[len(new):]
        digest = hashlib.sha256(content).hexdigest()
        say("begin", name, digest)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        done = 0
        while done < len(new):
            done += os.pwrite(fd, new[done:], at + done)
        os.fsync(fd)
        os.close(fd)
        os.fsync(folder)
        contents[name] = content
        say("done", name, digest)
except OSError as error:
    say("error", error.errno)
"""


def manifest(lines, before_cut):
    """The acknowledged content, {name: digest}, and the names with a change that is not acknowledged.

    What was said after the first `before_cut` lines may have met the cut: while it shuts down XFS
    tells of success for an fsync that it lost, on a plain directory, too.
    """
    acknowledged, begun = {}, set()
    for words in map(str.split, lines[:before_cut]):
        changes = dict(zip(words[1::2], words[2::2]))
        if words[0] == "begin":
            begun = set(changes)
        elif words[0] == "done":
            for name, digest in changes.items():
                if digest == "-":
                    acknowledged.pop(name, None)
                else:
                    acknowledged[name] = digest
            begun = set()
    for words in map(str.split, lines[before_cut:]):
        begun |= set(words[1::2]) if words[0] in ("begin", "done") else set()
    return acknowledged, begun


class PowerCut(DiskTest):

    def cut(self, make, size):
        """Repeats: write with fsync, cut, mount again; then all acknowledged content is there."""
        acknowledged_files = in_flight = pending = rounds = 0
        end = time.monotonic() + write_support.seconds(8)
        with disk(make, size) as (image, path):
            source = os.path.join(path, "source")
            os.mkdir(source)
            os.sync()
            while time.monotonic() < end or rounds < 2:
                rounds += 1
                options = f"{OPTIONS},settle={(0, 0.05, 1000)[rounds % 3]}"
                folder = f"round{rounds}"
                mount = WriteMount(source, options)
                with mount:
                    os.mkdir(mount / folder)
                    fd = os.open(mount.path, os.O_RDONLY)
                    os.fsync(fd)
                    os.close(fd)
                    outputs, before_cut = self.write_and_cut(mount, path, folder, rounds)
                    pending += self.figures["pending"]
                unmount(path)
                mount_image(image, path)
                acknowledged, begun = {}, set()
                for lines, count in zip(outputs, before_cut):
                    for into, what in zip((acknowledged, begun), manifest(lines, count)):
                        into.update(what)
                in_flight += len(begun)
                acknowledged_files += len(acknowledged)
                self.check(source, folder, acknowledged, begun, f"{make[0]}, round {rounds}")
        print(f"{self.id()}: {rounds} cuts, {acknowledged_files} acknowledged files, {in_flight} in "
              f"flight, {pending} pending", file=sys.stderr)
        for count in (acknowledged_files, in_flight, pending):
            self.assertGreater(count, 0)

    def write_and_cut(self, mount, path, folder, seed):
        processes = [subprocess.Popen(
            [sys.executable, "-c", SYNCER, mount / folder, str(number),
             f"{write_support.SEED} {seed}"], stdout=subprocess.PIPE, text=True)
            for number in range(2)]
        outputs = [[] for _ in processes]

        def collect(number):
            outputs[number].extend(processes[number].stdout)
        readers = [threading.Thread(target=collect, args=(number,)) for number in range(2)]
        for reader in readers:
            reader.start()
        try:
            wait_until(lambda: all(sum(line.startswith("done") for line in lines) > 8
                                   for lines in outputs), "something is acknowledged")
            self.figures = mount.commits()
        finally:
            before_cut = [len(lines) for lines in outputs]
            support.run(["xfs_io", "-x", "-c", "shutdown", path])
            mount.kill()
            for process, reader in zip(processes, readers):
                process.wait(30)
                reader.join(30)
                process.stdout.close()
        return outputs, before_cut

    def check(self, source, folder, acknowledged, begun, what):
        with WriteMount(source, OPTIONS) as mount:
            names = os.listdir(mount / folder)
            for name, digest in acknowledged.items():
                if name in begun:
                    continue
                self.assertIn(name, names, f"{what}: an acknowledged file is missing")
                self.assertEqual(write_support.digest(read_file(os.path.join(mount / folder, name))), digest,
                                 f"{what}: {name} is not what was acknowledged")
            self.assertLessEqual(set(names), set(acknowledged) | begun, what)
            # All other files can be read, whatever they contain.
            seen = {name: write_support.digest(read_file(os.path.join(mount / folder, name))) for name in names}
            mount.sync()
            for name, digest in seen.items():
                self.assertEqual(write_support.digest(read_file(os.path.join(mount / folder, name))), digest)
        stored = stored_snapshot(source)
        self.assertEqual({os.path.basename(name).decode(): entry.content
                          for name, entry in stored.items()
                          if name.startswith(os.fsencode(folder) + b"/")}, seen, what)
        self.assertEqual(leftovers(source), [], what)

    def test_synced_data_survives_a_power_cut_on_xfs(self):
        self.cut(XFS, 400 * MIB)

    def test_synced_data_survives_a_power_cut_on_ext4(self):
        self.cut(EXT4, 200 * MIB)


if __name__ == "__main__":
    support.main()
