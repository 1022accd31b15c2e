"""Files that users open never take the descriptors that reading, committing and recovering need."""

import errno
import os

import support
import xzformat
from support import make_compressed, wait_until
from write_support import WriteMount, assert_valid, read_file, stored_path, write_at

# The smallest limit with which a mount works: the shares are the same as under a larger one.
LIMIT = 300
FILES = 400


def content(number):
    return b"%d\n" % number + xzformat.text(number % 7, 500)


class Descriptors(support.MountTest):
    def make_files(self, count=FILES):
        for number in range(count):
            make_compressed(self.source, f"f{number}", content(number))

    def assert_usable(self, mount):
        self.assertGreaterEqual(len(os.listdir(mount.path)), FILES)
        self.assertLess(len(mount.descriptors()), LIMIT)

    def test_more_files_are_edited_than_there_are_descriptors(self):
        """Opens more files than there are descriptors, also after a crash."""
        self.make_files()
        with WriteMount(self.source, "compress=off", descriptor_limit=LIMIT) as mount:
            for number in range(FILES):
                with open(mount / f"f{number}", "ab") as file:
                    file.write(b"more")
            for number in (0, FILES // 2, FILES - 1):
                self.assertEqual(read_file(mount / f"f{number}"), content(number) + b"more")
            self.assertEqual(mount.state("f0"), "edited")
            self.assert_usable(mount)
            mount.kill()
        with WriteMount(self.source, "compress=off", descriptor_limit=LIMIT) as mount:
            for number in range(0, FILES, 50):
                self.assertEqual(read_file(mount / f"f{number}"), content(number) + b"more")
            write_at(mount / "f3", 0, b"X")
            self.assert_usable(mount)
            mount.kill()
        with WriteMount(self.source, "settle=0,preset=0", descriptor_limit=LIMIT) as mount:
            mount.sync()
            self.assertEqual(mount.commits()["done"], FILES)
            self.assertEqual(mount.commits()["failed"], 0)
            self.assert_usable(mount)
        for number in (0, FILES - 1):
            assert_valid(self, stored_path(self.source, f"f{number}"), content(number) + b"more")
        self.assertFalse(os.path.exists(os.path.join(self.source, ".xzfs")))

    def test_a_tree_that_is_copied_over_compressed_files_is_committed(self):
        """All files are edited before the first is committed."""
        self.make_files()
        with WriteMount(self.source, "preset=0", descriptor_limit=LIMIT) as mount:
            for number in range(FILES):
                with open(mount / f"f{number}", "wb") as file:
                    file.write(b"new %d" % number)
            self.assertEqual(mount.commits()["pending"], FILES)
            self.assert_usable(mount)
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(read_file(mount / "f9"), b"new 9")
            self.assertEqual(mount.state("f9"), "compressed")

    def test_only_the_next_open_for_writing_is_refused(self):
        self.make_files(20)
        for number in range(20, 2 * LIMIT):
            with open(os.path.join(self.source, f"f{number}"), "wb") as file:
                file.write(b"plain")
        with WriteMount(self.source, "preset=0", descriptor_limit=LIMIT) as mount:
            held = [os.open(mount / "f0", os.O_RDWR)]
            refused = None
            for number in range(1, 2 * LIMIT):
                try:
                    held.append(os.open(mount / f"f{number}", os.O_RDWR))
                except OSError as error:
                    refused = error
                    break
            self.assertIsNotNone(refused)
            self.assertEqual(refused.errno, errno.EMFILE)
            self.assertGreater(len(held), 20)
            # All other operations go on.
            last = 2 * LIMIT - 1
            self.assertEqual(read_file(mount / f"f{last}"), b"plain")
            self.assertEqual(read_file(mount / "f19"), content(19))
            self.assertEqual(len(os.listdir(mount.path)), 2 * LIMIT)
            self.assert_errno(errno.EMFILE, os.truncate, mount / f"f{last}", 1)
            os.mkdir(mount / "directory")
            os.rename(mount / f"f{last}", mount / "directory/moved")
            os.unlink(mount / "directory/moved")
            for fd in held:
                os.pwrite(fd, b"X", 0)
                os.fsync(fd)
            for fd in held:
                os.close(fd)
            wait_until(lambda: mount.stats()["descriptors"]["open"] < LIMIT // 2, "all closed")
            write_at(mount / f"f{last - 1}", 0, b"Y")
            mount.sync()
            self.assertEqual(mount.commits()["failed"], 0)
            self.assertEqual(mount.state("f0"), "compressed")


if __name__ == "__main__":
    support.main()
