// Reader and ReadCache of xzfs/reader.h: the engine of a mount and its XzReader. Opening finds the
// format, loads the Index through the engine and makes the XzReader. A read within one Block goes
// straight to it. A range of several Blocks is shared out, a Block a time, to the threads that are
// free; each writes into its part of the caller's buffer, and one error fails the whole read.
//
// Reading a stored file takes one of the engine's few turns. If the file is itself read out of a
// Reader with the same engine, a thread would wait for itself, or two threads for each other. So
// each thread knows for which engines it is reading now (StoredRead), and such a read fails at
// once.
//
// The cache tells files apart by their Identity. Bytes that are in no file get one of their own, so
// two Readers of them share nothing.
#include "xzfs/reader.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/mutex.h"
#include "base/parallel_for.h"
#include "base/try.h"
#include "cache/xz_reader.h"
#include "lib/opened_file.h"
#include "lib/read_cache.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// Less has no room for a useful decoder or Block.
constexpr uint64_t kLeastMemory = uint64_t{16} << 20;

// The largest dictionary of the formats has 4 GiB.
constexpr uint64_t kMemoryLimit = uint64_t{5} << 30;

ReadEngine::Limits LimitsOf(const ReadCacheOptions& options) {
  const uint64_t memory = std::max(options.memory_bytes, kLeastMemory);
  return {
      .budget_bytes = static_cast<size_t>(memory),
      .threads = options.threads == 0 ? UsableProcessors() : options.threads,
      .whole_block_bytes = options.whole_block_bytes == 0 ? memory / 8 : options.whole_block_bytes,
      .memory_limit_bytes = options.memory_limit_bytes.value_or(kMemoryLimit)};
}

// For bytes that are in no file. Each object gets its own, on a device that doesn't exist.
Identity NewIdentity(uint64_t size) {
  static std::atomic<uint64_t> next{1};
  return {.device = UINT64_MAX, .inode = next.fetch_add(1), .size_bytes = size};
}

// While it lives, its thread reads a stored file for this engine.
class StoredRead {
 public:
  explicit StoredRead(const ReadEngine& engine) : engine_(engine), outer_(latest_) {
    latest_ = this;
  }
  ~StoredRead() { latest_ = outer_; }
  StoredRead(const StoredRead&) = delete;
  StoredRead& operator=(const StoredRead&) = delete;

  static bool IsUnderWay(const ReadEngine& engine) {
    const StoredRead* read = latest_;
    while (read != nullptr && &read->engine_ != &engine) {
      read = read->outer_;
    }
    return read != nullptr;
  }

 private:
  static thread_local const StoredRead* latest_;
  const ReadEngine& engine_;
  const StoredRead* const outer_;
};

thread_local const StoredRead* StoredRead::latest_ = nullptr;

// Reads `stored`, and notes during the read that it is for this engine.
class EngineStored : public RandomAccessFile {
 public:
  EngineStored(const ReadEngine& engine, std::shared_ptr<const RandomAccessFile> stored)
      : engine_(engine), stored_(std::move(stored)) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    const StoredRead read(engine_);
    return stored_->ReadAt(offset, out);
  }
  uint64_t size() const override { return stored_->size(); }
  void WillRead(uint64_t offset, uint64_t length) const override {
    stored_->WillRead(offset, length);
  }

 private:
  const ReadEngine& engine_;
  const std::shared_ptr<const RandomAccessFile> stored_;
};

}  // namespace

