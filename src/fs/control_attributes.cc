#include "fs/control_attributes.h"

#include <cerrno>

#include "base/try.h"

namespace xzfs {

bool IsControlKey(std::string_view key) { return key.starts_with("user.xzfs."); }

Result<std::string> ControlAttributes::Get(NodeId node, const std::string& key) {
  XZFS_RETURN_IF_ERROR(tree_.FindNode(node));
  if (hooks_.answer) {
    if (auto answer = hooks_.answer(node, key)) {
      return std::move(*answer);
    }
  }
  return Fail(ENODATA, "no attribute " + key);
}

bool ControlAttributes::MayDecodeFor(NodeId id, const std::string& key) {
  const NodePtr node = key == "user.xzfs.info" ? tree_.nodes().Find(id) : nullptr;
  return node != nullptr && node->kind == StoredKind::kCompressed && node->format != Format::kXz;
}

void ControlAttributes::RunCommand(NodeId node, const std::string& key, const Caller& caller,
                                   const Done& done) {
  if (const auto known = tree_.FindNode(node); !known) {
    done(Failure(known.error()));
  } else if (!hooks_.run || !hooks_.run(node, key, caller, done)) {
    done(Fail(ENODATA, "no attribute " + key));
  }
}

}  // namespace xzfs
