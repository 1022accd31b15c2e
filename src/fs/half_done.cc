#include "fs/half_done.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "fs/done_intents.h"
#include "store/directory_reader.h"
#include "store/intents.h"

namespace xzfs {

bool HalfDoneOperations::UndoOrKeep(HalfDone half) {
  if (Undo(half)) {
    return true;
  }
  MutexLock lock(mutex_);
  half_done_.push_back(std::move(half));
  has_half_done_ = true;
  return false;
}

void HalfDoneOperations::UndoAll() {
  if (has_half_done_) {
    ExclusiveLock names(namespace_);
    MutexLock lock(mutex_);
    std::erase_if(half_done_, [this](const HalfDone& half) { return Undo(half); });
    has_half_done_ = !half_done_.empty();
  }
}

// Returns whether everything is as it was before the operation. May be repeated.
bool HalfDoneOperations::Undo(const HalfDone& half) {
  for (const HalfDone::Step& step : half.steps) {
    struct stat st = {};
    int error = os_.StatAt(step.to->descriptor.get(), step.to_name, &st);
    if (error == 0 &&
        st.st_ino == step.inode) {  // else another program has moved or removed it since
      error = RenameOverNothing(os_, step.to->descriptor.get(), step.to_name,
                                step.from->descriptor.get(), step.from_name);
    }
    if (error < 0 && error != -ENOENT) {
      return false;
    }
  }
  done_intents_.Add({half.session, half.intent, half.dirs, half.intended});
  return true;
}

}  // namespace xzfs
