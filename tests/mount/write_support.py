"""What the tests of writing share: files in each state, trees to compare, stored files to judge.

Further environment: XZFS_TEST_SEED (1; of random operations and of faults), XZFS_TEST_SECONDS (how
long each random test lasts; by default what the test says, times XZFS_TEST_SCALE).
"""

import collections
import contextlib
import errno
import hashlib
import lzma
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import support
from support import Mount, MountTest, run, temp_dir, wait_until

SEED = int(os.environ.get("XZFS_TEST_SEED", "1"))
STATES = ("plain", "compressed", "edited")
XZ_MAGIC = b"\xfd7zXZ\0"
PRIVATE = b".xzfs"
ESCAPE = b".xzhot"
COMPRESSED = (b".xz", b".txz", b".lzma", b".lz", b".tlz")
# Nothing is committed before the test asks for it.
NEVER = "settle=1000"
# Also what would not shrink is compressed.
EVERYTHING = "min_saving=0"


def seconds(default):
    """How long a random test lasts."""
    chosen = os.environ.get("XZFS_TEST_SECONDS")
    return float(chosen) if chosen else max(1.0, default * support.SCALE)


def noise(seed, size):
    """Bytes that can't be compressed."""
    return random.Random(seed).randbytes(size)


# Files.


def write_file(path, content, mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        write_all(fd, content)
    finally:
        os.close(fd)


def write_all(fd, content):
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view):]


def write_at(path, offset, content):
    """Changes an existing file."""
    fd = os.open(path, os.O_WRONLY)
    try:
        while content:
            done = os.pwrite(fd, content, offset)
            content, offset = content[done:], offset + done
    finally:
        os.close(fd)


def read_file(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()


def patched(content, offset, new):
    """`content` after `new` was written at `offset`."""
    content = content + bytes(max(0, offset - len(content)))
    return content[:offset] + new + content[offset + len(new):]


# Stored files, judged by other programs.


def listing(path):
    """What `xz --list` says of a stored file: {"blocks": plain sizes, "check": its name}."""
    lines = [line.split("\t") for line in
             run(["xz", "--robot", "--list", "-vv", path]).decode(errors="replace").splitlines()]
    return {"blocks": [int(line[7]) for line in lines if line[0] == "block"],
            "check": next(line[6] for line in lines if line[0] == "file"),
            "filters": {line[15] for line in lines if line[0] == "block" and len(line) > 15}}


def assert_valid(test, path, content):
    """`xz -t`, Python's lzma and 7z agree that the stored file is complete and holds `content`."""
    run(["xz", "-t", path])
    test.assertEqual(read_file(path)[:6], XZ_MAGIC)
    support.assert_same(test, lzma.decompress(read_file(path)), content, f"lzma of {path}")
    by_7z = support.xz_output(path, ("7z", "x", "-si", "-so", "-txz"))
    support.assert_same(test, by_7z, content, f"7z of {path}")


def assert_all_valid(paths):
    """`xz -t` of them all."""
    for at in range(0, len(paths), 500):
        run(["xz", "-t", "-q", "--", *paths[at:at + 500]])


# Trees.

Entry = collections.namedtuple("Entry", "kind mode uid gid size mtime_ns nlink content")
ALL_FIELDS = Entry._fields
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
         stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device",
         stat.S_IFBLK: "block device"}


def _entry(st, content, size=None):
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    if kind == "directory":  # their sizes and link counts depend on the file system
        return Entry(kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, 0, st.st_mtime_ns, 0, None)
    return Entry(kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid,
                 st.st_size if size is None else size, st.st_mtime_ns, st.st_nlink, content)


def digest(content):
    return hashlib.sha256(content).hexdigest()


def _walk(root, visit):
    """Calls visit(relative path, absolute path) for everything beneath, except for the `.xzfs` that
    belongs to xzfs: the one at the root of each file system."""
    root = os.fsencode(root)
    for folder, folders, files in os.walk(root):
        if PRIVATE in folders and (folder == root or os.path.ismount(folder)):
            folders.remove(PRIVATE)
        for name in folders + files:
            path = os.path.join(folder, name)
            visit(os.path.relpath(path, root), path)


def snapshot(root):
    """{relative path: Entry} of a mount or a plain directory, as its user sees it."""
    tree = {}

    def visit(name, path):
        st = os.lstat(path)
        content = None
        if stat.S_ISREG(st.st_mode):
            content = digest(read_file(path))
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            content = st.st_rdev
        tree[name] = _entry(st, content)

    _walk(root, visit)
    return tree


