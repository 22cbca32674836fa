#include "http/api.hpp"

#include <algorithm>

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/answer_headers.hpp"
#include "http/dialects/formats.hpp"
#include "tests/engine/flight_world.hpp"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr auto providers_and_models = R"(
providers:
  p: { base_url: "http://127.0.0.1:1/v1", keys: [ { id: k1, secret: sk-provider } ] }
models:
  small: { targets: [ { provider: p, model: small-1 } ] }
  large: { targets: [ { provider: p, model: large-1 } ] }
)";
constexpr auto with_auth = R"(
auth:
  keys:
    - { name: acme, secret: user-key, tenant: acme-inc }
    - { name: boss, secret: admin-key, tenant: ops, admin: true }
)";

using fields = std::vector<header_field>;
const fields user = {{"authorization", "Bearer user-key"}};
const fields admin = {{"authorization", "Bearer admin-key"}};
const std::string question = R"({"model":"small","messages":[{"role":"user","content":"hi"}]})";

fields with(fields some, header_field one) {
  some.push_back(one);
  return some;
}

std::string header(const engine::answer& a, std::string_view name) {
  const auto found = std::ranges::find(a.headers, name, [](const auto& h) { return h.first; });
  return found == a.headers.end() ? std::string() : std::string(found->second);
}

std::string code_of(const engine::answer& a) {
  return json::parse(a.body).at("error").at("code");
}

struct recorder : engine::observer {
  struct line {
    std::string id, route, tenant, client, code;
    int status;
    engine::duration total;
  };
  std::vector<line> lines;
  void request_done(const engine::request_record& r) override {
    lines.push_back({std::string(r.id), std::string(r.route), std::string(r.tenant), std::string(r.client),
                     std::string(r.error_code), r.status, r.total});
  }
  void attempt_done(const engine::attempt_record&) override {}
};

/// The routes over fakes of everything behind them.
struct api_test : testing::Test {
  engine::fake_clock time;
  engine::fake_permits permits;
  engine::fake_upstream upstream{time};
  engine::retry_budget budget;
  engine::cancellation gone;
  recorder watch;
  boost::asio::io_context io;
  engine::fake_thread thread{io};
  engine::cache_shards answers{2, 1 << 20};
  engine::pipeline pipeline{
      {permits, upstream, time, thread, all_formats(), watch, budget, answers, nullptr, {}}};
  engine::config_ptr config;
  std::unique_ptr<engine::metrics> metrics;
  std::vector<std::pair<std::string, std::string>> purged;
  purge_result purge_done{7, true};
  std::string query;
  engine::duration uploaded_in{};
  std::shared_ptr<node_view> view = std::make_shared<node_view>();
  api_services services;
  std::vector<route> routes = api_routes(services);

  api_test() { configure(std::string(with_auth) + providers_and_models); }

  void configure(const std::string& yaml) {
    config = engine::parse_config(yaml, "c.yaml", [](const std::string&) { return std::nullopt; });
    metrics = std::make_unique<engine::metrics>(config);
    view->config = config;
    services.threads = {{config, &pipeline}};
    services.watch = &watch;
    services.metrics = metrics.get();
    services.look = [this](size_t, engine::cancellation&, engine::yield) { return view; };
    services.purge = [this](size_t, const std::string& tenant, const std::string& model,
                            engine::cancellation&, engine::yield) {
      purged.emplace_back(tenant, model);
      return purge_done;
    };
    services.ready = readiness::ready;
  }
  edge_request request_of(std::string_view method, std::string_view pattern, const fields& headers,
                          std::string_view body = {}, std::string_view param = {}) {
    return {.method = method,
            .path = pattern,
            .query = query,
            .param = param,
            .pattern = pattern,
            .version = "HTTP/1.1",
            .headers = headers,
            .body = body,
            .remote = "127.0.0.1",
            .received = time.now() - uploaded_in,
            .upload = uploaded_in,
            .gone = gone,
            .thread = 0};
  }
  engine::answer ask(const std::string& method, const std::string& pattern, const fields& headers = {},
                     const std::string& body = "", const std::string& param = "") {
    const auto found = std::ranges::find_if(
        routes, [&](const route& r) { return r.method == method && r.pattern == pattern; });
    engine::answer result;
    io.restart();
    engine::start_coroutine(io, [&](engine::yield y) {
      result = found->handler(request_of(method, pattern, headers, body, param), y);
    });
    io.run();
    return result;
  }
  engine::answer chat(const fields& headers, const std::string& body = question) {
    return ask("POST", "/v1/chat/completions", headers, body);
  }
  /// The next request gets a permit and a good answer.
  void serve_one() {
    const auto& target = config->models[0].targets[0];
    engine::acquire_reply r;
    r.verdict = engine::verdict::granted;
    r.target = target.name;
    r.key = config->providers[0].keys[0].name;
    r.valid_for = 2s;
    permits.script.push_back(r);
    engine::scripted_call c;
    c.pieces = {R"({"id":"x","model":"small-1","choices":[{"index":0}]})"};
    upstream.script.push_back(c);
  }
};

