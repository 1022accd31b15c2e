"""What all commands have in common: help, errors, exit codes, options from the environment."""

import lzma
import os
import subprocess

import support
from ctl_support import CTL, CtlTest, environment, write


class CommandLine(CtlTest):
    def commands(self):
        text, _ = self.ctl("--help")
        lines = text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        self.assertGreater(len(lines), 0)
        return [line.split()[0] for line in lines]

    def test_every_command_has_help_with_an_example(self):
        for command in self.commands():
            text, _ = self.ctl(command, "--help")
            self.assertIn(f"Example:\n  xzfsctl {command}", text)
            self.assertEqual(self.ctl("help", command)[0], text)
            self.assertEqual(self.ctl(command, "--bad", "-h")[0], text, "whatever else is there")

    def test_a_wrong_command_line_gets_one_line_and_exit_code_1(self):
        for words in ((), ("no-such",), ("list",), ("list", "--no-such", "a"), ("list", "-X", "a"),
                      ("list", "--json=maybe", "a")):
            _, error = self.ctl(*words, code=1)
            self.assertEqual(error.count("\n"), 1, words)

    def test_a_misspelt_command_is_guessed(self):
        self.assertIn("there is no command 'umout' (did you mean umount?)",
                      self.ctl("umout", "/mnt", code=1)[1])
        self.assertIn("(xzfsctl --help lists them)", self.ctl("frobnicate", code=1)[1])

    def test_the_message_for_a_wrong_value_names_its_option(self):
        for words, option in ((("pack", "-T", "x", "a"), "-T,--threads"),
                              (("pack", "--threads=x", "a"), "-T,--threads"),
                              (("pack", "-T", "9999", "a"), "-T,--threads"),
                              (("pack", "--min-saving", "x", "a"), "--min-saving"),
                              (("pack", "--older-than", "x", "a"), "--older-than"),
                              (("pack", "--check", "md5", "a"), "-C,--check"),
                              (("cat", "-o", "x", "a"), "-o,--offset"),
                              (("top", "--interval", "x", "a"), "--interval")):
            _, error = self.ctl(*words, code=1)
            self.assertIn(f"{words[0]}: {option}: '", error, words)

    def test_an_unknown_option_is_named_before_a_missing_operand_is(self):
        for words in (("pack", "--bogus"), ("pack", "-k", "--bogus=1"), ("umount", "--bogus"),
                      ("salvage", "--bogus", "-o", "x")):
            _, error = self.ctl(*words, code=1)
            self.assertIn("--bogus", error, words)
        self.assertIn("-Z", self.ctl("pack", "-kZ", code=1)[1])
        self.assertIn("PATH", self.ctl("pack", "-k", code=1)[1])

    def test_a_misspelt_option_is_guessed(self):
        self.assertIn("did you mean --block-size?", self.ctl("pack", "--blok-size=1", "a", code=1)[1])
        self.assertNotIn("did you mean", self.ctl("pack", "--frobnicate", "a", code=1)[1])

    def test_the_version_is_printed(self):
        self.assertRegex(self.ctl("--version")[0], r"^xzfsctl \d+\.\d+\.\d+\n$")

    def test_a_file_may_have_the_name_of_an_option_or_of_a_command(self):
        for name in ("--json", "-v", "list", "pack", "-"):
            write(self.path(name), lzma.compress(b"hello"))
            self.assertIn(name, self.ctl("list", "--", name)[0])

    def test_options_come_from_the_environment_and_the_command_line_overrides_them(self):
        write(self.path("a.xz"), lzma.compress(b"hello"))
        plain, _ = self.ctl("list", "a.xz")
        long, _ = self.ctl("list", "-v", "a.xz")
        self.assertNotEqual(plain, long)
        for variable in ("XZFS_DEFAULTS", "XZFS_OPT"):
            self.assertEqual(self.ctl("list", "a.xz", **{variable: " -v\t"})[0], long)
            self.assertEqual(self.ctl("list", "a.xz", **{variable: ""})[0], plain)
        _, error = self.ctl("list", "a.xz", code=1, XZFS_OPT="--no-such=1")
        self.assertIn("XZFS_OPT: '--no-such=1'", error)
        self.assertIn("XZFS_DEFAULTS", self.ctl("list", "a.xz", code=1, XZFS_DEFAULTS="word")[1])

    def test_a_failed_write_to_stdout_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CTL, "--help"], stdout=full, stderr=subprocess.PIPE, check=False,
                                  env=environment())
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)

    def test_control_characters_of_names_do_not_reach_the_terminal(self):
        name = "evil\x1b[2Jname\n.xz"
        write(self.path(name), b"not compressed")
        _, error = self.ctl("list", name, code=1)
        self.assertIn(r"evil\x1b[2Jname\x0a.xz", error)
        write(self.path(name), lzma.compress(b"hello"))
        out, _ = self.ctl("list", name)
        self.assertIn(r"evil\x1b[2Jname\x0a.xz", out)
        self.assertEqual(os.listdir(self.folder), [name])


if __name__ == "__main__":
    support.main()
