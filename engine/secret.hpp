#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace millrace::engine {

/// A credential. It has no stream operator, no formatter and no conversion to a string, so it cannot reach a
/// log, metric, error or trace by accident: whoever needs the text says `reveal()`.
class secret {
 public:
  secret() = default;
  explicit secret(std::string text) : text_(std::move(text)) {}

  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

  /// Equal in time that depends only on the length of `candidate`.
  bool matches(std::string_view candidate) const {
    unsigned char difference = text_.size() == candidate.size() ? 0 : 1;
    for (size_t i = 0; i < candidate.size(); ++i) {
      const char own = text_.empty() ? '\0' : text_[i % text_.size()];
      difference |= static_cast<unsigned char>(own ^ candidate[i]);
    }
    return difference == 0 && !text_.empty();
  }

 private:
  std::string text_;
};

}  // namespace millrace::engine