TEST_F(api_test, a_request_passes_and_is_reported_once) {
  serve_one();
  const auto a = chat(with(user, {"x-request-id", "mine-1"}));
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(json::parse(a.body)["model"], "small") << "the name that the client knows";
  EXPECT_EQ(header(a, "x-request-id"), "mine-1");
  EXPECT_EQ(json::parse(upstream.bodies.at(0))["model"], "small-1");
  ASSERT_EQ(watch.lines.size(), 1U);
  EXPECT_EQ(watch.lines[0].id, "mine-1");
  EXPECT_EQ(watch.lines[0].tenant, "acme-inc");
}

TEST_F(api_test, without_a_known_key_nothing_but_health_is_served) {
  const std::vector<fields> strangers = {{},
                                         {{"authorization", "Bearer wrong"}},
                                         {{"authorization", "user-key"}},
                                         {{"authorization", "Bearer "}},
                                         {{"x-api-key", ""}},
                                         {{"x-api-key", "user-key2"}}};
  for (const auto& headers : strangers) {
    for (const auto& [method, pattern] :
         {std::pair{"POST", "/v1/chat/completions"}, std::pair{"POST", "/v1/completions"},
          std::pair{"POST", "/v1/embeddings"}, std::pair{"GET", "/v1/models"},
          std::pair{"GET", "/v1/models/{id}"}, std::pair{"GET", "/v1/status"},
          std::pair{"GET", "/metrics"}}) {
      const auto a = ask(method, pattern, headers, question, "small");
      EXPECT_EQ(a.status, 401) << method << pattern;
      EXPECT_EQ(code_of(a), "invalid_api_key");
      EXPECT_EQ(header(a, "www-authenticate"), "Bearer");
      EXPECT_EQ(header(a, "x-should-retry"), "false");
      EXPECT_FALSE(header(a, "x-request-id").empty());
    }
    EXPECT_EQ(ask("GET", "/health", headers).status, 200);
    EXPECT_EQ(ask("GET", "/ready", headers).status, 200);
  }
  EXPECT_TRUE(permits.asked.empty());
  EXPECT_EQ(watch.lines.size(), strangers.size() * 9);
  EXPECT_EQ(watch.lines[0].code, "invalid_api_key");
  EXPECT_EQ(watch.lines[0].client, "");
}

TEST_F(api_test, no_body_is_awaited_of_who_has_no_key) {
  const auto admit = [&](const route& r, const std::string& path, const fields& headers) {
    return r.admit(request_of(r.method, path, headers));
  };
  for (const auto& r : routes) {
    SCOPED_TRACE(r.method + " " + r.pattern);
    ASSERT_TRUE(r.admit);
    const bool probe = r.pattern == "/health" || r.pattern == "/ready";
    const auto stranger = admit(r, r.pattern, {{"authorization", "Bearer wrong"}});
    ASSERT_TRUE(stranger);
    EXPECT_EQ(stranger->status, probe ? 413 : 401);
    EXPECT_FALSE(header(*stranger, "x-request-id").empty());
    EXPECT_EQ(watch.lines.back().route, r.pattern);
    EXPECT_EQ(watch.lines.back().status, stranger->status);
    if (probe) continue;
    EXPECT_FALSE(admit(r, r.pattern, user)) << "whether it may is decided later";
  }
  EXPECT_EQ(watch.lines.size(), routes.size());
  const auto& messages = *std::ranges::find(routes, "/v1/messages", &route::pattern);
  const auto told = admit(messages, "/v1/messages", {});
  EXPECT_EQ(json::parse(told->body)["error"]["type"], "authentication_error");
  EXPECT_EQ(told->body, ask("POST", "/v1/messages", {}, question).body) << "as after the body";
}

