#include "http/dialects/translation.hpp"

#include <ctime>
#include <utility>

#include "engine/output_estimate.hpp"
#include "http/dialects/chat_collector.hpp"
#include "http/event_reader.hpp"
#include "http/json_scan.hpp"
#include "http/openai.hpp"

namespace millrace::http {

namespace {

using engine::route_kind;
using engine::stream_reader;

encode_options options_for(std::string_view model) {
  encode_options o;
  o.model = model;
  o.now = std::time(nullptr);
  return o;
}

/// What a client is told where the provider counts nothing: what it is billed for.
engine::usage reckoned(std::int64_t input_tokens, const engine::output_estimate& heard) {
  engine::usage u;
  u.input_tokens = input_tokens;
  u.output_tokens = heard.tokens();
  u.known = true;
  return u;
}

class translated_stream final : public stream_reader {
 public:
  translated_stream(std::unique_ptr<delta_source> source, std::unique_ptr<delta_sink> sink,
                    const engine::answer_form& form)
      : source_(std::move(source)), sink_(std::move(sink)), input_tokens_(form.input_tokens) {}

  state feed(std::string_view bytes, std::string& out) override {
    if (state_ == state::done || state_ == state::failed) return state_;
    if (!usage_.known) heard_.feed(bytes);
    const std::size_t before = out.size();
    const bool good = source_->feed(bytes, [&](const chat_delta& d) { take(d, out); });
    repair_utf8(out, before);
    if (!good && state_ != state::done && state_ != state::failed) {
      state_ = state::failed;
      failure_ = "The provider sent something that is not an event stream of its API.";
    }
    return state_;
  }
  state end(std::string& out) override {
    const std::size_t before = out.size();
    source_->end([&](const chat_delta& d) { take(d, out); });
    repair_utf8(out, before);
    return state_;
  }
  const engine::usage& seen_usage() const override { return usage_; }
  const std::string& failure() const override { return failure_; }
  int failure_status() const override { return failure_status_; }

 private:
  void take(const chat_delta& d, std::string& out) {
    if (state_ == state::done || state_ == state::failed) return;
    using kind = chat_delta::kind;
    if (d.what == kind::error) {
      state_ = state::failed;
      failure_ = d.message.substr(0, max_failure_bytes);
      failure_status_ = d.status;
      return;
    }
    if (d.what == kind::done && state_ == state::preamble) {
      state_ = state::failed;
      failure_ = ended_unsaid;
      return;
    }
    if (d.what == kind::usage) usage_ = d.used;
    if (d.what != kind::start && d.what != kind::usage) state_ = state::content;
    if (d.what == kind::done) {
      state_ = state::done;
      if (!usage_.known) sink_->put({.what = kind::usage, .used = reckoned(input_tokens_, heard_)}, out);
    }
    sink_->put(d, out);
    if (!sink_->overflowed()) return;
    state_ = state::failed;
    failure_ = "The provider's answer is too large for this API.";
  }

