"""A disk that remembers everything that was written to it, so a test can cut its power at any moment.

XZFS_DISK_LOG is the program (disk_log.cc). A file system lies on a loop device over its file. The log
has the writes in order, with the flushes between them. If the disk writes in order, it holds a prefix
of the log after a cut. A disk may also hold back writes that no flush followed, so `cuts` leaves out
a sample of those, too.
"""

import collections
import contextlib
import ctypes
import os
import shutil
import struct
import subprocess

import support

PROGRAM = os.environ.get("XZFS_DISK_LOG", "")
HEADER = struct.Struct("=QQQ")
WRITE, FLUSH, ZEROS = 1, 2, 3

_libc = ctypes.CDLL(None, use_errno=True)

# mkfs's argv, the image's size, and options of mount. No test here needs access times.
FileSystem = collections.namedtuple("FileSystem", "name mkfs bytes options")
EXT4 = FileSystem("ext4", ("mkfs.ext4", "-q", "-F", "-m", "0", "-I", "256", "-E", "lazy_itable_init=0"),
                  64 << 20, "")
XFS = FileSystem("xfs", ("mkfs.xfs", "-q", "-f"), 320 << 20, "nouuid")
BTRFS = FileSystem("btrfs", ("mkfs.btrfs", "-q", "-f"), 160 << 20, "")

# A record: where it begins in the log, what it is, and where its bytes are.
Record = collections.namedtuple("Record", "at kind offset length data_at end")


def _unmount(path):
    support.wait_until(lambda: _libc.umount2(os.fsencode(path), 0) == 0 or not os.path.ismount(path),
                       f"{path} can be unmounted")


def _mount(device, path, options):
    argv = ["mount", *(("-o", options) if options else ()), device, path]
    support.run(argv)


class LoggedDisk:
    """A file system on a logged disk, as a context manager. `path` is where it is mounted.

    After the context ends, the log can be read and cut.
    """

    def __init__(self, folder, filesystem):
        self.folder, self.filesystem = folder, filesystem
        self.image = os.path.join(folder, "image")
        self.log = os.path.join(folder, "log")
        self.path = os.path.join(folder, "disk")
        self._fuse = os.path.join(folder, "fuse")
        self._cuts = 0

    def __enter__(self):
        with open(self.image, "wb") as out:
            out.truncate(self.filesystem.bytes)
        support.make_filesystem(self.filesystem.mkfs, self.image)
        os.mkdir(self.path)
        os.mkdir(self._fuse)
        with contextlib.ExitStack() as undo:
            self._program = subprocess.Popen([PROGRAM, self.image, self.log, self._fuse])
            undo.callback(self._end_program)
            disk = os.path.join(self._fuse, "disk")
            support.wait_until(lambda: os.path.exists(disk), "the logged disk is there")
            device = support.run(["losetup", "--find", "--show", disk]).decode().strip()
            undo.callback(support.run, ["losetup", "--detach", device])
            _mount(device, self.path, self.filesystem.options)
            undo.callback(_unmount, self.path)
            self._undo = undo.pop_all()
        return self

    def _end_program(self):
        _unmount(self._fuse)
        self._program.wait(30)

    def __exit__(self, *_):
        self._undo.close()

    def position(self):
        """The present end of the log: how much has been written so far."""
        return os.path.getsize(self.log)

    def keep(self):
        """Remembers what is on the disk now: cuts come after this point. Everything must be synced."""
        self.begin = self.position()
        self._base = os.path.join(self.folder, "base")
        support.run(["cp", "--sparse=always", self.image, self._base])

    def records(self, end):
        found = []
        with open(self.log, "rb") as log:
            at = self.begin
            while at < end:
                log.seek(at)
                kind, offset, length = HEADER.unpack(log.read(HEADER.size))
                data_at = at + HEADER.size
                past = data_at + (length if kind == WRITE else 0)
                found.append(Record(at, kind, offset, length, data_at, past))
                at = past
        return found

    @contextlib.contextmanager
    def cut(self, records, left_out=()):
        """Mounts the file system as it is when the power fails after `records`. Those of them whose
        place in the log is in `left_out` did not reach the disk."""
        # Each cut has a file of its own. Otherwise mount may use a loop device that is just being
        # detached from the file of the cut before, with the data that it remembers of that file.
        self._cuts += 1
        image = os.path.join(self.folder, f"cut{self._cuts}")
        support.run(["cp", "--sparse=always", self._base, image])
        with open(self.log, "rb") as log, open(image, "r+b") as out:
            for record in records:
                if record.at in left_out or record.kind == FLUSH:
                    continue
                out.seek(record.offset)
                if record.kind == WRITE:
                    log.seek(record.data_at)
                    out.write(log.read(record.length))
                else:
                    out.write(bytes(record.length))
        path = os.path.join(self.folder, "after")
        os.makedirs(path, exist_ok=True)
        support.run(["mount", "-o", ",".join(filter(None, ("loop", self.filesystem.options))),
                     image, path])
        try:
            yield path
        finally:
            _unmount(path)
            os.unlink(image)


def refusal():
    """Why this machine can't have logged disks, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices on this machine"
    if not PROGRAM:
        return "XZFS_DISK_LOG is not set"
    return None


def has_mkfs(filesystem):
    return shutil.which(filesystem.mkfs[0]) is not None
