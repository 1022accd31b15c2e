#!/usr/bin/env python3
"""A reader that was written from docs/format.md alone, without code of xzfs, gives what the mount gives.
The numbers and the order of its steps are those of docs/format.md, "Reading an edited file"."""

import fcntl
import lzma
import os
import random
import struct

import support
from support import temp_dir
from write_support import NEVER, WriteMount, noise, read_file, write_file

HEADER, EXTENT, RESIZE, SYNCED, PATH, DROPPED, PUBLISHING, CONTENT = range(1, 9)


def crc64(data):
    """ECMA-182, reflected, a bit at a time."""
    crc = 2**64 - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xC96C5795D7870F42 if crc & 1 else 0)
    return crc ^ 2**64 - 1


class Parser:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        part = self.data[self.at:self.at + count]
        if len(part) < count:
            raise EOFError
        self.at += count
        return part

    def number(self):
        return struct.unpack("<Q", self.take(8))[0]

    def text(self):
        return self.take(self.number())

    def records(self):
        """(body, where the record ends) of each record before the first torn or damaged one."""
        try:
            while True:
                body = self.text()
                if not body or self.number() != crc64(body):
                    return
                yield body, self.at
        except EOFError:
            return


def session_of(source):
    """The folder of the only session, and whether its daemon lives."""
    [name] = [name for name in os.listdir(f"{source}/.xzfs") if name not in ("lock", "marker", "lost+found")]
    folder = f"{source}/.xzfs/{name}"
    with open(folder + "/lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return folder, True
    return folder, False


def read_edited(source, session, number):
    """(path below the source, content) of the edited file with that overlay."""
    header, path, extents = None, None, []
    size = least = 0
    for body, _ in Parser(read_file(f"{session}/{number}.log")).records():
        kind, fields = body[0], Parser(body[1:])
        if kind == HEADER:
            boot = fields.text()
            header = inode, stored_size, mtime, size = [fields.number() for _ in range(4)]
            least = size
        elif kind == EXTENT:
            begin, length = fields.number(), fields.number()
            extents.append((begin, begin + length))
            size = max(size, begin + length)
        elif kind == RESIZE:
            size = fields.number()
            least = min(least, size)
            extents = [(begin, min(end, size)) for begin, end in extents if begin < size]
        elif kind == PATH:
            path = os.fsdecode(fields.text())
        else:
            assert kind in (SYNCED, DROPPED, PUBLISHING, CONTENT), kind
    with open("/proc/sys/kernel/random/boot_id", "rb") as running:
        assert boot == running.read().strip()
    status = os.stat(f"{source}/{path}")
    assert (status.st_ino, status.st_size, status.st_mtime_ns) == (inode, stored_size, mtime)
    base = lzma.decompress(read_file(f"{source}/{path}"))
    data = read_file(f"{session}/{number}.data")
    size = min(size, len(data))
    content = bytearray(base[:min(least, size)])
    content.extend(bytes(size - len(content)))
    for begin, end in extents:
        content[begin:end] = data[begin:end]
    return path, bytes(content[:size])


class Format(support.MountTest):
    def test_overlays_can_be_read_while_the_daemon_lives_and_after_its_death(self):
        rng = random.Random(1)
        with temp_dir("xzfs-source-") as source:
            os.mkdir(source + "/d")
            expected = {}
            for number in range(4):
                name = f"d/file {number}"
                expected[name] = bytearray(noise(number, rng.randrange(1, 200_000)))
                support.make_compressed(source, name, bytes(expected[name]))
            mount = WriteMount(source, NEVER)
            with mount:
                for step in range(100):
                    name = rng.choice(list(expected))
                    self.change(mount / name, expected[name], rng)
                    if step % 50 == 49:
                        self.check(source, expected, lives=True)
                mount.kill()
                self.check(source, expected, lives=False)

    def change(self, path, content, rng):
        """Makes the same change to the file and to the expected content."""
        at = rng.randrange(len(content) + 5000)
        if rng.random() < 0.3:
            os.truncate(path, at)
            del content[at:]
            content.extend(bytes(at - len(content)))
            return
        new = rng.randbytes(rng.randrange(1, 3000))
        with open(path, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), new, at)
            if rng.random() < 0.1:
                os.fsync(file.fileno())
        content.extend(bytes(max(0, at - len(content))))
        content[at:at + len(new)] = new

    def check(self, source, expected, lives):
        session, alive = session_of(source)
        self.assertEqual(alive, lives)
        logs = [name for name in os.listdir(session) if name.endswith(".log")]
        self.assertEqual(len(logs), len(expected))
        seen = set()
        for log in logs:
            path, content = read_edited(source, session, log[:-len(".log")])
            name = path.removesuffix(".xz")
            seen.add(name)
            support.assert_same(self, content, bytes(expected[name]), name)
        self.assertEqual(seen, set(expected))

    def test_pending_names_the_plain_files_that_were_written(self):
        with temp_dir("xzfs-source-") as source, WriteMount(source, NEVER) as mount:
            write_file(mount / "a", b"a" * 1000)
            write_file(mount / "x.xz", b"x" * 1000)
            session, _ = session_of(source)
            noted = [body for body, _ in Parser(read_file(session + "/pending")).records()]
            self.assertEqual(set(noted), {b"a", b"x.xz.xzhot"})


if __name__ == "__main__":
    support.main()
