#include "engine/known_answer.hpp"

#include <algorithm>
#include <utility>

#include "engine/answer_headers.hpp"
#include "engine/followed_stream.hpp"

namespace millrace::engine {

/// A followed stream that reports its request when it ends. Owns the call.
class known_answer::recorded_stream final : public answer_stream {
 public:
  recorded_stream(pipeline::ports& ports, call c, const known_answer& told, const answer_source& source)
      : ports_(ports), call_(std::move(c)), record_(ports_, call_) {
    record_.waited_ = told.waited_;
    record_.first_token_ = told.first_token_;
    record_.overhead_ = told.overhead_;
    record_.source_ = source;
    record_.step_ = told.step_;
  }
  ~recorded_stream() override {
    if (std::exchange(recorded_, true)) return;
    record_.record(200, stream_->left_behind() ? "slow_reader" : gone_error(*call_.gone).code);
  }

  void attach(std::unique_ptr<followed_stream> s) { stream_ = std::move(s); }

  bool read(std::string& out, yield y) override {
    const bool more = stream_->read(out, y);
    if (!more && !std::exchange(recorded_, true)) record_.record(200, stream_->error_code());
    return more;
  }
  bool broken() const override { return stream_->broken(); }

 private:
  pipeline::ports& ports_;
  call call_;
  known_answer record_;
  std::unique_ptr<followed_stream> stream_;
  bool recorded_ = false;
};

acquire_request known_answer::question() const {
  acquire_request r;
  r.id = ports_.permits.new_ticket();
  r.config_version = call_.config->version;
  r.model = call_.config->models.at(call_.model.model).id;
  r.client = call_.client->id;
  r.tenant = call_.client->tenant_id;
  r.queue = static_cast<std::uint8_t>(call_.queue());
  r.route = static_cast<std::uint8_t>(call_.route);
  r.only_count = true;
  return r;
}

bool known_answer::admit(answer& refusal, yield y) {
  if (call_.counted) return true;
  call_.counted.emplace();
  // Without limits there is nothing to count, and so nobody to ask.
  const client_config& own = *call_.client;
  const bool limited = std::min({own.rpm, own.tpm, own.rph, own.route_rpm}) != unlimited;
  if (!limited) return true;
  call_.counted = ports_.permits.acquire(question(), *call_.gone, y);
  if (call_.counted->verdict == verdict::granted) return true;
  if (call_.gone->cancelled()) {
    refusal = refuse(gone_error(*call_.gone));
    return false;
  }
  refusal = refuse({429, "rate_limit_error", "rate_limit_exceeded",
                    "Your key's limit of requests is reached. Retry after the time given in retry-after.", "",
                    call_.counted->retry_after, false});
  return false;
}

bool known_answer::from_entry(const cached_answer& entry, answer& out) {
  const wall_time now = ports_.time.wall();
  call_.cache_word = entry.coalesced ? "coalesced" : "hit";
  if (!tell(entry, out)) return false;
  if (!entry.coalesced) add_age(out, entry, now);
  record(out.status, "");
  return true;
}

/// A good answer in the form that was asked for; false when it has no such form.
bool known_answer::tell(const cached_answer& entry, answer& out) {
  const auto& format = ports_.formats.of(call_.route);
  if (!give_whole(format, call_.route, call_.facts, entry.body, entry.content_type, out)) return false;
  source_ = source_of(entry);
  step_ = step_of(*call_.config, model(), source_.provider, source_.fallback);
  add_headers(out);
  return true;
}

bool known_answer::from_flight(const shared_answer_ptr& flight, answer& out, yield y) {
  auto seat =
      std::make_unique<follower>(flight, !call_.facts.stream, *call_.gone, ports_.thread, call_.deadline);
  if (!seat->joined()) return false;
  if (!admit(out, y)) return true;
  call_.cache_word = "coalesced";
  std::string raw;
  const time_point start = ports_.time.now();
  const auto event = seat->next(raw, ports_.time, y);
  waited_ += ports_.time.now() - start;
  switch (event) {
    case follower::event::whole:
      return from_result(*seat->result(), out, y);
    case follower::event::content:
      first_token_ = ports_.time.now() - call_.received;
      source_ = seat->source();
      step_ = step_of(*call_.config, model(), source_.provider, source_.fallback);
      out = stream_from(std::move(seat), raw);
      return true;
    case follower::event::broken:
      out = refuse(seat->failure());
      return true;
    case follower::event::late:
      if (!rescue(deadline_error(), out, y)) out = refuse(deadline_error());
      return true;
    case follower::event::gone:
      out = refuse(gone_error(*call_.gone));
      return true;
    case follower::event::end:
    case follower::event::abandoned:
      break;
  }
  return false;
}

bool known_answer::from_result(const shared_result& result, answer& out, yield y) {
  if (result.from_cache) return from_entry(*result.answer, out);
  if (result.status < 300) {
    if (!tell(*result.answer, out)) return false;
    record(result.status, "");
    return true;
  }
  const auto& refused = *result.answer;
  if (result.outage && rescue(*result.outage, out, y)) return true;
  source_ = source_of(refused);
  out.status = result.status;
  out.headers = result.headers;
  out.body = refused.body;
  out.content_type = refused.content_type;
  add_headers(out);
  record(result.status, "shared_call_failed");
  return true;
}

answer known_answer::stream_from(std::unique_ptr<follower> seat, std::string_view raw) {
  answer a;
  a.content_type = "text/event-stream; charset=utf-8";
  a.headers.emplace_back("cache-control", "no-cache");
  a.headers.emplace_back("x-accel-buffering", "no");
  add_headers(a);
  auto reader = source_.wire->read_stream(call_.route, call_.facts, call_.facts.include_usage);
  std::string pending;
  reader->feed(raw, pending);
  const route_kind route = call_.route;
  auto stream = std::make_unique<recorded_stream>(ports_, std::move(call_), *this, source_);
  stream->attach(std::make_unique<followed_stream>(ports_, route, std::move(seat), std::move(reader),
                                                   std::move(pending)));
  a.stream = std::move(stream);
  return a;
}

/// In an outage: what there is without any provider.
bool known_answer::rescue(const api_error& error, answer& out, yield y) {
  step_ = answer_in_outage(ports_, call_, error, out, source_, y);
  if (step_ == degrade_step::none) return false;
  if (step_ != degrade_step::local) call_.cache_word = to_string(step_);
  add_headers(out);
  record(out.status, error.code);
  return true;
}

answer known_answer::refuse(const api_error& error) {
  answer a = error_answer(error, ports_.formats.of(call_.route));
  add_headers(a);
  record(error.status, error.code);
  return a;
}

void known_answer::add_headers(answer& a) {
  a.headers.emplace_back("x-request-id", call_.id);
  a.headers.emplace_back("x-millrace-cache", call_.cache_word);
  if (!source_.provider.empty()) {
    a.headers.emplace_back("x-millrace-provider", source_.provider);
    a.headers.emplace_back("x-millrace-model", source_.upstream_model);
    a.headers.emplace_back("x-millrace-key", source_.key_id);
  }
  a.headers.emplace_back("x-millrace-attempts", "0");
  a.headers.emplace_back("x-millrace-fallback", source_.fallback ? "true" : "false");
  if (!source_.dropped.empty()) a.headers.emplace_back("x-millrace-dropped", source_.dropped);
  if (call_.judged) a.headers.emplace_back("x-millrace-complexity", to_string(call_.judged->complexity));
  if (step_ != degrade_step::none) a.headers.emplace_back("x-millrace-degraded", to_string(step_));
  if (model().upgrade) add_upgrade(a, source_.upgraded, source_.confidence);
  a.headers.emplace_back("x-millrace-cost-usd", "0");
  overhead_ = ports_.time.now() - call_.received - call_.upload - waited_;
  a.headers.emplace_back(
      "x-millrace-overhead-us",
      std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(overhead_).count()));
  if (call_.counted) add_client_windows(a.headers, *call_.counted);
}

