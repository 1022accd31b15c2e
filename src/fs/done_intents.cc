#include "fs/done_intents.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/fail.h"
#include "base/log.h"

namespace xzfs {

Status SyncDirectories(Os& os, const std::vector<DescriptorPtr>& dirs) {
  for (const DescriptorPtr& dir : std::set<DescriptorPtr>(dirs.begin(), dirs.end())) {
    if (const int error = os.Sync(dir->descriptor.get()); error < 0) {
      return FailErrno(-error, "sync a directory for a rename");
    }
  }
  return {};
}

bool DoneIntent::Concerns(const std::vector<IntentStep>& others) const {
  const auto has_name = [this](const std::string& path) {
    return std::any_of(steps.begin(), steps.end(), [&](const IntentStep& step) {
      return !path.empty() && (step.from == path || step.to == path);
    });
  };
  return std::any_of(others.begin(), others.end(), [&](const IntentStep& other) {
    return has_name(other.from) || has_name(other.to);
  });
}

void DoneIntents::Add(DoneIntent done) {
  MutexLock lock(mutex_);
  intents_.push_back(std::move(done));
}

void DoneIntents::Remove(size_t at_least) {
  if (at_least > 1) {
    MutexLock lock(mutex_);
    if (intents_.size() < at_least) {
      return;
    }
  }
  RemoveIf([](const DoneIntent&) { return true; });
}

void DoneIntents::RemoveBefore(const std::vector<IntentStep>& steps) {
  RemoveIf([&](const DoneIntent& done) { return done.Concerns(steps); });
}

void DoneIntents::RemoveIf(const std::function<bool(const DoneIntent&)>& concerns) {
  MutexLock turn(turn_);
  std::vector<DoneIntent> taken;
  {
    MutexLock lock(mutex_);
    if (std::any_of(intents_.begin(), intents_.end(), concerns)) {
      taken.swap(intents_);
    }
  }
  std::vector<DescriptorPtr> dirs;
  for (const DoneIntent& intent : taken) {
    dirs.insert(dirs.end(), intent.dirs.begin(), intent.dirs.end());
  }
  if (const Status synced = SyncDirectories(os_, dirs); !synced) {
    const bool is_hopeless = synced.error().code == EBADF;
    Log(LogLevel::kError, std::string("sync of a directory after a rename failed; ") +
                              (is_hopeless ? "the next mount checks it" : "xzfs tries again"));
    if (!is_hopeless) {
      MutexLock lock(mutex_);
      intents_.insert(intents_.end(), taken.begin(), taken.end());
    }
    return;
  }
  for (const DoneIntent& intent : taken) {
    intent.session->Unlink(intent.name);
  }
}

}  // namespace xzfs
