// Our own code, because libsystemd would be a large library for one datagram.
#include "main/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace xzfs {

Notifier Notifier::FromEnvironment() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  return address == nullptr ? Notifier() : To(address);
}

Notifier Notifier::To(std::string_view address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  // Other kinds of address (vsock:) are for virtual machines' managers.
  if (address.size() < 2 || address.size() >= sizeof name.sun_path ||
      (address[0] != '/' && address[0] != '@')) {
    return Notifier();
  }
  std::memcpy(name.sun_path, address.data(), address.size());
  if (address[0] == '@') {
    name.sun_path[0] = '\0';
  }
  // Sends datagrams, and never waits: a manager that doesn't read must not delay a request.
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  if (!socket.valid() ||
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    return Notifier();
  }
  return Notifier(std::move(socket));
}

void Notifier::Send(std::string_view assignments) const {
  if (socket_.valid()) {
    send(socket_.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL);
  }
}

}  // namespace xzfs
