#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "dispatch_world.hpp"
#include "engine/pipeline.hpp"

namespace millrace::engine {

/// Time that passes only when somebody sleeps or the test says so.
class fake_clock final : public clock_port {
 public:
  time_point time{std::chrono::hours(1)};
  std::vector<duration> slept;
  std::function<void()> on_sleep;
  time_point now() const override { return time; }
  wall_time wall() const override {
    return wall_time(std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()));
  }
  double random() override { return 0.5; }
  bool sleep(duration d, cancellation& gone, yield) override {
    slept.push_back(d);
    time += d;
    if (on_sleep) on_sleep();
    return !gone.cancelled();
  }
};

/// The thread of the world's one event loop. Alarms ring when the test lets them.
class fake_thread final : public thread_port {
 public:
  explicit fake_thread(boost::asio::io_context& io) : io_(io) {}
  void start(std::function<void(yield)> body) override { start_coroutine(io_, std::move(body)); }
  void post(std::function<void()> action) override { boost::asio::post(io_, std::move(action)); }
  std::unique_ptr<alarm> at(time_point when, std::function<void()> action) override {
    auto a = std::make_unique<armed>(*this);
    alarms_.emplace(a.get(), std::pair(when, std::move(action)));
    return a;
  }
  void ring(time_point now) {
    const auto alarms = alarms_;
    for (const auto& [a, due] : alarms) {
      if (due.first <= now && alarms_.count(a) > 0) due.second();
    }
  }

 private:
  struct armed final : alarm {
    explicit armed(fake_thread& o) : owner(o) {}
    ~armed() override { owner.alarms_.erase(this); }
    fake_thread& owner;
  };
  boost::asio::io_context& io_;
  std::map<alarm*, std::pair<time_point, std::function<void()>>> alarms_;
};

/// Grants whatever the script says and keeps book of every permit.
class fake_permits final : public permit_port {
 public:
  std::deque<acquire_reply> script;
  std::vector<acquire_request> asked;
  std::vector<ticket> sent_tickets;
  std::vector<settlement> settled;
  ticket last = 0;
  int granted = 0;
  std::function<void()> before_reply;

  ticket new_ticket() override { return ++last; }
  acquire_reply acquire(const acquire_request& r, cancellation&, yield) override {
    asked.push_back(r);
    if (before_reply) before_reply();
    if (script.empty()) {
      acquire_reply nothing;
      nothing.id = r.id;
      return nothing;
    }
    acquire_reply reply = script.front();
    script.pop_front();
    if (reply.id == 0) reply.id = r.id;
    granted += reply.verdict == verdict::granted ? 1 : 0;
    return reply;
  }
  void sent(const sent_report& r) override { sent_tickets.push_back(r.id); }
  void settle(const settlement& s) override { settled.push_back(s); }
};

/// What one upstream call does, step by step.
struct scripted_call {
  upstream_failure connect = upstream_failure::none;
  std::string why;  ///< of a connect that fails
  duration connect_takes{};
  upstream_failure send = upstream_failure::none;
  bool stale = false;
  int status = 200;
  header_list headers = {{"content-type", "application/json"}};
  std::vector<std::string> pieces = {"{}"};
  upstream_failure after_pieces = upstream_failure::none;
  std::function<void()> on_read;
};

class fake_upstream final : public upstream_port {
 public:
  explicit fake_upstream(fake_clock& time) : time_(time) {}
  std::deque<scripted_call> script;
  std::vector<bool> fresh;
  std::vector<time_point> read_until;
  std::vector<std::string> bodies;
  std::vector<header_list> headers;

  upstream_failure connect(const provider_config&, time_point, bool is_fresh, cancellation&,
                           std::unique_ptr<upstream_exchange>& out, yield, std::string* why) override {
    fresh.push_back(is_fresh);
    if (script.empty()) return upstream_failure::connect;
    scripted_call c = std::move(script.front());
    script.pop_front();
    time_.time += c.connect_takes;
    if (c.connect != upstream_failure::none) {
      if (why != nullptr) *why = c.why;
      return c.connect;
    }
    out = std::make_unique<exchange>(*this, std::move(c));
    return upstream_failure::none;
  }

