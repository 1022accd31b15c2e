"""xzfsctl unpack and reblock, compared with xz, stat, getfacl, getfattr."""

import json
import lzma
import os
import shutil
import struct
import subprocess
import unittest
import zlib

import ctl_trees
import support
import write_support
import xzformat
from ctl_support import CTL, CtlTest, write

KIB = 1 << 10
MIB = 1 << 20


class Unpack(CtlTest):
    def test_unpack_restores_a_packed_tree(self):
        tree = ctl_trees.make(self.path("t"))
        self.ctl("pack", "-0", "t")
        _, error = self.ctl("unpack", "t")
        self.assertIn(f"unpacked {len(tree.packable)} files", error)
        self.assertRegex(error, r" \(0\.\d{3}\)", "compressed / plain, as xz does")
        # A plain file with the name of a compressed one gets an escaped name, as in a mount.
        os.rename(self.path("t", "looks.xz.xzhot"), self.path("t", "looks.xz"))
        os.utime(self.path("t"), ns=(1, tree.directories[self.path("t")]))
        ctl_trees.check_plain(self, self.path("t"), tree)

    def test_files_from_all_programs_are_unpacked(self):
        text = xzformat.text(1, 200 * KIB)
        for name, argv in {"a.xz": ["xz", "-0c"], "b.lzma": ["xz", "-0c", "--format=lzma"],
                           "c.lz": ["lzip", "-0c"], "d.txz": ["xz", "-0c", "--block-size=50KiB"],
                           "e.xz": ["xz", "-0c", "--check=none"]}.items():
            with open(self.path(name), "wb") as out:
                subprocess.run(argv, input=text, stdout=out, check=True)
        write(self.path("f.xz"), lzma.compress(b""))
        write(self.path("g.xz"), lzma.compress(text[:1000]) + lzma.compress(text[1000:], preset=0))
        self.ctl("unpack", ".")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "b", "c", "d.tar", "e", "f", "g"])
        for name in ("a", "b", "c", "d.tar", "e", "g"):
            self.assertEqual(write_support.read_file(self.path(name)), text, name)
        self.assertEqual(os.path.getsize(self.path("f")), 0)

    def test_zeros_become_holes(self):
        content = b"begin" + bytes(8 * MIB) + b"end"
        write(self.path("a.xz"), lzma.compress(content, preset=0))
        self.ctl("unpack", "a.xz")
        self.assertEqual(write_support.read_file(self.path("a")), content)
        self.assertLess(os.stat(self.path("a")).st_blocks * 512, MIB)

    def test_a_file_that_can_not_be_unpacked_stays(self):
        good = lzma.compress(xzformat.text(2, 100 * KIB), preset=0)
        write(self.path("damaged.xz"), good[:1000] + b"????" + good[1004:])
        write(self.path("taken.xz"), good)
        write(self.path("taken"), b"of somebody else")
        write(self.path("linked.xz"), good)
        os.mkdir(self.path("elsewhere"))
        os.link(self.path("linked.xz"), self.path("elsewhere/also.xz"))
        write(self.path("twice.xz"), good)
        os.link(self.path("twice.xz"), self.path("thrice.xz"))
        write(self.path("twice"), b"of somebody else, too")
        before = ctl_trees.stored(self.folder)
        _, error = self.ctl("unpack", "-v", "--exclude=elsewhere", ".", code=1)
        self.assertEqual(ctl_trees.stored(self.folder), before)
        for word in ("./damaged.xz", "skipped ./taken.xz: ./taken already exists",
                     "hard links that were not found"):
            self.assertIn(word, error)

    def test_a_file_that_is_edited_in_a_mount_stays(self):
        write(self.path("t", "a.xz"), lzma.compress(xzformat.text(3, 100 * KIB)))
        write(self.path("t", "b.xz"), lzma.compress(xzformat.text(4, 100 * KIB)))
        with write_support.WriteMount(self.path("t")) as mount:
            with open(mount / "a", "rb+") as file:
                file.write(b"edited")
                file.flush()
                for command in (["unpack"], ["reblock", "-0"]):
                    _, error = self.ctl(*command, "-v", "t/a.xz", code=2)
                    self.assertIn("edited in a mount", error)
                self.ctl("unpack", "t/b.xz")
            mount.sync()
            self.assertTrue(write_support.read_file(mount / "a").startswith(b"edited"))
            self.assertEqual(write_support.read_file(mount / "b"), xzformat.text(4, 100 * KIB))
        self.assertEqual(sorted(os.listdir(self.path("t"))), ["a.xz", "b"])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_nothing_is_replaced_if_edits_in_a_mount_can_not_be_seen(self):
        write(self.path("t", "theirs", "a.xz"), lzma.compress(xzformat.text(3, 100 * KIB)))
        for name in ("", "t", "t/theirs", "t/theirs/a.xz"):
            os.chmod(self.path(name), 0o755)
        for name in ("t/theirs", "t/theirs/a.xz"):
            shutil.chown(self.path(name), "nobody")
        with write_support.WriteMount(self.path("t"), "settle=3600") as mount:
            with open(mount / "theirs/a", "rb+") as file:
                file.write(b"edited")
            for command in ("unpack", "reblock"):
                _, error = self.ctl(command, "t/theirs", code=1, as_nobody=True)
                self.assertIn("a.xz: can't see whether a mount has uncommitted changes of it", error)
                self.assertIn("Permission denied", error)
            mount.sync()
            self.assertTrue(write_support.read_file(mount / "theirs/a").startswith(b"edited"))


