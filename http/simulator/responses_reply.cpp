#include <utility>

#include "http/simulator/responses_api.hpp"
#include "http/simulator/signature.hpp"
#include "http/simulator/text.hpp"

namespace millrace::http::simulation {
namespace {

using item_kind = reply_item::kind;

constexpr std::string_view response_prefix = "resp_";

void append_usage(std::string& out, const engine::usage& used) {
  out += R"({"input_tokens":)";
  append_number(out, used.input_tokens);
  out += R"(,"input_tokens_details":{"cached_tokens":)";
  append_number(out, used.cached_tokens);
  out += R"(},"output_tokens":)";
  append_number(out, used.output_tokens);
  out += R"(,"output_tokens_details":{"reasoning_tokens":)";
  append_number(out, used.reasoning_tokens);
  out += R"(},"total_tokens":)";
  append_number(out, used.input_tokens + used.output_tokens);
  out += '}';
}

std::vector<reply_item> items_of(const reply_text& text) {
  std::vector<reply_item> items;
  if (text.thought_tokens() > 0) items.push_back({item_kind::reasoning, 0, 0, text.thought_tokens()});
  for (size_t call = 0; call < text.calls().size(); ++call)
    items.push_back({item_kind::call, call, text.calls()[call].first, text.calls()[call].end});
  if (!text.calls_tool() && text.tokens() > 0) items.push_back({item_kind::message, 0, 0, text.tokens()});
  return items;
}

std::string_view number_of(const identity& who) {
  return std::string_view(who.id).substr(response_prefix.size());
}

std::uint64_t value_of(std::string_view hex) {
  std::uint64_t n = 0;
  for (const char c : hex) n = n * 16 + static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return n;
}

void append_item_id(std::string& out, const reply_item& item, const identity& who, bool keeps) {
  switch (item.what) {
    case item_kind::reasoning:
      if (keeps)
        out += kept_thought_id(value_of(number_of(who)));
      else
        out.append("rs_").append(number_of(who));
      return;
    case item_kind::message:
      out.append("msg_").append(number_of(who));
      return;
    case item_kind::call:
      out.append("fc_").append(number_of(who)).append("_");
      append_number(out, static_cast<std::int64_t>(item.call));
  }
}

void append_text_part(std::string& out, std::string_view text) {
  out.append(R"({"type":"output_text","annotations":[],"logprobs":[],"text":")").append(text).append("\"}");
}

void append_summary_part(std::string& out, std::string_view text) {
  out.append(R"({"type":"summary_text","text":")").append(text).append("\"}");
}

/// What an item is made of beside its id and status.
struct item_content {
  std::string_view text;       ///< escaped
  bool shown = true;           ///< a thought is shown
  bool has_part = true;        ///< a message's part was begun
  std::string_view encrypted;  ///< of a thought; empty: none
};

void append_item(std::string& out, const reply_item& item, const identity& who, const reply_text& text,
                 bool keeps, std::string_view status, const item_content& content) {
  out += R"({"id":")";
  append_item_id(out, item, who, keeps);
  switch (item.what) {
    case item_kind::reasoning:
      out += R"(","type":"reasoning","summary":[)";
      if (content.shown && content.has_part) append_summary_part(out, content.text);
      out += ']';
      if (!content.encrypted.empty())
        out.append(R"(,"encrypted_content":")").append(content.encrypted).append("\"");
      out += '}';
      return;
    case item_kind::message:
      out.append(R"(","type":"message","status":")")
          .append(status)
          .append(R"(","role":"assistant","content":[)");
      if (content.has_part) append_text_part(out, content.text);
      out += "]}";
      return;
    case item_kind::call:
      out.append(R"(","type":"function_call","status":")").append(status).append(R"(","call_id":"call_)");
      append_number(out, text.digest());
      if (item.call > 0) {
        out += '_';
        append_number(out, static_cast<std::int64_t>(item.call));
      }
      out.append(R"(","name":")").append(text.calls()[item.call].name);
      out.append(R"(","arguments":")").append(content.text).append("\"}");
  }
}

void append_tokens(std::string& out, const reply_item& item, const reply_text& text, std::int64_t now_us) {
  for (std::int64_t token = item.first; token < item.end; ++token)
    if (item.what == item_kind::reasoning)
      text.append_thought(out, token);
    else
      text.append(out, token, now_us);
}

