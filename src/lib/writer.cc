// Writer of xzfs/writer.h: a BlockWriter that remembers its errors.
#include "xzfs/writer.h"

#include <cerrno>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "lib/block_writer.h"

namespace xzfs {
namespace {

// The Check of what is appended to a file: the one that the file has.
Check CheckOf(const BlockIndex& index) {
  const std::vector<Check> checks = index.Checks();
  return checks.size() == 1 && IsCheckSupported(checks[0]) ? checks[0] : Check::kCrc64;
}

}  // namespace

class Writer::Impl {
 public:
  Impl(BlockWriter::Output output, const WriterOptions& options, Check check)
      : blocks_(std::move(output), options, check) {}

  // Errors: as Writer::Create. `check`: if the options name none.
  static Result<std::unique_ptr<Impl>> Begin(BlockWriter::Output output,
                                             const WriterOptions& options, Check check);
  // To the file at `path`.
  static Result<std::unique_ptr<Impl>> Begin(const std::string& path, const WriterOptions& options,
                                             Check check);

  BlockWriter& blocks() { return blocks_; }

  // Runs `step` unless an earlier one failed, and remembers whether it did.
  template <class Step>
  Status Try(const Step& step);

  Status Close();

 private:
  Status state_;  // what every further call returns, if it is an error
  BlockWriter blocks_;
};

Result<std::unique_ptr<Writer::Impl>> Writer::Impl::Begin(BlockWriter::Output output,
                                                          const WriterOptions& options,
                                                          Check check) {
  auto impl = std::make_unique<Impl>(std::move(output), options, options.check.value_or(check));
  XZFS_RETURN_IF_ERROR(impl->Try([&] { return impl->blocks().Begin(); }));
  return impl;
}

Result<std::unique_ptr<Writer::Impl>> Writer::Impl::Begin(const std::string& path,
                                                          const WriterOptions& options,
                                                          Check check) {
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  return Begin(BlockWriter::Output(std::move(file)), options, check);
}

template <class Step>
Status Writer::Impl::Try(const Step& step) try {
  if (state_) {
    state_ = step();
  }
  return state_;
} catch (const std::bad_alloc&) {
  state_ = Fail(ENOMEM, "no memory for another Block: use smaller ones, or fewer threads");
  return state_;
}

Status Writer::Impl::Close() {
  XZFS_RETURN_IF_ERROR(Try([this]() -> Status {
    XZFS_RETURN_IF_ERROR(blocks_.Finish());
    return blocks_.Publish();
  }));
  state_ = Fail(EINVAL, "the file is closed: append to it with a new Writer");
  return {};
}

Writer::Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Writer::~Writer() = default;
Writer::Writer(Writer&& other) noexcept = default;
Writer& Writer::operator=(Writer&& other) noexcept = default;

Result<Writer> Writer::Create(const std::filesystem::path& path, const WriterOptions& options) {
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  XZFS_ASSIGN_OR_RETURN(auto impl, Impl::Begin(path.string(), options, Check::kCrc64));
  return Writer(std::move(impl));
}

Result<Writer> Writer::Create(Sink sink, const WriterOptions& options) {
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  XZFS_ASSIGN_OR_RETURN(auto impl,
                        Impl::Begin(BlockWriter::Output(std::move(sink)), options, Check::kCrc64));
  return Writer(std::move(impl));
}

Result<Writer> Writer::Append(const std::filesystem::path& file, const WriterOptions& options) {
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  const std::string path = file.string();
  std::shared_ptr<const OpenedFile> base;  // null: there is nothing that could be locked
  std::optional<Reader> reader;            // unset: there is nothing to take over
  Check check = Check::kCrc64;
  if (auto opened = OpenedFile::Open(path); opened) {
    base = *std::move(opened);
  } else if (opened.error().code != ENOENT) {
    return Failure(std::move(opened).error());
  }
  if (base != nullptr && Os::Real().TryLock(base->fd()) == -EWOULDBLOCK) {
    return Fail(EBUSY, path + " is locked: another Writer appends to it");
  }
  if (base != nullptr && base->size() != 0) {
    XZFS_ASSIGN_OR_RETURN(reader, Reader::Open(base, path));
    if (reader->index().format() != Format::kXz) {
      return Fail(EIO, path + " is not an .xz file: decompress it, and compress it as .xz");
    }
    check = CheckOf(reader->index());
  }
  XZFS_ASSIGN_OR_RETURN(auto impl, Impl::Begin(path, options, check));
  impl->blocks().AppendTo(std::move(base));
  if (reader) {
    XZFS_RETURN_IF_ERROR(impl->Try([&] { return impl->blocks().TakeOver(*reader); }));
  }
  return Writer(std::move(impl));
}

Status Writer::Write(std::span<const std::byte> plain) {
  return impl_->Try([&] { return impl_->blocks().Write(plain); });
}

Status Writer::Write(std::string_view plain) { return Write(BytesOf(plain)); }

Status Writer::EndBlock() {
  return impl_->Try([&] { return impl_->blocks().EndBlock(); });
}

Status Writer::Close() { return impl_->Close(); }

uint64_t Writer::plain_size() const { return impl_->blocks().plain_size(); }

}  // namespace xzfs
