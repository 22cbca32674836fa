#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/hedge_budget.hpp"
#include "flight_world.hpp"

namespace millrace::engine {

/// One upstream call that does what the test says, when it says it.
struct gated_call {
  bool stream = false;
  int status = 200;
  bool cancelled = false;
  bool alive = true;  ///< its exchange exists
  std::deque<std::string> pieces;
  bool ended = false;
  upstream_failure end = upstream_failure::none;
  wait_point point;

  void feed(std::string piece) {
    pieces.push_back(std::move(piece));
    point.wake();
  }
  void finish(upstream_failure f = upstream_failure::none) {
    ended = true;
    end = f;
    point.wake();
  }
};

class gated_upstream final : public upstream_port {
 public:
  std::vector<std::unique_ptr<gated_call>> calls;

  upstream_failure connect(const provider_config&, time_point, bool, cancellation& gone,
                           std::unique_ptr<upstream_exchange>& out, yield, std::string*) override {
    if (gone.cancelled()) return upstream_failure::cancelled;
    calls.push_back(std::make_unique<gated_call>());
    out = std::make_unique<exchange>(*calls.back(), gone);
    return upstream_failure::none;
  }

 private:
  class exchange final : public upstream_exchange {
   public:
    exchange(gated_call& c, cancellation& gone) : call_(c), gone_(gone) {}
    ~exchange() override { call_.alive = false; }
    upstream_failure send(const upstream_request& r, time_point, upstream_head& head, yield y) override {
      call_.stream = r.body.find("stream") != std::string_view::npos;
      if (!wait(y)) return upstream_failure::cancelled;
      if (call_.pieces.empty() && call_.end != upstream_failure::none) return call_.end;
      head.status = call_.status;
      head.headers = {{"content-type", call_.stream ? "text/event-stream" : "application/json"}};
      return upstream_failure::none;
    }
    upstream_failure read(std::string& out, time_point, yield y) override {
      out.clear();
      if (!wait(y)) return upstream_failure::cancelled;
      if (call_.pieces.empty()) return call_.end;
      out = std::move(call_.pieces.front());
      call_.pieces.pop_front();
      return upstream_failure::none;
    }
    bool stale() const override { return false; }

   private:
    bool wait(yield y) {
      const cancellation::hook on_gone(gone_, [this] { call_.point.wake(); });
      while (call_.pieces.empty() && !call_.ended && !gone_.cancelled()) call_.point.wait(y);
      call_.cancelled = call_.cancelled || gone_.cancelled();
      return !gone_.cancelled();
    }
    gated_call& call_;
    cancellation& gone_;
  };
};

/// Grants everything, but what only counts is up to the test.
class generous_permits final : public permit_port {
 public:
  acquire_reply grant;
  acquire_reply counted;
  std::map<name_id, acquire_reply> of_model;  ///< instead of `grant`
  std::vector<acquire_request> counts;
  std::vector<acquire_request> asked;
  std::vector<settlement> settled;
  int granted = 0;
  ticket last = 0;
  bool full = false;  ///< whoever asks for a permit waits until `gate` opens
  wait_point gate;
  std::function<void()> on_refusal;

  ticket new_ticket() override { return ++last; }
  acquire_reply acquire(const acquire_request& r, cancellation&, yield y) override {
    if (r.only_count) {
      counts.push_back(r);
      return counted;
    }
    asked.push_back(r);
    if (full) gate.wait(y);
    ++granted;
    const auto special = of_model.find(r.model);
    acquire_reply reply = special == of_model.end() ? grant : special->second;
    reply.id = r.id;
    if (reply.verdict != verdict::granted && on_refusal) on_refusal();
    return reply;
  }
  void sent(const sent_report&) override {}
  void settle(const settlement& s) override { settled.push_back(s); }
};

/// Answers that the test put on the disk.
class fake_disk final : public answer_disk {
 public:
  cached_answer_ptr entry;
  int asked = 0;
  cached_answer_ptr find(const cache_key&, duration, cancellation&, yield) override {
    ++asked;
    return entry;
  }
};

/// One client of the world: what it asked for, and what it got so far.
struct asking_client {
  cancellation gone;
  bool stream = false;
  bool paused = false;  ///< reads nothing of its stream
  wait_point resume;
  int status = 0;  ///< 0: no answer yet
  header_list headers;
  std::string got;
  bool over = false;
  bool broken = false;

