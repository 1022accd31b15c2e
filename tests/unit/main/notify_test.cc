#include "main/notify.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

// The socket of a service manager.
class Listener {
 public:
  // '@' begins an abstract name.
  explicit Listener(const std::string& address)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.data(), address.size());
    if (address[0] == '@') {
      name.sun_path[0] = '\0';
    }
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&name),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size())),
              0);
  }
  // The next datagram, or "".
  std::string Take() {
    char buffer[256];
    const ssize_t got = recv(socket_.get(), buffer, sizeof buffer, 0);
    return got < 0 ? "" : std::string(buffer, static_cast<size_t>(got));
  }

 private:
  UniqueFd socket_;
};

TEST(Notifier, SendsToAPath) {
  TempDir folder;
  Listener listener(folder / "notify");
  setenv("NOTIFY_SOCKET", (folder / "notify").c_str(), 1);
  const Notifier notifier = Notifier::FromEnvironment();
  unsetenv("NOTIFY_SOCKET");
  notifier.Send("READY=1");
  notifier.Send("STOPPING=1");
  EXPECT_EQ(listener.Take(), "READY=1");
  EXPECT_EQ(listener.Take(), "STOPPING=1");
  EXPECT_EQ(listener.Take(), "");
}

TEST(Notifier, SendsToAnAbstractName) {
  const std::string name = "@xzfs-notify-test-" + std::to_string(getpid());
  Listener listener(name);
  Notifier::To(name).Send("READY=1");
  EXPECT_EQ(listener.Take(), "READY=1");
}

TEST(Notifier, StaysConnectedWhenThePathIsRemoved) {
  TempDir folder;
  Listener listener(folder / "notify");
  const Notifier notifier = Notifier::To(folder / "notify");
  unlink((folder / "notify").c_str());
  notifier.Send("READY=1");
  EXPECT_EQ(listener.Take(), "READY=1");
}

TEST(Notifier, NeverWaitsForAManagerThatDoesNotRead) {
  TempDir folder;
  Listener listener(folder / "notify");
  const Notifier notifier = Notifier::To(folder / "notify");
  for (int i = 0; i < 10000; ++i) {
    notifier.Send("READY=1");
  }
}

TEST(Notifier, DoesNothingWithoutAManager) {
  unsetenv("NOTIFY_SOCKET");
  Notifier::FromEnvironment().Send("READY=1");
  for (const std::string& address :
       {std::string(), std::string("/"), std::string("/nonexistent/notify"),
        std::string("relative"), std::string("vsock:2:1"), "/" + std::string(200, 'x')}) {
    Notifier::To(address).Send("READY=1");
  }
}

}  // namespace
}  // namespace xzfs
