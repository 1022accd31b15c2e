// Taking over what earlier mounts have left in a zone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/answers.h"
#include "fs/zone_recovery.h"
#include "fs/zones.h"

namespace xzfs {

struct RawLine;

// kAtMount: there are no requests yet, so there is time to search the whole zone.
enum class RecoveryTime { kAtMount, kLater };

class Recovery {
 public:
  // `top`: the zone's top, open.
  Recovery(ZoneRecovery& runner, const RecoveryParts& parts, ZonePtr zone, DescriptorPtr top)
      : runner_(runner),
        parts_(parts),
        os_(parts.os),
        zone_(std::move(zone)),
        top_(std::move(top)),
        source_(top_->descriptor.get()) {}

  void Run(RecoveryTime time);
  // Searches the bases of the zone's Orphans.
  void Search();
  // Searches the whole zone for a name of the stored file. ENOENT if there is none.
  Status FindName(const FileId& file);

 private:
  enum class Found { kBase, kPublished, kNothing, kUnknown };

  void Adopt(const std::shared_ptr<Session>& session);
  bool CompleteIntents(Session& session, const std::vector<std::string>& files);
  Status CompleteMoved(Session& session, std::vector<IntentStep> steps);
  bool EndClaims(Session& session);
  // Searches the whole zone. ENOENT if the file surely has no name.
  Result<std::string> PathOf(uint64_t inode, int64_t birth_ns);
  void LoadOverlay(const std::shared_ptr<Session>& session, const std::string& id);
  bool FinishMove(const Session& session, const std::string& id);
  FileId FileAt(const std::string& path, uint64_t inode);
  Found LookAt(Overlay& overlay, const std::string& path);
  bool Settle(const Orphan& orphan, const std::string& path);
  Status Attach(const Orphan& orphan, const std::string& path);
  bool IsDirectory(int dir, const RawLine& line);
  void SearchBases();
  void VisitDirectory(const std::string& dir, std::vector<std::string>& below,
                      const std::function<void(const std::string&, uint64_t)>& visit);
  void NoteWanted(const std::vector<Orphan>& orphans);
  bool IsWanted(uint64_t inode) const { return wants_all_ || wanted_.contains(inode); }
  static bool MayBe(const Orphan& orphan, uint64_t inode);
  void SettleInBackground(const Orphan& orphan, const std::string& path);
  void SettleOrphans();
  bool RequeuePending(const std::string& path);
  void DropAdopted();
  Result<NodePtr> NodeAt(const std::string& path);
  Result<LookupResult> LookIn(NodeId parent, const std::string& stored);
  bool IsElsewhere(const Result<Descriptor>& dir);

  ZoneRecovery& runner_;
  const RecoveryParts& parts_;
  Os& os_;
  const ZonePtr zone_;
  const DescriptorPtr top_;
  const int source_;                     // the descriptor of the top; paths are below it
  std::vector<Orphan> orphans_;          // their base isn't where it was seen last
  std::unordered_set<uint64_t> wanted_;  // inode numbers of their bases, and of others
  bool wants_all_ = false;
  bool searched_all_ = true;
};

}  // namespace xzfs
