#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

using namespace std::chrono_literals;

// --- faults
// ----------------------------------------------------------------------------------------------------

TEST_F(Simulator, FailsByModelName) {
  start();
  EXPECT_EQ(ask(chat("x", "fault-500")).status, 500);
  EXPECT_EQ(ask(chat("x", "fault-401")).status, 401);
  EXPECT_EQ(ask(chat("x", "fault-402")).parsed()["error"]["code"], "insufficient_quota");
  const answer limited = ask(chat("x", "fault-429"));
  EXPECT_EQ(limited.headers.at("retry-after"), "1");
  EXPECT_EQ(stats()["rejected_429"], 1);
  EXPECT_EQ(stats()["over_limit"], 0);
  const answer html = ask(chat("x", "fault-html"));
  EXPECT_EQ(html.status, 200);
  EXPECT_EQ(html.headers.at("content-type"), "text/html");
  EXPECT_FALSE(ask(chat("x", "fault-truncate")).complete);
  EXPECT_EQ(ask(chat("x", "fault-unheard-of")).status, 200);
  client c(port_);
  c.write(post(chat_path, chat("x", "fault-reset").dump()));
  EXPECT_FALSE(c.read_more());
  EXPECT_TRUE(c.reset);
}

TEST_F(Simulator, BreaksStreamsWhereAsked) {
  start();
  const auto stream = [&](const std::string& model) { return ask(with(chat("x", model), "stream", true)); };
  const answer cut = stream("fault-cut=4");
  EXPECT_FALSE(cut.complete);
  EXPECT_EQ(events(cut.body).size(), 4U);
  const answer failed = stream("fault-error-event=2");
  EXPECT_TRUE(failed.complete);
  const auto data = events(failed.body);
  ASSERT_EQ(data.size(), 3U);
  EXPECT_TRUE(json::parse(data[2]).contains("error"));
  EXPECT_EQ(ask(chat("x", "fault-error-event")).status, 500);
  EXPECT_EQ(stats()["failed"], 3);
}

TEST_F(Simulator, StallsUntilTheClientGoes) {
  start();
  for (const char* model : {"fault-stall", "fault-stall-stream=2"}) {
    client c(port_);
    c.write(post(chat_path, with(chat("x", model), "stream", true).dump()));
    until([&] { return stats()["in_flight"] == 1; });
    c.close();
    until([&] { return stats()["in_flight"] == 0; });
  }
  EXPECT_EQ(stats()["cancelled"], 2);
  EXPECT_EQ(stats()["completion_tokens"], 1) << "role, one token, and then nothing";
  EXPECT_GE(stats()["last_cancelled_unix_us"], stats()["last_arrival_unix_us"]);
}

TEST_F(Simulator, NoticesAClientThatLeavesWhileItWaitsOrWrites) {
  start(R"({"models": {"slow": {"latency": "1h"}, "paced": {"tokens_per_second": 0.001},
                       "long": {"tokens": 100000}}})");
  for (const char* model : {"slow", "paced", "long"}) {
    client c(port_);
    c.write(post(chat_path, with(chat("x", model), "stream", true).dump()));
    until([&] { return stats()["in_flight"] == 1; });
    c.close();
    until([&] { return stats()["in_flight"] == 0; });
  }
  EXPECT_EQ(stats()["cancelled"], 3);
  EXPECT_EQ(stats()["max_in_flight"], 1);
}

TEST_F(Simulator, WritesALongStreamWholeToASlowReader) {
  start(R"({"tokens": 20000})");
  const answer a = ask(with(chat("x"), "stream", true));
  EXPECT_TRUE(a.complete);
  EXPECT_EQ(events(a.body).size(), 20000U + 3);
}

TEST_F(Simulator, DripsItsHead) {
  start(R"({"faults": ["slow-head=100us"]})");
  EXPECT_NE(ask(chat("hello")).body.find("hello"), std::string::npos);
}

TEST_F(Simulator, PausesAfterTheFirstEventOfAStream) {
  start(R"({"models": {"brief": {"faults": ["pause=1ms"]}, "long": {"faults": ["pause=1h"]}}})");
  EXPECT_EQ(events(ask(with(chat("x", "brief"), "stream", true)).body).size(), 32U + 3);
  EXPECT_TRUE(ask(chat("x", "long")).complete) << "a plain answer has no first event";
  client c(port_);
  c.write(post(chat_path, with(chat("x", "long"), "stream", true).dump()));
  EXPECT_TRUE(c.reads(R"("role":"assistant")"));
  c.close();
  until([&] { return stats()["in_flight"] == 0; });
  EXPECT_EQ(stats()["cancelled"], 1);
}

