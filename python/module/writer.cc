#include "writer.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "buffer.h"
#include "gil.h"
#include "xzfs/byte_string.h"

namespace xzfs::python {
namespace {

namespace py = pybind11;

// Between pieces Python may handle its signals. A piece takes seconds at most, on one processor.
constexpr size_t kPieceBytes = size_t{8} << 20;

template <class Write>
void InPieces(std::span<const std::byte> plain, const Write& write) {
  while (!plain.empty()) {
    const auto piece = plain.first(std::min(plain.size(), kPieceBytes));
    write(piece);
    plain = plain.subspan(piece.size());
    if (PyErr_CheckSignals() != 0) {
      throw py::error_already_set();
    }
  }
}

// Puts bytes of the caller where Python can have them.
py::bytes Copy(std::span<const std::byte> bytes) {
  const std::string_view text = TextOf(bytes);
  return {text.data(), text.size()};
}

}  // namespace

Status PythonSink::Put(std::span<const std::byte> bytes) {
  const CallbackPass pass;
  if (!pass) {
    return Failure(Error{ErrorKind::kCancelled, ECANCELED, "can't write: Python has ended"});
  }
  const GilHold gil;
  try {
    while (!bytes.empty()) {
      const py::object taken = write_(Copy(bytes));
      const size_t count = taken.is_none() ? bytes.size() : taken.cast<size_t>();
      if (count == 0 || count > bytes.size()) {
        return Failure(Error{ErrorKind::kSystem, EIO,
                             "the file object took " + std::to_string(count) + " of " +
                                 std::to_string(bytes.size()) + " bytes"});
      }
      bytes = bytes.subspan(count);
    }
    return {};
  } catch (py::error_already_set& raised) {
    return Failure(raised_.Keep(raised, "writing"));
  } catch (const py::cast_error&) {
    return Failure(Error{ErrorKind::kInvalid, EINVAL,
                         "the `write` of the file object returned neither a number nor None"});
  }
}

struct WriterObject::Turn {
  explicit Turn(Writer made) : writer(std::move(made)) {}
  std::mutex mutex;  // taken without the GIL; guards the writer
  std::atomic<std::thread::id> user;
  Writer writer;
};

WriterObject::WriterObject(py::object write, const WriterOptions& options)
    : sink_(std::move(write)), turn_([&] {
        OwnException own;
        Result<Writer> writer = WithoutGil([&] {
          return Writer::Create(
              [this](std::span<const std::byte> bytes) { return sink_.Put(bytes); }, options);
        });
        if (!writer) {
          sink_.raised().Raise(writer.error(), own);
        }
        return std::make_shared<Turn>(*std::move(writer));
      }()) {}

void WriterObject::Do(const std::function<Status(Writer&)>& step) {
  std::shared_ptr<Turn> turn = turn_.Get();
  // A signal's handler, or the file object, may come back to us.
  if (turn->user == std::this_thread::get_id()) {
    throw std::runtime_error("this thread is in the middle of writing to the file");
  }
  OwnException own;
  const Status done = WithoutGil([&] {
    const std::shared_ptr<Turn> mine = std::move(turn);
    const std::lock_guard lock(mine->mutex);
    mine->user = std::this_thread::get_id();
    Status status = step(mine->writer);
    mine->user = std::thread::id();
    return status;
  });
  if (!done) {
    sink_.raised().Raise(done.error(), own);
  }
}

void WriterObject::Write(py::handle plain) {
  const ReadableBuffer buffer(plain);
  InPieces(buffer.span(), [this](std::span<const std::byte> piece) {
    Do([piece](Writer& writer) { return writer.Write(piece); });
  });
}

void WriterObject::Close() {
  Do([](Writer& writer) { return writer.Close(); });
  turn_.Reset();
}

py::bytes Compress(py::handle plain, const WriterOptions& options) {
  const ReadableBuffer buffer(plain);
  Bytes compressed;
  const Sink append = [&compressed](std::span<const std::byte> bytes) -> Status {
    compressed.insert(compressed.end(), bytes.begin(), bytes.end());
    return {};
  };
  const auto check = [](const Status& status) {
    if (!status) {
      Raise(status.error());
    }
  };
  Result<Writer> made = WithoutGil([&] { return Writer::Create(append, options); });
  if (!made) {
    Raise(made.error());
  }
  const OfProcess<Writer> writer(std::make_shared<Writer>(*std::move(made)));
  InPieces(buffer.span(), [&](std::span<const std::byte> piece) {
    check(WithoutGil([&] { return writer.Get()->Write(piece); }));
  });
  check(WithoutGil([&] { return writer.Get()->Close(); }));
  return Copy(compressed);
}

}  // namespace xzfs::python
