#include <utility>
#include <vector>

#include "http/canonical_json.hpp"
#include "http/delta_merge.hpp"
#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/sse.hpp"

namespace millrace::http {
namespace {

/// A content block that is put together. Texts are joined as they are escaped, without quotes.
struct collected_block {
  merged_value rest;  ///< its members but those below
  std::string text;
  std::string thinking;
  std::string signature;
  std::string input;      ///< as the text of a string literal
  std::string citations;  ///< elements of the array
  bool has_text = false;
  bool has_thinking = false;
  bool has_citations = false;
};

bool join(json_literal piece, std::string& text) {
  if (piece.size() < 2 || piece.front() != '"') return false;
  text.append(piece, 1, piece.size() - 2);
  return true;
}

/// Sets all members of the object that comes next, but what `special` takes for itself: it gets the canonical
/// key and the value, and says what it did.
enum class taken : std::uint8_t { no, yes, wrong };
template <class Special>
bool set_members(json_literal object, merged_value& into, const Special& special) {
  json_scanner scanner(object);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  std::string name;
  while (scanner.next_member(key)) {
    name.clear();
    append_canonical_string(scanner.key_literal(), scanner.string_respelt(), name);
    const std::string_view value = scanner.value();
    if (value.empty()) return false;
    const taken done = special(name, value);
    if (done == taken::wrong) return false;
    if (done == taken::yes) continue;
    merged_value* const member = into.member(name);
    if (member == nullptr) return false;
    member->set(value);
  }
  return scanner.error() == json_error::none;
}

taken take_none(const std::string& /*name*/, std::string_view /*value*/) {
  return taken::no;
}

class answer_collector {
 public:
  bool read(std::string_view stream);
  bool write(std::string_view client_model, std::string& out);
  engine::usage used() const { return counts_.total(); }

 private:
  bool read_event(std::string_view payload, bool& over);
  bool start(json_literal message);
  bool start_block(json_literal block, std::int64_t index);
  bool add(json_literal delta, std::int64_t index);
  bool add_input(collected_block& into, json_literal piece);
  bool finish(json_literal delta, json_literal usage);
  bool read_usage(json_literal usage);
  bool complete();
  static bool write_block(collected_block& block, std::string& out);

