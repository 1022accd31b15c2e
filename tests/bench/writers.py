"""The writers: xzfs, and the same work without it. Like the readers of peers.py, each writer is a
function that returns one sample. It makes a fresh mount of a fresh folder, on the disk of the corpus,
and removes everything that it wrote."""

import contextlib
import os
import shlex
import shutil

import host
from host import MIB, Failed
from peers import latency, mb_per_s, sample

CHANGE_BYTES = 4096
# The Block size of written files, unless a case says otherwise.
BLOCK = "1MiB"


def _commit_options(preset, block=BLOCK):
    # The references compress everything, too.
    return f"preset={preset},block_size={block},settle=0,min_saving=0"


def _write(bench, source, target, *options, timeout=1800):
    return bench.json_of("write_probe", source, target, *options, timeout=timeout)


@contextlib.contextmanager
def _nothing_cached_but(bench, *paths):
    """A folder to write to. The kernel's caches have only the given files and trees, and no data waits
    to be written."""
    with host.scratch_folder(bench.corpus.work) as folder:
        host.drop_caches()
        for path in paths:
            bench.probe("tree" if os.path.isdir(path) else "seq", path)
        yield folder


# Copies into the mount.


def _timed_cp(source, to):
    script = f"cp -r {shlex.quote(source)} {shlex.quote(to)}"
    return host.timed(lambda: host.shell(script))[0]


def _units(bench, source):
    """The unit of a copy: files, or millions of bytes."""
    if os.path.isdir(source):
        return bench.corpus.scale.tree_files
    return os.path.getsize(source) / 1e6


def xzfs_cp(name):
    """With the default options: files that settle during the copy are committed during the copy."""
    def write(bench):
        source, figures = bench.made(name), {}
        with _nothing_cached_but(bench, source) as folder:
            with bench.xzfs(folder, figures, discard=True) as point:
                seconds = _timed_cp(source, os.path.join(point, "copy"))
        return sample(_units(bench, source) / seconds, **figures)
    return write


def passthrough_cp(name):
    def write(bench):
        source = bench.made(name)
        with _nothing_cached_but(bench, source) as folder:
            with bench.passthrough(folder) as point:
                seconds = _timed_cp(source, os.path.join(point, "copy"))
        return sample(_units(bench, source) / seconds)
    return write


# From the close until everything is committed.


def _require_committed(folder, name, plain_bytes, figures):
    """Fails if the commit did not happen, or if it was of another file: then there is no figure.
    Returns the stored bytes."""
    stored = os.path.join(folder, name + ".xz")
    if os.path.exists(os.path.join(folder, name)) or not os.path.exists(stored):
        raise Failed(f"{name} is not committed: {figures['stats'].get('commits')}")
    totals = host.run(["xz", "--robot", "--list", stored]).splitlines()[-1].split("\t")
    if int(totals[4]) != plain_bytes:
        raise Failed(f"{stored} holds {totals[4]} bytes, not {plain_bytes}")
    return os.path.getsize(stored)


def _committed(bench, folder, source, options, figures):
    """Writes the file into a fresh mount of the folder; returns what the probe prints."""
    with bench.xzfs(folder, figures, options) as point:
        written = _write(bench, source, os.path.join(point, "copy"), "--sync", point)
    written["stored_bytes"] = _require_committed(folder, "copy", os.path.getsize(source), figures)
    return written


def xzfs_commit(name, preset):
    def write(bench):
        source, figures = bench.made(name), {}
        with _nothing_cached_but(bench, source) as folder:
            done = _committed(bench, folder, source, _commit_options(preset), figures)
        return sample(done["bytes"] / done["after_close_s"] / 1e6, syncs=done["syncs"],
                      stored_bytes=done["stored_bytes"], **figures)
    return write


