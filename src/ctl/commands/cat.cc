// Writes a part of a compressed file to stdout, without decoding what is before it. A file in a
// mount is read as the mount shows it where that is not what its stored form decodes to: if it is
// plain or has pending changes.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "base/machine.h"
#include "base/try.h"
#include "cache/xz_reader.h"
#include "ctl/commands/commands.h"
#include "ctl/files/damage.h"
#include "ctl/files/input.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/replace/encoding.h"

namespace xzfs {
namespace {

constexpr size_t kPartBytes = size_t{1} << 20;

class CatCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Size("-o,--offset", offset_, "start at this byte (default: 0)");
    arguments.Size("-l,--length", length_, "write this many bytes (default: all)");
    DeclareThreads(arguments, threads_);
    arguments.Operand("FILE", file_, "a compressed file, or a file in a mount");
  }

  Status Run(Console& console) override {
    static_cast<void>(console);
    XZFS_ASSIGN_OR_RETURN(Input input, OpenInput(Os::Real(), file_));
    if (input.is_edited || IsShownPlain(input)) {
      XZFS_ASSIGN_OR_RETURN(const Input shown, OpenAsShown(Os::Real(), file_));
      return Copy(*shown.stored);
    }
    XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndexOf(input));
    const unsigned threads = threads_ == 0 ? UsableProcessors() : threads_;
    ReadEngine engine(DefaultEngineLimits(threads));
    engine.Start();
    const XzReader reader(engine, {.identity = Identity::Of(input.attributes),
                                   .format = index.format(),
                                   .plain_size = index.plain_size(),
                                   .stored = std::move(input.stored),
                                   .name = [this] { return file_; }});
    return Copy(BlockNamingFile(reader, index));
  }

 private:
  static bool IsShownPlain(const Input& input) {
    return IsInMount(input.descriptor.get()) && !FormatOf(input);
  }

  Status Copy(const RandomAccessFile& from) const {
    if (offset_ > from.size()) {
      return Fail(EINVAL, "--offset " + std::to_string(offset_) + " is behind the end of " + file_ +
                              ", which has " + std::to_string(from.size()) + " bytes");
    }
    const uint64_t begin = offset_;
    const uint64_t end = begin + std::min(length_, from.size() - begin);
    std::vector<std::byte> part(kPartBytes);
    for (uint64_t at = begin; at < end;) {
      const auto bytes = std::span(part).first(std::min<uint64_t>(kPartBytes, end - at));
      if (const Status read = ReadFully(from, at, bytes); !read) {
        return Fail(read.error().code, file_ + ": " + read.error().message);
      }
      XZFS_RETURN_IF_ERROR(Write(bytes));
      at += bytes.size();
    }
    return {};
  }

  static Status Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t put = write(STDOUT_FILENO, bytes.data(), bytes.size());
      if (put < 0 && errno != EINTR) {
        return FailErrno(errno, "write to stdout");
      }
      bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(put, 0)));
    }
    return {};
  }

  uint64_t offset_ = 0;
  uint64_t length_ = UINT64_MAX;
  unsigned threads_ = 0;
  std::string file_;
};

}  // namespace

std::unique_ptr<Command> MakeCatCommand() { return std::make_unique<CatCommand>(); }

}  // namespace xzfs
