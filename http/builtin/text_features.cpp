#include "http/builtin/text_features.hpp"

#include <cmath>
#include <cstdint>
#include <numeric>
#include <unordered_map>

namespace millrace::http::builtin {

namespace {

constexpr double pair_weight = 0.7;
constexpr double letters_weight = 0.35;
/// The most of a text that is looked at.
constexpr std::size_t max_text_bytes = 1U << 20;

bool in_word(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c > 0x7f;
}

/// FNV-1a with a final mix, so that all bits count.
std::uint64_t hash_of(char kind, std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ static_cast<unsigned char>(kind);
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  return h ^ (h >> 33);
}

using counts = std::unordered_map<std::uint64_t, int>;

void add(const counts& seen, double weight, std::vector<float>& out) {
  for (const auto& [hash, count] : seen) {
    const double value = weight * (1 + std::log(count));
    out[hash % out.size()] += static_cast<float>((hash >> 63) != 0 ? value : -value);
  }
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  text = text.substr(0, max_text_bytes);
  for (std::size_t i = 0; i < text.size();) {
    while (i < text.size() && !in_word(static_cast<unsigned char>(text[i]))) ++i;
    std::string word;
    for (; i < text.size() && in_word(static_cast<unsigned char>(text[i])); ++i) {
      const char c = text[i];
      word.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    }
    if (!word.empty()) out.push_back(std::move(word));
  }
  return out;
}

std::vector<float> features_of(std::string_view text, std::size_t dimensions) {
  std::vector<float> out(dimensions, 0.0F);
  const auto words = words_of(text);
  counts single;
  counts pairs;
  counts letters;
  for (std::size_t i = 0; i < words.size(); ++i) {
    ++single[hash_of('w', words[i])];
    if (i > 0) ++pairs[hash_of('p', words[i - 1] + ' ' + words[i])];
    const std::string padded = ' ' + words[i] + ' ';
    for (std::size_t at = 0; at + 3 <= padded.size(); ++at)
      ++letters[hash_of('l', std::string_view(padded).substr(at, 3))];
  }
  add(single, 1, out);
  add(pairs, pair_weight, out);
  add(letters, letters_weight, out);
  const float length = std::sqrt(likeness(out, out));
  if (length > 0) {
    for (float& v : out) v /= length;
  }
  return out;
}

float likeness(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

std::vector<std::string_view> sentences_of(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = 0;
  const auto take = [&](std::size_t end) {
    std::string_view s = text.substr(begin, end - begin);
    const auto first = s.find_first_not_of(" \t\r\n");
    if (first != std::string_view::npos)
      out.push_back(s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1));
    begin = end;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool stop = text[i] == '.' || text[i] == '!' || text[i] == '?';
    const bool before_space = i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\n';
    if (text[i] == '\n' || (stop && before_space)) take(i + 1);
  }
  take(text.size());
  return out;
}

}  // namespace millrace::http::builtin