std::string sealed_thought(const reply_text& text) {
  return seal("thought " + std::to_string(text.digest()));
}

/// `usage` null: it is not over.
void append_response_object(std::string& out, const identity& who, const reply_text& text,
                            std::string_view output, std::string_view request, const engine::usage* usage) {
  const bool over = usage != nullptr;
  out.append(R"({"id":")").append(who.id).append(R"(","object":"response","created_at":)");
  append_number(out, who.created);
  out += R"(,"status":")";
  out += !over ? "in_progress" : text.is_cut() ? "incomplete" : "completed";
  out += R"(","background":false,"completed_at":)";
  if (over && !text.is_cut())
    append_number(out, who.created);
  else
    out += "null";
  out += R"(,"error":null,"incomplete_details":)";
  out += over && text.is_cut() ? R"({"reason":"max_output_tokens"})" : "null";
  out.append(R"(,"model":")").append(who.model).append(R"(","output":[)").append(output).append("]");
  out.append(request).append(R"(,"usage":)");
  if (over)
    append_usage(out, *usage);
  else
    out += "null";
  out += R"(,"user":null})";
}

}  // namespace

void append_response(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us) {
  const reply_text& text = choices.text(0);
  const std::vector<reply_item> items = items_of(text);
  const std::string sealed = q.seals_thoughts ? sealed_thought(text) : "";
  std::string output;
  std::string said;
  for (const reply_item& item : items) {
    said.clear();
    append_tokens(said, item, text, now_us);
    if (!output.empty()) output += ',';
    const bool cut = text.is_cut() && &item == &items.back();
    append_item(output, item, who, text, q.keeps, cut ? "incomplete" : "completed",
                {said, q.shows_thoughts, true, sealed});
  }
  const engine::usage used = choices.usage();
  append_response_object(out, who, text, output, q.repeated, &used);
}

std::string responses_error_event(const engine::api_error& e, std::int64_t number) {
  std::string out = "event: error\ndata: {\"type\":\"error\",\"code\":\"";
  append_escaped(out, e.code);
  out += R"(","message":")";
  append_escaped(out, e.message);
  out += R"(","param":null,"sequence_number":)";
  append_number(out, number);
  return out + "}\n\n";
}

// --- streams
// -----------------------------------------------------------------------------------------------------

responses_stream::responses_stream(identity who, reply_choices choices, const question& q,
                                   double tokens_per_second, bool chunked)
    : event_stream(chunked),
      who_(std::move(who)),
      choices_(std::move(choices)),
      tokens_per_second_(tokens_per_second),
      items_(items_of(choices_.text(0))),
      request_(q.repeated),
      shows_thoughts_(q.shows_thoughts),
      seals_thoughts_(q.seals_thoughts),
      keeps_(q.keeps) {}

void responses_stream::write_event(std::string& out, std::int64_t now_us) {
  scratch_ = "event: ";
  append_event(now_us);
  scratch_ += "}\n\n";
  write_data(out, scratch_);
  count_event();
  advance();
}

void responses_stream::begin(std::string_view type) {
  scratch_.append(type).append("\ndata: {\"type\":\"").append(type).append(R"(","sequence_number":)");
  append_number(scratch_, events_written());
}

/// Of an item or a part of it.
void responses_stream::begin_at(std::string_view type) {
  begin(type);
  scratch_ += R"(,"item_id":")";
  append_item_id(scratch_, items_[item_], who_, keeps_);
  scratch_ += R"(","output_index":)";
  append_number(scratch_, static_cast<std::int64_t>(item_));
  if (items_[item_].what == item_kind::message) scratch_ += R"(,"content_index":0)";
  if (items_[item_].what == item_kind::reasoning) scratch_ += R"(,"summary_index":0)";
}

