"""Attributes, links and other kinds of files in each state; each test also runs on a plain directory."""

import errno
import os
import socket
import stat
import threading
import time
import unittest

import support
import write_support
import xzformat
from support import wait_until
from write_support import STATES, WriteMount, patched, read_file, write_at, write_file

CONTENT = xzformat.text(1, 150_000)
ROOT_ONLY = unittest.skipUnless(os.geteuid() == 0, "needs root")


class Calls:
    options = "block_size=64KiB,preset=0,acl,dev,suid"

    def for_each_state(self, content=CONTENT):
        for state in STATES:
            yield f"of-{state}", self.store(f"of-{state}", content, state), state

    def test_times_are_set_to_the_nanosecond_and_survive_the_commit(self):
        for name, path, state in self.for_each_state():
            for atime, mtime in ((1_234_567_890_123_456_789, 1_111_111_111_987_654_321), (0, 1),
                                 (4_000_000_000_999_999_999, 4_000_000_000_000_000_001)):
                os.utime(path, ns=(atime, mtime))
                st = os.stat(path)
                self.assertEqual((st.st_atime_ns, st.st_mtime_ns), (atime, mtime))
                self.assert_state(name, state)  # new times are no change of content
            with open(path, "rb") as file:
                os.utime(file.fileno(), ns=(7, 8_000_000_009))
            self.assertEqual(os.stat(path).st_mtime_ns, 8_000_000_009)
            self.sync()
            self.assertEqual(os.stat(path).st_mtime_ns, 8_000_000_009, state)
            self.assert_content(name, CONTENT)

    def test_a_write_sets_mtime_and_a_commit_does_not(self):
        for name, path, state in self.for_each_state():
            os.utime(path, ns=(10**18, 10**18))
            before = time.time_ns()
            write_at(path, 70_000, b"new")
            written = os.stat(path).st_mtime_ns
            # The kernel's clock for files is at most one tick (10 ms) behind.
            self.assertGreater(written, before - 20_000_000, state)
            self.assertLess(written, time.time_ns() + 1_000_000)
            self.sync()
            self.assertEqual(os.stat(path).st_mtime_ns, written)
            read_file(path)
            self.assertEqual(os.stat(path).st_mtime_ns, written)
            os.utime(path, ns=(10**18, 10**18))
            os.truncate(path, 60_000)
            cut = os.stat(path).st_mtime_ns
            self.assertGreater(cut, before - 20_000_000, state)
            self.assert_committed(name, patched(CONTENT, 70_000, b"new")[:60_000])
            self.assertEqual(os.stat(path).st_mtime_ns, cut)

    def test_a_commit_does_not_change_the_times_of_the_directory(self):
        """The times that tar, cp -a and rsync set at the end stay, although a commit changes names."""
        os.mkdir(self.path("dir"))
        self.store("dir/edited", CONTENT, "edited")
        write_file(self.path("dir/plain"), CONTENT)
        os.utime(self.path("dir"), ns=(10**18, 10**18 + 7))
        self.sync()
        self.assert_state("dir/plain", "compressed")
        self.assertEqual(os.stat(os.path.join(self.source, "dir")).st_mtime_ns, 10**18 + 7)
        self.assertEqual(os.stat(self.path("dir")).st_mtime_ns, 10**18 + 7)

    def test_a_time_that_is_set_while_the_file_is_open_stays(self):
        """cp -p and tar write, set the time, and close."""
        for name, path, state in self.for_each_state():
            fd = os.open(path, os.O_RDWR)
            os.pwrite(fd, b"new", 100)
            os.utime(fd, ns=(10**18, 10**18 + 5))
            os.close(fd)
            self.assertEqual(os.stat(path).st_mtime_ns, 10**18 + 5, state)
            self.assert_committed(name, patched(CONTENT, 100, b"new"))
            self.assertEqual(os.stat(path).st_mtime_ns, 10**18 + 5, state)

    def test_mode_and_owner_change_in_each_state(self):
        for name, path, state in self.for_each_state():
            for mode in (0o600, 0o444, 0o777, 0o000, 0o640):
                os.chmod(path, mode)
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)
            fd = os.open(path, os.O_RDONLY)
            os.fchmod(fd, 0o604)
            self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o604)
            if os.geteuid() == 0:
                os.chown(path, 1001, -1)
                os.fchown(fd, -1, 1002)
                self.assertEqual((os.fstat(fd).st_uid, os.fstat(fd).st_gid), (1001, 1002))
            os.close(fd)
            self.assert_state(name, state)
            before = os.stat(path)
            self.assert_committed(name, CONTENT)
            after = os.stat(path)
            for field in ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_size", "st_ino"):
                self.assertEqual(getattr(after, field), getattr(before, field), (field, state))

    def test_ctime_moves_with_every_change(self):
        for _, path, state in self.for_each_state():
            last = os.stat(path).st_ctime_ns
            for change in (lambda: os.chmod(path, 0o600), lambda: os.utime(path, ns=(1, 2)),
                           lambda: os.setxattr(path, "user.a", b"b"),
                           lambda: write_at(path, 0, b"w"), lambda: os.truncate(path, 90_000)):
                def moved():
                    change()  # until the clock of the file system has ticked
                    return os.stat(path).st_ctime_ns > last
                wait_until(moved, f"ctime moves, {state}")
                last = os.stat(path).st_ctime_ns

    def test_extended_attributes_in_each_state(self):
        for name, path, state in self.for_each_state():
            self.assertEqual(os.listxattr(path), [])
            os.setxattr(path, "user.one", b"1", os.XATTR_CREATE)
            self.assert_errno(errno.EEXIST, os.setxattr, path, "user.one", b"2", os.XATTR_CREATE)
            self.assert_errno(errno.ENODATA, os.setxattr, path, "user.two", b"2", os.XATTR_REPLACE)
            self.assert_errno(errno.ENODATA, os.getxattr, path, "user.two")
            self.assert_errno(errno.ENODATA, os.removexattr, path, "user.two")
            os.setxattr(path, "user.one", b"\0binary\xff", os.XATTR_REPLACE)
            os.setxattr(path, "user.empty", b"")
            for number in range(20):
                os.setxattr(path, f"user.n{number:03d}", b"%d" % number * 10)
            with open(path, "rb") as file:
                os.setxattr(file.fileno(), "user.by-fd", b"fd")
                self.assertEqual(os.getxattr(file.fileno(), "user.one"), b"\0binary\xff")
            os.removexattr(path, "user.n007")
            self.assert_errno(errno.EOPNOTSUPP, os.setxattr, path, "nonsense", b"")
            self.assert_errno(errno.ERANGE, os.setxattr, path, "user." + "n" * 256, b"")
            self.assert_state(name, state)
            seen = {key: os.getxattr(path, key) for key in os.listxattr(path)}
            self.assertEqual(len(seen), 22)
            self.assertEqual(seen["user.empty"], b"")
            self.assert_committed(name, CONTENT)
            self.assertEqual({key: os.getxattr(path, key) for key in os.listxattr(path)}, seen)
            for key in seen:
                os.removexattr(path, key)
            self.assertEqual(os.listxattr(path), [])
            self.assert_committed(name, CONTENT)

    def test_an_attribute_that_is_too_large_for_the_source_is_refused(self):
        path = self.store("file", CONTENT, "edited")
        for size in (1000, 3000):
            os.setxattr(path, "user.large", b"x" * size)
            self.assertEqual(len(os.getxattr(path, "user.large")), size)
        self.assert_errno(errno.E2BIG, os.setxattr, path, "user.large", b"x" * 65537)
        self.assertEqual(len(os.getxattr(path, "user.large")), 3000)

    def test_access_control_lists_are_set_inherited_and_kept(self):
        os.mkdir(self.path("dir"))
        support.run(["setfacl", "-m", "d:u:1234:rw,d:g:2345:r,d:m:rw", self.path("dir")])
        write_file(self.path("dir/inherits"), CONTENT, 0o666)
        os.mkdir(self.path("dir/sub"))
        wanted = support.run(["getfacl", "-nE", "--omit-header", self.path("dir/inherits")])
        self.assertIn(b"user:1234:rw-", wanted)
        self.assertIn(b"default:user:1234:rw-",
                      support.run(["getfacl", "-nE", "--omit-header", self.path("dir/sub")]))
        self.sync()
        self.assertEqual(support.run(["getfacl", "-nE", "--omit-header",
                                      self.path("dir/inherits")]), wanted)
        for name, path, state in self.for_each_state():
            support.run(["setfacl", "-m", "u:1234:rwx,g:77:r-x", path])
            wanted = support.run(["getfacl", "-nE", "--omit-header", path])
            self.assertIn(b"user:1234:rwx", wanted)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o070, 0o070)  # the mask
            os.chmod(path, 0o640)
            wanted = support.run(["getfacl", "-nE", "--omit-header", path])
            self.assertIn(b"mask::r--", wanted)
            self.assert_state(name, state)
            self.assert_committed(name, CONTENT)
            self.assertEqual(support.run(["getfacl", "-nE", "--omit-header", path]), wanted)
            support.run(["setfacl", "-b", path])
            self.assertEqual([key for key in os.listxattr(path) if "acl" in key], [])

    def test_symlinks_fifos_sockets_and_devices(self):
        os.symlink("to/nowhere", self.path("link"))
        self.assertEqual(os.readlink(self.path("link")), "to/nowhere")
        os.utime(self.path("link"), ns=(5, 6), follow_symlinks=False)
        self.assertEqual(os.lstat(self.path("link")).st_mtime_ns, 6)

        os.mkfifo(self.path("fifo"), 0o640)
        self.assertEqual(os.stat(self.path("fifo")).st_mode, stat.S_IFIFO | 0o640)
        got = []

        def read():
            with open(self.path("fifo"), "rb") as fifo:
                got.append(fifo.read())
        reader = threading.Thread(target=read)
        reader.start()
        with open(self.path("fifo"), "wb") as fifo:
            fifo.write(b"through the pipe")
        reader.join(20)
        self.assertEqual(got, [b"through the pipe"])

        server = socket.socket(socket.AF_UNIX)
        client = socket.socket(socket.AF_UNIX)
        try:
            server.bind(self.path("socket"))
            self.assertTrue(stat.S_ISSOCK(os.stat(self.path("socket")).st_mode))
            server.listen()
            client.connect(self.path("socket"))
            self.assert_errno(errno.EADDRINUSE, client.bind, self.path("socket"))
        finally:
            client.close()
            server.close()
        if os.geteuid() == 0:
            os.mknod(self.path("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.mknod(self.path("block"), stat.S_IFBLK | 0o600, os.makedev(7, 99))
            self.assertEqual(os.stat(self.path("null")).st_rdev, os.makedev(1, 3))
            self.assertEqual(os.stat(self.path("block")).st_rdev, os.makedev(7, 99))
        os.mknod(self.path("regular"), stat.S_IFREG | 0o600)
        self.assertEqual(os.stat(self.path("regular")).st_size, 0)
        write_at(self.path("regular"), 0, b"made by mknod")
        self.assert_committed("regular", b"made by mknod")
        for name in os.listdir(self.root):
            os.rename(self.path(name), self.path(name + ".moved"))
        for name in os.listdir(self.root):
            self.assertTrue(name.endswith(".moved"))
            os.chmod(self.path(name), 0o604) if name != "link.moved" else None
            os.unlink(self.path(name))
        self.assertEqual(os.listdir(self.root), [])

    def test_directories_are_made_with_their_mode_and_removed(self):
        umask = os.umask(0)
        try:
            os.mkdir(self.path("dir"), 0o751)
            self.assertEqual(os.stat(self.path("dir")).st_mode, stat.S_IFDIR | 0o751)
            write_file(self.path("open"), b"x", 0o666)
            self.assertEqual(os.stat(self.path("open")).st_mode, stat.S_IFREG | 0o666)
        finally:
            os.umask(umask)
        self.assert_errno(errno.EEXIST, os.mkdir, self.path("dir"))
        links = os.stat(self.root).st_nlink
        for name in ("a", "b"):
            os.mkdir(self.path(name))
        self.assertEqual(os.stat(self.root).st_nlink, links + 2)
        before = os.stat(self.path("a")).st_mtime_ns

        def moved():
            write_file(self.path("a/file"), b"x")
            os.unlink(self.path("a/file"))
            return os.stat(self.path("a")).st_mtime_ns > before
        wait_until(moved, "a directory's mtime moves with its names")
        for name in ("a", "b", "dir"):
            os.rmdir(self.path(name))
        self.assertEqual(os.listdir(self.root), ["open"])

    def test_many_files_are_listed_while_names_come_and_go(self):
        for number in range(600):
            write_file(self.path(f"stays{number}"), b"x" if number % 2 else b"")
        with os.scandir(self.root) as listing:
            seen = [next(listing).name]
            for number in range(100):
                write_file(self.path(f"new{number}"), b"")
                os.unlink(self.path(f"new{number}"))
            self.sync()
            seen += [entry.name for entry in listing]
        stayed = [name for name in seen if name.startswith("stays")]
        self.assertEqual(len(stayed), len(set(stayed)), "a name is listed twice")
        self.assertEqual(600 - len(set(stayed)), 0, "names are not listed that were always there")
        self.assertEqual(sorted(set(os.listdir(self.root))),
                         sorted(f"stays{number}" for number in range(600)))

    @ROOT_ONLY
    def test_set_id_bits_are_cleared_when_the_owner_changes(self):
        for _, path, state in self.for_each_state():
            os.chmod(path, 0o6755)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o6755)
            os.chown(path, 1001, 1001)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o755, state)


