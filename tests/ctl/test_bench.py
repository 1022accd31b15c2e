#!/usr/bin/env python3
"""xzfsctl bench, compared with what xz makes of the same files."""

import os
import re
import shlex
import signal
import subprocess
import unittest

import ctl_support
import support
import xzformat
from ctl_support import CTL, CtlTest, write
from support import MIB, SLOWNESS, wait_until
from write_support import noise

KIB = 1 << 10
PRESETS = (0, 1, 3, 6)
BLOCKS = (256 * KIB, MIB, 4 * MIB)


def takes(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        blocked = int(re.search(r"SigBlk:\s*([0-9a-f]+)", status.read())[1], 16)
    return blocked & 1 << (number - 1)


class Bench(CtlTest):
    def bench(self, *words, code=0):
        document = self.json("bench", "--seconds", "1", *words, code=code, deadline_s=300)
        return document, {(row["preset"], row["block_bytes"]): row
                          for row in document["measurements"]}

    def test_the_ratios_are_those_of_xz(self):
        content = xzformat.text(1, 1500 * KIB)
        write(self.path("tree", "file"), content)
        document, rows = self.bench(self.path("tree"))
        self.assertEqual(set(rows), {(preset, block) for preset in PRESETS for block in BLOCKS})
        self.assertEqual(document["sampled_bytes"], len(content))
        for preset in (1, 6):
            for block in BLOCKS:
                made = support.run(["xz", "-c", f"-{preset}", "-T1", f"--block-size={block}",
                                    self.path("tree", "file")])
                row = rows[preset, block]
                self.assertAlmostEqual(row["ratio"], len(made) / len(content), delta=0.01)
                saved = 1 - len(made) / document["disk_bytes"]
                self.assertAlmostEqual(row["saved_share"], saved, delta=0.01)
                for figure in ("encode_bytes_per_second", "encode_bytes_per_second_all",
                               "decode_bytes_per_second", "random_read_seconds"):
                    self.assertGreater(row[figure], 0)
        self.assertLess(rows[6, 256 * KIB]["random_read_seconds"],
                        rows[6, 4 * MIB]["random_read_seconds"])

    def test_compressed_files_are_decoded(self):
        content = xzformat.text(2, 2 * MIB)
        write(self.path("plain", "file"), content)
        write(self.path("packed", "file"), content)
        support.run(["xz", "-0", "--block-size=700KiB", self.path("packed", "file")])
        plain, rows = self.bench(self.path("plain"))
        packed, decoded = self.bench(self.path("packed"))
        self.assertEqual((plain["compressed_files"], packed["compressed_files"]), (0, 1))
        self.assertEqual(packed["plain_bytes"], len(content))
        for key, row in rows.items():
            self.assertAlmostEqual(decoded[key]["ratio"], row["ratio"], places=6)
        self.assertGreater(rows[6, MIB]["saved_share"], decoded[6, MIB]["saved_share"])

    def test_one_file_may_be_named(self):
        write(self.path("file"), xzformat.text(3, 100 * KIB))
        document, _ = self.bench(self.path("file"))
        self.assertEqual((document["files"], document["sampled_parts"]), (1, 1))

    def test_the_same_tree_gives_the_same_ratios(self):
        for number in range(40):
            write(self.path("tree", str(number)), xzformat.text(number, 1000 * (number + 1)))
        # It ends when all is measured.
        first, rows = self.bench("--seconds", "3600", self.path("tree"))
        second, again = self.bench("--seconds", "3600", self.path("tree"))
        self.assertEqual(first["sampled_parts"], 40)
        self.assertEqual(first["sampled_parts"], second["sampled_parts"])
        # The order in which the threads end changes the last digits of the sums.
        self.assertEqual({key: round(row["ratio"], 12) for key, row in rows.items()},
                         {key: round(row["ratio"], 12) for key, row in again.items()})

    def test_what_is_recommended_can_be_copied(self):
        write(self.path("a tree", "file"), xzformat.text(4, 300 * KIB))
        out, _ = self.ctl("bench", "--seconds", "1", "a tree", deadline_s=300)
        command = re.search(r"^  xzfsctl (pack -\d --block-size \S+ 'a tree')$", out, re.MULTILINE)
        self.assertTrue(command, out)
        self.assertRegex(out, r"(?m)^  xzfs SOURCE MOUNTPOINT -o preset=\d,block_size=\d+[KM]iB$")
        self.ctl(*shlex.split(command[1]))
        self.assertEqual(os.listdir(self.path("a tree")), ["file.xz"])

    def test_what_does_not_shrink_is_best_left_alone(self):
        write(self.path("tree", "noise"), noise(5, MIB))
        document, rows = self.bench(self.path("tree"))
        self.assertIsNone(document["recommended"])
        self.assertIn("Leave these files as they are", document["advice"])
        self.assertEqual(rows[6, MIB]["saved_share"], 0)

    def test_small_files_save_no_more_than_their_disk_blocks(self):
        """100 bytes take 4 KiB on the disk before and after."""
        for number in range(50):
            write(self.path("tree", str(number)), xzformat.text(number, 1000))
        document, rows = self.bench(self.path("tree"))
        self.assertLess(rows[6, MIB]["ratio"], 0.9)
        self.assertEqual(rows[6, MIB]["saved_share"], 0)
        self.assertIsNone(document["recommended"])

    def test_holes_save_nothing(self):
        write(self.path("tree", "disk"), b"")
        with open(self.path("tree", "disk"), "r+b") as file:
            file.seek(256 * MIB)
            file.write(noise(6, MIB))
        document, rows = self.bench(self.path("tree"))
        self.assertLess(rows[6, MIB]["saved_share"], 0.01)
        self.assertIsNone(document["recommended"])

    def test_an_empty_directory_is_said_to_be_empty(self):
        os.mkdir(self.path("empty"))
        document, rows = self.bench(self.path("empty"))
        self.assertEqual((rows, document["sampled_bytes"], document["recommended"]), ({}, 0, None))
        out, _ = self.ctl("bench", "--seconds", "1", self.path("empty"))
        self.assertIn("Nothing was measured", out)

    def test_a_file_that_can_not_be_read_is_a_warning_and_the_others_count(self):
        write(self.path("tree", "good"), xzformat.text(7, 100 * KIB))
        write(self.path("tree", "bad"), xzformat.text(8, 100 * KIB))
        support.run(["xz", self.path("tree", "bad")])
        os.truncate(self.path("tree", "bad.xz"), 1000)
        document, rows = self.bench(self.path("tree"), code=2)
        self.assertEqual([error["path"] for error in document["errors"]],
                         [self.path("tree", "bad.xz")])
        self.assertEqual((document["files"], len(rows)), (1, 12))

    def test_a_path_that_is_not_there_is_an_error(self):
        document, _ = self.bench(self.path("none"), code=1)
        self.assertEqual([error["path"] for error in document["errors"]], [self.path("none")])
        out, err = self.ctl("bench", self.path("none"), code=1)
        self.assertEqual(out, "")
        self.assertIn("No such file", err)

    def test_parts_of_a_giant_block_are_read_from_its_beginning(self):
        content = xzformat.text(9, 64 * KIB) * 640
        write(self.path("tree", "file"), content)
        support.run(["xz", "-0", "-T1", self.path("tree", "file")])
        document, _ = self.bench(self.path("tree"))
        self.assertGreaterEqual(document["sampled_parts"], 1)
        self.assertEqual(document["plain_bytes"], len(content))

    def test_usr1_prints_what_is_measured_so_far(self):
        for number in range(2000):
            write(self.path("tree", str(number)), xzformat.text(number, 20 * KIB))
        with open(self.path("err"), "wb") as err:
            process = subprocess.Popen(
                [CTL, "bench", "--seconds", "3600", "--progress", "never", self.path("tree")],
                stdout=subprocess.DEVNULL, stderr=err, env=ctl_support.environment())
        try:
            # From then on signals are blocked, and the command takes them.
            wait_until(lambda: takes(process.pid, signal.SIGUSR1), "it takes SIGUSR1")

            def measures():
                process.send_signal(signal.SIGUSR1)
                with open(self.path("err"), encoding="utf-8") as lines:
                    return re.search(r"(?m)^measured [0-9.]+ [KM]iB in [0-9]+ parts?, .* left$", lines.read())

            wait_until(measures, "a line says what is measured")
        finally:
            process.kill()
            process.wait()

    def test_an_interrupt_ends_it_with_what_is_known(self):
        for number in range(2000):
            write(self.path("tree", str(number)), xzformat.text(number, 20 * KIB))
        with open(self.path("progress"), "wb") as progress, \
                open(self.path("out"), "wb") as out:
            process = subprocess.Popen(
                [CTL, "bench", "--seconds", "3600", "--progress", "always", self.path("tree")],
                stdout=out, stderr=progress, env=ctl_support.environment())
        try:
            def measures():
                with open(self.path("progress"), encoding="utf-8") as lines:
                    return "measured" in lines.read()

            wait_until(measures, "some parts are measured")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(60 * SLOWNESS), -signal.SIGINT)
        finally:
            process.kill()
            process.wait()
        with open(self.path("out"), encoding="utf-8") as out:
            text = out.read()
        self.assertRegex(text, r"Sampled [1-9]")
        self.assertIn("Recommended", text)


if __name__ == "__main__":
    unittest.main()
