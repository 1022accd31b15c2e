"""The output of every command with --json, and the JSON of a mount, against docs/json.schema.json."""

import json
import lzma
import os

import json_schema
import support
import xzformat
from ctl_support import CtlTest, MountCtlTest, write
from support import Mount
from write_support import WriteMount, read_file, write_file

KIB = 1 << 10


class Documents(CtlTest):
    """`CtlTest.json` checks each document."""

    def make(self):
        self.text = xzformat.text(1, 100 * KIB)
        good = b"".join(lzma.compress(self.text[at:at + 20 * KIB], preset=0)
                        for at in range(0, 100 * KIB, 20 * KIB))
        write(self.path("t/good.xz"), good)
        write(self.path("t/d/plain"), self.text)
        write(self.path("t/noise"), os.urandom(2000))
        write(self.path("t/claims.xz"), b"not compressed, in spite of the name")
        write(self.path("t/cut.xz"), good[:-30])
        bad = bytearray(good)
        bad[len(good) // 2] ^= 1
        write(self.path("t/bad.xz"), bytes(bad))
        write(os.fsencode(self.path("t")) + b"/\xff.xz", lzma.compress(b"content"))

    def test_documents_of_commands_on_files_are_as_described(self):
        self.make()
        self.json("list", "-v", "t/good.xz", "t/\udcff.xz", "t/cut.xz", "missing", code=1)
        self.json("verify", "t", code=1)
        self.json("verify", "missing", code=1)
        self.json("salvage", "t/bad.xz", "-o", "out", code=2)
        self.json("salvage", "t/cut.xz", "-o", "out2", code=2)
        self.json("du", "t", "missing", code=1)
        for path, code in (("t/good.xz", 0), ("t/d/plain", 0), ("t/cut.xz", 1), ("t", 2)):
            self.json("info", path, code=code)
        self.json("pack", "-n", "t/d", "t/noise", code=2)
        self.json("pack", "-v", "t/d", "missing", code=1)
        self.json("reblock", "-v", "-f", "t/good.xz")
        self.json("unpack", "-v", "t/d")

    def test_what_pack_unpack_and_reblock_did_is_in_the_document(self):
        text = xzformat.text(2, 300 * KIB)
        write(self.path("t/a"), text)
        write(self.path("t/empty"), b"")
        packed = self.json("pack", "-v", "t")
        stored = os.path.getsize(self.path("t/a.xz"))
        sizes = {"old_bytes": len(text), "new_bytes": stored, "plain_bytes": len(text),
                 "compressed_bytes": stored, "ratio": stored / len(text)}
        self.assertEqual(packed, packed | sizes | {
            "files": 1, "skipped": [{"reason": "empty", "files": 1}], "interrupted": False,
            "dry_run": False, "errors": [], "file_list": [{"path": "t/a", **sizes}]})
        reblocked = self.json("reblock", "--block-size=64KiB", "t")
        again = os.path.getsize(self.path("t/a.xz"))
        self.assertEqual((reblocked["old_bytes"], reblocked["new_bytes"], reblocked["plain_bytes"]),
                         (stored, again, len(text)))
        unpacked = self.json("unpack", "t")
        self.assertEqual((unpacked["old_bytes"], unpacked["new_bytes"], unpacked["ratio"]),
                         (again, len(text), again / len(text)))

    def test_a_file_that_fails_is_among_the_errors(self):
        write(self.path("good.xz"), lzma.compress(b"content"))
        write(self.path("cut.xz"), lzma.compress(b"content")[:-4])
        for words in (("list", "cut.xz", "missing", "good.xz"),
                      ("du", "missing", "good.xz"),
                      ("verify", "missing", "good.xz"),
                      ("unpack", "-k", "missing", "good.xz")):
            document = self.json(*words, code=1)
            bad = [word for word in words[1:-1] if not word.startswith("-")]
            self.assertEqual([error["path"] for error in document["errors"]], bad, words)
            for error in document["errors"]:
                self.assertIn(error["path"], error["message"])

    def test_a_field_that_is_not_described_is_noticed(self):
        write(self.path("good.xz"), lzma.compress(b"content"))
        document = self.json("list", "good.xz")
        for spoilt in (document | {"new": 1}, document | {"schema": 1},
                       document | {"files": [document["files"][0] | {"plain_bytes": "7"}]},
                       {key: value for key, value in document.items() if key != "errors"}):
            with self.assertRaises(AssertionError):
                json_schema.check_document(spoilt)

    def test_every_command_that_has_json_is_described(self):
        names = self.ctl("--help")[0].partition("Commands:\n")[2].partition("\n\n")[0]
        described = set(json_schema.PUBLISHED["properties"]["command"]["enum"])
        with_json = {line.split()[0] for line in names.splitlines()
                     if "--json" in self.ctl(line.split()[0], "--help")[0]}
        self.assertEqual(described, with_json)


class OfAMount(MountCtlTest):
    def attribute(self, path, name):
        value = json.loads(os.getxattr(path, "user.xzfs." + name))
        json_schema.check_attribute(name, value)
        return value

    def test_the_attributes_and_the_documents_of_a_mount_are_as_described(self):
        text = xzformat.text(1, 100 * KIB)
        seen = set()
        os.mkdir(os.path.join(self.source, "d"))
        support.make_compressed(self.source, "edited", text)
        with open(os.path.join(self.source, "cut.xz"), "wb") as file:
            file.write(lzma.compress(text)[:-4])
        with WriteMount(self.source, "settle=1000,compress=cold,cold_after=1h") as mount:
            write_file(mount / "plain", text)
            write_file(mount / "empty", b"")
            with open(mount / "edited", "r+b") as file:
                file.write(b"changed")
            read_file(mount / "edited")
            for path, code in ((mount.path, 0), (mount / "plain", 0), (mount / "edited", 0),
                               (mount / "cut", 1), (mount / "d", 0)):
                seen |= json_schema.names_in(self.json("info", path, code=code))
            seen |= json_schema.names_in(self.json("stats", mount.path))
            seen |= json_schema.names_in(self.json("stats", self.source, code=1))
            self.json("set", mount.path)
            stats = self.attribute(mount.path, "stats")
            self.assertEqual(stats["source"], os.path.realpath(self.source))
            self.assertEqual(stats["settings"]["preset"], 6)
            seen |= json_schema.names_in(stats)
            self.attribute(mount.path, "history")
            for name in ("plain", "empty", "edited", "cut", "d"):
                seen |= json_schema.names_in(self.attribute(mount / name, "info"))
            self.assertEqual(os.getxattr(mount.path, "user.xzfs.source"),
                             os.fsencode(os.path.realpath(self.source)))
        defs = json_schema.PUBLISHED["$defs"]
        described = json_schema.described_names([defs[name] for name in ("mount", "file", "settings")])
        # Files outside of a mount, files that this liblzma can't read, commits that fail.
        self.assertEqual(described - seen, {"logical_name", "unsupported", "reason", "path"} - seen)

    def test_settings_that_were_changed_are_shown(self):
        with Mount(self.source) as mount:
            document = self.json("set", mount.path, "preset=9e", "settle=0.5", "cache_size=64MiB")
            self.assertEqual(document["settings"], document["settings"] | {
                "preset": 9, "extreme": True, "settle_seconds": 0.5,
                "cache_size_bytes": 64 << 20})


if __name__ == "__main__":
    support.main()