def _unescaped(path):
    """The logical name of a plain file or symlink that is stored under `path`."""
    if not path.endswith(ESCAPE):
        return path
    stem = path[:-len(ESCAPE)]
    base = os.path.basename(stem)
    if base.endswith(ESCAPE) or any(base.endswith(suffix) and base[:-len(suffix)] not in
                                    (b"", b".", b"..") for suffix in COMPRESSED):
        return stem
    return path


def stored_snapshot(source):
    """The same for a source that is not mounted, only from its names and with Python's decoder."""
    tree, compressed = {}, []

    def visit(name, path):
        st = os.lstat(path)
        content, size = None, None
        if stat.S_ISREG(st.st_mode):
            content = read_file(path)
            if _unescaped(name) != name:
                name = _unescaped(name)
            elif name.endswith(b".xz") and content.startswith(XZ_MAGIC):
                compressed.append(path)
                name, content = name[:-3], lzma.decompress(content)
            size, content = len(content), digest(content)
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
            if _unescaped(name) != name:
                name = _unescaped(name)
            elif name.endswith(b".xz") and content.endswith(b".xz"):
                name, content = name[:-3], content[:-3]
                size = len(content)
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            name, content = _unescaped(name), st.st_rdev
        if name in tree:
            raise AssertionError(f"{source}: two stored files for {name!r}")
        tree[name] = _entry(st, content, size)

    _walk(source, visit)
    assert_all_valid(compressed)
    return tree


def differences(got, wanted, fields=ALL_FIELDS):
    """One line for each difference of two trees."""
    lines = []
    for name in sorted(set(got) | set(wanted)):
        if name not in wanted:
            lines.append(f"{name!r}: should not be there: {got[name]}")
        elif name not in got:
            lines.append(f"{name!r}: is missing, wanted {wanted[name]}")
        else:
            lines += [f"{name!r}: {field} is {getattr(got[name], field)!r}, "
                      f"wanted {getattr(wanted[name], field)!r}"
                      for field in fields
                      if getattr(got[name], field) != getattr(wanted[name], field)]
    return lines


def assert_same_tree(test, got, wanted, what, fields=ALL_FIELDS):
    found = differences(got, wanted, fields)
    if found:
        test.fail(f"{what}: {len(found)} differences\n" + "\n".join(found[:20]))


def without_directory_times(tree):
    """The tree without the times of directories, for two looks with a commit in between. A test in
    test_write_attributes.py checks those times."""
    return {name: entry._replace(mtime_ns=0) if entry.kind == "directory" else entry
            for name, entry in tree.items()}


def leftovers(source):
    """What is below `.xzfs` although nothing is pending and no daemon runs. The lock of the daemons and
    the marker stay, and so may an empty lost+found."""
    home = os.path.join(os.fsencode(source), PRIVATE)
    found = []
    for folder, folders, files in os.walk(home):
        for name in folders + files:
            path = os.path.join(folder, name)
            if folder == home and (name == b"lock" and os.path.getsize(path) == 0
                                   or name == b"marker"
                                   or name == b"lost+found" and not os.listdir(path)):
                continue
            found.append(path)
    return found


def stored_path(source, name):
    return os.path.join(source, name + (b".xz" if isinstance(name, bytes) else ".xz"))


# What a test may do with a file.