 private:
  class exchange final : public upstream_exchange {
   public:
    exchange(fake_upstream& owner, scripted_call c) : owner_(owner), call_(std::move(c)) {}
    upstream_failure send(const upstream_request& r, time_point, upstream_head& head, yield) override {
      owner_.bodies.emplace_back(r.body);
      owner_.headers.push_back(r.headers);
      head.status = call_.status;
      head.headers = call_.headers;
      return call_.send;
    }
    upstream_failure read(std::string& out, time_point until, yield) override {
      owner_.read_until.push_back(until);
      out.clear();
      if (call_.on_read) call_.on_read();
      if (next_ < call_.pieces.size()) {
        out = call_.pieces[next_++];
        return upstream_failure::none;
      }
      return call_.after_pieces;
    }
    bool stale() const override { return call_.stale; }

   private:
    fake_upstream& owner_;
    scripted_call call_;
    size_t next_ = 0;
  };
  fake_clock& time_;
};

/// A dialect of one-letter events: "p" preamble, "c" content, "d" done, "f" done once the body ends, "x"
/// failed.
class fake_dialect final : public client_dialect, public provider_dialect, public wire_formats {
 public:
  int failure_status = 500;  ///< of failed streams
  bool tells_usage = true;   ///< of whole answers
  mutable api_error told;    ///< the last error that became a body or an event

  class reader final : public stream_reader {
   public:
    explicit reader(int failure_status) : failure_status_(failure_status) {}
    state feed(std::string_view bytes, std::string& out) override {
      for (const char c : bytes) {
        if (c == 'x') return state_ = state::failed;
        out.push_back(c);
        if (c == 'c') state_ = state::content;
        if (c == 'd') state_ = state::done;
      }
      if (bytes.find('f') != std::string_view::npos) finished_ = true;
      return state_;
    }
    state end(std::string& out) override {
      if (state_ == state::content && std::exchange(finished_, false)) {
        state_ = state::done;
        out += "e";
      }
      return state_;
    }
    const usage& seen_usage() const override { return usage_; }
    const std::string& failure() const override { return failure_; }
    int failure_status() const override { return failure_status_; }

   private:
    state state_ = state::preamble;
    bool finished_ = false;
    usage usage_{10, 20, 0, 0, 0, 0, true};
    std::string failure_ = "boom";
    int failure_status_;
  };
  bool read_request(route_kind, std::string_view, request_facts&, api_error&) const override { return true; }
  /// Providers by these names cannot say what is asked.
  std::vector<std::string> speechless;
  /// Providers by these names do not serve the route.
  std::vector<std::string> other_kind;
  const client_dialect& of(route_kind) const override { return *this; }
  const provider_dialect* between(route_kind, const provider_config& p) const override {
    return contains(other_kind, p.name) ? nullptr : this;
  }
  bool text_answer(route_kind route, std::string_view, std::string_view text, std::int64_t,
                   std::string& out) const override {
    out = route == route_kind::embeddings ? "" : "text:" + std::string(text);
    return !out.empty();
  }
  /// Of "{0.7 yes}" it is 0.7, and "yes" what is said.
  refusal_reason reason_of(const provider_config&, int status, std::string_view body) const override {
    if (body.find("too long") != std::string_view::npos && status == 400) return refusal_reason::context;
    return body.find("forbidden") != std::string_view::npos ? refusal_reason::content : refusal_reason::none;
  }
  answer_gist gist_of(route_kind, std::string_view answer, const confidence_source&) const override {
    answer_gist gist;
    const auto space = answer.find(' ');
    gist.said = answer.substr(space == std::string_view::npos ? 0 : space);
    if (space != std::string_view::npos) gist.confidence = std::stod(std::string(answer.substr(1, space)));
    return gist;
  }
  bool encode_request(const question& q, provider_request& out, api_error& error) const override {
    out.path = "/v1/chat/completions";
    out.headers = q.forwarded;
    out.body = std::string(q.model) + ":" + std::string(q.body);
    if (!contains(speechless, q.provider.name)) return true;
    error = {400, "invalid_request_error", "unsupported_field", "n", "n", {}, true};
    return false;
  }
  void rewrite_refusal(route_kind, int, std::string&, std::string&) const override {}
  bool rewrite_answer(route_kind, std::string_view body, const answer_form&, std::string& out,
                      usage& used) const override {
    out = body;
    if (tells_usage) used = {10, 20, 0, 0, 0, 0, true};
    return body.starts_with("{");
  }
  std::unique_ptr<stream_reader> read_stream(route_kind, const answer_form&, bool) const override {
    return std::make_unique<reader>(failure_status);
  }
  limit_hint read_limits(const upstream_head&) const override { return {}; }
  duration read_retry_after(const upstream_head& head, std::string_view) const override {
    return head.header("retry-after").empty() ? duration{} : duration{std::chrono::seconds(7)};
  }
  bool speaks_of_credit(std::string_view body, std::string_view) const override {
    return body.find("credit") != std::string::npos;
  }
  bool replay_stream(route_kind, std::string_view answer, bool, std::string& out) const override {
    out = "replay:" + std::string(answer);
    return true;
  }
  bool collect_answer(route_kind, std::string_view stream, const answer_form&, std::string& out,
                      usage& used) const override {
    out = "{" + std::string(stream) + "}";
    used = {10, 20, 0, 0, 0, 0, true};
    return stream.ends_with('d') || stream.find('f') != std::string_view::npos;
  }
  std::string error_body(const api_error& e) const override {
    told = e;
    return "error:" + e.code;
  }
  std::string error_event(const api_error& e) const override {
    told = e;
    return "event:" + e.code;
  }

