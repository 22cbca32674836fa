#include <algorithm>
#include <utility>

#include "engine/answer_headers.hpp"
#include "engine/flight.hpp"

/// What a flight tells others about itself: the dispatcher, the observer, and the client in its headers.
namespace millrace::engine {

/// What a target asks; a wildcard asks what is known of the model that it stands for.
token_prices flight::prices_at(const target_config& target, std::string_view upstream_model) const {
  if (!target.model.empty()) return prices_of(target);
  const auto& known = call_.config->known_models;
  const auto* facts = known ? known->find(call_.config->providers[target.provider], upstream_model) : nullptr;
  return facts != nullptr ? prices_of(*facts) : token_prices{};
}

/// Puts what the provider is reckoned to have used where it did not tell, and returns how many tokens of
/// `used_` are such. Of a request that it refused nothing was used; of one that it has and was given up,
/// what was sent.
std::int64_t flight::complete_usage(attempt_outcome outcome) {
  const bool counts = call_.route != route_kind::count_tokens;  // they are free
  const bool given_up = outcome == attempt_outcome::cancelled || outcome == attempt_outcome::out_of_time ||
                        outcome == attempt_outcome::timed_out;
  const bool whole = outcome == attempt_outcome::ok && used_.known;
  if (!counts || whole || billing_ == billing::nothing || (billing_ == billing::unheard && !given_up))
    return 0;
  std::int64_t estimated = 0;
  if (!used_.known) {
    used_.input_tokens = call_.facts.input_tokens;
    estimated += used_.input_tokens;
  }
  // Of a stream that was cut, what was told so far may be behind what was heard.
  const bool speaks = call_.facts.max_output_tokens != 0;
  if (const std::int64_t heard = heard_.tokens(); speaks && heard > used_.output_tokens) {
    estimated += heard - used_.output_tokens;
    used_.output_tokens = heard;
  }
  return estimated;
}

void flight::settle(attempt_outcome outcome, std::string_view reason) {
  if (settled_) return;
  settled_ = true;
  const time_point now = ports_.time.now();
  if (reader_) used_ = reader_->seen_usage();
  const std::int64_t estimated = complete_usage(outcome);
  const bool billed = used_.known || estimated > 0;
  const std::int64_t images = billed ? call_.facts.images : 0;
  const money cost = billed ? cost_of(used_, images, prices_at(*target_, upstream_model_)) : money();
  settlement s;
  s.id = grant_.id;
  s.outcome = outcome;
  s.used = {used_.input_tokens, used_.output_tokens};
  s.usage_known = billed;
  s.billed_nothing = billing_ == billing::nothing;
  s.cost = cost;
  s.first_token = first_token_;
  s.first_byte = first_byte_;
  s.total = now - attempt_start_;
  s.retry_after = retry_after_;
  s.hint = hint_;
  s.probe = grant_.probe;
  ports_.permits.settle(s);
  exchange_.reset();
  if (call_.watch) call_.watch->attempt_speaks();
  if (outcome == attempt_outcome::unused) return;
  cost_ += cost;
  attempt_record r{provider_->name, upstream_model_, key_->id, reason, s.total};
  r.tenant = call_.client->tenant;
  r.client = call_.client->name;
  r.asked_model = call_.asked_model();
  r.used = used_;
  r.estimated_tokens = estimated;
  r.images = images;
  r.cost = cost;
  r.at = ports_.time.wall();
  ports_.watch.attempt_done(r);
}

void flight::finish(int status, std::string_view error_code) {
  if (std::exchange(finished_, true) || !reports_) return;
  if (client_gone_ && error_code.empty()) {
    // It went well for those who shared it; this one has seen nothing, or not all.
    error_code = "client_gone";
    if (!reader_) status = 499;
  }
  const time_point now = ports_.time.now();
  request_record r;
  r.id = call_.id;
  r.method = "POST";
  r.route = to_string(call_.route);
  r.model = call_.config->models[call_.asked].name;
  if (call_.judged) {
    r.complexity = to_string(call_.judged->complexity);
    r.chosen = model_.name;
  }
  r.asked_model = call_.asked_model();
  r.at = ports_.time.wall();
  r.tenant = call_.client->tenant;
  r.client = call_.client->name;
  if (attempts_ > 0) {
    r.provider = provider_->name;
    r.upstream_model = upstream_model_;
    r.key = key_->id;
  }
  r.error_code = client_cut_.empty() ? error_code : client_cut_;
  r.status = status;
  r.stream = call_.facts.stream;
  r.fallback = fallback_;
  r.client_gone =
      client_gone_ || call_.gone->cancelled_for(cancel_cause::client_gone) || error_code == "client_gone";
  r.cache = call_.cache_word;
  r.degraded = to_string(step_);
  r.hedge = hedge_;
  if (model_.upgrade) r.upgraded = upgraded_ ? "true" : "false";
  r.confidence = confidence_;
  r.attempts = attempts_;
  r.retries = std::max(0, attempts_ - attempts_beside_ - 1);
  r.used = used_;
  r.used += used_beside_;
  r.cost = cost_;
  r.total = now - call_.received;
  // A stream's overhead is what came before its first byte; afterwards it waits for others only.
  r.overhead = reader_ ? overhead_ : r.total - waited_ - aside_ - upstream_time_;
  r.first_token = client_first_token_;
  r.waited = waited_;
  r.queue = call_.queue();
  ports_.watch.request_done(r);
}

answer_source flight::source() const {
  if (attempts_ == 0) return {};
  return {provider_->name, upstream_model_, key_->id, fallback_, wire_, dropped_text(request_.dropped),
          upgraded_,       confidence_};
}

/// `giver`: who is named instead of whom was called last.
void flight::add_headers(answer& a, bool with_cost, const answer_source* giver) {
  const duration elsewhere = waited_ + aside_ + upstream_time_;
  overhead_ = std::max(ports_.time.now() - call_.received - elsewhere, duration::zero());
  a.headers.emplace_back("x-request-id", call_.id);
  a.headers.emplace_back("x-millrace-cache", call_.cache_word);
  if (giver ? !giver->provider.empty() : attempts_ > 0) {
    a.headers.emplace_back("x-millrace-provider", giver ? giver->provider : provider_->name);
    a.headers.emplace_back("x-millrace-model", giver ? giver->upstream_model : upstream_model_);
    a.headers.emplace_back("x-millrace-key", giver ? giver->key_id : key_->id);
  }
  a.headers.emplace_back("x-millrace-attempts", std::to_string(attempts_));
  a.headers.emplace_back("x-millrace-fallback", (giver ? giver->fallback : fallback_) ? "true" : "false");
  if (call_.judged) a.headers.emplace_back("x-millrace-complexity", to_string(call_.judged->complexity));
  if (step_ != degrade_step::none) a.headers.emplace_back("x-millrace-degraded", to_string(step_));
  if (!hedge_.empty()) a.headers.emplace_back("x-millrace-hedged", hedge_);
  if (model_.upgrade) {
    add_upgrade(a, giver ? giver->upgraded : upgraded_, giver ? giver->confidence : confidence_);
  }
  std::string dropped = giver ? giver->dropped : dropped_text(request_.dropped);
  if (!dropped.empty()) a.headers.emplace_back("x-millrace-dropped", std::move(dropped));
  if (with_cost) {
    a.headers.emplace_back("x-millrace-cost-usd", cost_.text());
    a.headers.emplace_back(
        "x-millrace-overhead-us",
        std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(overhead_).count()));
  }
  add_client_windows(a.headers, client_state_);
}

}  // namespace millrace::engine
