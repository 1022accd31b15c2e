"""The readers: xzfs, the other ways to read the same data, and the machine's own limits. Each reader is a
function that makes one fresh mount or process and returns one sample."""

import contextlib
import copy
import json
import os
import shlex
import subprocess

import host
from host import MIB, Failed, Unavailable

# What the daemon may need besides cache_size and one decoder per thread.
ALLOWANCE_BYTES = 32 * MIB


def sample(value, **details):
    return {"value": value, **details}


class Bench:
    """The things that every reader needs: the corpus, the programs, the options of the run."""

    def __init__(self, corpus, binary, tools, xzfs_options, quick):
        self.corpus = corpus
        self.binary = binary
        self.xzfs_options = xzfs_options
        self.quick = quick
        self._tools = tools
        self._decoder_bytes = None

    # Programs.

    def with_binary(self, binary):
        other = copy.copy(self)
        other.binary = binary
        return other

    def ctl(self):
        """The xzfsctl beside the build under test."""
        return os.path.join(os.path.dirname(self.binary), "xzfsctl")

    def tool(self, name):
        return os.path.join(self._tools, name)

    def json_of(self, tool, *arguments, timeout=600):
        return json.loads(host.run([self.tool(tool), *map(str, arguments)], timeout=timeout))

    def probe(self, mode, path, timeout=600, **options):
        words = [word for key, value in options.items()
                 for word in (f"--{key.replace('_', '-')}", value)]
        return self.json_of("read_probe", mode, path, *words, timeout=timeout)

    def supports(self, option):
        """Whether the build under test names the option in its help."""
        shown = subprocess.run([self.binary, "-h"], capture_output=True, text=True, check=False)
        return option in shown.stdout + shown.stderr

    def decoder_bytes(self):
        """The memory of one decoder for the corpus' files; all have the same preset."""
        if self._decoder_bytes is None:
            shown = host.run(["xz", "--robot", "-lvv", self.made("xz/src-1m.tar.xz")])
            line = next(line for line in shown.splitlines() if line.startswith("summary"))
            self._decoder_bytes = int(line.split()[1])
        return self._decoder_bytes

    def made(self, name):
        self.corpus.make(name)
        return self.corpus.path(name)

    # Mounts.

    @contextlib.contextmanager
    def xzfs(self, source, figures, options="", discard=False):
        """Mounts the folder; `figures` gets the cost of the daemon. `discard`: don't wait at the end
        for files that are not committed."""
        chosen = ",".join(part for part in (options, self.xzfs_options) if part)
        argv = [self.binary, "-f", source, "{}"] + (["-o", chosen] if chosen else [])
        with host.daemon_mount(self.corpus.work, argv) as daemon:
            yield daemon.point
            stats = daemon.stats()
            figures["rss_bytes"] = daemon.peak_rss_bytes()
            figures["cpu_s"] = daemon.cpu_s()
            figures["stats"] = stats
            if stats:
                figures["bound_bytes"] = (stats["budget"]["total_bytes"] + ALLOWANCE_BYTES +
                                          stats["threads"] * self.decoder_bytes())
            if discard:
                daemon.kill()

    def passthrough(self, source):
        return host.fuse_mount(self.corpus.work, [self.tool("passthrough"), source, "{}"])


def _squashfuse(bench, image):
    host.require_program("squashfuse_ll", "squashfuse")
    return host.fuse_mount(bench.corpus.work, ["squashfuse_ll", "-f", image, "{}"])


@contextlib.contextmanager
def _file_in(mount, name):
    with mount as point:
        yield os.path.join(point, name)


def _plain(bench, name="plain/src.tar"):
    return contextlib.nullcontext(bench.made(name))


def _nbdfuse(bench):
    host.require_program("nbdfuse", "libnbd-bin")
    host.require_program("nbdkit", "nbdkit")
    argv = ["nbdfuse", "{}", "--command", "nbdkit", "-s", "--exit-with-parent", "--filter=xz",
            "file", bench.made("xz/src-1m.tar.xz")]
    return _file_in(host.fuse_mount(bench.corpus.work, argv, "{}/nbd"), "nbd")


def _avfs(bench):
    host.require_program("avfsd", "avfs")
    stored = bench.made("xz/src-1m.tar.xz")
    # #uxze: the decompressed tar, not a tree of its members, which avfs shows for this name by itself.
    return _file_in(host.fuse_mount(bench.corpus.work, ["avfsd", "-f", "{}"]),
                    stored.lstrip("/") + "#uxze")


def _archivemount(bench):
    host.require_program("archivemount", "archivemount")
    argv = ["archivemount", "-f", "-o", "readonly", bench.made("images/src-in.tar.xz"), "{}"]
    return _file_in(host.fuse_mount(bench.corpus.work, argv), "src.tar")


