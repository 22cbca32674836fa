#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// Texts as vectors of their words and letters: lexical likeness, no meaning learned from anything.
/// Pure functions, safe from any thread.
namespace millrace::http::builtin {

inline constexpr std::size_t most_dimensions = 512;

/// Words of `text` in lower case (ASCII; other letters stay as they are): runs of letters, digits and all
/// bytes above 0x7f.
std::vector<std::string> words_of(std::string_view text);

/// A vector of length 1 over words, pairs of neighbouring words and runs of three letters, each hashed to a
/// place and a sign (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009),
/// weighted 1 + ln(count). Texts without a word have the zero vector. `dimensions`: 1 to `most_dimensions`.
std::vector<float> features_of(std::string_view text, std::size_t dimensions = most_dimensions);

/// Of two vectors of the same dimensions: the cosine, where both have length 1.
float likeness(const std::vector<float>& a, const std::vector<float>& b);

/// Cuts a text into sentences and lines, without white space around them; empty ones are left out.
std::vector<std::string_view> sentences_of(std::string_view text);

}  // namespace millrace::http::builtin
