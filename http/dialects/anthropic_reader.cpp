#include <utility>
#include <vector>

#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/event_reader.hpp"

namespace millrace::http {
namespace {

class anthropic_reader final : public event_reader {
 public:
  using event_reader::event_reader;

 private:
  void take(std::string& out) override;
  bool read_event(std::string_view payload);
  void read_message(json_scanner& scanner);
  void read_block(json_scanner& scanner);
  void read_delta(json_scanner& scanner);
  void read_usage(json_scanner& scanner);
  void write_edited(std::string& out) const;
  void fail_with(std::string_view payload);

  anthropic_usage counts_;

  // Of the event being read.
  std::string_view type_;    ///< as written
  std::string_view stated_;  ///< the message's model as written, a part of the payload
  bool tells_ = false;       ///< the client would miss it
};

void anthropic_reader::take(std::string& out) {
  const std::string_view text = sse_payload(event_, joined_);
  const std::string_view content = json_trim(text);
  if (content.empty()) {
    out.append(event_.raw);
    return;
  }
  const bool is_json = read_event(text);
  if (event_.name == "error" || (is_json && json_says(type_, "error")))
    return is_json ? fail_with(content) : fail(content);
  if (!is_json) return fail("The provider sent an event that is not a JSON object.");
  if (tells_) state_ = state::content;
  if (json_says(type_, "message_stop")) {
    if (state_ == state::preamble) return fail(ended_unsaid);
    state_ = state::done;
  }
  write_edited(out);
}

/// False when it is not a JSON object.
bool anthropic_reader::read_event(std::string_view payload) {
  type_ = stated_ = {};
  tells_ = false;
  json_scanner scanner(payload);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "message") {
      read_message(scanner);
    } else if (key == "content_block") {
      read_block(scanner);
    } else if (key == "delta") {
      read_delta(scanner);
    } else if (key == "usage") {
      read_usage(scanner);
    } else {
      const bool is_type = key == "type";
      const std::string_view value = scanner.value();
      if (is_type) type_ = value;
    }
  }
  return scanner.at_end();
}

void anthropic_reader::read_message(json_scanner& scanner) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "usage") {
      read_usage(scanner);
      continue;
    }
    const bool is_model = key == "model";
    const bool is_content = key == "content";
    const std::string_view value = scanner.value();
    if (is_model && !value.empty() && value.front() == '"') stated_ = value;
    tells_ = tells_ || (is_content && !json_is_blank(value));
  }
}

/// Texts and thoughts begin empty; everything else says something by being there.
void anthropic_reader::read_block(json_scanner& scanner) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_type = key == "type";
    const std::string_view value = scanner.value();
    const bool opens = json_says(value, "text") || json_says(value, "thinking");
    tells_ = tells_ || (is_type ? !opens : !json_is_blank(value));
  }
}

void anthropic_reader::read_delta(json_scanner& scanner) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_type = key == "type";
    const std::string_view value = scanner.value();
    tells_ = tells_ || (!is_type && !json_is_blank(value));
  }
}

void anthropic_reader::read_usage(json_scanner& scanner) {
  counts_.read(scanner);
  used_ = counts_.total();
}

void anthropic_reader::write_edited(std::string& out) const {
  if (stated_.empty() || stated_ == model_) {
    out.append(event_.raw);
    return;
  }
  const char* const payload =
      event_.data.size() == 1 ? event_.raw.data() + event_.data[0].offset : joined_.data();
  const auto offset = static_cast<std::size_t>(stated_.data() - payload);
  replace_in_event(event_, offset, stated_.size(), model_, out);
}

void anthropic_reader::fail_with(std::string_view payload) {
  const anthropic_failure e = read_anthropic_error(payload);
  fail(e.message.empty() ? payload : std::string_view(e.message), anthropic_status(e.type));
}

}  // namespace

std::unique_ptr<engine::stream_reader> read_anthropic_stream(std::string_view client_model) {
  return std::make_unique<anthropic_reader>(client_model);
}

bool rewrite_anthropic_answer(std::string_view body, std::string_view client_model, bool has_content,
                              std::string& out, engine::usage& used) {
  out.clear();
  used = {};
  anthropic_usage counts;
  json_scanner scanner(body);
  if (!scanner.enter_object()) return false;
  out.reserve(body.size() + client_model.size() + 2);
  std::size_t copied = 0;
  bool fails = false;
  bool tells = !has_content;  // an empty list is what a model says that has nothing to add
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "usage") {
      counts.read(scanner);
      continue;
    }
    const bool is_model = key == "model";
    const bool is_error = key == "error";
    const bool is_content = key == "content";
    const std::string_view value = scanner.value();
    fails = fails || (is_error && value != "null");
    tells = tells || (is_content && value.starts_with('['));
    if (!is_model || value.empty()) continue;
    const auto offset = static_cast<std::size_t>(value.data() - body.data());
    out.append(body, copied, offset - copied);
    json_quote(client_model, out);
    copied = offset + value.size();
  }
  if (scanner.at_end()) used = counts.total();
  if (!scanner.at_end() || fails || !tells) {
    out.clear();
    return false;
  }
  out.append(body, copied);
  return true;
}

}  // namespace millrace::http
