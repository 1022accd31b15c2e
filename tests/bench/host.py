"""The machine of a benchmark: caches, processes, mounts that always end, figures of daemons."""

import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

MIB = 1 << 20


class Unavailable(Exception):
    """A program or filesystem that this machine doesn't have; the message says which and why."""


class Failed(Exception):
    """A run that gave no figure."""


def say(text, end="\n"):
    os.write(2, (text + end).encode())


def drop_caches(what=3):
    """1 drops the pages of files; 3 also their names and attributes."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write(str(what))


def require_program(name, package):
    if not any(os.access(os.path.join(folder, name), os.X_OK)
               for folder in os.environ["PATH"].split(":")):
        raise Unavailable(f"{name} is not installed (package {package})")


def run(argv, timeout=600, **options):
    """Output of a program that must succeed. Its whole process group ends with it."""
    options.setdefault("stdout", subprocess.PIPE)
    child = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True,
                             **options)
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"not within {timeout} s: {' '.join(argv)}") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode != 0:
        raise Failed(f"{' '.join(argv)}: exit {child.returncode}: {err.strip()[-300:]}")
    return out


def shell(script, cwd=None, timeout=600):
    return run(["bash", "-c", "set -eo pipefail; " + script], cwd=cwd, timeout=timeout)


def timed(work):
    """Seconds of wall clock and of processor time of the programs that `work` waited for."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def mounts_below(folder):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        # Spaces are written as octal numbers there.
        points = [line.split()[4].replace("\\040", " ") for line in table]
    return [point for point in points if point == folder or point.startswith(folder + "/")]


def unmount(path):
    for attempt in range(20):
        if not mounts_below(path):
            return
        done = subprocess.run(["umount", path], stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            time.sleep(0.05 * (attempt + 1))  # a process that had files open there is ending
    subprocess.run(["umount", "-l", path], check=False)


def unmount_leftovers(folder):
    """Removes what a killed run has left."""
    for path in reversed(mounts_below(folder)):
        unmount(path)


def stats_of(point):
    """user.xzfs.stats of a mount; {} if it has none."""
    try:
        return json.loads(os.getxattr(point, "user.xzfs.stats"))
    except OSError:
        return {}


@contextlib.contextmanager
def scratch_folder(work):
    """An empty folder on the disk of the corpus; it is removed with everything in it."""
    above = os.path.join(work, "scratch")
    os.makedirs(above, exist_ok=True)
    folder = tempfile.mkdtemp(dir=above)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Daemon:
    """A FUSE server in the foreground while its mount is used, and what it cost."""

    def __init__(self, argv, point, ready=None, deadline_s=60):
        self.point = point
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._log,
                                        stderr=self._log, start_new_session=True)
        try:
            self._wait_for_mount(argv, ready or point, time.monotonic() + deadline_s)
        except BaseException:
            self.end()
            raise

    def _wait_for_mount(self, argv, ready, end):
        while not (mounts_below(self.point) and os.path.exists(ready)):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{' '.join(argv)}: no mount: {self._text()[-300:]}")
            time.sleep(0.005)  # poll

    def _text(self):
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def peak_rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s*(\d+) kB", status.read()).group(1)) * 1024

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stats(self):
        return stats_of(self.point)

    def kill(self):
        """The work that the daemon would still do is not needed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        unmount(self.point)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()


@contextlib.contextmanager
def mountpoint(work):
    folder = os.path.join(work, "mnt")
    os.makedirs(folder, exist_ok=True)
    point = tempfile.mkdtemp(prefix="m", dir=folder)
    try:
        yield point
    finally:
        unmount(point)
        with contextlib.suppress(OSError):
            os.rmdir(point)


@contextlib.contextmanager
def daemon_mount(work, argv, ready=None):
    """A Daemon of `argv`, where {} is the mount point."""
    with mountpoint(work) as point:
        daemon = Daemon([part.replace("{}", point) for part in argv], point,
                        ready and ready.replace("{}", point))
        try:
            yield daemon
        finally:
            daemon.end()


@contextlib.contextmanager
def fuse_mount(work, argv, ready=None):
    with daemon_mount(work, argv, ready) as daemon:
        yield daemon.point


@contextlib.contextmanager
def kernel_mount(work, image, fstype, options="ro"):
    with open("/proc/filesystems", encoding="ascii") as known:
        if fstype not in known.read().split():
            with contextlib.suppress(OSError, Failed):
                run(["modprobe", fstype])
    with mountpoint(work) as point:
        try:
            run(["mount", "-t", fstype, "-o", f"loop,{options}", image, point])
        except Failed as error:
            raise Unavailable(f"no {fstype} mount here: {error}") from None
        yield point


def describe():
    """The facts that figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = re.search(r"model name\s*:\s*(.*)", info.read())
    with open("/proc/meminfo", encoding="ascii") as info:
        memory_kib = int(re.search(r"MemTotal:\s*(\d+)", info.read()).group(1))
    packages = {}
    for name in ("liblzma5", "libfuse3-3", "xz-utils", "squashfuse", "squashfs-tools", "nbdkit",
                 "erofs-utils", "btrfs-progs", "avfs", "archivemount"):
        found = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], text=True, check=False,
                               capture_output=True)
        packages[name] = found.stdout if found.returncode == 0 else None
    return {"cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "memory_mib": memory_kib // 1024, "kernel": platform.release(), "packages": packages}
