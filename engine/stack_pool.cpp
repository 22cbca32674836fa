#include "engine/stack_pool.hpp"

#include <new>

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

namespace millrace::engine {
namespace {

#ifndef MADV_GUARD_INSTALL
constexpr int MADV_GUARD_INSTALL =
    102;  // NOLINT(readability-identifier-naming): the system's name, which old headers lack.
#endif

constexpr std::size_t guard_bytes = 4096;
constexpr std::size_t stride = guard_bytes + coroutine_stack_bytes;

/// Gives back all but the uppermost `kept` bytes.
void release(void* top, std::size_t kept) {
  madvise(static_cast<char*>(top) - coroutine_stack_bytes, coroutine_stack_bytes - kept, MADV_DONTNEED);
}

// So that use of an ended coroutine's stack is found.
void poison(void* top) {
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(top) - coroutine_stack_bytes, coroutine_stack_bytes);
}
void unpoison(void* top) {
  ASAN_UNPOISON_MEMORY_REGION(static_cast<char*>(top) - coroutine_stack_bytes, coroutine_stack_bytes);
}

}  // namespace

void* stack_pool::take() {
  const std::lock_guard lock(mutex_);
  if (warm_.empty() && cold_.empty()) add_slab();
  auto& from = warm_.empty() ? cold_ : warm_;
  void* top = from.back();
  from.pop_back();
  unpoison(top);
  return top;
}

void stack_pool::give(void* top) noexcept {
  const std::lock_guard lock(mutex_);
  const bool warm = warm_.size() < most_warm;
  release(top, warm ? warm_bytes : 0);
  poison(top);
  // Room for all that there are is reserved as they are made.
  (warm ? warm_ : cold_).push_back(top);
}

void stack_pool::add_slab() {
  warm_.reserve(most_warm);
  cold_.reserve(cold_.capacity() + slab_stacks);
  void* slab = mmap(nullptr, slab_stacks * stride, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (slab == MAP_FAILED) throw std::bad_alloc();
  // A huge page would make the whole of many stacks resident.
  madvise(slab, slab_stacks * stride, MADV_NOHUGEPAGE);
  for (std::size_t i = slab_stacks; i-- > 0;) {
    char* low = static_cast<char*>(slab) + i * stride;
    // Unlike a page without rights this one splits no mapping, of which a process may have 65,530.
    madvise(low, guard_bytes, MADV_GUARD_INSTALL);
    cold_.push_back(low + stride);
  }
}

}  // namespace millrace::engine
