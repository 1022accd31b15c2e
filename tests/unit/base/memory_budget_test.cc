#include "base/memory_budget.h"

#include <gtest/gtest.h>

namespace xzfs {
namespace {

TEST(MemoryBudgetTest, CountsAChargeUntilItIsDestroyed) {
  MemoryBudget budget(100);
  {
    const MemoryCharge a(budget, 30);
    const MemoryCharge b(budget, 50);
    EXPECT_EQ(budget.used(), 80u);
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.peak(), 80u);
}

TEST(MemoryBudgetTest, AMovedChargeIsCountedOnce) {
  MemoryBudget budget(100);
  MemoryCharge a(budget, 30);
  MemoryCharge b(std::move(a));
  MemoryCharge c(budget, 5);
  c = std::move(b);
  EXPECT_EQ(budget.used(), 30u);
  c = MemoryCharge();
  EXPECT_EQ(budget.used(), 0u);
}

// Gives up all its memory.
class TestEvictor : public Evictor {
 public:
  explicit TestEvictor(MemoryBudget& budget) : budget_(budget) {}
  MemoryCharge EvictAndCharge(size_t bytes) override {
    if (budget_.used() + bytes > budget_.total()) {
      held = MemoryCharge();
    }
    return MemoryCharge(budget_, bytes);
  }
  MemoryCharge held;

 private:
  MemoryBudget& budget_;
};

TEST(MemoryBudgetTest, TheEvictorGivesUpItsMemoryWhenAnotherChargeNeedsIt) {
  MemoryBudget budget(100);
  TestEvictor evictor(budget);
  budget.SetEvictor(&evictor);
  evictor.held = MemoryCharge(budget, 80);
  const MemoryCharge small = budget.Reserve(20);
  EXPECT_EQ(budget.used(), 100u);
  const MemoryCharge large = budget.Reserve(30);
  EXPECT_EQ(budget.used(), 50u);
  evictor.held = MemoryCharge(budget, 40);
  budget.SetTotal(60);
  EXPECT_EQ(budget.used(), 50u);
}

TEST(MemoryBudgetTest, WithNothingToEvictTheBudgetIsExceeded) {
  MemoryBudget budget(100);
  const MemoryCharge charge = budget.Reserve(120);
  EXPECT_EQ(budget.used(), 120u);
}

}  // namespace
}  // namespace xzfs
