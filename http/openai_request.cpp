#include "http/openai_request.hpp"

#include <algorithm>
#include <utility>

#include "http/bad_request.hpp"
#include "http/json_scan.hpp"
#include "http/openai_input.hpp"
#include "http/seen_keys.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

constexpr std::string_view ask_usage_object = "{\"include_usage\":true}";

bool streams(route_kind route) {
  return route != route_kind::embeddings;
}

std::string_view input_member(route_kind route) {
  switch (route) {
    case route_kind::chat:
      return "messages";
    case route_kind::completions:
      return "prompt";
    default:
      return "input";
  }
}

/// What `stream_options` says about usage, and where to change it.
struct usage_option {
  bool object = false;       ///< it is an object
  bool empty = true;         ///< without members
  size_t inside = 0;         ///< offset just behind its opening brace
  std::string_view value{};  ///< of `include_usage` as written; empty: absent
  bool duplicate = false;
};

usage_option read_usage_option(std::string_view stream_options) {
  usage_option option;
  json_scanner scanner(stream_options);
  if (!scanner.enter_object()) return option;
  option.object = true;
  option.inside = scanner.offset();
  std::string_view key;
  while (scanner.next_member(key)) {
    option.empty = false;
    const bool wanted = key == "include_usage";
    const std::string_view value = scanner.value();
    if (!wanted) continue;
    option.duplicate = option.duplicate || !option.value.empty();
    option.value = value;
  }
  return option;
}

class request_reader {
 public:
  request_reader(route_kind route, std::string_view body, engine::request_facts& facts,
                 engine::api_error& error)
      : route_(route), body_(body), facts_(facts), error_(error), scanner_(body) {}

  bool read();

 private:
  bool fail(engine::api_error e) {
    error_ = std::move(e);
    return false;
  }
  bool fail_json();
  bool missing(std::string_view member, std::string_view what);
  bool read_members();
  bool read_member(std::string_view key);
  bool read_responses_member(std::string_view key);
  bool read_model();
  bool read_input();
  bool read_stream_flag();
  bool judge_stream_options();
  void read_count(std::int64_t& into, std::int64_t most);
  std::int64_t max_output_tokens() const;

  size_t offset_of(std::string_view value) const { return static_cast<size_t>(value.data() - body_.data()); }

  const route_kind route_;
  const std::string_view body_;
  engine::request_facts& facts_;
  engine::api_error& error_;
  json_scanner scanner_;
  openai_input_reader input_{scanner_};
  seen_keys keys_;
  bool has_model_ = false;
  bool has_input_ = false;
  bool stateful_ = false;  ///< what is answered depends on more than the body
  std::int64_t max_completion_tokens_ = -1;
  std::int64_t max_tokens_ = -1;
  std::int64_t n_ = -1;
  std::int64_t best_of_ = -1;
};

bool request_reader::read() {
  facts_ = {};
  if (!valid_utf8(body_)) {
    return fail(bad_request("invalid_utf8", "The request body is not valid UTF-8: encode it as UTF-8."));
  }
  if (!scanner_.enter_object()) {
    return fail(
        bad_request("invalid_json", "The request body must be a JSON object, such as {\"model\": ...}."));
  }
  facts_.insert_offset = scanner_.offset();
  if (!read_members()) return false;
  if (scanner_.error() != json_error::none) return fail_json();
  if (!scanner_.at_end()) {
    return fail(bad_request("invalid_json", "The request body goes on behind its JSON object at byte " +
                                                std::to_string(scanner_.offset()) +
                                                ": send one object only."));
  }
  if (!has_model_) return missing("model", "name a model that GET /v1/models lists");
  if (!has_input_) return missing(input_member(route_), "add what the model shall work on");
  if (!judge_stream_options()) return false;
  facts_.input_tokens = input_.estimate().total();
  facts_.images = input_.estimate().images;
  facts_.max_output_tokens = max_output_tokens();
  if (route_ == route_kind::responses) facts_.include_usage = facts_.stream;  // they are always told
  if (stateful_) facts_.zero_temperature = false;                             // so it is not the same again
  return true;
}

bool request_reader::fail_json() {
  if (scanner_.error() == json_error::too_deep) {
    return fail(bad_request("json_too_deep", "The request body is nested more than " +
                                                 std::to_string(max_json_depth) +
                                                 " levels deep: flatten it."));
  }
  return fail(bad_request("invalid_json", "The request body is not valid JSON: look at byte " +
                                              std::to_string(scanner_.offset()) + "."));
}

