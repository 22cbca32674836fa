#include <algorithm>
#include <optional>
#include <utility>

#include "http/dialects/json_members.hpp"
#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_output.hpp"

namespace millrace::http {
namespace {

using kind = chat_delta::kind;
using item_kind = response_item_kind;

class responses_sink final : public delta_sink {
 public:
  explicit responses_sink(const encode_options& options) : model_(options.model), now_(options.now) {}

  void put(const chat_delta& d, std::string& out) override;
  bool overflowed() const override { return overflowed_; }

 private:
  struct call {
    std::int64_t index = 0;  ///< as the provider numbers it
    std::size_t item = 0;
  };

  void start(std::string_view id, std::string& out);
  bool has_room(json_literal more);
  response_item& item() { return response_->items[open_]; }
  /// Makes the message or the thought that is open one of kind `k`.
  void need(item_kind k, std::string& out);
  void open_item(std::string& out);
  void say(bool refusal, json_literal text, std::string& out);
  void close_part(std::string& out);
  void think(json_literal text, std::string& out);
  void sign(json_literal signature, bool sealed, std::string& out);
  void begin_call(const chat_delta& d, std::string& out);
  void add_arguments(const chat_delta& d, std::string& out);
  void close(response_status status, std::string& out);
  void close_call(std::size_t index, response_status status, std::string& out);
  void close_all(std::string& out);
  void end(std::string& out);

