#!/usr/bin/env python3
"""What docs/recipes.md says is what works: the tests take its lines and configuration files, move its paths
into a temporary folder, and run the real programs. They need root, as most recipes do.

Further environment: XZFS_REQUIRE_RECIPES=1 (a machine without Samba is a failure; without it the tests of
Samba are left out there).
"""

import base64
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import unittest

import support
from cli import ROOT_ONLY, CommandLineTest, mounts_at, processes_with
from support import HANGS_S, MIB, SLOWNESS, run, wait_until
from write_support import assert_all_valid, read_file, write_file

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/recipes.md")
SMBD = shutil.which("smbd", path="/usr/sbin:" + os.environ["PATH"])
HAS_SAMBA = SMBD is not None or os.environ.get("XZFS_REQUIRE_RECIPES") == "1"
# Paths of the page that become paths in the test's folder.
PATHS = re.compile(r"(?<![\w*.])/(?=(?:srv|backup|var/log)\b)")


def blocks_under(heading):
    """The indented blocks of that part of the page, without their indentation."""
    with open(PAGE, encoding="utf-8") as page:
        [part] = [part for part in page.read().split("\n## ") if part.startswith(heading + "\n")]
    blocks, block = [], []
    for line in [*part.split("\n"), "end"]:
        if line.startswith("    ") or (block and not line):
            block.append(line[4:])
        elif block:
            blocks.append("\n".join(block).rstrip("\n") + "\n")
            block = []
    return blocks


class RecipeTest(CommandLineTest):
    heading = ""
    # Where the recipe mounts.
    mountpoint = "/srv/logs"

    def setUp(self):
        super().setUp()
        programs = os.path.join(self.folder, "bin")
        os.mkdir(programs)
        for name in ("XZFS_BINARY", "XZFSCTL_BINARY"):
            program = os.path.abspath(os.environ[name])
            os.symlink(program, os.path.join(programs, os.path.basename(program)))
        self.environment = dict(os.environ, PATH=f"{programs}:/usr/sbin:{os.environ['PATH']}",
                                HOME=self.folder, LC_ALL="C.UTF-8")
        self.mnt = self.here(self.mountpoint)
        os.makedirs(self.mnt)

    def here(self, text):
        """A text of the page, with paths in the test's folder."""
        return PATHS.sub(self.folder + "/", text)

    def block(self, start):
        """The block of the recipe that begins so."""
        [found] = [block for block in blocks_under(self.heading) if block.startswith(start)]
        return self.here(found)

    def shell(self, text, **more):
        return run(["sh", "-ec", text], env=self.environment, cwd=self.folder, **more).decode()

    # The mount.

    def mount(self, source, options):
        os.makedirs(source, exist_ok=True)
        self.shell(f"xzfs {source} {self.mnt} -o '{options}'")

    def mount_by_fstab(self):
        """Mounts as the recipe's line of fstab says, and commits at once what is closed, however small."""
        [line] = [self.here(block) for block in blocks_under(self.heading)
                  if len(block.split()) == 6 and block.split()[2] == "xzfs"]
        source, mountpoint, _, options, _, _ = line.split()
        self.assertEqual(mountpoint, self.mnt)
        self.mount(source, options + ",settle=0,preset=0,min_saving=0")

    def sync(self):
        self.shell(f"xzfsctl sync {self.mnt}")

    def stats(self):
        return json.loads(os.getxattr(self.mnt, "user.xzfs.stats"))

    def unmount_and_wait(self):
        self.shell(f"xzfsctl umount --wait {self.mnt}")
        self.assert_nothing_left()


def lines(first, count):
    return b"".join(b"line %d of the log\n" % number for number in range(first, first + count))


# Writes lines to the file until stdin ends, and says how many; opens the file again after SIGHUP.
LOGGER = """
import select, signal, sys
path, number, must_open = sys.argv[1], 0, True
def again(*_):
    global must_open
    must_open = True
signal.signal(signal.SIGHUP, again)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(20):
        if must_open:
            must_open = False
            log = open(path, "ab", buffering=0)
        log.write(b"line %d of the log\\n" % number)
        number += 1
print(number)
"""