bool request_reader::missing(std::string_view member, std::string_view what) {
  return fail(bad_request("missing_required_parameter",
                          "The request body has no `" + std::string(member) + "`: " + std::string(what) + ".",
                          std::string(member)));
}

/// False only when `error_` was set; errors of the scanner are judged afterwards.
bool request_reader::read_members() {
  std::string_view key;
  while (scanner_.next_member(key)) {
    if (keys_.full()) {
      return fail(bad_request(
          "too_many_members",
          "The request body has more than " + std::to_string(max_top_level_members) + " top-level members."));
    }
    if (!keys_.insert(key, !scanner_.key_escaped())) {
      const std::string name(key.substr(0, max_model_bytes));
      return fail(
          bad_request("duplicate_key", "The request body has `" + name + "` twice: send it once.", name));
    }
    if (!read_member(key)) return false;
  }
  return true;
}

bool request_reader::read_member(std::string_view key) {
  if (key == "model") return read_model();
  if (key == input_member(route_)) return read_input();
  if (key == "stream" && streams(route_)) return read_stream_flag();
  if (route_ == route_kind::responses) return read_responses_member(key);
  if (key == "stream_options") {
    const std::string_view value = scanner_.value();
    facts_.stream_options_offset = offset_of(value);
    facts_.stream_options_length = value.size();
  } else if (key == "max_tokens") {
    read_count(max_tokens_, max_counted_tokens);
  } else if (key == "max_completion_tokens") {
    read_count(max_completion_tokens_, max_counted_tokens);
  } else if (key == "n") {
    read_count(n_, max_counted_choices);
  } else if (key == "best_of") {
    read_count(best_of_, max_counted_choices);
  } else if (key == "temperature") {
    facts_.zero_temperature = json_is_zero(scanner_.value());
  } else if (key == "encoding_format") {
    facts_.base64 = json_text(scanner_.value()) == "base64";
  } else if (key == "tools" || key == "functions" || key == "response_format" || key == "suffix") {
    input_.read_text();
  } else {
    scanner_.value();
  }
  return true;
}

bool request_reader::read_responses_member(std::string_view key) {
  if (key == "max_output_tokens") {
    read_count(max_tokens_, max_counted_tokens);
  } else if (key == "temperature") {
    facts_.zero_temperature = json_is_zero(scanner_.value());
  } else if (key == "instructions" || key == "tools" || key == "text") {
    input_.read_text();
  } else if (key == "prompt" || key == "previous_response_id" || key == "conversation") {
    const bool stateful = key == "conversation";
    const bool given = scanner_.value() != "null";
    has_input_ = has_input_ || given;
    stateful_ = stateful_ || (stateful && given);
  } else if (key == "background") {
    if (scanner_.value() != "true") return true;
    return fail(bad_request("unsupported_field",
                            "Answers of `background` requests cannot be fetched here. Leave it out, and use "
                            "`stream` for answers that take long.",
                            "background"));
  } else {
    scanner_.value();
  }
  return true;
}

bool request_reader::read_model() {
  has_model_ = true;
  const std::string_view value = scanner_.value();
  if (value.empty()) return true;
  if (value.front() != '"') return fail(bad_request("invalid_type", "`model` must be a string.", "model"));
  facts_.model_offset = offset_of(value);
  facts_.model_length = value.size();
  if (!json_unescape(value.substr(1, value.size() - 2), facts_.model) || facts_.model.empty() ||
      facts_.model.size() > max_model_bytes) {
    return fail(bad_request("invalid_value", "`model` must be the name of a model that GET /v1/models lists.",
                            "model"));
  }
  return true;
}

bool request_reader::read_input() {
  has_input_ = true;
  const std::string name(input_member(route_));
  const char first = scanner_.peek();
  if (route_ != route_kind::chat) {
    if (first != '"' && first != '[') {
      return fail(bad_request("invalid_type", "`" + name + "` must be a string or an array.", name));
    }
    if (route_ == route_kind::responses) {
      if (input_.read_items() > 0 || scanner_.error() != json_error::none) return true;
      return fail(bad_request("empty_array", "`input` is empty: send at least one item.", name));
    }
    input_.read_texts_or_tokens();
    return true;
  }
  if (first != '[') return fail(bad_request("invalid_type", "`messages` must be an array.", name));
  if (input_.read_messages() == 0 && scanner_.error() == json_error::none) {
    return fail(bad_request("empty_array", "`messages` is empty: send at least one message.", name));
  }
  return true;
}

