#pragma once

#include <array>
#include <cstddef>
#include <memory>

namespace millrace::engine {

/// An allocator for single objects that come and go with every request and are too large for malloc's own
/// per-thread cache: memory that an object left is kept for the next one of its type, by the thread that
/// freed it, up to `max_kept` of them. Thread-safe.
template <class T>
class kept_memory {
 public:
  using value_type = T;
#ifdef MILLRACE_SANITIZED
  static constexpr size_t max_kept = 0;  // What is used after its end would not be noticed.
#else
  static constexpr size_t max_kept = 64;  ///< of each thread
#endif

  kept_memory() = default;
  template <class U>
  kept_memory(const kept_memory<U>&) {}  // as the standard demands; NOLINT(google-explicit-constructor)

  T* allocate(size_t n) {
    if (n == 1 && kept_.count > 0) return static_cast<T*>(kept_.blocks[--kept_.count]);
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, size_t n) {
    if (n == 1 && kept_.count < max_kept && !kept_.over) {
      kept_.blocks[kept_.count++] = p;
    } else {
      std::allocator<T>().deallocate(p, n);
    }
  }
  friend bool operator==(const kept_memory&, const kept_memory&) {
    return true;
  }

 private:
  struct shelf {
    ~shelf() {
      over = true;
      while (count > 0) std::allocator<T>().deallocate(static_cast<T*>(blocks[--count]), 1);
    }
    std::array<void*, max_kept> blocks;
    size_t count = 0;
    bool over = false;  ///< the thread ends
  };
  static thread_local shelf kept_;
};

template <class T>
thread_local typename kept_memory<T>::shelf kept_memory<T>::kept_;

}  // namespace millrace::engine
