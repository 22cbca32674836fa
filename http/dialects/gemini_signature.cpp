#include "http/dialects/gemini_signature.hpp"

#include "http/base64.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

constexpr std::string_view mark = gemini_signature_mark;
constexpr std::string_view wrapping = "millrace:";
constexpr std::string_view wrapping_base64 = foreign_signature_mark;
static_assert(wrapping.size() % 3 == 0, "so that its base64 is a prefix of the whole one");

std::string literal_of(std::string_view text) {
  std::string out;
  json_quote(text, out);
  return out;
}

}  // namespace

bool is_gemini_signature(json_literal signature) {
  return signature.substr(0, mark.size()) == mark;
}

std::string mark_gemini_signature(json_literal thought_signature) {
  return thought_signature.empty() ? std::string() : std::string(mark).append(thought_signature.substr(1));
}

std::string unmark_gemini_signature(json_literal signature) {
  return std::string("\"").append(signature.substr(mark.size()));
}

std::string wrap_for_gemini_client(json_literal signature) {
  if (is_gemini_signature(signature)) return unmark_gemini_signature(signature);
  std::string out = "\"";
  base64_encode(std::string(wrapping) + json_text(signature), out);
  return out += '"';
}

std::string unwrap_from_gemini_client(json_literal thought_signature) {
  const std::string text = base64_to_standard(json_text(thought_signature));
  std::string inside;
  if (text.substr(0, wrapping_base64.size()) == wrapping_base64 && base64_decode(text, inside))
    return literal_of(std::string_view(inside).substr(wrapping.size()));
  return mark_gemini_signature(literal_of(text));
}

}  // namespace millrace::http