ReadCache::ReadCache(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<ReadCache> ReadCache::Create(const ReadCacheOptions& options) try {
  return ReadCache(std::make_shared<Impl>(LimitsOf(options)));
} catch (const std::system_error& error) {
  return FailErrno(error.code().value(), "start threads that decode");
}

class Reader::Impl {
 public:
  Impl(ReadCache cache, LoadedIndexPtr loaded, XzReader::Source source)
      : cache_(std::move(cache)),
        stored_(source.stored),
        loaded_(std::move(loaded)),
        reader_(cache_.impl_->engine, std::move(source)) {}

  static Result<std::unique_ptr<Impl>> Open(std::shared_ptr<const RandomAccessFile> stored,
                                            const Identity& identity, const std::string& name,
                                            ReadCache cache);

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const;
  uint64_t size() const { return reader_.size(); }
  const BlockIndex& index() const { return loaded_->index(); }
  uint64_t compressed_size() const { return stored_->size(); }

 private:
  const ReadCache cache_;  // outlives reader_
  const std::shared_ptr<const RandomAccessFile> stored_;
  const LoadedIndexPtr loaded_;
  const XzReader reader_;
};

Result<std::unique_ptr<Reader::Impl>> Reader::Impl::Open(
    std::shared_ptr<const RandomAccessFile> stored, const Identity& identity,
    const std::string& name, ReadCache cache) {
  stored = std::make_shared<EngineStored>(cache.impl_->engine, std::move(stored));
  const auto named = [&name](Error error) {
    error.message = name + ": " + error.message;
    return Failure(std::move(error));
  };
  const Result<Format> format = FormatOf(*stored);
  if (!format) {
    return named(format.error());
  }
  XzReader::Source source;
  source.identity = identity;
  source.format = *format;
  source.stored = std::move(stored);
  source.name = [name] { return name; };
  Result<LoadedIndexPtr> loaded = cache.impl_->engine.indexes.Get(source.identity, source.format, 0,
                                                                  *source.stored, source.name);
  if (!loaded) {
    return named(std::move(loaded).error());
  }
  source.plain_size = (*loaded)->index().plain_size();
  source.file_id = (*loaded)->id();
  return std::make_unique<Impl>(std::move(cache), *std::move(loaded), std::move(source));
}

Result<size_t> Reader::Impl::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (StoredRead::IsUnderWay(cache_.impl_->engine)) {
    return Fail(EINVAL, loaded_->name() +
                            " is read by a Reader with the same ReadCache: nested Readers must not "
                            "share one");
  }
  if (offset >= size() || out.empty()) {
    return size_t{0};
  }
  const uint64_t end = offset + std::min<uint64_t>(out.size(), size() - offset);
  std::vector<uint64_t> begins;
  for (uint64_t at = offset; at < end;) {
    begins.push_back(at);
    const BlockInfo block = index().Find(at);
    at = block.plain_offset + block.plain_size;
  }
  if (begins.size() == 1) {
    return reader_.ReadAt(offset, out.first(static_cast<size_t>(end - offset)));
  }
  begins.push_back(end);
  Mutex mutex;
  std::optional<Error> first_error;
  const auto read = [&](size_t i) {
    const std::span<std::byte> part = out.subspan(static_cast<size_t>(begins[i] - offset),
                                                  static_cast<size_t>(begins[i + 1] - begins[i]));
    const Result<size_t> got = reader_.ReadAt(begins[i], part);
    if (!got) {
      MutexLock lock(mutex);
      first_error = first_error ? std::move(first_error) : got.error();
    }
  };
  ParallelFor(cache_.impl_->engine.pool, cache_.impl_->threads - 1, begins.size() - 1, read,
              /*group=*/1);
  if (first_error) {
    return Failure(*std::move(first_error));
  }
  return static_cast<size_t>(end - offset);
}

Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reader::~Reader() = default;
Reader::Reader(Reader&& other) noexcept = default;
Reader& Reader::operator=(Reader&& other) noexcept = default;

Result<Reader> Reader::Open(const std::filesystem::path& path, const ReadCacheOptions& options) {
  XZFS_ASSIGN_OR_RETURN(ReadCache cache, ReadCache::Create(options));
  return Open(path, std::move(cache));
}

Result<Reader> Reader::Open(const std::filesystem::path& path, ReadCache cache) {
  XZFS_ASSIGN_OR_RETURN(const std::shared_ptr<const OpenedFile> file,
                        OpenedFile::Open(path.string()));
  XZFS_ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl,
                        Impl::Open(file, file->identity(), path.string(), std::move(cache)));
  return Reader(std::move(impl));
}

Result<Reader> Reader::OpenDescriptor(int descriptor, const std::string& name, ReadCache cache) {
  XZFS_ASSIGN_OR_RETURN(const std::shared_ptr<const OpenedFile> file,
                        OpenedFile::Duplicate(descriptor, name));
  XZFS_ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl,
                        Impl::Open(file, file->identity(), name, std::move(cache)));
  return Reader(std::move(impl));
}

Result<Reader> Reader::Open(std::shared_ptr<const RandomAccessFile> stored, const std::string& name,
                            const ReadCacheOptions& options) {
  XZFS_ASSIGN_OR_RETURN(ReadCache cache, ReadCache::Create(options));
  return Open(std::move(stored), name, std::move(cache));
}

Result<Reader> Reader::Open(std::shared_ptr<const RandomAccessFile> stored, const std::string& name,
                            ReadCache cache) {
  const Identity identity = NewIdentity(stored->size());
  XZFS_ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl,
                        Impl::Open(std::move(stored), identity, name, std::move(cache)));
  return Reader(std::move(impl));
}

Result<size_t> Reader::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  return impl_->ReadAt(offset, out);
}

Result<Bytes> Reader::Read(uint64_t offset, uint64_t length) const try {
  Bytes out(offset < size() ? static_cast<size_t>(std::min(length, size() - offset)) : 0);
  XZFS_RETURN_IF_ERROR(ReadAt(offset, std::span(out)));
  return out;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory for " + std::to_string(length) + " bytes");
}

uint64_t Reader::size() const { return impl_->size(); }
const BlockIndex& Reader::index() const { return impl_->index(); }
uint64_t Reader::compressed_size() const { return impl_->compressed_size(); }

}  // namespace xzfs
