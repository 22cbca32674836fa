#include "engine/log.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <regex>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "engine/log_queue.hpp"
#include "tests/engine/finished_request.hpp"

namespace millrace::engine {
namespace {

using nlohmann::json;

template <class T>
concept loggable = requires(const T& value) {
  log_field("name", value);
};
static_assert(loggable<std::string> && loggable<const char*> && loggable<int> && loggable<bool> &&
              loggable<double> && loggable<std::uint64_t>);
static_assert(!loggable<secret>, "a secret must not compile into a log line");
static_assert(!loggable<key_config> && !loggable<client_config> && !loggable<std::vector<secret>>);

/// A file without a name to log into.
class log_file {
 public:
  log_file() : file_(std::tmpfile()) {}
  ~log_file() { std::fclose(file_); }
  log_file(const log_file&) = delete;
  log_file& operator=(const log_file&) = delete;

  int fd() const { return fileno(file_); }
  std::vector<std::string> lines() const {
    std::string text;
    std::array<char, 65536> buffer{};
    for (off_t at = 0;;) {
      const ssize_t n = pread(fd(), buffer.data(), buffer.size(), at);
      if (n <= 0) break;
      text.append(buffer.data(), static_cast<size_t>(n));
      at += n;
    }
    return lines_of(text);
  }

