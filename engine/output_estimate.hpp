#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace millrace::engine {

/// How many tokens an answer is reckoned to have, where the provider does not tell: by the bytes of the texts
/// in it (its JSON strings under the names that all dialects use for content), four to a token. A stream of
/// OpenAI's Responses says every text in pieces, and then again, up to three times, in the events that end
/// it, its part and its item: there the pieces alone count. Takes a body or an event stream piece by piece,
/// cut anywhere; what is not JSON counts nothing. Pure; one owner.
class output_estimate {
 public:
  void feed(std::string_view bytes);
  std::int64_t tokens() const {
    return ((piece_bytes_ > 0 ? piece_bytes_ : text_bytes_) + bytes_per_token - 1) / bytes_per_token;
  }

 private:
  /// As for input, see http/token_estimate.hpp.
  static constexpr std::int64_t bytes_per_token = 4;
  /// No name of content is longer.
  static constexpr std::size_t max_name_bytes = 24;

  enum class place : std::uint8_t { outside, string, escape, after_string, after_colon };
  enum class content : std::uint8_t { none, text, piece };

  void end_string();

  place at_ = place::outside;
  content in_ = content::none;               ///< what the string is
  std::array<char, max_name_bytes> name_{};  ///< of the string before, cut
  std::size_t name_size_ = 0;
  content named_ = content::none;  ///< what that string makes of the one behind its colon
  std::int64_t depth_ = 0;         ///< of objects
  std::int64_t text_bytes_ = 0;
  std::int64_t piece_bytes_ = 0;
};

}  // namespace millrace::engine
