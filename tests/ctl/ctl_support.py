"""Runs xzfsctl. Environment: XZFSCTL_BINARY, and the variables of tests/mount/support.py."""

import json
import os
import shutil
import subprocess
import unittest

import json_schema
import support

CTL = os.environ.get("XZFSCTL_BINARY", "")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def environment(**more):
    """This process's environment, without the variables that change what xzfsctl does."""
    own = ("XZFS_DEFAULTS", "XZFS_OPT", "XZ_DEFAULTS", "XZ_OPT")
    return {**{key: value for key, value in os.environ.items() if key not in own}, **more}


class CtlTest(unittest.TestCase):
    """Gives each test `self.folder`, empty."""

    def setUp(self):
        self.folder = self.enterContext(support.temp_dir("xzfsctl-"))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def ctl(self, *words, code=0, text=True, deadline_s=60, as_nobody=False, **env):
        """Runs xzfsctl and checks the exit code; returns (stdout, stderr). `as_nobody`: needs root."""
        before, program = (AS_NOBODY, self._open_to_all()) if as_nobody else ((), CTL)
        done = subprocess.run([*before, program, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=deadline_s * support.SLOWNESS,
                              check=False, cwd=self.folder, env=environment(**env))
        out, err = done.stdout, done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, f"{words}: {err}")
        for line in err.splitlines():
            self.assertTrue(line.startswith("xzfsctl: "), f"{words}: a stray line: {line!r}")
        return out.decode(errors="replace") if text else out, err

    def _open_to_all(self):
        """A copy of the program where every user can run it."""
        return shutil.copy(CTL, self.enterContext(support.temp_dir("xzfsctl-bin-")))

    def json(self, *words, code=0, **more):
        """The output of a command with --json, which is as docs/json.schema.json says."""
        document = json.loads(self.ctl(*words, "--json", code=code, **more)[0])
        self.assertEqual(document["command"], words[0])
        json_schema.check_document(document)
        return document


class MountCtlTest(CtlTest):
    """Also gives each test `self.source` to mount; skips the test if this machine can't mount."""

    def setUp(self):
        super().setUp()
        refusal = support.fuse_refusal()
        if refusal is not None:
            if support.REQUIRE_MOUNT:
                self.fail(f"XZFS_REQUIRE_MOUNT=1, but {refusal}")
            self.skipTest(refusal)
        self.source = self.enterContext(support.temp_dir("xzfs-source-"))


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