bool request_reader::read_stream_flag() {
  const std::string_view value = scanner_.value();
  facts_.stream = value == "true";
  if (facts_.stream || value == "false" || value == "null" || value.empty()) return true;
  return fail(bad_request("invalid_type", "`stream` must be true or false.", "stream"));
}

/// Millrace edits these options, so it must understand them; without a stream they are the provider's affair.
bool request_reader::judge_stream_options() {
  if (!facts_.stream || facts_.stream_options_length == 0) return true;
  const std::string_view text = body_.substr(facts_.stream_options_offset, facts_.stream_options_length);
  const usage_option option = read_usage_option(text);
  if (!option.object && text != "null") {
    return fail(bad_request("invalid_type", "`stream_options` must be an object.", "stream_options"));
  }
  const std::string name = "stream_options.include_usage";
  if (option.duplicate) {
    return fail(
        bad_request("duplicate_key", "`stream_options` has `include_usage` twice: send it once.", name));
  }
  facts_.include_usage = option.value == "true";
  if (facts_.include_usage || option.value == "false" || option.value == "null" || option.value.empty())
    return true;
  return fail(bad_request("invalid_type", "`" + name + "` must be true or false.", name));
}

/// Whether the value makes sense is for the provider to say; here it only has to be safe to reckon with.
void request_reader::read_count(std::int64_t& into, std::int64_t most) {
  std::int64_t number = -1;
  if (json_integer(scanner_.value(), number) && number >= 0) into = std::min(number, most);
}

std::int64_t request_reader::max_output_tokens() const {
  if (route_ == route_kind::embeddings) return 0;
  const std::int64_t each = max_completion_tokens_ >= 0 ? max_completion_tokens_ : max_tokens_;
  if (each < 0) return -1;
  const std::int64_t choices = route_ == route_kind::completions ? std::max(n_, best_of_) : n_;
  return each * std::max<std::int64_t>(choices, 1);
}

/// One replacement in the body.
struct edit {
  size_t offset = 0;
  size_t length = 0;
  std::string text;
};

edit edit_model(const engine::request_facts& facts, std::string_view model) {
  edit e;
  if (model == facts.model) return e;
  e.offset = facts.model_offset;
  e.length = facts.model_length;
  json_quote(model, e.text);
  return e;
}

edit edit_stream_options(std::string_view body, const engine::request_facts& facts) {
  edit e;
  if (facts.stream_options_length == 0) {
    e.offset = facts.insert_offset;
    e.text.append("\"stream_options\":").append(ask_usage_object).append(facts.empty_object ? "" : ",");
    return e;
  }
  const std::string_view text = body.substr(facts.stream_options_offset, facts.stream_options_length);
  const usage_option option = read_usage_option(text);
  if (!option.object) {
    e.offset = facts.stream_options_offset;
    e.length = text.size();
    e.text = ask_usage_object;
  } else if (option.value.empty()) {
    e.offset = facts.stream_options_offset + option.inside;
    e.text = option.empty ? "\"include_usage\":true" : "\"include_usage\":true,";
  } else {
    e.offset = static_cast<size_t>(option.value.data() - body.data());
    e.length = option.value.size();
    e.text = "true";
  }
  return e;
}

}  // namespace

bool read_openai_request(route_kind route, std::string_view body, engine::request_facts& facts,
                         engine::api_error& error) {
  return request_reader(route, body, facts, error).read();
}

void encode_openai_request(route_kind route, std::string_view body, const engine::request_facts& facts,
                           std::string_view model, bool stream_usage, std::string& out) {
  // An edit that changes nothing stands at offset 0, before every other one; the values themselves never
  // overlap.
  edit first = edit_model(facts, model);
  edit second;
  if (stream_usage && facts.stream && !facts.include_usage && streams(route))
    second = edit_stream_options(body, facts);
  if (second.offset < first.offset) std::swap(first, second);
  out.clear();
  out.reserve(body.size() + first.text.size() + second.text.size());
  out.append(body, 0, first.offset).append(first.text);
  const size_t between = first.offset + first.length;
  out.append(body, between, second.offset - between).append(second.text);
  out.append(body, second.offset + second.length);
}

}  // namespace millrace::http
