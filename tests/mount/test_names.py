"""Which name the mount shows for which stored name, and what it shows of a file besides its bytes."""

import ctypes
import errno
import json
import lzma
import os
import socket
import stat
import struct
import subprocess
import sys
import threading

import support
import xzformat
from support import Mount, MountTest, make_compressed

TEXT = b"one line\n" * 500
NOBODY = 65534


def tree(path):
    """Every name below `path`, relative, with its type."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(path)):
        for name in folders + files:
            full = os.path.join(folder, name)
            found[os.path.relpath(full, os.fsencode(path))] = stat.S_IFMT(os.lstat(full).st_mode)
    return found


class Names(MountTest):

    def store(self, name, content):
        path = os.path.join(os.fsencode(self.source), os.fsencode(name))
        with open(path, "wb") as out:
            out.write(content)
        return path

    def content(self, path):
        with open(path, "rb") as file:
            return file.read()

    def test_what_is_shown_for_what_is_stored(self):
        packed = lzma.compress(TEXT)
        self.store("a.log.xz", packed)                              # rule 1
        self.store("plain.txt", TEXT)                               # rule 2
        self.store("not-really.xz", TEXT)
        self.store("tiny.xz", b"\xfd7zXZ")
        self.store("nothing.xz", b"")
        self.store("UPPER.XZ", packed)
        self.store("twice.xz.xz", lzma.compress(packed))            # rule 7
        self.store(".hidden.xz", packed)
        self.store("b.txz", packed)                                 # rule 5
        self.store("c.lzma", lzma.compress(TEXT, format=lzma.FORMAT_ALONE))
        for name in ("d.lz", "e.tlz"):
            self.store(name, subprocess.run(["lzip", "-c"], input=TEXT, stdout=subprocess.PIPE,
                                            check=True).stdout)
        self.store("plain.lz", TEXT)
        self.store("plain.txz", TEXT)
        os.mkdir(os.path.join(self.source, "foo.xz"))               # rule 3
        self.store("foo.xz/in.xz", packed)
        os.symlink("a.log.xz", os.path.join(self.source, "link.xz"))  # rule 4
        os.symlink("a.log.xz", os.path.join(self.source, "other"))
        os.symlink("plain.txt", os.path.join(self.source, "odd.xz"))
        os.symlink("foo.xz/in.xz", os.path.join(self.source, "deep.xz"))
        shown = {
            b"a.log": TEXT, b"plain.txt": TEXT, b"not-really.xz": TEXT, b"tiny.xz": b"\xfd7zXZ",
            b"nothing.xz": b"", b"UPPER.XZ": packed, b"twice.xz": packed, b".hidden": TEXT,
            b"b.tar": TEXT, b"c": TEXT, b"d": TEXT, b"e.tar": TEXT, b"plain.lz": TEXT,
            b"plain.txz": TEXT, b"foo.xz/in": TEXT, b"link": TEXT, b"deep": TEXT,
        }
        with Mount(self.source) as mount:
            names = set(tree(mount.path))
            self.assertEqual(names, set(shown) | {b"foo.xz", b"other", b"odd.xz"})
            for name, content in shown.items():
                with self.subTest(name):
                    self.assertEqual(self.content(mount / name), content)
                    self.assertEqual(os.stat(mount / name).st_size, len(content))
            self.assertEqual(os.readlink(mount / "link"), "a.log")
            self.assertEqual(os.readlink(mount / "deep"), "foo.xz/in")
            # A link is data: any other target stays as it is, even if it leads nowhere now.
            self.assertEqual(os.readlink(mount / "other"), "a.log.xz")
            self.assertEqual(os.readlink(mount / "odd.xz"), "plain.txt")
            self.assertEqual(os.lstat(mount / "link").st_size, len("a.log"))
            # Names that are not shown do not exist.
            for name in ("a.log.xz", "twice.xz.xz", "twice", "b.txz", "c.lzma", "d.lz", "e.tlz",
                         "foo", "foo.xz/in.xz", "not-really", "link.xz", "none"):
                self.assert_errno(errno.ENOENT, os.lstat, mount / name)

    def test_special_files_are_themselves(self):
        os.mkfifo(os.path.join(self.source, "fifo.xz"))
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.path.join(self.source, "socket.xz"))
        kinds = {b"fifo.xz": stat.S_IFIFO, b"socket.xz": stat.S_IFSOCK}
        if os.geteuid() == 0:
            os.mknod(os.path.join(self.source, "null.xz"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.mknod(os.path.join(self.source, "loop.xz"), stat.S_IFBLK | 0o600, os.makedev(7, 99))
            kinds |= {b"null.xz": stat.S_IFCHR, b"loop.xz": stat.S_IFBLK}
        with Mount(self.source) as mount:
            self.assertEqual(tree(mount.path), kinds)
            for name in kinds:
                ours, theirs = os.lstat(mount / name), os.lstat(os.path.join(
                    os.fsencode(self.source), name))
                self.assertEqual((ours.st_rdev, ours.st_mode), (theirs.st_rdev, theirs.st_mode))

    def test_if_two_stored_names_want_one_name_the_plain_file_gets_it_and_both_are_visible(self):
        self.store("both", b"plain content")
        self.store("both.xz", lzma.compress(TEXT))
        self.store("three.xz", lzma.compress(b"from xz"))
        self.store("three.lzma", lzma.compress(b"from lzma", format=lzma.FORMAT_ALONE))
        with Mount(self.source, "entry_timeout=0") as mount:
            for _ in range(3):
                names = set(tree(mount.path))
                self.assertLessEqual({b"both", b"both.xz"}, names)
                self.assertEqual(self.content(mount / "both"), b"plain content")
                # The other stays visible as N.xz: under its stored name, with the stored bytes.
                self.assertEqual(self.content(mount / "both.xz"),
                                 self.content(os.path.join(self.source, "both.xz")))
                self.assertEqual(self.content(mount / "three"), b"from xz")
                self.assertEqual(len(os.listdir(mount.path)), 4)
            lines = [line for line in mount.log().splitlines() if "both" in line]
            self.assertEqual(len(lines), 1, mount.log())
            self.assertGreaterEqual(mount.stats()["name_collisions"], 1)

    def test_names_are_bytes(self):
        names = [b"\xff\xfe", b"caf\xe9", "日本語".encode(), b"new\nline", b" lead", b"a\\b", b"%s%n",
                 b"-f", b"a,b=c", b"x" * 252]
        for name in names:
            make_compressed(os.fsencode(self.source), name, b"content of " + name)
        self.store(b"h" * 255, b"plain")
        self.store(b"n" * 252 + b".xz", b"no magic")
        os.mkdir(os.path.join(os.fsencode(self.source), b"d" * 255))
        with Mount(self.source) as mount:
            self.assertEqual(set(tree(mount.path)),
                             set(names) | {b"h" * 255, b"n" * 252 + b".xz", b"d" * 255})
            for name in names:
                self.assertEqual(self.content(mount / name), b"content of " + name)
                self.assertEqual(os.fsencode(mount.info(name)["stored_name"])
                                 if name.isascii() else name + b".xz", name + b".xz")
            self.assertEqual(self.content(mount / (b"h" * 255)), b"plain")
            self.assertEqual(self.content(mount / (b"n" * 252 + b".xz")), b"no magic")
            self.assert_errno(errno.ENAMETOOLONG, os.lstat, mount / ("x" * 256))
            self.assertEqual(os.statvfs(mount.path).f_namemax,
                             os.statvfs(self.source).f_namemax - 6)

    def test_the_xzfs_folder_of_the_root_is_hidden(self):
        os.mkdir(os.path.join(self.source, ".xzfs"))
        make_compressed(os.path.join(self.source, ".xzfs"), "secret", TEXT)
        os.makedirs(os.path.join(self.source, "sub", ".xzfs"))
        make_compressed(os.path.join(self.source, "sub", ".xzfs"), "yours", TEXT)
        make_compressed(self.source, "sub/file", TEXT)
        with Mount(self.source) as mount:
            self.assertEqual(set(os.listdir(mount.path)), {"sub"})
            for name in (".xzfs", ".xzfs/secret", "sub/../.xzfs", ".xzfs/."):
                self.assert_errno(errno.ENOENT, os.lstat, mount / name)
            self.assertEqual(self.content(mount / "sub/.xzfs/yours"), TEXT)

    def test_a_compressed_file_can_not_take_the_name_of_the_xzfs_folder(self):
        make_compressed(self.source, ".xzfs", TEXT)
        with Mount(self.source) as mount:
            self.assertNotIn(".xzfs", os.listdir(mount.path))
            self.assert_errno(errno.ENOENT, os.lstat, mount / ".xzfs")


class Metadata(MountTest):

    def test_stat_is_that_of_the_stored_file_except_the_size(self):
        path = make_compressed(self.source, "file", xzformat.text(9, 500_000))
        os.chmod(path, 0o640)
        if os.geteuid() == 0:
            os.chown(path, 1234, 4321)
        os.link(path, os.path.join(self.source, "second.xz"))
        os.utime(path, ns=(1_400_000_000_987_654_321, 1_300_000_000_123_456_789))
        with Mount(self.source) as mount:
            ours, theirs = os.stat(mount / "file"), os.stat(path)
            for field in ("st_mode", "st_uid", "st_gid", "st_nlink", "st_atime_ns", "st_mtime_ns",
                          "st_ctime_ns", "st_blocks"):
                self.assertEqual(getattr(ours, field), getattr(theirs, field), field)
            self.assertEqual(ours.st_size, 500_000)
            # Hard links are one file.
            self.assertEqual(ours.st_ino, os.stat(mount / "second").st_ino)
            self.assertEqual(os.stat(mount.path).st_mode, os.stat(self.source).st_mode)

    def test_du_shows_the_space_on_the_disk_and_apparent_size_the_plain_bytes(self):
        sizes = {f"f{n}": 100_000 * n for n in range(1, 8)}
        for name, size in sizes.items():
            make_compressed(self.source, name, xzformat.text(1, size))
        with Mount(self.source) as mount:
            def du(*flags, path):
                out = support.run(["du", *flags, "-s", os.path.join(path, ".")])
                return int(out.split()[0])
            folder = os.stat(self.source).st_size
            self.assertEqual(du("-B1", path=mount.path), du("-B1", path=self.source))
            # From coreutils 9.2 on directories have no apparent size.
            self.assertIn(du("-b", path=mount.path) - sum(sizes.values()), (0, folder))

    def test_statfs_is_that_of_the_source(self):
        with Mount(self.source, "ro") as mount:
            ours, theirs = os.statvfs(mount.path), os.statvfs(self.source)
            for field in ("f_blocks", "f_files", "f_frsize"):
                self.assertEqual(getattr(ours, field), getattr(theirs, field), field)
            self.assertTrue(ours.f_flag & os.ST_RDONLY)

    def test_xattrs_of_the_stored_file_are_seen_and_those_of_xzfs_are_not_listed(self):
        compressed = make_compressed(self.source, "compressed", b"x" * 100_000)
        plain = os.path.join(self.source, "plain")
        with open(plain, "wb") as out:
            out.write(TEXT)
        os.mkdir(os.path.join(self.source, "folder"))
        for path in (compressed, plain, os.path.join(self.source, "folder")):
            os.setxattr(path, "user.foo", b"bar\0baz")
            os.setxattr(path, "user.empty", b"")
        with Mount(self.source, "ro") as mount:
            for name in ("compressed", "plain", "folder"):
                with self.subTest(name):
                    listed = os.listxattr(mount / name)
                    self.assertLessEqual({"user.foo", "user.empty"}, set(listed))
                    self.assertFalse([key for key in listed if key.startswith("user.xzfs")])
                    self.assertEqual(os.getxattr(mount / name, "user.foo"), b"bar\0baz")
                    self.assertEqual(os.getxattr(mount / name, "user.empty"), b"")
                    self.assert_errno(errno.ENODATA, os.getxattr, mount / name, "user.none")
                    self.assert_errno(errno.EROFS, os.setxattr, mount / name, "user.new", b"1")
                    self.assert_errno(errno.EROFS, os.removexattr, mount / name, "user.foo")

    def test_live_figures_are_json_with_the_promised_fields(self):
        content = xzformat.text(3, 200_000)
        blocks = sum((xzformat.blocks_of(content[at:at + 50_000], check=lzma.CHECK_SHA256)
                      for at in range(0, 200_000, 50_000)), ())
        with open(os.path.join(self.source, "file.xz"), "wb") as out:
            out.write(xzformat.stream(blocks, lzma.CHECK_SHA256))
        with open(os.path.join(self.source, "plain"), "wb") as out:
            out.write(b"plain")
        with Mount(self.source) as mount:
            info = mount.info("file")
            stored = os.stat(os.path.join(self.source, "file.xz")).st_size
            wanted = {"stored_name": "file.xz", "state": "compressed", "plain_bytes": 200_000,
                      "compressed_bytes": stored, "streams": 1, "blocks": 4,
                      "largest_block_bytes": 50_000}
            self.assertEqual({key: info.get(key) for key in wanted}, wanted)
            self.assertAlmostEqual(info["ratio"], stored / 200_000, places=2)
            self.assertIn("sha", json.dumps(info["checks"]).lower())
            self.assertIn("lzma2", json.dumps(info["filters"]).lower())
            self.assertEqual(mount.info("plain")["state"], "plain")
            before = mount.stats()
            with open(mount / "file", "rb") as file:
                self.assertEqual(file.read(), content)
            after = mount.stats()
            self.assertLessEqual({"hits", "misses", "single_flight_joins"}, set(after["cache"]))
            self.assertEqual({"useful", "wasted", "files", "files_useful"}, set(after["decode_ahead"]))
            self.assertEqual({"blocks", "files"}, set(after["damaged"]))
            self.assertLessEqual({"total_bytes", "used_bytes", "peak_bytes"}, set(after["budget"]))
            self.assertEqual(after["served_bytes"] - before["served_bytes"], 200_000)
            self.assertEqual(after["decoded_bytes"] - before["decoded_bytes"], 200_000)
            self.assertLessEqual({"open", "limit"}, set(after["descriptors"]))
            self.assert_errno(errno.ENODATA, os.getxattr, mount / "file", "user.xzfs.none")

    def test_everything_that_writes_gives_erofs_on_a_mount_that_is_read_only(self):
        make_compressed(self.source, "compressed", TEXT)
        with open(os.path.join(self.source, "plain"), "wb") as out:
            out.write(TEXT)
        os.mkdir(os.path.join(self.source, "folder"))
        before = {name: os.stat(os.path.join(self.source, name)).st_mtime_ns
                  for name in os.listdir(self.source)}
        with Mount(self.source, "ro") as mount:
            rofs = errno.EROFS
            for name in ("compressed", "plain"):
                path = mount / name
                for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC,
                              os.O_WRONLY | os.O_APPEND):
                    self.assert_errno(rofs, os.open, path, flags)
                self.assert_errno(rofs, os.truncate, path, 0)
                self.assert_errno(rofs, os.chmod, path, 0o600)
                self.assert_errno(rofs, os.chown, path, 1, 1)
                self.assert_errno(rofs, os.utime, path)
                self.assert_errno(rofs, os.unlink, path)
                self.assert_errno(rofs, os.rename, path, mount / "new")
                self.assert_errno(rofs, os.link, path, mount / "new")
            self.assert_errno(rofs, os.open, mount / "new", os.O_CREAT | os.O_WRONLY)
            self.assert_errno(rofs, os.mkdir, mount / "new")
            self.assert_errno(rofs, os.rmdir, mount / "folder")
            self.assert_errno(rofs, os.symlink, "compressed", mount / "new")
            self.assert_errno(rofs, os.mkfifo, mount / "new")
            self.assertFalse(os.access(mount / "compressed", os.W_OK))
        after = {name: os.stat(os.path.join(self.source, name)).st_mtime_ns
                 for name in os.listdir(self.source)}
        self.assertEqual(after, before)


@support.unittest.skipUnless(os.geteuid() == 0, "needs root to become other users")
class Access(MountTest):

    def as_nobody(self, code, *arguments, uid=NOBODY, gid=NOBODY):
        """Runs Python code as an unprivileged user; returns its stdout."""
        done = subprocess.run(
            ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
             sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, check=False,
            stderr=subprocess.STDOUT, timeout=60)
        return done.stdout.decode().strip()

    READ = """import sys
