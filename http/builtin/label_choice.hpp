#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::http::builtin {

struct label_choice {
  std::size_t index = 0;  ///< of the label
  double confidence = 0;  ///< 0..1: how far it is ahead of all others together
};

/// Which of the labels a text is about, by the words that such documents have: a table for the usual business
/// documents, and the words of the label itself for any other. Without any sign the answer is a label named
/// `other` or `unknown`, if there is one, else the first, with confidence 0. `labels` must not be empty.
/// Pure.
label_choice choose_label(std::string_view text, const std::vector<std::string>& labels);

}  // namespace millrace::http::builtin
