#include "engine/config_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>

#include "engine/duration_text.hpp"

namespace millrace::engine {
namespace {

constexpr size_t max_text_bytes = 4096;
constexpr size_t max_identifier_bytes = 64;
constexpr size_t max_quoted_bytes = max_identifier_bytes;
/// No number, duration or size is longer. What is may be a secret in the wrong place, of which little is
/// shown.
constexpr size_t longest_plain_value = 16;
constexpr size_t shown_of_longer = 4;

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// What of a text of the document goes into a message.
std::string excerpt(const std::string& text) {
  std::string out = text.substr(0, max_quoted_bytes);
  std::replace_if(out.begin(), out.end(), is_control, '?');
  return text.size() > max_quoted_bytes ? out + "..." : out;
}

/// Levenshtein's distance, one row at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

/// `$NAME`, which is never expanded here and would be sent as it stands.
bool looks_like_variable(std::string_view text) {
  const auto upper = [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto fit = [&](char c) { return upper(c) || (c >= '0' && c <= '9'); };
  return text.size() >= 2 && text[0] == '$' && upper(text[1]) &&
         std::all_of(text.begin() + 2, text.end(), fit);
}

std::string number_text(double x) {
  char buffer[32];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), x).ptr;
  return {buffer, end};
}

/// The text of a small file without its last line break. Throws std::runtime_error with the reason.
std::string read_reference(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_reference_bytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    throw std::runtime_error("cannot be read; check the path and its permissions");
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > max_reference_bytes) throw std::runtime_error("is larger than 64KiB");
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

}  // namespace

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > max_identifier_bytes) return {};
  const std::string* best = nullptr;
  size_t best_distance = word.size() / 3 + 2;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance || distance >= candidate.size()) continue;
    best = &candidate;
    best_distance = distance;
  }
  return best == nullptr ? std::string() : "; did you mean `" + *best + "`?";
}

bool is_identifier(std::string_view text) {
  const auto fit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= max_identifier_bytes && std::all_of(text.begin(), text.end(), fit);
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += ", ";
    out += word;
  }
  return out;
}

// --- config_value --------------------------------------------------------------------------------

config_value::config_value(const config_source& source, const YAML::Node& node, std::string path, int line)
    : source_(&source), node_(node), path_(std::move(path)), line_(line) {
  // A block mapping's own mark is that of its first entry, one line too late; its key's line is what people
  // look for.
  if (node_.IsScalar() && node_.Mark().line >= 0) line_ = node_.Mark().line + 1;
}

void config_value::fail(const std::string& problem) const {
  throw config_error(source_->name + ":" + std::to_string(line_) + ": " +
                     (path_.empty() ? "" : path_ + ": ") + problem);
}

std::string config_value::quoted() const {
  return "\"" + excerpt(node_.Scalar()) + "\"";
}

std::string config_value::beginning() const {
  const std::string& text = node_.Scalar();
  return text.size() <= longest_plain_value ? quoted()
                                            : "\"" + excerpt(text.substr(0, shown_of_longer)) + "...\"";
}

std::string config_value::scalar(std::string_view expected) const {
  if (node_.IsScalar()) return expand(node_.Scalar());
  const std::string found = node_.IsNull() ? "nothing" : node_.IsSequence() ? "a list" : "a mapping";
  fail("expected " + std::string(expected) + ", found " + found +
       (node_.IsNull() ? "; write a value or remove the key" : ""));
}

std::string config_value::expand(const std::string& raw) const {
  std::string out;
  size_t from = 0;
  for (size_t open = raw.find("${"); open != std::string::npos; open = raw.find("${", from)) {
    const size_t close = raw.find('}', open);
    if (close == std::string::npos) fail("`${` has no closing `}`; write " + std::string(reference_forms));
    out.append(raw, from, open - from).append(reference(raw.substr(open + 2, close - open - 2)));
    from = close + 1;
  }
  return out.append(raw, from);
}

std::string config_value::reference(const std::string& body) const {
  if (body.starts_with("env:")) {
    const std::string name = body.substr(4);
    auto text = source_->env(name);
    if (!text) fail("the environment variable " + name + " is not set; set it, or write \"${file:/path}\"");
    return std::move(*text);
  }
  if (body.starts_with("file:")) {
    const std::string path = body.substr(5);
    try {
      return read_reference(path);
    } catch (const std::exception& e) {
      fail("the file " + path + " " + e.what());
    }
  }
  fail("`${...}` must be " + std::string(reference_forms));
}

std::string config_value::text() const {
  std::string out = scalar("a text");
  if (out.empty()) fail("is empty; write a value or remove the key");
  if (out.size() > max_text_bytes) fail("is longer than 4096 bytes");
  if (std::any_of(out.begin(), out.end(), is_control))
    fail("holds a line break or another control character");
  return out;
}

secret config_value::credential() const {
  std::string out = text();
  if (looks_like_variable(node_.Scalar()))
    fail("is written like a variable of a shell; did you mean \"${env:NAME}\"?");
  const auto unfit = [](char c) { return c <= ' ' || static_cast<unsigned char>(c) > 0x7e; };
  if (std::any_of(out.begin(), out.end(), unfit)) {
    fail(
        "holds a space or a character outside ASCII, which no HTTP header can carry; check how it was "
        "copied");
  }
  return secret(std::move(out));
}

std::string config_value::identifier() const {
  std::string out = text();
  if (!is_identifier(out)) fail("is not " + std::string(identifier_rule) + ": " + quoted());
  return out;
}

size_t config_value::choice(const std::vector<std::string>& choices) const {
  const std::string word = scalar("one of " + join(choices));
  const auto found = std::find(choices.begin(), choices.end(), word);
  if (found == choices.end()) fail(quoted() + " is none of " + join(choices) + suggestion(word, choices));
  return static_cast<size_t>(found - choices.begin());
}