def outcome(change, path):
    """The result of change(path): "ok", or the name of its error."""
    try:
        change(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


@contextlib.contextmanager
def attribute(flag, *paths):
    """Sets the attribute with chattr +FLAG."""
    if subprocess.run(["chattr", "+" + flag, *paths], capture_output=True, check=False).returncode:
        raise unittest.SkipTest("this file system has no such attributes")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-" + flag, *paths], check=True)


# Mounts.


class SyncFailed(OSError):
    """What cmd.sync says about files that are not committed. `errno` is that of the first one, if the
    text has it."""

    def __init__(self, text):
        code = next((code for code in errno.errorcode if os.strerror(code) in text), errno.EIO)
        super().__init__(code, text)


class WriteMount(Mount):
    """A mount for writing. Unless the options say otherwise, nothing is committed before sync(), and then
    all files are, however small: the default of min_saving is the subject of test_write_plain.py.
    """

    defaults = (NEVER, EVERYTHING)

    def __init__(self, source, options="", **more):
        for default in self.defaults:
            if default.split("=")[0] + "=" not in options:
                options = ",".join(filter(None, (options, default)))
        super().__init__(source, options, **more)
        self.ended = False

    def sync(self):
        """Waits until nothing is pending. Fails if a file is left that should have been committed."""
        answer = os.getxattr(self.path, "user.xzfs.cmd.sync")
        if answer != b"ok":
            raise SyncFailed(answer.decode(errors="replace"))

    def sync_error(self):
        """The text of a sync that fails."""
        try:
            self.sync()
        except OSError as error:
            return error.strerror.removeprefix("error: ")
        raise AssertionError("cmd.sync answers ok")

    def commits(self):
        return self.stats()["commits"]

    def state(self, name):
        return self.info(name)["state"]

    def kill(self):
        """kill -9 of the daemon: what it left is as after a crash."""
        self.kill_daemon()
        self.reap()

    def kill_daemon(self):
        """The dead mount stays until `reap`: otherwise a writer that is still running would go on in the
        folder below it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def reap(self):
        """For a daemon that ended for another reason than umount."""
        self.process.wait(60)
        self.ended = True
        support._detach(self.path)  # pylint: disable=protected-access

    def __exit__(self, kind, error, trace):
        if not self.ended:
            return super().__exit__(kind, error, trace)
        self._clean_up()
        return False


class SavingMount(WriteMount):
    """The same with the default of min_saving."""

    defaults = (NEVER,)


class Call(collections.namedtuple("Call", "thread name text failed begin end")):
    """A line of strace: the thread, the call's name, its arguments and result as text, whether it
    failed, and the time."""


_CALL = re.compile(r"(\d+\.\d+) (\w+)\((.*)\) += (-?\w+)(.*?)(?: <(\d+\.\d+)>)?$")


class Strace:
    """strace on all threads of a running process, as a context manager; it detaches at the end.

    `expressions` are those of `-e`. strace counts `when=` for each thread by itself.
    """

    def __init__(self, pid, *expressions):
        self.pid, self.expressions = pid, expressions
        self._folder = tempfile.mkdtemp(prefix="xzfs-strace-")

    @staticmethod
    def flags(folder, expressions):
        """Paths of descriptors, times, and one log for each thread: no call is torn in two lines."""
        argv = ["-ff", "-qq", "-y", "-ttt", "-T", "-s", "300", "-o", os.path.join(folder, "log")]
        for expression in expressions:
            argv += ["-e", expression]
        return argv

    def __enter__(self):
        self._process = subprocess.Popen(
            ["strace", *self.flags(self._folder, self.expressions), "-p", str(self.pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        def attached():
            if self._process.poll() is not None:
                raise AssertionError(f"strace: {self._process.stderr.read()!r}")
            return all(self._is_traced(task) for task in os.listdir(f"/proc/{self.pid}/task"))

        wait_until(attached, "strace has all threads")
        return self

    def _is_traced(self, task):
        try:
            with open(f"/proc/{self.pid}/task/{task}/status", encoding="ascii") as status:
                return "TracerPid:\t0\n" not in status.read()
        except FileNotFoundError:
            return True

    def detach(self):
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()

    def calls(self):
        return read_calls(self._folder)

    def injected(self):
        """How many calls strace tampered with."""
        return sum("(INJECTED)" in call.text for call in self.calls())

    def __exit__(self, *_):
        self.detach()
        shutil.rmtree(self._folder, ignore_errors=True)


def read_calls(folder):
    """The Calls in the logs that strace left in `folder`, in the order in which they were made."""
    calls = []
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
            for line in log:
                if found := _CALL.match(line.rstrip("\n")):
                    begin = float(found[1])
                    calls.append(Call(name, found[2], found[3] + found[5], found[4] == "-1", begin,
                                      begin + float(found[6] or 0)))
    return sorted(calls, key=lambda call: call.begin)


# Tests.


class OnMount(MountTest):
    """`self.mount` is a mount of the empty `self.source`, `self.root` its path.

    After each test that passed it is unmounted; what is stored then must be, by `xz -t`, Python's
    decoder and the names alone, what the mount showed; and nothing may be left in `.xzfs`.
    """

    options = ""
    flags = ()
    deadline_s = 240  # a mount that lives longer hangs
    check_end = True  # a test may turn off the check of what the mount showed last

    def setUp(self):
        super().setUp()
        deadline_s = self.deadline_s + 2 * seconds(0)
        self.mount = WriteMount(self.source, self.options, flags=self.flags, deadline_s=deadline_s)
        self.mount.__enter__()
        self.root = self.mount.path
        self.addCleanup(self.leave)

    def leave(self):
        if not self._outcome.success:
            print(f"--- the daemon's log:\n{self.mount.log()[-8000:]}", file=sys.stderr)
            self.mount.kill()
            self.mount.__exit__(None, None, None)
            return
        if not self.check_end:
            self.mount.__exit__(None, None, None)
            return
        try:
            seen = snapshot(self.root)
        except BaseException as error:
            self.mount.__exit__(type(error), error, None)
            raise
        self.mount.__exit__(None, None, None)
        assert_same_tree(self, without_directory_times(stored_snapshot(self.source)),
                         without_directory_times(seen), "stored, against the mount")
        self.assertEqual(leftovers(self.source), [])

    def path(self, name):
        return self.mount / name

    def store_all(self, files):
        """Makes {name: (content, state)}."""
        for name, (content, state) in files.items():
            if state == "compressed":
                write_file(self.path(name), content)
            elif state == "edited":
                # Before the edit, one byte differs, or the file is longer if it will be empty.
                write_file(self.path(name), self._before_edit(content))
        if any(state != "plain" for _, state in files.values()):
            self.mount.sync()
        for name, (content, state) in files.items():
            if state == "plain":
                write_file(self.path(name), content)
            elif state == "edited":
                if content:
                    write_at(self.path(name), len(content) // 2,
                             content[len(content) // 2:len(content) // 2 + 1])
                else:
                    os.truncate(self.path(name), 0)
        for name, (content, state) in files.items():
            self.assert_state(name, state)
            self.assertEqual(os.stat(self.path(name)).st_size, len(content))

    @staticmethod
    def _before_edit(content):
        if not content:
            return b"to be cut off"
        at = len(content) // 2
        return content[:at] + bytes((content[at] ^ 0xFF,)) + content[at + 1:]

    def store(self, name, content, state):
        """Makes one file; this may compress other files that are plain or edited."""
        self.store_all({name: (content, state)})
        return self.path(name)

    def sync(self):
        self.mount.sync()

    def assert_state(self, name, state):
        self.assertEqual(self.mount.state(name), state, name)

    def assert_content(self, name, content, what=""):
        path = self.path(name)
        self.assertEqual(os.stat(path).st_size, len(content), f"size of {name} {what}")
        support.assert_same(self, read_file(path), content, f"{name} {what}")

    def assert_committed(self, name, content, what=""):
        """After a sync the file is compressed: only the `.xz` is stored, and it is valid."""
        self.sync()
        self.assert_state(name, "compressed")
        self.assert_content(name, content, what)
        self.assertFalse(os.path.lexists(os.path.join(self.source, name)), what)
        assert_valid(self, stored_path(self.source, name), content)


class OnPlainDirectory(unittest.TestCase):
    """The same without a mount: shows that a test expects what a POSIX file system does."""

    assert_errno = MountTest.assert_errno
    assert_content = OnMount.assert_content

    def setUp(self):
        self.root = self.source = self.enterContext(temp_dir("xzfs-plain-"))

    def path(self, name):
        return os.path.join(self.root, name)

    def store_all(self, files):
        for name, (content, _) in files.items():
            write_file(self.path(name), content)

    def store(self, name, content, _state):
        write_file(self.path(name), content)
        return self.path(name)

    def sync(self):
        pass

    def assert_state(self, name, state):
        pass

    def assert_committed(self, name, content, what=""):
        self.assert_content(name, content, what)


def in_threads(work, arguments, deadline_s=120):
    """Runs work(argument) for each in a thread of its own; raises the first failure."""
    failures = []

    def one(argument):
        try:
            work(argument)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=one, args=(argument,), daemon=True)
               for argument in arguments]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline_s * support.SLOWNESS
    for thread in threads:
        thread.join(max(0.1, end - time.monotonic()))
        if thread.is_alive():
            raise AssertionError(f"a thread still works after {deadline_s} s")
    if failures:
        raise failures[0]


def child(program, *arguments, **more):
    """Runs a Python program as another process; returns its stdout, fails with its stderr."""
    return run([sys.executable, "-c", program, *map(str, arguments)], **more).decode()
