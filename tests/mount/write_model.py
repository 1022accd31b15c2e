"""Random operations, each done twice: in a mount and, as the oracle, in a plain directory."""

import collections
import ctypes
import errno
import mmap
import os
import stat

import support
import write_support
from write_support import Entry, noise, snapshot

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
KEEP_SIZE, PUNCH_HOLE = 1, 2
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
FOLDERS = ("", "d", "d/e", "f", "g.xz")
NAMES = ("a", "b", "c", "a.xz", "b.xz", "t.tar", "t.txz", "l", "m.xz", "x.xz.xz")
# Times that an operation sets are before this; times from the clock are after it.
SET_BEFORE_NS = 1_000_000_000 * 10**9


def _check(result):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def renameat2(old, new, flags):
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    _check(_libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def shown(st):
    """The part of a stat result that must be the same on both sides."""
    is_dir = stat.S_ISDIR(st.st_mode)
    return (st.st_mode, st.st_uid, st.st_gid, 0 if is_dir else st.st_nlink,
            0 if is_dir else st.st_size,
            0 if is_dir else st.st_mtime_ns if st.st_mtime_ns < SET_BEFORE_NS else "now")


def comparable(tree):
    """The tree without times from the clock."""
    return {name: entry._replace(mtime_ns=entry.mtime_ns if entry.mtime_ns < SET_BEFORE_NS
                                 else "now")
            for name, entry in write_support.without_directory_times(tree).items()}


Handle = collections.namedtuple("Handle", "fds flags")


class Model:
    """Works in `mounted()` and in `oracle`. `mounted` is a function, because mounts change. Not thread-safe.

    Every operation must have the same result or errno in both. `log` has the last operations.
    """

    MOST_HANDLES = 12
    COMMITS_MAY_FAIL = False

    def __init__(self, test, rng, mounted, oracle, largest):
        self.test, self.rng, self.mounted, self.oracle = test, rng, mounted, oracle
        self.largest = largest
        self.handles = []
        self.used = None  # the last handle
        self.log = collections.deque(maxlen=160)
        self.counts = collections.Counter()

    # Both sides.

    def both(self, what, act, *arguments):
        """Does act(side, *arguments) on both sides; returns the oracle's result, or None after an error."""
        self.log.append((what, *(argument if not isinstance(argument, bytes) or len(argument) < 40
                                 else f"{len(argument)} bytes" for argument in arguments)))
        results = []
        for side in (0, 1):
            try:
                results.append(act(side, *arguments))
            except OSError as error:
                results.append(errno.errorcode[error.errno])
        # For an operation that succeeded, the log needs no more.
        self.log.append(("->", *(result for result in results if isinstance(result, str))))
        if results[0] != results[1] and not self.may_differ(*results):
            got, wanted = (result if len(repr(result)) < 300 else f"{repr(result)[:300]}..."
                           for result in results)
            if isinstance(results[0], bytes) and isinstance(results[1], bytes):
                at = next((i for i, (a, b) in enumerate(zip(*results)) if a != b),
                          min(map(len, results)))
                got, wanted = f"{len(results[0])} bytes, differing at {at}", len(results[1])
            self.fail(f"{what}{arguments[:3]}: {got}, wanted {wanted}")
        failed = isinstance(results[1], str) and results[1].startswith("E")
        self.counts[what + (" fails" if failed else "")] += 1
        return None if failed else results[1]

    @staticmethod
    def may_differ(_got, _wanted):
        """Both results are right, although they differ."""
        return False

    def at(self, side, name):
        return os.path.join(self.oracle if side else self.mounted(), name)

    def fail(self, why):
        trees = "\n".join(support.run(["ls", "-laiR", "--time-style=full-iso", path]).decode()
                          for path in (self.test.source, self.mounted(), self.oracle))
        lines = "\n".join(map(str, self.log))
        self.test.fail(f"seed {write_support.SEED}: {why}\nafter\n{lines}\n{trees}")

    def settle(self):
        """Waits until nothing is pending."""
        self.test.mount.sync()

    # Choices.

    def name(self):
        return os.path.join(self.rng.choice(FOLDERS), self.rng.choice(NAMES))

    def offset(self):
        return self.rng.choice((0, 4096 * self.rng.randrange(self.largest // 4096),
                                self.rng.randrange(self.largest)))

    def content(self):
        size = self.rng.choice((0, 1, 100, 4096, 5000, self.rng.randrange(self.largest)))
        kind = self.rng.randrange(3)
        if kind == 0:
            return noise(self.rng.random(), size)
        if kind == 1:
            return bytes(size)
        return (b"line %d of many\n" % self.rng.randrange(1000) * (size // 10 + 1))[:size]

    # Operations. How often OPERATIONS lists one decides how often it is chosen.

    def create(self):
        flags = os.O_CREAT | os.O_RDWR | self.rng.choice((0, os.O_EXCL, os.O_TRUNC))
        content, mode = self.content(), self.rng.choice((0o644, 0o600, 0o755))

        def act(side, name):
            fd = os.open(self.at(side, name), flags, mode)
            try:
                write_support.write_all(fd, content)
                return shown(os.fstat(fd))
            finally:
                os.close(fd)
        self.both("create", act, self.name())

    def write(self):
        content, append = self.content(), self.rng.random() < 0.3

        def act(side, name, at):
            fd = os.open(self.at(side, name), os.O_WRONLY | (os.O_APPEND if append else 0))
            try:
                done = 0
                while done < len(content):
                    done += os.write(fd, content[done:]) if append else os.pwrite(
                        fd, content[done:], at + done)
            finally:
                os.close(fd)
        self.both("append" if append else "write", act, self.name(), self.offset())

    def truncate(self):
        self.both("truncate", lambda side, name, size: os.truncate(self.at(side, name), size),
                  self.name(), self.offset())

    def rename(self):
        flags = self.rng.choice((0, 0, 0, NOREPLACE, EXCHANGE))
        self.both("rename", lambda side, old, new, flags: renameat2(
            self.at(side, old), self.at(side, new), flags), self.name(), self.name(), flags)

    def rename_directory(self):
        folders = [folder for folder in FOLDERS if folder]
        old = self.rng.choice(folders)
        new = self.rng.choice((*folders, old + "/h"))
        flags = self.rng.choice((0, 0, EXCHANGE))
        self.both("rename directory", lambda side, old, new: renameat2(
            self.at(side, old), self.at(side, new), flags), old, new)

    def link(self):
        self.both("link", lambda side, old, new: os.link(
            self.at(side, old), self.at(side, new), follow_symlinks=False), self.name(), self.name())

    def unlink(self):
        self.both("unlink", lambda side, name: os.unlink(self.at(side, name)), self.name())

    def make_directory(self):
        self.both("mkdir", lambda side, name: os.mkdir(self.at(side, name)),
                  self.rng.choice(FOLDERS[1:]))

    def remove_directory(self):
        self.both("rmdir", lambda side, name: os.rmdir(self.at(side, name)),
                  self.rng.choice(FOLDERS[1:]))

    def symlink(self):
        self.both("symlink", lambda side, target, name: os.symlink(target, self.at(side, name)),
                  self.rng.choice(("a", "a.xz", "nowhere", "d/b.xz")), self.name())

    def readlink(self):
        self.both("readlink", lambda side, name: os.readlink(self.at(side, name)), self.name())

    def chmod(self):
        self.both("chmod", lambda side, name, mode: os.chmod(self.at(side, name), mode),
                  self.name(), self.rng.choice((0o644, 0o600, 0o444, 0o4755, 0o700)))

    def utime(self):
        when = self.rng.randrange(SET_BEFORE_NS)
        name = self.rng.choice((self.name(), self.name(), self.rng.choice(FOLDERS)))
        self.both("utime", lambda side, name, when: os.utime(
            self.at(side, name), ns=(when, when)), name, when)

    def xattr(self):
        key, value = f"user.k{self.rng.randrange(3)}", self.content()[:200]
        if self.rng.random() < 0.3:
            self.both("removexattr", lambda side, name: os.removexattr(self.at(side, name), key),
                      self.name())
            return
        self.both("setxattr", lambda side, name: os.setxattr(self.at(side, name), key, value),
                  self.name())

    def attributes(self):
        def act(side, name):
            path = self.at(side, name)
            return [(key, os.getxattr(path, key)) for key in sorted(os.listxattr(path))]
        self.both("listxattr", act, self.name())

    def look(self):
        self.both("stat", lambda side, name: shown(os.lstat(self.at(side, name))), self.name())

    def list(self):
        self.both("list", lambda side, name: sorted(os.listdir(self.at(side, name))),
                  self.rng.choice(FOLDERS))

    def read(self):
        at, length = self.offset(), self.rng.choice((1, 4096, 100_000, self.largest))

        def act(side, name):
            fd = os.open(self.at(side, name), os.O_RDONLY)
            try:
                return os.pread(fd, length, at)
            finally:
                os.close(fd)
        self.both("read", act, self.name())

    def copy(self):
        def act(side, old, new):
            with open(self.at(side, old), "rb") as source:
                content = source.read()
            write_support.write_file(self.at(side, new), content)
        self.both("copy", act, self.name(), self.name())

    def map(self):
        """Writes through a shared mapping. Its descriptor may be closed by then."""
        early, marks = self.rng.random() < 0.5, [self.rng.random() for _ in range(3)]

        def act(side, name):
            fd = os.open(self.at(side, name), os.O_RDWR)
            try:
                size = os.fstat(fd).st_size
                if size == 0:
                    return 0
                view = mmap.mmap(fd, size)
                if early:
                    os.close(fd)
                    fd = -1
                with view:
                    for number, mark in enumerate(marks):
                        view[int(mark * size)] = number
                    view.flush()
                return size
            finally:
                if fd >= 0:
                    os.close(fd)
        self.both("mmap", act, self.name())

    # Open files.

    def open(self):
        if len(self.handles) >= self.MOST_HANDLES:
            self.close()
        flags = self.rng.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND,
                                 os.O_RDWR | os.O_TRUNC))
        fds = [-1, -1]

        def act(side, name):
            fds[side] = os.open(self.at(side, name), flags | os.O_CLOEXEC)
            return shown(os.fstat(fds[side]))
        self.both("open", act, self.name())
        if min(fds) >= 0:
            self.handles.append(Handle(tuple(fds), flags))
        else:
            for fd in fds:
                if fd >= 0:
                    os.close(fd)

    def close(self):
        if self.handles:
            handle = self.handles.pop(self.rng.randrange(len(self.handles)))
            self.both("close", lambda side: os.close(handle.fds[side]))

    def use(self):
        """Does something through an open file."""
        if not self.handles:
            self.open()
            return
        self.used = handle = self.rng.choice(self.handles)
        at, content = self.offset(), self.content()
        length = self.rng.randrange(1, self.largest)
        acts = {
            "pread": lambda fd: os.pread(fd, length, at),
            "fstat": lambda fd: shown(os.fstat(fd)),
            "pwrite": lambda fd: os.pwrite(fd, content[:65536], at),
            "ftruncate": lambda fd: os.ftruncate(fd, at),
            "fsync": os.fsync,
            "fdatasync": os.fdatasync,
            "punch": lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, at, length),
            "allocate": lambda fd: fallocate(fd, 0, at, 1 + length // 10),
            "fchmod": lambda fd: os.fchmod(fd, 0o640),
        }
        what = self.rng.choice((*acts, "pread", "pread", "pwrite", "pwrite"))
        self.log.append(("through", self.handles.index(handle), "opened with", handle.flags, at,
                         length, len(content)))
        self.both(what, lambda side: acts[what](handle.fds[side]))

    OPERATIONS = ("create", "create", "create", "write", "write", "write", "write", "truncate",
                  "rename", "rename", "rename", "rename_directory", "link", "unlink", "unlink",
                  "make_directory", "make_directory", "remove_directory", "symlink", "readlink",
                  "chmod", "utime", "xattr", "attributes", "look", "list", "read", "read", "copy",
                  "map", "open", "open", "close", "use", "use", "use", "use", "use")

    def step(self):
        getattr(self, self.rng.choice(self.OPERATIONS))()

    def close_all(self):
        while self.handles:
            self.close()

    # Whole trees.

    def seen(self, difference):
        """Shows more of the file that a line of `differences` names: as the page cache has it, as the
        daemon has it, and as it is stored."""
        name = difference[2:difference.find(difference[1], 2)]
        path = os.path.join(self.mounted(), name)
        stored = os.path.join(self.test.source, name + ".xz")
        texts = []
        if os.path.isfile(path):
            texts += [str(os.stat(path)), repr(write_support.read_file(path)[:80])]
            texts.append(str(os.getxattr(path, "user.xzfs.info")))
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            texts.append("page cache dropped: " + repr(os.pread(fd, 80, 0)))
            os.close(fd)
        if os.path.isfile(stored):
            texts.append("stored: " + repr(support.run(["xz", "-dc", stored])[:80]))
        return "\n".join(texts)

    def wanted(self):
        return comparable(snapshot(self.oracle))

    def compare(self, got=None, fields=Entry._fields, what="the whole tree"):
        self.counts["compare"] += 1
        found = write_support.differences(
            comparable(snapshot(self.mounted()) if got is None else got), self.wanted(), fields)
        if found:
            self.fail(f"{what}:\n" + "\n".join(found[:10]) + "\n" + self.seen(found[0]))
        for number, handle in enumerate(self.handles):
            got, wanted = (os.pread(fd, self.largest * 4, 0) for fd in handle.fds)
            support.assert_same(self.test, got, wanted, f"open file {number}, {what}")


class BordersModel(Model):
    """Says that there are file systems below. The kernel sees such borders only in the oracle, so of
    several errors the two sides may report different ones."""

    @staticmethod
    def may_differ(got, wanted):
        return "EXDEV" in (got, wanted) and all(
            isinstance(result, str) and hasattr(errno, result) for result in (got, wanted))
