#include "engine/output_estimate.hpp"

#include <algorithm>
#include <array>

namespace millrace::engine {
namespace {

/// Text, arguments of calls, and thoughts: in OpenAI's chat, completions and Responses, Anthropic's Messages
/// and Gemini's candidates.
constexpr std::array<std::string_view, 8> content_names = {
    "content", "text", "arguments", "partial_json", "thinking", "reasoning", "refusal", "reasoning_content"};

}  // namespace

void output_estimate::end_string() {
  in_ = content::none;
  const std::string_view name(name_.data(), name_size_);
  // Elsewhere a member of this name is an object, or an argument of a call.
  if (depth_ == 1 && name == "delta") {
    named_ = content::piece;
  } else {
    const bool known = std::find(content_names.begin(), content_names.end(), name) != content_names.end();
    named_ = known ? content::text : content::none;
  }
  at_ = place::after_string;
}

void output_estimate::feed(std::string_view bytes) {
  for (const char c : bytes) {
    switch (at_) {
      case place::string:
        if (c == '"') {
          end_string();
          break;
        }
        if (c == '\\') at_ = place::escape;
        if (in_ != content::none) {
          ++(in_ == content::piece ? piece_bytes_ : text_bytes_);
        } else if (name_size_ < max_name_bytes) {
          name_[name_size_++] = c;
        }
        break;
      case place::escape:
        at_ = place::string;
        break;
      case place::after_string:
      case place::after_colon:
      case place::outside:
        if (c == ' ') break;
        if (c == '"') {
          in_ = at_ == place::after_colon ? named_ : content::none;
          name_size_ = 0;
          at_ = place::string;
        } else {
          if (c == '{') ++depth_;
          if (c == '}' && depth_ > 0) --depth_;
          at_ = c == ':' && at_ == place::after_string ? place::after_colon : place::outside;
        }
        break;
    }
  }
}

}  // namespace millrace::engine
