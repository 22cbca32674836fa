#include <algorithm>
#include <utility>

#include "http/bad_request.hpp"
#include "http/dialects/anthropic_cache_marks.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/json_scan.hpp"
#include "http/openai_request.hpp"
#include "http/seen_keys.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

/// Reads what a model works on and estimates its tokens. Nothing is refused: shapes it does not know are for
/// the provider to judge.
class input_reader {
 public:
  explicit input_reader(json_scanner& scanner) : scanner_(scanner) {}

  /// Consumes the messages and returns how many there are.
  std::size_t read_messages();
  /// Consumes a text or an array of blocks.
  void read_content(int depth = 0);
  /// Consumes any value and counts its keys and strings.
  void read_text();
  const token_estimate& estimate() const { return estimate_; }

 private:
  void read_block(int depth);
  void read_bounded(std::int64_t least, std::int64_t most);

  json_scanner& scanner_;
  token_estimate estimate_;
};

std::size_t input_reader::read_messages() {
  std::size_t messages = 0;
  estimate_.fixed += reply_tokens;
  if (!scanner_.enter_array()) return messages;
  while (scanner_.next_element()) {
    ++messages;
    estimate_.fixed += message_tokens;
    if (!scanner_.enter_object()) {
      read_text();
      continue;
    }
    std::string_view key;
    while (scanner_.next_member(key)) {
      if (key == "role") {
        scanner_.value();
      } else if (key == "content") {
        read_content();
      } else {
        read_text();
      }
    }
  }
  return messages;
}

void input_reader::read_content(int depth) {
  // Results of tools hold blocks, and nothing else does.
  if (depth > 1 || !scanner_.enter_array()) return read_text();
  while (scanner_.next_element()) read_block(depth);
}

void input_reader::read_block(int depth) {
  if (!scanner_.enter_object()) return read_text();
  bool is_image = false;
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (key == "type") {
      is_image = scanner_.value() == "\"image\"";
    } else if (key == "cache_control" || key == "citations") {
      scanner_.value();
    } else if (key == "content") {
      read_content(depth + 1);
    } else if (key == "source") {
      if (is_image) ++estimate_.images;
      // Images count the same whatever their size; of documents no more than an attachment does.
      read_bounded(is_image ? image_tokens : 0, is_image ? image_tokens : attachment_tokens);
    } else if (key == "signature" || key == "data") {
      read_bounded(0, attachment_tokens);
    } else {
      read_text();
    }
  }
}

void input_reader::read_text() {
  const std::size_t before = scanner_.text_bytes();
  scanner_.value();
  estimate_.text_bytes += scanner_.text_bytes() - before;
}

void input_reader::read_bounded(std::int64_t least, std::int64_t most) {
  const std::size_t before = scanner_.text_bytes();
  scanner_.value();
  estimate_.fixed += std::clamp(token_estimate::of_text(scanner_.text_bytes() - before), least, most);
}

class request_reader {
 public:
  request_reader(route_kind route, std::string_view body, engine::request_facts& facts,
                 engine::api_error& error)
      : route_(route), body_(body), facts_(facts), error_(error), scanner_(body) {}

  bool read();

 private:
  bool fail(std::string code, std::string message, std::string param = {});
  bool fail_json();
  bool read_members();
  bool read_member(std::string_view key);
  bool read_model();
  bool read_messages();
  bool read_stream_flag();

  const route_kind route_;
  const std::string_view body_;
  engine::request_facts& facts_;
  engine::api_error& error_;
  json_scanner scanner_;
  input_reader input_{scanner_};
  seen_keys keys_;
  bool has_model_ = false;
  bool has_messages_ = false;
};

bool request_reader::read() {
  facts_ = {};
  if (!valid_utf8(body_))
    return fail("invalid_utf8", "The request body is not valid UTF-8: encode it as UTF-8.");
  if (!scanner_.enter_object())
    return fail("invalid_json", "The request body must be a JSON object, such as {\"model\": ...}.");
  facts_.insert_offset = scanner_.offset();
  facts_.empty_object = scanner_.peek() == '}';
  if (!read_members()) return false;
  if (scanner_.error() != json_error::none) return fail_json();
  if (!scanner_.at_end()) {
    return fail("invalid_json", "The request body goes on behind its JSON object at byte " +
                                    std::to_string(scanner_.offset()) + ": send one object only.");
  }
  if (!has_model_) {
    return fail("missing_required_parameter",
                "The request body has no `model`: name a model that GET /v1/models lists.", "model");
  }
  if (!has_messages_) {
    return fail("missing_required_parameter",
                "The request body has no `messages`: add what the model shall work on.", "messages");
  }
  // Clients of this dialect are always told.
  facts_.include_usage = facts_.stream;
  facts_.input_tokens = input_.estimate().total();
  facts_.images = input_.estimate().images;
  if (route_ == route_kind::count_tokens) facts_.max_output_tokens = 0;
  return true;
}

