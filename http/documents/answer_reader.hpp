#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http::documents {

/// Said of a label for which the model gave no number.
inline constexpr double unsaid_confidence = 0.5;

/// What a model made of a document.
struct model_verdict {
  std::string label;      ///< one of those asked for
  double confidence = 0;  ///< 0..1
};

/// A chat answer as far as it matters here.
struct chat_verdict {
  std::optional<model_verdict> verdict{};  ///< none: the answer is of no use
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
};

/// Reads a whole chat answer (OpenAI's dialect): the text of its first choice is read by `read_verdict`.
/// Pure.
chat_verdict read_classification(std::string_view answer, const std::vector<std::string>& labels);

/// Finds the label in what a model said: the first JSON object in it that names one, whether in a code fence,
/// amid prose or alone; else the only label that the text names. Case, spaces and dashes in labels do not
/// count. A confidence may be a number from 0 to 1, per cent, or either as text. Pure, bounded: looks at the
/// first 16 KiB.
std::optional<model_verdict> read_verdict(std::string_view text, const std::vector<std::string>& labels);

}  // namespace millrace::http::documents
