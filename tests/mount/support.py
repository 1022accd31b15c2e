"""What the mount tests share: a mounted xzfs that they watch for leaks, and reads that they check.

Environment: XZFS_BINARY (the daemon under test), XZFS_REQUIRE_MOUNT=1 (a machine without FUSE is a
failure, not a skip), XZFS_TEST_SCALE (1.0; scales iteration counts), XZFS_TEST_SLOWNESS (1; how many
times longer a test waits before it gives up), TMPDIR (needs a file system with hard links and user.*
attributes).
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import own_mounts

MIB = 1 << 20
BINARY = os.environ.get("XZFS_BINARY", "")
REQUIRE_MOUNT = os.environ.get("XZFS_REQUIRE_MOUNT") == "1"
SCALE = float(os.environ.get("XZFS_TEST_SCALE", "1.0"))
_HERE = os.path.dirname(os.path.abspath(__file__))
# ctest takes this exit code for "skipped".
SKIPPED = 77

_libc = ctypes.CDLL(None, use_errno=True)


def _sanitizer():
    try:
        with open(BINARY, "rb") as binary:
            content = binary.read()
    except OSError:
        return None
    for symbol, name in ((b"__asan_init", "address"), (b"__tsan_init", "thread")):
        if symbol in content:
            return name
    return None


# Daemons with sanitizers are slower and larger: SLOWNESS multiplies limits of time, and figures of
# memory are only printed (`check_rss`).
SANITIZER = _sanitizer()
SLOWNESS = (10 if SANITIZER else 1) * int(os.environ.get("XZFS_TEST_SLOWNESS", "1"))
# Nothing takes this long, even on a machine that is busy with three more runs of these tests.
HANGS_S = 120.0


def scaled(count, least=1):
    return max(least, int(count * SCALE))


def corpora():
    """{name: bytes} of each set of decoder test files: the generated ones, and those in XZFS_CORPUS or
    in a folder beside the project, if it exists."""
    sys.path.insert(0, os.path.join(_HERE, "..", "corpus"))
    import make_corpus  # pylint: disable=import-error,import-outside-toplevel
    found = [dict(make_corpus.corpus())]
    folder = os.environ.get("XZFS_CORPUS") or os.path.join(_HERE, "../../../shared/xz-corpus")
    if os.path.isdir(folder):
        files = {}
        for name in os.listdir(folder):
            if name != "README":
                with open(os.path.join(folder, name), "rb") as file:
                    files[name] = file.read()
        found.append(files)
    return found


def fuse_refusal():
    """Why this machine can't mount, or None."""
    if not BINARY or not os.access(BINARY, os.X_OK):
        return f"XZFS_BINARY={BINARY!r} is not a program"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse can't be used: {error.strerror}"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "fusermount3 is not installed (package fuse3)"
    return None


def threads_of(pid):
    """Where each thread of a process is, for a message: its name, its state, and, if this process may
    read it, the function in which it waits."""
    lines = []
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        texts = []
        for name in ("comm", "stat", "syscall", "stack"):
            try:
                with open(f"/proc/{pid}/task/{task}/{name}", encoding="utf-8") as file:
                    text = file.read()
            except OSError as error:
                text = error.strerror
            texts.append(text.rpartition(")")[2].split()[0] if name == "stat" else
                         " < ".join(text.split("\n")[:8]))
        lines.append(" ".join(texts))
    return "\n".join(lines)


def wait_until(condition, what, deadline_s=HANGS_S):
    """Polls until `condition()` is true and returns its value; fails after the deadline. `what` may be
    a function that says what is there instead."""
    end = time.monotonic() + deadline_s * SLOWNESS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {deadline_s * SLOWNESS:.0f} s: {told}")
        time.sleep(0.01)  # poll


def thread_states(pid):
    """The letters that /proc gives the states of the process's threads."""
    states = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", "rb") as figures:
            states.add(figures.read().rsplit(b")", 1)[1].split()[0].decode())
    return states