void responses_stream::append_event(std::int64_t now_us) {
  const reply_text& text = choices_.text(0);
  const bool thinks = item_ < items_.size() && items_[item_].what == item_kind::reasoning;
  switch (step_) {
    case step::created:
    case step::in_progress:
      begin(step_ == step::created ? "response.created" : "response.in_progress");
      scratch_ += R"(,"response":)";
      return append_response_object(scratch_, who_, text, {}, request_, nullptr);
    case step::item_added:
      begin("response.output_item.added");
      return append_item("in_progress");
    case step::part_added:
      begin_at(thinks ? "response.reasoning_summary_part.added" : "response.content_part.added");
      return append_part({});
    case step::delta:
      return append_delta(now_us);
    case step::text_done:
      return append_text_done();
    case step::part_done:
      begin_at(thinks ? "response.reasoning_summary_part.done" : "response.content_part.done");
      return append_part(said_);
    case step::item_done:
      begin("response.output_item.done");
      return append_item(status_of_item());
    case step::finish:
    case step::end: {
      const engine::usage used = choices_.usage();
      begin(text.is_cut() ? "response.incomplete" : "response.completed");
      scratch_ += R"(,"response":)";
      append_response_object(scratch_, who_, text, output_, request_, &used);
    }
  }
}

void responses_stream::append_delta(std::int64_t now_us) {
  const reply_text& text = choices_.text(0);
  const size_t start = said_.size();
  switch (items_[item_].what) {
    case item_kind::reasoning:
      begin_at("response.reasoning_summary_text.delta");
      text.append_thought(said_, token_);
      break;
    case item_kind::message:
      begin_at("response.output_text.delta");
      text.append(said_, token_, now_us);
      break;
    case item_kind::call:
      begin_at("response.function_call_arguments.delta");
      text.append(said_, token_, now_us);
  }
  scratch_.append(R"(,"delta":")").append(said_, start).append("\"");
  if (items_[item_].what == item_kind::message) scratch_ += R"(,"logprobs":[])";
}

void responses_stream::append_text_done() {
  switch (items_[item_].what) {
    case item_kind::reasoning:
      begin_at("response.reasoning_summary_text.done");
      scratch_ += R"(,"text":")";
      break;
    case item_kind::message:
      begin_at("response.output_text.done");
      scratch_ += R"(,"logprobs":[],"text":")";
      break;
    case item_kind::call:
      begin_at("response.function_call_arguments.done");
      scratch_ += R"(,"name":")" + choices_.text(0).calls()[items_[item_].call].name + R"(","arguments":")";
  }
  scratch_.append(said_).append("\"");
}

void responses_stream::append_part(std::string_view text) {
  scratch_ += R"(,"part":)";
  if (items_[item_].what == item_kind::reasoning)
    append_summary_part(scratch_, text);
  else
    append_text_part(scratch_, text);
}

void responses_stream::append_item(std::string_view status) {
  const reply_text& text = choices_.text(0);
  const bool over = step_ == step::item_done;
  scratch_ += R"(,"output_index":)";
  append_number(scratch_, static_cast<std::int64_t>(item_));
  scratch_ += R"(,"item":)";
  const size_t start = scratch_.size();
  const std::string sealed = seals_thoughts_ ? sealed_thought(text) : "";
  simulation::append_item(scratch_, items_[item_], who_, text, keeps_, status,
                          {said_, shows_thoughts_, over, sealed});
  if (!over) return;
  if (!output_.empty()) output_ += ',';
  output_.append(scratch_, start);
}

std::string_view responses_stream::status_of_item() const {
  return choices_.text(0).is_cut() && item_ + 1 == items_.size() ? "incomplete" : "completed";
}

bool responses_stream::has_parts() const {
  return items_[item_].what == item_kind::message ||
         (items_[item_].what == item_kind::reasoning && shows_thoughts_);
}

void responses_stream::advance() {
  switch (step_) {
    case step::created:
      step_ = step::in_progress;
      return;
    case step::in_progress:
      step_ = items_.empty() ? step::finish : step::item_added;
      return;
    case step::item_added:
      token_ = items_[item_].first;
      step_ = has_parts()                             ? step::part_added
              : items_[item_].what == item_kind::call ? step::delta
                                                      : step::item_done;
      return;
    case step::part_added:
      step_ = step::delta;
      return;
    case step::delta:
      if (items_[item_].what != item_kind::reasoning) ++tokens_;
      if (++token_ >= items_[item_].end) step_ = step::text_done;
      return;
    case step::text_done:
      step_ = has_parts() ? step::part_done : step::item_done;
      return;
    case step::part_done:
      step_ = step::item_done;
      return;
    case step::item_done:
      said_.clear();
      step_ = ++item_ < items_.size() ? step::item_added : step::finish;
      return;
    case step::finish:
    case step::end:
      step_ = step::end;
  }
}

}  // namespace millrace::http::simulation
