"""Commands on stored files that are named by their place in a mount."""

import json
import os
import re
import shlex
import subprocess
import threading
import unittest

import support
import xzformat
from ctl_support import CTL, MountCtlTest, environment, write
from support import wait_until
from write_support import WriteMount, read_file, write_file

KIB = 1 << 10


def blocked(content, size):
    return subprocess.run(["xz", "-0c", f"--block-size={size}"], input=content,
                          stdout=subprocess.PIPE, check=True).stdout


class ThroughAMount(MountCtlTest):
    def setUp(self):
        super().setUp()
        self.content = xzformat.text(1, 300 * KIB)
        self.stored = os.path.join(self.source, "d/file.xz")
        write(self.stored, blocked(self.content, 64 * KIB))
        write(os.path.join(self.source, "plain"), b"plain")

    def mounts(self, options="compress=off"):
        """A mount elsewhere, and one that hides its source."""
        with WriteMount(self.source, options) as mount:
            yield mount.path
        self.mount_over_the_source(options)
        yield self.source
        self.ctl("umount", "--wait", self.source)

    def mount_over_the_source(self, options="compress=off"):
        support.run([support.BINARY, self.source, self.source, "-o", options])
        self.addCleanup(lambda: os.path.ismount(self.source)
                        and subprocess.run(["umount", "-l", self.source], check=False))

    def test_list_shows_what_it_shows_of_the_stored_file(self):
        (wanted,) = self.json("list", "-v", self.stored)["files"]
        self.assertEqual(len(wanted["block_list"]), 5)
        count = 0
        for top in self.mounts():
            path = os.path.join(top, "d/file")
            (told,) = self.json("list", "-v", path)["files"]
            self.assertEqual(told, wanted | {"path": path})
            out, _ = self.ctl("list", path)
            self.assertRegex(out, rf"\n +1 +5 .*{re.escape(path)}\n")
            _, error = self.ctl("list", os.path.join(top, "plain"), code=1)
            self.assertIn("the mount stores it plain", error)
            count += 1
        self.assertEqual(count, 2)

    def test_verify_finds_the_damage_of_stored_files(self):
        data = bytearray(read_file(self.stored))
        (place,) = self.json("list", "-v", self.stored)["files"]
        block = place["block_list"][2]
        data[block["compressed_offset"] + block["compressed_bytes"] // 2] ^= 1
        write(os.path.join(self.source, "bad.xz"), bytes(data))
        write(os.path.join(self.source, "cut.xz"), bytes(data[:-30]))
        for top in self.mounts():
            report = self.json("verify", top, code=1)
            self.assertEqual((report["files"], report["blocks"]), (2, 10))
            self.assertEqual([(os.path.relpath(entry["path"], top), entry["block"])
                              for entry in report["damaged"]], [("bad", 2), ("cut", None)])
            self.assertEqual(report["errors"], [])
            _, error = self.ctl("verify", os.path.join(top, "d/file"))
            self.assertIn("verified 1 file, 5 Blocks, 300.0 KiB: all good", error)

    def test_verify_reads_what_is_stored_and_has_the_mount_decode_nothing(self):
        with WriteMount(self.source, "compress=off") as mount:
            self.assertEqual(read_file(mount / "d/file"), self.content)
            before = mount.stats()["decoded_bytes"]
            with open(self.stored, "r+b") as file:
                times = os.fstat(file.fileno())
                file.seek(1000)
                byte = file.read(1)
                file.seek(1000)
                file.write(bytes([byte[0] ^ 1]))
            os.utime(self.stored, ns=(times.st_atime_ns, times.st_mtime_ns))
            _, error = self.ctl("verify", mount / "d/file", code=1)
            self.assertIn("file: Block 0 (plain bytes 0-65536, ", error)
            self.assertEqual(mount.stats()["decoded_bytes"], before, "xzfsctl has decoded it")

    def test_du_says_the_same_as_outside(self):
        wanted = self.json("du", self.source)["directories"]
        for top in self.mounts():
            told = self.json("du", top)["directories"]
            for entry, of_source in zip(told, wanted, strict=True):
                self.assertEqual(entry | {"path": ""}, of_source | {"path": ""})

    def test_cat_writes_what_the_mount_shows(self):
        for top in self.mounts():
            for name, content in (("d/file", self.content), ("plain", b"plain")):
                path = os.path.join(top, name)
                self.assertEqual(self.ctl("cat", path, text=False)[0], content)
                self.assertEqual(self.ctl("cat", "-o3", "-l2", path, text=False)[0], content[3:5])
                self.assertIn("behind the end", self.ctl("cat", "-o1MiB", path, code=1)[1])

    def test_pending_changes_are_in_cat_and_named_by_list(self):
        with WriteMount(self.source, "compress=off") as mount:
            with open(mount / "d/file", "r+b") as file:
                file.write(b"EDITED")
            self.assertEqual(self.ctl("cat", "-l6", mount / "d/file")[0], "EDITED")
            out, error = self.ctl("list", "--json", mount / "d/file")
            self.assertIn("has changes that are not compressed yet", error)
            self.assertEqual(json.loads(out)["files"][0]["plain_bytes"], len(self.content))
            self.ctl("verify", mount / "d/file")

    def test_salvage_reads_a_damaged_file_that_can_not_be_opened(self):
        write(os.path.join(self.source, "cut.xz"), read_file(self.stored)[:-30])
        for top in self.mounts():
            self.ctl("salvage", "-f", os.path.join(top, "cut"), "-o", "out")
            self.assertEqual(read_file(self.path("out")), self.content)

    def test_a_file_that_is_replaced_while_it_is_verified_is_never_called_damaged(self):
        contents = [xzformat.text(number, 2000 * KIB) for number in (2, 3)]
        stop = threading.Event()
        with WriteMount(self.source, "settle=0,preset=0,block_size=64KiB") as mount:
            write_file(mount / "busy", contents[0])
            mount.sync()

            def replace():
                while not stop.is_set():
                    for content in contents:
                        write_file(mount / "busy", content)
                        mount.sync()

            writer = threading.Thread(target=replace)
            writer.start()
            try:
                done = mount.commits()["done"]
                for _ in range(support.scaled(30, 10)):
                    verified = subprocess.run([CTL, "verify", mount / "busy"], check=False,
                                              capture_output=True, env=environment())
                    self.assertNotIn(b"damaged", verified.stderr)
                wait_until(lambda: mount.commits()["done"] > done + 1, "it was replaced")
            finally:
                stop.set()
                writer.join()

    def test_commands_that_replace_files_name_the_command_to_type(self):
        with WriteMount(self.source, "compress=off") as mount:
            for path, stored in ((mount.path, self.source), (mount / "d", f"{self.source}/d"),
                                 (mount / "d/file", self.stored)):
                for command in ("pack", "unpack", "reblock"):
                    _, error = self.ctl(command, path, code=1)
                    self.assertIn(f"{path} is in a mount of xzfs", error)
                    typed = error.splitlines()[0].rpartition(": ")[2]
                    self.assertEqual(shlex.split(typed), ["xzfsctl", command, stored])
            # It works.
            self.ctl("reblock", "-f", self.stored)
            odd = os.path.join(self.source, "it's odd")
            write(odd, self.content)
            _, error = self.ctl("pack", mount / "it's odd", code=1)
            self.ctl(*shlex.split(error.splitlines()[0].rpartition(": ")[2])[1:])
            self.assertTrue(os.path.exists(odd + ".xz"))

    def test_where_the_source_is_hidden_they_say_that_it_must_be_unmounted(self):
        self.mount_over_the_source()
        _, error = self.ctl("pack", os.path.join(self.source, "plain"), code=1)
        typed = shlex.split(error.splitlines()[0].rpartition(": ")[2])
        self.assertEqual(typed, ["xzfsctl", "umount", "--wait", self.source])
        self.ctl(*typed[1:])
        self.assertFalse(os.path.ismount(self.source))

    def test_a_mount_in_a_tree_is_entered_unless_x_is_given(self):
        with WriteMount(self.source, "compress=off") as mount:
            around = os.path.dirname(mount.path)
            write(os.path.join(around, "other.xz"), blocked(self.content, 64 * KIB))
            self.assertEqual(self.json("verify", around)["files"], 2)
            self.assertEqual(self.json("verify", "-x", around)["files"], 1)
            self.assertIn("is in a mount of xzfs", self.ctl("pack", around, code=1)[1])

    def test_an_xz_file_that_is_kept_in_a_mount_can_be_listed_and_read(self):
        with WriteMount(self.source, "settle=0") as mount:
            write_file(mount / "inner.xz", blocked(self.content, 64 * KIB))
            for _ in range(2):
                self.assertEqual(self.json("list", mount / "inner.xz")["files"][0]["blocks"], 5)
                self.assertEqual(self.ctl("cat", mount / "inner.xz", text=False)[0], self.content)
                mount.sync()

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_who_may_not_read_a_file_may_not_read_its_stored_form(self):
        os.chmod(self.stored, 0o600)
        os.chmod(self.source, 0o755)
        with WriteMount(self.source, "allow_other,compress=off") as mount:
            os.chmod(mount / "d", 0o755)
            self.assertIn("Permission denied",
                          self.ctl("list", mount / "d/file", code=1, as_nobody=True)[1])
            version = json.loads(os.getxattr(mount / "d/file", "user.xzfs.info"))["stored_version"]
            key = f"user.xzfs.stored.{version}.0.6"
            self.assertEqual(os.getxattr(mount / "d/file", key), b"\xfd7zXZ\0")
            done = subprocess.run(
                ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "getfattr",
                 "-n", key, mount / "d/file"], check=False, capture_output=True)
            self.assertIn(b"Permission denied", done.stderr)
            os.chmod(mount / "d/file", 0o644)
            self.ctl("list", mount / "d/file", as_nobody=True)


if __name__ == "__main__":
    support.main()