def stop(process):
    """Stops all threads of a process. The signal alone does not wait: a thread may go on for a moment."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: thread_states(process.pid) == {"T"}, "all of it is stopped")


@contextlib.contextmanager
def stopped(process):
    """The process does nothing in the block."""
    stop(process)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def temp_dir(prefix="xzfs-test-"):
    path = tempfile.mkdtemp(prefix=prefix)
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _mounted(path):
    with open("/proc/self/mountinfo", "rb") as table:
        return any(line.split()[4] == os.fsencode(path) for line in table)


def _detach(path):
    """umount -l is the last resort, so that no test leaves a mount behind."""
    if _libc.umount2(os.fsencode(path), 2) != 0:
        subprocess.run(["fusermount3", "-u", "-z", path], stderr=subprocess.DEVNULL, check=False)


class Mount:
    """`xzfs -f SOURCE MOUNTPOINT` as a context manager, which checks that the daemon ends cleanly.

    When the context ends, every file under the mount is closed; the daemon has no more descriptors
    than after mounting, plus its documented cache; it unmounts and exits with 0; and its log has no
    sanitizer report. A mount that lives longer than `deadline_s` is killed, so a read that hangs
    becomes a failure and not a test that hangs.
    """

    def __init__(self, source, options="", flags=(), descriptor_limit=None, deadline_s=240.0,
                 environment=None, prefix=()):
        self.source = source
        self.options = options
        self.flags = list(flags)
        self.descriptor_limit = descriptor_limit
        self.deadline_s = deadline_s * SLOWNESS
        self.environment = environment
        self.prefix = prefix  # of the command, as setpriv
        self.timed_out = False
        self.path = None
        self.process = None

    # Paths.

    def __truediv__(self, name):
        return os.path.join(os.fsencode(self.path) if isinstance(name, bytes) else self.path, name)

    # Figures.

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with open(self._log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stats(self):
        return json.loads(os.getxattr(self.path, "user.xzfs.stats"))

    def info(self, name):
        return json.loads(os.getxattr(self / name, "user.xzfs.info"))

    def status_kib(self, field):
        """A figure of /proc/PID/status in KiB: VmRSS, VmHWM."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError(f"no {field} for the daemon")

    def descriptors(self):
        links = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    links.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:
                        raise
                    links.append(self.source + "/deeper than a path can say")
        return links

    # Life.

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="xzfs-mount-")
        os.chmod(self._folder, 0o755)
        self.path = os.path.realpath(os.path.join(self._folder, "mnt"))
        os.mkdir(self.path)
        self._log_path = os.path.join(self._folder, "stderr")
        try:
            self._start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def _start(self):
        argv = [*self.prefix, BINARY, "-f", *self.flags, self.source, self.path]
        if self.options:
            argv += ["-o", self.options]

        def limit():
            if self.descriptor_limit is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptor_limit,) * 2)

        environment = dict(os.environ, **(self.environment or {}))
        with open(self._log_path, "wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                preexec_fn=limit if self.descriptor_limit is not None else None)
        before = os.stat(self._folder).st_dev

        def answers():
            if not self.alive():
                raise AssertionError(f"xzfs ended with {self.process.returncode}:\n{self.log()}")
            return _mounted(self.path) and os.stat(self.path).st_dev != before

        wait_until(answers, f"the mount answers; its log:\n{self.log()}")
        self._watchdog = threading.Timer(self.deadline_s, self._give_up)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._descriptors_at_start = self.descriptors()

    def _give_up(self):
        self.timed_out = True
        with contextlib.suppress(OSError):
            # Shows why it hangs: where every thread of the daemon waits.
            for task in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{task}/wchan", encoding="ascii") as wchan:
                    print(f"daemon thread {task}: {wchan.read()}", file=sys.stderr)
        self.process.kill()
        _detach(self.path)

    def check_descriptors(self):
        """No descriptor is leaked: those that are open since the start fit into the documented cache."""
        inside = [link for link in map(_link_or_none, _own_descriptors())
                  if link is not None and link.startswith(self.path + "/")]
        if inside:
            raise AssertionError(f"the test itself keeps files open: {inside}")
        limit = self.stats()["descriptors"]["limit"]
        bound = len(self._descriptors_at_start) + limit

        def settled():
            figures = self.stats()["descriptors"]
            return len(self.descriptors()) <= bound and figures["open"] <= limit

        try:
            wait_until(settled, "the daemon's descriptors come back to the documented bound", 5.0)
        except AssertionError as error:
            links = "\n".join(sorted(self.descriptors()))
            raise AssertionError(
                f"{error}: {len(self._descriptors_at_start)} after mounting, cache limit {limit}, "
                f"now {self.stats()['descriptors']} and:\n{links}") from None
        # New descriptors belong to the source, or are of a kind that existed at the start.
        kinds = {_kind(link) for link in self._descriptors_at_start}
        source = os.path.realpath(self.source)
        strangers = [link for link in self.descriptors()
                     if _kind(link) not in kinds and not link.startswith(source)]
        if strangers:
            raise AssertionError(f"descriptors of a new kind: {strangers}")

    def unmount(self, deadline_s=HANGS_S):
        """Unmounts and returns the daemon's exit code."""
        if os.geteuid() == 0:
            def gone():
                if _libc.umount2(os.fsencode(self.path), 0) == 0:
                    return True
                error = ctypes.get_errno()
                if error == errno.EINVAL:
                    return True  # not mounted any more
                if error != errno.EBUSY:
                    raise AssertionError(f"umount: {os.strerror(error)}")
                return False  # killed readers are still ending
            wait_until(gone, "the mount can be unmounted (EBUSY)", deadline_s)
        else:
            subprocess.run(["fusermount3", "-u", self.path], check=True, timeout=60)
        try:
            return self.process.wait(deadline_s * SLOWNESS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"xzfs still runs {deadline_s * SLOWNESS:.0f} s after umount:\n"
                                 + threads_of(self.process.pid)) from None

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                if not self.timed_out:
                    if self.alive():
                        self.check_descriptors()
                        code = self.unmount()
                    else:
                        code = self.process.returncode
                    if code != 0:
                        raise AssertionError(f"xzfs ended with {code}:\n{self.log()[-20000:]}")
            else:
                print(f"--- the daemon's log at the failure:\n{self.log()[-8000:]}",
                      file=sys.stderr)
            if self.timed_out:
                raise AssertionError(f"hang: the test held the mount over {self.deadline_s:.0f} s")
            log = self.log()
            for word in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                         "WARNING: ThreadSanitizer", "terminate called"):
                if word in log:
                    raise AssertionError(f"sanitizer report in the daemon's log:\n{log[-20000:]}")
        finally:
            self._clean_up()
        return False

    def _clean_up(self):
        if getattr(self, "_watchdog", None) is not None:
            self._watchdog.cancel()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if _mounted(self.path):
            _detach(self.path)
        shutil.rmtree(self._folder, ignore_errors=True)


