"""`N` and `N.xz` side by side: whatever they look like, xzfs hides, removes or overwrites only files that
one of its records names."""

import contextlib
import glob
import lzma
import os
import subprocess

import support
import write_support
import xzformat
from support import Mount, make_compressed, wait_until
from write_support import Strace, WriteMount, read_file, write_file

TEXT = xzformat.text(31, 60_000)
TIME = 1_500_000_000_123_456_789
MODES = ("compress=close", "compress=off", "compress=cold,cold_after=0.1", "exclude=*.db",
         "compress=close,sync_close")


def stored(source):
    """{name: (inode, digest, mtime)} of all files except those of xzfs."""
    found = {}
    for name in os.listdir(source):
        if name != ".xzfs":
            path = os.path.join(source, name)
            found[name] = (os.stat(path).st_ino, write_support.digest(read_file(path)),
                           os.stat(path).st_mtime_ns)
    return found


def make_pair(source, name, content=TEXT, other=None):
    """Makes both forms on purpose, with the same time, as `xz -k` leaves them."""
    write_file(os.path.join(source, name), content)
    compressed = make_compressed(source, name, content if other is None else other)
    for path in (os.path.join(source, name), compressed):
        os.utime(path, ns=(TIME, TIME))


def look_at_all(root):
    """Does what programs do that change nothing."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        os.stat(path)
        read_file(path)
        if not name.endswith(".xz"):
            os.close(os.open(path, os.O_RDWR))
    subprocess.run(["find", root, "-ls"], stdout=subprocess.DEVNULL, check=True)


def replace_by_new(path):
    """Replaces it by a file that is still plain, because it is open. A compressed one could not get its
    name, which `N.xz` has."""
    with open(path + "-new", "wb") as file:
        file.write(b"new")
        os.replace(file.name, path)


class Foreign(support.MountTest):
    """Pairs that another program has made."""

    def test_looking_at_a_pair_changes_nothing_in_any_mode(self):
        for mode in (*MODES, "ro"):
            with self.subTest(mode), support.temp_dir("xzfs-source-") as source:
                make_pair(source, "data.db")
                make_pair(source, "other.db", other=TEXT[::-1])
                before = stored(source)
                with Mount(source, f"settle=0,{mode}") as mount:
                    if mode == "ro":
                        names = os.listdir(mount.path)
                    else:
                        look_at_all(mount.path)
                        names = os.listdir(mount.path)
                        os.getxattr(mount.path, "user.xzfs.cmd.sync")
                    self.assertEqual(sorted(names), sorted(before))
                    self.assertEqual(read_file(mount / "data.db"), TEXT)
                    self.assertEqual(lzma.decompress(read_file(mount / "other.db.xz")), TEXT[::-1])
                self.assertEqual(stored(source), before)

    def test_a_change_of_one_leaves_the_other_as_it_is(self):
        changes = {
            "append": lambda path: write_support.write_at(path, len(TEXT), b"more"),
            "truncate": lambda path: os.truncate(path, 10),
            "chmod": lambda path: os.chmod(path, 0o600),
            "link": lambda path: os.link(path, path + "-link"),
            "rename": lambda path: os.rename(path, path + "-moved"),
            "unlink": os.unlink,
            "replace": replace_by_new,
        }
        for mode in MODES:
            with support.temp_dir("xzfs-source-") as source:
                for name in changes:
                    make_pair(source, f"{name}.db")
                before = stored(source)
                with WriteMount(source, f"settle=0,{mode}") as mount:
                    os.listdir(mount.path)
                    for name, change in changes.items():
                        change(mount / f"{name}.db")
                    # The sync names the files that were written to, because their `.xz` is another file.
                    with contextlib.suppress(write_support.SyncFailed):
                        mount.sync()
                    os.listdir(mount.path)
                now = stored(source)
                for name in changes:
                    with self.subTest(mode, change=name):
                        self.assertEqual(now[f"{name}.db.xz"], before[f"{name}.db.xz"])

    def test_a_compressor_in_the_source_finds_its_files(self):
        """It sets the times, syncs, closes, and removes the plain file. Listings in between must not
        disturb it."""
        for mode in MODES:
            with self.subTest(mode), support.temp_dir("xzfs-source-") as source:
                path = os.path.join(source, "app.db")
                write_file(path, TEXT)
                with Mount(source, f"settle=0,{mode}") as mount:
                    with open(path + ".xz", "xb") as out:
                        out.write(lzma.compress(TEXT, preset=0))
                        out.flush()
                        st = os.stat(path)
                        os.utime(out.fileno(), ns=(st.st_atime_ns, st.st_mtime_ns))
                        look_at_all(mount.path)
                        os.getxattr(mount.path, "user.xzfs.cmd.sync")
                        os.fsync(out.fileno())
                    self.assertTrue(os.path.exists(path + ".xz"))
                    os.unlink(path)
                    self.assertEqual(list(stored(source)), ["app.db.xz"])
                    self.assertEqual(os.listdir(mount.path), ["app.db"])
                    self.assertEqual(read_file(mount / "app.db"), TEXT)

    def test_the_log_says_what_to_do_with_a_pair_with_equal_times(self):
        make_pair(self.source, "old")
        write_file(os.path.join(self.source, "new"), TEXT)
        make_compressed(self.source, "new", TEXT, mtime_ns=TIME)
        with Mount(self.source, "compress=off") as mount:
            self.assertEqual(len(os.listdir(mount.path)), 4)
            lines = [line for line in mount.log().splitlines() if "want the same name" in line]
            self.assertEqual(len(lines), 2, lines)
            self.assertEqual([line for line in lines if "xz -dc 'old.xz' | cmp - 'old'" in line],
                             [line for line in lines if "'old'" in line])

    def test_a_commit_never_overwrites_a_foreign_file_however_it_looks(self):
        with WriteMount(self.source, "settle=0.01") as mount:
            path = mount / "file"
            with open(path, "wb") as file:
                file.write(TEXT)
                file.flush()
                # Another program has compressed it in the meantime, and kept its time.
                compressed = make_compressed(self.source, "file", TEXT)
                os.utime(path, ns=(TIME, TIME))
                os.utime(compressed, ns=(TIME, TIME))
            before = stored(self.source)
            self.assertIn("'file.xz' already exists", mount.sync_error())
            self.assertEqual(stored(self.source), before)
            self.assertEqual(mount.stats()["commits"]["done"], 0)


class Ours(support.MountTest):
    """Pairs that a commit, pack or unpack has left behind, or is just making."""

    OPTIONS = "preset=0,block_size=16KiB"

    def killed_between_the_names(self, name="file"):
        """Leaves both names; only a record says that they are one file."""
        mount = WriteMount(self.source, self.OPTIONS)
        mount.__enter__()
        write_file(mount / name, TEXT)
        os.utime(mount / name, ns=(TIME, TIME))
        # The first file that the commit removes is the plain file.
        with Strace(mount.pid, "trace=unlinkat", "inject=unlinkat:signal=KILL:when=1"):
            with contextlib.suppress(OSError):
                mount.sync()
            wait_until(lambda: not mount.alive(), "the daemon is killed")
        mount.kill()
        mount.__exit__(None, None, None)
        self.assertEqual(sorted(set(os.listdir(self.source)) - {".xzfs"}), [name, name + ".xz"])

    def left(self):
        return sorted(set(os.listdir(self.source)) - {".xzfs"})

    def test_a_commit_that_was_cut_off_is_undone_and_done_again(self):
        self.killed_between_the_names()
        with Mount(self.source, "ro") as mount:
            self.assertEqual(os.listdir(mount.path), ["file"])
        self.assertEqual(len(self.left()), 2)
        with WriteMount(self.source, self.OPTIONS) as mount:
            self.assertEqual(os.listdir(mount.path), ["file"])
            self.assertEqual(self.left(), ["file"])
            mount.sync()
            self.assertEqual(read_file(mount / "file"), TEXT)
        self.assertEqual(self.left(), ["file.xz"])
        self.assertEqual(write_support.leftovers(self.source), [])

    def test_if_one_of_a_pair_was_changed_both_stay(self):
        changes = {
            "the plain file was written to": lambda: write_support.write_at(self.at("file"), 0, b"!"),
            "its mode was changed": lambda: os.chmod(self.at("file"), 0o600),
            "its time was set back after a change": self.change_and_set_back,
            "the compressed one was written to": lambda: self.append("file.xz", bytes(4)),
            "the compressed one was replaced": self.replace,
        }
        for what, change in changes.items():
            with self.subTest(what):
                self.killed_between_the_names()
                change()
                before = stored(self.source)
                with WriteMount(self.source, self.OPTIONS + ",compress=off") as mount:
                    self.assertEqual(sorted(os.listdir(mount.path)), ["file", "file.xz"])
                    os.getxattr(mount.path, "user.xzfs.cmd.sync")
                self.assertEqual(stored(self.source), before)
                for path in glob.glob(self.at("*")):
                    os.unlink(path)
                support.run(["rm", "-rf", self.at(".xzfs")])

    def at(self, name):
        return os.path.join(self.source, name)

    def append(self, name, content):
        with open(self.at(name), "ab") as file:
            file.write(content)

    def replace(self):
        """Replaces it by another file of the same size and time."""
        content = read_file(self.at("file.xz"))
        st = os.stat(self.at("file.xz"))
        write_file(self.at("new"), content)
        os.utime(self.at("new"), ns=(st.st_mtime_ns, st.st_mtime_ns))
        os.replace(self.at("new"), self.at("file.xz"))

    def change_and_set_back(self):
        write_support.write_at(self.at("file"), 0, b"!")
        os.utime(self.at("file"), ns=(TIME, TIME))

    def test_a_pair_in_a_directory_that_was_renamed_is_found(self):
        os.mkdir(self.at("d"))
        mount = WriteMount(self.source, self.OPTIONS)
        mount.__enter__()
        write_file(mount / "d/file", TEXT)
        with Strace(mount.pid, "trace=unlinkat", "inject=unlinkat:signal=KILL:when=1"):
            with contextlib.suppress(OSError):
                mount.sync()
            wait_until(lambda: not mount.alive(), "the daemon is killed")
        mount.kill()
        mount.__exit__(None, None, None)
        self.assertEqual(len(os.listdir(self.at("d"))), 2)
        os.rename(self.at("d"), self.at("e"))
        with WriteMount(self.source, self.OPTIONS + ",compress=off") as mount:
            self.assertEqual(os.listdir(mount / "e"), ["file"])
        self.assertEqual(os.listdir(self.at("e")), ["file"])

    def test_damaged_records_are_ignored(self):
        """The records are torn, from a later version, or hostile."""
        self.killed_between_the_names()
        claims, = glob.glob(self.at(".xzfs/*/claims"))
        content = read_file(claims)
        for broken in (content[:-1], b"", bytes(1000), b"\xff" * 1000, content[:40] + b"?" + content[41:],
                       content.replace(b"file.xz", b"../f.xz")):
            write_file(claims, broken)
            with Mount(self.source, "ro") as mount:
                self.assertEqual(sorted(os.listdir(mount.path)), ["file", "file.xz"])
        before = stored(self.source)
        with WriteMount(self.source, self.OPTIONS + ",compress=off") as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["file", "file.xz"])
        self.assertEqual(stored(self.source), before)

    def test_another_mount_shows_one_file_while_a_commit_makes_a_pair(self):
        with WriteMount(self.source, self.OPTIONS) as mount, \
                WriteMount(self.source, self.OPTIONS) as other:
            write_file(mount / "file", TEXT)
            with Strace(mount.pid, "trace=unlinkat", "inject=unlinkat:delay_enter=1500000:when=1"):
                waiter = subprocess.Popen(["getfattr", "-n", "user.xzfs.cmd.sync", mount.path],
                                          stdout=subprocess.DEVNULL)
                wait_until(lambda: len(self.left()) == 2, "both have their names")
                self.assertEqual(os.listdir(other.path), ["file"])
                self.assertEqual(len(self.left()), 2, "it was looked at in between")
                self.assertEqual(waiter.wait(20), 0)
            self.assertEqual(os.listdir(other.path), ["file"])
            self.assertEqual(read_file(other / "file"), TEXT)


if __name__ == "__main__":
    support.main()
