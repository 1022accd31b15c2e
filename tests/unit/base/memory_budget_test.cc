#include "base/memory_budget.h"

#include <gtest/gtest.h>

namespace xzfs {
namespace {

TEST(MemoryBudgetTest, CountsAChargeUntilItGoes) {
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

}  // namespace
}  // namespace xzfs
