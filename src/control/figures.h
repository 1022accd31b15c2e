// The live figures of a mount, as extended attributes.
#pragma once

namespace xzfs {

class Filesystem;

// Makes `filesystem` answer
//   user.xzfs.stats  on the mount's root: JSON, the figures of the whole mount
//   user.xzfs.info   on every file: JSON, how it is stored
// `filesystem` must not be started yet.
void InstallControl(Filesystem& filesystem);

}  // namespace xzfs
