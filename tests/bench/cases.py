"""The cases: which readers or writers are compared, and the targets of the project.

The readers of a group run in turn, each once per run; programs that write are called readers, too. A row
compares two of them. `target` is the ratio of medians, xzfs to the reference: the ratio must be at least
that if more is better, and at most that if less is better.
"""

import dataclasses
import typing

import peers
import writers
from host import MIB

OURS = "xzfs"
# Slow peers read only the beginning: some start by decoding the whole file, which may take a minute.
SLOW = {"limit": 16 * MIB, "timeout": 90}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure that samples have: `key` in them."""
    key: str
    unit: str
    more_is_better: bool


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    reference: str
    target: float | None = None
    ours: str = OURS
    # The figure to compare; None: the group's value.
    figure: Figure | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    name: str
    unit: str
    more_is_better: bool
    readers: dict[str, typing.Callable]
    rows: list[Row]
    # Not in --quick.
    slow: frozenset = frozenset()
    # Only one sample, whatever --runs says.
    once: frozenset = frozenset()
    # Runs only when --cases asks for it.
    on_request: bool = False
    # The figures to print for each reader, in a separate table that judges nothing.
    survey: tuple[Figure, ...] = ()

    def row_name(self, row):
        ours = "" if row.ours == OURS else f"{row.ours}:"
        figure = f"/{row.figure.key}" if row.figure else ""
        return f"{self.name}/{ours}{row.reference}{figure}"

    def figure(self, row):
        return row.figure or Figure("value", self.unit, self.more_is_better)


def with_other_build(group, rows, binary):
    """The group and its rows, with each reader of xzfs also for another build of xzfs."""
    ours = list(dict.fromkeys(row.ours for row in rows))
    readers, extra = dict(group.readers), []
    for name in ours:
        other = f"{name}-other-build"
        readers[other] = lambda bench, read=readers[name]: read(bench.with_binary(binary))
        title = next(row.title for row in rows if row.ours == name)
        extra.append(Row(title, other, None, name))
    return dataclasses.replace(group, readers=readers, rows=[*group.rows, *extra]), [*rows, *extra]


def sequential():
    files = ["squashfs-128k", "squashfs-1m", "squashfuse_ll-128k", "squashfuse_ll-1m", "nbdfuse-xz",
             "erofs-lzma-1m", "btrfs-zstd-3", "plain", "passthrough"]
    readers = {OURS: peers.xzfs_sequential("xz/src-1m.tar.xz"),
               "xz-T2": peers.xz_sequential("xz/src-1m.tar.xz", "-T2"),
               "xz-T1": peers.xz_sequential("xz/src-1m.tar.xz", "-T1")}
    readers |= {name: peers.peer_sequential(name) for name in files}
    readers |= {"nbdcopy-xz": peers.nbdcopy_sequential,
                "avfs": peers.peer_sequential("avfs", **SLOW),
                "archivemount": peers.peer_sequential("archivemount", **SLOW),
                "fuse-archive": peers.missing("not packaged in Debian 12")}
    what = "sequential, nothing cached, 1 MiB Blocks"
    wanted = {"xz-T2": 0.95, "squashfs-128k": 1.7, "squashfs-1m": 1.7, "squashfuse_ll-128k": 1.6,
              "squashfuse_ll-1m": 1.6, "nbdfuse-xz": 1.6, "nbdcopy-xz": 1.6, "erofs-lzma-1m": 0.9}
    return Group("seq-1m", "MB/s", True, readers,
                 [Row(what, name, wanted.get(name)) for name in readers if name != OURS],
                 slow=frozenset(readers) - {OURS, "xz-T2", "squashfs-1m", "squashfuse_ll-1m",
                                            "plain", "passthrough"},
                 once=frozenset({"avfs", "archivemount"}))


def sequential_of(name, stored, title, flag):
    reference = f"xz{flag}"
    return Group(name, "MB/s", True,
                 {OURS: peers.xzfs_sequential(stored),
                  reference: peers.xz_sequential(stored, flag)},
                 [Row(title, reference, 0.95)])


def two_readers():
    return Group("seq-1m-2-readers", "MB/s", True,
                 {OURS: peers.xzfs_sequential("xz/src-1m.tar.xz", threads=2),
                  "xz-T2": peers.xz_sequential("xz/src-1m.tar.xz", "-T2"),
                  "squashfs-1m": peers.peer_sequential("squashfs-1m", threads=2)},
                 [Row("sequential, nothing cached, a reader on each half", "xz-T2"),
                  Row("sequential, nothing cached, a reader on each half", "squashfs-1m")],
                 slow=frozenset({"squashfs-1m"}))


def random_uncached():
    files = ["squashfs-128k", "squashfs-1m", "squashfuse_ll-128k", "squashfuse_ll-1m", "nbdfuse-xz",
             "erofs-lzma-1m", "btrfs-zstd-3", "plain", "passthrough"]
    stream = "xzfs-verify=stream"
    readers = {OURS: peers.xzfs_random_uncached(),
               stream: peers.xzfs_random_uncached("verify=stream", needs="verify="),
               "liblzma-block": peers.block_alone}
    readers |= {name: peers.peer_random_uncached(name) for name in files}
    rows = [Row("random 4 KiB, nothing cached, 1 MiB Blocks", "liblzma-block", 1.15),
            Row("the same, verify=stream", "liblzma-block", 0.65, stream)]
    rows += [Row("random 4 KiB, nothing cached, 1 MiB Blocks", name) for name in files]
    return Group("random-4k-uncached", "us", False, readers, rows,
                 slow=frozenset(files) - {"squashfs-1m", "passthrough"})


def random_set():
    peer = "squashfs-1m"
    return Group("random-4k-set", "us", False,
                 {OURS: peers.xzfs_random_uncached(plan=peers.set_plan),
                  peer: peers.peer_random_uncached(peer, peers.set_plan)},
                 [Row("random 4 KiB, nothing cached, 10 reads a Block", peer)])


def giant():
    small, small_2 = "xzfs-128MiB", "xzfs-128MiB-2-readers"
    backward = "xzfs-128MiB-backward"
    return [
        Group("random-4k-giant", "us", False,
              {OURS: peers.xzfs_giant(), small: peers.xzfs_giant("cache_size=128MiB"),
               small_2: peers.xzfs_giant("cache_size=128MiB", threads=2),
               "from-start": peers.giant_from_start},
              [Row("random 4 KiB, single Block, second 1,000", "from-start", 0.1),
               Row("the same, cache_size=128MiB", "from-start", 0.1, small),
               Row("the same, cache_size=128MiB, 2 readers", "from-start", None, small_2)],
              slow=frozenset({small_2})),
        # Only the last part: without restart points each step back costs seconds.
        Group("backward-giant", "MB/s", True,
              {backward: peers.xzfs_sequential("xz/src-single.tar.xz", "cache_size=128MiB",
                                               backward=1, max_seconds=20),
               "xz-T1": peers.xz_sequential("xz/src-single.tar.xz", "-T1")},
              [Row("backward, nothing cached, single Block, 128MiB", "xz-T1", None, backward)],
              slow=frozenset({backward}))]


def random_warm():
    return [
        Group("random-4k-warm", "reads/s", True,
              {OURS: peers.xzfs_random_warm, "plain": peers.plain_random_warm},
              [Row("random 4 KiB, warm, in the page cache", "plain", 0.8)]),
        Group("random-4k-our-cache", "reads/s", True,
              {OURS: peers.xzfs_random_cached, "passthrough": peers.passthrough_random_cached},
              [Row("random 4 KiB, our cache, page cache dropped", "passthrough", 0.8)])]


def small_files():
    files = ["squashfuse_ll-128k", "squashfs-128k", "passthrough", "plain"]
    readers = {OURS: peers.xzfs_tar, "xargs-xz": peers.xargs_xz}
    readers |= {name: peers.peer_tar(name) for name in files}
    wanted = {"squashfuse_ll-128k": 1.5, "xargs-xz": 1.2}
    return Group("tar-small-files", "files/s", True, readers,
                 [Row("tar c of small files, nothing cached", name, wanted.get(name))
                  for name in readers if name != OURS],
                 slow=frozenset({"squashfs-128k", "plain"}))


def listing(name, tree, title):
    return Group(name, "files/s", True,
                 {OURS: peers.xzfs_listing(tree), "passthrough": peers.passthrough_listing(tree)},
                 [Row(title, "passthrough", 0.6)])


def copies():
    return [
        Group(name, unit, True,
              {OURS: writers.xzfs_cp(what), "passthrough": writers.passthrough_cp(what)},
              [Row(title, "passthrough", target)])
        for name, what, unit, title, target in (
            ("write-cp", "plain/src.tar", "MB/s", "cp of a large file until it returns", 0.8),
            ("write-cp-r", "tree", "files/s", "cp -r of small files until it returns", 0.6))]


def commit(preset):
    what, stored = "plain/src.tar", Figure("stored_bytes", "bytes", False)
    return Group(f"commit-{preset}", "MB/s", True,
                 {OURS: writers.xzfs_commit(what, preset),
                  "xz-T2": writers.xz_compress(what, preset)},
                 [Row(f"close to committed, -{preset}, 1 MiB Blocks", "xz-T2", 0.9),
                  Row(f"stored size, -{preset}, 1 MiB Blocks", "xz-T2", 1.005, figure=stored)],
                 slow=frozenset({OURS}) if preset == 6 else frozenset())


def packing():
    return [Group("pack-large", "MB/s", True,
                  {OURS: writers.xzfsctl_pack("plain/src.tar"),
                   "xz-T2": writers.xz_in_place("plain/src.tar")},
                  [Row("xzfsctl pack of a large file", "xz-T2", 0.95)],
                  slow=frozenset({OURS, "xz-T2"})),
            Group("pack-small", "files/s", True,
                  {OURS: writers.xzfsctl_pack("tree"), "xargs-xz": writers.xz_in_place("tree")},
                  [Row("xzfsctl pack of small files", "xargs-xz", 0.9)])]


def commit_noise():
    return Group("commit-noise", "s", False,
                 {OURS: writers.xzfs_commit_seconds("plain/noise.bin"),
                  "cp+fsync": writers.cp_and_fsync("plain/noise.bin")},
                 [Row("close to committed, incompressible", "cp+fsync", 3)])


def change(name, append, title):
    return Group(name, "s", False,
                 {OURS: writers.xzfs_change(append), "block+copy": writers.block_and_copy(append),
                  "recompress": writers.recompress(append)},
                 [Row(title, "block+copy", 1.5), Row(title, "recompress", 0.02)],
                 # Minutes.
                 once=frozenset({"recompress"}))


def reading_beside_commits():
    alone = "xzfs-alone"
    return Group("read-while-committing", "MB/s", True,
                 {OURS: writers.xzfs_read(True), alone: writers.xzfs_read(False)},
                 [Row("sequential, nothing cached, while a file is committed", alone, 0.8)])


def choice():
    """Every preset with every Block size, beside the defaults."""
    sizes = {"128KiB": MIB // 8, "256KiB": MIB // 4, "512KiB": MIB // 2, "1MiB": MIB,
             "4MiB": 4 * MIB, "16MiB": 16 * MIB}
    readers = {f"-{preset}-{name}": writers.choice(preset, size)
               for preset in (0, 1, 3, 6, 9) for name, size in sizes.items()}
    default = "-6-1MiB"
    quick = {default, "-1-128KiB", "-1-1MiB", "-1-4MiB"}
    return Group("choice", "MB/s", True, readers,
                 [Row("commit of a sample", default, None, name) for name in readers],
                 slow=frozenset(readers) - quick, once=frozenset(readers), on_request=True,
                 survey=(Figure("stored_ratio", "stored/plain", False),
                         Figure("value", "commit MB/s", True),
                         Figure("read_ms", "random 4 KiB, ms", False)))


def all_groups():
    return [
        sequential(),
        sequential_of("seq-single", "xz/src-single.tar.xz", "sequential, nothing cached, single Block",
                      "-T1"),
        sequential_of("seq-24m", "xz/src-24m.tar.xz", "sequential, nothing cached, 24 MiB Blocks", "-T2"),
        sequential_of("seq-libs", "xz/libs.tar.xz", "sequential, nothing cached, shared libraries", "-T2"),
        sequential_of("seq-log", "xz/log.txt.xz", "sequential, nothing cached, log", "-T2"),
        two_readers(),
        random_uncached(),
        random_set(),
        *giant(),
        *random_warm(),
        small_files(),
        listing("find-flat", "flat", "find -ls, one folder, just mounted"),
        listing("find-spread", "spread", "find -ls, 100 folders, just mounted"),
        *copies(),
        commit(1),
        commit(6),
        *packing(),
        commit_noise(),
        change("append-4k", True, "4 KiB appended to a compressed file, to committed"),
        change("change-4k", False, "4 KiB changed inside a compressed file, to committed"),
        reading_beside_commits(),
        choice(),
    ]
