// Reports the progress of the start to systemd, or to another manager that set NOTIFY_SOCKET: the
// protocol of sd_notify(3).
#pragma once

#include <string_view>

#include "base/unique_fd.h"

namespace xzfs {

// A connection to the service manager; without one, Send does nothing. Thread-safe once made.
class Notifier {
 public:
  // Connects to the socket that NOTIFY_SOCKET names. REQUIRES: nothing is mounted yet. Later the
  // socket's path might lead into the mount, whose only answering thread would wait for itself.
  static Notifier FromEnvironment();
  // The same for a given socket: a path, or '@' and an abstract name.
  static Notifier To(std::string_view address);

  Notifier() = default;

  // Sends assignments such as "READY=1". Errors are ignored, since nothing can be done about them.
  void Send(std::string_view assignments) const;

 private:
  explicit Notifier(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace xzfs
