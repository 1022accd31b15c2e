// The rights that the threads which touch file contents give up.
#pragma once

namespace xzfs {

// Leaves the calling thread, and every thread that it starts from now on, with this: read and list
// beneath the directory `source`, use what is open already, and no set-user-ID programs. Does as
// much of it as the kernel can, silently less where it can't. For good.
void EnterSandbox(int source, bool may_write);

}  // namespace xzfs
