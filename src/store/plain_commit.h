// The steps by which a compressed file takes the place of a plain one, for the commits of a mount
// and for xzfsctl. docs/commit.md, "The commit of a plain file", numbers them and says what a crash
// after each leaves. The caller decides which locks it holds.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/identity.h"
#include "base/os.h"
#include "store/claims.h"
#include "store/session.h"
#include "store/source_twins.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

// The end of a message about a file that another program may be writing to.
inline constexpr const char* kOpenElsewhere =
    " is open for writing in another mount or in the source";

// A plain file that is being committed, as it was when the commit opened it.
struct PlainFile {
  int fd = -1;  // open for reading; not owned
  struct stat attributes = {};
  std::string path;  // for messages
};

// A compressed file that has its name beside the plain one.
struct PublishedTwin {
  StoredKey key;
  bool leased = false;  // PlainFile::fd holds a lease on the plain file
};

// Step 1: takes the lock that lets only one process commit this file. The descriptor holds it.
// Errors: EBUSY: another process has it.
Status LockPlain(Os& os, const PlainFile& plain);
// Also step 1: fails with EBUSY if a program has the file open for writing, before the file is
// encoded in vain.
Status CheckUnopened(Os& os, const PlainFile& plain);

// Step 4: gives the new file `to` the owner, mode, extended attributes and ACLs of the open file
// `from`, and `times`. `attributes`: a stat of `from`.
Status CopyMetadata(Os& os, int from, const struct stat& attributes, const struct timespec times[2],
                    int to, const std::string& path);

// Whether the stored file `name` still is the version that was compressed.
Result<bool> IsCurrent(Os& os, int dir, const std::string& name, const Identity& identity);

// Moves the old file that `claim` names from the directory `dir` into the session's folder. If
// `temp`, the complete new file, isn't null, it gets the old one's name in the same step. Then it
// looks at the file that was moved: just before the rename another program could have given the
// name to another file. If it is another one, both files get their names back: ESTALE, and `temp`
// is the old file or has no name. If that fails, the claim is let go, and the next mount gives the
// names back. Errors: ESTALE; EINVAL if the file system can't exchange names: nothing was done.
// REQUIRES: `claim` is of kind kAside, on the disk, and names both files.
Status PutAside(Os& os, int dir, Session& session, HeldClaim& claim, TempFile* temp);

// Step 6: gives the session's complete file `temp` the name `N.xz` beside the plain `name`, and
// replaces nothing; `temp` loses its own name. First removes what an interrupted commit has left
// there. From then on a lease is held. Returns nothing, and holds no lease, if another file has the
// name. REQUIRES: a claim names both, and is on the disk. Errors: ESTALE if the plain file changed,
// EBUSY if a program has it open for writing.
Result<std::optional<PublishedTwin>> PublishTwin(Os& os, TwinRecords& twins, const PlainFile& plain,
                                                 int dir, const std::string& name,
                                                 const Session& session, TempFile& temp);

// Step 8: removes the plain file. REQUIRES: `dir` was synced since PublishTwin. Errors: ESTALE if
// it or the twin is not what it was, EBUSY if a program opened it for writing.
Status RemovePlain(Os& os, const PlainFile& plain, int dir, const std::string& name,
                   const PublishedTwin& twin);

// After a failure: removes the twin of the plain `name`, if it is still there and unchanged.
Status RemoveTwin(Os& os, int dir, const std::string& name, const StoredKey& twin);

// The stored name that the plain file `name` gets when it is compressed.
std::string CompressedNameOfPlain(const std::string& name);

}  // namespace xzfs
