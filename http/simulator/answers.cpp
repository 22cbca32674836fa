#include "http/simulator/answers.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

namespace millrace::http::simulation {
namespace {

using engine::route_kind;

constexpr std::string_view fingerprint = "fp_simulator";

void append_usage(std::string& out, const engine::usage& used) {
  out += R"({"prompt_tokens":)";
  append_number(out, used.input_tokens);
  out += R"(,"completion_tokens":)";
  append_number(out, used.output_tokens);
  out += R"(,"total_tokens":)";
  append_number(out, used.input_tokens + used.output_tokens);
  out += R"(,"prompt_tokens_details":{"cached_tokens":)";
  append_number(out, used.cached_tokens);
  out += R"(,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":)";
  append_number(out, used.reasoning_tokens);
  out += R"(,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}})";
}

void append_identity(std::string& out, const identity& who, std::string_view object) {
  out += R"({"id":")";
  out += who.id;
  out += R"(","object":")";
  out += object;
  out += R"(","created":)";
  append_number(out, who.created);
  out += R"(,"model":")";
  out += who.model;
  out += '"';
}

void append_all_tokens(std::string& out, const reply_text& text, std::int64_t now_us) {
  for (std::int64_t token = 0; token < text.tokens(); ++token) text.append(out, token, now_us);
}

/// Up to the arguments, which follow.
void append_call_head(std::string& out, const reply_text& text, size_t call) {
  out += R"("id":"call_)";
  append_number(out, text.digest());
  if (call > 0) {
    out += '_';
    append_number(out, static_cast<std::int64_t>(call));
  }
  out += R"(","type":"function","function":{"name":")";
  out += text.calls()[call].name;
  out += R"(","arguments":")";
}

/// The delta of a token of a call, up to the token.
void append_call_token_head(std::string& out, const reply_text& text, std::int64_t token) {
  size_t call = 0;
  while (text.calls()[call].end <= token) ++call;
  out += R"(,"delta":{"tool_calls":[{"index":)";
  append_number(out, static_cast<std::int64_t>(call));
  if (call > 0 && text.calls()[call].first == token) {
    out += ',';
    append_call_head(out, text, call);
  } else {
    out += R"(,"function":{"arguments":")";
  }
}

/// What stands behind `"logprobs":` for tokens `first` to `end` of a conversation's text.
void append_logprobs(std::string& out, const reply_text& text, std::int64_t first, std::int64_t end,
                     std::int64_t now_us) {
  if (text.probability() <= 0 || text.calls_tool()) {
    out += "null";
    return;
  }
  const std::string logprob = std::to_string(std::log(text.probability()));
  out += R"({"content":[)";
  for (std::int64_t token = first; token < end; ++token) {
    out += token == first ? R"({"token":")" : R"(,{"token":")";
    text.append(out, token, now_us);
    out.append(R"(","logprob":)").append(logprob).append(R"(,"bytes":null,"top_logprobs":[]})");
  }
  out += R"(],"refusal":null})";
}

void append_message(std::string& out, const reply_text& text, std::int64_t now_us) {
  if (!text.calls_tool()) {
    out += R"({"role":"assistant","content":")";
    append_all_tokens(out, text, now_us);
    out += R"(","refusal":null,"annotations":[]})";
    return;
  }
  out += R"({"role":"assistant","content":null,"tool_calls":[)";
  for (size_t call = 0; call < text.calls().size(); ++call) {
    out += call == 0 ? "{" : ",{";
    append_call_head(out, text, call);
    const auto& c = text.calls()[call];
    for (std::int64_t token = c.first; token < c.end; ++token) text.append(out, token, now_us);
    out += R"("}})";
  }
  out += R"(],"refusal":null,"annotations":[]})";
}

}  // namespace

std::int64_t reply_choices::reasoning_tokens() const {
  std::int64_t sum = 0;
  for (const auto& t : texts) sum += t.thought_tokens() * copies;
  return sum;
}

std::int64_t reply_choices::completion_tokens() const {
  std::int64_t sum = 0;
  for (const auto& t : texts) sum += (t.tokens() + t.thought_tokens()) * copies;
  return sum;
}

engine::usage reply_choices::usage() const {
  return usage_after(completion_tokens() - reasoning_tokens());
}

engine::usage reply_choices::usage_after(std::int64_t tokens) const {
  engine::usage u;
  u.input_tokens = prompt_tokens;
  u.cached_tokens = cached_tokens;
  u.cache_write_tokens = cache_write_tokens;
  u.reasoning_tokens = tokens < 0 ? 0 : reasoning_tokens();
  u.output_tokens = u.reasoning_tokens + std::max<std::int64_t>(tokens, 0);
  u.known = true;
  return u;
}

