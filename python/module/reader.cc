// A read goes in pieces. Between them Python may handle its signals, such as Ctrl-C. The bytes of a
// long read are allocated as they come: the size of a file is what the file says, and a hostile one
// claims any. A piece is read into Python's memory without the GIL.
#include "reader.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "abandon.h"
#include "buffer.h"
#include "errors.h"
#include "gil.h"

namespace xzfs::python {
namespace {

namespace py = pybind11;

// Takes a second at most; has enough Blocks for many processors.
constexpr size_t kPieceBytes = size_t{64} << 20;
// What is allocated before a byte was decoded.
constexpr uint64_t kTrustedBytes = uint64_t{256} << 20;

// A cache whose threads live in this process.
struct SharedCache {
  pid_t pid = getpid();
  std::optional<ReadCache> cache = {};
};

// It is never destroyed: that could wait for threads while the process ends.
SharedCache& TheSharedCache() {
  static SharedCache* const shared = std::make_unique<SharedCache>().release();
  return *shared;
}

ReadCache MakeCache(const ReadCacheOptions& options) {
  Result<ReadCache> cache = ReadCache::Create(options);
  if (!cache) {
    Raise(cache.error());
  }
  return *std::move(cache);
}

ReadCache CacheFor(const ReadCacheOptions& options) {
  const ReadCacheOptions defaults;
  if (options.threads != defaults.threads || options.memory_bytes != defaults.memory_bytes ||
      options.memory_limit_bytes) {
    return MakeCache(options);
  }
  SharedCache& shared = TheSharedCache();
  if (shared.pid != getpid()) {
    // Its threads stayed in the parent, so it can't be destroyed.
    Abandon(std::move(shared));
    shared = SharedCache();
  }
  if (!shared.cache) {
    shared.cache = MakeCache(options);
  }
  return *shared.cache;
}

std::shared_ptr<const Reader> Shared(Result<Reader> reader) {
  return std::make_shared<const Reader>(*std::move(reader));
}

void CheckSignals() {
  if (PyErr_CheckSignals() != 0) {
    throw py::error_already_set();
  }
}

// The bytes that `read(done, out)` gives, `length` in all, a piece a time.
template <class Read>
py::object BytesOf(uint64_t length, const Read& read) {
  auto size = static_cast<Py_ssize_t>(std::min(length, kTrustedBytes));
  auto bytes = py::reinterpret_steal<py::object>(PyBytes_FromStringAndSize(nullptr, size));
  for (uint64_t done = 0; bytes && done < length;) {
    if (done == static_cast<uint64_t>(size)) {
      size = static_cast<Py_ssize_t>(std::min(length, 2 * done));
      PyObject* grown = bytes.release().ptr();
      _PyBytes_Resize(&grown, size);
      bytes = py::reinterpret_steal<py::object>(grown);
      continue;
    }
    const size_t piece = std::min(kPieceBytes, static_cast<size_t>(size) - done);
    read(done, std::as_writable_bytes(std::span(PyBytes_AS_STRING(bytes.ptr()) + done, piece)));
    done += piece;
    CheckSignals();
  }
  if (!bytes) {
    throw py::error_already_set();
  }
  return bytes;
}

// Bytes in memory.
class MemoryFile : public RandomAccessFile {
 public:
  explicit MemoryFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) {
      return size_t{0};
    }
    const size_t length = std::min(out.size(), static_cast<size_t>(bytes_.size() - offset));
    std::memcpy(out.data(), bytes_.data() + offset, length);
    return length;
  }
  uint64_t size() const override { return bytes_.size(); }

 private:
  const std::span<const std::byte> bytes_;
};

}  // namespace

std::unique_ptr<ReaderObject> ReaderObject::OfDescriptor(int descriptor, const std::string& name,
                                                         const ReadCacheOptions& options) {
  ReadCache cache = CacheFor(options);
  Result<Reader> reader =
      WithoutGil([&] { return Reader::OpenDescriptor(descriptor, name, std::move(cache)); });
  if (!reader) {
    Raise(reader.error());
  }
  return std::unique_ptr<ReaderObject>(new ReaderObject(Shared(std::move(reader)), nullptr));
}

