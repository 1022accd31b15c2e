#include "store/overwritten_bases.h"

#include <utility>

namespace xzfs {

void OverwrittenBases::Add(OverwrittenBase base) {
  const FileId file = FileId::Of(base.shown);
  MutexLock lock(mutex_);
  bases_[file] = std::make_shared<const OverwrittenBase>(std::move(base));
  has_any_ = true;
}

void OverwrittenBases::Remove(const FileId& file) {
  MutexLock lock(mutex_);
  bases_.erase(file);
  has_any_ = !bases_.empty();
}

OverwrittenBases::BasePtr OverwrittenBases::Find(const FileId& file) const {
  if (!has_any_) {
    return nullptr;
  }
  MutexLock lock(mutex_);
  const auto it = bases_.find(file);
  return it == bases_.end() ? nullptr : it->second;
}

void OverwrittenBases::Show(struct stat& st) const {
  if (const BasePtr base = Find(FileId::Of(st))) {
    st.st_size = base->shown.st_size;
    st.st_mtim = base->shown.st_mtim;
    st.st_ctim = base->shown.st_ctim;
  }
}

}  // namespace xzfs
