"""The library is installed, and programs outside of this tree are built against it and run: those of
docs/examples, as docs/library.md shows them, with CMake and pkg-config, shared and static."""

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
# Programs of other people are compiled like this: without our paths, with all warnings.
STRICT = ["-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=200, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


EXAMPLES = os.path.join(ROOT, "docs", "examples")
CHAPTER = re.compile(r"### `docs/examples/(\w+)\.cc`\n.*?```cpp\n(.*?)```\n\n```text\n(.*?)```",
                     re.DOTALL)


def chapters():
    """{name of a program: (its source, what is done with it)} as the docs have it. The latter is as in
    a terminal: lines that begin with "$ " are commands, the others what they print."""
    with open(os.path.join(ROOT, "docs", "library.md"), encoding="utf-8") as file:
        text = file.read()
    found = {name: (source, session) for name, source, session in CHAPTER.findall(text)}
    assert len(found) == text.count("```cpp"), "a program in the docs that is no file"
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
        cls.names = sorted(chapters())
        cls.programs = os.path.join(cls.work, "programs")
        shutil.copytree(EXAMPLES, cls.programs)

    @classmethod
    def find(cls, name):
        for folder, _, names in os.walk(cls.prefix):
            if name in names:
                return os.path.join(folder, name)
        raise AssertionError(f"{name} was not installed")

    def check_session(self, program, **environment):
        """What the docs show of the program comes out of it."""
        environment["PATH"] = os.path.dirname(program) + ":" + os.environ["PATH"]
        session = chapters()[os.path.basename(program)][1]
        done = ""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            for command in re.findall(r"^\$ (.*)$", session, re.MULTILINE):
                output = subprocess.run(
                    ["sh", "-c", command], cwd=folder, env={**os.environ, **environment},
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
                    check=False).stdout
                done += f"$ {command}\n{output}"
        self.assertEqual(done, session)

    def pkg_config(self, *options):
        found = run("pkg-config", *options, "xzfs", env={
            **os.environ, "PKG_CONFIG_PATH": os.path.join(self.libdir, "pkgconfig")})
        self.assertNotIn(ROOT, found)
        return found.split()

    def needed(self, program):
        return re.findall(r"NEEDED.*\[(.*?)\]", run("readelf", "-d", program))

    def test_the_docs_show_each_program_as_it_is(self):
        files = {}
        for name in os.listdir(EXAMPLES):
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
                files[os.path.splitext(name)[0]] = file.read()
        self.assertEqual({name: source for name, (source, _) in chapters().items()}, files)
        self.assertGreaterEqual(len(files), 5)

    def test_find_package_shared_and_static(self):
        build = os.path.join(self.work, "cmake")
        targets = [f"add_executable({name} {name}.cc)\n"
                   f"target_link_libraries({name} PRIVATE xzfs::xzfs)" for name in self.names]
        targets.append("add_executable(static append_lines.cc)\n"
                       "target_link_libraries(static PRIVATE xzfs::xzfs_static)\n"
                       "set_target_properties(static PROPERTIES OUTPUT_NAME append_lines\n"
                       "  RUNTIME_OUTPUT_DIRECTORY static)")
        with open(os.path.join(self.programs, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write("cmake_minimum_required(VERSION 3.25)\nproject(programs LANGUAGES CXX)\n"
                       "find_package(xzfs 0.1 REQUIRED)\n" + "\n".join(targets))
        run("cmake", "-S", self.programs, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={CXX}",
            "-DCMAKE_CXX_FLAGS=" + " ".join(STRICT + self.linked))
        run("cmake", "--build", build)
        for name in self.names:
            program = os.path.join(build, name)
            self.assertIn("libxzfs.so.0", self.needed(program))
            self.check_session(program)
        static = os.path.join(build, "static", "append_lines")
        self.assertNotIn("libxzfs.so.0", self.needed(static))
        self.check_session(static)

    def test_pkg_config_shared_and_static(self):
        source = os.path.join(self.programs, "pipe.cc")
        program = os.path.join(self.work, "pipe")
        run(CXX, *STRICT, *self.linked, source, "-o", program,
            *self.pkg_config("--cflags", "--libs"))
        self.assertIn("libxzfs.so.0", self.needed(program))
        self.check_session(program, LD_LIBRARY_PATH=self.libdir)
        static = [{"-lxzfs": "-l:libxzfs.a"}.get(flag, flag)
                  for flag in self.pkg_config("--cflags", "--libs", "--static")]
        run(CXX, *STRICT, *self.linked, source, "-o", program, *static)
        self.assertNotIn("libxzfs.so.0", self.needed(program))
        self.check_session(program)

    def test_each_header_stands_alone_and_knows_nothing_of_liblzma(self):
        include = os.path.dirname(os.path.dirname(self.find("compress.h")))
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

    def test_each_header_says_that_it_needs_a_later_standard(self):
        for header in sorted(os.listdir(os.path.join(ROOT, "include", "xzfs"))):
            path = os.path.join(self.work, header + "-old.cc")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#include <xzfs/{header}>\n")
            done = subprocess.run(
                [CXX, "-std=c++17", "-fsyntax-only", "-I", os.path.join(ROOT, "include"), path],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
                check=False)
            self.assertNotEqual(done.returncode, 0, header)
            first = next(line for line in done.stdout.splitlines() if "error: " in line)
            self.assertIn("xzfs needs C++20", first)

    def test_the_shared_library_exports_what_headers_declare(self):
        names = re.findall(r"^\w* [A-Z] (.*)$", run(
            "nm", "-DC", "--defined-only", self.find("libxzfs.so")), re.MULTILINE)
        public = re.compile(r"(typeinfo (name )?for |vtable for )?xzfs::(BlockIndex"
                            r"|(Compress|Decompress)(or|File|Stream)?|(Descriptor|Stream)(Source|Sink)"
                            r"|(Input|Output)Stream|IsCheckSupported|RandomAccessFile"
                            r"|ReadCache|ReadFile|Reader|WriteFile|Writer)\b(?!::Impl)")
        self.assertGreater(len(names), 40)
        self.assertEqual([name for name in names if not public.match(name)], [])


if __name__ == "__main__":
    unittest.main()