std::unique_ptr<ReaderObject> ReaderObject::OfFile(std::shared_ptr<const PythonFile> file,
                                                   const std::string& name,
                                                   const ReadCacheOptions& options) {
  OwnException own;
  Result<Reader> reader = WithoutGil([&] { return Reader::Open(file, name, options); });
  if (!reader) {
    file->raised().Raise(reader.error(), own);
  }
  auto shared = Shared(std::move(reader));
  return std::unique_ptr<ReaderObject>(new ReaderObject(std::move(shared), std::move(file)));
}

// If another thread decoded what this one wanted, that thread has the exception of the file object.
// So this one tries once itself.
void ReaderObject::Read(uint64_t offset, std::span<std::byte> out) const {
  for (int tries_left = 2;;) {
    std::shared_ptr<const Reader> reader = reader_.Get();
    OwnException own;
    const Result<size_t> got = WithoutGil([&] {
      const std::shared_ptr<const Reader> mine = std::move(reader);
      return mine->ReadAt(offset, out);
    });
    if (got) {
      return;
    }
    if (file_ == nullptr) {
      Raise(got.error());
    }
    if (--tries_left == 0 || got.error().kind != ErrorKind::kSystem ||
        file_->raised().Has(got.error(), own)) {
      file_->raised().Raise(got.error(), own);
    }
  }
}

py::object ReaderObject::ReadAt(uint64_t offset, uint64_t size) const {
  const uint64_t end = this->size();
  const uint64_t length = offset < end ? std::min(size, end - offset) : 0;
  return BytesOf(length,
                 [&](uint64_t done, std::span<std::byte> out) { Read(offset + done, out); });
}

size_t ReaderObject::ReadInto(uint64_t offset, py::handle buffer) const {
  const WritableBuffer writable(buffer);
  const uint64_t end = size();
  const uint64_t left = offset < end ? end - offset : 0;
  const auto out =
      writable.span().first(static_cast<size_t>(std::min<uint64_t>(writable.span().size(), left)));
  for (size_t done = 0; done < out.size(); done += kPieceBytes) {
    Read(offset + done, out.subspan(done, std::min(kPieceBytes, out.size() - done)));
    CheckSignals();
  }
  return out.size();
}

py::tuple ReaderObject::Block(uint64_t number) const {
  const std::shared_ptr<const Reader> reader = reader_.Get();
  if (number >= reader->index().block_count()) {
    throw py::index_error("there is no Block " + std::to_string(number));
  }
  const BlockInfo block = reader->index().Block(number);
  return py::make_tuple(block.number, block.plain_offset, block.plain_size, block.compressed_offset,
                        block.unpadded_size, static_cast<unsigned>(block.check));
}

uint64_t ReaderObject::Find(uint64_t offset) const {
  const std::shared_ptr<const Reader> reader = reader_.Get();
  if (offset >= reader->size()) {
    throw py::index_error("the byte at " + std::to_string(offset) + " is beyond the end");
  }
  return reader->index().Find(offset).number;
}

py::object Decompress(py::handle data, unsigned threads) {
  const ReadableBuffer buffer(data);
  const auto file = std::make_shared<const MemoryFile>(buffer.span());
  std::optional<Reader> reader = WithoutGil([&]() -> std::optional<Reader> {
    const Result<BlockIndex> index = BlockIndex::Read(*file, Format::kXz);
    if (!index || index->block_count() < 2) {
      return std::nullopt;
    }
    Result<Reader> opened = Reader::Open(file, "data", ReadCacheOptions{.threads = threads});
    return opened ? std::optional(*std::move(opened)) : std::nullopt;
  });
  if (!reader) {
    return py::none();
  }
  return BytesOf(reader->size(), [&](uint64_t done, std::span<std::byte> out) {
    const Result<size_t> got = WithoutGil([&] { return reader->ReadAt(done, out); });
    if (!got) {
      Raise(got.error());
    }
  });
}

void DropSharedCache() {
  SharedCache& shared = TheSharedCache();
  if (shared.pid == getpid()) {
    std::optional<ReadCache> cache = std::exchange(shared.cache, std::nullopt);
    WithoutGil([&cache] { cache.reset(); });
  }
}

}  // namespace xzfs::python
