#!/usr/bin/env python3
"""What bash, zsh and fish offer while a user types: all commands, options and values of --help."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

from programs import PROGRAMS, ROOT, commands, letters, mount_options, options_of, run

COMPLETIONS = os.path.join(ROOT, "packaging", "completions")
# xzfs takes these, and its help leaves them out.
OPPOSITES = {"noacl", "rw", "noexec", "suid", "dev"}
LIVE = ["cache_size=", "compress_threads=", "settle=", "preset=", "min_saving=", "idle=",
        "log_level="]


def bash(name, *words):
    """What bash offers after the words. The user is typing the last one."""
    line = " ".join(words)
    # As readline splits a line: at blanks, and '=' is a word.
    split = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    script = f"""
      source {os.path.join(COMPLETIONS, 'xzfs.bash')}
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
        self.assertEqual(set(bash("xzfs", "xzfs", "-o", "")), wanted | OPPOSITES)

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

    def test_the_values_of_an_option_of_a_command_are_offered(self):
        for words, wanted in (
                (("pack", "--check", ""), ["none", "crc32", "crc64", "sha256"]),
                (("pack", "--check=c"), ["crc32", "crc64"]),
                (("pack", "-C", "s"), ["sha256"]),
                (("verify", "--progress", ""), ["auto", "always", "never"]),
                (("reblock", "--block-size=1"), ["1MiB", "16MiB"])):
            with self.subTest(words):
                self.assertEqual(bash("xzfsctl", "xzfsctl", *words), wanted)

    def test_the_settings_of_a_mount_are_offered_and_xzfs_takes_their_values(self):
        self.assertEqual(bash("xzfsctl", "xzfsctl", "set", "/mnt", ""), LIVE)
        self.assertEqual(bash("xzfsctl", "xzfsctl", "set", "/mnt", "se"), ["settle="])
        for setting in LIVE:
            name = setting.rstrip("=")
            self.assertIn(name, mount_options())
            values = bash("xzfsctl", "xzfsctl", "set", "/mnt", "preset=1", setting)
            self.assertEqual(values, bash("xzfs", "xzfs", "-o", setting))
            self.assertGreater(len(values), 3)

    def test_the_value_of_one_option_does_not_hide_the_next_word(self):
        self.assertEqual(bash("xzfsctl", "xzfsctl", "pack", "--check", "crc32", "--prog"),
                         ["--progress"])
        self.assertEqual(bash("xzfsctl", "xzfsctl", "pack", "--", "--prog"), [])

    def test_help_takes_a_command(self):
        self.assertEqual(set(bash("xzfsctl", "xzfsctl", "help", "")), set(commands()))

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


