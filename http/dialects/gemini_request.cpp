#include "http/dialects/gemini_request.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "http/dialects/gemini_passthrough.hpp"
#include "http/dialects/gemini_reader.hpp"
#include "http/json_scan.hpp"
#include "http/openai_request.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

std::string_view input_field(route_kind route) {
  if (route == route_kind::embed) return "content";
  return route == route_kind::batch_embed ? "requests" : "contents";
}

class request_reader {
 public:
  request_reader(route_kind route, std::string_view body, engine::request_facts& facts,
                 engine::api_error& error)
      : route_(route), body_(body), facts_(facts), reader_(body, texts_, error) {}

  bool read();

 private:
  bool read_members();
  bool read_member(std::string_view key);
  bool read_input();
  void read_content();
  void read_part();
  void read_media(bool elsewhere);
  void read_embedding();
  void read_config();
  void read_text();
  void read_count(std::int64_t& into, std::int64_t most);

  const route_kind route_;
  const std::string_view body_;
  engine::request_facts& facts_;
  std::deque<std::string> texts_;
  gemini_reader reader_;
  json_scanner& scanner_ = reader_.scanner;
  std::vector<std::string> keys_;
  token_estimate estimate_;
  bool has_input_ = false;
  std::int64_t max_tokens_ = -1;
  std::int64_t candidates_ = 1;
};

bool request_reader::read() {
  if (!valid_utf8(body_))
    return reader_.refuse("invalid_utf8", "The request body is not valid UTF-8: encode it as UTF-8.", {});
  if (!scanner_.enter_object()) return reader_.fail_json();
  facts_.insert_offset = scanner_.offset();
  if (!read_members()) return false;
  if (!scanner_.at_end()) return reader_.fail_json();
  const std::string field(input_field(route_));
  if (!has_input_)
    return reader_.refuse(
        "missing_field", "The request body has no `" + field + "`: add what the model shall work on.", field);
  facts_.empty_object = keys_.empty();
  facts_.input_tokens = estimate_.total();
  facts_.images = estimate_.images;
  facts_.max_output_tokens = 0;
  if (route_ == route_kind::generate)
    facts_.max_output_tokens = max_tokens_ < 0 ? -1 : max_tokens_ * std::max<std::int64_t>(candidates_, 1);
  return true;
}

/// False only when the error was set; errors of the scanner are judged afterwards.
bool request_reader::read_members() {
  std::string_view key;
  while (scanner_.next_member(key)) {
    std::string name = gemini_field_name(key);
    if (keys_.size() == max_top_level_members)
      return reader_.refuse(
          "too_many_members",
          "The request body has more than " + std::to_string(max_top_level_members) + " top-level members.",
          {});
    if (std::find(keys_.begin(), keys_.end(), name) != keys_.end()) {
      name.resize(std::min(name.size(), max_model_bytes));
      return reader_.refuse("duplicate_key", "The request body has `" + name + "` twice: send it once.",
                            name);
    }
    if (!read_member(keys_.emplace_back(std::move(name)))) return false;
  }
  return true;
}

bool request_reader::read_member(std::string_view key) {
  if (key == input_field(route_)) return read_input();
  const bool generates = route_ == route_kind::generate;
  if (generates && key == "systemInstruction") {
    read_content();
  } else if (generates && key == "generationConfig") {
    read_config();
  } else if (generates && key == "tools") {
    read_text();
  } else {
    scanner_.value();
  }
  return true;
}

bool request_reader::read_input() {
  has_input_ = true;
  const std::string field(input_field(route_));
  if (route_ == route_kind::embed) {
    if (scanner_.peek() != '{') return reader_.wrong_type(field, "an object");
    read_content();
    return true;
  }
  if (route_ == route_kind::generate) estimate_.fixed += reply_tokens;
  if (!scanner_.enter_array()) {
    // One alone may stand without brackets.
    if (scanner_.peek() != '{')
      return scanner_.error() != json_error::none || reader_.wrong_type(field, "an array");
    route_ == route_kind::generate ? read_content() : read_embedding();
    return true;
  }
  size_t count = 0;
  for (; scanner_.next_element(); ++count) route_ == route_kind::generate ? read_content() : read_embedding();
  if (count > 0 || scanner_.error() != json_error::none) return true;
  return reader_.refuse("empty_array", "`" + field + "` is empty: send at least one.", field);
}

void request_reader::read_embedding() {
  if (!scanner_.enter_object()) return read_text();
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (key == "content") {
      read_content();
    } else {
      scanner_.value();
    }
  }
}

