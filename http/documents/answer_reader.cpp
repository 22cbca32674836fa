#include "http/documents/answer_reader.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <nlohmann/json.hpp>

namespace millrace::http::documents {

namespace {

using nlohmann::json;

constexpr std::size_t max_text_bytes = 16 * 1024;
/// Braces at which an object is looked for.
constexpr int max_starts = 32;
constexpr std::array<const char*, 6> label_names = {"classification", "label",         "category",
                                                    "class",          "document_type", "type"};

/// Lower case, with one underscore for whatever is neither letter nor digit.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool kept =
        upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) > 0x7f;
    if (kept) {
      out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  while (out.ends_with('_')) out.pop_back();
  return out;
}

const std::string* find_label(std::string_view said, const std::vector<std::string>& labels) {
  const std::string name = plain(said);
  const auto found =
      std::find_if(labels.begin(), labels.end(), [&](const std::string& l) { return plain(l) == name; });
  return name.empty() || found == labels.end() ? nullptr : &*found;
}

/// 0..1; what is above 1 is per cent.
double in_range(double value, bool per_cent) {
  if (per_cent || value > 1) value /= 100;
  return std::clamp(value, 0.0, 1.0);
}

double read_confidence(const json& value) {
  if (value.is_number()) return in_range(value.get<double>(), false);
  if (!value.is_string()) return unsaid_confidence;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return unsaid_confidence;
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  return in_range(number, rest.find('%') != std::string_view::npos);
}

/// Where the object that begins `text` ends: behind its closing brace; npos when it does not.
std::size_t end_of_object(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::optional<model_verdict> from_object(const json& object, const std::vector<std::string>& labels) {
  for (const char* name : label_names) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_string()) continue;
    const std::string* label = find_label(found->get_ref<const std::string&>(), labels);
    if (!label) return std::nullopt;
    const auto sure = object.find("confidence");
    return model_verdict{*label, sure == object.end() ? unsaid_confidence : read_confidence(*sure)};
  }
  return std::nullopt;
}

/// Of an object; null where there is none.
const json& member(const json& of, const char* name) {
  static const json none;
  if (!of.is_object()) return none;
  const auto found = of.find(name);
  return found == of.end() ? none : *found;
}

std::int64_t count_in(const json& value) {
  return value.is_number_integer() ? std::max<std::int64_t>(0, value.get<std::int64_t>()) : 0;
}

std::optional<model_verdict> from_prose(std::string_view text, const std::vector<std::string>& labels) {
  const auto marked = [](std::string_view said) {
    std::string out = "_";
    return out.append(plain(said)).append("_");
  };
  const std::string words = marked(text);
  const std::string* only = nullptr;
  for (const std::string& label : labels) {
    if (words.find(marked(label)) == std::string::npos) continue;
    if (only) return std::nullopt;
    only = &label;
  }
  if (!only) return std::nullopt;
  return model_verdict{*only, unsaid_confidence};
}

}  // namespace

std::optional<model_verdict> read_verdict(std::string_view text, const std::vector<std::string>& labels) {
  text = text.substr(0, max_text_bytes);
  bool has_object = false;
  int starts = 0;
  for (auto at = text.find('{'); at != std::string_view::npos && starts < max_starts;
       at = text.find('{', at + 1)) {
    ++starts;
    const auto end = end_of_object(text.substr(at));
    if (end == std::string_view::npos) continue;
    const json object = json::parse(text.substr(at, end), nullptr, false);
    if (!object.is_object()) continue;
    if (auto verdict = from_object(object, labels)) return verdict;
    has_object = true;
  }
  // An object that names something else is an answer that cannot be used; its words are not looked through.
  return has_object ? std::nullopt : from_prose(text, labels);
}

chat_verdict read_classification(std::string_view answer, const std::vector<std::string>& labels) {
  chat_verdict out;
  const json parsed = json::parse(answer, nullptr, false);
  const json& used = member(parsed, "usage");
  out.input_tokens = count_in(member(used, "prompt_tokens"));
  out.output_tokens = count_in(member(used, "completion_tokens"));
  const json& choices = member(parsed, "choices");
  const json& first = choices.is_array() && !choices.empty() ? choices.front() : parsed;
  const json& content = member(member(first, "message"), "content");
  if (content.is_string()) out.verdict = read_verdict(content.get_ref<const std::string&>(), labels);
  return out;
}

}  // namespace millrace::http::documents