TEST_F(api_test, a_key_may_come_either_way) {
  for (const fields& headers :
       {user, fields{{"authorization", "bEARER user-key"}}, fields{{"x-api-key", "user-key"}}}) {
    EXPECT_EQ(ask("GET", "/v1/models", headers).status, 200);
  }
}

TEST_F(api_test, without_auth_credentials_are_ignored_and_everybody_is_admin) {
  configure(providers_and_models);
  serve_one();
  EXPECT_EQ(chat({{"authorization", "Bearer whatever"}}).status, 200);
  EXPECT_EQ(ask("GET", "/v1/status").status, 200);
  EXPECT_EQ(watch.lines.at(0).tenant, "default");
}

TEST_F(api_test, the_provider_gets_its_own_key_and_no_header_that_is_not_its_affair) {
  serve_one();
  chat({{"authorization", "Bearer user-key"},
        {"x-api-key", "user-key"},
        {"cookie", "session=1"},
        {"x-forwarded-for", "10.0.0.1"},
        {"x-millrace-private", "false"},
        {"traceparent", "00-1"},
        {"anthropic-beta", "b"},
        {"openai-organization", "o"}});
  EXPECT_THAT(upstream.headers.at(0),
              testing::UnorderedElementsAre(
                  testing::Pair("anthropic-beta", "b"),
                  testing::Pair(testing::AnyOf("authorization", "Authorization"), "Bearer sk-provider"),
                  testing::Pair("openai-organization", "o"), testing::Pair("traceparent", "00-1")));
}

TEST_F(api_test, an_unknown_model_is_named_but_not_at_any_length) {
  const auto ask_for = [&](const std::string& model) {
    return chat(user, R"({"model":")" + model + R"(","messages":[{"role":"user","content":"hi"}]})");
  };
  const auto a = ask_for("nope");
  EXPECT_EQ(a.status, 404);
  const auto error = json::parse(a.body)["error"];
  EXPECT_EQ(error["code"], "model_not_found");
  EXPECT_EQ(error["param"], "model");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("`nope`"));
  const auto long_name = ask_for(std::string(200, 'x'));
  EXPECT_EQ(code_of(long_name), "model_not_found");
  EXPECT_THAT(long_name.body, Not(HasSubstr(std::string(129, 'x'))));
  EXPECT_TRUE(permits.asked.empty());
  ASSERT_EQ(watch.lines.size(), 2U);
  EXPECT_EQ(watch.lines[0].client, "acme");
  EXPECT_EQ(watch.lines[0].status, 404);
}

TEST_F(api_test, a_bad_body_never_reaches_the_dispatcher) {
  for (const std::string body : {"", "{", "[]", R"({"messages":[]})", R"({"model":1})"}) {
    EXPECT_EQ(chat(user, body).status, 400) << body;
  }
  EXPECT_TRUE(permits.asked.empty());
}

TEST_F(api_test, lists_the_configured_models) {
  const auto list = json::parse(ask("GET", "/v1/models", user).body);
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2U);
  EXPECT_EQ(list["data"][0]["id"], "small");
  EXPECT_EQ(list["data"][1]["id"], "large");
  EXPECT_EQ(list["data"][0]["owned_by"], "p");
  EXPECT_EQ(json::parse(ask("GET", "/v1/models/{id}", user, "", "large").body)["id"], "large");
  const auto unknown = ask("GET", "/v1/models/{id}", user, "", "small-1");
  EXPECT_EQ(unknown.status, 404) << "providers' own names are not ours";
  EXPECT_EQ(code_of(unknown), "model_not_found");
}

TEST_F(api_test, the_nodes_state_is_for_admins) {
  for (const auto* path : {"/v1/status", "/metrics"}) {
    const auto a = ask("GET", path, user);
    EXPECT_EQ(a.status, 403) << path;
    EXPECT_EQ(code_of(a), "admin_required");
    EXPECT_EQ(ask("GET", path, admin).status, 200) << path;
  }
  EXPECT_THAT(ask("GET", "/metrics", admin).content_type, HasSubstr("text/plain"));
  view = nullptr;
  EXPECT_EQ(ask("GET", "/v1/status", admin).status, 499) << "the client left meanwhile";
}

