#!/usr/bin/env python3
"""Man pages, completions and --help name the same commands and options."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from programs import PROGRAMS, ROOT, commands, letters, mount_options, options_of, run

PACKAGING = os.path.join(ROOT, "packaging")


def page(name):
    with open(os.path.join(PACKAGING, "man", name + ".scd"), encoding="utf-8") as file:
        return file.read()


def section(text, heading, level="#"):
    """The text below a heading, to the next of its level."""
    return re.split(rf"^{level} ", text.split(f"\n{level} {heading}\n")[1],
                    flags=re.MULTILINE)[0]


def options_in(text):
    """The options that a page of xzfsctl lists: {"-v", "--verbose", ...}."""
    found = set()
    for line in re.findall(r"^\*-.*$", text, re.MULTILINE):
        found |= set(re.findall(r"\*(-[-a-zA-Z0-9]+)\*", line))
        if line == "*-0* to *-9*":
            found |= {f"-{digit}" for digit in range(10)}
    return found


class Pages(unittest.TestCase):
    def test_the_page_of_xzfs_has_the_options_of_its_help(self):
        text = section(page("xzfs.1"), "OPTIONS")
        found = {}
        for line in re.findall(r"^(\*[a-z].*)$", text, re.MULTILINE):
            for name, value in re.findall(r"\*([a-z_]+)(?:=\*_([A-Z]+)_|\*)", line):
                if line.startswith("*nosuid"):
                    continue  # a sentence
                found[name] = value
        self.assertEqual(found.pop("noacl"), "")
        self.assertEqual(found, mount_options())

    def test_the_options_of_the_readme_are_in_the_help(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            table = section(file.read(), "Options", "##")
        rows = re.findall(r"^\| (`.*?`) \| ", table, re.MULTILINE)
        names = {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}
        self.assertEqual(len(names), 5)
        self.assertLessEqual(names, set(mount_options()))

    def test_the_page_of_xzfs_has_the_letters_of_its_help(self):
        text = section(page("xzfs.1"), "FLAGS")
        self.assertEqual(set(re.findall(r"^\*(-[A-Za-z])\*", text, re.MULTILINE)), letters())

    def test_the_page_of_xzfsctl_has_the_commands_and_options_of_its_help(self):
        text = section(page("xzfsctl.1"), "COMMANDS")
        of_all = options_in(section(page("xzfsctl.1"), "OPTIONS OF ALL COMMANDS"))
        self.assertEqual(set(re.findall(r"^## ([a-z-]+)", text, re.MULTILINE)), set(commands()))
        for command in commands():
            with self.subTest(command):
                self.assertEqual(options_in(section(text, command, "##")) | of_all,
                                 options_of(command))


    def test_an_example_that_is_in_both_is_the_same(self):
        text = section(page("xzfsctl.1"), "EXAMPLES")
        examples = re.findall(r"^```\n(xzfsctl .*)\n```", text, re.MULTILINE)
        self.assertGreater(len(examples), 2)
        for example in examples:
            of_help = run(PROGRAMS["xzfsctl"], example.split()[1], "--help").stdout
            self.assertIn(f"\n  {example}\n", of_help)


def bash(name, *words):
    """What bash offers after the words, the last of which is being typed."""
    line = " ".join(words)
    # As readline splits a line: at blanks, and '=' is a word.
    split = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    script = f"""
      source {os.path.join(PACKAGING, 'completions', name + '.bash')}
      COMP_LINE=$1 COMP_POINT=${{#1}}
      shift
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
      function=$(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
      current=${{COMP_WORDS[COMP_CWORD]}}
      [[ $current != '=' ]] || current=''
      "$function" "$program" "$current" "${{COMP_WORDS[COMP_CWORD-1]}}"
      printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", line, *split], capture_output=True,
                          text=True, check=False, timeout=60,
                          env=dict(os.environ, program=PROGRAMS[name]))
    assert done.stderr == "", done.stderr
    return done.stdout.split()


class Bash(unittest.TestCase):
    def test_all_options_of_a_mount_are_offered(self):
        wanted = {name + ("=" if value else "") for name, value in mount_options().items()}
        self.assertLessEqual(wanted, set(bash("xzfs", "xzfs", "-o", "")))
        self.assertLessEqual(set(bash("xzfs", "xzfs", "-o", "")) - wanted,
                             {"noacl", "rw", "noexec", "suid", "dev"})

    def test_all_letters_are_offered(self):
        self.assertEqual(set(bash("xzfs", "xzfs", "-")),
                         letters() | {"--help", "--version"})

    def test_an_option_after_others_is_completed_in_its_place(self):
        self.assertEqual(bash("xzfs", "xzfs", "a", "b", "-o", "ro,cache"), ["ro,cache_size="])
        # '=' begins a word of readline's.
        self.assertEqual(bash("xzfs", "xzfs", "-o", "cache_size=64MiB,sync"), ["64MiB,sync_close"])

    def test_values_are_offered_and_xzfs_takes_each(self):
        tried = 0
        for option in mount_options():
            for value in bash("xzfs", "xzfs", "-o", option + "="):
                # The source isn't there: 32. A wrong value would be 1.
                done = run(PROGRAMS["xzfs"], "/nonexistent/source", "/", "-o", f"{option}={value}")
                self.assertEqual(done.returncode, 32, done.stderr)
                tried += 1
        self.assertGreater(tried, 25)

    def test_directories_are_offered(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/place")
            self.assertEqual(bash("xzfs", "xzfs", folder + "/pl"), [folder + "/place"])

    def test_all_commands_and_their_options_are_offered(self):
        self.assertEqual(set(bash("xzfsctl", "xzfsctl", "")),
                         {*commands(), "help", "--help", "--version"})
        for command in commands():
            with self.subTest(command):
                self.assertEqual(set(bash("xzfsctl", "xzfsctl", command, "-")),
                                 options_of(command))

    def test_files_are_offered(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/file.xz", "wb"):
                pass
            self.assertEqual(bash("xzfsctl", "xzfsctl", "list", folder + "/f"),
                             [folder + "/file.xz"])


# Completes one line after the other in a zsh that runs on a pseudo-terminal, and writes the words for
# compadd to a file, so the test need not parse the terminal's output.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
feed() { zpty -w shell "$1"; zpty -w shell "print MA''RK"; zpty -r shell output '*MARK*' }
feed "PATH=$1:\$PATH; fpath=($2 \$fpath); OUT=$3"
feed 'autoload -Uz compinit; compinit -D -u; bindkey "^I" complete-word; LISTMAX=10000'
feed 'compadd() { local -a found; builtin compadd -A found "$@"; print -rl -- $found >>$OUT; builtin compadd "$@" }'
feed 'next() { print -r -- "== $BUFFER" >>$OUT; BUFFER=; zle -I; print MA""RK }; zle -N next; bindkey "^Xn" next'
shift 3
for line; do
  zpty -w -n shell "$line"$'\t'
  zpty -w -n shell $'\x18n'  # no ^D: before zsh reads keys itself, ^D would end it
  zpty -r shell output '*MARK*'
done
zpty -d shell
"""


@unittest.skipUnless(shutil.which("zsh"), "needs zsh")
class Zsh(unittest.TestCase):
    def complete(self, *lines):
        with tempfile.TemporaryDirectory() as folder:
            script, out = folder + "/script", folder + "/out"
            with open(script, "w", encoding="utf-8") as file:
                file.write(ZSH)
            done = run("zsh", "-f", script, os.path.dirname(PROGRAMS["xzfs"]),
                       os.path.join(PACKAGING, "completions"), out, *lines,
                       env=dict(os.environ, TERM="dumb", HOME=folder))
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(out, encoding="utf-8") as file:
                parts = re.split(r"^== .*\n", file.read(), flags=re.MULTILINE)
        self.assertEqual(len(parts), len(lines) + 1, parts)
        return [part.split() for part in parts[:-1]]

    def test_all_options_of_a_mount_are_offered(self):
        offered, behind, value, flags = self.complete(
            "xzfs -o ", "xzfs a b -o ro,cache", "xzfs -o verify=", "xzfs -")
        # The list may name an option with and without its '='.
        self.assertLessEqual(set(mount_options()), {word.rstrip("=") for word in offered})
        self.assertIn("cache_size", {word.rstrip("=") for word in behind})
        self.assertEqual(set(value), {"block", "stream"})
        self.assertLessEqual(letters(), set(flags))

    def test_all_commands_and_their_options_are_offered(self):
        offered, *of_each = self.complete(
            "xzfsctl ", *(f"xzfsctl {command} -" for command in commands()))
        self.assertLessEqual(set(commands()), set(offered))
        for command, options in zip(commands(), of_each):
            with self.subTest(command):
                self.assertEqual({word.rstrip("=") for word in options}, options_of(command))


if __name__ == "__main__":
    unittest.main()
