#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "http/base64.hpp"
#include "http/dialects/embedding.hpp"
#include "http/dialects/gemini_reader.hpp"
#include "http/json_scan.hpp"
#include "http/openai_answer.hpp"

namespace millrace::http {
namespace {

constexpr std::size_t float_bytes = 4;

bool read_input(gemini_reader& reader, embedding_request& out) {
  const auto read_text = [&](std::int64_t) {
    if (reader.scanner.peek() != '"') {
      return reader.refuse("unsupported_field",
                           "`input` must be a text or a list of texts for the provider of this model: "
                           "tokens of one model say nothing to another.",
                           "input");
    }
    out.inputs.push_back(reader.scanner.value());
    return true;
  };
  const bool fine = reader.elements(read_text);
  return fine && (!out.inputs.empty() || reader.missing("input"));
}

bool read_encoding(gemini_reader& reader, bool& base64) {
  std::string_view name = "float";
  if (!reader.text("encoding_format", name)) return false;
  base64 = name == "base64";
  if (base64 || name == "float") return true;
  return reader.refuse("invalid_value", "`encoding_format` must be float or base64.", "encoding_format");
}

std::uint32_t to_little_endian(std::uint32_t word) {
  return std::endian::native == std::endian::little ? word : __builtin_bswap32(word);
}

/// The numbers of `vector` as little-endian floats; what no float can hold is 0.
std::string to_bytes(json_literal vector) {
  std::string bytes;
  json_scanner scanner(vector);
  scanner.enter_array();
  while (scanner.next_element()) {
    const json_literal number = scanner.value();
    float value = 0;
    std::from_chars(number.data(), number.data() + number.size(), value);
    const std::uint32_t word = to_little_endian(std::bit_cast<std::uint32_t>(value));
    std::array<char, float_bytes> raw{};
    std::memcpy(raw.data(), &word, float_bytes);
    bytes.append(raw.data(), float_bytes);
  }
  return bytes;
}

/// The other way round; empty when the bytes are no floats that JSON has.
std::string to_numbers(std::string_view bytes) {
  if (bytes.size() % float_bytes != 0) return {};
  std::string out = "[";
  for (std::size_t at = 0; at < bytes.size(); at += float_bytes) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, float_bytes);
    const auto value = std::bit_cast<float>(to_little_endian(word));
    if (!(value - value == 0)) return {};
    std::array<char, 32> text{};
    const auto [end, problem] = std::to_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{}) return {};
    if (at > 0) out += ',';
    out.append(text.data(), end);
  }
  return out += ']';
}

/// Consumes one element of `data`.
bool read_vector(json_scanner& scanner, embedding_answer& out) {
  if (!scanner.enter_object()) return false;
  auto index = static_cast<std::int64_t>(out.vectors.size());
  json_literal vector;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_index = key == "index";
    const bool is_vector = key == "embedding";
    const json_literal value = scanner.value();
    if (is_index && !json_integer(value, index)) return false;
    if (is_vector) vector = value;
  }
  if (!vector.empty() && vector.front() == '"') {
    std::string bytes;
    if (!base64_decode(json_text(vector), bytes)) return false;
    vector = out.keep(to_numbers(bytes));
  }
  // In order, as every server sends them.
  if (index != static_cast<std::int64_t>(out.vectors.size()) || !is_number_array(vector)) return false;
  out.vectors.push_back(vector);
  return true;
}

}  // namespace

bool is_number_array(json_literal literal) {
  json_scanner scanner(literal);
  if (!scanner.enter_array()) return false;
  while (scanner.next_element()) {
    const char first = scanner.peek();
    if (first != '-' && !(first >= '0' && first <= '9')) return false;
    scanner.value();
  }
  return scanner.at_end();
}

bool decode_openai_embedding_request(std::string_view body, embedding_request& out,
                                     engine::api_error& error) {
  out = {};
  error = {};
  gemini_reader reader(body, out.texts, error);
  if (reader.scanner.peek() != '{') return reader.fail_json();
  const bool fine = reader.members({}, [&](std::string_view key) {
    if (key == "input") return read_input(reader, out);
    if (key == "dimensions") return reader.integer("dimensions", out.dimensions);
    if (key == "encoding_format") return read_encoding(reader, out.base64);
    if (key == "user") return reader.text("user", out.end_user);
    if (key == "model") return !reader.scanner.value().empty();
    return reader.unsupported(key);
  });
  if (!fine || !reader.scanner.at_end()) return reader.fail_json();
  return !out.inputs.empty() || reader.missing("input");
}

void encode_openai_embedding_request(const embedding_request& request, std::string_view model,
                                     std::string& out, std::vector<std::string>& dropped) {
  out += "{\"model\":";
  json_quote(model, out);
  out += ",\"input\":[";
  for (const json_literal& input : request.inputs) {
    if (&input != request.inputs.data()) out += ',';
    out += input;
  }
  out += "],\"encoding_format\":\"float\"";
  if (request.dimensions >= 0) out.append(",\"dimensions\":").append(std::to_string(request.dimensions));
  out += '}';
  if (!request.task_type.empty()) dropped.emplace_back("taskType");
  if (!request.title.empty()) dropped.emplace_back("title");
}

bool decode_openai_embeddings(std::string_view body, embedding_answer& out) {
  out = {};
  json_scanner scanner(body);
  if (!scanner.enter_object()) return false;
  bool any = false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "data" && scanner.enter_array()) {
      any = true;
      while (scanner.next_element()) {
        if (!read_vector(scanner, out)) return false;
      }
    } else if (key == "usage") {
      read_openai_usage(scanner, out.used);
    } else {
      scanner.value();
    }
  }
  return any && scanner.at_end();
}

void encode_openai_embeddings(const embedding_answer& answer, bool base64, std::string_view model,
                              std::string& out) {
  out += R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < answer.vectors.size(); ++i) {
    if (i > 0) out += ',';
    out.append(R"({"object":"embedding","index":)").append(std::to_string(i)).append(",\"embedding\":");
    if (base64) {
      out += '"';
      base64_encode(to_bytes(answer.vectors[i]), out);
      out += "\"}";
    } else {
      out.append(answer.vectors[i]).append("}");
    }
  }
  out += "],\"model\":";
  json_quote(model, out);
  const std::string tokens = std::to_string(answer.used.input_tokens);
  out.append(",\"usage\":{\"prompt_tokens\":").append(tokens).append(",\"total_tokens\":").append(tokens);
  out += "}}";
}

}  // namespace millrace::http
