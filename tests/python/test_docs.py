"""The examples of docs/python.md run as they stand there, in a folder that has their file."""

import contextlib
import io
import os
import re
import tempfile
import unittest

from python_support import PLAIN, STORED

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "python.md")


def example(first_line):
    """The indented block that begins with this line, without the indent."""
    with open(PAGE, encoding="utf-8") as page:
        [found] = re.findall(rf"^    {re.escape(first_line)}.*\n(?:(?:    .*)?\n)*", page.read(), re.MULTILINE)
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


class Docs(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(contextlib.chdir(folder))
        with open("big.log.xz", "wb") as file:
            file.write(STORED)

    def out_of(self, code, **names):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        return printed.getvalue()

    def test_the_first_example_prints_the_end_of_the_file(self):
        out = self.out_of(example("import xzfs"))
        self.assertEqual(out, f"{PLAIN[-1000:]}\n")

    def test_the_reader_of_the_page_shows_the_blocks(self):
        # The file of the test is smaller than that of the page.
        code = "import xzfs\n" + example("with xzfs.Reader(").replace("10**9", "10**6")
        self.assertEqual(len(self.out_of(code).splitlines()), 21)


if __name__ == "__main__":
    unittest.main()
