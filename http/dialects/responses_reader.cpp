#include <algorithm>
#include <array>

#include "http/dialects/json_members.hpp"
#include "http/dialects/responses_wire.hpp"
#include "http/event_reader.hpp"
#include "http/openai_answer.hpp"
#include "http/token_count.hpp"

namespace millrace::http {
namespace {

/// What a response says of itself; views are parts of its text.
struct response_view {
  json_literal status;
  json_literal error;
  json_literal model;
  json_literal usage;

  bool whole;

  explicit response_view(json_literal response) {
    const json_members<4> given(response, {"status", "error", "model", "usage"});
    whole = given.whole;
    status = given[0];
    error = given[1];
    model = given[2];
    usage = given[3];
  }
  /// It ended well, in full or out of tokens.
  bool good() const {
    return error.empty() &&
           (status.empty() || json_says(status, "completed") || json_says(status, "incomplete"));
  }
};

/// Events before anything is said.
constexpr std::array<std::string_view, 7> silent_events = {"response.created",
                                                           "response.queued",
                                                           "response.in_progress",
                                                           "response.output_item.added",
                                                           "response.content_part.added",
                                                           "response.reasoning_summary_part.added",
                                                           "keepalive"};

class responses_reader final : public event_reader {
 public:
  using event_reader::event_reader;
  /// The response of the last event, in state done; a part of what was fed last.
  json_literal last_response() const { return last_; }

 private:
  void take(std::string& out) override;
  void pass(std::string_view payload, json_literal stated, std::string& out) const;
  void fail_with(json_literal error);

  json_literal last_;
};

void responses_reader::take(std::string& out) {
  enum : std::size_t { type, response, error, count };
  static constexpr std::array<std::string_view, count> names = {"type", "response", "error"};
  const std::string_view text = sse_payload(event_, joined_);
  const std::string_view content = json_trim(text);
  if (content.empty()) {
    out.append(event_.raw);
    return;
  }
  const json_members<count> given(text, names);
  if (!given.whole) {
    return fail(event_.name == "error" ? content : "The provider sent an event that is not a JSON object.");
  }
  if (!given[error].empty()) return fail_with(given[error]);
  const std::string named = json_text(given[type]);
  // The API's own event has the error's members beside its type.
  if (named == "error" || event_.name == "error") return fail_with(content);
  const response_view said(given[response]);
  if (!said.usage.empty()) used_ = read_responses_usage(said.usage);
  const bool ends = named == "response.completed" || named == "response.incomplete";
  if (named == "response.failed" || (ends && !said.good()))
    return fail_with(said.error.empty() ? content : said.error);
  const bool silent = std::find(silent_events.begin(), silent_events.end(), named) != silent_events.end();
  if (!silent) state_ = state::content;
  if (ends) {
    state_ = state::done;
    last_ = given[response];
  }
  pass(text, said.model, out);
}

void responses_reader::pass(std::string_view payload, json_literal stated, std::string& out) const {
  if (!is_string(stated) || stated == model_) {
    out.append(event_.raw);
    return;
  }
  replace_in_event(event_, static_cast<std::size_t>(stated.data() - payload.data()), stated.size(), model_,
                   out);
}

void responses_reader::fail_with(json_literal error) {
  const provider_error e = read_openai_error(error);
  const int status = status_of(e);
  fail(e.message.empty() ? error : e.message, status);
}

}  // namespace

engine::usage read_responses_usage(std::string_view literal) {
  engine::usage used;
  const json_members<5> given(literal, {"input_tokens", "output_tokens", "total_tokens",
                                        "input_tokens_details", "output_tokens_details"});
  const json_members<2> input(given[3], {"cached_tokens", "cache_write_tokens"});
  const json_members<1> output(given[4], {"reasoning_tokens"});
  std::int64_t in = -1;
  std::int64_t out = -1;
  std::int64_t total = -1;
  read_token_count(given[0], in);
  read_token_count(given[1], out);
  read_token_count(given[2], total);
  if (out < 0 && in >= 0 && total > in) out = total - in;
  used.input_tokens = std::max<std::int64_t>(in, 0);
  used.output_tokens = std::max<std::int64_t>(out, 0);
  used.known = in >= 0 || out >= 0;
  read_token_count(input[0], used.cached_tokens);
  read_token_count(input[1], used.cache_write_tokens);
  read_token_count(output[0], used.reasoning_tokens);
  return used;
}

bool rewrite_responses_answer(std::string_view body, std::string_view client_model, std::string& out,
                              engine::usage& used) {
  engine::usage other_names;
  const response_view said(body);
  used = said.whole ? read_responses_usage(said.usage) : engine::usage{};
  if (!rewrite_openai_answer(body, client_model, out, other_names) || !said.good()) {
    out.clear();
    return false;
  }
  return true;
}

std::unique_ptr<engine::stream_reader> read_responses_stream(std::string_view client_model) {
  return std::make_unique<responses_reader>(client_model);
}

bool collect_responses_answer(std::string_view stream, std::string_view client_model, std::string& out,
                              engine::usage& used) {
  out.clear();
  used = {};
  if (!valid_utf8(stream)) return false;
  responses_reader reader(client_model);
  std::string passed;
  reader.feed(stream, passed);
  if (reader.end(passed) != engine::stream_reader::state::done) return false;
  return rewrite_responses_answer(reader.last_response(), client_model, out, used);
}

}  // namespace millrace::http