void request_reader::read_content() {
  if (route_ == route_kind::generate) estimate_.fixed += message_tokens;
  if (!scanner_.enter_object()) return read_text();
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (key != "parts") {
      scanner_.value();
    } else if (scanner_.enter_array()) {
      while (scanner_.next_element()) read_part();
    } else {
      read_part();
    }
  }
}

void request_reader::read_part() {
  if (!scanner_.enter_object()) return read_text();
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (is_gemini_field(key, "inlineData") || is_gemini_field(key, "fileData")) {
      read_media(is_gemini_field(key, "fileData"));
    } else if (key == "text" || is_gemini_field(key, "functionCall") ||
               is_gemini_field(key, "functionResponse")) {
      read_text();
    } else {
      scanner_.value();
    }
  }
}

/// Images count the same whatever their size, all else by its size up to a bound; what lies elsewhere is of
/// unknown size.
void request_reader::read_media(bool elsewhere) {
  const size_t before = scanner_.text_bytes();
  bool image = false;
  if (scanner_.enter_object()) {
    std::string_view key;
    while (scanner_.next_member(key)) {
      const bool is_type = is_gemini_field(key, "mimeType");
      const std::string_view value = scanner_.value();
      if (is_type) image = json_text(value).compare(0, 6, "image/") == 0;
    }
  } else {
    scanner_.value();
  }
  const std::int64_t size = token_estimate::of_text(scanner_.text_bytes() - before);
  if (image) ++estimate_.images;
  estimate_.fixed += image ? image_tokens : elsewhere ? attachment_tokens : std::min(size, attachment_tokens);
}

void request_reader::read_config() {
  if (!scanner_.enter_object()) {
    scanner_.value();
    return;
  }
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (is_gemini_field(key, "maxOutputTokens")) {
      read_count(max_tokens_, max_counted_tokens);
    } else if (is_gemini_field(key, "candidateCount")) {
      read_count(candidates_, max_counted_choices);
    } else if (key == "temperature") {
      facts_.zero_temperature = json_is_zero(scanner_.value());
    } else if (is_gemini_field(key, "responseSchema") || is_gemini_field(key, "responseJsonSchema")) {
      read_text();
    } else {
      scanner_.value();
    }
  }
}

void request_reader::read_text() {
  const size_t before = scanner_.text_bytes();
  scanner_.value();
  estimate_.text_bytes += scanner_.text_bytes() - before;
}

/// Whether the value makes sense is for the provider to say; here it only has to be safe to reckon with.
void request_reader::read_count(std::int64_t& into, std::int64_t most) {
  std::string_view value = scanner_.value();
  if (value.size() > 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
  std::int64_t number = -1;
  if (json_integer(value, number) && number >= 0) into = std::min(number, most);
}

/// Copies a body with another value for the model.
class model_writer {
 public:
  model_writer(std::string_view body, std::string_view model, std::string& out) : body_(body), out_(out) {
    json_quote(gemini_model_name(model), model_);
  }

  void write(route_kind route) {
    out_.clear();
    out_.reserve(body_.size() + model_.size());
    json_scanner scanner(body_);
    replace_member(scanner, route == route_kind::batch_embed);
    out_.append(body_, copied_);
  }

 private:
  void replace_member(json_scanner& scanner, bool batch) {
    if (!scanner.enter_object()) {
      scanner.value();
      return;
    }
    std::string_view key;
    while (scanner.next_member(key)) {
      if (batch && key == "requests") {
        replace_elements(scanner);
        continue;
      }
      const bool is_model = key == "model";
      const std::string_view value = scanner.value();
      if (is_model && !value.empty()) replace(value);
    }
  }

  void replace_elements(json_scanner& scanner) {
    if (!scanner.enter_array()) return replace_member(scanner, false);
    while (scanner.next_element()) replace_member(scanner, false);
  }

  void replace(std::string_view value) {
    const auto offset = static_cast<size_t>(value.data() - body_.data());
    out_.append(body_, copied_, offset - copied_).append(model_);
    copied_ = offset + value.size();
  }

  const std::string_view body_;
  std::string& out_;
  std::string model_;
  size_t copied_ = 0;
};

}  // namespace

bool read_gemini_request(route_kind route, std::string_view body, engine::request_facts& facts,
                         engine::api_error& error) {
  engine::request_facts fresh;
  fresh.model = std::move(facts.model);
  fresh.stream = facts.stream && route == route_kind::generate;
  fresh.include_usage = fresh.stream;
  facts = std::move(fresh);
  error = {};
  return request_reader(route, body, facts, error).read();
}

void encode_gemini_passthrough(route_kind route, std::string_view body, std::string_view model,
                               std::string& out) {
  model_writer(body, model, out).write(route);
}

}  // namespace millrace::http
