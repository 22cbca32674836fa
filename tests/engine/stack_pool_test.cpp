#include "engine/stack_pool.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include <sys/mman.h>
#include <sys/utsname.h>

namespace millrace::engine {
namespace {

constexpr std::size_t page = 4096;

char* low_end(void* top) {
  return static_cast<char*>(top) - coroutine_stack_bytes;
}

std::size_t resident_bytes(void* top) {
  std::array<unsigned char, coroutine_stack_bytes / page> pages{};
  EXPECT_EQ(mincore(low_end(top), coroutine_stack_bytes, pages.data()), 0);
  std::size_t bytes = 0;
  for (const auto p : pages) bytes += (p & 1U) * page;
  return bytes;
}

TEST(StackPool, TheLastOneGivenBackIsTheNext) {
  stack_pool pool;
  void* a = pool.take();
  void* b = pool.take();
  pool.give(b);
  pool.give(a);
  EXPECT_EQ(pool.take(), a);
  EXPECT_EQ(pool.take(), b);
}

TEST(StackPool, StacksAreWritableAndApart) {
  stack_pool pool;
  std::vector<void*> taken;
  for (std::size_t i = 0; i < 2 * stack_pool::slab_stacks + 1; ++i) {
    taken.push_back(pool.take());
    std::memset(low_end(taken.back()), static_cast<int>(i), coroutine_stack_bytes);
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(low_end(taken[i])[0], static_cast<char>(i));
    EXPECT_EQ(static_cast<char*>(taken[i])[-1], static_cast<char>(i));
  }
}

TEST(StackPool, SpareStacksHoldLittleMemory) {
  stack_pool pool;
  std::vector<void*> taken;
  for (std::size_t i = 0; i < stack_pool::most_warm + 2; ++i) {
    taken.push_back(pool.take());
    std::memset(low_end(taken.back()), 1, coroutine_stack_bytes);
  }
  for (void* top : taken) pool.give(top);
  EXPECT_EQ(resident_bytes(taken.front()), stack_pool::warm_bytes);
  EXPECT_EQ(resident_bytes(taken[stack_pool::most_warm - 1]), stack_pool::warm_bytes);
  EXPECT_EQ(resident_bytes(taken[stack_pool::most_warm]), 0U);
  EXPECT_EQ(resident_bytes(taken.back()), 0U);
}

TEST(StackPoolDeathTest, ATooDeepStackEndsTheProcess) {
  utsname system{};
  uname(&system);
  if (std::atof(system.release) < 6.13) GTEST_SKIP() << "needs guard pages of Linux 6.13";
  stack_pool pool;
  char* low = low_end(pool.take());
  *low = 1;
  EXPECT_DEATH(low[-1] = 1, "");
}

}  // namespace
}  // namespace millrace::engine
