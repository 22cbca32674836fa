#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace millrace::http {

/// Bytes received and not yet used. Its memory moves only in `prepare`, never while a read is under way.
/// What a long body needed is given back once less is wanted.
class input_buffer {
 public:
  static constexpr size_t usual_bytes = 4 * 1024;
  /// What a read asks for when nothing is known about what comes.
  static constexpr size_t least_room = 1024;

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  std::string_view view() const { return {data_.get() + begin_, size()}; }
  void consume(size_t n) { begin_ += n; }
  void commit(size_t n) { end_ += n; }

  /// Room for reading at least `want` bytes, or what keeps the whole below `max`; empty when there is none.
  std::span<char> prepare(size_t want, size_t max) {
    if (empty()) reset(want);
    if (size() >= max) return {};
    want = std::min(want, max - size());
    if (const auto needed = std::max(size() + want, std::min(usual_bytes, max)); capacity_ < needed) {
      grow(std::min(std::max(2 * capacity_, needed), max));
    } else if (capacity_ - end_ < want) {
      std::memmove(data_.get(), data_.get() + begin_, size());
      end_ = size();
      begin_ = 0;
    }
    return {data_.get() + end_, capacity_ - end_};
  }

  /// Gives its memory back. Only when it is empty and no read is under way.
  void release() {
    data_.reset();
    capacity_ = begin_ = end_ = 0;
  }

 private:
  void reset(size_t want) {
    begin_ = end_ = 0;
    if (capacity_ > usual_bytes && want <= usual_bytes) release();
  }

  void grow(size_t capacity) {
    auto data = std::make_unique_for_overwrite<char[]>(capacity);
    if (!empty()) std::memcpy(data.get(), data_.get() + begin_, size());
    end_ = size();
    begin_ = 0;
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace millrace::http
