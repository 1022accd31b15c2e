"""Under which names files are stored that programs write, and which files stay plain."""

import contextlib
import ctypes
import errno
import lzma
import os
import stat

import support
import write_support
import xzformat
from support import make_compressed, temp_dir
from write_support import (WriteMount, assert_valid, patched, read_file, stored_path, write_at,
                           write_file)

ODD_NAMES = (b"x.xz", b"x.txz", b"x.lzma", b"x.lz", b"x.tlz", b"a.tar.xz", b"x.xz.xz", b"x.xzhot",
             b"x.xz.xzhot", b"x.xz.xzhot.xzhot", b".xz", b"..xz", b"...xz", b".xzhot", b"xz", b".x",
             b"x.XZ", b"x.xz ", b" x.xz", b"new\nline.xz", b"\xff\xfe\x80.xz", b"\xff", b"x.tmp",
             b"-rf", b"*", b"back\\slash", b".xzfs.xz", b".xzfs-", "ü".encode(), "u\u0308".encode())


class Names(write_support.OnMount):
    options = "block_size=64KiB,preset=0"

    def test_every_name_reads_back_byte_for_byte_in_each_state(self):
        """Also if the content is what the name says: compressed data is content like any other."""
        packed = lzma.compress(xzformat.text(1, 100_000))
        contents = {name: packed if number % 2 == 0 else xzformat.text(number, 3000 * number + 10)
                    for number, name in enumerate(ODD_NAMES)}
        names = sorted(contents)

        def check(what):
            self.assertEqual(sorted(os.listdir(os.fsencode(self.root))), names, what)
            for name, content in contents.items():
                support.assert_same(self, read_file(self.path(name)), content, f"{name} {what}")
                self.assertEqual(os.stat(self.path(name)).st_size, len(content))

        for name, content in contents.items():
            write_file(self.path(name), content)
        check("plain")
        self.sync()
        for name in names:
            self.assertEqual(self.mount.state(name), "compressed", name)
        check("compressed")
        self.assertEqual(sorted(entry for entry in os.listdir(os.fsencode(self.source))
                                if entry != b".xzfs"), sorted(name + b".xz" for name in names))
        for name in names:
            write_at(self.path(name), 5, b"edited")
            contents[name] = patched(contents[name], 5, b"edited")
            self.assertEqual(self.mount.state(name), "edited", name)
        check("edited")
        self.remount()
        check("after a remount")
        self.sync()
        for name in names:
            assert_valid(self, stored_path(os.fsencode(self.source), name), contents[name])

    def remount(self):
        self.mount.__exit__(None, None, None)
        self.mount = WriteMount(self.source, self.options)
        self.mount.__enter__()
        self.root = self.mount.path

    def test_plain_files_with_odd_names_survive_a_crash_under_their_names(self):
        packed = lzma.compress(b"packed")
        for name in ODD_NAMES:
            write_file(self.path(name), packed)
        self.mount.kill()
        self.remount()
        self.assertEqual(sorted(os.listdir(os.fsencode(self.root))), sorted(ODD_NAMES))
        for name in ODD_NAMES:
            self.assertEqual(read_file(self.path(name)), packed, name)

    def test_a_name_that_can_not_be_stored_is_too_long_at_once(self):
        """A file that can be created can be committed."""
        limit = os.statvfs(self.root).f_namemax
        self.assertEqual(limit, os.statvfs(self.source).f_namemax - 6)
        created = refused = 0
        for suffix in ("", ".xz", ".txz", ".xzhot", ".lzma"):
            for length in range(244, 257):
                name = "n" * (length - len(suffix)) + suffix
                try:
                    write_file(self.path(name), b"long name")
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENAMETOOLONG, name)
                    refused += 1
                    self.assertGreater(length, limit)
                    self.assert_errno(errno.ENAMETOOLONG, os.rename, self.make("short"),
                                      self.path(name))
                    self.assert_errno(errno.ENAMETOOLONG, os.link, self.path("short"),
                                      self.path(name))
                    continue
                created += 1
                self.assertLessEqual(length, limit)
                self.sync()
                self.assertEqual(self.mount.state(name), "compressed", name)
                self.assertEqual(read_file(self.path(name)), b"long name")
                write_at(self.path(name), 0, b"LONG")
                self.assertEqual(read_file(self.path(name)), b"LONG name")
                os.rename(self.path(name), self.path("short"))
        self.assertGreater(created, 9)
        self.assertGreater(refused, 5)

    def test_every_kind_of_new_name_is_at_most_as_long_as_statfs_says(self):
        limit = os.statvfs(self.root).f_namemax
        makers = {"file": lambda path: write_file(path, b"x"), "directory": os.mkdir,
                  "fifo": os.mkfifo, "symlink": lambda path: os.symlink("nowhere", path),
                  "socket": lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK),
                  "link": lambda path: os.link(self.path("short"), path),
                  "renamed": lambda path: os.rename(self.make("other"), path)}
        self.make("short")
        for letter, (kind, make) in zip("abcdefg", makers.items()):
            with self.subTest(kind):
                name = letter * limit
                make(self.path(name))
                self.assertIn(name, os.listdir(self.root))
                self.assert_errno(errno.ENAMETOOLONG, make, self.path(name + "+"))
                self.assert_errno(errno.ENAMETOOLONG, os.lstat, self.path(name + "+"))
                self.assert_errno(errno.ENAMETOOLONG, os.unlink, self.path(name + "+"))

    def test_longer_names_that_exist_in_the_source_stay_usable(self):
        content = b"some text\n" * 1000
        with temp_dir() as source:
            plain, folder = "p" * 254, "d" * 255
            compressed, xz = "c" * 252, "m" * 250 + ".xz"
            for name in ("a", "b", folder):
                os.mkdir(os.path.join(source, name))
            for name in (plain, xz):
                write_file(os.path.join(source, "a", name), content)
            make_compressed(os.path.join(source, "a"), compressed, content)
            with WriteMount(source, "min_size=1") as mount:
                for name in (plain, compressed, xz):
                    write_at(mount / f"a/{name}", 0, b"SOME")
                    os.rename(mount / f"a/{name}", mount / f"b/{name}")
                    os.link(mount / f"b/{name}", mount / f"a/{name}")
                    os.unlink(mount / f"b/{name}")
                    write_file(mount / f"b/{name[:100]}", content)
                    # A rename may replace an existing name, unless the new file needs a longer stored name.
                    if name == xz:
                        self.assert_errno(errno.ENAMETOOLONG, os.rename,
                                          mount / f"b/{name[:100]}", mount / f"a/{name}")
                        os.unlink(mount / f"b/{name[:100]}")
                    else:
                        os.rename(mount / f"b/{name[:100]}", mount / f"a/{name}")
                        self.assertEqual(read_file(mount / f"a/{name}"), content, name)
                os.rename(mount / folder, mount / f"a/{folder}")
                os.rmdir(mount / f"a/{folder}")
                mount.sync()
                self.assertEqual(sorted(os.listdir(mount / "a")), sorted((plain, compressed, xz)))
                self.assertEqual(os.listdir(mount / "b"), [])
            self.assertEqual(write_support.leftovers(source), [])

    def make(self, name):
        """A plain file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))
        write_file(self.path(name), b"content")
        return self.path(name)

    def test_the_xzfs_folder_can_not_be_reached_or_made(self):
        write_file(self.path("file"), b"content" * 100)
        self.sync()
        write_at(self.path("file"), 0, b"EDITED")
        self.assertIn(".xzfs", os.listdir(self.source))  # now there is a folder to hide
        self.assertEqual(os.listdir(self.root), ["file"])
        path = self.path(".xzfs")
        for act in ((os.stat, path), (os.listdir, path), (os.open, path, os.O_RDONLY),
                    (os.rmdir, path), (os.rename, path, self.path("other")),
                    (os.unlink, path), (os.stat, path + "/lost+found")):
            self.assert_errno(errno.ENOENT, *act)
        os.mkdir(self.path("dir"))
        for act in ((os.mkdir, path), (os.open, path, os.O_WRONLY | os.O_CREAT),
                    (os.symlink, "x", path), (os.link, self.path("file"), path), (os.mkfifo, path),
                    (os.rename, self.path("file"), path), (os.rename, self.path("dir"), path)):
            with self.assertRaises(OSError, msg=act) as caught:
                act[0](*act[1:])
            self.assertIn(caught.exception.errno, (errno.EPERM, errno.EACCES, errno.EINVAL), act)
        # Below the root it can't be made either, but xzfs doesn't hide such a folder that a user has there.
        self.assert_errno(errno.EPERM, os.mkdir, self.path("dir/.xzfs"))
        os.makedirs(os.path.join(self.source, "dir/theirs/.xzfs"))
        write_file(os.path.join(self.source, "dir/theirs/.xzfs/file"), b"theirs")
        self.assertEqual(os.listdir(self.path("dir/theirs")), [".xzfs"])
        self.assertEqual(read_file(self.path("dir/theirs/.xzfs/file")), b"theirs")
        os.rename(self.path("dir/theirs/.xzfs"), self.path("dir/other"))
        self.assertEqual(sorted(os.listdir(self.root)), ["dir", "file"])

    def test_symlinks_read_back_what_they_were_made_with(self):
        os.mkdir(self.path("sub"))
        links = {b"l": b"t", b"l.xz": b"t.xz", b"m.xz": b"t", b"m": b"t.xz", b"n.xz": b"sub/t.xz",
                 b"o.txz": b"t.txz", b"o.lzma": b"t.lzma", b"p.xz.xzhot": b"t.xz",
                 b"sub/q.xz": b"../l.xz", b"r.xz": b"/absolute.xz", b"s": b"x" * 3000}
        for name, target in links.items():
            os.symlink(target, self.path(name))
        for turn in range(2):
            for name, target in links.items():
                self.assertEqual(os.readlink(self.path(name)), target, (name, turn))
                self.assertEqual(os.lstat(self.path(name)).st_size, len(target))
            self.assertEqual(sorted(os.listdir(os.fsencode(self.root))),
                             sorted([name for name in links if b"/" not in name] + [b"sub"]))
            self.remount()
        # They lead to the file that the mount has under that name.
        write_file(self.path("t.xz"), b"the target")
        self.sync()
        for name in (b"l.xz", b"m", b"sub/q.xz"):
            self.assertEqual(read_file(self.path(name)), b"the target", name)
        self.assert_errno(errno.ENOENT, os.stat, self.path("l"))
        for name in links:
            os.unlink(self.path(name))
        self.assertEqual(sorted(os.listdir(self.root)), ["sub", "t.xz"])

    def test_a_plain_file_with_the_name_of_a_compressed_one_is_itself(self):
        """N.xz without the magic stays N.xz; after a program writes to it, it becomes N.xz.xz."""
        write_file(os.path.join(self.source, "not.xz"), b"no magic")
        self.assertEqual(os.listdir(self.root), ["not.xz"])
        write_at(self.path("not.xz"), 8, b" and more")
        self.assertEqual(read_file(self.path("not.xz")), b"no magic and more")
        # Now it begins with the magic, and still reads as what was written.
        packed = lzma.compress(b"inside")
        write_file(self.path("not.xz"), packed)
        self.assertEqual(os.listdir(self.root), ["not.xz"])
        self.assertEqual(read_file(self.path("not.xz")), packed)
        self.sync()
        self.assertEqual(os.listdir(self.root), ["not.xz"])
        self.assertEqual(read_file(self.path("not.xz")), packed)
        assert_valid(self, os.path.join(self.source, "not.xz.xz"), packed)

    def test_a_new_file_never_takes_a_name_that_exists_in_any_form(self):
        """O_EXCL and mkdir see an existing name whatever form the file is stored in."""
        for name in ("compressed", "plain.xz", "another"):
            write_file(self.path(name), b"content")
        self.sync()
        write_file(self.path("plain.xz"), b"content")
        for name in ("compressed", "plain.xz"):
            path = self.path(name)
            self.assert_errno(errno.EEXIST, os.mkdir, path)
            self.assert_errno(errno.EEXIST, os.symlink, "x", path)
            self.assert_errno(errno.EEXIST, os.mkfifo, path)
            self.assert_errno(errno.EEXIST, os.link, self.path("another"), path)
            self.assert_errno(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            os.unlink(path)
            os.mkdir(path)
            os.rmdir(path)


class LeftPlain(support.MountTest):

    def test_small_excluded_linked_set_id_and_open_files_stay_plain(self):
        content = xzformat.text(2, 10_000)
        options = "min_size=1000,exclude=*.jpg,exclude=cache/*,exclude=[Tt]emp"
        with WriteMount(self.source, options) as mount:
            os.makedirs(mount / "cache")
            os.makedirs(mount / "sub")
            plain = {"small": content[:999], "empty": b"", "a.jpg": content, "sub/b.jpg": content,
                   "cache/x": content, "Temp": content, "setuid": content, "setgid": content,
                   "linked": content, "held": content}
            compressed = {"large": content[:1000], "jpg": content, "a.jpeg": content, "temporary": content}
            for name, data in {**plain, **compressed}.items():
                write_file(mount / name, data)
            os.chmod(mount / "setuid", 0o4755)
            os.chmod(mount / "setgid", 0o2755)
            os.link(mount / "linked", mount / "linked2")
            held = os.open(mount / "held", os.O_RDWR)
            mount.sync()
            for name, data in plain.items():
                self.assertEqual(mount.state(name), "plain", name)
                self.assertEqual(read_file(os.path.join(self.source, name)), data, name)
            for name, data in compressed.items():
                self.assertEqual(mount.state(name), "compressed", name)
                assert_valid(self, stored_path(self.source, name), data)
            self.assertTrue(os.stat(mount / "setuid").st_mode & stat.S_ISUID)
            self.assertEqual(mount.commits()["pending"], 0)
            # The reason to stay plain vanishes, and a program writes again.
            os.close(held)
            os.chmod(mount / "setuid", 0o755)
            os.chmod(mount / "setgid", 0o755)
            os.unlink(mount / "linked2")
            write_at(mount / "small", 999, b"one")
            for name in ("setuid", "setgid", "linked", "held"):
                write_at(mount / name, 0, b"W")
            os.rename(mount / "a.jpg", mount / "a.gif")
            write_at(mount / "a.gif", 0, b"W")
            mount.sync()
            for name in ("setuid", "setgid", "linked", "held", "small", "a.gif"):
                self.assertEqual(mount.state(name), "compressed", name)
            # A compressed file that is cut below min_size keeps its content in whatever state.
            os.truncate(mount / "large", 10)
            mount.sync()
            self.assertEqual(read_file(mount / "large"), content[:10])
        self.assertEqual(write_support.leftovers(self.source), [])
        tree = write_support.stored_snapshot(self.source)
        self.assertEqual(tree[b"large"].size, 10)

    def test_empty_files_stay_plain_by_default(self):
        with WriteMount(self.source) as mount:
            write_file(mount / "empty", b"")
            write_file(mount / "one", b"1")
            mount.sync()
            self.assertEqual((mount.state("empty"), mount.state("one")), ("plain", "compressed"))
        self.assertEqual(sorted(set(os.listdir(self.source)) - {".xzfs"}), ["empty", "one.xz"])

    def test_a_file_of_another_program_is_not_replaced(self):
        """Another program makes N.xz while N is plain: both stay, and the figures count it."""
        content = xzformat.text(3, 100_000)
        for foreign in (lzma.compress(b"somebody else's"), b"not even an xz file"):
            with WriteMount(self.source, "preset=0") as mount:
                write_file(mount / "file", content)
                self.assertEqual(mount.state("file"), "plain")
                with open(stored_path(self.source, "file"), "wb") as out:
                    out.write(foreign)
                self.assertIn("'file.xz' already exists", mount.sync_error())
                self.assertEqual(mount.state("file"), "plain")
                self.assertEqual(read_file(mount / "file"), content)
                self.assertEqual(read_file(stored_path(self.source, "file")), foreign)
                self.assertGreaterEqual(mount.commits()["failed"] + mount.stats()["name_collisions"], 1)
                self.assertIn("file", mount.log())
                # xzfs tries again when the name is free.
                os.unlink(stored_path(self.source, "file"))
                write_at(mount / "file", 0, b"again")
                mount.sync()
                self.assertEqual(mount.state("file"), "compressed")
                assert_valid(self, stored_path(self.source, "file"), patched(content, 0, b"again"))
                os.unlink(mount / "file")
            self.assertEqual(write_support.leftovers(self.source), [])

    def test_an_edit_is_kept_in_lost_and_found_if_its_base_is_replaced_from_outside(self):
        content = xzformat.text(4, 200_000)
        mount = WriteMount(self.source, "preset=0,block_size=64KiB")
        with mount:
            write_file(mount / "file", content)
            mount.sync()
            write_at(mount / "file", 1000, b"precious edit")
            self.assertEqual(mount.state("file"), "edited")
            mount.kill()
        os.unlink(stored_path(self.source, "file"))
        make_compressed(self.source, "file", b"something else " * 1000)
        with WriteMount(self.source) as again:
            self.assertEqual(read_file(again / "file"), b"something else " * 1000)
            kept = os.path.join(self.source, ".xzfs", "lost+found")
            found = [os.path.join(kept, name) for name in os.listdir(kept)]
            self.assertTrue(any(b"precious edit" in read_file(path) for path in found), found)
            self.assertTrue(any(b"file" in read_file(path) for path in found), "a note says whose")
            self.assertIn("lost+found", again.log())
        self.assertEqual(len(os.listdir(kept)), len(found))

    def test_compressed_files_of_a_user_keep_their_state_in_the_figures(self):
        with WriteMount(self.source) as mount:
            make_compressed(self.source, "compressed", b"content" * 1000)
            write_file(mount / "plain", b"content")
            self.assertEqual((mount.state("compressed"), mount.state("plain")), ("compressed", "plain"))
            os.truncate(mount / "compressed", 5)
            self.assertEqual(mount.state("compressed"), "edited")
            self.assertGreaterEqual(mount.commits()["pending"], 1)


class Space(write_support.OnMount):

    def test_statfs_is_that_of_the_source(self):
        ours, theirs = os.statvfs(self.root), os.statvfs(self.source)
        for field in ("f_bsize", "f_frsize", "f_blocks", "f_files"):
            self.assertEqual(getattr(ours, field), getattr(theirs, field), field)
        self.assertAlmostEqual(ours.f_bfree, theirs.f_bfree, delta=theirs.f_blocks // 50)
        self.assertEqual(ours.f_namemax, theirs.f_namemax - 6)
        self.assertFalse(ours.f_flag & os.ST_RDONLY)

    def test_du_shows_the_space_on_the_disk(self):
        content = bytes(1 << 20)
        path = self.store("zeros", content, "compressed")
        self.assertLess(os.stat(path).st_blocks, 100)
        write_at(path, 500_000, os.urandom(4096))
        self.assertLess(os.stat(path).st_blocks, 200)
        self.assertGreaterEqual(os.stat(path).st_blocks, 8)

    def test_sync_of_the_file_system_is_no_error(self):
        libc = ctypes.CDLL(None, use_errno=True)
        path = self.store("file", b"content", "plain")
        fd = os.open(path, os.O_RDONLY)
        try:
            self.assertEqual(libc.syncfs(fd), 0)
        finally:
            os.close(fd)


if __name__ == "__main__":
    support.main()