def xz_compress(name, preset):
    def write(bench):
        source = bench.made(name)
        with _nothing_cached_but(bench, source) as folder:
            target = os.path.join(folder, "copy.xz")
            seconds, cpu_s = host.timed(lambda: host.shell(
                f"xz -c -T2 --block-size={BLOCK} -{preset} {shlex.quote(source)} > "
                f"{shlex.quote(target)}", timeout=1800))
            stored_bytes = os.path.getsize(target)
        return sample(os.path.getsize(source) / seconds / 1e6, cpu_s=cpu_s,
                      stored_bytes=stored_bytes)
    return write


def xzfs_commit_seconds(name):
    def write(bench):
        source, figures = bench.made(name), {}
        with _nothing_cached_but(bench, source) as folder:
            done = _committed(bench, folder, source, _commit_options(6), figures)
        return sample(done["after_close_s"], syncs=done["syncs"],
                      stored_bytes=done["stored_bytes"], **figures)
    return write


def cp_and_fsync(name):
    def write(bench):
        source = bench.made(name)
        with _nothing_cached_but(bench, source) as folder:
            target = shlex.quote(os.path.join(folder, "copy"))
            seconds, cpu_s = host.timed(lambda: host.shell(
                f"cp {shlex.quote(source)} {target}; sync {target}"))
        return sample(seconds, cpu_s=cpu_s)
    return write


# In place, without a mount: xzfsctl pack, which verifies and syncs, and xz, which does neither.


def _packed_in_place(bench, name, script):
    """Seconds and figures of a script that compresses all files in the working directory."""
    source = bench.made(name)
    with _nothing_cached_but(bench, source) as folder:
        host.shell(f"cp -r {shlex.quote(source)} {shlex.quote(os.path.join(folder, 'copy'))}; sync")
        seconds, cpu_s = host.timed(lambda: host.shell(script, cwd=folder, timeout=1800))
        left = [os.path.join(below, file) for below, _, files in os.walk(folder) for file in files
                if not file.endswith(".xz") and os.path.getsize(os.path.join(below, file)) >= 4096]
        if len(left) > _units(bench, source) // 1000:  # pictures don't shrink, and stay plain
            raise Failed(f"{len(left)} files are not compressed: {left[0]}")
    return sample(_units(bench, source) / seconds, cpu_s=cpu_s)


def xzfsctl_pack(name):
    def write(bench):
        return _packed_in_place(bench, name, f"{shlex.quote(bench.ctl())} pack -T2 -6 --all copy")
    return write


def xz_in_place(name):
    """As a user would: xz has threads for large files, and xargs starts it for many small ones."""
    def write(bench):
        files = "find copy -type f -print0 | xargs -0 -P2 -n64 xz -T1 -6"
        file = f"xz -T2 --block-size={BLOCK} -6 copy"
        is_tree = os.path.isdir(bench.made(name))
        return _packed_in_place(bench, name, files if is_tree else file)
    return write


# 4 KiB into a large compressed file: seconds from the open until everything is committed.


@contextlib.contextmanager
def _stored_copy(bench):
    """A folder with a copy of the large stored file; nothing is cached."""
    stored = bench.made("xz/big.tar.xz")
    with host.scratch_folder(bench.corpus.work) as folder:
        copy = os.path.join(folder, "big.tar.xz")
        shutil.copyfile(stored, copy)
        host.drop_caches()
        yield copy


def xzfs_change(append):
    def write(bench):
        new, plain_bytes, figures = bench.made("plain/src.tar"), bench.corpus.scale.big_bytes, {}
        where = ("--append",) if append else ("--offset", bench.corpus.scale.big_middle)
        with _stored_copy(bench) as copy:
            options = _commit_options(bench.corpus.scale.preset)
            with bench.xzfs(os.path.dirname(copy), figures, options) as point:
                done = _write(bench, new, os.path.join(point, "big.tar"), *where,
                              "--limit", CHANGE_BYTES, "--sync", point)
            _require_committed(os.path.dirname(copy), "big.tar",
                               plain_bytes + (CHANGE_BYTES if append else 0), figures)
        return sample(done["seconds"], syncs=done["syncs"], **figures)
    return write


