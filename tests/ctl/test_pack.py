"""xzfsctl pack: what it changes and what it keeps, compared with xz, stat, getfacl, getfattr."""

import fcntl
import lzma
import os
import shutil
import subprocess
import time
import unittest

import ctl_trees
import support
import write_support
import xzformat
from ctl_support import CTL, CtlTest, environment, write

KIB = 1 << 10
MIB = 1 << 20


class Pack(CtlTest):
    def test_a_tree_is_packed_and_nothing_but_the_bytes_changes(self):
        wanted = ctl_trees.make(self.path("t"))
        _, error = self.ctl("pack", "t")
        self.assertIn(f"packed {len(wanted.packable)} files", error)
        ctl_trees.check_packed(self, self.path("t"), wanted)
        before = ctl_trees.stored(self.path("t"))
        self.ctl("pack", "t")
        self.assertEqual(ctl_trees.stored(self.path("t")), before, "a second run finds nothing")

    def test_options_choose_what_xz_writes(self):
        content = xzformat.text(1, 300 * KIB)
        sizes = {}
        for options, check in ((["-0"], "CRC64"), (["-9e", "--check=sha256"], "SHA-256"),
                               (["-6", "--check", "crc32", "--block-size=64KiB"], "CRC32"),
                               (["-T1", "--check=none"], "None")):
            write(self.path("a"), content)
            self.ctl("pack", *options, "a")
            (line,) = [line.split("\t") for line in support.run(
                ["xz", "--robot", "-l", self.path("a.xz")]).decode().splitlines()
                if line.startswith("file")]
            self.assertEqual(line[6], check)
            self.assertEqual(int(line[2]), 5 if "--block-size=64KiB" in options else 1)
            self.assertEqual(support.run(["xz", "-dc", self.path("a.xz")]), content)
            sizes[options[0]] = int(line[3])
            os.unlink(self.path("a.xz"))
        self.assertLess(sizes["-9e"], sizes["-0"])

    def test_files_that_stay_plain_are_named_with_the_reason(self):
        text = xzformat.text(2, 20 * KIB)
        for name in ("one", "two", "suid", "young", "small", "noise", "open", "taken",
                     "e.skip", "locked"):
            write(self.path("t", name), text)
        os.link(self.path("t", "one"), self.path("other-name"))
        os.chmod(self.path("t", "suid"), 0o4755)
        for name in os.listdir(self.path("t")):
            if name != "young":
                os.utime(self.path("t", name), (1, 1))
        write(self.path("t", "small"), b"x" * 100)
        write(self.path("t", "noise"), os.urandom(20 * KIB))
        write(self.path("t", "done.xz"), lzma.compress(text))
        write(self.path("t", "taken.xz"), lzma.compress(b"of somebody else"))
        for name in ("small", "noise", "done.xz", "taken.xz"):
            os.utime(self.path("t", name), (1, 1))
        with open(self.path("t", "open"), "rb+"), open(self.path("t", "locked"), "rb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            _, error = self.ctl("pack", "-v", "--min-size=1KiB", "--older-than", "1d",
                                "--exclude=*.skip", "t")
        reasons = {"one": "hard links", "suid": "set-id", "young": "modified recently",
                   "small": "smaller than", "noise": "not shrink", "open": "open for writing",
                   "done.xz": "already compressed", "taken": "t/taken.xz already exists",
                   "locked": "open for writing"}
        for name, reason in reasons.items():
            (line,) = [line for line in error.splitlines() if f"skipped t/{name}: " in line]
            self.assertIn(reason, line)
        self.assertEqual(sorted(os.listdir(self.path("t"))),
                         sorted([*reasons, "e.skip", "taken.xz", "two.xz"]))
        self.ctl("pack", "t/noise", code=2)
        self.ctl("pack", "-Q", "t/noise", code=0)
        self.ctl("pack", "missing", code=1)

    @unittest.skipUnless(os.geteuid() == 0, "becomes another user")
    def test_a_user_packs_read_only_files_with_attributes(self):
        write(self.path("t", "file"), xzformat.text(1, 50 * KIB))
        os.setxattr(self.path("t", "file"), "user.note", b"kept")
        support.run(["setfacl", "-m", "u:1000:r", self.path("t", "file")])
        os.chmod(self.path("t", "file"), 0o444)
        os.chmod(self.folder, 0o755)
        for name in ("t", "t/file"):
            shutil.chown(self.path(name), "nobody", "nogroup")
        before = ctl_trees._metadata(self.path("t/file"))  # pylint: disable=protected-access
        shutil.copy(CTL, self.path("xzfsctl"))
        support.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                     self.path("xzfsctl"), "pack", self.path("t")])
        after = ctl_trees._metadata(self.path("t/file.xz"))  # pylint: disable=protected-access
        self.assertEqual(after, before)

    def test_a_file_with_several_names_is_packed_under_all_of_them_and_unpacked_again(self):
        content = {"one": xzformat.text(1, 50 * KIB), "two": xzformat.text(2, 60 * KIB)}
        names = {"one": ["t/one", "t/a/first", "t/z/y/last.xz"], "two": ["t/a/two", "t/z/two"]}
        for folder in ("t/a", "t/z/y"):
            os.makedirs(self.path(folder))
        for first, text in content.items():
            write(self.path(names[first][0]), text)
            for name in names[first][1:]:
                os.link(self.path(names[first][0]), self.path(name))
        before = {folder: os.stat(folder).st_mtime_ns
                  for folder, _, _ in os.walk(self.path("t"))}
        _, error = self.ctl("pack", "t")
        self.assertIn("packed 2 files", error)
        self.assert_one_file_each({key: [name + ".xz" for name in paths]
                                   for key, paths in names.items()})
        for first, text in content.items():
            for name in names[first]:
                self.assertEqual(support.run(["xz", "-dc", self.path(name + ".xz")]), text)
        _, error = self.ctl("unpack", "t")
        self.assertIn("unpacked 2 files", error)
        names["one"][2] += ".xzhot"
        self.assert_one_file_each(names)
        for first, text in content.items():
            self.assertEqual(write_support.read_file(self.path(names[first][1])), text)
        self.assertEqual({folder: os.stat(folder).st_mtime_ns
                          for folder, _, _ in os.walk(self.path("t"))}, before)

    def assert_one_file_each(self, names):
        """`t` has these names and no others, and their files have no other names."""
        for paths in names.values():
            found = {os.stat(self.path(path)).st_ino for path in paths}
            self.assertEqual(len(found), 1, paths)
            self.assertEqual(os.stat(self.path(paths[0])).st_nlink, len(paths))
        self.assertEqual(set(ctl_trees.stored(self.path("t"))),
                         {os.path.relpath(path, "t") for paths in names.values() for path in paths})

    def test_of_several_names_all_or_none_are_packed(self):
        write(self.path("t", "one"), xzformat.text(1, 50 * KIB))
        os.makedirs(self.path("t/a"))
        os.link(self.path("t/one"), self.path("t/a/other.skip"))
        before = ctl_trees.stored(self.path("t"))
        for words in (["--exclude=*.skip", "t"], ["t/one"], ["t/one", "t/one"], ["t/a", "t/a"]):
            _, error = self.ctl("pack", "-v", *words, code=2 if words[0] == "t/one" else 0)
            self.assertIn("hard links that were not found", error)
            self.assertEqual(ctl_trees.stored(self.path("t")), before, words)
        write(self.path("t", "a", "other.skip.xz"), lzma.compress(b"of somebody else"))
        before = ctl_trees.stored(self.path("t"))
        _, error = self.ctl("pack", "-v", "t")
        self.assertIn("skipped t/one: t/a/other.skip.xz already exists", error)
        self.assertEqual(ctl_trees.stored(self.path("t")), before)
        os.unlink(self.path("t", "a", "other.skip.xz"))
        self.ctl("pack", "-k", "t")
        self.assertEqual(os.stat(self.path("t/one.xz")).st_ino,
                         os.stat(self.path("t/a/other.skip.xz")).st_ino)
        for kept in ("t/one.xz", "t/a/other.skip.xz"):
            os.unlink(self.path(kept))
        self.ctl("pack", "t/one", "t/a")
        self.assert_one_file_each({"one": ["t/one.xz", "t/a/other.skip.xz"]})

    def test_a_file_that_a_program_opens_for_writing_during_pack_stays(self):
        """If a program opens the file between the claim and the end, pack leaves it."""
        write(self.path("a"), xzformat.text(3, 2 * MIB))
        process = subprocess.Popen([CTL, "pack", "-9e", "-T1", "--block-size=256KiB", "a"],
                                   cwd=self.folder, env=environment(), stderr=subprocess.PIPE)
        support.wait_until(lambda: any(name.endswith(".tmp") for _, _, names in
                                       os.walk(self.path(".xzfs")) for name in names),
                           "it has begun")
        with open(self.path("a"), "rb+") as file:
            file.write(b"changed")
            file.flush()
            _, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2, error)
        self.assertEqual(os.listdir(self.folder), ["a"])
        self.assertTrue(write_support.read_file(self.path("a")).startswith(b"changed"))

    def test_an_interrupt_leaves_only_old_or_new_files(self):
        names = [f"f{number}" for number in range(20)]
        content = xzformat.text(4, 400 * KIB)
        for name in names:
            write(self.path("t", name), content)
        process = subprocess.Popen([CTL, "pack", "-9e", "t"], cwd=self.folder, env=environment(),
                                   stderr=subprocess.PIPE)
        support.wait_until(lambda: os.path.exists(self.path("t", ".xzfs")), "it has begun")
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, -15)
        left = os.listdir(self.path("t"))
        self.assertEqual(sorted(name.removesuffix(".xz") for name in left), sorted(names))
        self.assertTrue(any(not name.endswith(".xz") for name in left), "it was interrupted")
        self.ctl("pack", "-0", "t")
        for name in names:
            self.assertEqual(support.run(["xz", "-dc", self.path("t", name + ".xz")]), content)

    def test_keep_keeps_and_dry_run_changes_nothing(self):
        write(self.path("t", "a"), xzformat.text(5, 100 * KIB))
        write(self.path("t", "b"), os.urandom(100 * KIB))
        before = ctl_trees.stored(self.path("t"))
        _, error = self.ctl("pack", "--dry-run", "t")
        self.assertEqual(ctl_trees.stored(self.path("t")), before)
        self.assertIn("would pack about 1 file", error)
        self.assertIn("; skipped 1: would not shrink (1)", error)
        self.ctl("pack", "-k", "t")
        self.assertEqual(sorted(os.listdir(self.path("t"))), ["a", "a.xz", "b"])
        _, error = self.ctl("pack", "-k", "t")
        self.assertIn("already packed and kept (1)", error)
        _, error = self.ctl("pack", "t")
        self.assertIn("the compressed file already exists (1)", error)
        self.assertEqual(sorted(os.listdir(self.path("t"))), ["a", "a.xz", "b"])

    def test_what_would_not_shrink_is_left_plain_unless_all_is_given(self):
        text = xzformat.text(1, 100 * KIB)
        contents = {"note": b"hi\n", "one block": text[:4096], "two blocks": text[:8192],
                    "photo": os.urandom(20 * KIB), "video": os.urandom(3 * MIB), "text": text,
                    "foo.tar.xz.xzhot": os.urandom(20 * KIB)}
        for name, content in contents.items():
            write(self.path("t", name), content)
        with open(self.path("t", "holes"), "wb") as holes:
            holes.truncate(10 * MIB)
        left = ["holes", "note", "one block", "photo", "video"]
        packed = ["foo.tar.xz.xz", "text.xz", "two blocks.xz"]
        document = self.json("pack", "--dry-run", "t")
        self.assertEqual(document["files"], 3)
        _, error = self.ctl("pack", "t")
        self.assertIn("packed 3 files", error)
        self.assertIn("skipped 5: would not shrink (5)", error)
        self.assertEqual(sorted(os.listdir(self.path("t"))), sorted(left + packed))
        _, error = self.ctl("pack", "--all", "t")
        self.assertIn("packed 5 files", error)
        self.assertEqual(sorted(os.listdir(self.path("t"))),
                         sorted([name + ".xz" for name in left] + packed))
        for name, content in contents.items():
            stored = self.path("t", name.removesuffix(".xzhot") + ".xz")
            self.assertEqual(support.run(["xz", "-dc", stored]), content)

    def test_min_saving_says_how_much_a_file_must_shrink(self):
        content = os.urandom(950 * KIB) + bytes(50 * KIB)
        for least, is_packed in (("4", True), ("6%", False), ("100", False), ("0", True)):
            write(self.path("t", "a"), content)
            self.ctl("pack", "--min-saving", least, "t")
            self.assertEqual(os.listdir(self.path("t")), ["a.xz" if is_packed else "a"], least)
            shutil.rmtree(self.path("t"))

    def test_the_projected_saving_is_near_the_real_one(self):
        for number in range(10):
            write(self.path("t", f"f{number}"), xzformat.text(number, (number + 1) * 100 * KIB))
        _, guess = self.ctl("pack", "--dry-run", "-1", "t")
        _, real = self.ctl("pack", "-1", "t")
        ratio = [float(text.partition("(")[2].partition(")")[0]) for text in (guess, real)]
        self.assertAlmostEqual(*ratio, delta=0.1 * ratio[1])

    def test_times_since_the_last_read_count(self):
        now = time.time()
        for name, age in (("old", 40), ("new", 10)):
            write(self.path("t", name), xzformat.text(6, 20 * KIB))
            os.utime(self.path("t", name), (now - age * 86400, 1))
        self.ctl("pack", "--not-read-for=30d", "t")
        self.assertEqual(sorted(os.listdir(self.path("t"))), ["new", "old.xz"])

    def test_names_that_would_be_read_as_compressed_read_back_as_they_are(self):
        """A mount shows all names as before, whatever the content is."""
        names = ["a.xz", "b.lzma", "c.txz", "d.xzhot", "e.xz.xz"]
        for name in names:
            write(self.path("t", name), xzformat.text(7, 20 * KIB))
        self.ctl("pack", "t")
        self.assertEqual(sorted(os.listdir(self.path("t"))), [name + ".xz" for name in names])
        with write_support.WriteMount(self.path("t")) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), names)
            for name in names:
                self.assertEqual(write_support.read_file(mount / name), xzformat.text(7, 20 * KIB))

    def test_a_source_is_packed_while_it_is_mounted(self):
        contents = {f"f{number}": xzformat.text(number, 30 * KIB) for number in range(30)}
        for name, content in contents.items():
            write(self.path("t", name), content)
        with write_support.WriteMount(self.path("t"), "compress=off") as mount:
            with open(mount / "f0", "rb+") as writer, open(mount / "f1", "rb") as reader:
                writer.write(b"mine")
                writer.flush()
                _, error = self.ctl("pack", "t")
                self.assertIn("packed 29 files", error)
                self.assertIn("open for writing (1)", error)
                self.assertEqual(reader.read(), contents["f1"])
            contents["f0"] = b"mine" + contents["f0"][4:]
            self.assertEqual(sorted(os.listdir(mount.path)), sorted(contents))
            for name, content in contents.items():
                self.assertEqual(write_support.read_file(mount / name), content, name)
            _, error = self.ctl("pack", mount.path, code=1)
            self.assertIn("mount of xzfs", error)
        self.assertNotIn(".xzfs", os.listdir(self.path("t")))

    def test_ten_thousand_packed_files_read_through_a_mount_as_before(self):
        count = support.scaled(10_000, 500)
        contents = {}
        # In memory: the test is not about the disk.
        self.folder = self.enterContext(support.temp_dir("/dev/shm/xzfsctl-"))
        for number in range(count):
            name = f"d{number % 50}/f{number}"
            contents[name] = (f"line of file {number}\n" * (number % 40 + 8)).encode()
            write(self.path("t", name), contents[name])
        _, error = self.ctl("pack", "-0", "--all", "t", deadline_s=240)
        self.assertIn(f"packed {count} files", error)
        with write_support.WriteMount(self.path("t")) as mount:
            got = {}
            for folder, _, names in os.walk(mount.path):
                for name in names:
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        got[os.path.relpath(path, mount.path)] = file.read()
        self.assertEqual(got.keys(), contents.keys())
        self.assertEqual([name for name in contents if got[name] != contents[name]], [])


if __name__ == "__main__":
    support.main()
