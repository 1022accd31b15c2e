"""The line of progress on a terminal: what it says, and that it fits."""

import os
import re
import signal

import support
from ctl_support import CtlTest, write
from terminal import Terminal

MIB = 1 << 20
# A status line: it begins by clearing what stood there.
LINE = re.compile(rb"\r\x1b\[K([^\r\n\x1b]+)")


def lines(out):
    return [line.decode() for line in LINE.findall(out)]


class ProgressLine(CtlTest):
    def setUp(self):
        super().setUp()
        # xz -9 takes many seconds for it, and saves half.
        write(self.path("a-file-with-a-long-name"), os.urandom(16 * MIB).hex().encode())

    def pack(self, columns):
        return Terminal("pack", "-9", "-T1", "--block-size=256KiB", "a-file-with-a-long-name",
                        columns=columns, cwd=self.folder)

    def test_bytes_are_counted_as_blocks_are_done(self):
        with self.pack(200) as terminal:
            found = terminal.wait_for(
                lambda out: re.search(rb"([0-9.]+) %  0/1 files  ([0-9.]+) (KiB|MiB) -> ([0-9.]+) "
                                      rb"(KiB|MiB)  0\.[0-9]{3}  [0-9.]+ [KM]iB/s  [0-9:]+ (s|min) "
                                      rb"left  a-file-with-a-long-name", out), "a whole line")
            unit = {b"KiB": 1 << 10, b"MiB": MIB}
            plain, stored = (float(found[2]) * unit[found[3]], float(found[4]) * unit[found[5]])
            self.assertLess(plain, 32 * MIB)
            self.assertAlmostEqual(float(found[1]), 100 * plain / (32 * MIB), delta=0.5)
            self.assertTrue(0.4 < stored / plain < 0.7, (plain, stored))
            self.assertEqual(terminal.end(), -signal.SIGINT)
        self.assertEqual(os.listdir(self.folder), ["a-file-with-a-long-name"])

    def test_it_never_scrolls_a_narrow_terminal_and_names_the_file(self):
        for columns in (20, 50):
            with self.pack(columns) as terminal:
                terminal.wait_for(lambda out: sum("%" in line for line in lines(out)) >= 3, "3 lines")
                self.assertNotIn(b"\n", terminal.out, columns)
                for line in lines(terminal.out):
                    self.assertLess(len(line), columns)
                self.assertIn("name", lines(terminal.out)[-1])
                terminal.end()

    def test_it_follows_the_width_of_the_terminal(self):
        with self.pack(120) as terminal:
            terminal.wait_for(lambda out: any(len(line) > 60 for line in lines(out)), "a long line")
            terminal.out = b""
            terminal.resize(30)
            terminal.wait_for(lines, "a line for the new width")
            self.assertTrue(all(len(line) < 30 for line in lines(terminal.out)), terminal.out)
            terminal.end()

    def test_a_name_of_wide_or_wrong_characters_is_cut_to_fit(self):
        for name in ("\u6f22" * 60, "\udcff" * 60, "e\u0301" * 60):
            os.rename(self.path(os.listdir(self.folder)[0]), self.path(name))
            with Terminal("pack", "-9", "-T1", "--block-size=256KiB", name, columns=50,
                          cwd=self.folder, LC_ALL="C.UTF-8") as terminal:
                terminal.wait_for(lambda out: b"..." in out and b"%" in out, "a line")
                terminal.end()
            for line in LINE.findall(terminal.out):
                text = line.decode(errors="surrogateescape")
                wide = sum(2 if char == "\u6f22" else char != "\u0301" for char in text)
                self.assertLess(wide, 50, text)

    def test_where_stderr_is_no_terminal_lines_are_whole(self):
        write(self.path("small"), b"content " * 1000)
        _, error = self.ctl("pack", "--progress=never", "-n", "small")
        self.assertEqual(len(error.splitlines()), 1)


if __name__ == "__main__":
    support.main()
