"""rename(2) and renameat2(2) between files in each state, and directories with such files in them."""

import ctypes
import errno
import itertools
import os
import stat
import threading
import unittest

import support
import write_support
import xzformat
from write_support import STATES, patched, read_file, write_at, write_file

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, NOREPLACE, EXCHANGE, WHITEOUT = -100, 1, 2, 4


def renameat2(old, new, flags):
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)


class Calls:
    options = "block_size=64KiB,preset=0"
    ONE, TWO = xzformat.text(1, 150_000), xzformat.text(2, 100_000)

    def pair(self, one, two):
        """Stores a file in state `one` and, if it's not None, another in state `two`."""
        files = {f"one-{one}-{two}": (self.ONE, one)}
        if two is not None:
            files[f"two-{one}-{two}"] = (self.TWO, two)
        self.store_all(files)
        names = f"one-{one}-{two}", f"two-{one}-{two}"
        return names, tuple(map(self.path, names))

    def pairs(self, with_nothing=True):
        for one, two in itertools.product(STATES, STATES + ((None,) if with_nothing else ())):
            names, paths = self.pair(one, two)
            yield one, two, names, paths

    def gone(self, name):
        self.assertNotIn(name, os.listdir(self.root))
        self.assert_errno(errno.ENOENT, os.stat, self.path(name))

    def test_rename_replaces_files_in_all_states(self):
        for one, two, names, (old, new) in self.pairs():
            inode = os.stat(old).st_ino
            os.rename(old, new)
            self.gone(names[0])
            self.assert_content(names[1], self.ONE, f"{one} over {two}")
            self.assertEqual(os.stat(new).st_ino, inode)
            self.assert_state(names[1], one)
            write_at(new, 70_000, b"after the rename")
            wanted = patched(self.ONE, 70_000, b"after the rename")
            self.assert_committed(names[1], wanted, f"{one} over {two}")
            self.gone(names[0])

    def test_open_files_stay_the_same_when_names_change(self):
        for one, two, names, (old, new) in self.pairs():
            mover = os.open(old, os.O_RDWR)
            loser = os.open(new, os.O_RDWR) if two is not None else None
            try:
                os.pwrite(mover, b"before", 0)
                os.rename(old, new)
                os.pwrite(mover, b"after", 100_000)
                wanted = patched(patched(self.ONE, 0, b"before"), 100_000, b"after")
                self.assertEqual(os.pread(mover, 200_000, 0), wanted)
                self.assert_content(names[1], wanted, f"{one} over {two}")
                if loser is not None:
                    self.assertEqual(os.fstat(loser).st_nlink, 0)
                    self.assertEqual(os.pread(loser, 200_000, 0), self.TWO)
                    os.pwrite(loser, b"a ghost", 65530)
                    self.sync()
                    self.assertEqual(os.pread(loser, 200_000, 0),
                                     patched(self.TWO, 65530, b"a ghost"))
                self.assert_content(names[1], wanted)
            finally:
                os.close(mover)
                if loser is not None:
                    os.close(loser)
            self.assert_committed(names[1], wanted, f"{one} over {two}")
            self.gone(names[0])

    def test_noreplace_never_replaces(self):
        for one, two, names, (old, new) in self.pairs():
            if two is None:
                renameat2(old, new, NOREPLACE)
                self.gone(names[0])
                self.assert_content(names[1], self.ONE)
                self.assert_committed(names[1], self.ONE)
                continue
            self.assert_errno(errno.EEXIST, renameat2, old, new, NOREPLACE)
            self.assert_content(names[0], self.ONE)
            self.assert_content(names[1], self.TWO)
            self.assert_state(names[0], one)
            self.assert_state(names[1], two)
        self.sync()

    def test_exchange_swaps_two_files_in_all_states(self):
        for one, two, names, (old, new) in self.pairs():
            if two is None:
                self.assert_errno(errno.ENOENT, renameat2, old, new, EXCHANGE)
                self.assert_content(names[0], self.ONE)
                continue
            inodes = os.stat(old).st_ino, os.stat(new).st_ino
            reader = os.open(old, os.O_RDONLY)
            try:
                renameat2(old, new, EXCHANGE)
                self.assertEqual((os.stat(new).st_ino, os.stat(old).st_ino), inodes)
                self.assert_content(names[0], self.TWO, f"{one} with {two}")
                self.assert_content(names[1], self.ONE, f"{one} with {two}")
                self.assert_state(names[0], two)
                self.assert_state(names[1], one)
                write_at(old, 5, b"TWO")
                write_at(new, 5, b"ONE")
                self.assertEqual(os.pread(reader, 10, 5)[:3], b"ONE")
            finally:
                os.close(reader)
            self.assert_committed(names[0], patched(self.TWO, 5, b"TWO"), f"{one} with {two}")
            self.assert_committed(names[1], patched(self.ONE, 5, b"ONE"), f"{one} with {two}")
        self.assert_errno(errno.EINVAL, renameat2, old, new, EXCHANGE | NOREPLACE)

    def test_exchange_swaps_a_file_with_a_directory(self):
        for state in STATES:
            name, folder = f"file-{state}", f"dir-{state}"
            self.store(name, self.ONE, state)
            os.mkdir(self.path(folder))
            write_file(self.path(folder) + "/inside", b"inside")
            renameat2(self.path(name), self.path(folder), EXCHANGE)
            self.assertEqual(os.listdir(self.path(name)), ["inside"])
            self.assert_content(folder, self.ONE)
            self.assert_content(f"{name}/inside", b"inside")
            self.assert_committed(folder, self.ONE)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_whiteout_leaves_a_device_under_the_old_name(self):
        for one, two, names, (old, new) in self.pairs():
            renameat2(old, new, WHITEOUT | (NOREPLACE if two is None else 0))
            st = os.lstat(old)
            self.assertTrue(stat.S_ISCHR(st.st_mode), f"{one} over {two}")
            self.assertEqual(st.st_rdev, 0)
            self.assertIn(names[0], os.listdir(self.root))
            self.assert_content(names[1], self.ONE, f"{one} over {two}")
            self.assert_errno(errno.EEXIST, os.mkdir, old)
            write_at(new, 70_000, b"after the rename")
            self.assert_committed(names[1], patched(self.ONE, 70_000, b"after the rename"))
            os.unlink(old)
            self.gone(names[0])
            self.assert_content(names[1], patched(self.ONE, 70_000, b"after the rename"))

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_whiteouts_under_names_with_suffixes_and_of_directories(self):
        self.store("a.xz", self.ONE, "plain")
        self.store("a", self.TWO, "compressed")  # stored under the name of the other one
        os.mkdir(self.path("d"))
        write_file(self.path("d/inside"), b"inside")
        for name in ("a.xz", "d"):
            renameat2(self.path(name), self.path(name + ".new"), WHITEOUT)
            self.assertTrue(stat.S_ISCHR(os.lstat(self.path(name)).st_mode), name)
        self.assert_content("a.xz.new", self.ONE)
        self.assert_content("a", self.TWO)
        self.assert_content("d.new/inside", b"inside")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_whiteout_without_a_rename_leaves_nothing(self):
        self.store("one", self.ONE, "plain")
        self.store("two", self.TWO, "compressed")
        os.link(self.path("one"), self.path("link"))
        renameat2(self.path("one"), self.path("link"), WHITEOUT)  # two names of one file
        for code, flags in ((errno.EEXIST, WHITEOUT | NOREPLACE), (errno.EINVAL, WHITEOUT | EXCHANGE)):
            self.assert_errno(code, renameat2, self.path("one"), self.path("two"), flags)
        self.assert_errno(errno.ENOENT, renameat2, self.path("none"), self.path("new"), WHITEOUT)
        for name, content in (("one", self.ONE), ("two", self.TWO), ("link", self.ONE)):
            self.assert_content(name, content)
        self.assertEqual(sorted(os.listdir(self.root)), ["link", "one", "two"])

    def test_renames_between_names_with_and_without_suffixes(self):
        """In the mount, a suffix of compressed files is only a part of the name."""
        names = ("plain", "plain.xz", "plain.tar", "plain.txz", "plain.xzhot", "plain.xz.xz",
                 "plain.lzma", "plain.xz.xzhot", "plain.lz", "plain.")
        for state in STATES:
            now = f"{state}-{names[0]}"
            self.store(now, self.ONE, state)
            for name in (*names[1:], *names[::-3]):
                name = f"{state}-{name}"
                if name == now:
                    continue
                os.rename(self.path(now), self.path(name))
                now = name
                self.assertEqual([entry for entry in os.listdir(self.root)
                                  if entry.startswith(state)], [now])
                self.assert_content(now, self.ONE)
                self.assert_state(now, state)
            self.assert_committed(now, self.ONE)
            self.assertTrue(os.path.exists(write_support.stored_path(self.source, now))
                            or self.source == self.root)

    def test_a_plain_name_and_its_suffixed_one_are_two_files(self):
        for one, two in itertools.product(STATES, STATES):
            a, b = f"{one}{two}", f"{one}{two}.xz"
            self.store_all({a: (self.ONE, one), b: (self.TWO, two)})
            self.assert_content(a, self.ONE)
            self.assert_content(b, self.TWO)
            renameat2(self.path(a), self.path(b), EXCHANGE)
            self.assert_content(a, self.TWO)
            self.assert_content(b, self.ONE)
            os.rename(self.path(b), self.path(a))
            self.gone(b)
            self.assert_content(a, self.ONE)
            self.assert_committed(a, self.ONE)

    def test_into_another_directory(self):
        os.mkdir(self.path("to"))
        for one, two, names, (old, _) in self.pairs(with_nothing=False):
            target = f"to/{names[1]}"
            self.store(target, self.TWO, two)
            self.assert_content(target, self.TWO)
            os.rename(old, self.path(target))
            self.gone(names[0])
            self.assert_content(target, self.ONE, f"{one} over {two}")
            self.assert_committed(target, self.ONE)

    def test_directories_move_with_what_is_in_them(self):
        os.makedirs(self.path("a/deep/er"))
        self.store_all({f"a/deep/er/{state}": (self.ONE, state) for state in STATES})
        fds = {state: os.open(self.path(f"a/deep/er/{state}"), os.O_RDWR) for state in STATES}
        try:
            os.rename(self.path("a"), self.path("b"))
            self.gone("a")
            for state, fd in fds.items():
                self.assert_content(f"b/deep/er/{state}", self.ONE)
                os.pwrite(fd, b"moved", 65534)
            os.mkdir(self.path("c"))
            os.rename(self.path("b/deep"), self.path("c/deep"))
            for state, fd in fds.items():
                os.pwrite(fd, b"again", 0)
                self.assertEqual(os.pread(fd, 5, 65534), b"moved")
        finally:
            for fd in fds.values():
                os.close(fd)
        wanted = patched(patched(self.ONE, 65534, b"moved"), 0, b"again")
        for state in STATES:
            self.assert_content(f"c/deep/er/{state}", wanted)
        self.assertEqual(sorted(os.listdir(self.root)), ["b", "c"])
        for state in STATES:
            self.assert_committed(f"c/deep/er/{state}", wanted)

    def test_directories_replace_only_empty_ones(self):
        os.mkdir(self.path("full"))
        self.store_all({"full/compressed": (self.ONE, "compressed"), "file": (self.TWO, "compressed")})
        for name in ("empty", "other"):
            os.mkdir(self.path(name))
        self.assert_errno(errno.ENOTEMPTY, os.rename, self.path("empty"), self.path("full"))
        self.assert_errno(errno.ENOTDIR, os.rename, self.path("empty"), self.path("file"))
        self.assert_errno(errno.EISDIR, os.rename, self.path("file"), self.path("empty"))
        self.assert_errno(errno.EINVAL, os.rename, self.path("full"), self.path("full/inside"))
        self.assert_errno(errno.ENOENT, os.rename, self.path("none"), self.path("full"))
        self.assert_errno(errno.ENOENT, os.rename, self.path("file"), self.path("none/file"))
        self.assert_errno(errno.ENOTEMPTY, os.rmdir, self.path("full"))
        self.assert_errno(errno.ENOTDIR, os.rmdir, self.path("file"))
        self.assert_errno(errno.EISDIR, os.unlink, self.path("empty"))
        self.assert_errno(errno.ENOENT, os.unlink, self.path("none"))
        os.rename(self.path("full"), self.path("empty"))
        self.assert_content("empty/compressed", self.ONE)
        os.rename(self.path("empty"), self.path("name.xz"))  # of a directory it is only a name
        self.assert_content("name.xz/compressed", self.ONE)
        self.assertEqual(sorted(os.listdir(self.root)), ["file", "name.xz", "other"])

    def test_two_names_of_one_file_stay_two(self):
        for state in STATES:
            one, two = self.store(f"link-{state}", self.ONE, state), self.path(f"link2-{state}")
            os.link(one, two)
            os.rename(one, two)  # POSIX: does nothing
            self.assertEqual(os.stat(one).st_ino, os.stat(two).st_ino)
            self.assertEqual(os.stat(one).st_nlink, 2)
            os.unlink(two)
            self.assert_content(f"link-{state}", self.ONE)
            write_at(one, 0, b"alone")  # a file that had two names may be committed when a program writes to it
            self.assert_committed(f"link-{state}", patched(self.ONE, 0, b"alone"))

    def test_files_replace_other_kinds_of_files(self):
        for state in STATES:
            for kind in ("symlink", "symlink.xz", "fifo"):
                name, target = f"f-{state}-{kind}", f"t-{state}-{kind}"
                self.store(name, self.ONE, state)
                if kind == "fifo":
                    os.mkfifo(self.path(target))
                else:
                    os.symlink("target" + kind[7:], self.path(target))
                os.rename(self.path(name), self.path(target))
                self.gone(name)
                self.assert_content(target, self.ONE)
                # Then the other kind replaces a file in that state.
                name = name + "2"
                os.symlink("target" + kind[7:], self.path(name))
                self.store(target, self.ONE, state)
                os.rename(self.path(name), self.path(target))
                self.assertTrue(stat.S_ISLNK(os.lstat(self.path(target)).st_mode))
                self.assertEqual(os.readlink(self.path(target)), "target" + kind[7:])
                self.assertEqual([entry for entry in os.listdir(self.root)
                                  if entry.startswith(target)], [target])

    def test_a_name_that_is_replaced_all_the_time_is_never_missing(self):
        """A reader finds the whole old or the whole new file, whatever states both files have."""
        one, two = xzformat.text(3, 40_000), xzformat.text(4, 70_000)
        path = self.store("busy", one, "compressed")
        stop, failures, passes = threading.Event(), [], [0, 0]

        def read():
            while not stop.is_set():
                try:
                    with open(path, "rb", buffering=0) as file:
                        got = file.read()
                except OSError as error:
                    failures.append(error)
                    return
                if got == one:
                    passes[0] += 1
                elif got == two:
                    passes[1] += 1
                else:
                    failures.append(f"{len(got)} bytes of neither")
                    return

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            turns = 0
            while not failures and (turns < 40 or min(passes) < 3) and turns < 1000:
                turns += 1
                self.store("next", two if turns % 2 else one, STATES[turns % 3])
                os.rename(self.path("next"), path)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        self.assertEqual(failures, [])
        self.assertGreaterEqual(min(passes), 3, passes)

    def test_the_last_name_that_was_given_wins(self):
        """A chain of renames without commits in between, then one with commits."""
        for state in STATES:
            now = f"chain-{state}-0"
            self.store(now, self.ONE, state)
            wanted = self.ONE
            for turn in range(1, 12):
                name = f"chain-{state}-{turn}"
                os.rename(self.path(now), self.path(name))
                now = name
                if turn % 3 == 0:
                    write_at(self.path(now), turn, b"%02d" % turn)
                    wanted = patched(wanted, turn, b"%02d" % turn)
                if turn % 4 == 0:
                    self.sync()
                self.assertEqual(read_file(self.path(now)), wanted)
            self.assert_committed(now, wanted)


class OnTheMount(Calls, write_support.OnMount):
    pass


class WithCommitsAllTheTime(Calls, write_support.OnMount):
    """The same, but every file is committed as soon as it is closed, so its state varies."""

    options = "block_size=64KiB,preset=0,settle=0"

    def store_all(self, files):
        write_support.OnPlainDirectory.store_all(self, files)

    def store(self, name, content, state):
        return write_support.OnPlainDirectory.store(self, name, content, state)

    def assert_state(self, name, state):
        pass


class OnAPlainDirectory(Calls, write_support.OnPlainDirectory):
    pass


if __name__ == "__main__":
    support.main()
