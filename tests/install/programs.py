"""The programs' own help: the oracle for man pages and completions."""

import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAMS = {os.path.basename(path): os.path.abspath(path)
            for path in filter(None, os.environ.get("XZFS_PROGRAMS", "").split(":"))}
if "xzfs" not in PROGRAMS:
    sys.exit("XZFS_PROGRAMS names the built programs, as ctest sets it")


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **more)


def help_of(program, *command):
    done = run(PROGRAMS[program], *command, "--help")
    assert done.returncode == 0 and done.stderr == "", (program, command, done)
    return done.stdout


def mount_options():
    """The options of -o, as `xzfs -h` lists them: {name: placeholder or ""}."""
    listed = help_of("xzfs").split("\nOptions:\n")[1].split("\nSIZE")[0]
    found = re.findall(r"^  ([a-z_]+)(?:=([A-Z]+))?(?: |$)", listed, re.MULTILINE)
    assert len(found) > 10, listed
    return dict(found)


def letters():
    """The letters of xzfs."""
    found = re.findall(r"^  (-[A-Za-z])  ", help_of("xzfs"), re.MULTILINE)
    assert len(found) > 4
    return set(found)


def commands():
    """The commands of xzfsctl."""
    listed = help_of("xzfsctl").split("\nCommands:\n")[1].split("\n\n")[0]
    found = re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)
    assert found, listed
    return found


def options_of(command):
    """The options of a command: {"-v", "--verbose", ...}."""
    listed = help_of("xzfsctl", command)
    found = re.findall(r"^  (-\S+)", listed, re.MULTILINE)
    assert found, command
    names = {name for names in found for name in names.split(",")}
    # One line for ten options.
    return names | ({f"-{digit}" for digit in range(10)} if "-0 to -9" in listed else set())
