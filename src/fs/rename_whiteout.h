// What RENAME_WHITEOUT leaves under the old name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/os.h"
#include "fs/done_intents.h"
#include "fs/node_tree.h"
#include "fs/places.h"
#include "fs/zone_table.h"
#include "fs/zones.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// A character device 0/0, by which overlayfs knows that a file was removed. Its name in the source
// may be another one than that which became free (of `a.xz` moves `a`, and the device is `a`), so
// it is made beforehand, in the session's folder, and an intent says where it goes. Not
// thread-safe.
class RenameWhiteout {
 public:
  RenameWhiteout(NodeTree& tree, ZoneTable& zones, Places& places, DoneIntents& done_intents,
                 Os& os)
      : tops_(tree.tops()), zones_(zones), places_(places), done_intents_(done_intents), os_(os) {}

  // Whether all is there for `from` to become a whiteout; else Prepare has to make it. REQUIRES:
  // names are held.
  Result<bool> IsReady(const Place& from, const Place& to);
  // Blocks: until it is on the disk. No lock is held.
  Status Prepare();
  // After the rename, under the same lock.
  Status PutInto(const Place& from, const Place& to);
  // It was not needed.
  void Drop();

 private:
  // What is in the session's folder.
  struct Made {
    std::shared_ptr<Session> session;
    std::string temp;               // the device; empty: there is none
    std::string intent;             // likewise
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
  std::vector<IntentStep> to_write_;  // what the intent has to say; empty: it is there
  Made made_;
};

}  // namespace xzfs