TEST_F(api_test, ready_ends_before_health_does) {
  for (const auto& [state, word, status] :
       {std::tuple(readiness::ready, "ready", 200), std::tuple(readiness::draining, "draining", 503),
        std::tuple(readiness::storage_not_open, "storage_not_open", 503)}) {
    services.ready = state;
    const auto a = ask("GET", "/ready");
    EXPECT_EQ(a.status, status) << word;
    EXPECT_EQ(json::parse(a.body)["status"], word);
    EXPECT_EQ(ask("GET", "/health").status, 200);
  }
}

TEST_F(api_test, wishes_reach_the_dispatcher) {
  serve_one();
  chat(with(with(with(user, {"x-millrace-timeout-ms", "1500"}), {"x-millrace-strategy", "speed"}),
            {"x-millrace-private", "true"}));
  ASSERT_EQ(permits.asked.size(), 1U);
  EXPECT_EQ(permits.asked[0].patience, 1500ms);
  EXPECT_EQ(permits.asked[0].strategy, static_cast<std::uint8_t>(engine::strategy::speed));
  EXPECT_TRUE(permits.asked[0].private_only);
}

TEST_F(api_test, the_whole_requests_time_counts_for_its_deadline_and_not_all_for_the_overhead) {
  serve_one();
  uploaded_in = 400ms;
  const auto a = chat(with(user, {"x-millrace-timeout-ms", "1500"}));
  ASSERT_EQ(permits.asked.size(), 1U);
  EXPECT_EQ(permits.asked[0].patience, 1100ms);
  EXPECT_EQ(header(a, "x-millrace-overhead-us"), "0");
  EXPECT_EQ(watch.lines.back().total, 400ms);
  const std::string zero = R"({"temperature":0,"model":"small","messages":[{"role":"user","content":"hi"}]})";
  serve_one();
  chat(user, zero);
  const auto hit = chat(user, zero);
  EXPECT_EQ(header(hit, "x-millrace-cache"), "hit");
  EXPECT_EQ(header(hit, "x-millrace-overhead-us"), "0");
  EXPECT_EQ(watch.lines.back().total, 400ms);
}

TEST_F(api_test, who_sent_longer_than_it_would_wait_is_told_so_before_anything_is_asked) {
  uploaded_in = 300ms;
  const auto impatient = with(user, {"x-millrace-timeout-ms", "300"});
  const auto late = chat(impatient);
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(code_of(late), "deadline_exceeded");
  EXPECT_TRUE(permits.asked.empty());
  for (const auto& r : routes) {
    SCOPED_TRACE(r.method + " " + r.pattern);
    if (r.method != "POST") continue;
    ASSERT_TRUE(r.deadline.at);
    const auto head = request_of(r.method, r.pattern, impatient);
    EXPECT_EQ(r.deadline.at(head), head.received + 300ms);
    EXPECT_EQ(r.deadline.at(request_of(r.method, r.pattern, user)), engine::time_point::max());
    EXPECT_EQ(r.deadline.at(request_of(r.method, r.pattern, with(user, {"x-millrace-timeout-ms", "soon"}))),
              engine::time_point::max())
        << "what cannot be read is refused with the whole request";
    const auto missed = r.deadline.missed(head);
    EXPECT_EQ(missed.status, 504);
    EXPECT_EQ(header(missed, "x-should-retry"), "false");
    EXPECT_EQ(watch.lines.back().code, "deadline_exceeded");
    EXPECT_EQ(watch.lines.back().tenant, "acme-inc");
    EXPECT_EQ(missed.body, format_error(engine::deadline_error(), r.pattern));
  }
  EXPECT_EQ(late.body, format_error(engine::deadline_error(), "/v1/chat/completions"));
}

TEST_F(api_test, who_marks_it_private_is_heard_whatever_others_say_beside) {
  for (const auto& [first, second] : {std::pair("false", "true"), std::pair("true", "false")}) {
    serve_one();
    chat(with(with(user, {"x-millrace-private", first}), {"x-millrace-private", second}));
    EXPECT_TRUE(permits.asked.back().private_only) << first;
  }
  EXPECT_EQ(code_of(chat(with(with(user, {"x-millrace-private", "true"}), {"x-millrace-private", "maybe"}))),
            "invalid_private");
}

