"""A second program in the source, as an operation of the model: the mount must show what it does.

It works on stored files, not through the mount: it appends to plain files, compresses and unpacks
with xz, adds a Stream to a compressed file, removes files, and replaces a file by a new one. Commits
of the mount run at the same time. It leaves files alone that have pending changes or several names:
a second program can't change those reliably (docs/guarantees.md, "What to know before").
"""

import json
import lzma
import os
import stat
import subprocess

import write_support
from write_model import Model


class OutsiderModel(Model):
    """The mount's options have attr_timeout=0 and entry_timeout=0: the kernel asks each time."""

    OPERATIONS = Model.OPERATIONS + ("outsider",) * 6

    def __init__(self, test, rng, mounted, oracle, largest, outside):
        """`outside`: a directory for its own files, on the source's file system."""
        super().__init__(test, rng, mounted, oracle, largest)
        self.outside = outside

    COMMITS_MAY_FAIL = True  # of a file that the second program has taken away

    def settle(self):
        """A sync reports such a commit only once."""
        try:
            super().settle()
        except write_support.SyncFailed:
            super().settle()

    def outsider(self):
        name = self.name()
        path = os.path.join(self.oracle, name)
        try:
            st = os.lstat(path)
        except OSError:
            return
        if not stat.S_ISREG(st.st_mode) or st.st_nlink != 1 or name.endswith((".xz", ".txz")):
            return
        self.close_all()
        info = json.loads(os.getxattr(os.path.join(self.mounted(), name), "user.xzfs.info"))
        # A commit may compress it at any moment, but only this process edits it.
        if info["state"] == "edited":
            return
        acts = ("append", "remove") + (("replace",) if info["state"] == "compressed" else ())
        # xz does not copy extended attributes, and leaves set-id files alone.
        if not os.listxattr(path) and not st.st_mode & (stat.S_ISUID | stat.S_ISGID):
            acts += ("xz", "unxz") * 2
        act = self.rng.choice(acts)
        self.log.append(("outsider", act, name, info["state"]))
        done = getattr(self, "_" + act)(os.path.join(self.test.source, name), path)
        self.log.append(("->", done))
        self.counts[f"outsider {act}" + ("" if done else " not")] += 1

    # Each function changes the stored file `stored`, or `stored` with `.xz`, and `path` in the oracle.
    # It returns whether it changed them.

    def _append(self, stored, path):
        more = self.content()[:5000] or b"more"
        for name, content in ((stored, more), (stored + ".xz", lzma.compress(more, preset=0))):
            try:
                fd = os.open(name, os.O_WRONLY | os.O_APPEND)
            except FileNotFoundError:
                continue
            try:
                # A commit may have taken its name while the open waited for the lease.
                if os.fstat(fd).st_nlink == 0:
                    return False
                write_support.write_all(fd, content)
                self.test.assertEqual(os.fstat(fd).st_nlink, 1, "it is open for writing")
            finally:
                os.close(fd)
            with open(path, "ab") as same:
                same.write(more)
            return True
        return False

    def _replace(self, stored, path):
        content = self.content()
        for packed, target in ((lzma.compress(content, preset=0), stored + ".xz"), (content, path)):
            fresh = os.path.join(self.outside, "fresh")
            write_support.write_file(fresh, packed)
            os.rename(fresh, target)
        return True

    def _remove(self, stored, path):
        """A commit of it that is running removes its new file again; this waits for that."""
        for name in (stored, stored + ".xz"):
            try:
                os.unlink(name)
            except FileNotFoundError:
                continue
            os.unlink(path)
            self.settle()
            return True
        return False

    def _xz(self, stored, _):
        return self._run("xz", "-0", stored)

    def _unxz(self, stored, _):
        return self._run("unxz", stored + ".xz")

    @staticmethod
    def _run(*argv):
        """xz fails if a commit was faster."""
        return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
