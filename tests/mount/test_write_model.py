"""Random operations have the same results on the mount and in a plain directory.

XZFS_TEST_SEED and XZFS_TEST_SECONDS choose what the test does and for how long.
"""

import contextlib
import os
import random
import sys
import time

import filesystems_support
import support
import test_write_disk
import write_model
import write_support
from support import make_compressed, temp_dir
from write_model import BordersModel, Model
from write_outsider import OutsiderModel
from write_support import WriteMount, stored_snapshot


class Random(support.MountTest):
    SECONDS = 24

    def setUp(self):
        super().setUp()
        self.oracle = self.enterContext(temp_dir("xzfs-oracle-"))
        self.mount = None

    def fill(self, rng, folder=""):
        """Stores files as other programs do; the oracle gets them, too."""
        for number, name in enumerate(("a", "t.tar", "c")):
            content = rng.randbytes(5000) * (1 + number * 8)
            os.makedirs(os.path.join(self.oracle, folder), exist_ok=True)
            os.makedirs(os.path.join(self.source, folder), exist_ok=True)
            path = os.path.join(self.oracle, folder, name)
            write_support.write_file(path, content)
            make_compressed(self.source, os.path.join(folder, name), content)
            for twin in (path, os.path.join(self.source, folder, name + ".xz")):
                os.chmod(twin, 0o644)
                os.utime(twin, ns=(5, 6 + number))

    def mounted(self):
        return self.mount.path

    def start(self, options):
        self.mount = WriteMount(self.source, options, deadline_s=100_000)
        self.mount.__enter__()

    def stop(self, kill=False):
        mount, self.mount = self.mount, None
        try:
            if kill:
                mount.kill()
        finally:
            mount.__exit__(None, None, None)

    def end_of_failure(self):
        """A failed test leaves no mount."""
        if self.mount is not None:
            print(f"--- the daemon's log:\n{self.mount.log()[-8000:]}", file=sys.stderr)
            self.stop(kill=True)

    def run_model(self, options, largest, restarts=("umount",), final_options=None,
                  make_model=Model):
        rng = random.Random(f"{write_support.SEED} {self.id()}")
        self.fill(rng)
        self.addCleanup(self.end_of_failure)
        self.start(options)
        model = make_model(self, rng, self.mounted, self.oracle, largest)
        end = time.monotonic() + write_support.seconds(self.SECONDS)
        steps, commits = 0, 0
        while time.monotonic() < end or steps < 300:
            model.step()
            steps += 1
            if steps % 150 == 0:
                model.compare()
            if steps % 61 == 0:
                model.log.append("sync")
                model.settle()
            if steps % 400 == 0:
                how = rng.choice(restarts)
                model.log.append(("remount", how))
                model.close_all()
                commits += self.mount.commits()["done"]
                self.stop(kill=how == "kill")
                self.start(options)
                model.counts[how] += 1
                model.compare(what=f"after {how}")
        model.close_all()
        model.compare(what="at the end")
        commits += self.mount.commits()["done"]
        model.settle()
        model.compare(what="after the last sync")
        figures = self.mount.commits()
        if not model.COMMITS_MAY_FAIL:
            self.assertEqual(figures["failed"], 0, figures)
        self.stop()
        if final_options is not None:
            self.start(final_options)
            self.mount.sync()
            model.compare(what="mounted otherwise")
            self.stop()
        model.compare(stored_snapshot(self.source), what="what is stored")
        self.assertEqual(write_support.leftovers(self.source), [])
        print(f"{self.id()}: {steps} operations, {commits} commits, "
              f"{dict(sorted(model.counts.items()))}", file=sys.stderr)
        return model.counts, commits

    def test_while_commits_race_with_everything(self):
        _, commits = self.run_model("settle=0,block_size=4KiB,preset=0", 40_000)
        self.assertGreater(commits, support.scaled(20, 5))

    def test_while_commits_come_a_little_later_and_the_cache_is_tiny(self):
        _, commits = self.run_model("settle=0.05,block_size=64KiB,preset=0,cache_size=32MiB,"
                                    "whole_block_limit=16KiB", 600_000)
        self.assertGreater(commits, 10)

    def test_with_states_that_last_and_a_daemon_that_is_killed(self):
        counts, commits = self.run_model("block_size=16KiB,preset=0", 100_000,
                                         restarts=("kill", "kill", "umount"))
        self.assertGreater(commits, 10)
        if sum(counts.values()) > 2000:
            self.assertGreater(counts["kill"], 0)

    def test_without_compression(self):
        _, commits = self.run_model("compress=off,preset=0", 100_000, final_options="preset=0")
        self.assertEqual(commits, 0)

    def test_while_a_second_program_works_in_the_source(self):
        outside = self.enterContext(temp_dir("xzfs-outside-"))
        counts, commits = self.run_model(
            "settle=0,block_size=16KiB,preset=0,attr_timeout=0,entry_timeout=0", 60_000,
            restarts=("kill", "umount"),
            make_model=lambda *arguments: OutsiderModel(*arguments, outside))
        self.assertGreater(commits, support.scaled(20, 5))
        if sum(counts.values()) > 2000:
            for act in ("append", "xz", "unxz"):
                self.assertGreater(counts["outsider " + act], 0, counts)

    def test_with_a_second_file_system_in_the_source(self):
        """The oracle has one, too, so a rename or link can't cross the border there either."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        stack = self.enterContext(contextlib.ExitStack())
        for folder in (self.source, self.oracle):
            below = os.path.join(folder, "f")
            os.mkdir(below)
            _, disk = stack.enter_context(test_write_disk.disk(test_write_disk.EXT4, 64 << 20))
            os.rmdir(os.path.join(disk, "lost+found"))
            filesystems_support.mount_at(stack, disk, below, "--bind")
        _, commits = self.run_model("settle=0.05,block_size=16KiB,preset=0", 100_000,
                                    restarts=("kill", "umount"), make_model=BordersModel)
        self.assertGreater(commits, 10)
        self.assertEqual(write_support.leftovers(os.path.join(self.source, "f")), [])

    def test_in_several_threads_at_once(self):
        """Each thread has its own folder, so it knows what must be there."""
        rng = random.Random(f"{write_support.SEED} {self.id()}")
        self.addCleanup(self.end_of_failure)
        self.start("settle=0,block_size=4KiB,preset=0,compress_threads=2")
        folders = [f"thread{number}" for number in range(4)]
        models = []
        for folder in folders:
            self.fill(rng, folder)
            models.append(Model(self, random.Random(rng.random()),
                                lambda folder=folder: os.path.join(self.mount.path, folder),
                                os.path.join(self.oracle, folder), 40_000))
        end = time.monotonic() + write_support.seconds(self.SECONDS)

        def work(model):
            steps = 0
            while time.monotonic() < end or steps < 100:
                model.step()
                steps += 1
                if steps % 97 == 0:
                    model.compare()
                if steps % 131 == 0:
                    self.mount.sync()
            model.close_all()
            model.compare()

        write_support.in_threads(work, models, write_support.seconds(self.SECONDS) + 120)
        self.mount.sync()
        for model in models:
            model.compare(what="after the last sync")
        self.assertGreater(self.mount.commits()["done"], 20)
        self.stop()
        got = write_model.comparable(stored_snapshot(self.source))
        wanted = write_model.comparable(write_support.snapshot(self.oracle))
        for folder in folders:  # the test does not compare the times of the plain directory itself
            del got[folder.encode()], wanted[folder.encode()]
        write_support.assert_same_tree(self, got, wanted, "what is stored")
        self.assertEqual(write_support.leftovers(self.source), [])


if __name__ == "__main__":
    support.main()