def file_mount(peer):
    """A function of the bench: mounts the file that contains src.tar, yields the path of src.tar."""
    kernel = {"squashfs-128k": ("images/src-128k.sqsh", "squashfs"),
              "squashfs-1m": ("images/src-1m.sqsh", "squashfs"),
              "erofs-lzma-1m": ("images/src-1m.erofs", "erofs"),
              "btrfs-zstd-3": ("images/src.btrfs", "btrfs")}
    if peer in kernel:
        image, fstype = kernel[peer]
        return lambda bench: _file_in(
            host.kernel_mount(bench.corpus.work, bench.made(image), fstype), "src.tar")
    return {
        "squashfuse_ll-128k": lambda bench: _file_in(
            _squashfuse(bench, bench.made("images/src-128k.sqsh")), "src.tar"),
        "squashfuse_ll-1m": lambda bench: _file_in(
            _squashfuse(bench, bench.made("images/src-1m.sqsh")), "src.tar"),
        "nbdfuse-xz": _nbdfuse,
        "avfs": _avfs,
        "archivemount": _archivemount,
        "plain": _plain,
        "passthrough": lambda bench: _file_in(
            bench.passthrough(os.path.dirname(bench.made("plain/src.tar"))), "src.tar"),
    }[peer]


# Sequential reads, MB/s.


def mb_per_s(result):
    if result["bytes"] == 0:
        raise Failed("the file is empty there")
    return result["bytes"] / result["seconds"] / 1e6


def xzfs_sequential(stored, options="", **how):
    def read(bench):
        path, figures = bench.made(stored), {}
        host.drop_caches()
        with bench.xzfs(os.path.dirname(path), figures, options) as point:
            name = os.path.basename(path).removesuffix(".xz")
            result = bench.probe("seq", os.path.join(point, name), **how)
        return sample(mb_per_s(result), **figures)
    return read


def xz_sequential(stored, flag):
    def read(bench):
        path = bench.made(stored)
        plain = bench.made(stored.replace("xz/", "plain/").replace("src-1m", "src").replace(
            "src-single", "src").replace("src-24m", "src").removesuffix(".xz"))
        host.drop_caches()
        command = f"exec xz -dc {flag} {shlex.quote(path)} > /dev/null"
        seconds, cpu_s = host.timed(lambda: host.shell(command))
        return sample(os.path.getsize(plain) / seconds / 1e6, cpu_s=cpu_s)
    return read


def peer_sequential(peer, threads=1, limit=None, timeout=600):
    def read(bench):
        mount = file_mount(peer)(bench)
        host.drop_caches()
        with mount as path:
            options = {"limit": limit} if limit else {}
            return sample(mb_per_s(bench.probe("seq", path, timeout=timeout, threads=threads,
                                               **options)))
    return read


def nbdcopy_sequential(bench):
    host.require_program("nbdcopy", "libnbd-bin")
    host.require_program("nbdkit", "nbdkit")
    path = bench.made("xz/src-1m.tar.xz")
    host.drop_caches()
    seconds, cpu_s = host.timed(lambda: host.run(
        ["nbdkit", "-U", "-", "--filter=xz", "file", path, "--run", 'nbdcopy "$uri" null:']))
    return sample(bench.corpus.scale.part_bytes / seconds / 1e6, cpu_s=cpu_s)


# Random reads of 4 KiB: microseconds on average, or reads a second.


def latency(result, **figures):
    return sample(result["mean_us"], p50_us=result["p50_us"], p99_us=result["p99_us"],
                  reads=result["reads"], **figures)


def rate(result, **figures):
    return sample(result["reads"] / result["seconds"], p50_us=result["p50_us"],
                  p99_us=result["p99_us"], reads=result["reads"], **figures)


# Each read is in a different MiB, so none finds data that another one had decoded.
def uncached_plan(bench):
    return {"count": 24 if bench.quick else 200, "distinct": MIB}


# The reads hit the same MiBs again and again: data that was decoded for one read is there for the
# others, in a cache of the file system or in the kernel's.
def set_plan(bench):
    return {"count": 480 if bench.quick else 4000, "seed": 7}


def xzfs_random_uncached(options="", needs=None, plan=uncached_plan):
    def read(bench):
        if needs and not bench.supports(needs):
            raise Unavailable(f"this build has no option {needs}")
        path, figures = bench.made("xz/src-1m.tar.xz"), {}
        host.drop_caches()
        with bench.xzfs(os.path.dirname(path), figures, options) as point:
            result = bench.probe("random", os.path.join(point, "src-1m.tar"), **plan(bench))
        return latency(result, **figures)
    return read


def peer_random_uncached(peer, plan=uncached_plan):
    def read(bench):
        mount = file_mount(peer)(bench)
        host.drop_caches()
        with mount as path:
            return latency(bench.probe("random", path, **plan(bench)))
    return read


def block_alone(bench):
    path = bench.made("xz/src-1m.tar.xz")
    host.drop_caches()
    return latency(bench.probe("decode-block", path, **uncached_plan(bench)))


# The second thousand reads, after another thousand at other offsets. On a build without restart
# points each read may take seconds, so both have a time limit; the sample says how many reads were
# made. A second thread uses the next seed.
def _giant_plan(bench, seed):
    return {"count": 200 if bench.quick else 1000, "seed": seed,
            "max_seconds": 5 if bench.quick else 30}


