"""The mount refuses, in each state, to change what may not be changed in the source. If a commit could
not replace a file, nothing is encoded or published.

The oracle is the same call on a plain file of the same source.
"""

import lzma
import os
import subprocess
import unittest

import support
import xzformat
from support import MountTest
from write_support import (STATES, WriteMount, assert_valid, attribute, leftovers, outcome, patched,
                           read_file, stored_path, write_at, write_file)

CONTENT = xzformat.text(1, 100_000)
APPEND = os.O_WRONLY | os.O_APPEND
OPTIONS = "block_size=64KiB,preset=0,min_size=1"


def opened(flags):
    return lambda path: os.close(os.open(path, flags))


def append(path):
    fd = os.open(path, APPEND)
    try:
        os.write(fd, b"more\n")
    finally:
        os.close(fd)


CHANGES = {
    "open": opened(os.O_WRONLY),
    "open for both": opened(os.O_RDWR),
    "open and cut": opened(os.O_WRONLY | os.O_TRUNC),
    "open to append and cut": opened(APPEND | os.O_TRUNC),
    "truncate": lambda path: os.truncate(path, 10),
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, 1, 1),
    "set times": lambda path: os.utime(path, (1, 1)),
    "set an attribute": lambda path: os.setxattr(path, "user.x", b"1"),
    "link": lambda path: os.link(path, path + "-link"),
    "rename": lambda path: os.rename(path, path + "-moved"),
    "unlink": os.unlink,
}


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Rights(MountTest):
    def stored(self, name, state):
        return os.path.join(self.source, name) if state == "plain" else stored_path(self.source, name)

    def make(self, mount, folder="."):
        """A file in each state, and another one for the oracle."""
        os.makedirs(os.path.join(self.source, folder), exist_ok=True)
        names = {state: os.path.join(folder, state) for state in STATES}
        for state in ("compressed", "edited"):
            write_file(stored_path(self.source, names[state]), lzma.compress(CONTENT, preset=0))
        write_file(mount / names["plain"], CONTENT)
        write_at(mount / names["edited"], 5, b"edit")
        for state, name in names.items():
            self.assertEqual(mount.state(name), state)
        return names

    def contents(self, mount, names):
        return {state: read_file(mount / name) for state, name in names.items()}

    def assert_refused(self, mount, names, plain, only=tuple(CHANGES)):
        """Each change of each file has the same result as on the plain one in the source."""
        before = self.contents(mount, names)
        wanted = {what: outcome(CHANGES[what], plain) for what in only}
        self.assertNotIn("ok", wanted.values())
        for state, name in names.items():
            with self.subTest(state=state):
                got = {what: outcome(CHANGES[what], mount / name) for what in only}
                self.assertEqual(got, wanted)
        self.assertEqual(self.contents(mount, names), before)

    def test_an_immutable_file_is_not_changed_in_any_state(self):
        plain = os.path.join(self.source, "reference")
        write_file(plain, CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            names = self.make(mount)
            stored = [self.stored(name, state) for state, name in names.items()]
            with attribute("i", plain, *stored):
                self.assert_refused(mount, names, plain)
                for state, name in names.items():
                    self.assertEqual(outcome(append, mount / name), "EPERM", state)
                    self.assertEqual(outcome(os.utime, mount / name), "EPERM", state)
            mount.sync()  # earlier changes are not lost
            self.assertEqual(read_file(mount / "edited"), patched(CONTENT, 5, b"edit"))
            self.assertEqual({mount.state(name) for name in names}, {"compressed"})
        self.assertEqual(leftovers(self.source), [])

    def test_an_append_only_file_takes_only_appends(self):
        plain = os.path.join(self.source, "reference")
        write_file(plain, CONTENT)
        with WriteMount(self.source, OPTIONS) as mount:
            names = self.make(mount)
            stored = [self.stored(name, state) for state, name in names.items()]
            with attribute("a", plain, *stored):
                self.assert_refused(mount, names, plain)
                for name in names.values():
                    self.assertEqual(outcome(os.utime, mount / name), outcome(os.utime, plain))
                self.assertEqual(outcome(append, plain), "ok")
                self.assertEqual(outcome(append, mount / "plain"), "ok")
                self.assertEqual(outcome(append, mount / "plain"), "ok")
                self.assertEqual(read_file(mount / "plain"), CONTENT + b"more\n" * 2)
                for state in ("compressed", "edited"):
                    self.assertEqual(outcome(append, mount / state), "EPERM")
            write_at(mount / "plain", 0, b"free again")
            self.assertEqual(read_file(mount / "plain")[:10], b"free again")
            mount.sync()

    def test_a_handle_that_appends_does_not_make_others_append(self):
        path = os.path.join(self.source, "log")
        write_file(path, b"0123456789")
        with WriteMount(self.source, OPTIONS) as mount:
            with attribute("a", path):
                log = os.open(mount / "log", APPEND)
                os.write(log, b"+")
                self.assertEqual(outcome(CHANGES["open"], mount / "log"), "EPERM")
                self.assertEqual(outcome(lambda _: os.ftruncate(log, 1), ""), "EPERM")
                os.write(log, b"-")
            write_at(mount / "log", 1, b"ab")
            os.write(log, b"*")
            os.close(log)
            self.assertEqual(read_file(path), b"0ab3456789+-*")

    def test_files_on_a_read_only_file_system_are_not_changed(self):
        below = os.path.join(self.source, "below")
        os.mkdir(below)
        with WriteMount(self.source, OPTIONS) as mount:
            names = self.make(mount, "below")
            plain = os.path.join(below, "reference")
            write_file(plain, CONTENT)
        support.run(["mount", "--bind", below, below])
        try:
            support.run(["mount", "-o", "remount,bind,ro", below])
            with WriteMount(self.source, OPTIONS) as mount:
                self.assert_refused(mount, names, plain)
                for name in names.values():
                    self.assertEqual(outcome(append, mount / name), "EROFS")
                    self.assertEqual(outcome(os.utime, mount / name), "EROFS")
                support.run(["mount", "-o", "remount,bind,rw", below])
                for name in names.values():
                    self.assertEqual(outcome(append, mount / name), "ok")
        finally:
            support.run(["umount", below])

    def test_a_file_with_a_read_only_bind_mount_is_not_changed(self):
        with WriteMount(self.source, OPTIONS) as mount:
            names = self.make(mount)
            stored = self.stored("compressed", "compressed")
            support.run(["mount", "--bind", stored, stored])
            try:
                support.run(["mount", "-o", "remount,bind,ro", stored])
                self.assertEqual(outcome(append, mount / "compressed"), "EROFS")
                self.assertEqual(outcome(CHANGES["truncate"], mount / "compressed"), "EROFS")
                self.assertEqual(read_file(mount / "compressed"), CONTENT)
            finally:
                # A program that has closed a file does not learn when the daemon has closed it.
                support.wait_until(
                    lambda: subprocess.run(["umount", stored], check=False,
                                           stderr=subprocess.DEVNULL).returncode == 0,
                    "the file can be unmounted")
            mount.sync()
            self.assertEqual({mount.state(name) for name in names}, {"compressed"})

    def test_a_compressed_file_in_a_directory_that_only_grows_is_changed_in_place(self):
        with WriteMount(self.source, OPTIONS) as mount:
            os.mkdir(os.path.join(self.source, "grows"))
            write_file(mount / "grows/file", CONTENT)
            mount.sync()
            stored = stored_path(self.source, "grows/file")
            before = os.stat(stored).st_ino
            with attribute("a", os.path.join(self.source, "grows")):
                append(mount / "grows/file")
                mount.sync()
                self.assertEqual(mount.state("grows/file"), "compressed")
                self.assertEqual(os.listdir(os.path.join(self.source, "grows")), ["file.xz"])
                self.assertEqual(os.stat(stored).st_ino, before)
                assert_valid(self, stored, CONTENT + b"more\n")
                self.assertEqual(read_file(mount / "grows/file"), CONTENT + b"more\n")
        self.assertEqual(leftovers(self.source), [])


if __name__ == "__main__":
    support.main()