std::int64_t config_value::integer(std::int64_t least, std::int64_t most, std::string_view instead) const {
  const std::string word = scalar("a whole number");
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  const bool whole = !word.empty() && end == word.data() + word.size();
  if (!whole || error == std::errc::invalid_argument)
    fail(beginning() + " is not a whole number; write it in digits");
  if (error != std::errc{} || out < least || out > most) {
    fail(quoted() + " is out of range; it must be from " + std::to_string(least) + " to " +
         std::to_string(most) + std::string(instead));
  }
  return out;
}

double config_value::number(double least, double most, bool above) const {
  const std::string word = scalar("a number");
  double out = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  if (word.empty() || end != word.data() + word.size() || error != std::errc{} || !std::isfinite(out)) {
    fail(beginning() + " is not a number; write it like 0.5");
  }
  if (out < least || out > most || (above && out <= least)) {
    fail(quoted() + " is out of range; it must be " + (above ? "above " : "from ") + number_text(least) +
         (above ? " and at most " : " to ") + number_text(most));
  }
  return out;
}

bool config_value::boolean() const {
  const std::string word = scalar("true or false");
  if (word != "true" && word != "false") fail(beginning() + " is neither true nor false");
  return word == "true";
}

duration config_value::duration(engine::duration least, engine::duration most) const {
  const auto out = parse_duration(scalar("a duration like 30s"));
  if (!out)
    fail(beginning() + " is not a duration; write a whole number and a unit (" + std::string(duration_units) +
         "), like 30s");
  if (*out < least || *out > most) {
    fail(quoted() + " is out of range; it must be from " + duration_text(least) + " to " +
         duration_text(most));
  }
  return *out;
}

std::int64_t config_value::bytes(std::int64_t least, std::int64_t most) const {
  const auto out = parse_size(scalar("a size like 32MiB"));
  if (!out)
    fail(beginning() + " is not a size; write a whole number and a unit (" + std::string(size_units) +
         "), like 32MiB");
  if (*out < least || *out > most) {
    fail(quoted() + " is out of range; it must be from " + size_text(least) + " to " + size_text(most));
  }
  return *out;
}

std::vector<config_value> config_value::list(size_t most) const {
  if (!node_.IsSequence()) fail("expected a list, [a, b] or lines that begin with `- `");
  if (node_.size() > most) fail("has more than " + std::to_string(most) + " entries");
  std::vector<config_value> out;
  for (const YAML::Node& element : node_) {
    out.emplace_back(*source_, element, path_ + "[" + std::to_string(out.size()) + "]",
                     element.Mark().line + 1);
  }
  return out;
}

std::vector<std::pair<std::string, config_value>> config_value::entries(size_t most) const {
  if (node_.IsNull()) fail("is empty; write its entries or remove the key");
  if (!node_.IsMap()) fail("expected a mapping, lines of `key: value`");
  if (node_.size() > most) fail("has more than " + std::to_string(most) + " entries");
  std::vector<std::pair<std::string, config_value>> out;
  std::map<std::string, int> lines;
  for (const auto& entry : node_) {
    const int line = entry.first.Mark().line + 1;
    if (!entry.first.IsScalar())
      config_value(*source_, entry.first, path_, line).fail("a key must be a plain text");
    const std::string& key = entry.first.Scalar();
    config_value value(*source_, entry.second, path_ + (path_.empty() ? "" : ".") + excerpt(key), line);
    if (const auto [first, fresh] = lines.emplace(key, line); !fresh) {
      value.line_ = line;
      value.fail("is given twice, first in line " + std::to_string(first->second) + "; remove one of them");
    }
    out.emplace_back(key, std::move(value));
  }
  return out;
}

// --- config_section ------------------------------------------------------------------------------

config_section::config_section(const config_value& value, const std::vector<std::string>& known)
    : value_(value) {
  if (value.null()) return;
  for (auto& [key, entry] : value.entries()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const std::string near = suggestion(key, known);
      entry.fail("this version knows no such key" + (near.empty() ? "; known here: " + join(known) : near));
    }
    entries_.emplace(key, std::move(entry));
  }
}

const config_value* config_section::find(std::string_view key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

const config_value& config_section::require(std::string_view key, std::string_view why) const {
  if (const config_value* found = find(key)) return *found;
  value_.fail("`" + std::string(key) + "` is missing: " + std::string(why));
}

void config_section::read(std::string_view key, std::int64_t& out, std::int64_t least,
                          std::int64_t most) const {
  if (const auto* v = find(key)) out = v->integer(least, most);
}

void config_section::read(std::string_view key, int& out, int least, int most) const {
  if (const auto* v = find(key)) out = static_cast<int>(v->integer(least, most));
}

void config_section::read(std::string_view key, double& out, double least, double most, bool above) const {
  if (const auto* v = find(key)) out = v->number(least, most, above);
}

void config_section::read(std::string_view key, bool& out) const {
  if (const auto* v = find(key)) out = v->boolean();
}

void config_section::read(std::string_view key, engine::duration& out, engine::duration least,
                          engine::duration most) const {
  if (const auto* v = find(key)) out = v->duration(least, most);
}

void config_section::read_limit(std::string_view key, std::int64_t& out) const {
  if (const auto* v = find(key)) out = v->integer(1, max_count, "; leave it out for no limit");
}

void config_section::read_bytes(std::string_view key, std::int64_t& out, std::int64_t least,
                                std::int64_t most) const {
  if (const auto* v = find(key)) out = v->bytes(least, most);
}

}  // namespace millrace::engine
