// Objects that must not be destroyed.
#pragma once

#include <utility>

namespace xzfs::python {

// Takes the object and never destroys it. In a child of a fork this is for objects with threads,
// which stayed in the parent.
template <class T>
void Abandon(T object) {
  union Kept {
    explicit Kept(T&& given) : object(std::move(given)) {}
    ~Kept() {}  // NOLINT(modernize-use-equals-default): that would be deleted
    T object;
  };
  const Kept kept(std::move(object));
}

}  // namespace xzfs::python
