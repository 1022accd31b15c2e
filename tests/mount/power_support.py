"""What the tests share that cut the power of a disk; they need root and loop devices."""

import os
import random
import uuid

import disk_log
import own_mounts
import support
import write_support


class Cuts:
    """Counts what a test has seen."""

    def __init__(self):
        self.flushes = self.writes = self.kept_back = 0
        self.unordered = 0  # of which names had an order that btrfs alone keeps
        self.unmountable = 0

    def __str__(self):
        return (f"{self.flushes} cuts after a flush, {self.writes} between, "
                f"{self.kept_back} with writes kept back; {self.unordered} after which names were out "
                f"of order, {self.unmountable} that the file system couldn't mount")


class PowerTest(support.MountTest):

    def setUp(self):
        super().setUp()
        refusal = disk_log.refusal()
        if refusal is not None:
            if support.REQUIRE_MOUNT and "loop" not in refusal:
                self.fail(refusal)
            self.skipTest(refusal)
        self.rng = random.Random(f"{write_support.SEED} {self.id()}")

    @classmethod
    def setUpClass(cls):
        """A power cut means another boot: replaces the id of the boot, for this process only."""
        super().setUpClass()
        if disk_log.refusal() is not None:
            return
        cls._boot = cls.enterClassContext(support.temp_dir("xzfs-boot-")) + "/id"
        cls.boot()
        own_mounts.unshare_mounts()
        support.run(["mount", "--bind", cls._boot, "/proc/sys/kernel/random/boot_id"])
        cls.addClassCleanup(support.run, ["umount", "/proc/sys/kernel/random/boot_id"])

    @classmethod
    def boot(cls):
        with open(cls._boot, "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")

    @staticmethod
    def sync(disk, mount, names):
        """Syncs these files as their user does, and then the whole disk."""
        for name in names:
            fd = os.open(mount / name, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        support.run(["sync", "-f", disk.path])

    def cuts(self, records):
        """(what, number of records that were written, places of the records that the disk held back)."""
        flushes = [i + 1 for i, record in enumerate(records) if record.kind == disk_log.FLUSH]
        others = [i + 1 for i, record in enumerate(records) if record.kind != disk_log.FLUSH]
        found = [("flushes", count, ()) for count in flushes]
        found += [("writes", count, ()) for count in self.rng.sample(others, min(4, len(others)))]
        for count in self.rng.sample(others, min(4, len(others))):
            last = max([0] + [flush for flush in flushes if flush <= count])
            back = [record.at for record in records[last:count] if self.rng.random() < 0.5]
            found.append(("kept_back", count, tuple(back)))
        self.rng.shuffle(found)
        return found