try:
    print(open(sys.argv[1], "rb").read(8).decode())
except OSError as error:
    print(error.errno)"""

    def setUp(self):
        super().setUp()
        for name, mode in (("open", 0o644), ("closed", 0o600), ("theirs", 0o400)):
            os.chmod(make_compressed(self.source, name, TEXT), mode)
        os.chown(os.path.join(self.source, "theirs.xz"), NOBODY, NOBODY)
        os.mkdir(os.path.join(self.source, "shut"), 0o700)
        make_compressed(self.source, "shut/inside", TEXT)

    def test_with_allow_other_everybody_has_exactly_their_own_rights(self):
        with Mount(self.source, "allow_other") as mount:
            # Also after root has read them: the cache does not give anybody rights.
            for name in ("open", "closed", "theirs", "shut/inside"):
                with open(mount / name, "rb") as file:
                    self.assertEqual(file.read(), TEXT)
            denied = str(errno.EACCES)
            for name, wanted in (("open", "one line"), ("theirs", "one line"),
                                 ("closed", denied), ("shut/inside", denied)):
                self.assertEqual(self.as_nobody(self.READ, mount / name), wanted, name)

    def test_acls_of_the_stored_file_decide(self):
        # user::rw-, user:NOBODY:r--, group::---, mask::r--, other::---. By the mode alone (0640)
        # the group could read, and NOBODY could not.
        entries = ((1, 6, 0xFFFFFFFF), (2, 4, NOBODY), (4, 0, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF),
                   (32, 0, 0xFFFFFFFF))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        group = 7777
        stored = os.path.join(self.source, "closed.xz")
        os.chown(stored, 0, group)
        try:
            os.setxattr(stored, "system.posix_acl_access", acl)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            self.skipTest("no ACLs on the file system of TMPDIR")
        denied = str(errno.EACCES)
        self.assertEqual(self.as_nobody(self.READ, stored, uid=7778, gid=group), denied)
        with Mount(self.source, "allow_other") as mount:
            path = mount / "closed"
            self.assertEqual(os.getxattr(path, "system.posix_acl_access"), acl)
            self.assertEqual(self.as_nobody(self.READ, path), "one line")
            self.assertEqual(self.as_nobody(self.READ, path, uid=7778, gid=group), denied)

    def test_without_allow_other_nobody_else_gets_in(self):
        with Mount(self.source) as mount:
            self.assertEqual(self.as_nobody(self.READ, mount / "open"), str(errno.EACCES))
            with open(mount / "open", "rb") as file:
                self.assertEqual(file.read(), TEXT)

    def test_set_id_bits_and_devices_are_not_honoured_for_others(self):
        with Mount(self.source, "allow_other") as mount:
            flags = os.statvfs(mount.path).f_flag
            self.assertTrue(flags & os.ST_NOSUID)
            with open("/proc/self/mountinfo", encoding="utf-8") as table:
                (line,) = (line for line in table if line.split()[4] == mount.path)
            self.assertIn("default_permissions", line)
            self.assertIn(" fuse.xzfs ", line)
            self.assertIn(self.source, line)


class DeadEntry(MountTest):

    def test_an_entry_that_cannot_be_looked_at_does_not_end_a_listing(self):
        names = sorted(f"file{number}" for number in range(40))
        for name in names:
            make_compressed(self.source, name, b"x")
        dead = os.path.join(self.source, "dead.xz")
        os.mkdir(dead)
        below = self.enterContext(support.temp_dir("xzfs-below-"))
        daemon = subprocess.Popen([support.BINARY, "-f", below, dead, "-o", "attr_timeout=0"],
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(subprocess.run, ["umount", "-l", dead], check=False)
        support.wait_until(lambda: os.path.ismount(dead), "the mount that is going to die")
        daemon.kill()
        daemon.wait()
        with Mount(self.source) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["dead.xz"] + names)
            with os.scandir(mount.path) as entries:
                self.assertEqual(len(list(entries)), 41)
            self.assert_errno(errno.ENOTCONN, os.stat, mount / "dead.xz")
            self.assertEqual(os.stat(mount / names[-1]).st_size, 1)


class Beneath(MountTest):
    """S4: nothing stored leads outside the source."""

    def test_a_symlink_swapped_in_for_a_folder_does_not_lead_outside(self):
        outside = self.enterContext(support.temp_dir("xzfs-outside-"))
        make_compressed(outside, "file", b"outside")
        inside = os.path.join(self.source, "folder")
        os.mkdir(inside)
        make_compressed(inside, "file", b"inside")
        parked = os.path.join(self.source, "parked")
        libc = ctypes.CDLL(None, use_errno=True)
        os.symlink(outside, parked)
        exchanged = reads = refused = 0
        stop = threading.Event()

        def exchange():
            nonlocal exchanged
            while not stop.is_set():
                # RENAME_EXCHANGE: one of them exists at any time.
                if libc.renameat2(-100, os.fsencode(inside), -100, os.fsencode(parked), 2) != 0:
                    raise OSError(ctypes.get_errno(), "renameat2")
                exchanged += 1

        with Mount(self.source, "entry_timeout=0,attr_timeout=0") as mount:
            thread = threading.Thread(target=exchange)
            thread.start()
            try:
                while reads < support.scaled(3000, 100) or refused == 0:
                    fd = None
                    try:
                        # This test asks not to follow the last component. The daemon must not follow
                        # a symlink whenever it reaches the folder by its name.
                        fd = os.open(mount / "folder",
                                     os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                        inner = os.open("file", os.O_RDONLY, dir_fd=fd)
                        try:
                            self.assertEqual(os.read(inner, 100), b"inside")
                            reads += 1
                        finally:
                            os.close(inner)
                    except OSError as error:
                        self.assertIn(error.errno, (errno.ELOOP, errno.ENOTDIR, errno.ENOENT,
                                                    errno.ESTALE, errno.EXDEV))
                        refused += 1
                    finally:
                        if fd is not None:
                            os.close(fd)
            finally:
                stop.set()
                thread.join()
        print(f"{exchanged} exchanges, {reads} reads, {refused} refused", file=sys.stderr)
        self.assertGreater(exchanged, 30)


if __name__ == "__main__":
    support.main()