def _own_descriptors():
    return [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]


def _link_or_none(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


def _kind(link):
    """socket:[123] -> socket, anon_inode:[eventfd] and paths stay."""
    return link.split(":")[0] if link.startswith(("socket:", "pipe:")) else link


def check_rss(test, mount, limit_mib, what):
    """The daemon's peak memory is at most `limit_mib`. Always printed."""
    peak = mount.status_kib("VmHWM") / 1024
    print(f"{what}: peak RSS {peak:.0f} MiB, allowed {limit_mib:.0f} MiB"
          + (f" (not judged under {SANITIZER} sanitizer)" if SANITIZER else ""), file=sys.stderr)
    if not SANITIZER:
        test.assertLess(peak, limit_mib, what)


# Expected contents: anything with `size` and `at(offset, length)`.


class Bytes:
    """Expected content that is held in memory."""

    def __init__(self, content):
        self.content = content
        self.size = len(content)

    def at(self, offset, length):
        return self.content[offset:offset + length]


def xz_output(path, tool=("xz", "-dc")):
    """The content that the reference decoder gives for a stored file."""
    with open(path, "rb") as stored:
        done = subprocess.run(tool, stdin=stored, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(tool)} refuses {path}: {done.stderr!r}")
    return done.stdout



def assert_same(test, got, expected, what):
    if got != expected:
        at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
                  min(len(got), len(expected)))
        test.fail(f"{what}: {len(got)} bytes, expected {len(expected)}, first difference at {at}")


def read_fully(test, path, expected, what):
    """Sequential reads in one pass, 128 KiB each as most programs do."""
    fd = os.open(path, os.O_RDONLY)
    try:
        test.assertEqual(os.fstat(fd).st_size, expected.size, f"{what}: st_size")
        offset = 0
        while True:
            got = os.read(fd, 128 << 10)
            if not got:
                break
            assert_same(test, got, expected.at(offset, len(got)), f"{what}: read at {offset}")
            offset += len(got)
        test.assertEqual(offset, expected.size, f"{what}: bytes until the end")
    finally:
        os.close(fd)


def _random_range(rng, size):
    """Ranges of every scale, some of them at or beyond the end."""
    longest = rng.choice((1, 16, 4096, 4097, 65536, 300_000))
    length = rng.randint(1, longest)
    if rng.random() < 0.02:
        return max(0, size - rng.randint(0, length)), length
    return rng.randint(0, size), length


