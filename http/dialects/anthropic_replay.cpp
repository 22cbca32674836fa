#include <algorithm>
#include <vector>

#include "http/answer_members.hpp"
#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/openai_replay.hpp"

namespace millrace::http {
namespace {

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
  if (!read_answer_members(answer, all)) return false;
  const std::string_view content = take_member(all, "\"content\"");
  const std::string_view usage = take_member(all, "\"usage\"");
  const std::string_view reason = take_member(all, "\"stop_reason\"");
  const std::string_view sequence = take_member(all, "\"stop_sequence\"");
  const std::string_view details = take_member(all, "\"stop_details\"");
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
  if (!read_answer_members(literal, block)) return false;
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
  const std::string_view text = take_member(block, "\"text\"");
  const std::string_view citations = take_member(block, "\"citations\"");
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
  const std::string_view thinking = take_member(block, "\"thinking\"");
  const std::string_view signature = take_member(block, "\"signature\"");
  if (!is_string(thinking) || (!signature.empty() && !is_string(signature))) return false;
  start_block(block, R"("thinking":"","signature":"")");
  add_delta("thinking_delta", "thinking", thinking);
  add_delta("signature_delta", "signature", signature);
  return true;
}

bool answer_replayer::replay_input(answer_members& block) {
  const std::string_view input = take_member(block, "\"input\"");
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

}  // namespace

bool replay_anthropic_answer(std::string_view answer, std::string& out) {
  out.clear();
  std::string one_line;
  if (!on_one_line(answer, one_line)) return false;
  out.reserve(answer.size() + 2048);
  if (answer_replayer(out).replay(answer)) return true;
  out.clear();
  return false;
}

}  // namespace millrace::http
