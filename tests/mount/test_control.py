"""The commands and figures that a running mount answers: user.xzfs.* on its root."""

import errno
import json
import mmap
import os
import shutil
import sys
import threading
import time

import support
import xzformat
from support import MIB, Mount, make_compressed, wait_until
from write_support import WriteMount, listing, noise, read_file, stored_path, write_file


def command(mount, what):
    return os.getxattr(mount.path, "user.xzfs.cmd." + what).decode()


def history(mount):
    told = json.loads(os.getxattr(mount.path, "user.xzfs.history"))
    assert told["schema"] == 2
    return [dict(zip(told["columns"], sample, strict=True)) for sample in told["samples"]]


def _page_buffer(size):
    """Memory that a read with O_DIRECT can go to."""
    return mmap.mmap(-1, size)


class Set(support.MountTest):
    def test_files_are_written_with_the_preset_that_was_set(self):
        content = xzformat.text(1, 2 * MIB)
        with WriteMount(self.source, "settle=0,preset=0,block_size=2MiB") as mount:
            write_file(mount / "before", content)
            mount.sync()
            self.assertEqual(command(mount, "set.preset=1"), "ok")
            write_file(mount / "after", content)
            mount.sync()
            self.assertEqual(mount.stats()["settings"]["preset"], 1)
        before = listing(stored_path(self.source, "before"))
        after = listing(stored_path(self.source, "after"))
        # xz -0 has a dictionary of 256 KiB, -1 of 1 MiB: xz shows it.
        self.assertEqual({name.split("dict=")[1] for name in before["filters"]}, {"256KiB"})
        self.assertEqual({name.split("dict=")[1] for name in after["filters"]}, {"1MiB"})

    def test_files_settle_for_the_time_that_was_set(self):
        with WriteMount(self.source, "settle=1000,preset=0") as mount:
            write_file(mount / "first", b"first " * 1000)
            self.assertEqual(command(mount, "set.settle=0"), "ok")
            write_file(mount / "second", b"second " * 1000)
            wait_until(lambda: os.path.exists(os.path.join(self.source, "second.xz")),
                       "a file that is closed after settle=0 was set is committed at once")
            self.assertFalse(os.path.exists(os.path.join(self.source, "first.xz")))

    def test_a_cache_that_is_made_smaller_gives_its_memory_back(self):
        content = noise(1, 8 * MIB)
        make_compressed(self.source, "file0", content)
        for number in range(1, 10):
            shutil.copyfile(os.path.join(self.source, "file0.xz"),
                            os.path.join(self.source, f"file{number}.xz"))
        # -s: nothing fills the kernel's page cache, so decoded data stays in the daemon.
        with Mount(self.source, "cache_size=192MiB", flags=("-s",)) as mount:
            for number in range(10):
                fd = os.open(mount / f"file{number}", os.O_RDONLY)
                os.pread(fd, 4096, 0)
                os.close(fd)
            self.assertGreater(mount.stats()["budget"]["used_bytes"], 64 * MIB)
            self.assertEqual(command(mount, "set.cache_size=32MiB"), "ok")
            budget = mount.stats()["budget"]
            self.assertEqual(budget["total_bytes"], 32 * MIB)
            # Pages that are kept for the next unit take physical memory, too.
            self.assertLessEqual(budget["used_bytes"], 32 * MIB)
            for number in range(10):
                fd = os.open(mount / f"file{number}", os.O_RDONLY)
                self.assertEqual(os.pread(fd, 4096, 6 * MIB), content[6 * MIB:6 * MIB + 4096])
                os.close(fd)
            self.assertLessEqual(mount.stats()["budget"]["used_bytes"], 32 * MIB)
            self.assertEqual(command(mount, "set.cache_size=128MiB"), "ok")

    def test_more_threads_commit_more_files_at_once(self):
        """After each change of compress_threads, that many commits run at once."""
        def encoding():
            return sum(name.endswith(".tmp") for _, _, names
                       in os.walk(os.path.join(self.source, ".xzfs")) for name in names)

        with WriteMount(self.source, "settle=0,preset=9e,compress_threads=1") as mount:
            # Each takes some seconds to encode, in one Block.
            for number in range(6):
                write_file(mount / f"file{number}", xzformat.text(number, 1000 * 1000))
            wait_until(lambda: encoding() == 1, "one is committed")
            self.assertEqual(command(mount, "set.compress_threads=3"), "ok")
            wait_until(lambda: encoding() == 3, "three are committed at once")
            self.assertEqual(command(mount, "set.compress_threads=1"), "ok")
            self.assertEqual(command(mount, "set.preset=0"), "ok")
            mount.sync()

    def test_the_log_has_the_level_that_was_set(self):
        with Mount(self.source, "log_level=error") as mount:
            self.assertEqual(command(mount, "set.log_level=info"), "ok")
            self.assertIn("set log_level=info", mount.log())
            self.assertEqual(command(mount, "set.log_level=error"), "ok")
            self.assertEqual(command(mount, "set.settle=5"), "ok")
            self.assertNotIn("set settle=5", mount.log())

    def test_a_wrong_setting_is_refused_with_the_reason_and_changes_nothing(self):
        with Mount(self.source) as mount:
            before = mount.stats()["settings"]
            for option, reason in (("cache_size=1MiB", "the least is 32MiB"),
                                   ("cache_size=", "needs a value"),
                                   ("preset=10", "not one of xz's"),
                                   ("settle=soon", "not a time in seconds"),
                                   ("threads=1", "can't change while the mount runs"),
                                   ("ro", "can't change while the mount runs"),
                                   ("presett=1", "did you mean preset?"),
                                   ("log_level=loud", "is not one of debug, info")):
                answer = command(mount, "set." + option)
                self.assertTrue(answer.startswith("error: "), answer)
                self.assertIn(reason, answer)
            self.assertEqual(mount.stats()["settings"], before)
            for key in ("user.xzfs.cmd.nonsense", "user.xzfs.cmd."):
                self.assert_errno(errno.ENODATA, os.getxattr, mount.path, key)
            # Commands belong to the mount, not to its files.
            write_file(mount / "file", b"content")
            self.assert_errno(errno.ENODATA, os.getxattr, mount / "file", "user.xzfs.cmd.sync")

    def test_only_root_and_the_user_who_mounted_may_give_commands(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.chmod(self.source, 0o777)
        with Mount(self.source, "allow_other") as mount:
            program = """
import errno, os, sys
os.setresgid(1001, 1001, 1001)
os.setresuid(1001, 1001, 1001)
for key in sys.argv[2:]:
    try:
        print(os.getxattr(sys.argv[1], "user.xzfs." + key)[:2].decode())
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
            out = support.run([sys.executable, "-I", "-S", "-c", program, mount.path, "cmd.sync",
                               "cmd.set.preset=0", "cmd.drop-cache", "stats", "history"])
            self.assertEqual(out.decode().split(), ["ok", "EPERM", "EPERM", '{"', '{"'])
            self.assertEqual(mount.stats()["settings"]["preset"], 6)

    def test_a_read_only_mount_can_be_set_too(self):
        with Mount(self.source, "ro") as mount:
            self.assertEqual(command(mount, "set.cache_size=64MiB"), "ok")
            self.assertEqual(mount.stats()["budget"]["total_bytes"], 64 * MIB)


class DropCache(support.MountTest):
    def test_after_drop_cache_everything_is_decoded_again(self):
        content = xzformat.text(3, 3 * MIB)
        make_compressed(self.source, "file", content)
        with Mount(self.source) as mount:
            def decoded():
                return mount.stats()["decoded_bytes"]

            self.assertEqual(read_file(mount / "file"), content)
            once = decoded()
            self.assertEqual(read_file(mount / "file"), content)
            self.assertEqual(decoded(), once)  # the kernel or we had it
            self.assertEqual(command(mount, "drop-cache"), "ok")
            self.assertEqual(read_file(mount / "file"), content)
            self.assertGreaterEqual(decoded(), once + len(content))

    def test_dropping_the_cache_during_reads_disturbs_no_reader(self):
        content = xzformat.text(4, MIB // 2)
        for number in range(4):
            make_compressed(self.source, f"file{number}", content)
        with Mount(self.source, "cache_size=32MiB") as mount:
            stop = threading.Event()
            wrong = []

            def read(name):
                while not stop.is_set():
                    if read_file(mount / name) != content:
                        wrong.append(name)

            readers = [threading.Thread(target=read, args=(f"file{n}",)) for n in range(4)]
            for reader in readers:
                reader.start()
            def dropped_often():
                self.assertEqual(command(mount, "drop-cache"), "ok")
                return mount.stats()["decoded_bytes"] > 12 * len(content)

            try:
                wait_until(dropped_often, "all is decoded three times", 60)
            finally:
                stop.set()
            for reader in readers:
                reader.join()
            self.assertEqual(wrong, [])


class Figures(support.MountTest):
    def test_reads_are_counted_and_timed(self):
        content = noise(5, 2 * MIB)
        make_compressed(self.source, "file", content)
        with Mount(self.source) as mount:
            self.assertEqual(mount.stats()["reads"]["count"], 0)
            self.assertEqual(history(mount), [])
            before = time.time()
            fd = os.open(mount / "file", os.O_RDONLY | os.O_DIRECT)
            for at in range(0, MIB, 65536):
                os.preadv(fd, [_page_buffer(65536)], at)
            os.close(fd)
            reads = mount.stats()["reads"]
            self.assertEqual(reads["count"], 16)
            self.assertGreater(reads["total_us"], 0)
            self.assertLessEqual(reads["p50_us"], reads["p99_us"])
            # The counts below a time never decrease, and none exceeds the number of reads.
            below = [count for _, count in reads["count_below_us"]]
            self.assertEqual(below, sorted(below))
            self.assertLessEqual(below[-1], reads["count"])
            samples = history(mount)
            self.assertEqual(sum(sample["reads"] for sample in samples), 16)
            self.assertEqual(sum(sample["served_bytes"] for sample in samples), MIB)
            for sample in samples:
                self.assertLess(abs(sample["begin_unix_seconds"] - before), 60)
                self.assertGreater(sample["p99_us"], 0)

    def test_history_has_a_sample_for_each_second(self):
        make_compressed(self.source, "file", noise(6, MIB))
        with Mount(self.source) as mount:
            def read():
                fd = os.open(mount / "file", os.O_RDONLY | os.O_DIRECT)
                os.preadv(fd, [_page_buffer(4096)], 0)
                os.close(fd)
                return len(history(mount)) >= 3

            wait_until(read, "a sample a second", 30)
            samples = history(mount)
            begins = [sample["begin_unix_seconds"] for sample in samples]
            self.assertEqual(begins, sorted(begins))
            self.assertEqual(sum(sample["reads"] for sample in samples),
                             mount.stats()["reads"]["count"])


if __name__ == "__main__":
    support.main()
