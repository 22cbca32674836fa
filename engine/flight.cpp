#include "engine/flight.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "engine/answer_headers.hpp"
#include "engine/key_health.hpp"

namespace millrace::engine {

namespace {

bool key_affair(attempt_outcome o) {
  return o == attempt_outcome::rate_limited || o == attempt_outcome::unauthorized ||
         o == attempt_outcome::no_credit;
}

/// Whether the media type, whose case means nothing, holds `lower`.
bool is_type(const upstream_head& head, std::string_view lower) {
  const std::string_view type = head.header("content-type");
  const auto same = [](char any, char small) {
    return any == small || (any >= 'A' && any <= 'Z' && any - 'A' + 'a' == small);
  };
  return std::search(type.begin(), type.end(), lower.begin(), lower.end(), same) != type.end();
}

/// Some servers do not say of what type their JSON is.
bool may_be_json(const upstream_head& head) {
  return head.header("content-type").empty() || is_type(head, "text/plain");
}

bool final_outcome(attempt_outcome o) {
  return o == attempt_outcome::cancelled || o == attempt_outcome::out_of_time;
}

}  // namespace

flight::flight(pipeline::ports& ports, call c)
    : ports_(ports),
      call_(std::move(c)),
      model_(call_.config->models.at(call_.model.model)),
      ticket_(ports.permits.new_ticket()),
      reads_whole_(call_.facts.stream &&
                   (call_.read_whole || (model_.upgrade && !has_one_answer(call_.route)))),
      barred_(std::move(call_.barred)),
      client_state_(call_.counted.value_or(acquire_reply{})),
      asked_before_(call_.counted.has_value()),
      aside_(call_.upload),
      reports_(!call_.beside) {
  bar_other_kinds();
}

flight::~flight() {
  // The edge dropped the stream before its end: the client is gone or too slow.
  if (!settled_) settle(attempt_outcome::cancelled, "cancelled");
  // A request whose handler threw is reported by the edge, with the 500 that it gets.
  const bool threw = !reader_ && std::uncaught_exceptions() > 0;
  if (finished_ || threw) return;
  const api_error gone = gone_error(*call_.gone);
  finish(reader_ ? 200 : gone.status, gone.code);
}

answer flight::run(yield y) {
  answer out;
  const bool good = seek(out, y);
  return end(std::move(out), good, y);
}

answer flight::end(answer out, bool good, yield y) {
  return good ? conclude(std::move(out), y) : refuse(y);
}

bool flight::seek(answer& out, yield y) {
  if (!call_.beside) ports_.budget.request(ports_.time.now());
  bool retry_tried = false;
  while (true) {
    const acquire_reply reply = acquire(retry_tried, y);
    if (reply.verdict != verdict::granted || !take_grant(reply)) {
      const bool nothing_left = reply.verdict == verdict::no_candidate ||
                                reply.verdict == verdict::breakers_open ||
                                reply.verdict == verdict::keys_unusable;
      if (nothing_left && last_failure_ && !retry_tried && may_repeat(y)) {
        retry_tried = true;
        continue;
      }
      refusal_ = reason_of(reply);
      return false;
    }
    if (!affords_grant()) continue;
    const step done = attempt(out, y);
    if (done == step::answered) return counts(out);
    if (done == step::permit_expired && ++expired_permits_ <= max_expired_permits) continue;
    if (done == step::stale || done == step::unspeakable) continue;
    if (done == step::turned_away && attempts_ < max_calls_per_request) continue;
    if (done == step::turned_away) return false;
    retry_tried = false;
    // Going on to other keys and targets is no repeat: what is configured bounds it.
    if (final_outcome(last_failure_->outcome) || attempts_ >= max_calls_per_request) return give_up();
  }
}

/// Whether what was answered is what the client gets. A call beside another one has nothing to refuse.
bool flight::counts(const answer& out) {
  const bool refused = call_.beside && out.status >= 400;
  if (!refused && (!call_.watch || call_.watch->claims(*this))) return true;
  refusal_ = gone_error(*call_.gone);
  return false;
}

/// The last failure is what the client is told.
bool flight::give_up() {
  refusal_ = last_failure_->error;
  return false;
}

/// An answer is there: it may be improved, the headers are written, and a whole one is reported.
answer flight::conclude(answer out, yield y) {
  if (model_.upgrade && out.status < 300 && !has_one_answer(call_.route)) improve(out, y);
  step_ = step_of(*call_.config, model_, provider_->name, fallback_);
  if (call_.facts.stream && !streaming() && out.status < 300)
    client_first_token_ = ports_.time.now() - call_.received;
  add_headers(out, !streaming());
  if (!streaming()) finish(out.status, out.status >= 400 ? "upstream_refused" : "");
  return out;
}

acquire_reply flight::acquire(bool retry_tried, yield y) {
  const time_point now = ports_.time.now();
  acquire_request r;
  r.id = ticket_;
  r.config_version = call_.config->version;
  r.model = model_.id;
  r.client = call_.client->id;
  r.tenant = call_.client->tenant_id;
  r.queue = static_cast<std::uint8_t>(call_.queue());
  r.strategy = call_.strategy;
  r.private_only = call_.private_only;
  r.affinity = call_.affinity;
  r.first = !std::exchange(asked_before_, true);
  r.route = static_cast<std::uint8_t>(call_.route);
  r.input_tokens = call_.facts.input_tokens;
  r.max_output_tokens = call_.facts.max_output_tokens;
  r.images = call_.facts.images;
  if (const auto& t = model_.targets.front(); t.model.empty())
    r.wildcard = prices_at(t, call_.model.upstream_model);
  r.patience = std::min<duration>(call_.beside.value_or(call_.config->queue.max_wait), call_.deadline - now);
  r.tried = tried_;
  r.tried_keys = tried_keys_;
  r.rests = rests_;
  r.barred = barred_;
  r.retry_tried = retry_tried;
  r.refused = refused_;
  acquire_reply reply = ports_.permits.acquire(r, *call_.gone, y);
  waited_ += ports_.time.now() - now;
  if (r.first) client_state_ = reply;
  return reply;
}

/// Resolves what was granted in the request's own configuration; false when that does not know it any more.
bool flight::take_grant(const acquire_reply& reply) {
  grant_ = reply;
  settled_ = false;
  used_beside_ += std::exchange(used_, {});
  billing_ = billing::nothing;
  const auto unknown = [&] {
    settle(attempt_outcome::unused, "unused");
    return false;
  };
  const auto& models = call_.config->models;
  if (reply.model >= models.size() || reply.target_index >= models[reply.model].targets.size())
    return unknown();
  const target_config& target = models[reply.model].targets[reply.target_index];
  if (target.name != reply.target) return unknown();
  const provider_config& provider = call_.config->providers[target.provider];
  const auto key = std::find_if(provider.keys.begin(), provider.keys.end(),
                                [&](const key_config& k) { return k.name == reply.key; });
  const provider_dialect* wire = ports_.formats.between(call_.route, provider);
  if (key == provider.keys.end() || !wire) return unknown();
  // Decided already; looked at once more, because a mistake anywhere before would be told to the wrong one.
  if (call_.private_only && !provider.private_data) return unknown();
  // Only now, all together: until then they name the attempt before, which the answer's headers tell of.
  target_ = &target;
  provider_ = &provider;
  key_ = &*key;
  wire_ = wire;
  upstream_model_ = target_->model.empty() ? call_.model.upstream_model : target_->model;
  return true;
}

flight::step flight::attempt(answer& out, yield y) {
  attempt_start_ = ports_.time.now();
  permit_until_ = attempt_start_ + grant_.valid_for;
  permit_expired_ = false;
  first_token_ = {};
  first_byte_ = {};
  hint_ = {};
  retry_after_ = {};
  heard_ = {};
  plain_.reset();
  fallback_ = fallback_ || grant_.fallback;
  if (!encode()) return step::unspeakable;
  upstream_head head;
  const upstream_failure failure = open_and_send(head, y);
  if (permit_expired_ && expired_permits_ < max_expired_permits) {
    settle(attempt_outcome::unused, "unused");
    return step::permit_expired;
  }
  if (failure != upstream_failure::none && exchange_ && exchange_->stale() && resends_ < max_resends) {
    // The provider may have read the request before it reset the connection: that call counts, at the
    // provider's limit and against the node's budget, which it may overdraw.
    ++resends_;
    ports_.budget.overdraw(ports_.time.now());
    billing_ = billing::nothing;
    settle(attempt_outcome::cancelled, "stale_connection");
    return step::stale;
  }
  if (failure != upstream_failure::none) return fail_io(failure, exchange_ ? "answering" : "connecting");
  hint_ = wire_->read_limits(head);
  return judge(head, out, y);
}

/// Puts the request into the provider's dialect. Where that cannot say it, another target may.
bool flight::encode() {
  request_ = {};
  api_error error;
  if (wire_->encode_request({call_.route, call_.body, call_.facts, call_.forwarded, *provider_, key_->key,
                             upstream_model_, call_.config->models[grant_.model].mark_prompt_cache},
                            request_, error)) {
    return true;
  }
  settle(attempt_outcome::unused, "unused");
  barred_.push_back(grant_.target);
  unsayable_ = std::move(error);
  return false;
}

upstream_failure flight::open_and_send(upstream_head& head, yield y) {
  upstream_request request;
  request.target = request_.path;
  request.headers = std::move(request_.headers);
  request.body = request_.body;

  const time_point start = ports_.time.now();
  exchange_.reset();
  unreached_.clear();
  upstream_failure failure = ports_.upstream.connect(*provider_, until(provider_->timeouts.connect, start),
                                                     resends_ > 0, *call_.gone, exchange_, y, &unreached_);
  const time_point connected = ports_.time.now();
  if (failure == upstream_failure::none && connected > permit_until_) {
    // The connection took longer than the permit lives: writing now could break the provider's limit.
    upstream_time_ += connected - start;
    permit_expired_ = true;
    return upstream_failure::connect;
  }
  ++attempts_;
  time_point heard = connected;
  if (failure == upstream_failure::none) {
    ports_.permits.sent({grant_.id, {}});
    if (call_.watch) call_.watch->attempt_sent(grant_);
    billing_ = billing::unheard;
    failure = exchange_->send(request, until(provider_->timeouts.first_byte, connected), head, y);
    heard = ports_.time.now();
    if (!call_.facts.stream && failure == upstream_failure::none) speaks(heard - connected);
  }
  upstream_time_ += heard - start;
  return failure;
}

/// The first byte of a plain answer, or the first content of a stream, is there.
void flight::speaks(duration after) {
  (call_.facts.stream ? first_token_ : first_byte_) = after;
  if (call_.watch) call_.watch->attempt_speaks();
}

flight::step flight::judge(const upstream_head& head, answer& out, yield y) {
  const bool good = head.status >= 200 && head.status < 300;
  billing_ = good ? billing::begun : billing::nothing;
  if (good && call_.facts.stream) {
    // Some do not stream at all, or not everything: such an answer is told as a stream.
    if (is_type(head, "json")) return take_whole(head, out, y);
    if (!is_type(head, "text/event-stream")) {
      billing_ = billing::nothing;  // it is no API
      attempt_failure f;
      f.reason = "content_type";
      f.error = {
          502,
          "upstream_error",
          "upstream_bad_answer",
          "The provider did not answer with an event stream. Check that base_url names an API that streams.",
          "",
          {},
          true};
      return fail(std::move(f));
    }
    return reads_whole_ ? read_stream_whole(out, y) : start_stream(out, y);
  }
  return take_whole(head, out, y);
}

/// Appends the rest of the body.
upstream_failure flight::read_body(std::string& body, time_point latest, yield y) {
  std::string piece;
  time_point start = ports_.time.now();
  while (true) {
    const upstream_failure failure =
        exchange_->read(piece, std::min(latest, until(provider_->timeouts.idle, start)), y);
    const time_point now = ports_.time.now();
    upstream_time_ += now - std::exchange(start, now);
    if (failure != upstream_failure::none || piece.empty()) return failure;
    if (body.empty()) {
      body.swap(piece);
    } else {
      body += piece;
    }
    if (body.size() > max_answer_bytes) return upstream_failure::too_large;
  }
}

flight::step flight::take_whole(const upstream_head& head, answer& out, yield y) {
  const bool refuses = head.status >= 300;
  const time_point now = ports_.time.now();
  std::string body;
  const upstream_failure cut = read_body(body, refuses ? now + refusal_patience : time_point::max(), y);
  if (cut != upstream_failure::none && !refuses) {
    heard_.feed(body);
    return fail_io(cut, "sending its answer");
  }
  if (cut == upstream_failure::cancelled ||
      (cut != upstream_failure::none && ports_.time.now() >= call_.deadline))
    return fail_io(cut, "sending its answer");
  // What a client asked for is no fault of the key, whatever the status.
  const bool forbids =
      head.status == 403 && ports_.formats.reason_of(*provider_, 403, body) == refusal_reason::content;
  if (!forbids) {
    if (auto failure = judge_status(head, body, call_.body, *wire_)) return fail(std::move(*failure));
  }
  if (cut != upstream_failure::none) return take_cut_refusal(head, out);
  const bool json = is_type(head, "json") || (may_be_json(head) && begins_object(body));
  const auto content_type = json && !is_type(head, "json") ? "application/json" : head.header("content-type");
  out.status = head.status;
  if (head.status >= 400) {
    out.content_type = content_type.empty() ? "application/json" : std::string(content_type);
    out.body = without_key(body);
    wire_->rewrite_refusal(call_.route, head.status, out.body, out.content_type);
    if (turn_away(head.status, body, out)) return step::turned_away;
    settle(attempt_outcome::ok, "client_error");
    return step::answered;
  }
  const bool good = json && rewrite_whole(body, content_type, out);
  if (json && !used_.known) heard_.feed(body);
  if (!good) {
    bill_what_came();
    return fail(no_answer(json, body));
  }
  if (call_.facts.stream) speaks(ports_.time.now() - attempt_start_);
  if (turn_away(head.status, body, out)) return step::turned_away;
  settle(attempt_outcome::ok, "ok");
  return step::answered;
}

/// The request was refused, and why cannot be told: its provider did not say all of it.
flight::step flight::take_cut_refusal(const upstream_head& head, answer& out) {
  out = error_answer(
      {head.status,
       "invalid_request_error",
       "upstream_refused",
       "The provider refused the request, and broke off before it had said why. Check what was asked "
       "for, or try again.",
       "",
       {},
       false},
      format());
  settle(attempt_outcome::ok, "client_error");
  return step::answered;
}

/// False where it is no answer, or none that can be told as a stream to a client that asked for one.
bool flight::rewrite_whole(std::string_view body, std::string_view content_type, answer& out) {
  std::string rewritten;
  if (!wire_->rewrite_answer(call_.route, body, call_.facts, rewritten, used_)) return false;
  if (!call_.facts.stream) {
    out.body = std::move(rewritten);
    out.content_type = content_type;
    return true;
  }
  plain_ = std::move(rewritten);
  return give_whole(format(), call_.route, call_.facts, *plain_, content_type, out);
}

/// Of an attempt that failed: nothing, where the provider neither told that it used any nor said anything.
void flight::bill_what_came() {
  if (reader_) used_ = reader_->seen_usage();
  if (!used_.known && heard_.tokens() == 0) billing_ = billing::nothing;
}

flight::step flight::fail_io(upstream_failure failure, std::string_view phase) {
  return fail(io_failure(failure, phase));
}

flight::step flight::fail(attempt_failure failure) {
  retry_after_ = failure.retry_after;
  if (failure.outcome == attempt_outcome::rate_limited && failure.retry_after <= duration::zero()) {
    // The key rests at least as long as this request's own calls have earned it.
    strikes_ = std::exchange(limited_key_, grant_.key) == grant_.key ? strikes_ + 1 : 1;
    failure.error.retry_after = unasked_key_cooldown(strikes_);
  }
  if (failure.outcome == attempt_outcome::rate_limited) {
    failure.error.no_retry = repeated_ && attempts_ >= call_.config->retry.attempts;
    rest_key(failure,
             failure.retry_after > duration::zero() ? failure.retry_after : failure.error.retry_after);
  }
  settle(failure.outcome, failure.reason);
  if (failure.outcome == attempt_outcome::unauthorized || failure.outcome == attempt_outcome::no_credit) {
    tried_keys_.push_back(grant_.key);
  } else if (!key_affair(failure.outcome) && !tried(grant_.target)) {
    tried_.push_back(grant_.target);
  }
  last_failure_ = std::move(failure);
  return step::failed;
}

time_point flight::until(duration limit, time_point now) const {
  return std::min({now + limit, attempt_start_ + provider_->timeouts.total, call_.deadline});
}

}  // namespace millrace::engine
