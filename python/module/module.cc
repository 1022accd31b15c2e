// The module `_xzfs`, which the package `xzfs` is made of: bytes and numbers, no conveniences.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gil.h"
#include "python_file.h"
#include "reader.h"
#include "writer.h"

namespace {

namespace py = pybind11;
using xzfs::python::PythonFile;
using xzfs::python::ReaderObject;
using xzfs::python::WriterObject;

xzfs::ReadCacheOptions CacheOptions(unsigned threads, std::optional<uint64_t> cache_size,
                                    std::optional<uint64_t> memory_limit) {
  xzfs::ReadCacheOptions options{.threads = threads, .memory_limit_bytes = memory_limit};
  options.memory_bytes = cache_size.value_or(options.memory_bytes);
  return options;
}

xzfs::WriterOptions Options(unsigned preset, bool extreme, unsigned check, uint64_t block_size,
                            unsigned threads) {
  return {.preset = preset,
          .extreme = extreme,
          .check = static_cast<xzfs::Check>(check),
          .block_bytes = block_size,
          .threads = threads};
}

void DefineReader(py::module_& module) {
  py::class_<ReaderObject>(module, "Reader")
      .def_static(
          "of_descriptor",
          [](int descriptor, const std::string& name, unsigned threads,
             std::optional<uint64_t> cache_size, std::optional<uint64_t> memory_limit) {
            return ReaderObject::OfDescriptor(descriptor, name,
                                              CacheOptions(threads, cache_size, memory_limit));
          },
          py::arg("descriptor"), py::arg("name"), py::kw_only(), py::arg("threads"),
          py::arg("cache_size"), py::arg("memory_limit"))
      .def_static(
          "of_file",
          [](py::object file, uint64_t base, uint64_t size, const std::string& name,
             unsigned threads, std::optional<uint64_t> cache_size,
             std::optional<uint64_t> memory_limit) {
            return ReaderObject::OfFile(
                std::make_shared<const PythonFile>(std::move(file), base, size, name), name,
                CacheOptions(threads, cache_size, memory_limit));
          },
          py::arg("file"), py::arg("base"), py::arg("size"), py::arg("name"), py::kw_only(),
          py::arg("threads"), py::arg("cache_size"), py::arg("memory_limit"))
      .def("read_at", &ReaderObject::ReadAt, py::arg("offset"), py::arg("size"))
      .def("readinto_at", &ReaderObject::ReadInto, py::arg("offset"), py::arg("buffer"))
      .def_property_readonly("size", &ReaderObject::size)
      .def_property_readonly("compressed_size", &ReaderObject::compressed_size)
      .def_property_readonly("block_count", &ReaderObject::block_count)
      .def("block", &ReaderObject::Block, py::arg("number"))
      .def("find", &ReaderObject::Find, py::arg("offset"))
      .def("close", &ReaderObject::Close);
}

void DefineWriter(py::module_& module) {
  py::class_<WriterObject>(module, "Writer")
      .def(py::init([](py::object write, unsigned preset, bool extreme, unsigned check,
                       uint64_t block_size, unsigned threads) {
             return std::make_unique<WriterObject>(
                 std::move(write), Options(preset, extreme, check, block_size, threads));
           }),
           py::arg("write"), py::kw_only(), py::arg("preset"), py::arg("extreme"), py::arg("check"),
           py::arg("block_size"), py::arg("threads"))
      .def("write", &WriterObject::Write, py::arg("data"))
      .def("close", &WriterObject::Close);
}

}  // namespace

PYBIND11_MODULE(_xzfs, module) {
  DefineReader(module);
  DefineWriter(module);
  module.def(
      "compress",
      [](py::handle data, unsigned preset, bool extreme, unsigned check, uint64_t block_size,
         unsigned threads) {
        return xzfs::python::Compress(data, Options(preset, extreme, check, block_size, threads));
      },
      py::arg("data"), py::kw_only(), py::arg("preset"), py::arg("extreme"), py::arg("check"),
      py::arg("block_size"), py::arg("threads"));
  module.def("decompress", &xzfs::python::Decompress, py::arg("data"), py::kw_only(),
             py::arg("threads"));
  // No thread of ours may enter an interpreter that ends.
  py::module_::import("atexit").attr("register")(py::cpp_function([] {
    xzfs::python::EndCallbacks();
    xzfs::python::DropSharedCache();
  }));
}