  const std::unique_ptr<delta_source> source_;
  const std::unique_ptr<delta_sink> sink_;
  const std::int64_t input_tokens_;
  state state_ = state::preamble;
  engine::usage usage_;  ///< as the provider told it
  engine::output_estimate heard_;
  std::string failure_;
  int failure_status_ = 0;
};

/// OpenAI's word for what a provider refused.
std::string_view type_of(int status) {
  return status == 404 ? "not_found_error" : "invalid_request_error";
}

}  // namespace

engine::header_list without_dialect_headers(const engine::header_list& forwarded) {
  engine::header_list out;
  for (const auto& h : forwarded) {
    if (!h.first.starts_with("openai-") && !h.first.starts_with("anthropic-")) out.push_back(h);
  }
  return out;
}

bool translation::encode_request(const question& q, engine::provider_request& out,
                                 engine::api_error& error) const {
  chat_request request;
  if (!client_.format.decode_request(q.body, request, error)) return false;
  request.stream = q.facts.stream;
  encode_options options = options_for(q.model);
  options.mark_prompt_cache = q.mark_prompt_cache;
  options.stream_usage = q.provider.stream_usage;
  options.newest_names = q.provider.host.ends_with("openai.com") || q.provider.host.ends_with("azure.com") ||
                         is_openai_reasoning_model(q.model);
  if (!provider_.format.encode_request(request, options, out.body, out.dropped, error)) return false;
  out.dropped.insert(out.dropped.begin(), request.dropped.begin(), request.dropped.end());
  out.path = provider_.path(q);
  provider_.add_headers(q, out.headers);
  return true;
}

bool translation::rewrite_answer(route_kind /*route*/, std::string_view body, const engine::answer_form& form,
                                 std::string& out, engine::usage& used) const {
  out.clear();
  used = {};
  chat_answer answer;
  const bool good = provider_.format.decode_answer(body, answer);
  used = answer.used;  // billed, whether the client can be told the answer or not
  if (!good) return false;
  if (!used.known) {
    engine::output_estimate heard;
    heard.feed(body);
    answer.used = reckoned(form.input_tokens, heard);
  }
  if (!client_.format.fit(answer)) return false;
  client_.format.encode_answer(answer, options_for(form.model), out);
  repair_utf8(out, 0);
  return true;
}

void translation::rewrite_refusal(route_kind /*route*/, int status, std::string& body,
                                  std::string& content_type) const {
  tell_refusal(provider_.format, client_.dialect, status, body, content_type);
}

void tell_refusal(const chat_provider_format& theirs, const engine::client_dialect& clients, int status,
                  std::string& body, std::string& content_type) {
  engine::api_error e;
  e.status = status;
  e.type = type_of(status);
  e.code = "upstream_refused";
  e.message = theirs.decode_error(body);
  if (e.message.empty()) {
    e.message = "The provider refused the request with status " + std::to_string(status);
    // Whatever it is, it is the only hint there is.
    const std::string_view words = json_trim(body).substr(0, max_failure_bytes);
    e.message += words.empty() ? "." : ": " + std::string(words);
  }
  body = clients.error_body(e);
  content_type = "application/json";
}

std::unique_ptr<stream_reader> translation::read_stream(route_kind /*route*/, const engine::answer_form& form,
                                                        bool client_wants_usage) const {
  return std::make_unique<translated_stream>(
      provider_.format.decode_stream(),
      client_.format.encode_stream(options_for(form.model), client_wants_usage), form);
}

bool translation::collect_answer(route_kind /*route*/, std::string_view stream,
                                 const engine::answer_form& form, std::string& out,
                                 engine::usage& used) const {
  out.clear();
  used = {};
  chat_collector collector;
  const auto source = provider_.format.decode_stream();
  const auto collect = [&](const chat_delta& d) { collector.put(d); };
  if (!source->feed(stream, collect)) return false;
  source->end(collect);
  const chat_answer* answer = collector.answer();
  if (!answer) return false;
  used = answer->used;
  if (!used.known) {
    engine::output_estimate heard;
    heard.feed(stream);
    collector.put({.what = chat_delta::kind::usage, .used = reckoned(form.input_tokens, heard)});
  }
  client_.format.encode_answer(*answer, options_for(form.model), out);
  repair_utf8(out, 0);
  return true;
}

engine::limit_hint translation::read_limits(const engine::upstream_head& head) const {
  return provider_.native.read_limits(head);
}

engine::duration translation::read_retry_after(const engine::upstream_head& head,
                                               std::string_view body) const {
  return provider_.native.read_retry_after(head, body);
}

bool translation::speaks_of_credit(std::string_view body, std::string_view request) const {
  return provider_.native.speaks_of_credit(body, request);
}

bool translation::refuses_key(std::string_view body) const {
  return provider_.native.refuses_key(body);
}

}  // namespace millrace::http