def block_and_copy(append):
    """The least work that it takes: to encode that Block, and to write the stored file once more."""
    def write(bench):
        block = bench.made("plain/big-end" if append else "plain/big-middle")
        script = (f"xz -c -T1 -{bench.corpus.scale.preset} {shlex.quote(block)} > block; "
                  "cp big.tar.xz new; sync block new")
        with _stored_copy(bench) as copy:
            seconds, cpu_s = host.timed(lambda: host.shell(script, cwd=os.path.dirname(copy)))
        return sample(seconds, cpu_s=cpu_s)
    return write


def recompress(append):
    """Without xzfs: the whole file is decoded, changed and encoded again."""
    def write(bench):
        plain, preset = bench.made("plain/src.tar"), bench.corpus.scale.preset
        new = f"head -c {CHANGE_BYTES} {shlex.quote(plain)}"
        encode = f"xz -c -T2 --block-size={BLOCK} -{preset}"
        script = f"{{ xz -dc -T2 big.tar.xz; {new}; }} | {encode} > new; sync new"
        if not append:
            script = (f"xz -dc -T2 big.tar.xz > big.tar; {new} | dd of=big.tar conv=notrunc "
                      f"oflag=seek_bytes seek={bench.corpus.scale.big_middle} status=none; "
                      f"{encode} big.tar > new; sync new")
        with _stored_copy(bench) as copy:
            seconds, cpu_s = host.timed(
                lambda: host.shell(script, cwd=os.path.dirname(copy), timeout=3600))
        return sample(seconds, cpu_s=cpu_s)
    return write


# Reading beside commits.


def _require_at_work(point):
    """The only commit is still running, and has run from the start."""
    commits = host.stats_of(point)["commits"]
    if [commits[key] for key in ("pending", "done", "failed", "cancelled")] != [1, 0, 0, 0]:
        raise Failed(f"the commit did not outlast the read: {commits}")


def xzfs_read(while_committing):
    """An uncached sequential read; at -6, so that the commit outlasts it."""
    def read(bench):
        stored, other = bench.made("xz/src-1m.tar.xz"), bench.made("plain/src.tar")
        figures = {}
        with host.scratch_folder(bench.corpus.work) as folder:
            shutil.copyfile(stored, os.path.join(folder, "src-1m.tar.xz"))
            host.drop_caches()
            with bench.xzfs(folder, figures, _commit_options(6), discard=True) as point:
                if while_committing:
                    _write(bench, other, os.path.join(point, "other"))
                found = bench.probe("seq", os.path.join(point, "src-1m.tar"))
                if while_committing:
                    _require_at_work(point)
        return sample(mb_per_s(found), **figures)
    return read


# The costs and gains of presets and Block sizes.


def choice(preset, block_bytes):
    """MB/s of the commit, stored size divided by plain size, and the mean of uncached random reads."""
    def write(bench):
        source, figures = bench.made("plain/sample.tar"), {}
        with _nothing_cached_but(bench, source) as folder:
            done = _committed(bench, folder, source, _commit_options(preset, block_bytes), figures)
            figures.pop("bound_bytes", None)  # the preset of the corpus' decoders
            read = _uncached_reads(bench, folder, block_bytes)
        return sample(done["bytes"] / done["after_close_s"] / 1e6,
                      stored_ratio=done["stored_bytes"] / done["bytes"],
                      read_ms=read["value"] / 1e3, reads=read["reads"], **figures)
    return write


def _uncached_reads(bench, folder, block_bytes):
    """Each read is in a different Block, so none finds data that another one had decoded. There are
    few large Blocks, so they take several mounts."""
    total_us, reads, wanted = 0.0, 0, 8 if bench.quick else 48
    for seed in range(1, 1 + wanted):
        host.drop_caches()
        with bench.xzfs(folder, {}) as point:
            found = latency(bench.probe("random", os.path.join(point, "copy"), seed=seed,
                                        count=wanted - reads, distinct=max(block_bytes, MIB)))
        total_us += found["value"] * found["reads"]
        reads += found["reads"]
        if reads >= wanted:
            break
    return {"value": total_us / reads, "reads": reads}
