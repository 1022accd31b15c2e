"""xzfsctl list, compared with xz's own listing."""

import lzma
import os
import subprocess

import support
import xzformat
from ctl_support import CtlTest, write

MIB = 1 << 20


def robot(*words):
    """The lines of `xz --robot -l` as lists of fields."""
    out = support.run(["xz", "--robot", *words])
    return [line.split("\t") for line in out.decode().splitlines()]


class List(CtlTest):
    def make(self):
        """Makes files of each kind; returns their names."""
        text = xzformat.text(1, MIB // 2)
        files = {"many.xz": ["-0", "--block-size=64KiB", "-T2"], "one.xz": ["-1"],
                 "crc32.xz": ["-0", "--check=crc32"], "sha.xz": ["-0", "--check=sha256"],
                 "none.xz": ["-0", "--check=none"], "delta.xz": ["--delta=dist=2", "--lzma2=preset=0"]}
        for name, options in files.items():
            with open(self.path(name), "wb") as out:
                subprocess.run(["xz", "-c", *options], input=text, stdout=out, check=True)
        streams = (lzma.compress(text[:1000]) + lzma.compress(b"")
                   + bytes(8) + lzma.compress(text, check=lzma.CHECK_CRC32, preset=0))
        write(self.path("streams.xz"), streams)
        write(self.path("empty.xz"), lzma.compress(b""))
        return [*files, "streams.xz", "empty.xz"]

    def test_its_figures_are_those_of_xz(self):
        names = self.make()
        listed = {file["path"]: file for file in self.json("list", *names)["files"]}
        self.assertEqual(list(listed), names)
        for name in names:
            (fields,) = [line for line in robot("-l", self.path(name)) if line[0] == "file"]
            file = listed[name]
            self.assertEqual([file["streams"], file["blocks"], file["compressed_bytes"],
                              file["plain_bytes"]], [int(field) for field in fields[1:5]], name)
            self.assertEqual(set(file["checks"]), set(fields[6].split(",")) if file["blocks"]
                             else set(), name)

    def test_its_blocks_are_those_of_xz(self):
        for name in self.make():
            (file,) = self.json("list", "-v", name)["files"]
            blocks = [line for line in robot("-lvv", self.path(name)) if line[0] == "block"]
            got = [[block["number"] + 1, block["compressed_offset"], block["plain_offset"],
                    block["compressed_bytes"], block["plain_bytes"], block["check"]]
                   for block in file.get("block_list", [])]
            wanted = [[int(line[3]), *(int(field) for field in line[4:8]), line[9]]
                      for line in blocks]
            self.assertEqual(got, wanted, name)
            largest = max((int(line[7]) for line in blocks), default=0)
            self.assertEqual(file["largest_block_bytes"], largest, name)

    def test_the_table_has_the_same_figures_and_a_sum(self):
        names = self.make()
        out, _ = self.ctl("list", *names)
        lines = out.splitlines()
        self.assertEqual(len(lines), 1 + len(names) + 2)
        for name, line in zip(names, lines[1:]):
            self.assertEqual(line.split()[-1], name)
        self.assertIn(f"{len(names)} files", lines[-1])
        (total,) = [line for line in robot("-l", *map(self.path, names)) if line[0] == "totals"]
        self.assertEqual(lines[-1].split()[:2], total[1:3])

    def test_how_seekable_a_file_is_depends_on_its_largest_block(self):
        zeros = bytes(40 * MIB)
        write(self.path("giant.xz"), lzma.compress(zeros, preset=0))
        for size, word in (("1MiB", "good"), ("4MiB", "good"), ("5MiB", "fair"), ("32MiB", "fair")):
            out = subprocess.run(["xz", "-0c", f"--block-size={size}"], input=zeros,
                                 stdout=subprocess.PIPE, check=True).stdout
            write(self.path("a.xz"), out)
            self.assertEqual(self.json("list", "a.xz")["files"][0]["seek"], word, size)
        self.assertEqual(self.json("list", "giant.xz")["files"][0]["seek"], "poor")

    def test_a_file_that_can_not_be_listed_is_named_and_the_others_are_listed(self):
        write(self.path("good.xz"), lzma.compress(b"hello"))
        write(self.path("cut.xz"), lzma.compress(b"hello")[:-4])
        write(self.path("plain"), b"hello")
        os.mkfifo(self.path("fifo"))
        bad = ["cut.xz", "plain", "fifo", "missing", "."]
        out, error = self.ctl("list", *bad, "good.xz", code=1)
        self.assertIn("good.xz", out)
        self.assertEqual(len(error.splitlines()), len(bad))
        for name, line in zip(bad, error.splitlines()):
            self.assertIn(name, line)

    def test_a_name_that_is_not_text_is_complete_in_the_json(self):
        name = b"\xff\xfe.xz"
        write(os.fsencode(self.folder) + b"/" + name, lzma.compress(b"hello"))
        (file,) = self.json("list", os.fsdecode(name))["files"]
        self.assertEqual(bytes.fromhex(file["path_hex"]), name)


if __name__ == "__main__":
    support.main()