  std::string header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return std::string(value);
    }
    return {};
  }
};

/// How a client asks.
struct asking {
  bool stream = false;
  bool zero_temperature = false;
  cache_wish wish{};
  duration patience = duration::max();
  std::uint8_t question = 1;  ///< same number: same question
  bool private_only = false;
};

/// One pipeline, any number of clients at once, everything in one thread; `settle` runs until nobody can go
/// on.
class single_flight_world {
 public:
  explicit single_flight_world(bool coalesce = false, bool with_disk = false, std::int64_t rpm = unlimited)
      : config(make_config(coalesce, rpm)),
        lines({permits, upstream, time, thread, format, watch, budget, answers, with_disk ? &disk : nullptr,
               [this](std::size_t) { ++written; }, &hedges}) {
    const auto& t = config->models[0].targets[0];
    permits.grant.verdict = verdict::granted;
    permits.grant.target = t.name;
    permits.grant.key = config->providers[t.provider].keys[0].name;
    permits.grant.valid_for = std::chrono::hours(1);
    permits.counted.verdict = verdict::granted;
  }
  ~single_flight_world() {
    for (auto& c : clients) c->gone.cancel();
    for (auto& c : clients) wake(*c);
    settle();
  }

  asking_client& ask(const asking& how = {}) {
    clients.push_back(std::make_unique<asking_client>());
    asking_client& me = *clients.back();
    me.stream = how.stream;
    start_coroutine(io, [this, how, &me](yield y) { run(how, me, y); });
    settle();
    return me;
  }
  void leave(asking_client& c) {
    c.gone.cancel();
    wake(c);
    settle();
  }
  void feed(std::string piece, std::size_t n = 0) {
    upstream.calls.at(n)->feed(std::move(piece));
    settle();
  }
  void finish(upstream_failure f = upstream_failure::none, std::size_t n = 0) {
    upstream.calls.at(n)->finish(f);
    settle();
  }
  void wake(asking_client& c) {
    c.paused = false;
    c.resume.wake();
  }
  void settle() {
    io.restart();
    io.poll();
  }
  std::int64_t flights() const {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) n += answers.at(i).statistics().flights;
    return n;
  }

  boost::asio::io_context io;
  fake_clock time;
  fake_thread thread{io};
  generous_permits permits;
  gated_upstream upstream;
  fake_dialect format;
  fake_observer watch;
  retry_budget budget;
  hedge_budget hedges;  ///< empty at first
  cache_shards answers{4, 1 << 20};
  fake_disk disk;
  config_ptr config;
  int written = 0;
  pipeline lines;
  std::vector<std::unique_ptr<asking_client>> clients;

 private:
  void run(const asking& how, asking_client& me, yield y) {
    call c;
    c.config = config;
    c.id = "req";
    c.body = how.stream ? "stream" : "plain";
    c.facts.model = "m";
    c.facts.stream = how.stream;
    c.facts.zero_temperature = how.zero_temperature;
    c.client = &config->clients.front();
    c.received = time.now();
    if (how.patience != duration::max()) c.deadline = time.now() + how.patience;
    c.gone = &me.gone;
    c.key.bytes[0] = how.question;
    c.cache = how.wish;
    c.private_only = how.private_only;
    answer a = lines.run(std::move(c), y);
    me.status = a.status;
    me.headers = a.headers;
    me.got = a.body;
    while (a.stream && !me.gone.cancelled()) {
      while (me.paused) me.resume.wait(y);
      if (me.gone.cancelled() || !a.stream->read(me.got, y)) break;
    }
    me.broken = a.stream && a.stream->broken();
    a.stream.reset();
    me.over = true;
  }

  static config_ptr make_config(bool coalesce, std::int64_t rpm) {
    config_builder b;
    b.provider("a", {{}, {}}).model("m", {0}).client("c", rpm, unlimited);
    auto c = std::make_shared<engine::config>(*b.build());
    c->models[0].coalesce = coalesce;
    return c;
  }
};

}  // namespace millrace::engine
