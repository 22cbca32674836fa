#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/question.hpp"
#include "http/simulator/settings.hpp"

namespace millrace::http::simulation {

/// How much of the question is echoed, in characters.
inline constexpr size_t echoed_characters = 64;

/// Appends `text` as the inside of a JSON string.
void append_escaped(std::string& out, std::string_view text);
void append_number(std::string& out, std::int64_t n);
/// 16 hex digits.
void append_hex(std::string& out, std::uint64_t n);

/// Tokens of a thought, where there is room for them.
inline constexpr std::int64_t thought_length = 12;

/// What is said in one choice: so many tokens, each a piece of text. Depends on the question and the settings
/// alone. Thoughts come before it and are no part of its tokens, but of the request's maximum.
class reply_text {
 public:
  /// `index`: which of several prompts is answered.
  reply_text(const question& q, size_t index, const model_behaviour& behaviour);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t thought_tokens() const { return thought_tokens_; }
  bool calls_tool() const { return !calls_.empty(); }
  /// A tool that is called, by some of the tokens; at least the first one's were begun.
  struct call {
    std::string name;       ///< escaped
    std::string arguments;  ///< a whole object; empty when the maximum cuts it
    std::int64_t first = 0;
    std::int64_t end = 0;
  };
  const std::vector<call>& calls() const { return calls_; }
  /// The maximum of tokens ends it.
  bool is_cut() const;
  std::string_view finish_reason() const;
  /// Appends a token's text, escaped. `now_us` is what stamped tokens show.
  void append(std::string& out, std::int64_t token, std::int64_t now_us) const;
  /// The same of a thought's token.
  void append_thought(std::string& out, std::int64_t token) const;
  std::uint32_t digest() const { return digest_; }
  /// Of each token; 0: not told.
  double probability() const { return probability_; }

 private:
  void call_tools(const question& q);
  void answer_as_json(const question& q);
  void cut_payload(const std::string& json);
  std::string echo() const;

  std::uint32_t digest_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t thought_tokens_ = 0;
  bool cut_ = false;
  bool stamp_ = false;
  double probability_ = 0;
  std::string echoed_;  ///< first characters of the question, not escaped
  std::vector<call> calls_;
  std::vector<std::string> payload_;  ///< JSON in escaped pieces, instead of words
};

}  // namespace millrace::http::simulation
