#include <algorithm>
#include <vector>

#include "http/canonical_json.hpp"
#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/openai_replay.hpp"

namespace millrace::http {
namespace {

struct answer_member {
  std::string key;         ///< canonical, with quotes
  std::string_view value;  ///< as written
};
using answer_members = std::vector<answer_member>;

/// The members of `object`, of those with one name the last. False when that is no object, or too large.
bool read_members(std::string_view object, answer_members& out) {
  out.clear();
  json_scanner scanner(object);
  if (!scanner.enter_object()) return false;
  std::string_view unescaped;
  std::string key;
  while (scanner.next_member(unescaped)) {
    key.clear();
    append_canonical_string(scanner.key_literal(), scanner.string_respelt(), key);
    const std::string_view value = scanner.value();
    const auto there = std::find_if(out.begin(), out.end(), [&](const auto& m) { return m.key == key; });
    if (there != out.end()) {
      there->value = value;
    } else if (out.size() < max_answer_members) {
      out.push_back({key, value});
    } else {
      return false;
    }
  }
  return scanner.at_end();
}

/// Takes a member out; empty when it is not there.
std::string_view take(answer_members& all, std::string_view key) {
  const auto found = std::find_if(all.begin(), all.end(), [key](const auto& m) { return m.key == key; });
  if (found == all.end()) return {};
  const std::string_view value = found->value;
  all.erase(found);
  return value;
}

bool is_string(std::string_view literal) {
  return !literal.empty() && literal.front() == '"';
}

class answer_replayer {
 public:
  explicit answer_replayer(std::string& out) : out_(out) {}
  bool replay(std::string_view answer);

 private:
  bool replay_block(std::string_view literal);
  bool replay_text(answer_members& block);
  bool replay_thinking(answer_members& block);
  bool replay_input(answer_members& block);
  void begin(std::string_view type);
  void start_block(const answer_members& rest, std::string_view more);
  void add_delta(std::string_view type, std::string_view member, std::string_view value);

  std::string& out_;
  int index_ = 0;
};

bool answer_replayer::replay(std::string_view answer) {
  answer_members all;
  if (!read_members(answer, all)) return false;
  const std::string_view content = take(all, "\"content\"");
  const std::string_view usage = take(all, "\"usage\"");
  const std::string_view reason = take(all, "\"stop_reason\"");
  const std::string_view sequence = take(all, "\"stop_sequence\"");
  const std::string_view details = take(all, "\"stop_details\"");
  const bool is_message = std::any_of(all.begin(), all.end(), [](const auto& m) {
    return m.key == "\"type\"" && json_says(m.value, "message");
  });
  if (!is_message || !is_string(reason) || usage.empty() || usage.front() != '{') return false;
  begin("message_start");
  out_ += ",\"message\":{";
  for (const auto& m : all) out_.append(m.key).append(":").append(m.value).append(",");
  out_.append(R"("content":[],"stop_reason":null,"stop_sequence":null,"usage":)")
      .append(usage)
      .append("}}\n\n");
  json_scanner scanner(content);
  if (!scanner.enter_array()) return false;
  for (; scanner.next_element(); ++index_) {
    if (!replay_block(scanner.value()) || out_.size() > max_replay_bytes) return false;
    begin("content_block_stop");
    out_.append(",\"index\":").append(std::to_string(index_)).append("}\n\n");
  }
  begin("message_delta");
  out_.append(",\"delta\":{\"stop_reason\":").append(reason).append(",\"stop_sequence\":");
  out_.append(sequence.empty() ? "null" : sequence);
  if (!details.empty()) out_.append(",\"stop_details\":").append(details);
  out_.append("},\"usage\":").append(usage).append("}\n\n");
  begin("message_stop");
  out_ += "}\n\n";
  return true;
}

/// What comes in deltas is empty at the start; blocks of other types come whole.
bool answer_replayer::replay_block(std::string_view literal) {
  answer_members block;
  if (!read_members(literal, block)) return false;
  const auto type =
      std::find_if(block.begin(), block.end(), [](const auto& m) { return m.key == "\"type\""; });
  if (type == block.end()) return false;
  if (json_says(type->value, "text")) return replay_text(block);
  if (json_says(type->value, "thinking")) return replay_thinking(block);
  if (json_says(type->value, "tool_use") || json_says(type->value, "server_tool_use"))
    return replay_input(block);
  start_block(block, {});
  return true;
}

bool answer_replayer::replay_text(answer_members& block) {
  const std::string_view text = take(block, "\"text\"");
  const std::string_view citations = take(block, "\"citations\"");
  if (!is_string(text)) return false;
  const bool cites = !citations.empty() && citations.front() == '[';
  if (!citations.empty() && !cites) block.push_back({"\"citations\"", citations});
  start_block(block, cites ? R"("text":"","citations":[])" : R"("text":"")");
  add_delta("text_delta", "text", text);
  json_scanner scanner(citations);
  if (!cites || !scanner.enter_array()) return true;
  while (scanner.next_element()) add_delta("citations_delta", "citation", scanner.value());
  return true;
}

bool answer_replayer::replay_thinking(answer_members& block) {
  const std::string_view thinking = take(block, "\"thinking\"");
  const std::string_view signature = take(block, "\"signature\"");
  if (!is_string(thinking) || (!signature.empty() && !is_string(signature))) return false;
  start_block(block, R"("thinking":"","signature":"")");
  add_delta("thinking_delta", "thinking", thinking);
  add_delta("signature_delta", "signature", signature);
  return true;
}

bool answer_replayer::replay_input(answer_members& block) {
  const std::string_view input = take(block, "\"input\"");
  if (input.empty() || input.front() != '{') return false;
  start_block(block, "\"input\":{}");
  if (json_is_blank(input)) return true;
  std::string text;
  json_quote(input, text);
  add_delta("input_json_delta", "partial_json", text);
  return true;
}

void answer_replayer::begin(std::string_view type) {
  out_.append("event: ").append(type).append("\ndata: {\"type\":\"").append(type).append("\"");
}

void answer_replayer::start_block(const answer_members& rest, std::string_view more) {
  begin("content_block_start");
  out_.append(",\"index\":").append(std::to_string(index_)).append(",\"content_block\":{");
  const char* separator = "";
  for (const auto& m : rest) {
    out_.append(separator).append(m.key).append(":").append(m.value);
    separator = ",";
  }
  if (!more.empty()) out_.append(separator).append(more);
  out_ += "}}\n\n";
}

/// Empty texts need none.
void answer_replayer::add_delta(std::string_view type, std::string_view member, std::string_view value) {
  if (value.empty() || value == "\"\"") return;
  begin("content_block_delta");
  out_.append(",\"index\":").append(std::to_string(index_)).append(",\"delta\":{\"type\":\"").append(type);
  out_.append("\",\"").append(member).append("\":").append(value).append("}}\n\n");
}

bool is_json(std::string_view text) {
  json_scanner scanner(text);
  return !scanner.value().empty() && scanner.at_end();
}

}  // namespace

bool replay_anthropic_answer(std::string_view answer, std::string& out) {
  out.clear();
  if (!valid_utf8(answer)) return false;
  // In JSON, line ends only stand between values, where a space does as well; in an event they would end its
  // data.
  std::string one_line;
  if (answer.find_first_of("\r\n") != std::string_view::npos) {
    if (!is_json(answer)) return false;
    one_line = answer;
    std::replace_if(
        one_line.begin(), one_line.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
    answer = one_line;
  }
  out.reserve(answer.size() + 2048);
  if (answer_replayer(out).replay(answer)) return true;
  out.clear();
  return false;
}

}  // namespace millrace::http
