// The device that RENAME_WHITEOUT leaves under the old name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/zone_table.h"
#include "fs/zones.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

class DoneIntents;
class NodeTree;
class Os;
struct Place;
class Places;

// A character device 0/0 tells overlayfs that a file was removed. Its stored name may differ from
// the one that became free (`a.xz` moves, and the device is `a`). So it is made in the session's
// folder first, and an intent names its place. Not thread-safe.
class RenameWhiteout {
 public:
  RenameWhiteout(NodeTree& tree, ZoneTable& zones, Places& places, DoneIntents& done_intents,
                 Os& os)
      : tops_(tree.tops()), zones_(zones), places_(places), done_intents_(done_intents), os_(os) {}

  // Whether everything is prepared for the whiteout at `from`; if not, call Prepare and then this
  // again. REQUIRES: names are held.
  Result<bool> IsReady(const Place& from, const Place& to);
  // Makes what IsReady found missing. Blocks: until it is on the disk. REQUIRES: no lock is held.
  Status Prepare();
  // Puts the device into `from`. Call it after the rename, under the same lock.
  Status PutInto(const Place& from, const Place& to);
  // Removes what was prepared and not used.
  void Drop();

 private:
  // The files in the session's folder.
  struct Made {
    std::shared_ptr<Session> session;
    std::string temp;               // the device; empty: there is none
    std::string intent;             // its file; empty: there is none
    std::vector<IntentStep> steps;  // what the intent says
  };

  ZoneTops& tops_;
  ZoneTable& zones_;
  Places& places_;
  DoneIntents& done_intents_;
  Os& os_;
  // What the rename needs, as IsReady found it.
  bool is_needed_ = false;
  ZonePtr zone_;                      // of both names
  std::string stored_name_;           // of the device
  std::vector<IntentStep> to_write_;  // what the intent has to say; empty: nothing to write
  Made made_;
};

}  // namespace xzfs
