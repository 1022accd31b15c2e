// The overlays of edited files.
#pragma once

#include <memory>
#include <string>

#include "fs/file_state.h"
#include "fs/zone_table.h"
#include "store/overlay_files.h"
#include "xzfs/result.h"

namespace xzfs {

class EditedFiles;
class NodeTree;
class Os;
class Overlay;
struct ReadEngine;
class Reads;

// Makes overlays, and moves those that have lost their base to lost+found. Thread-safe.
class Overlays {
 public:
  // `kept`: how many stay open at most without a writer.
  Overlays(NodeTree& tree, ZoneTable& zones, EditedFiles& edited, Reads& reads, ReadEngine& engine,
           size_t kept, Os& os);

  // The overlay of a compressed file; makes it if there is none.
  Result<std::shared_ptr<Overlay>> EditedOverlay(const NodePtr& node, FileState& state)
      REQUIRES(state.mutex);
  // Fails if changes of a compressed file could not be committed: such changes are not accepted.
  Status RequireChangeable(const NodePtr& node);
  // Opens an overlay of an earlier mount.
  Result<std::unique_ptr<Overlay>> Load(const Session& session, const std::string& id);
  // Moves an overlay without a base to lost+found, with a note that says why.
  Status KeepLost(Session& session, Overlay& overlay, const std::string& path,
                  const std::string& why);

  size_t open_count() const { return overlay_files_->size(); }

 private:
  NodeTree& tree_;
  NodeTable& nodes_;
  ZoneTable& zones_;
  EditedFiles& edited_;
  Reads& reads_;
  ReadEngine& engine_;
  Os& os_;
  const std::string boot_id_;
  const std::shared_ptr<OverlayFileCache> overlay_files_;
};

}  // namespace xzfs