# Shows the list of one line.
ZSH_SCREEN = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
feed() { zpty -w shell "$1"; zpty -w shell "print MA''RK"; zpty -r shell output '*MARK*' }
feed "stty columns 200 rows 1000; PATH=$1:\$PATH; fpath=($2 \$fpath)"
feed 'autoload -Uz compinit; compinit -D -u; bindkey "^I" complete-word; LISTMAX=10000'
feed 'next() { zle -I; print MA""RK }; zle -N next; bindkey "^Xn" next'
zpty -w -n shell "$3"$'\t'
zpty -w -n shell $'\x18n'
zpty -r shell output '*MARK*'
print -r -- "$output"
zpty -d shell
"""


@unittest.skipUnless(shutil.which("zsh"), "needs zsh")
class Zsh(unittest.TestCase):
    def screen(self, line):
        """What zsh shows below the line."""
        with tempfile.TemporaryDirectory() as folder:
            script = folder + "/script"
            with open(script, "w", encoding="utf-8") as file:
                file.write(ZSH_SCREEN)
            done = run("zsh", "-f", script, os.path.dirname(PROGRAMS["xzfs"]), COMPLETIONS, line,
                       env=dict(os.environ, TERM="dumb", HOME=folder))
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

    def complete(self, *lines):
        with tempfile.TemporaryDirectory() as folder:
            script, out = folder + "/script", folder + "/out"
            with open(script, "w", encoding="utf-8") as file:
                file.write(ZSH)
            done = run("zsh", "-f", script, os.path.dirname(PROGRAMS["xzfs"]),
                       COMPLETIONS, out, *lines,
                       env=dict(os.environ, TERM="dumb", HOME=folder))
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(out, encoding="utf-8") as file:
                parts = re.split(r"^== .*\n", file.read(), flags=re.MULTILINE)
        self.assertEqual(len(parts), len(lines) + 1, parts)
        return [[word for word in part.splitlines() if word] for part in parts[:-1]]

    def test_all_options_of_a_mount_are_offered(self):
        offered, behind, value, flags = self.complete(
            "xzfs -o ", "xzfs a b -o ro,cache", "xzfs -o verify=", "xzfs -")
        # The list may name an option with and without its '='.
        self.assertLessEqual(set(mount_options()), {word.rstrip("=") for word in offered})
        self.assertIn("cache_size", {word.rstrip("=") for word in behind})
        self.assertEqual(set(value), {"block", "stream"})
        self.assertLessEqual(letters(), set(flags))

    def test_values_and_settings_are_offered(self):
        check, joined, progress, block, settings, preset = self.complete(
            "xzfsctl pack --check ", "xzfsctl pack --check=", "xzfsctl verify --progress ",
            "xzfs a b -o ro,block_size=", "xzfsctl set /mnt ", "xzfsctl set /mnt preset=")
        self.assertEqual(set(check), {"none", "crc32", "crc64", "sha256"})
        self.assertEqual(set(joined), set(check))
        self.assertEqual(set(progress), {"auto", "always", "never"})
        self.assertIn("1MiB", block)
        self.assertEqual({word.rstrip("=") for word in settings},
                         {word.rstrip("=") for word in LIVE})
        self.assertLessEqual({"0", "9", "9e"}, set(preset))

    def test_texts_are_those_of_the_help(self):
        """A text may have ':' and brackets in it; all that is shown is on the terminal."""
        shown = " ".join(self.screen("xzfsctl pack --").split())
        for text in ("integrity check (default: crc64)",
                     "show progress on stderr (default: on a terminal)",
                     "leave out matches, by name, or by path if GLOB has a slash; repeatable"):
            self.assertIn(text, shown)

    def test_all_commands_and_their_options_are_offered(self):
        offered, *of_each = self.complete(
            "xzfsctl ", *(f"xzfsctl {command} -" for command in commands()))
        self.assertLessEqual(set(commands()), set(offered))
        for command, options in zip(commands(), of_each):
            with self.subTest(command):
                self.assertEqual({word.rstrip("=") for word in options}, options_of(command))


@unittest.skipUnless(shutil.which("fish"), "needs fish")
class Fish(unittest.TestCase):
    def complete(self, line):
        """{word: text} that fish offers for the line."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.dirname(PROGRAMS["xzfs"]) + ":" + os.environ["PATH"]
            done = run("fish", "--no-config", "-c",
                       f"source {COMPLETIONS}/xzfs.fish; complete -C $argv[1]", line,
                       env=dict(os.environ, HOME=folder, PATH=path), cwd=folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return dict((line + "\t").split("\t")[:2] for line in done.stdout.splitlines())

    def test_all_options_of_a_mount_are_offered(self):
        wanted = {name + ("=" if value else "") for name, value in mount_options().items()}
        self.assertEqual(set(self.complete("xzfs -o ")), wanted | OPPOSITES)
        self.assertEqual(set(self.complete("xzfs a b -o ro,cache")), {"ro,cache_size="})
        self.assertEqual(set(self.complete("xzfs -o ro,verify=")),
                         {"ro,verify=block", "ro,verify=stream"})
        self.assertLessEqual(letters(), set(self.complete("xzfs -")))

    def test_all_commands_and_their_options_are_offered_with_their_texts(self):
        offered = self.complete("xzfsctl ")
        self.assertLessEqual(set(commands()), set(offered))
        self.assertEqual(offered["umount"], "Unmounts.")
        for command in commands():
            with self.subTest(command):
                self.assertEqual(set(self.complete(f"xzfsctl {command} -")), options_of(command))
        self.assertEqual(self.complete("xzfsctl pack --che"),
                         {"--check": "integrity check (default: crc64)"})

    def test_values_and_settings_are_offered(self):
        checks = {"none", "crc32", "crc64", "sha256"}
        self.assertEqual(set(self.complete("xzfsctl pack --check ")), checks)
        self.assertEqual(set(self.complete("xzfsctl pack --check=")),
                         {"--check=" + check for check in checks})
        self.assertEqual(set(self.complete("xzfsctl verify --progress ")),
                         {"auto", "always", "never"})
        self.assertEqual(set(self.complete("xzfsctl set /mnt ")), set(LIVE))
        self.assertIn("preset=9e", self.complete("xzfsctl set /mnt preset="))

    def test_files_and_directories_are_offered(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/place")
            with open(folder + "/plain", "wb"):
                pass
            self.assertEqual(set(self.complete(f"xzfs {folder}/pl")), {folder + "/place/"})
            self.assertEqual(set(self.complete(f"xzfsctl list {folder}/pl")),
                             {folder + "/place/", folder + "/plain"})


if __name__ == "__main__":
    unittest.main()
