// Writer of xzfs/writer.h: a BlockWriter that remembers its errors.
#include "xzfs/writer.h"

#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "lib/block_writer.h"

namespace xzfs {

class Writer::Impl {
 public:
  Impl(AtomicFile file, const WriterOptions& options, Check check)
      : blocks_(std::move(file), options, check) {}

  BlockWriter& blocks() { return blocks_; }

  // Runs `step` unless an earlier one failed, and remembers whether it did.
  template <class Step>
  Status Try(const Step& step);

  Status Close();

 private:
  Status state_;  // what every further call returns, if it is an error
  BlockWriter blocks_;
};

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

Result<Writer> Writer::Create(const std::string& path, const WriterOptions& options) {
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  auto impl =
      std::make_unique<Impl>(std::move(file), options, options.check.value_or(Check::kCrc64));
  XZFS_RETURN_IF_ERROR(impl->Try([&] { return impl->blocks().Begin(); }));
  return Writer(std::move(impl));
}

Result<Writer> Writer::Append(const std::string& path, const WriterOptions& options) {
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  Result<std::shared_ptr<const OpenedFile>> base = OpenedFile::Open(path);
  const bool is_new = base ? (*base)->size() == 0 : base.error().code == ENOENT;
  if (is_new) {
    return Create(path, options);
  }
  XZFS_RETURN_IF_ERROR(base);
  if (Os::Real().Lock((*base)->fd(), /*wait=*/false) == -EWOULDBLOCK) {
    return Fail(EBUSY, path + " is locked: somebody else appends to it");
  }
  XZFS_ASSIGN_OR_RETURN(const std::unique_ptr<Reader> reader, Reader::Open(*base, path));
  if (reader->index().format() != Format::kXz) {
    return Fail(EIO, path + " is no .xz file: decompress it, and write it anew");
  }
  const std::vector<uint8_t> checks = reader->index().Checks();
  const Check kept =
      checks.size() == 1 && IsCheckSupported(Check{checks[0]}) ? Check{checks[0]} : Check::kCrc64;
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  auto impl = std::make_unique<Impl>(std::move(file), options, options.check.value_or(kept));
  XZFS_RETURN_IF_ERROR(impl->Try([&] { return impl->blocks().Begin(); }));
  XZFS_RETURN_IF_ERROR(impl->Try([&] { return impl->blocks().TakeOver(*base, *reader); }));
  return Writer(std::move(impl));
}

Status Writer::Write(std::span<const std::byte> plain) {
  return impl_->Try([&] { return impl_->blocks().Write(plain); });
}

Status Writer::EndBlock() {
  return impl_->Try([&] { return impl_->blocks().EndBlock(); });
}

Status Writer::Close() { return impl_->Close(); }

uint64_t Writer::plain_size() const { return impl_->blocks().plain_size(); }

}  // namespace xzfs
