#include <utility>

#include "http/answer_members.hpp"
#include "http/dialects/json_members.hpp"
#include "http/dialects/responses_wire.hpp"
#include "http/openai_replay.hpp"

namespace millrace::http {
namespace {

/// One whole response as its events. Values stand as the answer has them.
class answer_replayer {
 public:
  explicit answer_replayer(std::string& out) : out_(out) {}
  bool replay(std::string_view answer);

 private:
  /// Another value for a member that is there; empty: leave it out.
  struct change {
    std::string_view key;
    std::string_view value;
  };

  bool replay_item(std::string_view literal);
  bool replay_content(std::string_view list);
  bool replay_part(const answer_members& part, std::string_view literal);
  bool replay_text(const answer_members& part);
  bool replay_summary(std::string_view list);
  bool add_text(std::string_view event, std::string_view place, std::string_view name, std::string_view text,
                std::string_view more);
  void begin(std::string_view type);
  void begin_here(std::string_view type, std::string_view place);
  void end() { out_ += "}\n\n"; }
  void write_changed(const answer_members& all, std::initializer_list<change> changes);

  std::string& out_;
  std::int64_t events_ = 0;
  std::string here_;  ///< `output_index` and `item_id` of the item
};

void answer_replayer::begin(std::string_view type) {
  out_.append("event: ").append(type).append("\ndata: {\"type\":\"").append(type);
  out_.append("\",\"sequence_number\":").append(std::to_string(events_++));
}

void answer_replayer::begin_here(std::string_view type, std::string_view place) {
  begin(type);
  out_.append(here_).append(place);
}

void answer_replayer::write_changed(const answer_members& all, std::initializer_list<change> changes) {
  out_ += '{';
  for (const answer_member& m : all) {
    std::string_view value = m.value;
    for (const change& c : changes) {
      if (c.key == m.key) value = c.value;
    }
    if (value.empty()) continue;
    if (out_.back() != '{') out_ += ',';
    out_.append(m.key).append(":").append(value);
  }
  out_ += '}';
}

bool answer_replayer::replay(std::string_view answer) {
  answer_members all;
  if (!read_answer_members(answer, all)) return false;
  const std::string_view status = value_of(all, "\"status\"");
  const bool cut = json_says(status, "incomplete");
  const bool failed = !json_is_blank(value_of(all, "\"error\""));
  if (failed || !json_says(value_of(all, "\"object\""), "response") ||
      (!cut && !status.empty() && !json_says(status, "completed")))
    return false;
  for (const std::string_view event : {"response.created", "response.in_progress"}) {
    begin(event);
    out_ += ",\"response\":";
    write_changed(all, {{"\"status\"", "\"in_progress\""},
                        {"\"output\"", "[]"},
                        {"\"output_text\"", {}},
                        {"\"usage\"", "null"},
                        {"\"incomplete_details\"", "null"},
                        {"\"completed_at\"", "null"}});
    end();
  }
  json_scanner output(value_of(all, "\"output\""));
  if (!output.enter_array()) return false;
  for (std::size_t i = 0; output.next_element(); ++i) {
    here_ = ",\"output_index\":" + std::to_string(i);
    if (!replay_item(output.value()) || out_.size() > max_replay_bytes) return false;
  }
  begin(cut ? "response.incomplete" : "response.completed");
  out_ += ",\"response\":";
  write_changed(all, {});
  end();
  return true;
}

/// What comes in deltas is empty at first; items of other types come whole.
bool answer_replayer::replay_item(std::string_view literal) {
  answer_members item;
  if (!read_answer_members(literal, item)) return false;
  const std::string_view type = value_of(item, "\"type\"");
  const std::string_view id = value_of(item, "\"id\"");
  const bool message = json_says(type, "message");
  const bool thought = json_says(type, "reasoning");
  const bool call = json_says(type, "function_call");
  begin("response.output_item.added");
  out_.append(here_).append(",\"item\":");
  if (message || thought || call) {
    write_changed(item, {{"\"status\"", "\"in_progress\""},
                         {call ? "" : "\"content\"", message ? "[]" : ""},
                         {thought ? "\"summary\"" : "", "[]"},
                         {call ? "\"arguments\"" : "", "\"\""}});
  } else {
    write_changed(item, {});
  }
  end();
  const std::string place = here_;
  here_.append(",\"item_id\":").append(id.empty() ? "\"\"" : id);
  if (message && !replay_content(value_of(item, "\"content\""))) return false;
  if (thought &&
      (!replay_summary(value_of(item, "\"summary\"")) ||
       (!json_is_blank(value_of(item, "\"content\"")) && !replay_content(value_of(item, "\"content\"")))))
    return false;
  if (call) {
    const std::string_view name = value_of(item, "\"name\"");
    const std::string more = ",\"name\":" + std::string(name.empty() ? "\"\"" : name);
    if (!add_text("response.function_call_arguments", {}, "arguments", value_of(item, "\"arguments\""), more))
      return false;
  }
  begin("response.output_item.done");
  out_.append(place).append(",\"item\":");
  write_changed(item, {});
  end();
  return true;
}

/// The delta, unless it is empty, and what ends it.
bool answer_replayer::add_text(std::string_view event, std::string_view place, std::string_view name,
                               std::string_view text, std::string_view more) {
  if (!is_string(text)) return false;
  const std::string base(event);
  if (text.size() > 2) {
    begin_here(base + ".delta", place);
    out_.append(",\"delta\":").append(text);
    if (event == "response.output_text") out_ += ",\"logprobs\":[]";
    end();
  }
  begin_here(base + ".done", place);
  out_.append(",\"").append(name).append("\":").append(text).append(more);
  end();
  return true;
}

bool answer_replayer::replay_summary(std::string_view list) {
  std::size_t index = 0;
  return each_element(list, [&](json_literal literal, std::size_t) {
    answer_members part;
    if (!read_answer_members(literal, part) || out_.size() > max_replay_bytes) return false;
    const std::string place = ",\"summary_index\":" + std::to_string(index++);
    begin_here("response.reasoning_summary_part.added", place);
    out_ += ",\"part\":";
    write_changed(part, {{"\"text\"", "\"\""}});
    end();
    if (!add_text("response.reasoning_summary_text", place, "text", value_of(part, "\"text\""), {}))
      return false;
    begin_here("response.reasoning_summary_part.done", place);
    out_ += ",\"part\":";
    write_changed(part, {});
    end();
    return true;
  });
}

bool answer_replayer::replay_content(std::string_view list) {
  return each_element(list, [&](json_literal literal, std::size_t index) {
    answer_members part;
    if (!read_answer_members(literal, part) || out_.size() > max_replay_bytes) return false;
    return replay_part(part, ",\"content_index\":" + std::to_string(index));
  });
}

bool answer_replayer::replay_part(const answer_members& part, std::string_view place) {
  const std::string_view type = value_of(part, "\"type\"");
  const bool refusal = json_says(type, "refusal");
  const bool thought = json_says(type, "reasoning_text");
  const bool said = json_says(type, "output_text");
  const bool cites = said && !json_is_blank(value_of(part, "\"annotations\""));
  begin_here("response.content_part.added", place);
  out_ += ",\"part\":";
  write_changed(part, {{refusal           ? "\"refusal\""
                        : said || thought ? "\"text\""
                                          : "",
                        "\"\""},
                       {said ? "\"annotations\"" : "", "[]"},
                       {said ? "\"logprobs\"" : "", "[]"}});
  end();
  const std::string_view logprobs = value_of(part, "\"logprobs\"");
  const std::string more =
      ",\"logprobs\":" + std::string(logprobs.empty() || logprobs == "null" ? "[]" : logprobs);
  if (said && !add_text("response.output_text", place, "text", value_of(part, "\"text\""), more))
    return false;
  if (refusal && !add_text("response.refusal", place, "refusal", value_of(part, "\"refusal\""), {}))
    return false;
  if (thought && !add_text("response.reasoning_text", place, "text", value_of(part, "\"text\""), {}))
    return false;
  if (cites) {
    const bool all = each_element(value_of(part, "\"annotations\""), [&](json_literal note, std::size_t i) {
      begin_here("response.output_text.annotation.added", place);
      out_.append(",\"annotation_index\":").append(std::to_string(i));
      out_.append(",\"annotation\":").append(note);
      end();
      return out_.size() <= max_replay_bytes;
    });
    if (!all) return false;
  }
  begin_here("response.content_part.done", place);
  out_ += ",\"part\":";
  write_changed(part, {});
  end();
  return true;
}

}  // namespace

bool replay_responses_answer(std::string_view answer, std::string& out) {
  out.clear();
  std::string one_line;
  if (!on_one_line(answer, one_line)) return false;
  out.reserve(answer.size() * 4 + 2048);
  if (answer_replayer(out).replay(answer)) return true;
  out.clear();
  return false;
}

}  // namespace millrace::http
