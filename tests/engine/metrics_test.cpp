#include "engine/metrics.hpp"

#include <map>
#include <regex>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>

#include "tests/engine/finished_request.hpp"

namespace millrace::engine {
namespace {

using testing::HasSubstr;
using testing::Not;

config_ptr test_config(const std::string& tenant = "acme") {
  return parse_config("auth: { keys: [ { name: a, secret: s, tenant: " + tenant + R"( } ] }
providers:
  openai: { base_url: http://h, keys: [ { id: k1, secret: s } ] }
  local: { base_url: http://l, keys: [ { id: k1, secret: s } ] }
models:
  mini:
    targets: [ { provider: openai, model: gpt-mini }, { provider: local, model: llama } ]
)",
                      "c.yaml", [](const std::string&) { return std::nullopt; });
}

/// Value of one series in the rendered text; nullopt when it is not there.
std::optional<double> value_of(const std::string& text, const std::string& series) {
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with(series + " ")) return std::stod(line.substr(series.size() + 1));
  }
  return std::nullopt;
}

TEST(metrics, a_request_counts_in_every_family_it_concerns) {
  metrics m(test_config());
  request_record r = finished_request();
  m.request_done(r);
  r.retries = 2;
  r.fallback = true;
  r.client_gone = true;
  r.waited = 100ms;
  r.queue = queue_class::batch;
  m.request_done(r);
  attempt_record a{"openai", "gpt-mini", "k1", "ok", 1s};
  a.tenant = "acme";
  a.used = {10, 20, 5, 0, 0, 0, true};
  a.cost = money::of_usd(0.25);
  m.attempt_done(a);
  a.reason = "cut";
  a.estimated_tokens = 7;
  m.attempt_done(a);
  const std::string text = m.render({});
  const std::string paid = R"(model="gpt-mini",provider="openai",tenant="acme")";
  const std::string chat = R"(route="/v1/chat/completions")";
  const std::map<std::string, double> expected = {
      {R"(millrace_requests_total{model="mini",)" + chat + R"(,status="200",tenant="acme"})", 2},
      {R"(millrace_request_duration_seconds_count{model="mini",)" + chat + "}", 2},
      {R"(millrace_request_duration_seconds_bucket{model="mini",)" + chat + R"(,le="0.0025"})", 0},
      {R"(millrace_request_duration_seconds_bucket{model="mini",)" + chat + R"(,le="0.005"})", 2},
      {"millrace_request_overhead_seconds_bucket{" + chat + R"(,le="0.0001"})", 2},
      {R"(millrace_time_to_first_token_seconds_count{model="gpt-mini",provider="openai"})", 2},
      {R"(millrace_queue_wait_seconds_count{queue="batch"})", 1},
      {R"(millrace_queue_wait_seconds_sum{queue="batch"})", 0.1},
      {"millrace_tokens_total{" + paid + R"(,type="input"})", 20},
      {"millrace_tokens_total{" + paid + R"(,type="output"})", 40},
      {"millrace_tokens_total{" + paid + R"(,type="cached"})", 10},
      {"millrace_tokens_total{" + paid + R"(,type="estimated"})", 7},
      {"millrace_cost_usd_total{" + paid + "}", 0.5},
      {R"(millrace_retries_total{model="mini"})", 2},
      {R"(millrace_fallbacks_total{model="mini"})", 1},
      {"millrace_client_gone_total{" + chat + "}", 1},
  };
  for (const auto& [series, value] : expected)
    EXPECT_EQ(value_of(text, series), value) << series << "\n" << text;
}

TEST(metrics, buckets_reach_from_microseconds_to_ten_minutes) {
  metrics m(test_config());
  m.request_done(finished_request());
  const std::string text = m.render({});
  EXPECT_THAT(
      text,
      HasSubstr(
          R"(millrace_request_duration_seconds_bucket{model="mini",route="/v1/chat/completions",le="0.0001"})"));
  EXPECT_THAT(
      text,
      HasSubstr(
          R"(millrace_request_duration_seconds_bucket{model="mini",route="/v1/chat/completions",le="600"})"));
  EXPECT_THAT(
      text,
      HasSubstr("millrace_request_overhead_seconds_bucket{route=\"/v1/chat/completions\",le=\"1e-05\"}"));
}

TEST(metrics, attempts_count_by_target_and_outcome) {
  metrics m(test_config());
  m.attempt_done({"openai", "gpt-mini", "k1", "ok", 1s});
  m.attempt_done({"openai", "gpt-mini", "k1", "timeout", 2s});
  m.attempt_done({"openai", "gpt-mini", "k1", "timeout", 2s});
  const std::string text = m.render({});
  EXPECT_EQ(value_of(text, R"(millrace_attempts_total{model="gpt-mini",outcome="ok",provider="openai"})"), 1);
  EXPECT_EQ(
      value_of(text, R"(millrace_attempts_total{model="gpt-mini",outcome="timeout",provider="openai"})"), 2);
  EXPECT_EQ(value_of(text, R"(millrace_attempt_duration_seconds_sum{model="gpt-mini",provider="openai"})"),
            5);
}

TEST(metrics, a_refused_request_has_no_provider_series) {
  metrics m(test_config());
  request_record r;
  r.method = "POST";
  r.route = "/v1/chat/completions";
  r.status = 401;
  m.request_done(r);
  const std::string text = m.render({});
  EXPECT_EQ(
      value_of(text,
               "millrace_requests_total{model=\"unknown\",route=\"/v1/chat/completions\",status=\"401\","
               "tenant=\"unknown\"}"),
      1);
  EXPECT_THAT(text, Not(HasSubstr("millrace_tokens_total")));
}

TEST(metrics, requests_that_ask_for_no_model_have_no_such_label) {
  metrics m(test_config());
  request_record r;
  r.method = "GET";
  r.route = "/health";
  r.status = 200;
  m.request_done(r);
  r.route = "/metrics";
  r.tenant = "acme";
  m.request_done(r);
  r.route = "/v1/jobs";
  r.tenant = "";
  r.status = 401;
  m.request_done(r);
  r.method = "POST";
  m.request_done(r);
  const std::string text = m.render({});
  EXPECT_EQ(value_of(text, R"(millrace_requests_total{route="/health",status="200"})"), 1);
  EXPECT_EQ(value_of(text, R"(millrace_request_duration_seconds_count{route="/health"})"), 1);
  EXPECT_EQ(value_of(text, R"(millrace_requests_total{route="/metrics",status="200",tenant="acme"})"), 1);
  EXPECT_EQ(value_of(text, R"(millrace_requests_total{route="/v1/jobs",status="401"})"), 1);
  EXPECT_EQ(
      value_of(text,
               R"(millrace_requests_total{model="unknown",route="/v1/jobs",status="401",tenant="unknown"})"),
      1)
      << "of the same route, but another kind";
}

TEST(metrics, a_request_refused_after_it_waited_counts_as_waiting) {
  metrics m(test_config());
  request_record r;
  r.route = "/v1/chat/completions";
  r.model = "mini";
  r.status = 401;
  m.request_done(r);
  r.status = 429;
  r.queue = queue_class::batch;
  r.waited = 30s;
  m.request_done(r);
  const std::string text = m.render({});
  EXPECT_EQ(value_of(text, R"(millrace_queue_wait_seconds_count{queue="batch"})"), 1);
  EXPECT_EQ(value_of(text, R"(millrace_queue_wait_seconds_sum{queue="batch"})"), 30);
  EXPECT_EQ(value_of(text, R"(millrace_queue_wait_seconds_count{queue="standard"})"), 0) << "it never asked";
}

TEST(metrics, who_is_refused_for_its_own_limit_never_waited) {
  metrics m(test_config());
  request_record r;
  r.route = "/v1/chat/completions";
  r.model = "mini";
  r.waited = 20us;
  for (const std::string_view code : {"rate_limit_exceeded", "budget_exceeded"}) {
    r.error_code = code;
    m.request_done(r);
  }
  EXPECT_EQ(value_of(m.render({}), R"(millrace_queue_wait_seconds_count{queue="standard"})"), 0);
  r.provider = "openai";  // its second attempt was one too many
  m.request_done(r);
  EXPECT_EQ(value_of(m.render({}), R"(millrace_queue_wait_seconds_count{queue="standard"})"), 1);
}

TEST(metrics, what_clients_send_never_becomes_a_label) {
  metrics m(test_config());
  for (int i = 0; i < 10'000; ++i) {
    const std::string canary = "canary-" + std::to_string(i);
    request_record r = finished_request();
    r.model = canary;
    r.tenant = canary;
    r.provider = canary;
    r.upstream_model = canary;
    r.status = 404;
    m.request_done(r);
    m.attempt_done({canary, canary, canary, "ok", 1s});
  }
  const std::string text = m.render({});
  EXPECT_THAT(text, Not(HasSubstr("canary")));
  EXPECT_EQ(
      value_of(text,
               "millrace_requests_total{model=\"unknown\",route=\"/v1/chat/completions\",status=\"404\","
               "tenant=\"unknown\"}"),
      10'000);
}

TEST(metrics, a_wildcard_target_is_shown_as_a_star) {
  const auto c = parse_config("providers: { openai: { base_url: http://h, keys: [ { id: k, secret: s } ] } }",
                              "c.yaml", [](const std::string&) { return std::nullopt; });
  metrics m(c);
  request_record r = finished_request();
  r.model = "openai/*";
  r.tenant = "default";
  r.upstream_model = "gpt-of-the-day";
  m.request_done(r);
  attempt_record a{"openai", "gpt-of-the-day", "k", "ok", 1s};
  a.tenant = "default";
  a.used.output_tokens = 1;
  a.cost = money::of_usd(0.25);
  m.attempt_done(a);
  const std::string text = m.render({});
  EXPECT_EQ(value_of(text, R"(millrace_cost_usd_total{model="*",provider="openai",tenant="default"})"), 0.25);
  EXPECT_THAT(text, HasSubstr(R"(model="openai/*")"));
}

TEST(metrics, families_are_bounded_and_the_rest_is_other) {
  metrics m(test_config());
  for (size_t i = 0; i < max_counter_series + 50; ++i)
    m.attempt_done({"openai", "gpt-mini", "k1", "r" + std::to_string(i), 1s});
  m.attempt_done({"openai", "gpt-mini", "k1", "r0", 1s});
  const std::string text = m.render({});
  EXPECT_EQ(value_of(text, R"(millrace_attempts_total{model="other",outcome="other",provider="other"})"), 50);
  EXPECT_EQ(value_of(text, R"(millrace_attempts_total{model="gpt-mini",outcome="r0",provider="openai"})"), 2);
}

TEST(metrics, another_configuration_brings_other_names_and_keeps_counts) {
  metrics m(test_config());
  request_record r = finished_request();
  r.tenant = "beta";
  m.request_done(r);
  m.apply(test_config("beta"));
  m.request_done(r);
  const std::string text = m.render({});
  const std::string head =
      R"(millrace_requests_total{model="mini",route="/v1/chat/completions",status="200",tenant=")";
  EXPECT_EQ(value_of(text, head + "unknown\"}"), 1);
  EXPECT_EQ(value_of(text, head + "beta\"}"), 1);
}

TEST(metrics, two_objects_on_one_thread_do_not_share_series) {
  metrics one(test_config());
  metrics two(test_config());
  one.request_done(finished_request());
  two.request_done(finished_request());
  one.request_done(finished_request());
  const std::string series =
      R"(millrace_requests_total{model="mini",route="/v1/chat/completions",status="200",tenant="acme"})";
  EXPECT_EQ(value_of(one.render({}), series), 2);
  EXPECT_EQ(value_of(two.render({}), series), 1);
}

TEST(metrics, nothing_is_lost_between_threads_scrapes_and_reloads) {
  metrics m(test_config());
  constexpr int each = 5000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) m.request_done(finished_request());
    });
  }
  for (int i = 0; i < 20; ++i) {
    m.apply(test_config());
    m.render({});
  }
  for (std::thread& t : threads) t.join();
  const std::string text = m.render({});
  EXPECT_EQ(
      value_of(
          text,
          R"(millrace_requests_total{model="mini",route="/v1/chat/completions",status="200",tenant="acme"})"),
      4 * each);
  EXPECT_EQ(value_of(text, R"(millrace_request_overhead_seconds_count{route="/v1/chat/completions"})"),
            4 * each);
}

TEST(metrics, the_node_state_is_rendered_as_given) {
  const metrics m(test_config());
  node_gauges node;
  node.keys = {{"openai", "k1", {{"rpm", 600, 550}, {"tpm", 1'000'000'000'000, 7}}, 3, true}};
  node.queues = {{queue_class::priority, 4, 1500ms, {}}};
  for (const size_t place : {1, 2, 3, 200'000}) node.queues[0].joined.add(place);
  node.breakers = {{"openai", "gpt-mini", breaker_state::open}, {"local", "*", breaker_state::half_open}};
  node.budgets = {{"client", "acme", "day", 5, 1.5, 0.25}};
  node.usage = {7, true, 2};
  node.connections = 9;
  node.connections_accepted = 100;
  node.refusals = {{"bad_head", 2}};
  node.upstream_active = 5;
  node.upstream_idle = 6;
  node.mailboxes = {{"dispatcher", 8}};
  node.log_lines_dropped = 11;
  node.config_version = 12;
  node.ready = true;
  const std::string text = m.render(node);
  const std::map<std::string, double> expected = {
      {R"(millrace_key_limit{provider="openai",key="k1",limit="rpm"})", 600},
      {R"(millrace_key_used{provider="openai",key="k1",limit="rpm"})", 550},
      {R"(millrace_key_limit{provider="openai",key="k1",limit="tpm"})", 1e12},
      {R"(millrace_key_in_flight{provider="openai",key="k1"})", 3},
      {R"(millrace_key_quarantined{provider="openai",key="k1"})", 1},
      {R"(millrace_budget_limit_usd{client="acme",period="day"})", 5},
      {R"(millrace_budget_spent_usd{client="acme",period="day"})", 1.5},
      {R"(millrace_budget_reserved_usd{client="acme",period="day"})", 0.25},
      {"millrace_usage_rows", 7},
      {"millrace_usage_disk_up", 1},
      {"millrace_usage_disk_failures_total", 2},
      {R"(millrace_queue_depth{queue="priority"})", 4},
      {R"(millrace_queue_oldest_wait_seconds{queue="priority"})", 1.5},
      {R"(millrace_queue_position_bucket{queue="priority",le="1"})", 1},
      {R"(millrace_queue_position_bucket{queue="priority",le="2"})", 2},
      {R"(millrace_queue_position_bucket{queue="priority",le="5"})", 3},
      {R"(millrace_queue_position_bucket{queue="priority",le="100000"})", 3},
      {R"(millrace_queue_position_bucket{queue="priority",le="+Inf"})", 4},
      {R"(millrace_queue_position_count{queue="priority"})", 4},
      {R"(millrace_queue_position_sum{queue="priority"})", 200'006},
      {R"(millrace_breaker_state{provider="openai",model="gpt-mini"})", 2},
      {R"(millrace_breaker_state{provider="local",model="*"})", 1},
      {"millrace_connections", 9},
      {"millrace_connections_accepted_total", 100},
      {R"(millrace_refusals_total{reason="bad_head"})", 2},
      {R"(millrace_upstream_connections{state="active"})", 5},
      {R"(millrace_upstream_connections{state="idle"})", 6},
      {R"(millrace_actor_mailbox_depth{actor="dispatcher"})", 8},
      {"millrace_log_lines_dropped_total", 11},
      {"millrace_config_version", 12},
      {"millrace_ready", 1},
  };
  for (const auto& [series, value] : expected)
    EXPECT_EQ(value_of(text, series), value) << series << "\n" << text;
  EXPECT_THAT(text, HasSubstr("millrace_build_info{version=\"" MILLRACE_VERSION "\""));
}

TEST(metrics, the_process_describes_itself) {
  const std::string text = metrics(test_config()).render({});
  EXPECT_GT(value_of(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(value_of(text, "process_virtual_memory_bytes"), 1 << 20);
  EXPECT_GE(value_of(text, "process_cpu_seconds_total"), 0);
  EXPECT_GE(value_of(text, "process_open_fds"), 3);
  EXPECT_GT(value_of(text, "process_max_fds"), 3);
  EXPECT_GT(value_of(text, "process_start_time_seconds"), 1.6e9);
  EXPECT_GE(value_of(text, "process_threads"), 1);
}

TEST(metrics, the_text_is_well_formed) {
  metrics m(test_config());
  m.request_done(finished_request());
  m.attempt_done({"openai", "gpt-mini", "k1", "ok", 1s});
  node_gauges node;
  node.keys = {{"openai", "k1", {{"rpm", 1, 1}}, 0, false}};
  const std::regex sample(R"re(((?:millrace|process)_[a-z_]+)(\{([a-z_]+="[^"]*",?)+\})? [-+0-9.eInf]+)re");
  std::map<std::string, std::string> types;
  std::string described;
  for (const std::string& line : lines_of(m.render(node))) {
    std::istringstream words(line);
    std::string hash;
    std::string kind;
    std::string name;
    std::string rest;
    if (line.starts_with("# ")) {
      words >> hash >> kind >> name >> rest;
      EXPECT_NE(rest, "") << line;
      if (kind == "TYPE") {
        EXPECT_EQ(described, name) << "a family without help";
        EXPECT_TRUE(types.emplace(name, rest).second) << "twice: " << name;
        EXPECT_EQ(rest == "counter", name.ends_with("_total")) << line;
      }
      described = name;
      continue;
    }
    EXPECT_TRUE(std::regex_match(line, sample)) << line;
    EXPECT_TRUE(line.starts_with(described)) << line;
  }
  EXPECT_GT(types.size(), 20u);
}

TEST(tee, hands_records_to_all_in_order) {
  struct counting : observer {
    void request_done(const request_record&) override { ++requests; }
    void attempt_done(const attempt_record&) override { ++attempts; }
    int requests = 0;
    int attempts = 0;
  };
  counting a;
  counting b;
  tee both({&a, &b});
  both.request_done({});
  both.attempt_done({});
  both.attempt_done({});
  EXPECT_EQ(a.requests, 1);
  EXPECT_EQ(b.requests, 1);
  EXPECT_EQ(a.attempts, 2);
  EXPECT_EQ(b.attempts, 2);
}

/// An operator who reads `client_gone` looks for the fault at his clients.
}  // namespace
}  // namespace millrace::engine
