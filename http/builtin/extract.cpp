#include "http/builtin/extract.hpp"

#include <algorithm>
#include <vector>

#include "http/builtin/text_features.hpp"

namespace millrace::http::builtin {

namespace {

constexpr std::size_t max_quoted = 3;
/// Only so many sentences are weighed; a longer text is looked at from its beginning.
constexpr std::size_t max_sentences = 2000;

}  // namespace

std::string extract(std::string_view context, std::string_view question, std::size_t max_bytes) {
  auto sentences = sentences_of(context);
  sentences.resize(std::min(sentences.size(), max_sentences));
  const auto wanted = features_of(question);
  std::vector<std::pair<float, std::size_t>> ranked;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const float like = likeness(features_of(sentences[i]), wanted);
    if (like > 0.05F && sentences[i] != question) ranked.emplace_back(-like, i);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::size_t> chosen;
  std::size_t bytes = 0;
  for (const auto& [unlike, i] : ranked) {
    if (chosen.size() == max_quoted) break;
    if (bytes + sentences[i].size() + 1 > max_bytes) continue;
    bytes += sentences[i].size() + 1;
    chosen.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end());
  std::string out;
  for (const std::size_t i : chosen) out.append(out.empty() ? "" : " ").append(sentences[i]);
  return out;
}

}  // namespace millrace::http::builtin
