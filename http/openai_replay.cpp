#include "http/openai_replay.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "http/answer_members.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

class answer_replayer {
 public:
  answer_replayer(bool chat, bool wants_usage, std::string& out)
      : chat_(chat), wants_usage_(wants_usage), out_(out) {}

  bool replay(std::string_view answer);

 private:
  bool replay_choice(std::string_view literal);
  bool replay_message(std::string_view message);
  bool replay_tool_calls(std::string_view calls);
  void first_delta(const answer_members& message);
  void add_piece(std::string_view said);
  void add_logprobs();
  void add_end(const answer_members& rest, std::string_view finish_reason);
  void begin_chunk();
  void end_chunk();

  const bool chat_;
  const bool wants_usage_;
  std::string& out_;
  std::string head_;    ///< of every chunk, up to the first choice
  std::string extras_;  ///< members of the answer for the first chunk
  // Of the choice being replayed.
  std::int64_t index_ = -1;
  bool has_logprobs_ = false;  ///< if only null
  std::string_view logprobs_;  ///< not yet told; empty: none left
};

bool answer_replayer::replay(std::string_view answer) {
  constexpr std::array<std::string_view, 5> everywhere = {"\"id\"", "\"created\"", "\"model\"",
                                                          "\"system_fingerprint\"", "\"service_tier\""};
  answer_members all;
  if (!read_answer_members(answer, all)) return false;
  const std::string_view choices = take_member(all, "\"choices\"");
  const std::string_view usage = take_member(all, "\"usage\"");
  const std::string_view error = take_member(all, "\"error\"");
  if (!error.empty() && error != "null") return false;
  take_member(all, "\"object\"");
  head_ = chat_ ? R"(data: {"object":"chat.completion.chunk",)" : R"(data: {"object":"text_completion",)";
  for (const answer_member& m : all) {
    const bool repeated = std::find(everywhere.begin(), everywhere.end(), m.key) != everywhere.end();
    if (!repeated) extras_ += ',';
    append_member(m, repeated ? head_ : extras_);
    if (repeated) head_ += ',';
  }
  head_ += "\"choices\":[";
  json_scanner scanner(choices);
  if (!scanner.enter_array()) return false;
  while (scanner.next_element()) {
    if (!replay_choice(scanner.value()) || out_.size() > max_replay_bytes) return false;
  }
  if (index_ < 0) return false;
  if (wants_usage_ && !usage.empty() && usage != "null") {
    out_.append(head_).append("],\"usage\":").append(usage).append("}\n\n");
  }
  out_ += "data: [DONE]\n\n";
  return true;
}

bool answer_replayer::replay_choice(std::string_view literal) {
  answer_members all;
  if (!read_answer_members(literal, all)) return false;
  const std::string_view index = take_member(all, "\"index\"");
  const std::int64_t before = index_++;
  if (!index.empty() && (!json_integer(index, index_) || index_ <= before)) return false;
  const std::string_view finish_reason = take_member(all, "\"finish_reason\"");
  const std::string_view said = take_member(all, chat_ ? "\"message\"" : "\"text\"");
  if (json_is_blank(finish_reason) || said.empty()) return false;
  logprobs_ = take_member(all, "\"logprobs\"");
  has_logprobs_ = !logprobs_.empty();
  if (logprobs_ == "null") logprobs_ = {};
  if (chat_) {
    if (!replay_message(said)) return false;
  } else {
    if (said.front() != '"') return false;
    if (!json_is_blank(said)) add_piece("\"text\":" + std::string(said));
  }
  add_end(all, finish_reason);
  return true;
}

bool answer_replayer::replay_message(std::string_view message) {
  answer_members all;
  if (!read_answer_members(message, all)) return false;
  first_delta(all);
  std::string delta;
  for (const answer_member& m : all) {
    if (m.key == "\"role\"" || json_is_blank(m.value)) continue;
    if (m.key == "\"tool_calls\"") {
      if (!replay_tool_calls(m.value)) return false;
      continue;
    }
    delta = "\"delta\":{";
    append_member(m, delta);
    add_piece(delta += '}');
  }
  return true;
}

/// The role, and what is empty or null: a stream opens with such a chunk.
void answer_replayer::first_delta(const answer_members& message) {
  begin_chunk();
  out_ += "\"delta\":{\"role\":";
  const auto role = std::find_if(message.begin(), message.end(),
                                 [](const answer_member& m) { return m.key == "\"role\""; });
  out_.append(role == message.end() ? "\"assistant\"" : role->value);
  for (const answer_member& m : message) {
    if (m.key == "\"role\"") continue;
    if (json_is_blank(m.value)) {
      out_ += ',';
      append_member(m, out_);
    } else if (m.key == "\"content\"" && m.value.front() == '"') {
      out_ += ",\"content\":\"\"";
    }
  }
  // What logprobs there are belong to what is said.
  out_ += has_logprobs_ ? "},\"logprobs\":null,\"finish_reason\":null" : "},\"finish_reason\":null";
  end_chunk();
}

bool answer_replayer::replay_tool_calls(std::string_view calls) {
  json_scanner scanner(calls);
  if (!scanner.enter_array()) return false;
  std::string delta;
  answer_members call;
  for (size_t index = 0; scanner.next_element(); ++index) {
    if (!read_answer_members(scanner.value(), call) || out_.size() > max_replay_bytes) return false;
    take_member(call, "\"index\"");
    delta = "\"delta\":{\"tool_calls\":[{\"index\":" + std::to_string(index);
    for (const answer_member& m : call) {
      delta += ',';
      append_member(m, delta);
    }
    add_piece(delta += "}]}");
  }
  return true;
}

void answer_replayer::add_piece(std::string_view said) {
  begin_chunk();
  out_.append(said).append(",");
  add_logprobs();
  out_ += "\"finish_reason\":null";
  end_chunk();
}

void answer_replayer::add_logprobs() {
  if (!has_logprobs_) return;
  out_.append("\"logprobs\":").append(logprobs_.empty() ? "null" : logprobs_).append(",");
  logprobs_ = {};
}

void answer_replayer::add_end(const answer_members& rest, std::string_view finish_reason) {
  begin_chunk();
  out_ += chat_ ? "\"delta\":{}," : "\"text\":\"\",";
  add_logprobs();
  for (const answer_member& m : rest) {
    append_member(m, out_);
    out_ += ',';
  }
  out_.append("\"finish_reason\":").append(finish_reason);
  end_chunk();
}

void answer_replayer::begin_chunk() {
  out_.append(head_).append("{\"index\":").append(std::to_string(index_)).append(",");
}

void answer_replayer::end_chunk() {
  out_.append("}]").append(std::exchange(extras_, {}));
  out_ += wants_usage_ ? ",\"usage\":null}\n\n" : "}\n\n";
}

}  // namespace

bool replay_openai_answer(route_kind route, std::string_view answer, bool client_wants_usage,
                          std::string& out) {
  out.clear();
  std::string one_line;
  if (route == route_kind::embeddings || !on_one_line(answer, one_line)) return false;
  out.reserve(answer.size() + 2048);
  if (answer_replayer(route == route_kind::chat, client_wants_usage, out).replay(answer)) return true;
  out.clear();
  return false;
}

}  // namespace millrace::http
