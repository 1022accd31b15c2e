// A file that is replaced by another form of itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ctl/replace/tree.h"
#include "store/claims.h"
#include "xzfs/result.h"

namespace xzfs {

// The calls come in this order, from one thread at a time. If a step fails, it has reported why and
// returns false, and no further step is called. The destructor undoes what was done, unless all
// steps succeeded.
class FileJob {
 public:
  virtual ~FileJob() = default;
  // Makes the new form, complete and verified, under a name of our own. False: the file stays as it
  // is.
  virtual bool Make() = 0;
  // The descriptor of the new form. The caller syncs it before ClaimNames.
  virtual int made() const = 0;
  virtual uint64_t made_bytes() const = 0;
  // Records in claims what Publish and Finish are going to do with names.
  virtual bool ClaimNames() = 0;
  // Gives the new form its name, once the claims are on the disk. One sync serves all claims that
  // were added before it.
  virtual bool Publish() = 0;
  // Removes the old form. The caller has synced the directories since Publish.
  virtual void Finish() = 0;
  // The claims, which must hold until the directories are synced after Finish.
  virtual std::vector<HeldClaim> TakeClaims() = 0;
  // Called instead of the next step: `error` says why there is none.
  virtual void Abandon(const Error& error) = 0;
  // The directories of both forms, for all their names.
  virtual std::vector<OpenDirPtr> dirs() const = 0;
};

using FileJobs = std::vector<std::unique_ptr<FileJob>>;

}  // namespace xzfs
