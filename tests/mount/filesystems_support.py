"""What tests of sources with several file systems share; needs root."""

import contextlib
import os
import subprocess

import support
from support import run
from test_write_disk import unmount
from write_support import WriteMount, read_file

OPTIONS = "preset=0,settle=1000"


def root_refusal():
    return None if os.geteuid() == 0 else "needs root"


def mount_at(stack, what, path, *options):
    """Mounts with mount(8) until the stack ends."""
    run(["mount", *options, what, path])
    stack.callback(unmount, path)
    return path


def names_below(path):
    """What find says, without errors."""
    found = subprocess.run(["find", "."], cwd=path, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, check=False)
    if found.stderr or found.returncode:
        raise AssertionError(found.stderr)
    return sorted(found.stdout.decode().split())


def tree_of(path):
    """{name: content} of the regular files."""
    return {os.path.relpath(os.path.join(folder, name), path):
            read_file(os.path.join(folder, name))
            for folder, _, names in os.walk(path) for name in names}


class Case(support.MountTest):
    """A test with an exit stack, which unmounts in the right order."""

    def setUp(self):
        super().setUp()
        if root_refusal():
            self.skipTest(root_refusal())
        self.stack = self.enterContext(contextlib.ExitStack())

    def mount(self, source, options=OPTIONS, **more):
        return self.stack.enter_context(WriteMount(source, options, **more))
