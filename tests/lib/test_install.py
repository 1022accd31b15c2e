"""The library is installed, and programs outside of this tree are built against it and run: the
examples of docs/library.md, with CMake and pkg-config, shared and static."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BUILD = os.environ["XZFS_BUILD"]
CXX = os.environ.get("CXX", "g++")
# As who is not us compiles: no path of ours, all warnings.
STRICT = ["-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=200, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def examples():
    """(source, what it prints) of each example in the docs."""
    with open(os.path.join(ROOT, "docs", "library.md"), encoding="utf-8") as file:
        found = re.findall(r"```cpp\n(.*?)```\n\n```text\n(.*?)```", file.read(), re.DOTALL)
    return found


def flags_of_build():
    """What a program must be linked with if the library was built with a sanitizer or coverage."""
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
        cache = file.read()
    sanitize = re.search(r"^XZFS_SANITIZE:\w+=(.+)$", cache, re.MULTILINE)
    flags = [f"-fsanitize={sanitize.group(1)}"] if sanitize else []
    if re.search(r"^XZFS_COVERAGE:BOOL=ON$", cache, re.MULTILINE):
        flags.append("--coverage")
    return flags


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="xzfs-install-")
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.prefix = os.path.join(cls.work, "first")
        for component in ("library", "development"):
            run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", component)
        # Nothing may name the place where it was.
        moved = os.path.join(cls.work, "prefix")
        os.rename(cls.prefix, moved)
        cls.prefix = moved
        cls.libdir = os.path.dirname(cls.find("libxzfs.so"))
        cls.linked = flags_of_build()
        cls.names = []
        cls.programs = os.path.join(cls.work, "programs")
        os.mkdir(cls.programs)
        for number, (source, _) in enumerate(examples()):
            cls.names.append(f"example{number}")
            with open(os.path.join(cls.programs, f"example{number}.cc"), "w",
                      encoding="utf-8") as file:
                file.write(source)

    @classmethod
    def find(cls, name):
        for folder, _, names in os.walk(cls.prefix):
            if name in names:
                return os.path.join(folder, name)
        raise AssertionError(f"{name} was not installed")

    def check_output(self, program, number, **environment):
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            output = run(program, cwd=folder, env={**os.environ, **environment})
        self.assertEqual(output, examples()[number][1])

    def pkg_config(self, *options):
        found = run("pkg-config", *options, "xzfs", env={
            **os.environ, "PKG_CONFIG_PATH": os.path.join(self.libdir, "pkgconfig")})
        self.assertNotIn(ROOT, found)
        return found.split()

    def needed(self, program):
        return re.findall(r"NEEDED.*\[(.*?)\]", run("readelf", "-d", program))

    def test_find_package_shared_and_static(self):
        self.assertGreaterEqual(len(self.names), 4)
        build = os.path.join(self.work, "cmake")
        targets = [f"add_executable({name} {name}.cc)\n"
                   f"target_link_libraries({name} PRIVATE xzfs::xzfs)" for name in self.names]
        targets.append("add_executable(static example2.cc)\n"
                       "target_link_libraries(static PRIVATE xzfs::xzfs_static)")
        with open(os.path.join(self.programs, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.25)\nproject(programs LANGUAGES CXX)\n"
                       "find_package(xzfs 0.1 REQUIRED)\n" + "\n".join(targets))
        run("cmake", "-S", self.programs, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={CXX}",
            "-DCMAKE_CXX_FLAGS=" + " ".join(STRICT + self.linked))
        run("cmake", "--build", build)
        for number, name in enumerate(self.names):
            program = os.path.join(build, name)
            self.assertIn("libxzfs.so.0", self.needed(program))
            self.check_output(program, number)
        self.assertNotIn("libxzfs.so.0", self.needed(os.path.join(build, "static")))
        self.check_output(os.path.join(build, "static"), 2)

    def test_pkg_config_shared_and_static(self):
        source = os.path.join(self.programs, "example0.cc")
        program = os.path.join(self.work, "program")
        run(CXX, *STRICT, *self.linked, source, "-o", program,
            *self.pkg_config("--cflags", "--libs"))
        self.assertIn("libxzfs.so.0", self.needed(program))
        self.check_output(program, 0, LD_LIBRARY_PATH=self.libdir)
        static = [{"-lxzfs": "-l:libxzfs.a"}.get(flag, flag)
                  for flag in self.pkg_config("--cflags", "--libs", "--static")]
        run(CXX, *STRICT, *self.linked, source, "-o", program, *static)
        self.assertNotIn("libxzfs.so.0", self.needed(program))
        self.check_output(program, 0)

    def test_each_header_stands_alone_and_knows_nothing_of_liblzma(self):
        include = os.path.dirname(os.path.dirname(self.find("codec.h")))
        headers = os.listdir(os.path.join(include, "xzfs"))
        self.assertEqual(sorted(headers), sorted(os.listdir(os.path.join(ROOT, "include", "xzfs"))))

        def compile_alone(header):
            path = os.path.join(self.work, header + ".cc")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#include <xzfs/{header}>\n#include <xzfs/{header}>\n"
                           "#ifdef LZMA_H\n#error liblzma is seen\n#endif\n")
            run(CXX, *STRICT, "-fsyntax-only", "-I", include, path)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(compile_alone, headers))

    def test_the_shared_library_exports_what_headers_declare(self):
        names = re.findall(r"^\w* [A-Z] (.*)$", run(
            "nm", "-DC", "--defined-only", self.find("libxzfs.so")), re.MULTILINE)
        public = re.compile(r"(typeinfo (name )?for |vtable for )?xzfs::(BlockIndex|Compress(or|File)?"
                            r"|Decompress(or|File)?|InputStream|IsCheckSupported|RandomAccessFile"
                            r"|ReadCache|ReadFile|Reader|WriteFile|Writer)\b(?!::Impl)")
        self.assertGreater(len(names), 40)
        self.assertEqual([name for name in names if not public.match(name)], [])


if __name__ == "__main__":
    unittest.main()
