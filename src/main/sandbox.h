// The rights that the threads which touch file contents give up.
#pragma once

namespace xzfs {

// Restricts the calling thread, and every thread that it starts from now on, to these rights: read
// and list beneath the directory `source`, and change files there if `may_write`; use open
// descriptors; no set-user-ID programs. Applies as much of it as the kernel supports, without an
// error if that is less. It can't be undone.
void EnterSandbox(int source, bool may_write);

}  // namespace xzfs
