#!/usr/bin/env python3
"""What xzfsctl offers for a word that is being typed, where a mount has to be asked."""

import os
import time

import support
from ctl_support import MountCtlTest
from support import Mount


class Complete(MountCtlTest):
    def complete(self, *words):
        """(kept, paths, {word: text})"""
        out, _ = self.ctl("--complete", *words)
        kept, paths, *lines = out.splitlines()
        return kept, paths, dict(line.split("\t") for line in lines)

    def test_mounts_are_offered_where_one_is_wanted(self):
        with Mount(self.source) as mount:
            for command in ("stats", "top", "set", "sync", "drop-cache", "umount"):
                _, _, words = self.complete(command, "")
                self.assertEqual(words[mount.path], "a mount of " + os.path.realpath(self.source))
            _, paths, words = self.complete("list", "")
            self.assertEqual((paths, words), ("files", {}))

    def test_settings_are_offered_with_their_present_values(self):
        with Mount(self.source, "preset=3,settle=7") as mount:
            kept, paths, words = self.complete("set", mount.path, "")
            self.assertEqual((kept, paths), ("", "none"))
            self.assertEqual((words["preset="], words["log_level="]), ("now 3", "now info"))
            self.assertIn("now 7", words["settle="])
            kept, _, words = self.complete("set", mount.path, "preset=1", "log_level=")
            self.assertEqual((kept, set(words)),
                             ("log_level=", {"debug", "info", "warning", "error"}))

    def test_a_mount_that_does_not_answer_does_not_hold_the_shell_up(self):
        with Mount(self.source) as mount:
            with support.stopped(mount.process):
                begin = time.monotonic()
                _, _, words = self.complete("set", mount.path, "pre")
                self.assertLess(time.monotonic() - begin, 10 * support.SLOWNESS)
                self.assertEqual(words["preset="], "")


if __name__ == "__main__":
    support.main()
