"""`cmake --install --component python` puts the module where Python looks for it, and there it works."""

import os
import subprocess
import sys
import sysconfig
import tempfile
import unittest


def install(root, prefix):
    subprocess.run([os.environ["CMAKE"], "--install", os.environ["XZFS_BUILD"], "--prefix", prefix,
                    "--component", "python"], env={**os.environ, "DESTDIR": root}, check=True,
                   stdout=subprocess.DEVNULL)


class Install(unittest.TestCase):
    def test_python_finds_it_below_usr_and_usr_local(self):
        for prefix in ("/usr", "/usr/local"):
            with tempfile.TemporaryDirectory() as root:
                install(root, prefix)
                found = [folder for folder, _, names in os.walk(root) if "__init__.py" in names]
                self.assertEqual(len(found), 1)
                parent = os.path.dirname(found[0])
                self.assertTrue(os.path.exists(os.path.join(found[0], "py.typed")))
                if "deb_system" in sysconfig.get_scheme_names():
                    self.assertIn(parent.removeprefix(root), subprocess.run(
                        [sys.executable, "-c", "import sys; print(*sys.path, *__import__('site').getsitepackages())"],
                        stdout=subprocess.PIPE, text=True, check=True).stdout.split())
                # It needs nothing of the build tree, and no libxzfs.so.
                done = subprocess.run(
                    [sys.executable, "-I", "-B", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import xzfs; "
                     "print(xzfs.__file__, xzfs.decompress(xzfs.compress(b'text')))", parent],
                    stdout=subprocess.PIPE, text=True, check=True)
                self.assertEqual(done.stdout, f"{found[0]}/__init__.py b'text'\n")


if __name__ == "__main__":
    unittest.main()
