"""Large directories and trees: everything is listed once, and the daemon keeps nothing for it."""

import ctypes
import errno
import os
import random
import resource
import subprocess
import sys

import support
from support import Mount, MountTest, make_compressed

ENTRIES = support.scaled(100_000, 5_000)


class _Dirent(ctypes.Structure):
    _fields_ = [("d_ino", ctypes.c_uint64), ("d_off", ctypes.c_int64),
                ("d_reclen", ctypes.c_uint16), ("d_type", ctypes.c_uint8),
                ("d_name", ctypes.c_char * 256)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.opendir.argtypes = [ctypes.c_char_p]
_libc.readdir.restype = ctypes.POINTER(_Dirent)
_libc.readdir.argtypes = [ctypes.c_void_p]
_libc.telldir.restype = ctypes.c_long
_libc.telldir.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
_libc.rewinddir.argtypes = [ctypes.c_void_p]
_libc.closedir.argtypes = [ctypes.c_void_p]


class Directory:
    """opendir(3) and friends, which Python's own calls hide."""

    def __init__(self, path):
        self._handle = _libc.opendir(os.fsencode(path))
        if not self._handle:
            raise OSError(ctypes.get_errno(), path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _libc.closedir(self._handle)

    def next(self):
        """The next name, or None at the end."""
        ctypes.set_errno(0)
        entry = _libc.readdir(self._handle)
        if not entry:
            if ctypes.get_errno():
                raise OSError(ctypes.get_errno(), "readdir")
            return None
        return entry.contents.d_name

    def tell(self):
        return _libc.telldir(self._handle)

    def seek(self, place):
        _libc.seekdir(self._handle, place)

    def rewind(self):
        _libc.rewinddir(self._handle)


def link_many(folder, originals, names):
    """Hard links to a few .xz files; each takes at most 60,000, as ext4 allows 65,000."""
    for number, name in enumerate(names):
        os.link(originals[number // 60_000 % len(originals)],
                os.path.join(folder, name + ".xz"))


class LargeDirectory(MountTest):

    def test_100_000_entries_are_listed_once_each_without_being_held(self):
        originals = [make_compressed(self.source, f"original{n}", b"content %d" % n) for n in range(2)]
        folder = os.path.join(self.source, "many")
        os.mkdir(folder)
        names = [f"entry-{number:06d}" for number in range(ENTRIES)]
        link_many(folder, originals, names)
        with Mount(self.source) as mount:
            os.listdir(mount.path)
            before = mount.status_kib("VmHWM")
            for _ in range(2):
                with os.scandir(mount / "many") as entries:
                    listed = [entry.name for entry in entries]
                self.assertEqual(len(listed), ENTRIES)
                self.assertEqual(set(listed), set(names))
            growth = (mount.status_kib("VmHWM") - before) / 1024
            print(f"listing {ENTRIES} entries: the daemon grew by {growth:.1f} MiB",
                  file=sys.stderr)
            # The kernel may keep a node for each (readdirplus), so a few hundred bytes each
            # are right. The daemon doesn't keep the listing itself.
            if not support.SANITIZER:
                self.assertLess(growth, 8 + ENTRIES * 600 / (1 << 20))

    def test_places_stay_valid_while_entries_come_and_go(self):
        original = make_compressed(self.source, "original", b"content")
        folder = os.path.join(self.source, "busy")
        os.mkdir(folder)
        rng = random.Random(2)
        stay = {f"stay-{number:05d}" for number in range(6_000)}
        leave = [f"leave-{number:05d}" for number in range(6_000)]
        first = sorted(stay) + leave
        rng.shuffle(first)
        link_many(folder, [original], first)
        with Mount(self.source) as mount, Directory(mount / "busy") as directory:
            seen, places = [], {}
            for turn in range(10**6):
                place = directory.tell()
                name = directory.next()
                if name is None:
                    break
                name = name.decode()
                seen.append(name)
                places[name] = place
                if turn % 3 == 0 and leave:
                    os.unlink(os.path.join(folder, leave.pop() + ".xz"))
                    os.link(original, os.path.join(folder, f"come-{turn:05d}.xz"))
            self.assertLess(len(leave), 3_000)
            seen = [name for name in seen if name not in (".", "..")]
            self.assertEqual(len(seen), len(set(seen)), "a name came twice")
            self.assertLessEqual(stay, set(seen), "a name that was there all the time is missing")
            # Each offset still leads to its entry, in any order.
            kept = rng.sample(sorted(stay), support.scaled(300, 50))
            for name in kept:
                directory.seek(places[name])
                self.assertEqual(directory.next().decode(), name)
            directory.rewind()
            again = []
            while (name := directory.next()) is not None:
                again.append(name.decode())
            self.assertEqual(len(again), len(set(again)))
            self.assertLessEqual(stay, set(again))


class RemovedWhileOpen(MountTest):
    """As on any file system, a process in the directory finds it empty."""

    def check(self, fd):
        self.assertEqual(os.listdir(fd), [])
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(os.listdir(f"/proc/self/fd/{fd}"), [])
        self.assert_errno(errno.ENOENT, os.open, f"/proc/self/fd/{fd}/new", os.O_CREAT | os.O_WRONLY)
        self.assert_errno(errno.ENOENT, os.lstat, f"/proc/self/fd/{fd}/any")
        os.fsync(fd)

    def test_a_removed_directory_is_empty(self):
        with Mount(self.source, "attr_timeout=0,entry_timeout=0") as mount:
            os.mkdir(mount / "d")
            fd = os.open(mount / "d", os.O_RDONLY)
            inode = os.fstat(fd).st_ino
            os.rmdir(mount / "d")
            self.check(fd)
            os.mkdir(mount / "d")  # another directory, which must not show in the removed one
            open(mount / "d/file", "wb").close()
            self.check(fd)
            self.assertEqual(os.fstat(fd).st_ino, inode)
            done = subprocess.run(["ls", "-a", "."], capture_output=True, text=True, check=False,
                                  preexec_fn=lambda: os.fchdir(fd))
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            os.close(fd)
            self.assertEqual(os.listdir(mount / "d"), ["file"])

    def test_a_replaced_directory_is_empty(self):
        with Mount(self.source, "attr_timeout=0,entry_timeout=0") as mount:
            for name in ("old", "new"):
                os.mkdir(mount / name)
            open(mount / "new/file", "wb").close()
            fd = os.open(mount / "old", os.O_RDONLY)
            os.rename(mount / "new", mount / "old")
            self.check(fd)
            os.close(fd)
            self.assertEqual(os.listdir(mount / "old"), ["file"])


class LargeTree(MountTest):

    FOLDERS = 100

    # Runs in a process of its own: it holds thousands of files open.
    HOLD = """
import os, resource, sys
mount, count = sys.argv[1], int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
paths = [line.rstrip("\\n") for line in sys.stdin]
held = [os.open(os.path.join(mount, path), os.O_RDONLY) for path in paths[:count]]
for turn in range(2):
    for fd, path in zip(held, paths):
        want = b"content %d" % (int(path[-1]) % 2)
        got = os.pread(fd, 100, 0)
        if got != want:
            sys.exit(f"{path}: {got!r}")
print(len(held))
"""

    def test_100_000_files_are_walked_held_and_read_with_1024_descriptors(self):
        originals = [make_compressed(self.source, f"original{n}", b"content %d" % n) for n in range(2)]
        paths = []
        for number in range(self.FOLDERS):
            folder = f"d{number:03d}/deep"
            os.makedirs(os.path.join(self.source, folder))
            for entry in range(ENTRIES // self.FOLDERS):
                path = f"{folder}/f{entry:06d}"
                os.link(originals[entry % 2], os.path.join(self.source, path + ".xz"))
                paths.append(path)
        hold = min(5_000, len(paths), resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100)
        self.assertGreater(hold, 1_500)
        options = "attr_timeout=3600,entry_timeout=3600"
        with Mount(self.source, options, descriptor_limit=1024) as mount:
            walked = 0
            for folder, _, files in os.walk(mount.path):
                for name in files:
                    if os.lstat(os.path.join(folder, name)).st_size != len(b"content 0"):
                        self.fail(f"{folder}/{name}")
                    walked += 1
            self.assertEqual(walked, len(paths) + 2)
            most = len(mount.descriptors())
            random.Random(6).shuffle(paths)
            with subprocess.Popen([sys.executable, "-c", self.HOLD, mount.path, str(hold)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as reader:
                out, error = reader.communicate("\n".join(paths), timeout=120 * support.SLOWNESS)
            self.assertEqual((reader.returncode, error), (0, ""))
            self.assertEqual(int(out), hold)
            for path in paths[:support.scaled(20_000, 500)]:
                with open(mount / path, "rb", buffering=0) as file:
                    self.assertEqual(file.read(), b"content %d" % (int(path[-1]) % 2))
            most = max(most, len(mount.descriptors()))
            print(f"{walked} files walked, {hold} open at once: {most} descriptors",
                  file=sys.stderr)
            self.assertLess(most, 1024)
            self.assertNotIn("Too many open files", mount.log())


if __name__ == "__main__":
    support.main()
