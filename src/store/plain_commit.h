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

// Where somebody else may be writing to a file: the end of a message.
inline constexpr const char* kOpenElsewhere =
    " is open for writing in another mount or in the source";

// A plain file that is committed, as it was when it was opened.
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

// Step 1: of several who would commit it one does. The lock goes with the descriptor. Errors:
// EBUSY.
Status LockPlain(Os& os, const PlainFile& plain);
// Also step 1: finds out who has it open for writing before it is encoded for nothing. Errors:
// EBUSY.
Status CheckUnopened(Os& os, const PlainFile& plain);

// Step 4: owner, mode, attributes and ACLs of the open file `from`, of which `attributes` were
// stated, and `times`, for the new file `to`.
Status CopyMetadata(Os& os, int from, const struct stat& attributes, const struct timespec times[2],
                    int to, const std::string& path);

// Whether the stored file `name` still is what was compressed.
Result<bool> IsCurrent(Os& os, int dir, const std::string& name, const Identity& identity);

// The old file `claim` is on, in the directory `dir`, goes into the session's folder. If `temp`,
// the complete new file, isn't null it gets the old one's name in the same step. What was taken
// away is looked at there: between a look and a rename somebody else could have given the name to
// another file. If it is another one all goes back. `temp` is the old file then, or has no name. If
// it can't go back the claim was let go: the next mount does it. Errors: ESTALE; EINVAL if the file
// system can't exchange names, and nothing was done. REQUIRES: `claim` is of kind kAside, on the
// disk, and names both files.
Status PutAside(Os& os, int dir, Session& session, HeldClaim& claim, TempFile* temp);

// Step 6: the session's complete file `temp` gets the name `N.xz` beside the plain `name`, over
// nothing; `temp` has no name of its own then. What an interrupted commit has left there goes
// before. A lease is held from here on. Nothing, without a lease, if something else has the name.
// REQUIRES: a claim names both, and is on the disk. Errors: ESTALE if the plain file changed, EBUSY
// if somebody has it open for writing.
Result<std::optional<PublishedTwin>> PublishTwin(Os& os, TwinRecords& twins, const PlainFile& plain,
                                                 int dir, const std::string& name,
                                                 const Session& session, TempFile& temp);

// Step 8: the plain file goes. REQUIRES: `dir` was synced since PublishTwin. Errors: ESTALE if it
// or the twin is not what it was, EBUSY if somebody opened it for writing.
Status RemovePlain(Os& os, const PlainFile& plain, int dir, const std::string& name,
                   const PublishedTwin& twin);

// After a failure: the twin of the plain `name` goes if it is still there, and as it was made.
Status RemoveTwin(Os& os, int dir, const std::string& name, const StoredKey& twin);

// What the plain file that is stored as `name` is stored as once it is compressed.
std::string CompressedNameOfPlain(const std::string& name);

}  // namespace xzfs
