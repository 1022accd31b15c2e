"""A mount namespace of one's own without the mounts of other tests.

    own_mounts.py [KEEP...] -- COMMAND...

runs the command in one. A namespace begins with a copy of all mounts that there are, and a mount of
xzfs lives until its last copy is gone: the other tests' daemons would not end when they are
unmounted.
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


def unshare_mounts(keep=()):
    """What this process mounts from now on nobody else sees. Of the mounts in the folder of temporary
    files it has those at the paths `keep` and below."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with open("/proc/self/mountinfo", "rb") as table:
        paths = [line.split()[4] for line in table]
    kept = tuple(os.fsencode(path) + b"/" for path in keep)
    for path in reversed(paths):
        path = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), path)
        if path.startswith(os.fsencode(tempfile.gettempdir()) + b"/") and not (
                path + b"/").startswith(kept or b"//"):
            _libc.umount2(path, MNT_DETACH)


def in_own_namespace(*command, keep=()):
    """The argv that runs `command` there."""
    return [sys.executable, "-B", os.path.abspath(__file__), *keep, "--", *command]


if __name__ == "__main__":
    end = sys.argv.index("--")
    unshare_mounts(sys.argv[1:end])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
