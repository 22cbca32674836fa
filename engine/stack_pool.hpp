#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace millrace::engine {

/// Stack of a request's coroutine. Only touched pages count as resident memory; the deepest known path
/// (handler, JSON, logging, TLS) stays well below half of it.
inline constexpr std::size_t coroutine_stack_bytes = 128 * 1024;

/// The stacks of coroutines, apart from the heap: there a freed stack becomes room for small objects, the
/// next stack begins at another place, and page after page is touched that is never given back. Here a stack
/// is used again as it is, the last one first, and what spare ones touched beyond little goes back to the
/// system.
///
/// Below each stack lies a page that ends the process when it is touched (Linux 6.13 and later). Address
/// space is reserved for `slab_stacks` at a time and kept for the most that were ever in use at once.
/// Thread-safe.
class stack_pool {
 public:
  /// Spare stacks whose uppermost `warm_bytes` stay resident. Of others nothing does.
  static constexpr std::size_t most_warm = 32;
  static constexpr std::size_t warm_bytes = 16 * 1024;
  static constexpr std::size_t slab_stacks = 64;

  /// Upper end of a stack of `coroutine_stack_bytes`. Throws std::bad_alloc when the system has no address
  /// space.
  void* take();

  /// Takes back what `take` gave.
  void give(void* top) noexcept;

 private:
  void add_slab();

  std::mutex mutex_;
  std::vector<void*> warm_, cold_;
};

}  // namespace millrace::engine
