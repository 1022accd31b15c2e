"""Ordinary programs do on the mount what they do on the plain files."""

import hashlib
import os
import random
import sqlite3
import subprocess
import sys

import support
import xzformat
from support import MIB, Mount, MountTest, make_compressed

FILES = support.scaled(5_000, 500)


class Tree(MountTest):
    """A tree of small files beside its compressed twin."""

    def setUp(self):
        super().setUp()
        self.plain = self.enterContext(support.temp_dir("xzfs-plain-"))
        rng = random.Random(8)
        content = xzformat.text(4, 2 * MIB)
        self.names = []
        for number in range(FILES):
            folder = f"dir{number % 71:02d}/sub{number % 7}"
            os.makedirs(os.path.join(self.plain, folder), exist_ok=True)
            os.makedirs(os.path.join(self.source, folder), exist_ok=True)
            name = f"{folder}/file{number:05d}.txt"
            size = rng.choice((0, 1, 100, 4096, 5000, 20_000))
            at = rng.randrange(len(content) - size)
            mtime = 1_600_000_000_000_000_000 + number * 1_000_000_007
            path = os.path.join(self.plain, name)
            with open(path, "wb") as out:
                out.write(content[at:at + size] + (b"needle %d\n" % number) * (number % 9 == 0))
            os.utime(path, ns=(mtime, mtime))
            with open(path, "rb") as file:
                if number % 50 == 49:  # plain files are among them
                    os.link(path, os.path.join(self.source, name))
                else:
                    make_compressed(self.source, name, file.read(), mtime_ns=mtime)
            self.names.append(name)
        # Directories get their times after everything is in them.
        for folder, _, _ in os.walk(self.plain):
            twin = os.path.join(self.source, os.path.relpath(folder, self.plain))
            for path in (folder, twin):
                os.utime(path, (1_500_000_000, 1_500_000_000))

    def test_md5sum_grep_and_rsync_find_the_originals(self):
        with Mount(self.source) as mount:
            sums = os.path.join(self.plain, "..", os.path.basename(self.plain) + ".md5")
            self.addCleanup(os.unlink, sums)
            with open(sums, "wb") as out:
                for at in range(0, len(self.names), 1000):
                    out.write(support.run(["md5sum", *self.names[at:at + 1000]], cwd=self.plain))
            checked = support.run(["md5sum", "-c", sums], cwd=mount.path)
            self.assertEqual(checked.count(b": OK\n"), FILES)

            found = support.run(["grep", "-r", "needle", "."], cwd=mount.path)
            wanted = support.run(["grep", "-r", "needle", "."], cwd=self.plain)
            self.assertEqual(sorted(found.splitlines()), sorted(wanted.splitlines()))
            self.assertGreater(len(found.splitlines()), FILES // 20)

            # -n says what rsync would copy: nothing, by size and time, and by content (-c).
            for flags in ("-an", "-acn"):
                out = support.run(["rsync", flags, "--delete", "--itemize-changes",
                                   mount.path + "/", self.plain + "/"])
                self.assertEqual(out, b"", flags)
            # If a file differs, it does name it.
            with open(os.path.join(self.plain, self.names[0]), "ab") as file:
                file.write(b"more")
            out = support.run(["rsync", "-an", "--itemize-changes", mount.path + "/",
                               self.plain + "/"])
            self.assertEqual(len(out.splitlines()), 1, out)

    def test_cp_a_makes_a_true_copy(self):
        with Mount(self.source) as mount:
            copy = self.enterContext(support.temp_dir("xzfs-copy-"))
            support.run(["cp", "-a", mount.path + "/.", copy])
            support.run(["diff", "-r", copy, self.plain])
            for name in self.names[::97]:
                self.assertEqual(os.stat(os.path.join(copy, name)).st_mtime_ns,
                                 os.stat(os.path.join(self.plain, name)).st_mtime_ns)


class Single(MountTest):

    def test_cp_does_not_take_compressed_for_sparse(self):
        """st_blocks is far below st_size, which is how cp finds sparse files."""
        content = b"".join((xzformat.text(1, 300_000), bytes(3 * MIB), b"middle" * 1000,
                            bytes(MIB), xzformat.text(2, 10_000), bytes(123_457)))
        make_compressed(self.source, "image", content)
        out = self.enterContext(support.temp_dir("xzfs-copy-"))
        with Mount(self.source) as mount:
            self.assertLess(os.stat(mount / "image").st_blocks * 512, len(content) // 4)
            for number, flags in enumerate((["-a"], ["--sparse=always"], ["--sparse=never"],
                                            ["--reflink=auto"])):
                copy = os.path.join(out, f"copy{number}")
                support.run(["cp", *flags, mount / "image", copy])
                with open(copy, "rb") as file:
                    self.assertEqual(hashlib.sha256(file.read()).digest(),
                                     hashlib.sha256(content).digest(), flags)
            # The mount must not report data as a hole.
            fd = os.open(mount / "image", os.O_RDONLY)
            try:
                self.assertEqual(os.lseek(fd, 5, os.SEEK_DATA), 5)
                self.assertGreaterEqual(os.lseek(fd, 0, os.SEEK_HOLE), 300_000)
            finally:
                os.close(fd)

    def test_tar_lists_and_extracts_an_archive_that_is_stored_compressed(self):
        folder = self.enterContext(support.temp_dir("xzfs-plain-"))
        for number in range(200):
            with open(os.path.join(folder, f"member{number:03d}"), "wb") as out:
                out.write(xzformat.text(number, 5_000))
        tar = folder + ".tar"
        self.addCleanup(os.unlink, tar)
        support.run(["tar", "-C", folder, "-cf", tar, "--sort=name", "."])
        wanted = support.run(["tar", "tf", tar])
        with open(tar, "rb") as file:
            make_compressed(self.source, "files.tar", file.read())
        with open(os.path.join(self.source, "files2.txz"), "wb") as out:
            subprocess.run(["xz", "-0", "-c", tar], stdout=out, check=True)
        with Mount(self.source) as mount:
            for name in ("files.tar", "files2.tar"):
                self.assertEqual(support.run(["tar", "tf", mount / name]), wanted)
            support.run(["tar", "df", mount / "files.tar"], cwd=folder)
        self.assertGreater(wanted.count(b"\n"), 200)

    def test_sqlite_queries_a_database_that_is_stored_compressed(self):
        path = os.path.join(self.source, "data.db")
        with sqlite3.connect(path) as database:
            database.execute("create table lines (number integer primary key, line text)")
            lines = xzformat.text(6, 4 * MIB).decode().splitlines()
            database.executemany("insert into lines (line) values (?)",
                                 ((line,) for line in lines))
            database.execute("create index by_line on lines (line)")
        database.close()
        support.run(["xz", "-0", "--block-size=256KiB", path])
        with Mount(self.source) as mount:
            self.assertEqual(os.listdir(mount.path), ["data.db"])
            uri = f"file:{mount / 'data.db'}?mode=ro&immutable=0"
            database = sqlite3.connect(uri, uri=True)
            try:
                self.assertEqual(database.execute("pragma integrity_check").fetchall(),
                                 [("ok",)])
                rng = random.Random(1)
                for _ in range(support.scaled(300)):
                    number = rng.randrange(len(lines))
                    self.assertEqual(database.execute(
                        "select number, line from lines where line = ?",
                        (lines[number],)).fetchall(), [(number + 1, lines[number])])
                with self.assertRaises(sqlite3.OperationalError):
                    database.execute("delete from lines")
            finally:
                database.close()
            # The program itself opens the file for writing first.
            out = support.run(["sqlite3", "-readonly", mount / "data.db",
                               "select count(*) from lines"])
            self.assertEqual(int(out), len(lines))

    def test_file_and_python_mmap(self):
        with open(sys.executable, "rb") as program:
            make_compressed(self.source, "program", program.read(2 * MIB))
        make_compressed(self.source, "words.txt", xzformat.text(2, 100_000))
        with Mount(self.source) as mount:
            kinds = support.run(["file", "--brief", mount / "program", mount / "words.txt"])
            first, second = kinds.decode().splitlines()
            self.assertIn("ELF", first)
            self.assertIn("text", second)
            out = support.run([sys.executable, "-c", """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    print(len(view), view.rfind(b"\\n2:0000000"), view[:4].decode())
""", mount / "words.txt"])
            self.assertEqual(out.decode().split(), ["100000", "-1", "2:00"])


if __name__ == "__main__":
    support.main()
