#!/usr/bin/env python3
"""xzfsctl doctor: what it finds, what it says to type, and that it changes nothing.

Each run has a mount namespace of its own: doctor looks at all mounts, and other tests have some that
are broken on purpose.
"""

import json
import os
import shlex
import subprocess
import unittest

import ctl_support
import json_schema
import support
import xzformat
from ctl_support import AS_NOBODY, CTL, MountCtlTest
from own_mounts import in_own_namespace
from support import MIB, Mount, make_compressed, wait_until
from write_support import NEVER, WriteMount, write_at, write_file


def everything_below(folder):
    """{path: what lstat says}, without the times of reading."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            path = os.path.join(where, name)
            st = os.lstat(path)
            found[path] = (st.st_mode, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    return found


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Doctor(MountCtlTest):
    def run_doctor(self, *words, code=0, keep=(), before=(), program=CTL):
        argv = in_own_namespace(*before, program, "doctor", *words, keep=keep)
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120 * support.SLOWNESS, check=False, cwd=self.folder,
                              env=ctl_support.environment())
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def findings(self, *words, **more):
        """[(level, subject, text, command)]"""
        document = json.loads(self.run_doctor(*words, "--json", **more).stdout)
        self.assertEqual(document["command"], "doctor")
        json_schema.check_document(document)
        found = [(each["level"], each["subject"], each["text"], each["command"])
                 for each in document["findings"]]
        for level in ("problem", "warning", "note"):
            self.assertEqual(document[level + "s"], sum(each[0] == level for each in found))
        return found

    def one(self, found, level, subject, *words):
        """The only finding of this kind; returns its command."""
        matching = [each for each in found if each[:2] == (level, subject)
                    and all(word in each[2] for word in words)]
        self.assertEqual(len(matching), 1, found)
        return matching[0][3]

    # The machine.

    def test_a_machine_that_can_mount_has_no_problem(self):
        found = self.findings()
        levels = {subject: level for level, subject, _, _ in found}
        for subject in ("kernel", "/dev/fuse", "right to mount", "versions", "mounts"):
            self.assertIn(levels[subject], ("ok", "note"), found)
        self.assertNotIn("problem", levels.values())

    def test_lines_and_document_say_the_same(self):
        found = self.findings()
        lines = self.run_doctor().stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines[:len(found)]],
                         [level for level, *_ in found])
        self.assertRegex(lines[-1], r"^0 problems, \d+ warnings?$")

    def test_a_user_is_told_what_a_user_needs(self):
        os.chmod(self.folder, 0o755)
        if os.stat("/dev/fuse").st_mode & 0o006:
            self.skipTest("/dev/fuse is open to everybody here")
        found = self.findings(code=1, before=AS_NOBODY, program=self._open_to_all())
        self.assertEqual(self.one(found, "problem", "/dev/fuse", "Permission denied"),
                         "chmod 0666 /dev/fuse")
        subjects = [each[1] for each in found]
        self.assertTrue(any(subject.endswith("fusermount3") for subject in subjects), found)
        self.assertNotIn("right to mount", subjects)

    def test_a_missing_device_is_a_problem(self):
        os.mkdir(self.path("dev"))
        script = 'mount --bind "$1" /dev && shift && exec "$@"'
        found = self.findings(code=1, before=("sh", "-c", script, "sh", self.path("dev")),
                              keep=[self.folder])
        self.assertEqual(self.one(found, "problem", "/dev/fuse", "No such file"), "modprobe fuse")

    # Mounts.

    def test_a_mount_without_daemon_is_a_problem_and_the_command_removes_it(self):
        with Mount(self.source) as mount:
            mount.process.kill()
            mount.process.wait()
            found = self.findings(code=1, keep=[mount.path])
            command = self.one(found, "problem", mount.path, "its daemon is gone")
            self.assertEqual(command, "xzfsctl umount " + mount.path)
            self.ctl(*shlex.split(command)[1:])
            self.assertFalse(os.path.ismount(mount.path))
            mount.process.returncode = 0  # it was meant to be killed

    def test_a_mount_that_hangs_does_not_hold_doctor_up(self):
        with Mount(self.source) as mount:
            with support.stopped(mount.process):
                found = self.findings(code=1, keep=[mount.path])
            self.one(found, "problem", mount.path, "does not answer")

    def test_a_mount_that_works_is_fine_and_its_source_is_looked_at(self):
        with Mount(self.source) as mount:
            found = self.findings(keep=[mount.path, self.source])
            self.one(found, "ok", mount.path, "answers", os.path.realpath(self.source))
            self.one(found, "ok", os.path.realpath(self.source), "local file system")

    def test_files_that_wait_are_a_note_with_the_command(self):
        with WriteMount(self.source, NEVER) as mount:
            write_file(mount / "file", b"text " * 1000)
            found = self.findings(keep=[mount.path, self.source])
            command = self.one(found, "note", mount.path, "1 file waits")
            self.ctl(*shlex.split(command)[1:])
            self.assertEqual(mount.stats()["commits"]["pending"], 0)

    def test_files_that_can_not_be_compressed_are_a_warning_with_the_reason(self):
        with WriteMount(self.source, NEVER) as mount:
            write_file(mount / "file", b"text " * 1000)
            write_file(os.path.join(self.source, "file.xz"), b"somebody's")
            self.ctl("sync", mount.path, code=1)
            found = self.findings(keep=[mount.path, self.source])
            reason = mount.stats()["commits"]["uncommitted"][0]["reason"]
            command = self.one(found, "warning", mount.path, "file", reason)
            self.assertEqual(command, "xzfsctl stats " + mount.path)

    # Sources.

    def test_what_a_dead_mount_left_waits_for_a_mount(self):
        make_compressed(self.source, "file", b"text " * 1000)
        with WriteMount(self.source, NEVER) as mount:
            write_at(mount / "file", 10, b"changed")
            mount.process.kill()
            mount.process.wait()
            mount.process.returncode = 0
        before = everything_below(self.source)
        found = self.findings(self.source)
        source = os.path.realpath(self.source)
        command = self.one(found, "warning", source + "/.xzfs", "changes of 1 file wait")
        self.assertEqual(command, f"xzfs {source} MOUNTPOINT")
        self.assertEqual(everything_below(self.source), before)
        with WriteMount(self.source) as mount:
            mount.sync()
        self.assertEqual([each for each in self.findings(self.source) if each[0] == "warning"], [])

    def test_a_living_mount_is_not_taken_for_a_dead_one(self):
        make_compressed(self.source, "file", b"text " * 1000)
        with WriteMount(self.source, NEVER) as mount:
            write_at(mount / "file", 10, b"changed")
            found = self.findings(self.source, keep=[mount.path, self.source])
            self.assertEqual([each for each in found if each[1].endswith(".xzfs")], [])
            self.assertTrue(os.listdir(os.path.join(self.source, ".xzfs")))

    def test_giant_blocks_are_a_warning_and_the_command_removes_them(self):
        write_file(os.path.join(self.source, "giant"), bytes(40 * MIB))
        support.run(["xz", "-0", "-T1", os.path.join(self.source, "giant")])
        make_compressed(self.source, "small", b"text " * 1000)
        source = os.path.realpath(self.source)
        before = everything_below(source)
        found = self.findings(self.source)
        command = self.one(found, "warning", source, "1 of 2 compressed files", "giant.xz")
        self.assertEqual(everything_below(source), before)
        self.assertEqual(command, "xzfsctl reblock " + source)
        self.ctl(*shlex.split(command)[1:])
        self.one(self.findings(self.source), "ok", source, "2 files, 2 of them compressed")

    def test_a_file_whose_index_is_damaged_is_a_problem(self):
        make_compressed(self.source, "file", xzformat.text(1, 100_000))
        path = os.path.join(self.source, "file.xz")
        os.truncate(path, os.path.getsize(path) - 7)
        found = self.findings(self.source, code=1)
        source = os.path.realpath(self.source)
        self.assertEqual(self.one(found, "problem", source, "can't be read", "file.xz"),
                         "xzfsctl verify " + source)

    def test_leases_are_tried(self):
        write_file(os.path.join(self.source, "plain"), b"text")
        self.one(self.findings(self.source), "ok", os.path.realpath(self.source), "has leases")

    def test_a_path_in_a_mount_is_looked_up_in_the_source(self):
        os.mkdir(os.path.join(self.source, "folder"))
        make_compressed(os.path.join(self.source, "folder"), "file", b"text " * 1000)
        with Mount(self.source) as mount:
            found = self.findings(mount / "folder", keep=[mount.path, self.source])
            self.one(found, "ok", os.path.realpath(self.source) + "/folder",
                     "1 file, 1 of them compressed")

    def test_a_source_on_fuse_is_mounted_read_only(self):
        below = self.path("below")
        os.mkdir(below)
        support.run(["bindfs", self.source, below])
        try:
            command = self.one(self.findings(below, keep=[below]), "warning", below, "lies on FUSE")
            self.assertIn("-o single_client", command)
        finally:
            wait_until(lambda: subprocess.run(["umount", below], check=False).returncode == 0,
                       "bindfs ends")

    def test_a_path_that_is_not_there_is_a_problem(self):
        found = self.findings(self.path("none"), code=1)
        self.one(found, "problem", self.path("none"), "No such file")


if __name__ == "__main__":
    support.main()