@ROOT_ONLY
class Logrotate(RecipeTest):
    heading = "Logs that logrotate rotates"
    mountpoint = "/var/log/app"
    ROTATIONS = 5

    def setUp(self):
        super().setUp()
        self.log_file = os.path.join(self.mnt, "app.log")
        self.configuration = os.path.join(self.folder, "logrotate.conf")

    def configure(self, method, reopen):
        """Writes the page's configuration that has this word."""
        [text] = [self.here(block) for block in blocks_under(self.heading) if method in block]
        kill = "systemctl kill --signal=HUP app.service"
        self.assertEqual(kill in text, method == "create")
        write_file(self.configuration, text.replace(kill, reopen).encode())

    def rotate(self):
        self.shell(f"logrotate --force --state {self.folder}/state {self.configuration}")

    def wait_for_lines(self):
        wait_until(lambda: os.path.exists(self.log_file) and os.stat(self.log_file).st_size > 0,
                   "the logger writes to the new log")

    def assert_rotated(self, rotations, content):
        """The mount has all lines, in order, in plain files; each rotated one is stored as .xz."""
        names = [f"app.log.{number}" for number in range(rotations, 0, -1)]
        self.sync()
        self.assertEqual(sorted(os.listdir(self.mnt)), sorted(names + ["app.log"]))
        support.assert_same(self, b"".join(read_file(os.path.join(self.mnt, name))
                                           for name in names + ["app.log"]), content, "the logs")
        self.unmount_and_wait()
        stored = set(os.listdir(self.mnt)) - {"app.log", "app.log.xz"}
        self.assertEqual(stored, {name + ".xz" for name in names})
        assert_all_valid([os.path.join(self.mnt, name) for name in stored])

    def test_create_loses_no_line_of_a_logger_that_goes_on_and_compresses_each_log_once(self):
        self.mount_by_fstab()
        with subprocess.Popen([sys.executable, "-c", LOGGER, self.log_file], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as logger:
            self.configure("create", f"kill -HUP {logger.pid}")
            self.wait_for_lines()
            for _ in range(self.ROTATIONS):
                self.rotate()
                self.wait_for_lines()
            logger.stdin.close()
            count = int(logger.stdout.read())
        self.sync()
        self.assertEqual(self.stats()["commits"]["done"], self.ROTATIONS + 1, "the live log, too")
        self.assert_rotated(self.ROTATIONS, lines(0, count))
        self.assertEqual(os.stat(os.path.join(self.mnt, "app.log.1.xz")).st_mode & 0o777, 0o640)

    def test_a_log_that_nobody_has_open_is_compressed_too(self):
        self.mount_by_fstab()
        self.configure("create", "true")
        for number in range(2):
            write_file(self.log_file, lines(number * 4000, 4000))
            self.sync()
            self.unmount_and_wait()
            self.assertIn("app.log.xz", os.listdir(self.mnt))
            self.mount_by_fstab()
            self.rotate()
        self.assert_rotated(2, lines(0, 8000))

    def test_copytruncate_keeps_what_was_written_before_it(self):
        self.mount_by_fstab()
        self.configure("copytruncate", "")
        with open(self.log_file, "ab", buffering=0) as log:
            for number in range(self.ROTATIONS):
                log.write(lines(number * 4000, 4000))
                self.rotate()
                self.assertEqual(os.fstat(log.fileno()).st_size, 0)
            log.write(b"the last one\n")
        self.assert_rotated(self.ROTATIONS, lines(0, self.ROTATIONS * 4000) + b"the last one\n")


@ROOT_ONLY
class Journal(RecipeTest):
    heading = "Archives of the journal"
    mountpoint = "/srv/journal"
    REMOTE = shutil.which("systemd-journal-remote", path="/usr/lib/systemd:/lib/systemd")

    def make_archive(self, since_s):
        """A journal of 2000 messages under a name that journald gives to archives."""
        folder = self.here("/var/log/journal/") + "2" * 32
        os.makedirs(folder, exist_ok=True)
        exported = "".join(
            f"__REALTIME_TIMESTAMP={(since_s + number) * 1_000_000}\n"
            f"__MONOTONIC_TIMESTAMP={(number + 1) * 1_000_000}\n_BOOT_ID={'1' * 32}\n"
            f"_SYSTEMD_UNIT={'app' if number % 3 else 'other'}.service\nPRIORITY=6\n"
            f"MESSAGE=request {number} took {number * 7919 % 1000} ms\n\n" for number in range(2000))
        path = os.path.join(folder, f"system@{since_s:032x}-{1:016x}-{since_s * 1_000_000:016x}.journal")
        write_file(self.folder + "/exported", exported.encode())
        run([self.REMOTE, "--output", path, self.folder + "/exported"])
        return path

    def test_journalctl_reads_and_removes_archives_in_the_mount_as_it_does_elsewhere(self):
        [read] = [self.here(block) for block in blocks_under(self.heading) if "--unit" in block]
        [vacuum] = [self.here(block) for block in blocks_under(self.heading) if "--vacuum" in block]
        self.mount_by_fstab()
        archives = [self.make_archive(since_s) for since_s in (1_400_000_000, 1_900_000_000)]
        twin = os.path.join(self.folder, "twin")
        shutil.copytree(self.here("/var/log/journal"), twin)
        expected = self.shell(read.replace(self.mnt, twin))
        self.assertEqual(expected.count("\n"), 2 * 1333, "the messages of app.service")

        self.shell(self.block("mv "))
        self.assertFalse(os.path.exists(archives[0]))
        self.sync()
        self.assertEqual(self.shell(read), expected)
        for path in archives:
            name = os.path.basename(path)
            self.shell(f"journalctl --verify --file {self.mnt}/{name}")
            stored = os.stat(f"{self.mnt}.xz/{name}.xz")
            self.assertLess(stored.st_size, os.stat(f"{self.mnt}/{name}").st_size / 10)
        self.shell(vacuum)
        self.assertEqual(os.listdir(self.mnt), [os.path.basename(archives[1])])
        self.unmount_and_wait()


EDITOR = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.pwrite(fd, b"LINE", 0)
print(flush=True)
sys.stdin.read()
"""


class Backup(RecipeTest):
    """Backups of the source and of the mount, by the lines of the page that have the program's name."""
    heading = "Backups with borg or restic"

    def setUp(self):
        super().setUp()
        self.environment.update(BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
                                RESTIC_PASSWORD="secret")
        self.stored = self.mnt + ".xz"
        self.repository = self.here("/backup/") + self.program
        os.mkdir(self.here("/backup"))
        self.runs = 0
        self.mount(self.stored, "allow_other,settle=0,preset=0,block_size=256KiB")

    def back_up(self, what):
        """Runs the page's lines for `what`; returns what the repository has grown by."""
        [text] = [self.here(block) for block in blocks_under(self.heading)
                  if self.program + " " in block and (".xzfs" in block) == (what == self.stored)]
        # Two backups in a second would have one name.
        self.runs += 1
        before = self.repository_size()
        self.shell(text.replace("{now}", str(self.runs)))
        return self.repository_size() - before

    def repository_size(self):
        return sum(os.stat(os.path.join(folder, name)).st_size
                   for folder, _, names in os.walk(self.repository) for name in names)

    def restore(self, what):
        """The folder with what the last backup of `what` has."""
        target = os.path.join(self.folder, f"restored{self.runs}")
        os.mkdir(target)
        self.restore_to(target, what)
        return target + what

    def assert_backups_are_right(self):
        big = self.stored + "/big"
        write_file(big, base64.encodebytes(random.Random(6).randbytes(3 * MIB)))
        run(["xz", "-0", "-T0", "--block-size=256KiB", big])
        os.mkdir(self.mnt + "/folder")
        write_file(self.mnt + "/folder/small", lines(0, 1000))
        self.sync()
        write_file(self.mnt + "/folder/newest", b"newest\n")
        # Changes of a file are pending while a program has it open.
        with subprocess.Popen([sys.executable, "-c", EDITOR, self.mnt + "/folder/small"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as editor:
            self.assertEqual(editor.stdout.readline(), b"\n")
            self.assertTrue(os.listdir(self.stored + "/.xzfs"))
            whole = self.back_up(self.stored)
            self.assertGreater(whole, os.stat(self.stored + "/big.xz").st_size)
            editor.stdin.close()
        restored = self.restore(self.stored)
        self.assertEqual(sorted(os.listdir(restored)), ["big.xz", "folder"])
        self.assertEqual(read_file(restored + "/big.xz"), read_file(self.stored + "/big.xz"))
        self.assertEqual(support.xz_output(restored + "/folder/small.xz"), lines(0, 1000))

        self.assertGreater(self.back_up(self.mnt), whole // 2)
        self.sync()
        run(["diff", "-r", self.restore(self.mnt), self.mnt])

        # A line more in a compressed file. How much the backup stores is a matter of its chunks, of up to 8 MiB.
        with open(self.mnt + "/big", "ab") as big:
            big.write(b"one line more\n")
        self.back_up(self.stored)
        restored = self.restore(self.stored)
        with support.Mount(restored) as again:
            run(["diff", "-r", again.path, self.mnt])

        # Nothing changed since, except inode numbers and ctimes: nothing is read. (borg always reads the
        # file with the newest mtime.)
        write_file(self.mnt + "/newest", b"newest\n")
        self.back_up(self.mnt)
        self.unmount_and_wait()
        self.mount(self.stored, "allow_other")
        self.assertLess(self.back_up(self.mnt), 100_000)
        self.assertLess(self.stats()["decoded_bytes"], 1000)
        self.unmount_and_wait()


@ROOT_ONLY
class Borg(Backup):
    program = "borg"

    def restore_to(self, target, what):
        kind = "source" if what == self.stored else "mount"
        run(["borg", "extract", f"{self.repository}::{kind}-{self.runs}"], env=self.environment,
            cwd=target)

    def test_borg_restores_the_source_and_the_mount(self):
        self.shell(f"borg init --encryption=none {self.repository}")
        self.assert_backups_are_right()


@ROOT_ONLY
class Restic(Backup):
    program = "restic"

    def restore_to(self, target, what):
        self.shell(f"restic --repo {self.repository} restore latest --path {what} --target {target}")

    def test_restic_restores_the_source_and_the_mount(self):
        self.shell(f"restic --repo {self.repository} init")
        self.assert_backups_are_right()


@ROOT_ONLY
class Dataset(RecipeTest):
    heading = "A dataset that Python reads"
    mountpoint = "/srv/dataset"

    def test_records_are_read_at_random_and_few_blocks_are_decoded(self):
        rng = random.Random(3)
        expected = [b"%07d" % number + rng.randbytes(20) * 49 + b"end\n\0\0" for number in range(12_000)]
        self.assertEqual({len(record) for record in expected}, {993})
        expected = [record.ljust(1000, b"\0") for record in expected]
        for number in range(3):
            write_file(f"{self.mnt}/part{number}.bin",
                       b"".join(expected[number * 4000:(number + 1) * 4000]))
        self.shell(self.block("xzfsctl pack"))
        self.assertTrue(os.path.isfile(self.mnt + "/part0.bin"))
        program = {}
        exec(self.block("import "), program)  # pylint: disable=exec-used
        records = program["records"]
        try:
            self.assertEqual(len(records), len(expected))
            self.assertEqual(self.stats()["decoded_bytes"], 0)
            for number in (11_999, 1, 7000):
                self.assertEqual(records[number], expected[number])
            # The kernel reads ahead, too.
            self.assertLess(self.stats()["decoded_bytes"], 3 * 5 * (128 << 10))
            for number in rng.sample(range(len(expected)), 2000):
                self.assertEqual(records[number], expected[number])
            self.assertRaises(IndexError, records.__getitem__, len(expected))
        finally:
            for file in records.files:
                os.close(file)
        support.read_by_mmap(self, self.mnt + "/part1.bin",
                             support.Bytes(b"".join(expected[4000:8000])), "a part")
        self.unmount_and_wait()
        self.assertEqual(sorted(os.listdir(self.mnt)), [f"part{number}.bin.xz" for number in range(3)])


@ROOT_ONLY
class Automount(RecipeTest):
    heading = "Mount on first use (systemd automount)"

    def test_systemd_makes_valid_units_of_the_line_and_xzfs_takes_its_options(self):
        # The units are named after the path, so the page's own paths are used here.
        [line] = [block for block in blocks_under(self.heading) if len(block.split()) == 6]
        table = os.path.join(self.folder, "fstab")
        write_file(table, line.encode())
        generator = shutil.which("systemd-fstab-generator", path="/usr/lib/systemd/system-generators:"
                                                                 "/lib/systemd/system-generators")
        units = os.path.join(self.folder, "units")
        for name in ("", "early", "late"):
            os.makedirs(os.path.join(units, name))
        run([generator, units, units + "/early", units + "/late"],
            env=dict(self.environment, SYSTEMD_FSTAB=table, SYSTEMD_PROC_CMDLINE="ro"))
        automount = read_file(units + "/srv-logs.automount").decode()
        self.assertIn("Where=/srv/logs\nTimeoutIdleSec=10min\n", automount)
        self.assertIn("Type=xzfs\n", read_file(units + "/srv-logs.mount").decode())
        started = self.block("systemctl daemon-reload")
        self.assertIn("start srv-logs.automount\n", started)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", units + "/srv-logs.automount",
                               units + "/srv-logs.mount"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False,
                              timeout=HANGS_S * SLOWNESS)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.mount_by_fstab()
        self.unmount_and_wait()


GLOBAL = """
[global]
    server role = standalone server
    private dir = {0}
    lock directory = {0}
    state directory = {0}
    cache directory = {0}
    pid directory = {0}
    ncalrpc dir = {0}/rpc
    log file = {0}/log
    passdb backend = tdbsam
    disable spoolss = yes
    load printers = no
"""


@ROOT_ONLY
class Samba(RecipeTest):
    heading = "A share for Windows and macOS (Samba)"

    def setUp(self):
        super().setUp()
        state = os.path.join(self.folder, "samba")
        os.mkdir(state)
        self.configuration = os.path.join(self.folder, "smb.conf")
        write_file(self.configuration, (GLOBAL.format(state) + self.block("[logs]")).encode())
        self.shell(f"printf 'secret\\nsecret\\n' | smbpasswd -c {self.configuration} -s -a root")
        self.mount(self.mnt + ".xz", "allow_other,settle=0")

    def client(self, commands):
        """Runs commands of smbclient. smbd serves this one connection, as inetd would start it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(HANGS_S * SLOWNESS)
            client = subprocess.Popen(
                ["smbclient", "-s", self.configuration, "//127.0.0.1/logs", "-U", "root%secret",
                 "-p", str(listener.getsockname()[1]), "-c", commands], cwd=self.folder,
                env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
            self.addCleanup(client.kill)
            connection, _ = listener.accept()
        with connection:
            # At its end smbd sends its process group a SIGTERM.
            server = subprocess.Popen([SMBD or "smbd", "-s", self.configuration], stdin=connection,
                                      stdout=connection, start_new_session=True)
            self.addCleanup(server.kill)
        out, _ = client.communicate(timeout=HANGS_S * SLOWNESS)
        server.wait(HANGS_S * SLOWNESS)
        self.assertEqual(client.returncode, 0, out)
        self.assertNotIn("NT_STATUS", out)
        return out

    def test_clients_put_get_rename_hide_and_delete_files(self):
        content = base64.encodebytes(random.Random(4).randbytes(300_000))
        write_file(self.folder + "/local", content)
        self.client("put local one; put local two; setmode one +h; mkdir folder")
        self.sync()
        self.assertTrue(os.path.exists(self.mnt + ".xz/one.xz"))
        listed = self.client("dir; rename one folder\\three; get folder\\three fetched; del two; dir;"
                             "cd folder; dir")
        self.assertRegex(listed, rf"\bone +AH +{len(content)} ")
        self.assertRegex(listed, rf"\bthree +AH +{len(content)} ")
        self.assertNotIn(".xz", listed)
        support.assert_same(self, read_file(self.folder + "/fetched"), content, "what came back")
        self.assertEqual(sorted(os.listdir(self.mnt)), ["folder"])
        # A client writes over a compressed file.
        write_file(self.folder + "/local", content[:100_000])
        self.client("setmode folder\\three -h; put local folder\\three")
        self.sync()
        self.assertEqual(support.xz_output(self.mnt + ".xz/folder/three.xz"), content[:100_000])
        self.unmount_and_wait()


@ROOT_ONLY
class Leases(RecipeTest):
    heading = Samba.heading

    def test_a_lease_on_the_mount_is_broken_by_whoever_opens_the_file_in_it(self):
        """What `kernel oplocks = yes` needs. The child has no other way to end than the signal."""
        self.assertIn("kernel oplocks = yes\n", self.block("[logs]"))
        self.mount(self.mnt + ".xz", "allow_other,settle=0")
        path = self.mnt + "/file"
        write_file(path, lines(0, 1000))
        self.sync()
        holder = subprocess.Popen([sys.executable, "-c", """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(flush=True)
signal.sigwait([signal.SIGIO])
os.pwrite(fd, b"LINE", 0)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
""", path], stdout=subprocess.PIPE)
        self.addCleanup(holder.kill)
        with holder.stdout as told:
            self.assertEqual(told.readline(), b"\n")
        # The open waits until the holder has written what it kept.
        self.assertEqual(read_file(path)[:6], b"LINE 0")
        self.assertEqual(holder.wait(HANGS_S * SLOWNESS), 0)
        self.unmount_and_wait()


@ROOT_ONLY
class Container(RecipeTest):
    """A mount namespace is to mounts what a container is."""
    heading = "In a container (Docker, Podman)"

    def setUp(self):
        super().setUp()
        os.makedirs(self.here("/srv/logs.xz"))
        self.host = self.here("/srv")
        run(["mount", "--bind", self.host, self.host])
        run(["mount", "--make-shared", self.host])
        self.inside = os.path.join(self.folder, "container")
        os.mkdir(self.inside)

    def start_container(self, propagation):
        """Binds the folder into a namespace as Docker does; returns how to run a program in it."""
        holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-ec",
             'mount --rbind "$1" "$2" && mount --make-"$3" "$2" && echo && exec cat', "sh", self.host,
             self.inside, propagation], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def end():
            holder.stdin.close()
            holder.wait(HANGS_S * SLOWNESS)
            holder.stdout.close()
        self.addCleanup(end)
        self.assertEqual(holder.stdout.readline(), b"\n")
        return holder, ["nsenter", "--mount", "--target", str(holder.pid),
                        "setpriv", "--reuid=65534", "--clear-groups"]

    def test_with_the_propagation_of_the_page_a_container_sees_each_mount_of_the_host(self):
        docker = re.search(r"-v (\S+):(\S+):(\S+) ", self.block("docker run"))
        self.assertEqual(docker[1], self.host)
        self.assertIn(f"propagation: {docker[3]}\n", self.block("volumes:"))
        _, enter = self.start_container(docker[3])
        for number in range(2):
            content = lines(number, 1000)
            self.mount(self.mnt + ".xz", "allow_other,settle=0")
            write_file(self.mnt + "/file", content)
            self.sync()
            self.assertEqual(run([*enter, "cat", self.inside + "/logs/file"]), content)
            self.unmount_and_wait()
            self.assertEqual(run([*enter, "ls", self.inside + "/logs"]), b"")

    def test_a_private_copy_keeps_the_daemon_until_the_container_ends(self):
        self.mount(self.mnt + ".xz", "allow_other,settle=0")
        write_file(self.mnt + "/file", lines(0, 1000))
        self.sync()
        holder, enter = self.start_container("rprivate")
        # The namespace's own copy of the host's mount is not what Docker leaves in a container.
        run([*enter[:4], "umount", self.mnt])
        waiting = subprocess.Popen(["xzfsctl", "umount", "--wait", self.mnt], env=self.environment,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(waiting.kill)
        with waiting.stderr as told:
            self.assertIn(f"process {holder.pid} ", told.readline())
        self.assertEqual(mounts_at(self.mnt), [])
        self.assertTrue(processes_with(self.mnt))
        self.assertEqual(run([*enter, "cat", self.inside + "/logs/file"]), lines(0, 1000))
        holder.stdin.close()
        self.assertEqual(waiting.wait(HANGS_S * SLOWNESS), 0)
        wait_until(lambda: not processes_with(self.mnt), "the daemon ends")


if not HAS_SAMBA:
    del Samba.test_clients_put_get_rename_hide_and_delete_files
    print("smbd is not installed, so Samba is not tested", file=sys.stderr)

if __name__ == "__main__":
    support.main()
