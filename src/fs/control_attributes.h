// The extended attributes of the mount itself: "user.xzfs.*".
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "fs/node_tree.h"
#include "xzfs/result.h"

namespace xzfs {

struct Caller;

// Whether the attribute is the mount's own, and not stored with a file.
bool IsControlKey(std::string_view key);

// Calls the functions that answer them. Thread-safe, apart from Set.
class ControlAttributes {
 public:
  using Done = std::function<void(const Result<std::string>&)>;
  // Each may be null.
  struct Hooks {
    // nullopt if there is no such key on that node.
    std::function<std::optional<Result<std::string>>(NodeId node, const std::string& key)> answer;
    // For attributes whose reading runs a command ("user.xzfs.cmd.*"). Returns false if there is no
    // such command; else it calls `done` once, on any thread, maybe before it returns.
    std::function<bool(NodeId node, const std::string& key, const Caller& caller, const Done& done)>
        run;
  };

  explicit ControlAttributes(NodeTree& tree) : tree_(tree) {}

  // Not thread-safe: call it before the first request.
  void Set(Hooks hooks) { hooks_ = std::move(hooks); }

  Result<std::string> Get(NodeId node, const std::string& key);
  // Whether Get may take as long as Lookups::Lookup with `may_decode`.
  bool MayDecodeFor(NodeId node, const std::string& key);
  void RunCommand(NodeId node, const std::string& key, const Caller& caller, const Done& done);

 private:
  NodeTree& tree_;
  Hooks hooks_;
};

}  // namespace xzfs
