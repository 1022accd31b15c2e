// When and how far to decode ahead of one reader.
#pragma once

#include <cstdint>
#include <deque>

namespace xzfs {

// Watches the reads of one open file. Not thread-safe; guarded by its owner.
//
// The window, in units, is 0 after a jump, 2 once a read goes on where another one ended, and
// doubles up to 8 each time the reader arrives in a unit that was decoded ahead for it.
class Readahead {
 public:
  // A read of `offset` .. `end`. Returns true if it belongs to a sequential pass. The requests of
  // one pass may come in a somewhat different order.
  bool Observe(uint64_t offset, uint64_t end);

  // The reader touches the unit [begin, end). Returns whether that is the first time in this pass:
  // the many requests of a pass to one unit, in whatever order they arrive, are one visit.
  bool Enter(uint64_t begin, uint64_t end);

  // How many more units should be decoded ahead now, from next_offset() on. 0 after a jump.
  unsigned Wanted() const;
  // The first byte that was neither read nor planned.
  uint64_t next_offset() const { return next_offset_; }
  // The caller has planned the unit [offset, end), the one that holds next_offset().
  void Planned(uint64_t offset, uint64_t end);
  // Something is planned that the reader hasn't reached.
  bool HasPlan() const { return !planned_.empty(); }
  // Goes up at each jump: what was planned before is of no use any more.
  uint64_t generation() const { return generation_; }

 private:
  struct Range {
    uint64_t offset;
    uint64_t end;
  };
  // Whether an earlier read ends where this one begins (kBefore), or begins where it ends (kAfter).
  enum class Neighbour { kNone, kBefore, kAfter };

  Neighbour Remember(uint64_t offset, uint64_t end);
  void Jump(uint64_t offset, uint64_t end);

  uint64_t expected_ = 0;     // end of the furthest read of this pass
  uint64_t next_offset_ = 0;  // see next_offset()
  uint64_t entered_end_ = 0;  // units before this were entered in this pass
  uint64_t generation_ = 0;
  unsigned streak_ = 0;  // reads of this pass that went on where another had ended
  unsigned strays_ = 0;  // reads in a row that touched no other
  unsigned window_ = 0;  // units
  std::deque<Range> recent_;
  std::deque<uint64_t> planned_;  // first bytes of planned units that the reader hasn't reached
};

}  // namespace xzfs
