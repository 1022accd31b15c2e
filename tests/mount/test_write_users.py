"""A mount by root with allow_other gives every user their own rights and ownership.

Each test runs on the mount and also on a plain directory, which shows that it expects what Linux does.
"""

import json
import os
import stat
import struct
import sys
import unittest

import support
import write_support
import xzformat
from write_support import STATES, patched, read_file, stored_path, write_at, write_file

ALICE, BOB, TEAM = 1001, 1002, 3003
CONTENT = xzformat.text(1, 100_000)

# Becomes a user, runs one piece of code in the folder that it is given and prints what `out` became.
# It changes its user itself, because that user may not be able to reach the interpreter.
PROGRAM = """
import errno, json, os, sys
user = json.loads(sys.argv[3])
os.chdir(sys.argv[1])
os.umask(user["umask"])
os.setgroups(user["groups"])
os.setresgid(user["gid"], user["gid"], user["gid"])
os.setresuid(user["uid"], user["uid"], user["uid"])
out = []
def attempt(act, *arguments, **more):
    try:
        out.append(act(*arguments, **more))
    except OSError as error:
        out.append(errno.errorcode[error.errno])
def write(path, content, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        return os.write(fd, content)
    finally:
        os.close(fd)
def read(path):
    with open(path, "rb") as file:
        return len(file.read())
exec(sys.argv[2])
print(json.dumps(out))
"""


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Calls:
    options = "block_size=64KiB,preset=0,allow_other,acl,suid"

    def as_user(self, uid, code, groups=(), umask=0o022, gid=None):
        """What `attempt` returned, in order: results, or the names of errors."""
        user = {"uid": uid, "gid": uid if gid is None else gid, "groups": list(groups),
                "umask": umask}
        return json.loads(support.run([sys.executable, "-I", "-S", "-c", PROGRAM, self.root, code,
                                       json.dumps(user)]))

    def owner_and_mode(self, name):
        st = os.lstat(self.path(name))
        return st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)

    def for_each_state(self, mode, uid=ALICE, gid=ALICE):
        """A file of Alice's in each state, with `mode`."""
        for state in STATES:
            name = f"of-{state}"
            path = self.store(name, CONTENT, state)
            os.chown(path, uid, gid)
            os.chmod(path, mode)
            self.assert_state(name, state)
            yield name, path, state

    def test_setting_an_acl_outside_the_group_clears_the_set_group_id_bit(self):
        acl = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", tag, bits, who) for tag, bits, who in
            ((1, 7, 2**32 - 1), (2, 4, 1), (4, 7, 2**32 - 1), (16, 7, 2**32 - 1),
             (32, 7, 2**32 - 1)))
        code = f"os.setxattr(NAME, 'system.posix_acl_access', {acl!r})"
        for name, path, _ in self.for_each_state(0o2777, gid=0):
            self.as_user(ALICE, code.replace("NAME", repr(name)))
            self.assertEqual(os.stat(path).st_mode & 0o7777, 0o777, name)
            os.unlink(path)
        for name, path, _ in self.for_each_state(0o2777):  # Alice's own group
            self.as_user(ALICE, code.replace("NAME", repr(name)))
            self.assertEqual(os.stat(path).st_mode & 0o7777, 0o2777, name)

    def test_a_user_owns_the_files_that_they_make(self):
        os.chmod(self.root, 0o777)
        out = self.as_user(ALICE, """
fd = os.open("file", os.O_CREAT | os.O_WRONLY, 0o666)
os.write(fd, b"content " * 1000)
os.close(fd)
os.mkdir("dir", 0o777)
os.symlink("target", "link")
os.symlink("target.xz", "link.xz")
os.mkfifo("fifo", 0o666)
os.mknod("node", 0o100666)
fd = os.open("dir/private", os.O_CREAT | os.O_WRONLY, 0o777)
os.write(fd, b"private " * 1000)
attempt(os.mknod, "device", 0o020666, os.makedev(1, 3))
""", umask=0o027)
        self.assertEqual(out, ["EPERM"])
        wanted = {"file": 0o640, "dir": 0o750, "link": 0o777, "link.xz": 0o777, "fifo": 0o640,
                  "node": 0o640, "dir/private": 0o750}
        for name, mode in wanted.items():
            self.assertEqual(self.owner_and_mode(name), (ALICE, ALICE, mode), name)
        self.sync()
        for name, mode in wanted.items():
            self.assertEqual(self.owner_and_mode(name), (ALICE, ALICE, mode), name)
        self.assert_committed("dir/private", b"private " * 1000)
        if self.root != self.source:
            stored = os.stat(stored_path(self.source, "dir/private"))
            self.assertEqual((stored.st_uid, stored.st_gid, stat.S_IMODE(stored.st_mode)),
                             (ALICE, ALICE, 0o750))

    def test_an_edit_by_another_user_changes_no_owner(self):
        for name, path, state in self.for_each_state(0o666):
            self.assertEqual(self.as_user(BOB, f"attempt(write, {name!r}, b'by Bob')"), [6])
            self.assertEqual(self.owner_and_mode(name), (ALICE, ALICE, 0o666))
            self.assert_committed(name, patched(CONTENT, 0, b"by Bob"), state)
            self.assertEqual(self.owner_and_mode(name), (ALICE, ALICE, 0o666))

    def test_a_setgid_directory_hands_its_group_down(self):
        os.mkdir(self.path("shared"))
        os.chown(self.path("shared"), ALICE, TEAM)
        os.chmod(self.path("shared"), 0o2777)
        self.as_user(BOB, """
os.chdir("shared")
fd = os.open("file", os.O_CREAT | os.O_WRONLY, 0o666)
os.write(fd, b"content")
os.mkdir("dir")
os.symlink("x", "link")
os.mkfifo("fifo")
""")
        self.assertEqual(self.owner_and_mode("shared/file"), (BOB, TEAM, 0o644))
        self.assertEqual(self.owner_and_mode("shared/dir"), (BOB, TEAM, 0o2755))
        for name in ("link", "fifo"):
            self.assertEqual(self.owner_and_mode("shared/" + name)[:2], (BOB, TEAM))
        self.assert_committed("shared/file", b"content")
        self.assertEqual(self.owner_and_mode("shared/file"), (BOB, TEAM, 0o644))

    def test_a_user_outside_the_group_can_not_make_setgid_files(self):
        os.mkdir(self.path("shared"))
        os.chown(self.path("shared"), ALICE, TEAM)
        os.chmod(self.path("shared"), 0o2777)
        self.as_user(BOB, """
os.close(os.open("shared/exec", os.O_CREAT | os.O_WRONLY, 0o2775))
""", umask=0)
        self.assertEqual(self.owner_and_mode("shared/exec"), (BOB, TEAM, 0o775))
        self.as_user(BOB, """
os.close(os.open("shared/member", os.O_CREAT | os.O_WRONLY, 0o2775))
""", umask=0, groups=[TEAM])
        self.assertEqual(self.owner_and_mode("shared/member"), (BOB, TEAM, 0o2775))

    def test_users_can_not_read_or_write_private_files_of_others(self):
        for name, _, state in self.for_each_state(0o640):
            self.assertEqual(self.as_user(BOB, f"""
attempt(os.open, {name!r}, os.O_RDONLY)
attempt(os.open, {name!r}, os.O_WRONLY)
attempt(os.open, {name!r}, os.O_WRONLY | os.O_TRUNC)
attempt(os.truncate, {name!r}, 0)
attempt(os.chmod, {name!r}, 0o666)
attempt(os.chown, {name!r}, {BOB}, -1)
attempt(os.utime, {name!r})
attempt(os.utime, {name!r}, ns=(1, 2))
attempt(os.setxattr, {name!r}, "user.a", b"b")
attempt(os.unlink, {name!r})
attempt(os.rename, {name!r}, "mine")
attempt(os.open, "new", os.O_CREAT | os.O_WRONLY)
attempt(os.mkdir, "new")
"""), ["EACCES"] * 4 + ["EPERM"] * 2 + ["EACCES", "EPERM"] + ["EACCES"] * 5, state)
            self.assert_content(name, CONTENT)
            # Members of its group may read it, by their primary or another group.
            for more in ({"gid": ALICE}, {"groups": [TEAM, ALICE]}):
                self.assertEqual(self.as_user(BOB, f"""
attempt(read, {name!r})
attempt(os.open, {name!r}, os.O_WRONLY)
""", **more), [len(CONTENT), "EACCES"], state)
            os.unlink(self.path(name))

    def test_an_owner_may_do_what_owners_may(self):
        for name, path, state in self.for_each_state(0o600):
            self.assertEqual(self.as_user(ALICE, f"""
attempt(write, {name!r}, b"mine")
attempt(os.chmod, {name!r}, 0o400)
attempt(os.open, {name!r}, os.O_WRONLY)
attempt(os.chmod, {name!r}, 0o644)
attempt(os.utime, {name!r}, ns=(10**18, 10**18 + 1))
attempt(os.setxattr, {name!r}, "user.a", b"b")
attempt(os.setxattr, {name!r}, "trusted.a", b"b")
attempt(os.chown, {name!r}, {BOB}, -1)
attempt(os.chown, {name!r}, -1, {TEAM})
"""), [4, None, "EACCES", None, None, None, "EPERM", "EPERM", "EPERM"], state)
            self.assertEqual(self.as_user(ALICE, f"attempt(os.chown, {name!r}, -1, {TEAM})",
                                          groups=[TEAM]), [None])
            self.assertEqual(self.owner_and_mode(name), (ALICE, TEAM, 0o644))
            self.assertEqual(os.stat(path).st_mtime_ns, 10**18 + 1)
            self.assert_committed(name, patched(CONTENT, 0, b"mine"))
            self.assertEqual(self.owner_and_mode(name), (ALICE, TEAM, 0o644))

    def test_in_a_sticky_directory_only_owners_remove_their_files(self):
        os.mkdir(self.path("tmp"))
        os.chmod(self.path("tmp"), 0o1777)
        for state in STATES:
            name = f"tmp/{state}"
            path = self.store(name, CONTENT, state)
            os.chown(path, ALICE, ALICE)
            os.chmod(path, 0o666)
            self.as_user(BOB, "open('tmp/bobs', 'w').close()")
            self.assertEqual(self.as_user(BOB, f"""
attempt(os.unlink, {name!r})
attempt(os.rename, {name!r}, "tmp/other")
attempt(os.rename, "tmp/bobs", {name!r})
attempt(write, {name!r}, b"writing is another matter")
"""), ["EPERM"] * 3 + [25], state)
            self.assertEqual(self.as_user(ALICE, f"""
attempt(os.rename, {name!r}, "tmp/moved")
attempt(os.unlink, "tmp/moved")
attempt(os.unlink, "tmp/bobs")
"""), [None, None, "EPERM"])
            self.assertEqual(os.listdir(self.path("tmp")), ["bobs"])

    def test_set_id_bits_are_cleared_when_another_user_writes(self):
        acts = {"write": "attempt(write, {0!r}, b'x')", "truncate": "attempt(os.truncate, {0!r}, 5)",
                "o_trunc": "attempt(write, {0!r}, b'x', os.O_TRUNC)"}
        for act, code in acts.items():
            for name, path, state in self.for_each_state(0o666):
                os.chmod(path, 0o6777)
                self.assertEqual(self.owner_and_mode(name)[2], 0o6777)
                self.as_user(BOB, code.format(name))
                self.assertEqual(self.owner_and_mode(name), (ALICE, ALICE, 0o777), (act, state))
                os.unlink(path)

    def test_a_capability_is_cleared_when_the_file_is_written(self):
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        for name, path, state in self.for_each_state(0o666):
            os.setxattr(path, "security.capability", capability)
            self.assertEqual(os.getxattr(path, "security.capability"), capability)
            self.as_user(BOB, f"attempt(write, {name!r}, b'x')")
            self.assertNotIn("security.capability", os.listxattr(path), state)

    def test_an_acl_lets_named_users_in(self):
        for name, path, state in self.for_each_state(0o600):
            code = f"attempt(read, {name!r})\nattempt(write, {name!r}, b'x')"
            self.assertEqual(self.as_user(BOB, code), ["EACCES", "EACCES"])
            support.run(["setfacl", "-m", f"u:{BOB}:rw", path])
            self.assertEqual(self.as_user(BOB, code), [len(CONTENT), 1], state)
            self.sync()
            self.assertEqual(self.as_user(BOB, code), [len(CONTENT), 1], state)
            self.assertEqual(self.as_user(BOB + 1, code), ["EACCES", "EACCES"])

    def test_a_private_directory_keeps_strangers_out_of_everything_below(self):
        os.makedirs(self.path("private/sub"))
        self.store("private/sub/file", CONTENT, "compressed")
        os.chmod(self.path("private/sub/file"), 0o666)
        os.chown(self.path("private"), ALICE, ALICE)
        os.chmod(self.path("private"), 0o700)
        self.assertEqual(self.as_user(BOB, """
attempt(os.listdir, "private")
attempt(read, "private/sub/file")
attempt(os.stat, "private/sub/file")
attempt(os.open, "private/new", os.O_CREAT | os.O_WRONLY)
"""), ["EACCES"] * 4)
        self.assertEqual(self.as_user(ALICE, "attempt(read, 'private/sub/file')"), [len(CONTENT)])

    def test_a_writer_who_lost_the_right_keeps_the_handle(self):
        for name, path, state in self.for_each_state(0o666):
            fd = os.open(path, os.O_RDWR)
            try:
                self.assertEqual(self.as_user(BOB, f"""
fd = os.open({name!r}, os.O_RDWR)
os.pwrite(fd, b"first", 0)
attempt(lambda: os.pwrite(fd, b"second", 5))
attempt(lambda: len(os.pread(fd, 200_000, 0)))
"""), [6, len(CONTENT)])
                os.chmod(path, 0)
                os.chown(path, 0, 0)
                os.pwrite(fd, b"third", 11)
            finally:
                os.close(fd)
            self.assert_committed(name, patched(CONTENT, 0, b"firstsecondthird"), state)