class OnTheMount(Calls, write_support.OnMount):
    pass


class OnAPlainDirectory(Calls, write_support.OnPlainDirectory):
    pass


class Links(support.MountTest):
    """A file with several names."""

    OPTIONS = "block_size=64KiB,preset=0"

    def check(self, mount, names, content, what):
        inodes = {os.stat(mount / name).st_ino for name in names}
        self.assertEqual(len(inodes), 1, what)
        for name in names:
            self.assertEqual(os.stat(mount / name).st_nlink, len(names), what)
            self.assertEqual(os.stat(mount / name).st_size, len(content), what)
            support.assert_same(self, read_file(mount / name), content, f"{name}, {what}")

    def test_a_file_with_several_names_stays_one_file_whatever_happens(self):
        """Linked in each state, written by each name, committed, killed and mounted again."""
        for state in STATES:
            for end in ("umount", "kill"):
                folder = f"{state}-{end}"
                names = [f"{folder}/{n}" for n in ("one", "two", "three.xz")]
                content = CONTENT
                with WriteMount(self.source, self.OPTIONS) as mount:
                    os.mkdir(mount / folder)
                    write_file(mount / names[0], content)
                    if state != "plain":
                        mount.sync()
                    if state == "edited":
                        write_at(mount / names[0], 66_000, b"first")
                        content = patched(content, 66_000, b"first")
                    self.assertEqual(mount.state(names[0]), state)
                    for name in names[1:]:
                        os.link(mount / names[0], mount / name)
                    self.check(mount, names, content, "linked")
                    for at, name in enumerate(names):
                        write_at(mount / name, 1000 * at, b"by %d" % at)
                        content = patched(content, 1000 * at, b"by %d" % at)
                        self.check(mount, names, content, f"written as {name}")
                    mount.sync()
                    self.check(mount, names, content, "after a sync")
                    write_at(mount / names[1], 149_990, b"beyond the end")
                    content = patched(content, 149_990, b"beyond the end")
                    self.check(mount, names, content, "written after a sync")
                    if end == "kill":
                        mount.kill()
                with WriteMount(self.source, self.OPTIONS) as mount:
                    self.check(mount, names, content, f"after {end}")
                    os.unlink(mount / names[0])
                    os.rename(mount / names[2], mount / folder + "/moved")
                    names = [names[1], f"{folder}/moved"]
                    self.check(mount, names, content, "one name less")
                    os.unlink(mount / names[1])
                    write_at(mount / names[0], 0, b"alone")
                    content = patched(content, 0, b"alone")
                    mount.sync()
                    self.assertEqual(mount.state(names[0]), "compressed")
                    self.check(mount, names[:1], content, "alone")
                write_support.assert_valid(
                    self, write_support.stored_path(self.source, names[0]), content)
                self.assertEqual(write_support.leftovers(self.source), [])

    def test_a_compressed_file_that_others_linked_is_edited_under_all_its_names(self):
        with WriteMount(self.source, self.OPTIONS) as mount:
            stored = support.make_compressed(self.source, "one", CONTENT)
            os.link(stored, os.path.join(self.source, "two.xz"))
            self.check(mount, ["one", "two"], CONTENT, "as found")
            write_at(mount / "one", 100_000, b"edited")
            content = patched(CONTENT, 100_000, b"edited")
            self.check(mount, ["one", "two"], content, "edited")
            mount.sync()
            self.check(mount, ["one", "two"], content, "after a sync")
        with WriteMount(self.source, self.OPTIONS) as mount:
            self.check(mount, ["one", "two"], content, "after a remount")

    def test_one_name_of_two_is_replaced_and_the_other_stays(self):
        with WriteMount(self.source, self.OPTIONS) as mount:
            for state in STATES:
                write_file(mount / "one", CONTENT)
                if state != "plain":
                    mount.sync()
                if state == "edited":
                    write_at(mount / "one", 0, CONTENT[:1])
                os.link(mount / "one", mount / "two")
                write_file(mount / "new", b"new")
                os.rename(mount / "new", mount / "one")
                self.check(mount, ["two"], CONTENT, state)
                self.check(mount, ["one"], b"new", state)
                mount.sync()
                self.check(mount, ["two"], CONTENT, state)
                os.unlink(mount / "one")
                os.unlink(mount / "two")

    def test_directories_can_not_be_linked(self):
        with WriteMount(self.source) as mount:
            os.mkdir(mount / "dir")
            self.assert_errno(errno.EPERM, os.link, mount / "dir", mount / "other")
            os.symlink("x.xz", mount / "symlink.xz")
            os.link(mount / "symlink.xz", mount / "symlink2.xz", follow_symlinks=False)
            self.assertEqual(os.readlink(mount / "symlink2.xz"), "x.xz")


if __name__ == "__main__":
    support.main()