bool request_reader::fail(std::string code, std::string message, std::string param) {
  error_ = bad_request(std::move(code), std::move(message), std::move(param));
  return false;
}

bool request_reader::fail_json() {
  if (scanner_.error() == json_error::too_deep) {
    return fail("json_too_deep", "The request body is nested more than " + std::to_string(max_json_depth) +
                                     " levels deep: flatten it.");
  }
  return fail("invalid_json",
              "The request body is not valid JSON: look at byte " + std::to_string(scanner_.offset()) + ".");
}

/// False only when `error_` was set; errors of the scanner are judged afterwards.
bool request_reader::read_members() {
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (keys_.full()) {
      return fail("too_many_members", "The request body has more than " +
                                          std::to_string(max_top_level_members) + " top-level members.");
    }
    if (!keys_.insert(key, !scanner_.key_escaped())) {
      const std::string name(key.substr(0, max_model_bytes));
      return fail("duplicate_key", "The request body has `" + name + "` twice: send it once.", name);
    }
    if (!read_member(key)) return false;
  }
  return true;
}

bool request_reader::read_member(std::string_view key) {
  if (key == "model") return read_model();
  if (key == "messages") return read_messages();
  if (key == "stream" && route_ == route_kind::messages) return read_stream_flag();
  if (key == "max_tokens") {
    // Whether the value makes sense is for the provider to say; here it only has to be safe to reckon with.
    std::int64_t count = -1;
    if (json_integer(scanner_.value(), count) && count >= 0)
      facts_.max_output_tokens = std::min(count, max_counted_tokens);
  } else if (key == "temperature") {
    facts_.zero_temperature = json_is_zero(scanner_.value());
  } else if (key == "system") {
    input_.read_content();
  } else if (key == "tools" || key == "output_config") {
    input_.read_text();
  } else {
    scanner_.value();
  }
  return true;
}

bool request_reader::read_model() {
  has_model_ = true;
  const std::string_view value = scanner_.value();
  if (value.empty()) return true;
  if (value.front() != '"') return fail("invalid_type", "`model` must be a string.", "model");
  facts_.model_offset = static_cast<std::size_t>(value.data() - body_.data());
  facts_.model_length = value.size();
  if (!json_unescape(value.substr(1, value.size() - 2), facts_.model) || facts_.model.empty() ||
      facts_.model.size() > max_model_bytes) {
    return fail("invalid_value", "`model` must be the name of a model that GET /v1/models lists.", "model");
  }
  return true;
}

bool request_reader::read_messages() {
  has_messages_ = true;
  if (scanner_.peek() != '[') return fail("invalid_type", "`messages` must be an array.", "messages");
  if (input_.read_messages() == 0 && scanner_.error() == json_error::none)
    return fail("empty_array", "`messages` is empty: send at least one message.", "messages");
  return true;
}

bool request_reader::read_stream_flag() {
  const std::string_view value = scanner_.value();
  facts_.stream = value == "true";
  if (facts_.stream || value == "false" || value == "null" || value.empty()) return true;
  return fail("invalid_type", "`stream` must be true or false.", "stream");
}

}  // namespace

bool read_anthropic_request(route_kind route, std::string_view body, engine::request_facts& facts,
                            engine::api_error& error) {
  return request_reader(route, body, facts, error).read();
}

void write_anthropic_body(std::string_view body, const engine::request_facts& facts, std::string_view model,
                          bool mark_prompt_cache, std::string& out) {
  std::vector<body_edit> edits;
  if (mark_prompt_cache) edits = mark_anthropic_prompt(body);
  if (model != facts.model) {
    body_edit other{facts.model_offset, facts.model_length, {}};
    json_quote(model, other.text);
    const auto behind =
        std::find_if(edits.begin(), edits.end(), [&](const body_edit& e) { return e.offset > other.offset; });
    edits.insert(behind, std::move(other));
  }
  std::size_t added = 0;
  for (const body_edit& e : edits) added += e.text.size();
  out.reserve(out.size() + body.size() + added);
  std::size_t copied = 0;
  for (const body_edit& e : edits) {
    out.append(body, copied, e.offset - copied).append(e.text);
    copied = e.offset + e.length;
  }
  out.append(body, copied);
}

}  // namespace millrace::http