 private:
  static bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
};

class fake_observer final : public observer {
 public:
  struct request {
    int status;
    std::string code;
    int attempts;
    double cost_usd;
    bool fallback;
    std::string cache;
    bool client_gone;
    std::string degraded;
    std::string upgraded;
    double confidence;
    std::string hedge;
    duration overhead{};
    duration total{};
    duration waited{};
    usage used{};
  };
  std::vector<request> requests;
  std::vector<std::string> attempts;
  void request_done(const request_record& r) override {
    requests.push_back({r.status, std::string(r.error_code), r.attempts, r.cost.usd(), r.fallback,
                        std::string(r.cache), r.client_gone, std::string(r.degraded), std::string(r.upgraded),
                        r.confidence, std::string(r.hedge), r.overhead, r.total, r.waited, r.used});
  }
  void attempt_done(const attempt_record& r) override { attempts.emplace_back(r.reason); }
  std::vector<upgrade_record::outcome> upgrades;
  void upgrade_done(const upgrade_record& r) override { upgrades.push_back(r.what); }
};

/// One pipeline over fakes. Model `m` has targets a/m and b/m.
class flight_world {
 public:
  fake_clock time;
  fake_permits permits;
  fake_upstream upstream{time};
  fake_dialect format;
  fake_observer watch;
  retry_budget budget;
  cache_shards answers{4, 1 << 20};
  cancellation gone;
  config_ptr config = make_config();
  template <class F>
  void configure(F&& change) {
    auto changed = std::make_shared<engine::config>(*config);
    change(*changed);
    config = std::move(changed);
  }
  bool stream = false;
  bool private_only = false;
  duration patience = std::chrono::minutes(1);
  duration upload{};  ///< so long its client took to send it

  /// Runs one request; `after` continues on the coroutine with the answer, to read its stream.
  answer run(const std::function<void(answer&, yield)>& after = {}) {
    answer result;
    boost::asio::io_context io;
    fake_thread thread(io);
    start_coroutine(io, [&](yield y) {
      pipeline p({permits, upstream, time, thread, format, watch, budget, answers, nullptr, {}});
      call c;
      c.config = config;
      c.id = "req_1";
      c.body = "question";
      c.facts.model = "m";
      c.facts.stream = stream;
      c.private_only = private_only;
      c.client = &config->clients.front();
      c.received = time.now() - upload;
      c.upload = upload;
      c.deadline = time.now() + patience;
      c.gone = &gone;
      result = p.run(std::move(c), y);
      if (after) after(result, y);
      result.stream.reset();
    });
    io.run();
    return result;
  }
  acquire_reply grant(size_t target = 0, size_t key = 0) const {
    const auto& t = config->models[0].targets[target];
    acquire_reply r;
    r.verdict = verdict::granted;
    r.target = t.name;
    r.model = 0;
    r.target_index = target;
    r.key = config->providers[t.provider].keys[key].name;
    r.valid_for = std::chrono::seconds(2);
    r.fallback = target > 0;
    return r;
  }

 private:
  static config_ptr make_config() {
    config_builder b;
    b.provider("a", {{}, {}}).provider("b", {{}}).model("m", {0, 1}).client("c", unlimited, unlimited);
    return b.build();
  }
};

}  // namespace millrace::engine
