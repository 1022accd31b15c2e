#!/usr/bin/env python3
"""Man pages and --help name the same commands and options."""

import os
import re
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


if __name__ == "__main__":
    unittest.main()