  merged_value message_;
  merged_value usage_;
  anthropic_usage counts_;
  std::vector<collected_block> blocks_;
  bool started_ = false;
  bool in_block_ = false;
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
    bool over = false;
    if (event.name == "error" || !read_event(payload, over)) return false;
    if (over) return complete();
  }
  return false;
}

bool answer_collector::read_event(std::string_view payload, bool& over) {
  enum : std::size_t { type, message, index, block, delta, usage, count };
  static constexpr std::array<std::string_view, count> names = {"type",          "message", "index",
                                                                "content_block", "delta",   "usage"};
  const json_members<count> value(payload, names);
  if (!value.whole) return false;
  const auto is = [&](std::string_view name) { return json_says(value[type], name); };
  if (is("ping")) return true;
  if (is("message_start")) return start(value[message]);
  std::int64_t at = -1;
  json_integer(value[index], at);
  if (is("content_block_start")) return start_block(value[block], at);
  if (is("content_block_delta")) return add(value[delta], at);
  if (is("content_block_stop"))
    return std::exchange(in_block_, false) && at + 1 == static_cast<std::int64_t>(blocks_.size());
  if (is("message_delta")) return finish(value[delta], value[usage]);
  over = is("message_stop");
  return over;
}

bool answer_collector::start(json_literal message) {
  if (std::exchange(started_, true)) return false;
  json_literal usage;
  const bool ok = set_members(message, message_, [&](const std::string& name, std::string_view value) {
    if (name == "\"usage\"") usage = value;
    if (name == "\"content\"" && !json_is_blank(value)) return taken::wrong;
    return name == "\"usage\"" || name == "\"content\"" || name == "\"model\"" ? taken::yes : taken::no;
  });
  return ok && read_usage(usage);
}

bool answer_collector::start_block(json_literal block, std::int64_t index) {
  if (!started_ || in_block_ || index != static_cast<std::int64_t>(blocks_.size()) ||
      blocks_.size() == max_merged_parts) {
    return false;
  }
  in_block_ = true;
  collected_block& made = blocks_.emplace_back();
  return set_members(block, made.rest, [&](const std::string& name, std::string_view value) {
    if (name == "\"text\"") {
      made.has_text = true;
      return join(value, made.text) ? taken::yes : taken::wrong;
    }
    if (name == "\"thinking\"") {
      made.has_thinking = true;
      return join(value, made.thinking) ? taken::yes : taken::wrong;
    }
    if (name == "\"signature\"") return join(value, made.signature) ? taken::yes : taken::wrong;
    if (name == "\"citations\"" && value.front() == '[') {
      made.has_citations = true;
      made.citations = json_trim(value.substr(1, value.size() - 2));
      return taken::yes;
    }
    return taken::no;
  });
}

bool answer_collector::add(json_literal delta, std::int64_t index) {
  enum : std::size_t { type, text, thinking, signature, json, citation, count };
  static constexpr std::array<std::string_view, count> names = {"type",      "text",         "thinking",
                                                                "signature", "partial_json", "citation"};
  if (!in_block_ || index + 1 != static_cast<std::int64_t>(blocks_.size())) return false;
  const json_members<count> value(delta, names);
  if (!value.is_object) return false;
  if (!value.unknown.empty()) return false;
  collected_block& into = blocks_.back();
  if (json_says(value[type], "text_delta")) return into.has_text && join(value[text], into.text);
  if (json_says(value[type], "thinking_delta"))
    return into.has_thinking && join(value[thinking], into.thinking);
  if (json_says(value[type], "signature_delta"))
    return into.has_thinking && join(value[signature], into.signature);
  if (json_says(value[type], "input_json_delta")) return add_input(into, value[json]);
  if (!json_says(value[type], "citations_delta") || value[citation].empty() || !into.has_text) return false;
  into.has_citations = true;
  if (!into.citations.empty()) into.citations += ',';
  into.citations += value[citation];
  return true;
}

bool answer_collector::add_input(collected_block& into, json_literal piece) {
  return into.rest.find("\"input\"") != nullptr && join(piece, into.input);
}

bool answer_collector::finish(json_literal delta, json_literal usage) {
  if (!started_ || in_block_) return false;
  if (!delta.empty() && !set_members(delta, message_, take_none)) return false;
  return usage.empty() || read_usage(usage);
}

/// Counts are of the whole answer, and null where there is nothing to tell.
bool answer_collector::read_usage(json_literal usage) {
  json_scanner scanner(usage);
  if (usage.empty() || !set_members(usage, usage_, take_none)) return false;
  counts_.read(scanner);
  return true;
}

bool answer_collector::complete() {
  merged_value* const end = message_.find("\"stop_reason\"");
  return started_ && !in_block_ && end != nullptr && !end->is_null();
}

bool answer_collector::write(std::string_view client_model, std::string& out) {
  out = "{\"model\":";
  json_quote(client_model, out);
  out += ',';
  message_.write_members(out);
  out += ",\"content\":[";
  for (collected_block& block : blocks_) {
    if (&block != blocks_.data()) out += ',';
    if (!write_block(block, out)) return false;
  }
  out += "],\"usage\":{";
  usage_.write_members(out);
  out += "}}";
  return true;
}

bool answer_collector::write_block(collected_block& block, std::string& out) {
  if (!block.input.empty()) {
    std::string input;
    if (!json_unescape(block.input, input)) return false;
    json_scanner scanner(input);
    if (scanner.peek() != '{') return false;
    const std::string_view value = scanner.value();
    if (value.empty() || !scanner.at_end() || !valid_utf8(value)) return false;
    // Line ends may stand between its values.
    block.rest.find("\"input\"")->set(value);
  }
  out += '{';
  block.rest.write_members(out);
  const auto add = [&](std::string_view name, std::string_view text) {
    if (out.back() != '{') out += ',';
    out.append(name).append(":\"").append(text).append("\"");
  };
  if (block.has_text) add("\"text\"", block.text);
  if (block.has_thinking) add("\"thinking\"", block.thinking);
  if (block.has_thinking || !block.signature.empty()) add("\"signature\"", block.signature);
  if (block.has_citations) {
    if (out.back() != '{') out += ',';
    out.append("\"citations\":[").append(block.citations).append("]");
  }
  out += '}';
  return true;
}

}  // namespace

bool collect_anthropic_answer(std::string_view stream, std::string_view client_model, std::string& out,
                              engine::usage& used) {
  out.clear();
  used = {};
  answer_collector collector;
  if (!collector.read(stream) || !collector.write(client_model, out)) {
    out.clear();
    return false;
  }
  used = collector.used();
  return true;
}

}  // namespace millrace::http