void known_answer::record(int status, std::string_view error_code) {
  request_record r;
  r.id = call_.id;
  r.method = "POST";
  r.route = to_string(call_.route);
  r.model = call_.config->models.at(call_.asked).name;
  if (call_.judged) {
    r.complexity = to_string(call_.judged->complexity);
    r.chosen = call_.config->models.at(call_.model.model).name;
  }
  r.asked_model = call_.asked_model();
  r.at = ports_.time.wall();
  r.tenant = call_.client->tenant;
  r.client = call_.client->name;
  r.provider = source_.provider;
  r.upstream_model = source_.upstream_model;
  r.key = source_.key_id;
  r.error_code = error_code;
  r.status = status;
  r.stream = call_.facts.stream;
  r.fallback = source_.fallback;
  r.client_gone = error_code == "client_gone";
  r.total = ports_.time.now() - call_.received;
  // Of a stream it ends with the head; afterwards it waits for others only.
  r.overhead = overhead_;
  r.first_token = first_token_;
  r.queue = call_.queue();
  r.cache = call_.cache_word;
  r.degraded = to_string(step_);
  if (model().upgrade) r.upgraded = source_.upgraded ? "true" : "false";
  r.confidence = source_.confidence;
  ports_.watch.request_done(r);
}

}  // namespace millrace::engine
