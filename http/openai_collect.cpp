#include "http/openai_collect.hpp"

#include <algorithm>
#include <vector>

#include "http/canonical_json.hpp"
#include "http/delta_merge.hpp"
#include "http/json_scan.hpp"
#include "http/openai_answer.hpp"
#include "http/sse.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

constexpr std::string_view finish_reason_key = "\"finish_reason\"";

class answer_collector {
 public:
  explicit answer_collector(route_kind route) : chat_(route == route_kind::chat) {}

  bool read(std::string_view stream);
  void write(std::string_view client_model, std::string& out);
  engine::usage used() const;

 private:
  struct choice {
    std::int64_t index = 0;
    merged_value message;
    merged_value rest;
  };

  bool read_chunk(std::string_view payload);
  bool read_choices(json_scanner& scanner);
  bool read_choice(std::string_view literal);
  bool read_choice_member(choice& into, std::string_view key, json_scanner& scanner);
  choice* choice_at(std::int64_t index);
  bool complete();
  void write_choice(choice& c, std::string& out) const;

  const bool chat_;
  merged_value rest_;  ///< of the chunks' members
  std::string usage_;
  std::vector<choice> choices_;  ///< by index
};

bool answer_collector::read(std::string_view stream) {
  if (!valid_utf8(stream)) return false;
  sse_splitter splitter;
  sse_event event;
  std::string joined;
  splitter.feed(stream);
  while (splitter.next_of_whole(event) == sse_splitter::result::event) {
    const std::string_view payload = json_trim(sse_payload(event, joined));
    if (payload.empty()) continue;
    if (payload == "[DONE]") return complete();
    if (event.name == "error" || !read_chunk(payload)) return false;
  }
  return false;
}

/// False when it is no chunk, or says that something went wrong.
bool answer_collector::read_chunk(std::string_view payload) {
  json_scanner scanner(payload);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  std::string name;
  while (scanner.next_member(key)) {
    if (key == "choices") {
      if (!read_choices(scanner)) return false;
      continue;
    }
    name.clear();
    append_canonical_string(scanner.key_literal(), scanner.string_respelt(), name);
    const std::string_view value = scanner.value();
    if (name == "\"object\"" && value == "\"error\"") return false;
    if (name == "\"error\"") {
      if (value != "null") return false;
    } else if (name == "\"usage\"") {
      if (value != "null") usage_ = value;
    } else if (name != "\"model\"" && name != "\"object\"" && name != "\"obfuscation\"") {
      merged_value* const member = rest_.member(name);
      if (member == nullptr) return false;
      member->set(value);
    }
  }
  return scanner.at_end();
}

bool answer_collector::read_choices(json_scanner& scanner) {
  if (!scanner.enter_array()) return scanner.value() == "null";
  while (scanner.next_element()) {
    if (!read_choice(scanner.value())) return false;
  }
  return true;
}

bool answer_collector::read_choice(std::string_view literal) {
  std::int64_t index = 0;
  if (!read_index(literal, index)) return false;
  choice* const into = choice_at(index);
  json_scanner scanner(literal);
  if (into == nullptr || !scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (!read_choice_member(*into, key, scanner)) return false;
  }
  return true;
}

bool answer_collector::read_choice_member(choice& into, std::string_view key, json_scanner& scanner) {
  if (chat_ && key == "delta") return into.message.merge(scanner);
  if (key == "index") return !scanner.value().empty();
  // Whole messages are no chunks.
  if (chat_ && key == "message") return scanner.value() == "null";
  std::string name;
  append_canonical_string(scanner.key_literal(), scanner.string_respelt(), name);
  merged_value* const member = into.rest.member(name);
  if (member == nullptr) return false;
  if (name == "\"logprobs\"") return member->merge(scanner, merged_value::arrays::appended);
  if (!chat_ && name == "\"text\"") return member->merge(scanner);
  const std::string_view value = scanner.value();
  if (name == finish_reason_key && is_failing_reason(value)) return false;
  member->set(name == finish_reason_key && value == "\"\"" ? "null" : value);
  return !value.empty();
}

answer_collector::choice* answer_collector::choice_at(std::int64_t index) {
  const auto at = std::lower_bound(choices_.begin(), choices_.end(), index,
                                   [](const choice& c, std::int64_t wanted) { return c.index < wanted; });
  if (at != choices_.end() && at->index == index) return &*at;
  if (choices_.size() == max_merged_parts) return nullptr;
  const auto made = choices_.emplace(at);
  made->index = index;
  return &*made;
}

bool answer_collector::complete() {
  return !choices_.empty() && std::all_of(choices_.begin(), choices_.end(), [this](choice& c) {
    const merged_value* const end = c.rest.find(finish_reason_key);
    if (end == nullptr || end->is_null()) return false;
    return chat_ ? c.message.is_object() : c.rest.find("\"text\"") != nullptr;
  });
}

engine::usage answer_collector::used() const {
  engine::usage used;
  json_scanner scanner(usage_);
  read_openai_usage(scanner, used);
  return used;
}

void answer_collector::write(std::string_view client_model, std::string& out) {
  out = chat_ ? R"({"object":"chat.completion","model":)" : R"({"object":"text_completion","model":)";
  json_quote(client_model, out);
  if (rest_.is_object()) out += ',';
  rest_.write_members(out);
  out += ",\"choices\":";
  for (choice& c : choices_) {
    out += &c == choices_.data() ? '[' : ',';
    write_choice(c, out);
  }
  out += ']';
  if (!usage_.empty()) out.append(",\"usage\":").append(usage_);
  out += '}';
}

/// What plain answers always have and some streams leave out is added.
void answer_collector::write_choice(choice& c, std::string& out) const {
  out.append("{\"index\":").append(std::to_string(c.index)).append(",");
  if (chat_) {
    merged_value* const role = c.message.member("\"role\"");
    if (role != nullptr && role->is_null()) role->set("\"assistant\"");
    c.message.member("\"content\"");
    if (merged_value* const calls = c.message.find("\"tool_calls\"")) calls->drop_from_elements("\"index\"");
    out += "\"message\":";
    c.message.write(out);
    out += ',';
  }
  c.rest.write_members(out);
  out += '}';
}

}  // namespace

bool collect_openai_answer(route_kind route, std::string_view stream, std::string_view client_model,
                           std::string& out, engine::usage& used) {
  out.clear();
  used = {};
  answer_collector collector(route);
  if (route == route_kind::embeddings || !collector.read(stream)) return false;
  collector.write(client_model, out);
  used = collector.used();
  return true;
}

}  // namespace millrace::http
