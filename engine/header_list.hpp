#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::engine {

/// Header fields in order, names as they go on the wire. All of them stand in one block of memory, because a
/// request fills three such lists. What is read from it points into it, until it is changed, moved or gone;
/// so nothing of it may be added to it again. Of a name and of a value at most 4 GiB.
class header_list {
  struct sizes {
    std::uint32_t name = 0;
    std::uint32_t value = 0;
  };

 public:
  using value_type = std::pair<std::string_view, std::string_view>;  ///< name and value

  class const_iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using iterator_concept = std::forward_iterator_tag;
    using value_type = header_list::value_type;
    using difference_type = std::ptrdiff_t;
    using reference = value_type;
    /// What `->` gives.
    struct pointer {
      value_type field;
      const value_type* operator->() const { return &field; }
    };

    const_iterator() = default;
    value_type operator*() const {
      const sizes s = read();
      return {{at_ + sizeof s, s.name}, {at_ + sizeof s + s.name, s.value}};
    }
    pointer operator->() const { return {**this}; }
    const_iterator& operator++() {
      const sizes s = read();
      at_ += sizeof s + s.name + s.value;
      return *this;
    }
    const_iterator operator++(int) {
      const const_iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const_iterator, const_iterator) = default;

   private:
    friend class header_list;
    explicit const_iterator(const char* at) : at_(at) {}
    sizes read() const {
      sizes s;
      std::memcpy(&s, at_, sizeof s);
      return s;
    }

    const char* at_ = nullptr;
  };
  using iterator = const_iterator;

  header_list() = default;
  header_list(std::initializer_list<value_type> fields) {
    for (const auto& [name, value] : fields) emplace_back(name, value);
  }

  void emplace_back(std::string_view name, std::string_view value) {
    begin_field(name.size(), value.size());
    block_.append(name).append(value);
  }
  /// With the name's ASCII letters in lower case.
  void emplace_back_lower(std::string_view name, std::string_view value) {
    begin_field(name.size(), value.size());
    const size_t begin = block_.size();
    block_.append(name).append(value);
    for (size_t i = begin; i < begin + name.size(); ++i) {
      const char c = block_[i];
      block_[i] = static_cast<char>(c + (c >= 'A' && c <= 'Z' ? 'a' - 'A' : 0));
    }
  }
  void push_back(const value_type& field) { emplace_back(field.first, field.second); }
  void append(const header_list& more) { block_.append(more.block_); }
  void clear() { block_.clear(); }
  template <class Predicate>
  friend void erase_if(header_list& list, Predicate leaves) {
    header_list kept;
    for (const value_type& field : list) {
      if (!leaves(field)) kept.push_back(field);
    }
    list = std::move(kept);
  }

  bool empty() const { return block_.empty(); }
  /// Counts them.
  size_t size() const { return static_cast<size_t>(std::distance(begin(), end())); }
  const_iterator begin() const { return const_iterator(block_.data()); }
  const_iterator end() const { return const_iterator(block_.data() + block_.size()); }
  value_type front() const { return *begin(); }

  friend bool operator==(const header_list&, const header_list&) = default;

 private:
  static constexpr size_t usual_bytes = 768;  ///< of an answer's fields; more cost further allocations

  void begin_field(size_t name, size_t value) {
    if (block_.empty()) block_.reserve(usual_bytes);
    const sizes s{static_cast<std::uint32_t>(name), static_cast<std::uint32_t>(value)};
    block_.append(reinterpret_cast<const char*>(&s), sizeof s);
  }

  std::string block_;  ///< of each field the sizes, the name and the value
};

}  // namespace millrace::engine