class Reblock(CtlTest):
    def figures(self, name):
        (line,) = [line.split("\t") for line in support.run(
            ["xz", "--robot", "-l", self.path(name)]).decode().splitlines()
            if line.startswith("file")]
        return {"blocks": int(line[2]), "check": line[6]}

    def test_one_block_becomes_many_and_everything_else_stays(self):
        content = xzformat.text(1, 2 * MIB + 5)
        path = self.path("a.xz")
        write(path, lzma.compress(content, preset=0, check=lzma.CHECK_SHA256))
        os.chmod(path, 0o640)
        os.chown(path, 12, 34)
        os.setxattr(path, "user.note", b"kept")
        support.run(["setfacl", "-m", "u:1000:r", path])
        os.utime(path, ns=(3, 1_234_567_890_123_456_789))
        os.utime(self.folder, ns=(3, 1_200_000_000_000_000_001))
        before = ctl_trees._metadata(path)  # pylint: disable=protected-access
        self.ctl("reblock", "a.xz")
        self.assertEqual(self.figures("a.xz"), {"blocks": 3, "check": "SHA-256"})
        self.assertEqual(support.run(["xz", "-dc", path]), content)
        self.assertEqual(ctl_trees._metadata(path), before)  # pylint: disable=protected-access
        self.assertEqual(os.listdir(self.folder), ["a.xz"])
        self.assertEqual(os.stat(self.folder).st_mtime_ns, 1_200_000_000_000_000_001)
        self.ctl("reblock", "a.xz", code=2)  # there is nothing to do
        self.ctl("reblock", "--check=crc32", "--block-size=256KiB", "a.xz")
        self.assertEqual(self.figures("a.xz"), {"blocks": 9, "check": "CRC32"})
        size = os.path.getsize(path)
        self.ctl("reblock", "-0", "--block-size=256KiB", "a.xz")
        self.assertGreater(os.path.getsize(path), size, "another preset")
        self.assertEqual(support.run(["xz", "-dc", path]), content)

    def test_a_size_that_a_file_only_claims_costs_no_memory(self):
        # The Index says: one Block of 2^49 bytes.
        index = b"\x00\x01" + b"\x40" + b"\x80" * 7 + b"\x01"
        index += bytes(-len(index) % 4)
        index += struct.pack("<I", zlib.crc32(index))
        footer = struct.pack("<I", len(index) // 4 - 1) + b"\x00\x04"
        write(self.path("claims.xz"), b"\xfd7zXZ\x00\x00\x04" + struct.pack(
            "<I", zlib.crc32(b"\x00\x04")) + bytes(64) + index + struct.pack(
                "<I", zlib.crc32(footer)) + footer + b"YZ")
        self.assertEqual(json.loads(self.ctl("list", "--json", "claims.xz")[0])["files"][0]
                         ["plain_bytes"], 1 << 49)
        before = ctl_trees.stored(self.folder)
        done = subprocess.run(
            ["prlimit", f"--as={4 << 30}", CTL, "reblock", self.path("claims.xz")],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("claims.xz", done.stderr)
        self.assertNotIn("memory", done.stderr)
        self.assertEqual(ctl_trees.stored(self.folder), before)

    def test_a_damaged_file_stays_as_it_is(self):
        good = lzma.compress(xzformat.text(2, 2 * MIB), preset=0)
        write(self.path("a.xz"), good[:-300] + b"????" + good[-296:])
        before = ctl_trees.stored(self.folder)
        _, error = self.ctl("reblock", "a.xz", code=1)
        self.assertIn("a.xz", error)
        self.assertEqual(ctl_trees.stored(self.folder), before)


if __name__ == "__main__":
    support.main()
