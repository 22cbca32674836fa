#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/base64.hpp"
#include "http/simulator/answers.hpp"
#include "http/simulator/random.hpp"

namespace millrace::http::simulation {
namespace {

constexpr std::int64_t small_dimensions = 1536;
constexpr std::int64_t large_dimensions = 3072;
constexpr int max_words = 256;  // what follows does not change the vector

static_assert(std::endian::native == std::endian::little, "base64 vectors are little-endian floats");

/// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
std::uint64_t hash(std::string_view word) {
  std::uint64_t h = 14695981039346656037ULL;
  for (const char c : word) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return h;
}

void add_word(std::vector<float>& vector, std::string_view word) {
  const std::uint64_t seed = hash(word);
  for (size_t i = 0; i < vector.size(); ++i)
    vector[i] += static_cast<float>(unit_interval(mix(seed, i)) - 0.5);
}

std::vector<float> vector_of(std::string_view text, std::int64_t dimensions) {
  std::vector<float> vector(static_cast<size_t>(dimensions));
  int words = 0;
  while (words < max_words) {
    text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t\r\n")));
    if (text.empty()) break;
    const std::string_view word = text.substr(0, text.find_first_of(" \t\r\n"));
    add_word(vector, word);
    text.remove_prefix(word.size());
    ++words;
  }
  if (words == 0) add_word(vector, "");
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * x;
  const auto scale = static_cast<float>(1 / std::sqrt(squares));
  for (float& x : vector) x *= scale;
  return vector;
}

void append_base64(std::string& out, const std::vector<float>& vector) {
  base64_encode({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)}, out);
}

void append_floats(std::string& out, const std::vector<float>& vector) {
  char digits[32];
  char separator = '[';
  for (const float x : vector) {
    out += separator;
    out.append(digits, std::to_chars(digits, digits + sizeof digits, x).ptr);
    separator = ',';
  }
  out += ']';
}

}  // namespace

void append_vector(std::string& out, std::string_view text, std::int64_t dimensions) {
  append_floats(out, vector_of(text, dimensions > 0 ? dimensions : large_dimensions));
}

void append_embeddings(std::string& out, const identity& who, const question& q) {
  const bool large = who.model.find("large") != std::string::npos;
  const std::int64_t dimensions = q.dimensions > 0 ? q.dimensions
                                  : large          ? large_dimensions
                                                   : small_dimensions;
  out += R"({"object":"list","data":[)";
  for (size_t i = 0; i < q.texts; ++i) {
    if (i > 0) out += ',';
    out += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
    const auto vector = vector_of(q.text[i], dimensions);
    if (q.base64) {
      out += '"';
      append_base64(out, vector);
      out += '"';
    } else {
      append_floats(out, vector);
    }
    out += '}';
  }
  const std::string tokens = std::to_string(q.facts.input_tokens);
  out += R"(],"model":")" + who.model + R"(","usage":{"prompt_tokens":)" + tokens + R"(,"total_tokens":)" +
         tokens + "}}";
}

}  // namespace millrace::http::simulation
