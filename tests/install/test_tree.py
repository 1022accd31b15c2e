#!/usr/bin/env python3
"""An installation, by `cmake --install` into an empty root: files, links, pages, the unit."""

import os
import shutil
import stat
import subprocess
import tempfile
import unittest

from programs import PROGRAMS, ROOT, run

BUILD = os.environ["XZFS_BUILD"]
CMAKE = os.environ.get("CMAKE", "cmake")
HAS_SCDOC = os.path.exists(os.path.join(BUILD, "packaging", "xzfs.1"))


def install(destination, prefix):
    """Installs, and returns what CMake prints."""
    done = run(CMAKE, "--install", BUILD, "--prefix", prefix,
               env=dict(os.environ, DESTDIR=destination))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_of_build():
    """{path: time of the last change} of the files in the build tree, in the folders that are installed
    from. Other tests write elsewhere in it meanwhile."""
    return {path: os.lstat(path).st_mtime_ns for top in ("src", "packaging")
            for folder, _, names in os.walk(os.path.join(BUILD, top))
            for path in (os.path.join(folder, name) for name in names)}


class Tree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="xzfs-install-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        install(cls.root, "/usr")

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_everything_is_in_its_place(self):
        wanted = ["usr/sbin/mount.xzfs", "usr/sbin/mount.fuse.xzfs",
                  "usr/lib/systemd/system/xzfs@.service", "usr/share/doc/xzfs/examples/fstab",
                  "usr/share/doc/xzfs/examples/srv-logs.conf", "usr/share/doc/xzfs/format.md",
                  "usr/share/zsh/site-functions/_xzfs"]
        for program in PROGRAMS:
            wanted += ["usr/bin/" + program, "usr/share/bash-completion/completions/" + program,
                       f"usr/share/fish/vendor_completions.d/{program}.fish"]
            wanted += [f"usr/share/man/man1/{program}.1"] if HAS_SCDOC else []
        if HAS_SCDOC:
            wanted += ["usr/share/man/man5/xzfs.5", "usr/share/man/man8/mount.xzfs.8",
                       "usr/share/man/man8/mount.fuse.xzfs.8"]
        self.assertEqual([name for name in wanted if not os.path.exists(self.path(name))], [])
        # Only files of the library and of xzfs, and none that only root could read.
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                self.assertTrue(path.startswith(self.path("usr/")), path)
                self.assertEqual(os.stat(path).st_mode & 0o444, 0o444, path)
                self.assertEqual(os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID | 0o022), 0)

    def test_the_helpers_are_links_that_hold_wherever_the_tree_is_moved(self):
        for name in ("mount.xzfs", "mount.fuse.xzfs"):
            link = self.path("usr/sbin/" + name)
            self.assertEqual(os.readlink(link), "../bin/xzfs")
            self.assertTrue(os.path.samefile(link, self.path("usr/bin/xzfs")))
            # Only for a mount helper -f means "fake": xzfs itself would mount.
            done = run(link, self.root, self.root + "/none", "-f", "-o", "ro,nofail")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_the_helpers_follow_another_prefix(self):
        with tempfile.TemporaryDirectory() as root:
            install(root, "/opt/xzfs/1")
            link = os.path.join(root, "opt/xzfs/1/sbin/mount.xzfs")
            self.assertTrue(os.path.samefile(link, os.path.join(root, "opt/xzfs/1/bin/xzfs")))
            with open(os.path.join(root, "opt/xzfs/1/lib/systemd/system/xzfs@.service"),
                      encoding="utf-8") as unit:
                self.assertIn("ExecStart=/opt/xzfs/1/bin/xzfs ", unit.read())

    def test_it_says_at_its_end_where_mount_does_not_find_the_helpers(self):
        with tempfile.TemporaryDirectory() as root:
            last = install(root, "/usr/local").splitlines()[-1]
            self.assertIn("mount(8) does not find mount.xzfs in /usr/local/sbin", last)
            self.assertNotIn("mount(8)", install(root, "/usr"))

    def test_it_writes_nothing_into_the_build_tree(self):
        before = files_of_build()
        with tempfile.TemporaryDirectory() as root:
            install(root, "/opt/xzfs/2")
            with open(os.path.join(BUILD, "install_manifest.txt"), encoding="utf-8") as manifest:
                listed = set(manifest.read().splitlines())
            installed = {"/" + os.path.relpath(os.path.join(folder, name), root)
                         for folder, _, names in os.walk(root) for name in names}
        # CMake lists there what it has installed.
        self.assertEqual(listed, installed)
        self.assertEqual(files_of_build(), before)

    def test_the_programs_run(self):
        for program in PROGRAMS:
            done = run(self.path("usr/bin/" + program), "--version")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith(program + " "), done.stdout)

    @unittest.skipUnless(HAS_SCDOC, "needs scdoc")
    def test_man_finds_the_pages_and_warns_of_nothing(self):
        environment = dict(os.environ, MANPATH=self.path("usr/share/man"), MANWIDTH="80",
                           LC_ALL="C.UTF-8")
        pages = [("1", program) for program in PROGRAMS]
        pages += [("5", "xzfs"), ("8", "mount.xzfs"), ("8", "mount.fuse.xzfs")]
        for section, page in pages:
            with self.subTest(f"{page}({section})"):
                done = run("man", "--warnings", "-P", "cat", section, page, env=environment)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("SEE ALSO", done.stdout)
                self.assertGreater(len(done.stdout.splitlines()), 40)
        # man knows from the first line that there are tables.
        self.assertTrue(self.read("usr/share/man/man5/xzfs.5").startswith("'\\\" t\n"))

    @unittest.skipUnless(shutil.which("systemd-analyze"), "needs systemd")
    def test_systemd_takes_the_unit(self):
        # systemd finds it by its name, with the programs where the unit says.
        with tempfile.TemporaryDirectory() as folder:
            unit = os.path.join(folder, "xzfs@srv-my\\x20logs.service")
            text = self.read("usr/lib/systemd/system/xzfs@.service")
            with open(unit, "w", encoding="utf-8") as file:
                file.write(text.replace("/usr/bin/", self.path("usr/bin/")))
            done = run("systemd-analyze", "verify", "--man=no", unit)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("/usr/bin/xzfs ", text)

    def test_the_lines_of_fstab_are_lines_that_xzfs_takes(self):
        count = 0
        for line in self.read("usr/share/doc/xzfs/examples/fstab").splitlines():
            if not line or line.startswith("#"):
                continue
            source, target, kind, options, dump, check = line.split()
            self.assertIn(kind, ("xzfs", "fuse.xzfs"))
            self.assertEqual((dump, check), ("0", "0"))
            done = run(self.path("usr/sbin/mount." + kind), source, target, "-f", "-o", options)
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)
            count += 1
        self.assertGreater(count, 2)

    def test_nothing_of_the_build_machine_is_in_it(self):
        ours = os.path.realpath(ROOT).encode()
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.islink(path) or "/bin/" in path or ".so" in name or name.endswith(".a"):
                    continue  # programs have it in their debug information
                with open(path, "rb") as file:
                    self.assertNotIn(ours, file.read(), path)


if __name__ == "__main__":
    unittest.main()
