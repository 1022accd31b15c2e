"""A project outside of this tree has it as a part of itself, by add_subdirectory and by FetchContent."""

import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CXX = os.environ.get("CXX", "g++")
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
enable_testing()
%s
add_executable(shared pipe.cc)
target_link_libraries(shared PRIVATE xzfs::xzfs)
add_executable(static pipe.cc)
target_link_libraries(static PRIVATE xzfs::xzfs_static)
target_compile_options(static PRIVATE -Wall -Wextra -Wconversion -Werror)
install(TARGETS static RUNTIME DESTINATION bin)
"""
FETCH = """
include(FetchContent)
FetchContent_Declare(xzfs URL https://nowhere.invalid/xzfs.tar.gz)
FetchContent_MakeAvailable(xzfs)
"""
# Into the folder that FetchContent takes, so that what was compiled for one is there for the other.
ADD = f"add_subdirectory({ROOT} ${{CMAKE_BINARY_DIR}}/_deps/xzfs-build)\n"


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=800, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Subproject(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="xzfs-subproject-")
        cls.addClassCleanup(shutil.rmtree, cls.work)
        shutil.copy(os.path.join(ROOT, "docs", "examples", "pipe.cc"), cls.work)
        cls.build = os.path.join(cls.work, "build")

    def build_and_run(self, how, *options, build=None):
        """Builds the project, which gets the library by `how`, and runs its programs."""
        build = build or self.build
        with open(os.path.join(self.work, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(PROJECT % how)
        run("cmake", "-S", self.work, "-B", build, "-G", "Ninja",
            f"-DCMAKE_CXX_COMPILER={CXX}", "-DCMAKE_BUILD_TYPE=Debug", *options)
        run("cmake", "--build", build)
        for name in ("shared", "static"):
            self.check_program(os.path.join(build, name))

    def check_program(self, program):
        self.assertEqual(run("sh", "-c", f"echo text | {program} | {program} -d"), "text\n")

    def names_built(self):
        return {name for _, _, names in os.walk(self.build) for name in names}

    def test_it_is_the_library_and_nothing_else(self):
        self.build_and_run(ADD)
        self.assertIn("libxzfs.so.0", self.names_built())
        self.assertEqual(self.names_built() & {"xzfs", "xzfsctl", "libxzfs_fs.a"}, set())
        with open(os.path.join(self.build, "CMakeCache.txt"), encoding="utf-8") as file:
            cache = file.read()
        for unneeded in ("FUSE3", "GTest_DIR", "fmt_DIR", "CLI11_DIR", "spdlog_DIR"):
            self.assertNotIn(unneeded, cache)
        # Tests and installed files are those of the outer project.
        self.assertIn("Total Tests: 0", run("ctest", "--test-dir", self.build, "-N"))
        prefix = os.path.join(self.work, "prefix")
        run("cmake", "--install", self.build, "--prefix", prefix)
        self.assertEqual([names for _, _, names in os.walk(prefix) if names], [["static"]])

    def test_without_the_shared_library_the_static_one_takes_its_place(self):
        self.build_and_run(ADD, "-DXZFS_SHARED=OFF", "-DXZFS_INSTALL=ON")
        prefix = os.path.join(self.work, "static")
        run("cmake", "--install", self.build, "--prefix", prefix)
        self.assertEqual([name for _, _, names in os.walk(prefix) for name in names
                          if name.startswith("libxzfs")], ["libxzfs.a"])
        # The same lines as with a shared library.
        outside = os.path.join(self.work, "outside")
        self.build_and_run("find_package(xzfs 0.1 REQUIRED)", f"-DCMAKE_PREFIX_PATH={prefix}",
                           build=outside)
        config = next(folder for folder, _, names in os.walk(prefix) if "xzfs.pc" in names)
        flags = run("pkg-config", "--cflags", "--libs", "xzfs",
                    env={**os.environ, "PKG_CONFIG_PATH": config}).split()
        run(CXX, "-std=c++20", os.path.join(self.work, "pipe.cc"), "-o",
            os.path.join(outside, "by_pkg_config"), *flags)
        self.check_program(os.path.join(outside, "by_pkg_config"))

    def test_fetch_content(self):
        self.build_and_run(FETCH, f"-DFETCHCONTENT_SOURCE_DIR_XZFS={ROOT}")
        self.assertIn("libxzfs.so.0", self.names_built())


if __name__ == "__main__":
    unittest.main()