def xzfs_giant(options="", threads=1):
    def read(bench):
        path, figures = bench.made("xz/src-single.tar.xz"), {}
        host.drop_caches()
        with bench.xzfs(os.path.dirname(path), figures, options) as point:
            plain = os.path.join(point, "src-single.tar")
            first = bench.probe("random", plain, threads=threads, **_giant_plan(bench, 1))
            second = bench.probe("random", plain, threads=threads, **_giant_plan(bench, 3))
        return latency(second, first_mean_us=first["mean_us"], first_reads=first["reads"],
                       **figures)
    return read


def giant_from_start(bench):
    path = bench.made("xz/src-single.tar.xz")
    host.drop_caches()
    plan = _giant_plan(bench, 3)
    plan.pop("max_seconds")
    return latency(bench.probe("decode-from-start", path, **plan))


def _warm_plan(bench):
    return {"count": 20_000 if bench.quick else 100_000, "seed": 5}


def xzfs_random_warm(bench):
    path, figures = bench.made("xz/src-1m.tar.xz"), {}
    host.drop_caches()
    with bench.xzfs(os.path.dirname(path), figures) as point:
        plain = os.path.join(point, "src-1m.tar")
        bench.probe("seq", plain)
        result = bench.probe("random", plain, **_warm_plan(bench))
    return rate(result, **figures)


def plain_random_warm(bench):
    path = bench.made("plain/src.tar")
    bench.probe("seq", path)
    return rate(bench.probe("random", path, **_warm_plan(bench)))


def _cached_plan(bench):
    return {"count": 1_000 if bench.quick else 5_000, "seed": 6}


def xzfs_random_cached(bench):
    """The cache of xzfs has the file, the kernel's doesn't."""
    path, figures = bench.made("xz/src-1m.tar.xz"), {}
    host.drop_caches()
    with bench.xzfs(os.path.dirname(path), figures) as point:
        plain = os.path.join(point, "src-1m.tar")
        # Bypasses the page cache: xzfs does not keep data that the kernel has completely.
        bench.probe("random", plain, count=8_000, seed=7, direct=1)
        result = bench.probe("random", plain, **_cached_plan(bench))
    return rate(result, **figures)


def passthrough_random_cached(bench):
    """The source's pages are in memory; those of the mount aren't, because it is fresh."""
    path = bench.made("plain/src.tar")
    host.drop_caches()
    bench.probe("seq", path)
    with bench.passthrough(os.path.dirname(path)) as point:
        return rate(bench.probe("random", os.path.join(point, "src.tar"), **_cached_plan(bench)))


# Trees: files a second.


def _tar(point):
    # GNU tar reads no file if its output is /dev/null itself.
    return lambda: host.shell("tar cf - . | cat > /dev/null", cwd=point)


def xzfs_tar(bench):
    source, figures = bench.made("tree.xz"), {}
    host.drop_caches()
    with bench.xzfs(source, figures) as point:
        seconds, _ = host.timed(_tar(point))
    return sample(bench.corpus.scale.tree_files / seconds, **figures)


def _tree_mount(bench, peer):
    if peer in ("squashfs-128k", "squashfuse_ll-128k"):
        image = bench.made("images/tree-128k.sqsh")
        return (_squashfuse(bench, image) if peer.startswith("squashfuse")
                else host.kernel_mount(bench.corpus.work, image, "squashfs"))
    if peer == "passthrough":
        return bench.passthrough(bench.made("tree"))
    return _plain(bench, "tree")


def peer_tar(peer):
    def read(bench):
        mount = _tree_mount(bench, peer)
        host.drop_caches()
        with mount as point:
            seconds, _ = host.timed(_tar(point))
        return sample(bench.corpus.scale.tree_files / seconds)
    return read


def xargs_xz(bench):
    tree = bench.made("tree.xz")
    host.drop_caches()
    script = "find . -type f -print0 | xargs -0 -P2 -n 500 xz -dc | cat > /dev/null"
    seconds, cpu_s = host.timed(lambda: host.shell(script, cwd=tree))
    return sample(bench.corpus.scale.tree_files / seconds, cpu_s=cpu_s)


def _listing(bench, point):
    seconds, _ = host.timed(lambda: host.shell("find . -ls > /dev/null", cwd=point))
    return bench.corpus.scale.listed_files / seconds


def xzfs_listing(tree):
    """Names, attributes and contents of the source are in memory; the mount is fresh."""
    def read(bench):
        source, figures = bench.made(tree), {}
        bench.probe("tree", source)
        with bench.xzfs(source, figures) as point:
            value = _listing(bench, point)
        return sample(value, **figures)
    return read


def passthrough_listing(tree):
    def read(bench):
        source = bench.made(tree)
        bench.probe("tree", source)
        with bench.passthrough(source) as point:
            return sample(_listing(bench, point))
    return read


def missing(why):
    def read(_):
        raise Unavailable(why)
    return read


