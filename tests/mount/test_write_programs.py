"""Ordinary programs write on the mount, and read back what they wrote."""

import filecmp
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import unittest

import support
import write_support
import xzformat
from support import MIB, run, wait_until
from write_support import WriteMount, assert_same_tree, read_file, snapshot, write_file

# A directory that every Debian has, with symlinks and small files.
SHARE = "/usr/share"


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    return unittest.skipIf(missing, f"not installed: {missing}")


class Programs(write_support.OnMount):
    """Files are committed as soon as they are closed, while programs work on them."""

    options = "settle=0,preset=0,block_size=64KiB,acl"

    def some_of_share(self, limit):
        """A copy of directories of /usr/share, of about `limit` bytes."""
        target = self.enterContext(support.temp_dir("xzfs-share-"))
        size = 0
        for name in ("bash-completion", "perl", "python3", "mime", "zoneinfo", "misc", "perl5",
                     "doc"):
            path = os.path.join(SHARE, name)
            if os.path.isdir(path) and size < limit:
                for folder, _, files in os.walk(path):
                    into = os.path.join(target, os.path.relpath(folder, SHARE))
                    os.makedirs(into, exist_ok=True)
                    for file in files:
                        source = os.path.join(folder, file)
                        shutil.copy2(source, os.path.join(into, file), follow_symlinks=False)
                        size += os.lstat(source).st_size
                    if size > limit:
                        break
        # The files look old, because rsync takes times within the same second as equal.
        for number, (folder, _, _) in enumerate(os.walk(target)):
            os.utime(folder, ns=(10**18, 10**18 + number * 10**9 + 123))
        self.assertGreater(size, limit // 10)
        return target

    @needs("git")
    def test_git_clones_commits_packs_and_finds_no_fault(self):
        origin = self.enterContext(support.temp_dir("xzfs-git-"))
        environment = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME=origin,
                           GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@example.org",
                           GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@example.org")

        def git(where, *arguments):
            return run(["git", "-C", where, "-c", "init.defaultBranch=main", *arguments],
                       env=environment)
        rng = random.Random(1)
        git(origin, "init", "-q", "repo")
        repo = os.path.join(origin, "repo")
        for number in range(60):
            os.makedirs(os.path.join(repo, f"d{number % 7}"), exist_ok=True)
            write_file(os.path.join(repo, f"d{number % 7}/f{number}"),
                       xzformat.text(number, rng.randrange(30_000)))
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", "first")
        clone = self.path("clone")
        git(self.root, "clone", "-q", "--no-hardlinks", repo, clone)
        for turn in range(support.scaled(6, 2)):
            for number in range(turn, 60, 7):
                with open(os.path.join(clone, f"d{number % 7}/f{number}"), "ab") as file:
                    file.write(b"turn %d\n" % turn)
            git(clone, "commit", "-q", "-a", "-m", f"turn {turn}")
            git(clone, "checkout", "-q", "-b", f"branch{turn}")
            if turn % 2:
                git(clone, "gc", "-q")
            git(clone, "fsck", "--full", "--strict")
            self.assertEqual(git(clone, "status", "--porcelain"), b"")
        self.sync()
        git(clone, "fsck", "--full", "--strict")
        self.assertEqual(git(clone, "status", "--porcelain"), b"")
        git(repo, "pull", "-q", clone, "HEAD")  # and the files are the same as those that git makes elsewhere
        for number in range(60):
            name = f"d{number % 7}/f{number}"
            self.assertTrue(filecmp.cmp(os.path.join(repo, name), os.path.join(clone, name), False))

    def test_sqlite_keeps_its_promises_with_a_journal_and_with_wal(self):
        for mode in ("delete", "truncate", "wal"):
            path = self.path(f"{mode}.db")
            with sqlite3.connect(path, isolation_level=None) as database:
                self.assertEqual(database.execute(f"pragma journal_mode={mode}").fetchone()[0], mode)
                database.execute("create table t (id integer primary key, line text, sum integer)")
            database.close()
            failures = []

            def work(number, path=path):
                connection = sqlite3.connect(path, timeout=60)
                rng = random.Random(number)
                for turn in range(support.scaled(40, 10)):
                    with connection:
                        connection.execute("begin immediate")
                        for _ in range(20):
                            line = f"{number} {turn} " + "x" * rng.randrange(300)
                            connection.execute("insert into t (line, sum) values (?, ?)",
                                               (line, len(line)))
                        connection.execute("delete from t where id % 7 = ? and id < ?",
                                           (turn % 7, turn * 10))
                    if connection.execute("select count(*) from t where length(line) != sum"
                                          ).fetchone() != (0,):
                        failures.append("a torn row")
                connection.close()

            write_support.in_threads(work, range(3))
            self.assertEqual(failures, [])
            for state in ("as it is", "after a sync"):
                out = run(["sqlite3", path, "pragma integrity_check; select count(*) from t;"])
                self.assertEqual(out.split()[0], b"ok", (mode, state))
                self.assertGreater(int(out.split()[1]), 100)
                self.sync()

    @needs("rsync")
    def test_rsync_copies_a_tree_and_finds_nothing_to_do_again(self):
        tree = self.some_of_share(support.scaled(12 * MIB, MIB))
        # Everything that rsync -HAX keeps.
        for name in ("linked", "linked2"):
            if name == "linked":
                write_file(os.path.join(tree, name), b"linked" * 100)
            else:
                os.link(os.path.join(tree, "linked"), os.path.join(tree, name))
        os.setxattr(os.path.join(tree, "linked"), "user.note", b"kept")
        run(["setfacl", "-m", "u:1234:r", os.path.join(tree, "linked")])
        run(["rsync", "-aHAX", tree + "/", self.path("copy")], 300)
        wanted = snapshot(tree)
        for when in ("at once", "after a sync"):
            assert_same_tree(self, snapshot(self.path("copy")), wanted, when)
            out = run(["rsync", "-aHAXnc", "--delete", "--itemize-changes", tree + "/",
                       self.path("copy") + "/"], 300)
            self.assertEqual(out, b"", when)
            self.sync()
        # An update in place, and one by replacing the file.
        changed = [name for name in sorted(wanted) if wanted[name].kind == "file"
                   and wanted[name].size > 5000][::9]
        self.assertGreater(len(changed), 3)
        for turn, flags in enumerate((["--inplace", "--no-whole-file"], ["--no-whole-file"])):
            for name in changed:
                path = os.path.join(os.fsencode(tree), name)
                write_support.write_at(path, 100, os.urandom(50))
                # rsync takes times within the same second as equal.
                os.utime(path, ns=(10**18, 10**18 + (turn + 1) * 2 * 10**9 + 7))
            run(["rsync", "-aHAX", *flags, tree + "/", self.path("copy")], 300)
            assert_same_tree(self, snapshot(self.path("copy")), snapshot(tree), flags)

    def test_tar_extracts_and_compares(self):
        tree = self.some_of_share(support.scaled(6 * MIB, MIB))
        tar = tree + ".tar"
        self.addCleanup(os.unlink, tar)
        run(["tar", "--format=posix", "-C", tree, "-cf", tar, "."])
        os.mkdir(self.path("out"))
        run(["tar", "-C", self.path("out"), "-xpf", tar], 300)
        run(["tar", "-C", self.path("out"), "-df", tar], 300)
        self.sync()
        run(["tar", "-C", self.path("out"), "-df", tar], 300)
        assert_same_tree(self, snapshot(self.path("out")), snapshot(tree), "extracted")
        # An archive of these files, made inside the mount.
        run(["tar", "-C", self.path("out"), "-cf", self.path("again.tar"), "."], 300)
        run(["tar", "-C", tree, "-df", self.path("again.tar")], 300)
        run(["rm", "-r", self.path("out")])

    def test_tar_sees_nothing_change_while_what_it_reads_is_committed(self):
        """tar exits with 1 if a ctime changes, and programs that call tar then fail."""
        archive = os.path.join(self.enterContext(support.temp_dir("xzfs-tar-")), "tar")
        for turn in range(support.scaled(20, 4)):
            os.mkdir(self.path(f"{turn}"))
            for number in range(40):
                write_file(self.path(f"{turn}/{number}"), xzformat.text(turn, 30_000 + number))
            run(["tar", "-C", self.path(f"{turn}"), "-cf", archive, "."])
        self.assertGreater(self.mount.commits()["done"], 0)

    @needs("dpkg-deb")
    def test_dpkg_deb_builds_and_extracts(self):
        os.makedirs(self.path("package/DEBIAN"))
        os.makedirs(self.path("package/usr/share/doc/test"))
        write_file(self.path("package/DEBIAN/control"), b"Package: test\nVersion: 1\n"
                   b"Architecture: all\nMaintainer: a <a@example.org>\nDescription: test\n")
        content = xzformat.text(50, 300_000)
        write_file(self.path("package/usr/share/doc/test/file"), content)
        for compression in ("xz", "gzip"):
            run(["dpkg-deb", "--root-owner-group", f"-Z{compression}", "-b", self.path("package"),
                 self.path(f"{compression}.deb")])
            self.sync()
            run(["dpkg-deb", "-R", self.path(f"{compression}.deb"), self.path(compression)])
            self.assertEqual(read_file(self.path(f"{compression}/usr/share/doc/test/file")), content)
            self.assertIn(b"./usr/share/doc/test/file",
                          run(["dpkg-deb", "-c", self.path(f"{compression}.deb")]))

    def test_xz_and_gzip_work_on_the_mount(self):
        content = xzformat.text(51, 400_000)
        write_file(self.path("file"), content)
        run(["xz", "-k", "-0", self.path("file")])
        self.sync()
        self.assertEqual(sorted(os.listdir(self.root)), ["file", "file.xz"])
        run(["xz", "-t", self.path("file.xz")])
        run(["rm", self.path("file")])
        run(["xz", "-d", self.path("file.xz")])
        self.assertEqual(sorted(os.listdir(self.root)), ["file"])
        self.assertEqual(read_file(self.path("file")), content)
        run(["gzip", self.path("file")])
        run(["gzip", "-d", self.path("file.gz")])
        self.assertEqual(read_file(self.path("file")), content)

    def test_an_editor_saves_by_writing_another_file_and_renaming_it(self):
        """Saves as vim does, and as emacs does with a backup; a reader always finds one complete version."""
        versions = [xzformat.text(number, 20_000 + 5000 * number) for number in range(4)]
        path = self.path("document")
        write_file(path, versions[0])
        stop, failures, reads = threading.Event(), [], [0]

        def read():
            while not stop.is_set():
                try:
                    if read_file(path) not in versions:
                        failures.append("a version that was never saved")
                except FileNotFoundError:
                    pass  # between the renames of an editor that makes backups
                reads[0] += 1
        reader = threading.Thread(target=read)
        reader.start()
        try:
            for turn in range(support.scaled(60, 20)):
                content = versions[turn % 4]
                write_file(path + ".new", content)
                fd = os.open(path + ".new", os.O_RDONLY)
                os.fsync(fd)
                os.close(fd)
                if turn % 3 == 2:
                    os.rename(path, path + "~")
                os.rename(path + ".new", path)
                self.assertEqual(read_file(path), content)
                if turn % 10 == 9:
                    self.sync()
        finally:
            stop.set()
            reader.join()
        self.assertEqual(failures, [])
        self.assertGreater(reads[0], 10)
        self.assertEqual(set(os.listdir(self.root)), {"document", "document~"})

    @needs("vim")
    def test_vim_itself_saves(self):
        write_file(self.path("text"), b"first line\n" * 100)
        for backup in ("yes", "no"):
            run(["vim", "-u", "NONE", "-es", "-n", "-c", f"set backupcopy={backup} backup",
                 "-c", "%s/first/" + backup + " second/", "-c", "wq", self.path("text")])
            write = backup.encode() + b" second line\n"
            self.assertEqual(read_file(self.path("text")), write * 100)
            write_file(self.path("text"), b"first line\n" * 100)
            self.sync()

    def test_processes_append_to_a_log_that_is_rotated(self):
        """Eight writers open the log again now and then; no line is lost or torn."""
        program = """
import os, sys
path, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for turn in range(count):
    if turn % 9 == 0:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    line = b"%d:%05d " % (number, turn) + b"m" * (turn % 200) + b"\\n"
    assert os.write(fd, line) == len(line)
    if turn % 9 == 8:
        os.close(fd)
"""
        lines = support.scaled(400, 60)
        path = self.path("app.log")
        writers = [subprocess.Popen([sys.executable, "-c", program, path, str(number), str(lines)])
                   for number in range(8)]
        rotations = 0
        while any(writer.poll() is None for writer in writers):
            wait_until(lambda: (os.path.exists(path) and os.stat(path).st_size > 20_000)
                       or all(writer.poll() is not None for writer in writers), "the log grows", 60)
            if os.path.exists(path):
                if rotations:
                    os.rename(path + ".1", f"{path}.{rotations + 1}")
                os.rename(path, path + ".1")
                rotations += 1
        for writer in writers:
            self.assertEqual(writer.wait(), 0)
        self.assertGreater(rotations, 1)
        self.sync()
        got = b"".join(read_file(self.path(name)) for name in os.listdir(self.root))
        wanted = [b"%d:%05d " % (number, turn) + b"m" * (turn % 200)
                  for number in range(8) for turn in range(lines)]
        self.assertEqual(len(got.splitlines()), len(wanted))
        self.assertEqual(sorted(got.splitlines()), sorted(wanted))


class Load(write_support.OnMount):
    options = "settle=0.1,preset=0,block_size=256KiB"
    deadline_s = 600

    @needs("fio")
    def test_fio_verifies_what_it_wrote(self):
        """Random writes by write and through mmap, each block with a checksum; read after commits."""
        size = support.scaled(8, 4)
        for engine, more in (("psync", ["--fsync=50"]), ("mmap", []),
                             ("psync", ["--direct=1", "--bs=16k"])):
            name = f"{engine}{len(more)}"
            job = ["fio", f"--name={name}", f"--directory={self.root}", f"--size={size}M",
                   f"--ioengine={engine}", "--rw=randwrite", "--bsrange=1k-64k"
                   if engine == "psync" and "--direct=1" not in more else "--bs=4k",
                   "--verify=crc32c", "--randseed=7", "--numjobs=2", "--fallocate=none",
                   "--verify_fatal=1", "--minimal", *more]
            run(job, 300, cwd=self.source)
            for number in range(2):
                self.assertGreater(os.stat(self.path(f"{name}.{number}.0")).st_size, size << 19)
            self.sync()
            run([*job, "--verify_only"], 300, cwd=self.source)
        self.assertGreater(self.mount.commits()["done"], 2)

    @needs("stress-ng")
    def test_stress_ng_finds_no_fault_and_nothing_hangs(self):
        """Its stressors of files check what they read; the daemon must keep working."""
        self.check_end = False
        stressors = ("access", "chmod", "copy-file", "dentry", "dir", "fallocate", "fiemap",
                     "filename", "flock", "fstat", "getdent", "hdd", "iomix", "link", "locka",
                     "mmap", "open", "rename", "seek", "symlink", "sync-file", "touch", "utime",
                     "xattr")
        timeout = max(1, round(write_support.seconds(12) / len(stressors)))
        write_file(self.path("witness"), xzformat.text(60, 200_000))
        failed = []
        for name in stressors:
            done = subprocess.run(
                ["stress-ng", "--temp-path", self.root, f"--{name}", "1", "--timeout",
                 f"{timeout}s", "--verify", "--hdd-bytes", "16M", "--iomix-bytes", "8M",
                 "--fallocate-bytes", "16M", "--copy-file-bytes", "128M", "--mmap-bytes", "4M",
                 "--mmap-file", "--seek-size", "4M", "--sync-file-bytes", "4M"],
                cwd=self.source,  # one of them leaves files where it was started
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=120 + 4 * timeout, check=False)
            # 3: not supported here; 4: lack of a resource.
            if done.returncode not in (0, 3, 4) or re.search(rb"fail:.*(verif|corrupt|mismatch)",
                                                            done.stdout):
                failed.append(f"{name}: {done.returncode} {done.stdout.decode(errors='replace')}")
            self.assertTrue(self.mount.alive(), name)
        self.assertEqual(failed, [])
        self.sync()
        self.assertEqual(read_file(self.path("witness")), xzformat.text(60, 200_000))


class TwoMounts(support.MountTest):
    """Two mounts of one source at the same time lose and corrupt nothing."""

    OPTIONS = "preset=0,block_size=64KiB,attr_timeout=0,entry_timeout=0"

    def test_each_writes_its_own_files_and_reads_the_others(self):
        with WriteMount(self.source, self.OPTIONS + ",settle=0") as one, WriteMount(
                self.source, self.OPTIONS + ",settle=0") as two:
            wanted = {}

            def work(turn):
                mount, letter = (one, "a") if turn == 0 else (two, "b")
                rng = random.Random(f"{write_support.SEED} {letter}")
                for number in range(support.scaled(120, 30)):
                    name = f"{letter}{rng.randrange(12)}"
                    path = mount / name
                    old = wanted.get(name)
                    if old is None or rng.random() < 0.3:
                        wanted[name] = xzformat.text(number, rng.randrange(1, 150_000))
                        write_file(path, wanted[name])
                    else:
                        at = rng.randrange(len(old))
                        write_support.write_at(path, at, b"edit %d" % number)
                        wanted[name] = write_support.patched(old, at, b"edit %d" % number)
                    if read_file(path) != wanted[name]:
                        raise AssertionError(f"{name} is not what was written, turn {number}")

            write_support.in_threads(work, [0, 1])
            one.sync()
            two.sync()
            for mount in (one, two):
                for name, content in wanted.items():
                    support.assert_same(self, read_file(mount / name), content, name)
                self.assertEqual(mount.commits()["failed"], 0)
        tree = write_support.stored_snapshot(self.source)
        self.assertEqual({name.decode(): entry.content for name, entry in tree.items()},
                         {name: write_support.digest(content) for name, content in wanted.items()})
        self.assertEqual(write_support.leftovers(self.source), [])

    def test_both_write_one_file_in_turns(self):
        """With sync_close, one mount reads what a program closed in the other."""
        options = self.OPTIONS + ",sync_close"
        with WriteMount(self.source, options) as one, WriteMount(self.source, options) as two:
            content = xzformat.text(70, 200_000)
            write_file(one / "shared", content)
            for turn in range(support.scaled(30, 8)):
                mount, other = ((one, two), (two, one))[turn % 2]
                self.assertEqual(read_file(other / "shared"), content, turn)
                if turn % 5 == 4:
                    content = content[:len(content) - 1000]
                    os.truncate(mount / "shared", len(content))
                    mount.sync()
                else:
                    write_support.write_at(mount / "shared", turn * 6000, b"turn %d" % turn)
                    content = write_support.patched(content, turn * 6000, b"turn %d" % turn)
                support.assert_same(self, read_file(mount / "shared"), content, f"own, {turn}")
                support.assert_same(self, read_file(other / "shared"), content, f"other, {turn}")
        write_support.assert_valid(self, write_support.stored_path(self.source, "shared"), content)
        self.assertEqual(write_support.leftovers(self.source), [])


if __name__ == "__main__":
    support.main()