def random_preads(test, path, expected, count, seed, direct=True):
    """`count` preads at random offsets, of random lengths. With `direct` they bypass the kernel's page
    cache, so each of them reaches the daemon."""
    rng = random.Random(seed)
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    try:
        for _ in range(count):
            offset, length = _random_range(rng, expected.size)
            got = os.pread(fd, length, offset)
            if got != expected.at(offset, length):
                assert_same(test, got, expected.at(offset, length),
                            f"pread of {length} at {offset} of {path}")
    finally:
        os.close(fd)


def read_by_mmap(test, path, expected, what):
    if expected.size == 0:
        return  # an empty file can't be mapped
    fd = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as view:
            test.assertEqual(len(view), expected.size, what)
            # Backwards, because the kernel's read-ahead would otherwise hide the order from the daemon.
            step = max(65536, expected.size // 64)
            for offset in reversed(range(0, expected.size, step)):
                assert_same(test, view[offset:offset + step], expected.at(offset, step),
                            f"{what}: mmap at {offset}")
    finally:
        os.close(fd)


def read_concurrently(test, path, expected, seed, readers=8, count=200):
    """Runs `readers` threads at once: half read from front to back, half at random. pread releases the
    interpreter's lock, so their requests are in the daemon at the same time."""
    failures = []
    start = threading.Barrier(readers)

    def read(number):
        try:
            start.wait(60)
            if number % 2:
                random_preads(test, path, expected, count, seed + number)
            else:
                read_fully(test, path, expected, f"reader {number} of {path}")
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def make_compressed(folder, name, content, preset=0, check=-1, mtime_ns=None):
    """Stores `content` as NAME.xz in `folder` with Python's encoder."""
    import lzma
    path = os.path.join(folder, name + (b".xz" if isinstance(name, bytes) else ".xz"))
    with open(path, "wb") as stored:
        stored.write(lzma.compress(content, preset=preset, check=check))
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def run(argv, deadline_s=120, **more):
    """Runs a program that must succeed within the deadline; returns its stdout."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=deadline_s * SLOWNESS, check=False,
                          **more)
    if done.returncode != 0:
        raise AssertionError(f"{argv} ended with {done.returncode}: "
                             f"{done.stderr.decode(errors='replace')}")
    return done.stdout


def make_filesystem(argv, image):
    """Runs mkfs. mkfs.btrfs first looks up the device of every mount on the machine, and fails if it
    can't find one (because of a dead FUSE mount, or a loop device that is just being detached). No
    program has mounted a new image, so mkfs gets an empty table of mounts."""
    unseen = 'mount --bind /dev/null "/proc/$$/mounts" && exec "$@"'
    run(own_mounts.in_own_namespace("sh", "-c", unseen, "sh", *argv, image, keep=(image,)))


class MountTest(unittest.TestCase):
    """Gives each test `self.source`, an empty folder to fill and mount."""

    def setUp(self):
        refusal = fuse_refusal()
        if refusal is not None:
            if REQUIRE_MOUNT:
                self.fail(f"XZFS_REQUIRE_MOUNT=1, but {refusal}")
            self.skipTest(refusal)
        self.source = self.enterContext(temp_dir("xzfs-source-"))

    def assert_errno(self, code, call, *arguments):
        with self.assertRaises(OSError) as caught:
            call(*arguments)
        self.assertEqual(errno.errorcode.get(caught.exception.errno), errno.errorcode[code],
                         f"{getattr(call, '__name__', call)}{arguments}")


class _Result(unittest.TextTestResult):
    """Prints each test with its time."""

    def startTest(self, test):
        self._began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        print(f"  {time.monotonic() - self._began:6.1f} s  {test.id()}", file=sys.stderr,
              flush=True)


def main():
    """Runs the calling module's tests. The exit code is 0 for success; 1 for failures, for a run that
    tested nothing and, with XZFS_REQUIRE_MOUNT=1, for a skipped test; 77 if all tests were skipped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ctest's timeout: leave no mount
    # A shell ignores them for background programs, and so does nohup; child processes would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    program = unittest.main(module="__main__", exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(resultclass=_Result, verbosity=2,
                                                               stream=sys.stderr))
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == 0:
        print("no test ran", file=sys.stderr)
        sys.exit(1)
    unwanted = [f"{test.id()}: {why}" for test, why in result.skipped]
    if REQUIRE_MOUNT and unwanted:
        print("skipped although XZFS_REQUIRE_MOUNT=1:", *unwanted, sep="\n  ", file=sys.stderr)
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)