void append_completion(std::string& out, const identity& who, const reply_choices& choices,
                       std::int64_t now_us) {
  const bool chat = choices.route == route_kind::chat;
  append_identity(out, who, chat ? "chat.completion" : "text_completion");
  out += R"(,"choices":[)";
  for (std::int64_t i = 0; i < choices.count(); ++i) {
    const reply_text& text = choices.text(i);
    out += i == 0 ? R"({"index":)" : R"(,{"index":)";
    append_number(out, i);
    if (chat) {
      out += R"(,"message":)";
      append_message(out, text, now_us);
    } else {
      out += R"(,"text":")";
      append_all_tokens(out, text, now_us);
      out += '"';
    }
    out += R"(,"logprobs":)";
    if (chat)
      append_logprobs(out, text, 0, text.tokens(), now_us);
    else
      out += "null";
    out += R"(,"finish_reason":")";
    out += text.finish_reason();
    out += R"("})";
  }
  out += ']';
  if (choices.tells_usage) {
    out += R"(,"usage":)";
    append_usage(out, choices.usage());
  }
  out += R"(,"service_tier":"default","system_fingerprint":")";
  out += fingerprint;
  out += R"("})";
}

std::string model_entry(const std::string& name) {
  return nlohmann::json{{"id", name}, {"object", "model"}, {"created", 1700000000}, {"owned_by", "simulator"}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string model_list(const std::vector<std::string>& names) {
  std::string out = R"({"object":"list","data":[)";
  for (const auto& name : names) {
    if (&name != names.data()) out += ',';
    out += model_entry(name);
  }
  return out + "]}";
}

// --- streams
// -----------------------------------------------------------------------------------------------------

event_source::event_source(identity who, reply_choices choices, bool include_usage, double tokens_per_second,
                           bool chunked)
    : event_stream(chunked),
      who_(std::move(who)),
      choices_(std::move(choices)),
      include_usage_(include_usage && choices_.tells_usage),
      tokens_per_second_(tokens_per_second),
      step_(choices_.route == route_kind::chat ? step::role : step::token),
      length_(choices_.texts.front().tokens()) {
  if (step_ == step::token && length_ == 0) step_ = step::finish;
  prefix_ = "data: ";
  append_identity(prefix_, who_,
                  choices_.route == route_kind::chat ? "chat.completion.chunk" : "text_completion");
  prefix_ += R"(,"service_tier":"default","system_fingerprint":")";
  prefix_ += fingerprint;
  prefix_ += R"(","choices":[)";
}

engine::duration event_source::due() const {
  if (step_ == step::role) return {};
  return due_of_token(step_ == step::token ? token_ : length_ - 1, tokens_per_second_);
}

void event_source::write_event(std::string& out, std::int64_t now_us) {
  scratch_.clear();
  if (step_ == step::marker) {
    scratch_ = "data: [DONE]\n\n";
  } else {
    append_event(scratch_, now_us);
    scratch_ += "}\n\n";
  }
  write_data(out, scratch_);
  count_event();
  if (step_ == step::token) ++tokens_;
  advance();
}

void event_source::append_event(std::string& out, std::int64_t now_us) const {
  out += prefix_;
  if (step_ == step::usage) {
    out += R"(],"usage":)";
    append_usage(out, choices_.usage());
    return;
  }
  const reply_text& text = choices_.text(choice_);
  out += R"({"index":)";
  append_number(out, choice_);
  if (step_ == step::role) append_role(out, text);
  if (step_ == step::token) append_token(out, text, now_us);
  if (step_ == step::finish) out += choices_.route == route_kind::chat ? R"(,"delta":{})" : R"(,"text":"")";
  const bool said = step_ == step::token && choices_.route == route_kind::chat;
  out += R"(,"logprobs":)";
  if (said)
    append_logprobs(out, text, token_, token_ + 1, now_us);
  else
    out += "null";
  out += R"(,"finish_reason":)";
  if (step_ == step::finish) {
    out += '"';
    out += text.finish_reason();
    out += '"';
  } else {
    out += "null";
  }
  out += "}]";
  if (include_usage_) out += R"(,"usage":null)";
}

void event_source::append_role(std::string& out, const reply_text& text) const {
  if (!text.calls_tool()) {
    out += R"(,"delta":{"role":"assistant","content":"","refusal":null})";
    return;
  }
  out += R"(,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,)";
  append_call_head(out, text, 0);
  out += R"("}}],"refusal":null})";
}

void event_source::append_token(std::string& out, const reply_text& text, std::int64_t now_us) const {
  const bool chat = choices_.route == route_kind::chat;
  if (!chat)
    out += R"(,"text":")";
  else if (text.calls_tool())
    append_call_token_head(out, text, token_);
  else
    out += R"(,"delta":{"content":")";
  text.append(out, token_, now_us);
  if (!chat)
    out += '"';
  else
    out += text.calls_tool() ? R"("}}]})" : R"("})";
}

void event_source::advance() {
  // Roles, each token and the finish reasons are said for one choice after the other.
  const bool per_choice = step_ == step::role || step_ == step::token || step_ == step::finish;
  if (per_choice && ++choice_ < choices_.count()) return;
  choice_ = 0;
  switch (step_) {
    case step::role:
      step_ = length_ > 0 ? step::token : step::finish;
      return;
    case step::token:
      if (++token_ >= length_) step_ = step::finish;
      return;
    case step::finish:
      step_ = include_usage_ ? step::usage : step::marker;
      return;
    case step::usage:
      step_ = step::marker;
      return;
    case step::marker:
    case step::end:
      step_ = step::end;
  }
}

}  // namespace millrace::http::simulation
