// A file that is replaced by another form of itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctl/replace/tree.h"
#include "store/claims.h"
#include "xzfs/result.h"

namespace xzfs {

// Its calls come in this order, from one thread at a time; an error, or false, of one of them is
// the last, and was said by then. When it goes it undoes what it did, unless all was done.
class FileJob {
 public:
  virtual ~FileJob() = default;
  // Makes the new form, complete and verified, under a name of our own. False: the file stays as it
  // is.
  virtual bool Make() = 0;
  // The new form: synced before Publish.
  virtual int made() const = 0;
  virtual uint64_t made_bytes() const = 0;
  // Writes down what Publish and Finish are going to do with names.
  virtual bool ClaimNames() = 0;
  // Gives it its name, once that is on the disk: for all that were claimed before by one sync.
  virtual bool Publish() = 0;
  // Takes the old form away. The directory was synced after Publish.
  virtual void Finish() = 0;
  // What holds until the directory was synced after Finish, too.
  virtual std::vector<HeldClaim> TakeClaims() = 0;
  // Instead of the next step: `error` is why there is none.
  virtual void Abandon(const Error& error) = 0;
  // Where both are, under all their names.
  virtual std::vector<OpenDirPtr> dirs() const = 0;
};

using FileJobs = std::vector<std::unique_ptr<FileJob>>;

}  // namespace xzfs
