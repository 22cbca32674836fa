#include "engine/complexity.hpp"

#include <algorithm>
#include <optional>

namespace millrace::engine {

namespace {

/// Bytes beyond ASCII are taken for letters.
bool is_letter(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == '_' || u >= 0x80;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < text.size();) {
    if (!is_letter(text[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && is_letter(text[end])) ++end;
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

/// Lines that begin with a number and `.` or `)`, as the steps of a list do.
bool lists_steps(std::string_view text) {
  int steps = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::size_t digits = std::min(line.find_first_not_of("0123456789"), line.size());
    const bool numbered = digits > 0 && digits <= 3 && line.size() > digits + 1 &&
                          (line[digits] == '.' || line[digits] == ')') &&
                          (line[digits + 1] == ' ' || line[digits + 1] == '\t');
    if (numbered && ++steps == 2) return true;
  }
  return false;
}

bool has_code(std::string_view text) {
  return text.find("```") != std::string_view::npos || text.starts_with("~~~") ||
         text.find("\n~~~") != std::string_view::npos;
}

/// Whether `text` has at least `count` characters.
bool reaches(std::string_view text, std::int64_t count) {
  for (const char c : text) {
    if (count <= 0) return true;
    if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) --count;
  }
  return count <= 0;
}

}  // namespace

std::string_view to_string(complexity c) {
  switch (c) {
    case complexity::simple:
      return "simple";
    case complexity::medium:
      return "medium";
    case complexity::complex:
      return "complex";
  }
  return "";
}

prompt_judge::prompt_judge(const complexity_config& rules) : simple_below_(rules.simple_below) {
  for (const std::string& w : rules.design_words) add(w, true, 0);
  std::uint32_t number = 0;
  for (const std::string& w : rules.step_words) add(w, false, ++number);
}

void prompt_judge::add(const std::string& text, bool design, std::uint32_t number) {
  const std::string folded = lower(text);
  const auto words = words_of(folded);
  if (words.empty()) return;
  phrase p;
  p.design = design;
  p.number = number;
  p.rest.assign(words.begin() + 1, words.end());
  by_first_word_[std::string(words.front())].push_back(std::move(p));
}

prompt_traits prompt_judge::judge(std::string_view text) const {
  text = text.substr(0, complexity_config::max_prompt_bytes);
  prompt_traits t;
  t.code = has_code(text);
  if (lists_steps(text) || speaks_of_work(text)) {
    t.complexity = complexity::complex;
  } else if (!t.code && !reaches(text, simple_below_)) {
    t.complexity = complexity::simple;
  }
  return t;
}

/// Whether there is a design word, or two different step words.
bool prompt_judge::speaks_of_work(std::string_view text) const {
  const std::string folded = lower(text);
  const auto words = words_of(folded);
  std::optional<std::uint32_t> step;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto found = by_first_word_.find(words[i]);
    if (found == by_first_word_.end()) continue;
    for (const phrase& p : found->second) {
      const auto behind = words.begin() + static_cast<std::ptrdiff_t>(i) + 1;
      if (p.rest.size() > static_cast<std::size_t>(words.end() - behind) ||
          !std::equal(p.rest.begin(), p.rest.end(), behind))
        continue;
      if (p.design || (step && *step != p.number)) return true;
      step = p.number;
    }
  }
  return false;
}

}  // namespace millrace::engine
