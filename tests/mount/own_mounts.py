"""Runs a command in its own mount namespace, without the mounts of other tests.

    own_mounts.py [KEEP...] -- COMMAND...

A new namespace begins with a copy of every mount, and the daemon of a mount of xzfs runs until the last
copy of the mount is gone. With such copies, the daemons of other tests would not end when those tests
unmount.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile

CLONE_NEWNS = 0x00020000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _unescaped(path):
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), path)


def unshare_mounts(keep=()):
    """From now on no other process sees what this process mounts. Of the mounts of xzfs, and of those in
    the folder of temporary files, it keeps those that paths in `keep` need, and those below them."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with open("/proc/self/mountinfo", "rb") as table:
        mounts = [line.split() for line in table]
    temporary = os.fsencode(tempfile.gettempdir()) + b"/"
    kept = [os.fsencode(path) + b"/" for path in keep]
    for mount in reversed(mounts):
        path = _unescaped(mount[4])
        is_others = path.startswith(temporary) or mount[mount.index(b"-") + 1] == b"fuse.xzfs"
        is_kept = any((path + b"/").startswith(one) or one.startswith(path + b"/") for one in kept)
        if is_others and not is_kept:
            _libc.umount2(path, MNT_DETACH)


def in_own_namespace(*command, keep=()):
    """The argv that runs `command` in such a namespace."""
    return [sys.executable, "-B", os.path.abspath(__file__), *keep, "--", *command]


if __name__ == "__main__":
    end = sys.argv.index("--")
    unshare_mounts(sys.argv[1:end])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