TEST_F(Simulator, FailsAsOftenAsItsSeedSays) {
  const auto outcomes = [&](const std::string& settings) {
    start(settings);
    std::string out;
    client c(port_);
    for (int i = 0; i < 200; ++i) {
      c.write(post(chat_path, chat("x").dump()));
      out += c.read().status == 200 ? '.' : 'x';
    }
    return out;
  };
  const std::string once = outcomes(R"({"faults": ["status=503:0.3"], "seed": 9})");
  EXPECT_EQ(outcomes(R"({"faults": ["status=503:0.3"], "seed": 9})"), once);
  EXPECT_NE(outcomes(R"({"faults": ["status=503:0.3"], "seed": 10})"), once);
  EXPECT_NEAR(static_cast<double>(std::count(once.begin(), once.end(), 'x')), 60, 25);
  EXPECT_EQ(outcomes(R"({"faults": ["status=503:x2"]})").substr(0, 5), "xx...");
}

TEST_F(Simulator, ChangesWhileItRuns) {
  start();
  client c(port_);
  const auto control = [&](const std::string& body) {
    c.write(post("/control", body));
    return c.read();
  };
  EXPECT_EQ(control(R"({"models": {"gpt-4o-mini": {"faults": ["status=418"]}}})").status, 200);
  EXPECT_EQ(ask(chat("x")).status, 418);
  EXPECT_EQ(ask(chat("x", "other")).status, 200);
  EXPECT_EQ(control(R"({"models": {"gpt-4o-mini": null}, "rpm": 3})").status, 200);
  EXPECT_EQ(ask(chat("x")).status, 200);
  EXPECT_EQ(ask(chat("x")).status, 429) << "what arrived before counts";
  EXPECT_EQ(control(R"({"rpm": 0, "latenci": "1s"})").status, 400);
  EXPECT_EQ(provider_->settings().limits.rpm, 3) << "a bad change changes nothing";
}

// --- settings
// --------------------------------------------------------------------------------------------------

TEST(SimulatorSettings, ReadsDurationsLatenciesAndFaults) {
  EXPECT_EQ(parse_simulated_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_simulated_duration("250us"), 250us);
  EXPECT_EQ(parse_latency("20ms-80ms").high, 80ms);
  EXPECT_EQ(parse_latency("50ms~0.5").sigma, 0.5);
  const simulated_fault f = parse_fault("cut=7:0.25:x3");
  EXPECT_EQ(f.kind, fault_kind::cut);
  EXPECT_EQ(f.argument, 7);
  EXPECT_EQ(f.probability, 0.25);
  EXPECT_EQ(f.times->load(), 3);
  for (const char* bad : {"50", "ms", "-1s", "25h", "1e9s", "nans"})
    EXPECT_THROW(parse_simulated_duration(bad), std::invalid_argument) << bad;
  for (const char* bad : {"80ms-20ms", "50ms~-1", "50ms~x", "", "-"})
    EXPECT_THROW(parse_latency(bad), std::invalid_argument) << bad;
  for (const char* bad : {"", "cut=x", "status=200", "reset=1", "cut:1.5", "cut:x-1", "boom", "slow=5"})
    EXPECT_THROW(parse_fault(bad), std::invalid_argument) << bad;
}

TEST(SimulatorSettings, AnUnknownFaultIsAnsweredWithTheKinds) {
  try {
    parse_fault("boom:0.5");
    ADD_FAILURE();
  } catch (const std::invalid_argument& e) {
    EXPECT_EQ(std::string(e.what()),
              "'boom:0.5': unknown fault; the kinds are status, quota, reset, stall, stall-stream, cut, "
              "content-type, truncate, error-event, slow-head, slow, pause");
  }
}

TEST(SimulatorSettings, WritesWhatItReads) {
  const std::string text =
      R"({"faults":["status=500:0.1","quota:x2","slow-head=50ms","pause=1s"],"keys":{"a":{"rpm":3,"tpm":0}},"latency":"20ms-80ms",)"
      R"("models":{"m":{"faults":["cut=2"],"latency":"1s~0.5","probability":0.5,"say":"a \"b\"","stamp":true,"tokens":7,"tokens_per_second":2.5,"usage":false}},)"
      R"("require_keys":["a","b"],"rpm":10,"seed":4,"stamp":false,"tokens":9,"tokens_per_second":0.0,"tpm":0,"usage":true})";
  simulator_settings s;
  apply_settings_json(s, text);
  EXPECT_EQ(to_json(s), text);
  apply_model_option(s, "slow:latency=500ms,fault=status=500:0.1,fault=reset");
  EXPECT_EQ(s.models["slow"].latency.low, 500ms);
  EXPECT_EQ(s.models["slow"].faults.size(), 2U);
  EXPECT_EQ(s.models["slow"].tokens, 9);
  apply_key_option(s, "team:one:rpm=7");
  EXPECT_EQ(s.keys["team:one"].rpm, 7);
  for (const char* bad :
       {"slow", "slow:", ":latency=1s", "m:latency", "m:tokens=x", "m:what=1", "m:probability=2"})
    EXPECT_THROW(apply_model_option(s, bad), std::invalid_argument) << bad;
}

}  // namespace
}  // namespace millrace::http::simulator_tests