 private:
  std::FILE* file_;
};

log_config level(const std::string& name, bool access = true) {
  return {name, access};
}

/// The single line that `act` logs.
template <class Act>
json logged(Act act, const log_config& c = level("trace")) {
  const log_file file;
  {
    const logging log(c, file.fd());
    act(log);
  }
  const auto lines = file.lines();
  if (lines.size() != 1) return {{"lines", lines.size()}};
  return json::parse(lines[0]);
}

TEST(log, an_event_is_one_json_object) {
  const json line = logged([](const logging&) {
    log_event(log_level::warn, "key_quarantined",
              {{"key", std::string("openai-1")},
               {"count", -3},
               {"big", std::uint64_t{18446744073709551615ULL}},
               {"ratio", 0.5},
               {"bad", std::nan("")},
               {"probe", true}});
  });
  EXPECT_TRUE(std::regex_match(line["ts"].get<std::string>(),
                               std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")));
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["event"], "key_quarantined");
  EXPECT_EQ(line["key"], "openai-1");
  EXPECT_EQ(line["count"], -3);
  EXPECT_EQ(line["big"], 18446744073709551615ULL);
  EXPECT_EQ(line["ratio"], 0.5);
  EXPECT_TRUE(line["bad"].is_null());
  EXPECT_EQ(line["probe"], true);
}

TEST(log, hostile_texts_stay_inside_their_field) {
  const std::string hostile = "a\"b\\c\n\r\t\x01{}\x7f é\xf0\x9f\x98\x80";
  const json line = logged([&](const logging&) { log_event(log_level::info, "e", {{"text", hostile}}); });
  EXPECT_EQ(line["text"], hostile);
}

TEST(log, bytes_that_are_not_utf8_are_replaced) {
  const json line = logged([](const logging&) { log_event(log_level::info, "e", {{"text", "x\xff\xc3y"}}); });
  EXPECT_EQ(line["text"], "x\xef\xbf\xbd\xef\xbf\xbdy");
}

TEST(log, long_texts_are_cut_between_characters) {
  std::string text(max_log_text - 1, 'x');
  text += "éé";
  const json line = logged([&](const logging&) { log_event(log_level::info, "e", {{"text", text}}); });
  EXPECT_EQ(line["text"], std::string(max_log_text - 1, 'x'));
}

TEST(log, levels_filter_and_change_on_reload) {
  const log_file file;
  {
    logging log(level("warn"), file.fd());
    log_event(log_level::info, "hidden");
    log_event(log_level::error, "shown");
    log.apply(level("debug"));
    log_event(log_level::debug, "shown");
    log_event(log_level::trace, "hidden");
    log.apply(level("off"));
    log_event(log_level::error, "hidden");
  }
  ASSERT_EQ(file.lines().size(), 2u);
  for (const std::string& line : file.lines()) EXPECT_EQ(json::parse(line)["event"], "shown");
}

TEST(log, messages_of_others_become_json_too) {
  const json line = logged([](const logging&) { spdlog::error("\"event\":\"access\" {}", "fake\n"); });
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(line["event"], "message");
  EXPECT_EQ(line["message"], "\"event\":\"access\" fake\n");
}

TEST(log, nothing_happens_without_a_log) {
  log_event(log_level::error, "nobody listens");
  const log_file file;
  { const logging log(level("info"), file.fd()); }
  log_event(log_level::error, "nobody listens any more");
  EXPECT_TRUE(file.lines().empty());
}

request_record request() {
  request_record r = finished_request();
  r.error_code = "upstream_error";
  r.status = 502;
  r.stream = true;
  r.cache = "miss";
  r.fallback = true;
  r.client_gone = true;
  r.attempts = 3;
  r.cost = money::of_nano(12500);
  r.total = 1234567us;
  r.overhead = 87us;
  r.first_token = 500ms;
  r.waited = 10us;
  return r;
}

TEST(access_log, says_everything_about_a_request) {
  const json line = logged([](const logging& log) { access_logger(log).request_done(request()); });
  EXPECT_EQ(line["level"], "info");
  const std::map<std::string, json> expected = {
      {"event", "access"},     {"request_id", "req-1"},
      {"method", "POST"},      {"route", "/v1/chat/completions"},
      {"model", "mini"},       {"tenant", "acme"},
      {"client", "a"},         {"status", 502},
      {"provider", "openai"},  {"upstream_model", "gpt-mini"},
      {"key", "k1"},           {"attempts", 3},
      {"fallback", true},      {"stream", true},
      {"client_gone", true},   {"input_tokens", 10},
      {"output_tokens", 20},   {"cached_tokens", 5},
      {"cost_usd", 0.0000125}, {"total_ms", 1234.567},
      {"overhead_us", 87},     {"first_token_ms", 500},
      {"waited_ms", 0.01},     {"error", "upstream_error"},
      {"cache", "miss"},
  };
  for (const auto& [name, value] : expected) EXPECT_EQ(line[name], value) << name;
  EXPECT_EQ(line.size(), expected.size() + 2);
}

TEST(access_log, can_be_switched_off_and_on) {
  const log_file file;
  {
    logging log(level("info", false), file.fd());
    access_logger access(log);
    access.request_done(request());
    log.apply(level("info", true));
    access.request_done(request());
    log.apply(level("warn", true));
    access.request_done(request());
  }
  EXPECT_EQ(file.lines().size(), 1u);
}

TEST(log, flush_returns_when_the_lines_are_written) {
  const log_file file;
  logging log(level("info"), file.fd());
  for (int i = 0; i < 100; ++i) {
    log_event(log_level::info, "e", {{"i", i}});
    EXPECT_TRUE(log.flush());
    EXPECT_EQ(file.lines().size(), static_cast<size_t>(i) + 1);
  }
}

TEST(log, threads_neither_tear_nor_lose_lines) {
  constexpr int threads = 4;
  constexpr int each = 5000;
  const log_file file;
  {
    const logging log(level("info"), file.fd());
    std::vector<std::thread> writers;
    for (int t = 0; t < threads; ++t) {
      writers.emplace_back([t] {
        for (int i = 0; i < each; ++i) log_event(log_level::info, "e", {{"t", t}, {"i", i}});
      });
    }
    for (std::thread& w : writers) w.join();
    EXPECT_EQ(log.dropped(), 0u);
  }
  std::array<int, threads> next{};
  for (const std::string& text : file.lines()) {
    const json line = json::parse(text);
    EXPECT_EQ(line["i"], next.at(line["t"].get<size_t>())++);
  }
  for (const int n : next) EXPECT_EQ(n, each);
}

/// Both ends of a pipe; the reading one is closed at the end.
struct pipe_pair {
  pipe_pair() { EXPECT_EQ(::pipe(fds.data()), 0); }
  ~pipe_pair() {
    for (const int fd : fds) ::close(fd);
  }
  std::array<int, 2> fds{};
};

TEST(log, a_reader_that_does_not_read_holds_nobody_up_and_loses_the_oldest_lines) {
  constexpr int lines = 40'000;
  const std::string padding(400, 'x');
  const std::string end = "\"event\":\"end\"";
  pipe_pair ends;
  std::string read;
  std::uint64_t dropped = 0;
  std::thread reader;
  {
    logging log(level("info"), ends.fds[1]);
    for (int i = 0; i < lines; ++i) log_event(log_level::info, "e", {{"i", i}, {"padding", padding}});
    dropped = log.dropped();
    reader = std::thread([&] {
      std::array<char, 65536> buffer{};
      for (ssize_t n = 1; n > 0;) {
        n = ::read(ends.fds[0], buffer.data(), buffer.size());
        const size_t fresh = read.size() - std::min(read.size(), end.size());
        if (n > 0) read.append(buffer.data(), static_cast<size_t>(n));
        if (read.find(end, fresh) != std::string::npos) break;
      }
    });
    EXPECT_TRUE(log.flush());
    log_event(log_level::info, "end");
  }
  reader.join();
  EXPECT_GT(dropped, 0u);
  const auto got = static_cast<std::uint64_t>(std::count(read.begin(), read.end(), '\n')) - 1;
  EXPECT_EQ(got + dropped, static_cast<std::uint64_t>(lines));
  EXPECT_NE(read.find("\"i\":" + std::to_string(lines - 1) + ","), std::string::npos);
}

TEST(log, the_end_does_not_wait_for_ever_for_a_reader) {
  // Never closed: the writer that was given up may still be writing.
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  {
    logging log(level("info"), ends[1]);
    const std::string padding(1000, 'x');
    for (int i = 0; i < 1000; ++i) log_event(log_level::info, "e", {{"padding", padding}});
  }
  SUCCEED() << "the destructor came back";
}

TEST(log, a_reader_that_is_gone_does_not_end_the_process) {
  pipe_pair ends;
  ::close(ends.fds[0]);
  {
    logging log(level("info"), ends.fds[1]);
    log_event(log_level::info, "e");
    EXPECT_TRUE(log.flush());
  }
  ends.fds[0] = ::dup(ends.fds[1]);
}

}  // namespace
}  // namespace millrace::engine
