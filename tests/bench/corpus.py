"""The files that the cases read. They are made once from Debian's linux-source-6.1 and shared libraries,
and each gets its name only when it is complete."""

import contextlib
import dataclasses
import glob
import io
import lzma
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import tarfile

import host
from host import MIB, say

KERNEL = "/usr/src/linux-source-6.1.tar.xz"
# Where the part begins: drivers, fs and include, as varied as the whole.
PART_START = 675 * MIB


@dataclasses.dataclass(frozen=True)
class Scale:
    name: str
    part_bytes: int
    libs_bytes: int
    log_bytes: int
    tree_files: int
    listed_files: int
    # Its last Block is not full, so an append must encode it again.
    big_bytes: int
    sample_bytes: int
    preset: int

    @property
    def big_middle(self):
        """The offset where a case changes a few KiB: inside a Block, and not at a page border."""
        return self.big_bytes // 2 // MIB * MIB + MIB // 2 + 123


FULL = Scale("full", 400 * MIB, 48 * MIB, 32 * MIB, 20_000, 100_000, 1024 * MIB - 300_000,
             100 * MIB, 6)
# -1, because otherwise encoding would take most of the three minutes.
QUICK = Scale("quick", 48 * MIB, 8 * MIB, 8 * MIB, 2_000, 10_000, 64 * MIB - 300_000, 16 * MIB, 1)

LISTED_FOLDERS = 100


def _workers():
    """Processes that can be ended, whatever the program does with signals."""
    return multiprocessing.Pool(initializer=signal.signal, initargs=(signal.SIGTERM, signal.SIG_DFL))


def _pack_file(job):
    plain, stored, preset = job
    with open(plain, "rb") as source:
        content = source.read()
    with open(stored, "wb") as target:
        target.write(lzma.compress(content, preset=preset, check=lzma.CHECK_CRC64))


def _pack_record(job):
    first, last, folder, spread = job
    for number in range(first, last):
        text = f"record {number}\n" + "".join(
            f"field {key} of {number} is {number * key % 9973}\n" for key in range(1, 12))
        name = f"record-{number:06}.txt.xz"
        below = f"{number % LISTED_FOLDERS:03}" if spread else ""
        with open(os.path.join(folder, below, name), "wb") as target:
            target.write(lzma.compress(text.encode(), preset=0, check=lzma.CHECK_CRC64))