TEST_F(api_test, a_client_may_wait_in_a_lower_queue_than_its_own_but_in_no_higher_one) {
  for (const char* word : {"batch", "standard", "priority"}) {
    serve_one();
    chat(with(user, {"x-millrace-priority", word}));
  }
  ASSERT_EQ(permits.asked.size(), 3U);
  EXPECT_EQ(permits.asked[0].queue, static_cast<std::uint8_t>(engine::queue_class::batch));
  EXPECT_EQ(permits.asked[1].queue, static_cast<std::uint8_t>(engine::queue_class::standard));
  EXPECT_EQ(permits.asked[2].queue, static_cast<std::uint8_t>(engine::queue_class::standard));
}

TEST_F(api_test, a_wish_that_cannot_be_read_is_refused_rather_than_ignored) {
  const std::vector<std::tuple<header_field, int, std::string>> table = {
      {{"x-millrace-timeout-ms", "0"}, 400, "invalid_timeout"},
      {{"x-millrace-timeout-ms", "-1"}, 400, "invalid_timeout"},
      {{"x-millrace-timeout-ms", "10s"}, 400, "invalid_timeout"},
      {{"x-millrace-timeout-ms", ""}, 400, "invalid_timeout"},
      {{"x-millrace-timeout-ms", "86400001"}, 400, "invalid_timeout"},
      {{"x-millrace-timeout-ms", "99999999999999999999"}, 400, "invalid_timeout"},
      {{"x-millrace-strategy", "best"}, 400, "invalid_strategy"},
      {{"x-millrace-private", "yes"}, 400, "invalid_private"},
      {{"x-millrace-priority", "urgent"}, 400, "invalid_priority"},
      {{"x-millrace-priority", ""}, 400, "invalid_priority"},
      {{"cache-control", "max-age=soon"}, 400, "invalid_cache_control"},
      {{"content-encoding", "gzip"}, 415, "unsupported_content_encoding"}};
  for (const auto& [field, status, code] : table) {
    const auto a = chat(with(user, field));
    EXPECT_EQ(a.status, status) << field.name << ": " << field.value;
    EXPECT_EQ(code_of(a), code) << field.value;
  }
  EXPECT_TRUE(permits.asked.empty());
}

TEST_F(api_test, the_same_question_is_answered_from_the_cache_unless_the_client_forbids_it) {
  const std::string zero = R"({"temperature":0,"model":"small","messages":[{"role":"user","content":"hi"}]})";
  const std::string same =
      R"({"user":"u", "messages":[{"content":"hi","role":"user"}], "model":"small", "temperature":0.0})";
  serve_one();
  EXPECT_EQ(header(chat(user, zero), "x-millrace-cache"), "miss");
  EXPECT_EQ(header(chat(user, same), "x-millrace-cache"), "hit");
  EXPECT_EQ(header(chat(user, zero), "x-millrace-attempts"), "0");
  serve_one();
  EXPECT_EQ(header(chat(with(user, {"cache-control", "no-cache"}), zero), "x-millrace-cache"), "bypass");
  serve_one();
  EXPECT_EQ(header(chat(admin, zero), "x-millrace-cache"), "miss") << "another tenant's answer is none";
  serve_one();
  EXPECT_EQ(header(chat(user), "x-millrace-cache"), "bypass") << "without temperature 0";
  EXPECT_EQ(code_of(chat(with(user, {"cache-control", "only-if-cached"}))), "not_cached");
}

TEST_F(api_test, an_admin_may_make_the_cache_forget) {
  const auto forget = [&](const std::string& q, const fields& who) {
    query = q;
    auto a = ask("DELETE", "/v1/cache", who);
    query.clear();
    return a;
  };
  EXPECT_EQ(forget("", admin).status, 200);
  EXPECT_EQ(json::parse(forget("tenant=acme-inc&model=a%2Fb", admin).body)["entries_in_memory"], 7);
  EXPECT_EQ(purged, (std::vector<std::pair<std::string, std::string>>{{"", ""}, {"acme-inc", "a/b"}}));
  EXPECT_EQ(forget("", user).status, 403);
  EXPECT_EQ(forget("", {}).status, 401);
  for (const auto* bad : {"tenant", "tenant=", "tenants=a", "model=a&model=b", "model=%00", "x"}) {
    EXPECT_EQ(code_of(forget(bad, admin)), "invalid_query") << bad;
  }
  EXPECT_EQ(purged.size(), 2U);
  purge_done.complete = false;
  EXPECT_EQ(code_of(forget("", admin)), "purge_incomplete");
}

}  // namespace
}  // namespace millrace::http
