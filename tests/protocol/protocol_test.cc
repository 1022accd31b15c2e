#include "protocol/protocol_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <utility>

#include "base/unique_fd.h"
#include "control/figures.h"

namespace xzfs {
namespace {

// libfuse ends its threads with pthread_cancel. One that is in perror() then, to say that the
// socket was reset (which /dev/fuse never is), would leave stderr locked for ever. It is only
// cancelled in a write, and what is buffered needs none.
char stderr_buffer[size_t{1} << 16];
const int kStderrIsBuffered = setvbuf(stderr, stderr_buffer, _IOFBF, sizeof stderr_buffer);

}  // namespace

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // poll
  }
  return true;
}

size_t OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

TestSession::TestSession(const TempDir& source, Setup setup) {
  EXPECT_EQ(kStderrIsBuffered, 0);
  Options options;
  options.cache_size_bytes = uint64_t{64} << 20;
  options.threads = 2;
  options.read_only = setup.read_only;
  if (setup.options) {
    setup.options(options);
  }
  EXPECT_TRUE(ResolveDefaults(options));
  UniqueFd root(open(source.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto mount = Mount::Create(std::move(root), options, *setup.os);
  if (!mount) {
    throw std::runtime_error(mount.error().message);
  }
  mount_ = std::move(*mount);
  InstallControl(*mount_, {});
  mount_->Start();
  auto frontend =
      FuseFrontend::Create(*mount_, options,
                           {.fsname = source.path(),
                            .debug = false,
                            .single_threaded = setup.single_threaded,
                            // It would run into the replies on a byte stream.
                            .fill_page_cache = setup.transport != FakeKernel::Transport::kStream,
                            .on_ready = std::move(setup.on_ready),
                            .before_store = std::move(setup.before_store)});
  if (!frontend) {
    throw std::runtime_error(frontend.error().message);
  }
  frontend_ = std::move(*frontend);
  kernel_ = std::make_unique<FakeKernel>(setup.transport);
  EXPECT_TRUE(frontend_->AttachSocket(kernel_->TakeServerEnd()));
  if (setup.with_init) {
    StartServing();
    EXPECT_TRUE(kernel_->Init());
  }
}

void TestSession::StartServing() {
  server_ = std::thread([this] {
    served_ = frontend_->Serve();
    returned_ = true;
  });
}

Status TestSession::Join() {
  if (server_.joinable()) {
    if (!Eventually([this] { return returned_.load(); })) {
      ADD_FAILURE() << "Serve does not return";
      kernel_->HangUp();
    }
    server_.join();
  }
  return served_;
}

TestSession::~TestSession() {
  if (server_.joinable()) {
    kernel_->ReleaseAll();
    kernel_->HangUp();
    static_cast<void>(Join());
  }
  EXPECT_EQ(kernel_->unanswered_count(), 0U);
}

void ProtocolTest::SetUp() {
  // Closing the kernel's end while a reply is on its way must not end the test.
  signal(SIGPIPE, SIG_IGN);
  descriptors_before_ = OpenDescriptors();
}

void ProtocolTest::TearDown() {
  session_.reset();
  EXPECT_EQ(OpenDescriptors(), descriptors_before_) << "descriptors leaked";
}

void ProtocolTest::Serve(TestSession::Setup setup) {
  session_ = std::make_unique<TestSession>(source_, std::move(setup));
}

void ProtocolTest::WriteCompressed(const std::string& logical, std::string_view plain,
                                   size_t block_bytes) {
  source_.Write(logical + ".xz", MakeXz(plain, block_bytes));
}

void ProtocolTest::ReplaceStored(const std::string& name, std::string_view content) {
  source_.Write(name + ".new", content);
  std::filesystem::rename(source_.path() / (name + ".new"), source_.path() / name);
}

struct stat ProtocolTest::StatStored(const std::string& name) const {
  struct stat st = {};
  EXPECT_EQ(lstat((source_.path() / name).c_str(), &st), 0) << name;
  return st;
}

uint64_t ProtocolTest::NodeOf(std::string_view name, uint64_t parent) {
  const auto entry = kernel().Lookup(parent, name);
  EXPECT_EQ(ErrorOf(entry), 0) << name;
  return entry ? entry->nodeid : 0;
}

uint64_t ProtocolTest::OpenNode(uint64_t node) {
  const auto opened = kernel().Open(node);
  EXPECT_EQ(ErrorOf(opened), 0) << "node " << node;
  return opened ? opened->fh : 0;
}

std::vector<FakeKernel::DirLine> ProtocolTest::ListFrom(uint64_t node, uint64_t offset,
                                                        uint32_t size, bool plus) {
  std::vector<FakeKernel::DirLine> all;
  for (;;) {
    auto lines =
        plus ? kernel().ReadDirPlus(node, offset, size) : kernel().ReadDir(node, offset, size);
    EXPECT_EQ(ErrorOf(lines), 0) << "offset " << offset;
    if (!lines || lines->empty()) {
      return all;
    }
    offset = lines->back().next_offset;
    all.insert(all.end(), lines->begin(), lines->end());
  }
}

}  // namespace xzfs
