#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

/// How hard a prompt looks, by rules that are configuration. No model is asked.
namespace millrace::engine {

enum class complexity : std::uint8_t { simple, medium, complex };
inline constexpr std::size_t complexities = 3;
std::string_view to_string(complexity c);

struct complexity_config {
  /// Longest prompt that is looked at, in bytes; what is behind is not judged.
  static constexpr std::size_t max_prompt_bytes = 16U << 10U;
  static constexpr std::int64_t max_simple_below = 4096;
  static constexpr std::size_t max_words = 256;
  static constexpr std::size_t max_word_bytes = 64;

  std::int64_t simple_below = 100;  ///< characters; 0 to `max_simple_below`
  /// Words and phrases that speak of design: one makes a prompt complex.
  std::vector<std::string> design_words = {
      "architect",  "architecture", "design",    "redesign",    "refactor",    "trade-off",
      "trade-offs", "tradeoff",     "tradeoffs", "optimize",    "analyze",     "analyse",
      "evaluate",   "compare",      "strategy",  "roadmap",     "scalability", "system design",
      "migrate",    "algorithm",    "prove",     "step by step"};
  /// Words that order steps: two different ones make a prompt complex.
  std::vector<std::string> step_words = {"first",      "second",     "then",    "next",
                                         "after that", "afterwards", "finally", "lastly"};
};

struct prompt_traits {
  engine::complexity complexity = complexity::medium;
  bool code = false;  ///< it holds a code fence
};

/// Judges prompts. Complex: a design word, two different step words, or a numbered list of two or more steps.
/// Else simple: fewer characters than `simple_below`, and no code. Else medium. Words are found whole,
/// without regard to ASCII case; between the words of a phrase stands anything but letters and digits.
///
/// Immutable; any thread.
class prompt_judge {
 public:
  explicit prompt_judge(const complexity_config& rules);

  /// Linear in the first `max_prompt_bytes` of `text`, which is UTF-8.
  prompt_traits judge(std::string_view text) const;

 private:
  struct phrase {
    std::vector<std::string> rest;  ///< the words behind the first, in lower case
    bool design = false;
    std::uint32_t number = 0;  ///< of the step word
  };
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };

  void add(const std::string& text, bool design, std::uint32_t number);
  bool speaks_of_work(std::string_view text) const;

  std::int64_t simple_below_;
  std::unordered_map<std::string, std::vector<phrase>, text_hash, std::equal_to<>> by_first_word_;
};

}  // namespace millrace::engine