class Corpus:
    """Paths of one scale; `make(name)` builds the file if it doesn't exist. Names:

    plain/src.tar libs.tar log.txt          xz/ the same, as src-1m src-single src-24m libs log
    plain/noise.bin, as large as src.tar    plain/sample.tar: pieces of src.tar
    xz/big.tar.xz: src.tar over and over, in 1 MiB Blocks: none knows of another
    plain/big-middle, big-end: what is in its middle Block, in its last
    images/ squashfs, erofs, btrfs          tree, tree.xz: small files
    flat, spread: many tiny .xz files in one folder, in LISTED_FOLDERS
    """

    def __init__(self, work, scale):
        self.scale = scale
        self.work = work
        self.root = os.path.join(work, scale.name)
        self._kernel_tar = os.path.join(work, "linux.tar")

    def path(self, name):
        return os.path.join(self.root, name)

    def make(self, *names):
        for name in names:
            self._make(name)

    def erofs_tool(self):
        """A mkfs.erofs with LZMA, from build_mkfs_erofs or the machine's own; or None."""
        for tool in (os.path.join(self.work, "mkfs.erofs"), "mkfs.erofs"):
            # Its help lists its compressors, and exits with an error.
            if "lzma" in host.shell(f"{shlex.quote(tool)} --help 2>&1 || true"):
                return tool
        return None

    def free_scratch(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._kernel_tar)

    def _make(self, name):
        target = self.path(name)
        if os.path.exists(target):
            return
        maker, needs = self.recipes()[name]
        self.make(*needs)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = target + ".part"
        shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        say(f"corpus: making {self.scale.name}/{name} ...")
        maker(part)
        os.rename(part, target)

    def recipes(self):
        """name -> (function that makes it at a path, the file that it is made from)."""
        preset, src = f"-{self.scale.preset}", self.path("plain/src.tar")
        tree = self.path("tree")

        def xz(source, *options):
            return lambda to: host.shell(f"xz -c {preset} {' '.join(options)} "
                                         f"{shlex.quote(source)} > {shlex.quote(to)}")

        def squashfs(source, block):
            return lambda to: host.run(["mksquashfs", source, to, "-comp", "xz", "-b", block,
                                        "-noappend", "-quiet", "-no-progress"], timeout=3600)

        one, many, whole = ("-T2 --block-size=1MiB",), ("-T2 --block-size=24MiB",), ("-T1",)
        return {
            "plain/src.tar": (self._part, ()),
            "plain/libs.tar": (self._libraries, ()),
            "plain/log.txt": (self._log, ()),
            "plain/sample.tar": (self._sample, ("plain/src.tar",)),
            "plain/noise.bin": (self._noise, ()),
            "xz/big.tar.xz": (self._big, ("plain/src.tar",)),
            "plain/big-middle": (lambda to: self._big_block(to, self.scale.big_middle),
                                 ("plain/src.tar",)),
            "plain/big-end": (lambda to: self._big_block(to, self.scale.big_bytes - 1),
                              ("plain/src.tar",)),
            "xz/src-1m.tar.xz": (xz(src, *one), ("plain/src.tar",)),
            "xz/src-single.tar.xz": (xz(src, *whole), ("plain/src.tar",)),
            "xz/src-24m.tar.xz": (xz(src, *many), ("plain/src.tar",)),
            "xz/libs.tar.xz": (xz(self.path("plain/libs.tar"), *one), ("plain/libs.tar",)),
            "xz/log.txt.xz": (xz(self.path("plain/log.txt"), *one), ("plain/log.txt",)),
            "images/src-128k.sqsh": (squashfs(src, "128K"), ("plain/src.tar",)),
            "images/src-1m.sqsh": (squashfs(src, "1M"), ("plain/src.tar",)),
            "images/src-1m.erofs": (self._erofs, ("plain/src.tar",)),
            "images/src.btrfs": (self._btrfs, ("plain/src.tar",)),
            "images/src-in.tar.xz": (self._wrapped, ("xz/src-1m.tar.xz",)),
            "images/tree-128k.sqsh": (squashfs(tree, "128K"), ("tree",)),
            "tree": (self._tree, ()),
            "tree.xz": (self._packed_tree, ("tree",)),
            "flat": (lambda to: self._listed(to, False), ()),
            "spread": (lambda to: self._listed(to, True), ()),
        }

    def _kernel(self):
        if not os.path.exists(KERNEL):
            raise host.Unavailable(f"{KERNEL} is missing (package linux-source-6.1)")
        if not os.path.exists(self._kernel_tar):
            say("corpus: unpacking linux-source-6.1 ...")
            part = self._kernel_tar + ".part"
            host.shell(f"xz -dc -T0 {KERNEL} > {shlex.quote(part)}")
            os.rename(part, self._kernel_tar)
        return self._kernel_tar

    def _part(self, to):
        with open(self._kernel(), "rb") as source, open(to, "wb") as target:
            source.seek(PART_START)
            for _ in range(self.scale.part_bytes // MIB):
                target.write(source.read(MIB))

    def _sample(self, to):
        """Four pieces, as far from each other as possible."""
        pieces = 4
        with open(self.path("plain/src.tar"), "rb") as source, open(to, "wb") as target:
            for piece in range(pieces):
                source.seek(piece * self.scale.part_bytes // pieces)
                target.write(source.read(self.scale.sample_bytes // pieces))

    def _noise(self, to):
        with open(to, "wb") as target:
            for _ in range(self.scale.part_bytes // MIB):
                target.write(os.urandom(MIB))

    def _big(self, to):
        source = shlex.quote(self.path("plain/src.tar"))
        whole, rest = divmod(self.scale.big_bytes, self.scale.part_bytes)
        host.shell(f"{{ cat {' '.join([source] * whole)}; head -c {rest} {source}; }} | "
                   f"xz -c -T2 --block-size=1MiB -{self.scale.preset} > {shlex.quote(to)}",
                   timeout=3600)

    def _big_block(self, to, offset):
        """The plain bytes of the Block at that offset."""
        start = offset // MIB * MIB
        with open(self.path("plain/src.tar"), "rb") as source, open(to, "wb") as target:
            source.seek(start % self.scale.part_bytes)
            target.write(source.read(min(MIB, self.scale.big_bytes - start)))

    def _libraries(self, to):
        left = self.scale.libs_bytes
        with tarfile.open(to, "w") as target:
            for path in sorted(glob.glob("/usr/lib/x86_64-linux-gnu/*.so*")):
                size = os.path.getsize(path) if os.path.isfile(path) else left + 1
                if not os.path.islink(path) and size <= left:
                    target.add(path)
                    left -= size

    def _members(self):
        with tarfile.open(self._kernel()) as source:
            return sorted((member for member in source if member.isfile()),
                          key=lambda member: os.fsencode(member.name))

    def _log(self, to):
        """Lines as in the log of a web server, about the files of the kernel's source."""
        rng, members, written, clock = random.Random(1), self._members(), 0, 1_700_000_000
        with open(to, "w", encoding="utf-8") as target:
            while written < self.scale.log_bytes:
                member = members[int(len(members) * rng.random() ** 3)]
                clock += rng.randrange(3)
                written += target.write(
                    f"{clock} 10.{rng.randrange(4)}.{rng.randrange(256)}.{rng.randrange(256)} "
                    f'"GET /{member.name} HTTP/1.1" {rng.choice((200, 200, 200, 304, 404))} '
                    f"{member.size} {rng.randrange(90_000)}us\n")

    def _tree(self, to):
        members = [m for m in self._members() if "drivers/gpu/drm/amd" not in m.name]
        with open(self._kernel(), "rb") as source:
            for member in members[2::3][:self.scale.tree_files]:
                path = os.path.join(to, member.name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                source.seek(member.offset_data)
                with open(path, "wb") as target:
                    target.write(source.read(member.size))

    def _packed_tree(self, to):
        jobs = []
        for folder, _, names in os.walk(self.path("tree")):
            below = os.path.join(to, os.path.relpath(folder, self.path("tree")))
            os.makedirs(below, exist_ok=True)
            jobs += [(os.path.join(folder, name), os.path.join(below, name + ".xz"),
                      self.scale.preset) for name in names]
        with _workers() as pool:
            pool.map(_pack_file, jobs, chunksize=100)

    def _listed(self, to, spread):
        for number in range(LISTED_FOLDERS if spread else 1):
            os.makedirs(os.path.join(to, f"{number:03}" if spread else ""), exist_ok=True)
        count, step = self.scale.listed_files, 1000
        with _workers() as pool:
            pool.map(_pack_record, [(first, min(first + step, count), to, spread)
                                    for first in range(0, count, step)])

    def _erofs(self, to):
        tool = self.erofs_tool()
        if tool is None:
            raise host.Unavailable("no mkfs.erofs that knows LZMA; tests/bench/build_mkfs_erofs "
                                   "makes one, scripts/bench calls it unless --no-install is given")
        source = to + ".d"
        os.makedirs(source, exist_ok=True)
        try:
            os.link(self.path("plain/src.tar"), os.path.join(source, "src.tar"))
            host.run([tool, "--quiet", "-zlzma,6", "-C1048576", to, source], timeout=3600)
        finally:
            shutil.rmtree(source)

    def _btrfs(self, to):
        host.require_program("mkfs.btrfs", "btrfs-progs")
        with open(to, "wb") as image:
            image.truncate(self.scale.part_bytes + 512 * MIB)
        host.run(["mkfs.btrfs", "-q", to])
        with host.kernel_mount(self.work, to, "btrfs", "compress=zstd:3") as point:
            shutil.copyfile(self.path("plain/src.tar"), os.path.join(point, "src.tar"))

    def _wrapped(self, to):
        """A tar that contains src.tar: its header and its end are further Streams around the existing
        Blocks, so nothing is encoded again."""
        header = tarfile.TarInfo("src.tar")
        header.size = self.scale.part_bytes
        with open(to, "wb") as target, open(self.path("xz/src-1m.tar.xz"), "rb") as stored:
            target.write(lzma.compress(header.tobuf()))
            shutil.copyfileobj(io.BufferedReader(stored), target)
            target.write(lzma.compress(bytes(1024)))
