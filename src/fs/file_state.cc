#include "fs/file_state.h"

#include <algorithm>
#include <cassert>

#include "store/overlay.h"

namespace xzfs {

// This was the last reference.
FileState::~FileState() NO_THREAD_SAFETY_ANALYSIS {
  if (unlinked_ && edit_.overlay != nullptr) {
    static_cast<void>(edit_.overlay->Remove());  // the next mount removes what is left of it
  }
}

void FileState::CheckInvariants() const {
  assert(writers_.closing <= writers_.count);
  assert(edit_.overlay == nullptr || plain_.file == nullptr);
  assert(edit_.overlay == nullptr || (edit_.session != nullptr && edit_.zone != nullptr));
  assert(job_ == nullptr || job_->cancelled || (changing_ == 0 && !unlinked_));
  assert(may_differ_ || (writers_.count == 0 && edit_.overlay == nullptr));
  assert(name_.synced_changes <= name_.changes);
}

void FileState::AddWriter() {
  ++writers_.count;
  may_differ_ = true;
}

void FileState::NoteClosing(bool is_closing) {
  is_closing ? ++writers_.closing : --writers_.closing;
}

bool FileState::RemoveWriter(bool was_closing, bool is_compressed) {
  writers_.closing -= was_closing ? 1 : 0;
  --writers_.count;
  writers_.closing = std::min(writers_.closing, writers_.count);  // after CloseAll
  if (writers_.count != 0) {
    return false;
  }
  if (!unlinked_) {
    ClosePlain();
    plain_.is_prepared = false;
  }
  LetDescriptorsGo();
  may_differ_ = edit_.overlay != nullptr || !is_compressed;
  return !unlinked_ && changed_ && job_ == nullptr;
}

void FileState::LetDescriptorsGo() {
  if (writers_.count != 0) {
    return;
  }
  if (edit_.overlay != nullptr) {
    edit_.overlay->files().LetClose();
  }
  if (plain_.file == nullptr) {
    held_ = {};
  }
}

void FileState::OpenPlain(DescriptorPtr file, bool only_appends) {
  plain_.file = std::move(file);
  plain_.only_appends = only_appends;
}

void FileState::CreatePlain(DescriptorPtr file) {
  plain_.file = std::move(file);
  ++name_.changes;
  changed_ = true;
  plain_.is_prepared = true;
}

DescriptorPtr FileState::ClosePlain() { return std::exchange(plain_.file, nullptr); }

void FileState::BecomeEdited(Edit edit) {
  edit_ = std::move(edit);
  ++name_.changes;  // it may have been renamed just before
  may_differ_ = true;
}

FileState::Edit FileState::DetachOverlay() {
  return edit_.overlay == nullptr ? Edit() : std::exchange(edit_, Edit());
}

void FileState::BecomeCompressed() {
  changed_ = false;
  plain_.file = nullptr;
  job_ = nullptr;
}

void FileState::NoteNameSynced(uint64_t changes) {
  name_.synced_changes = std::max(name_.synced_changes, changes);
}

CommitJobPtr FileState::TakeJob(CommitFor whom) {
  if (unlinked_ || changing_ != 0 || WritersFor(whom) != 0) {
    return nullptr;
  }
  job_ = std::make_shared<CommitJob>();
  return job_;
}

FileLock::~FileLock() {
#ifndef NDEBUG
  state_.CheckInvariants();
#endif
  state_.mutex.Unlock();
}

FileChange::FileChange(std::shared_ptr<FileState> state) : state_(std::move(state)) {
  ++state_->changing_;
}

FileChange::~FileChange() {
  if (state_ != nullptr) {
    FileLock lock(*state_);
    --state_->changing_;
  }
}

}  // namespace xzfs