  // Parts of events.
  void begin(std::string_view type, std::string& out);
  void begin_at(std::string_view type, std::size_t index, std::string& out);
  static void finish_event(std::string& out) { out += "}\n\n"; }
  void whole(std::string_view type, response_status status, std::string& out);
  void item_done(std::size_t index, response_status status, std::string& out);

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  const std::string model_;
  const std::int64_t now_;
  std::optional<response_object> response_;
  std::size_t open_ = none;  ///< the message or thought that grows
  std::vector<call> calls_;
  bool calls_open_ = true;
  bool ended_ = false;
  bool overflowed_ = false;
  std::size_t bytes_ = 0;
  std::int64_t events_ = 0;
  engine::usage used_;
  finish_reason finish_ = finish_reason::none;
};

void responses_sink::put(const chat_delta& d, std::string& out) {
  if (ended_ || overflowed_) return;
  if (d.what == kind::usage) {
    used_ = d.used;
    return;
  }
  if (!response_) start(d.what == kind::start ? d.id : std::string_view(), out);
  const bool ends = d.what == kind::finish || d.what == kind::done;
  if (!ends && !has_room(d.text)) return;
  switch (d.what) {
    case kind::text:
      return say(false, d.text, out);
    case kind::refusal:
      return say(true, d.text, out);
    case kind::thinking:
      return think(d.text, out);
    case kind::signature:
      return sign(d.text, false, out);
    case kind::sealed_thinking:
      return sign(d.text, true, out);
    case kind::tool_call:
      return begin_call(d, out);
    case kind::tool_arguments:
      return add_arguments(d, out);
    case kind::finish:
      finish_ = d.finish;
      return close_all(out);
    case kind::done:
      return end(out);
    default:
      return;
  }
}

void responses_sink::start(std::string_view id, std::string& out) {
  response_.emplace(id, model_, now_);
  whole("response.created", response_status::in_progress, out);
  whole("response.in_progress", response_status::in_progress, out);
}

/// Every delta makes at most one item and one part.
bool responses_sink::has_room(json_literal more) {
  bytes_ += more.size();
  const auto& items = response_->items;
  overflowed_ = bytes_ > max_response_bytes || items.size() >= max_response_items ||
                (open_ != none && items[open_].parts.size() >= max_response_items);
  return !overflowed_;
}

void responses_sink::begin(std::string_view type, std::string& out) {
  out.append("event: ").append(type).append("\ndata: {\"type\":\"").append(type);
  out.append("\",\"sequence_number\":").append(std::to_string(events_++));
}

void responses_sink::begin_at(std::string_view type, std::size_t index, std::string& out) {
  begin(type, out);
  out.append(",\"output_index\":").append(std::to_string(index));
  out.append(",\"item_id\":").append(response_->items[index].id);
}

void responses_sink::whole(std::string_view type, response_status status, std::string& out) {
  begin(type, out);
  out += ",\"response\":";
  response_->write(status, finish_, used_, out);
  finish_event(out);
}

void responses_sink::open_item(std::string& out) {
  begin("response.output_item.added", out);
  const std::size_t index = response_->items.size() - 1;
  out.append(",\"output_index\":").append(std::to_string(index)).append(",\"item\":");
  write_response_item(response_->items.back(), response_status::in_progress, out);
  finish_event(out);
}

void responses_sink::need(item_kind k, std::string& out) {
  if (open_ != none && item().kind == k) return;
  close(response_status::completed, out);
  response_->add(k);
  open_ = response_->items.size() - 1;
  open_item(out);
}

void responses_sink::say(bool refusal, json_literal text, std::string& out) {
  if (json_is_blank(text)) return;
  need(item_kind::message, out);
  auto& parts = item().parts;
  if (parts.empty() || parts.back().refusal != refusal) {
    close_part(out);
    parts.push_back({refusal, {}});
    begin_at("response.content_part.added", open_, out);
    out.append(",\"content_index\":").append(std::to_string(parts.size() - 1)).append(",\"part\":");
    write_response_part(parts.back(), out);
    finish_event(out);
  }
  parts.back().text += inside(text);
  begin_at(refusal ? "response.refusal.delta" : "response.output_text.delta", open_, out);
  out.append(",\"content_index\":").append(std::to_string(parts.size() - 1));
  out.append(",\"delta\":").append(text);
  if (!refusal) out += ",\"logprobs\":[]";
  finish_event(out);
}

void responses_sink::close_part(std::string& out) {
  const auto& parts = item().parts;
  if (parts.empty()) return;
  const response_item::part& part = parts.back();
  const std::string index = std::to_string(parts.size() - 1);
  begin_at(part.refusal ? "response.refusal.done" : "response.output_text.done", open_, out);
  out.append(",\"content_index\":").append(index).append(part.refusal ? ",\"refusal\":\"" : ",\"text\":\"");
  out.append(part.text).append(part.refusal ? "\"" : "\",\"logprobs\":[]");
  finish_event(out);
  begin_at("response.content_part.done", open_, out);
  out.append(",\"content_index\":").append(index).append(",\"part\":");
  write_response_part(part, out);
  finish_event(out);
}

void responses_sink::think(json_literal text, std::string& out) {
  if (json_is_blank(text)) return;
  need(item_kind::reasoning, out);
  response_item& thought = item();
  if (!std::exchange(thought.has_text, true)) {
    begin_at("response.reasoning_summary_part.added", open_, out);
    out += ",\"summary_index\":0,\"part\":";
    write_response_summary(thought, out);
    finish_event(out);
  }
  thought.text += inside(text);
  begin_at("response.reasoning_summary_text.delta", open_, out);
  out.append(",\"summary_index\":0,\"delta\":").append(text);
  finish_event(out);
}

/// A signature ends its thought; a sealed one is a thought by itself.
void responses_sink::sign(json_literal signature, bool sealed, std::string& out) {
  if (json_is_blank(signature)) return;
  if (sealed) close(response_status::completed, out);
  need(item_kind::reasoning, out);
  item().encrypted = mark_response_signature(signature, sealed);
  close(response_status::completed, out);
}

void responses_sink::begin_call(const chat_delta& d, std::string& out) {
  if (!calls_open_) return;
  close(response_status::completed, out);
  response_->add_call(d.id, d.name);
  calls_.push_back({d.index, response_->items.size() - 1});
  open_item(out);
}

void responses_sink::add_arguments(const chat_delta& d, std::string& out) {
  if (!calls_open_ || json_is_blank(d.text)) return;
  const auto found =
      std::find_if(calls_.rbegin(), calls_.rend(), [&d](const call& c) { return c.index == d.index; });
  if (found == calls_.rend()) return;
  response_->items[found->item].text += inside(d.text);
  begin_at("response.function_call_arguments.delta", found->item, out);
  out.append(",\"delta\":").append(d.text);
  finish_event(out);
}

void responses_sink::item_done(std::size_t index, response_status status, std::string& out) {
  begin("response.output_item.done", out);
  out.append(",\"output_index\":").append(std::to_string(index)).append(",\"item\":");
  write_response_item(response_->items[index], status, out);
  finish_event(out);
}

/// Ends the message or thought that is open.
void responses_sink::close(response_status status, std::string& out) {
  if (open_ == none) return;
  const response_item& last = item();
  if (last.kind == item_kind::message) close_part(out);
  if (last.has_text) {
    begin_at("response.reasoning_summary_text.done", open_, out);
    out.append(",\"summary_index\":0,\"text\":\"").append(last.text).append("\"");
    finish_event(out);
    begin_at("response.reasoning_summary_part.done", open_, out);
    out += ",\"summary_index\":0,\"part\":";
    write_response_summary(last, out);
    finish_event(out);
  }
  item_done(std::exchange(open_, none), status, out);
}

void responses_sink::close_call(std::size_t index, response_status status, std::string& out) {
  response_item& done = response_->items[index];
  if (done.text.empty()) done.text = "{}";
  begin_at("response.function_call_arguments.done", index, out);
  out.append(",\"name\":").append(done.name).append(",\"arguments\":\"").append(done.text).append("\"");
  finish_event(out);
  item_done(index, status, out);
}

void responses_sink::close_all(std::string& out) {
  const response_status last = response_status_of(finish_);
  const auto status_of = [&](std::size_t index) {
    return index + 1 == response_->items.size() ? last : response_status::completed;
  };
  if (open_ != none) close(status_of(open_), out);
  if (!std::exchange(calls_open_, false)) return;
  for (const call& c : calls_) close_call(c.item, status_of(c.item), out);
}

void responses_sink::end(std::string& out) {
  close_all(out);
  ended_ = true;
  const response_status status = response_status_of(finish_);
  whole(status == response_status::completed ? "response.completed" : "response.incomplete", status, out);
}

}  // namespace

std::unique_ptr<delta_sink> encode_responses_stream(const encode_options& options) {
  return std::make_unique<responses_sink>(options);
}

}  // namespace millrace::http
