#pragma once

#include <cstddef>
#include <cstdint>

/// How many input tokens a request is reckoned to have before any tokenizer saw it. The limits reserve by
/// this number and the simulator counts by it, so it must be the same everywhere: a pure function of the
/// body, independent of how its JSON is spaced or escaped. Real usage replaces it after the call.
namespace millrace::http {

/// OpenAI's rule of thumb for English; multi-byte scripts come out higher, as they do with its tokenizers.
/// https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
inline constexpr std::size_t text_bytes_per_token = 4;
/// Role and separators of one chat message, and the opening of the reply.
/// https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
inline constexpr std::int64_t message_tokens = 4;
inline constexpr std::int64_t reply_tokens = 3;
/// An image, whatever its size on the wire: 1024 x 1024 at high detail, and any at low detail.
/// https://platform.openai.com/docs/guides/images-vision
inline constexpr std::int64_t image_tokens = 765;
inline constexpr std::int64_t low_detail_image_tokens = 85;
/// The most that any other part of a message counts (audio, a file, something unknown), so that base64 does
/// not.
inline constexpr std::int64_t attachment_tokens = 1105;

/// Sums up one request.
struct token_estimate {
  std::size_t text_bytes = 0;  ///< of unescaped UTF-8
  std::int64_t fixed = 0;      ///< tokens that do not depend on the length of a text
  std::int64_t images = 0;     ///< counted among them

  static constexpr std::int64_t of_text(std::size_t bytes) {
    return static_cast<std::int64_t>((bytes + text_bytes_per_token - 1) / text_bytes_per_token);
  }
  constexpr std::int64_t total() const { return fixed + of_text(text_bytes); }
};

}  // namespace millrace::http