class OnTheMount(Calls, write_support.OnMount):

    def test_the_daemon_acts_for_one_user_at_a_time(self):
        """The daemon makes files as their owner, and gets its own rights back after that."""
        os.chmod(self.root, 0o777)
        self.as_user(ALICE, "open('alices', 'w').write('a' * 10_000)")
        write_file(self.path("roots"), b"root " * 1000, 0o600)
        self.sync()
        self.assertEqual(self.owner_and_mode("alices"), (ALICE, ALICE, 0o644))
        self.assertEqual(self.owner_and_mode("roots"), (0, 0, 0o600))
        self.assertEqual(self.as_user(ALICE, "attempt(read, 'roots')"), ["EACCES"])
        write_at(self.path("alices"), 0, b"root may")
        self.assertEqual(read_file(self.path("alices"))[:8], b"root may")
        self.sync()
        self.assertEqual(self.owner_and_mode("alices"), (ALICE, ALICE, 0o644))

    def test_overlays_give_nobody_more_rights(self):
        """The pending changes of a private file are as private as the file."""
        for state in ("plain", "edited"):
            path = self.store(f"secret-{state}", CONTENT, state)
            os.chmod(path, 0o600)
        os.chmod(self.source, 0o755)
        out = self.as_user(BOB, f"""
for root, folders, files in os.walk({self.source!r}):
    for name in files:
        path = os.path.join(root, name)
        try:
            if os.path.getsize(path):
                open(path, "rb").read()
                out.append(path)
        except OSError:
            pass
attempt(os.listdir, {self.source!r} + "/.xzfs")
""")
        self.assertEqual(out, ["EACCES"])


class OnAPlainDirectory(Calls, write_support.OnPlainDirectory):
    pass


if __name__ == "__main__":
    support.main()
