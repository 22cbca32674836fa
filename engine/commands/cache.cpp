#include "engine/commands/cache.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <httplib.h>
#include <CLI/CLI.hpp>

#include "engine/commands/question_file.hpp"
#include "engine/config.hpp"
#include "http/json_scan.hpp"

namespace millrace::commands {

namespace {

using namespace std::chrono_literals;

constexpr auto connect_patience = 5s;
constexpr auto send_patience = 60s;
/// Between two bytes of an answer: a node waits for room and for a provider before it says anything.
constexpr auto answer_patience = 15min;
/// How often one question is sent at most, when the node has no room for it.
constexpr int max_tries = 5;
/// A question that is to come again only after longer than this is given up.
constexpr auto longest_pause = 120s;
constexpr auto default_pause = 1s;
/// As much of an answer is looked at, for its error.
constexpr std::size_t kept_bytes = 4096;
/// Lines that did not go well are told, up to so many; beyond they are counted.
constexpr int max_told = 20;

struct warm_arguments {
  std::string file;
  std::string url = "http://127.0.0.1:8080";
  std::string key_env;
  int concurrency = 4;
};

/// What x-millrace-cache may say of a good answer.
constexpr std::array<std::string_view, 4> words = {"hit", "miss", "coalesced", "bypass"};

/// Scheme, host and port only; paths are the routes' own.
std::string checked_url(std::string url) {
  if (url.ends_with('/')) url.pop_back();
  const std::string_view scheme = url.starts_with("http://")    ? "http://"
                                  : url.starts_with("https://") ? "https://"
                                                                : "";
  const auto rest = std::string_view(url).substr(scheme.size());
  if (scheme.empty() || rest.empty() || rest.find_first_of("/?#@ ") != std::string_view::npos)
    throw std::runtime_error("--url: expected http://HOST:PORT or https://HOST:PORT, without a path");
  return url;
}

/// The key that is sent; empty: none. Never part of any message.
std::string read_key(const std::string& name) {
  auto key = engine::process_environment(name.empty() ? "MILLRACE_KEY" : name).value_or("");
  // The name is not repeated: somebody may have written the key in its place.
  if (key.empty() && !name.empty())
    throw std::runtime_error(
        "--key-env: that variable is not set; name the one that holds a client key of the node");
  if (!std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; }))
    throw std::runtime_error("the key's variable has blanks or line breaks; set it to the bare key");
  return key;
}

/// For a terminal: without control characters, not endless.
std::string printable(std::string text) {
  text.resize(std::min<std::size_t>(text.size(), 300));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; },
      ' ');
  return text;
}

/// `error.message` of a body in OpenAI's shape.
std::string error_message(const std::string& body) {
  http::json_scanner scan(body);
  std::string_view key;
  if (!scan.enter_object()) return {};
  while (scan.next_member(key)) {
    if (key != "error" || !scan.enter_object()) {
      scan.value();
      continue;
    }
    while (scan.next_member(key)) {
      const bool wanted = key == "message";
      const auto value = scan.value();
      if (wanted) return http::json_text(value);
    }
    return {};
  }
  return {};
}

/// How one attempt went.
struct outcome {
  httplib::Error error = httplib::Error::Success;
  int status = 0;
  std::string cache;  ///< what x-millrace-cache says
  std::chrono::seconds pause = default_pause;
  bool may_retry = true;
  std::string body;  ///< its first bytes
};

/// A connection to the node. One thread at a time.
class node_client {
 public:
  node_client(const std::string& url, const std::string& key) : http_(url) {
    if (!http_.is_valid()) throw std::runtime_error("--url: not an address: " + url);
    http_.set_connection_timeout(connect_patience);
    http_.set_write_timeout(send_patience);
    http_.set_read_timeout(answer_patience);
    http_.set_keep_alive(true);
    http_.set_tcp_nodelay(true);
    headers_ = {{"Content-Type", "application/json"}, {"x-millrace-priority", "batch"}};
    if (!key.empty()) headers_.emplace("Authorization", "Bearer " + key);
  }

  outcome ask(const question& q) {
    outcome out;
    httplib::Request request;
    request.method = "POST";
    request.path = q.route;
    request.headers = headers_;
    request.body = q.body;
    request.content_receiver = [&out](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
      out.body.append(data, std::min(size, kept_bytes - out.body.size()));
      return true;
    };
    const httplib::Result result = http_.send(request);
    out.error = result.error();
    if (!result) return out;
    out.status = result->status;
    out.cache = result->get_header_value("x-millrace-cache");
    out.may_retry = result->get_header_value("x-should-retry") != "false";
    const std::string after = result->get_header_value("retry-after");
    std::int64_t seconds = 0;
    if (std::from_chars(after.data(), after.data() + after.size(), seconds).ec == std::errc{})
      out.pause = std::chrono::seconds(std::clamp<std::int64_t>(seconds, 1, 1'000'000'000));
    return out;
  }

 private:
  httplib::Client http_;
  httplib::Headers headers_;
};

/// Asks a node every question of a file, several at a time.
class warming {
 public:
  warming(const warm_arguments& a, std::string url, std::string key)
      : questions_(a.file), url_(std::move(url)), key_(std::move(key)), concurrency_(a.concurrency) {}

  int run() {
    std::vector<std::thread> workers;
    workers.reserve(static_cast<std::size_t>(concurrency_));
    for (int i = 0; i < concurrency_; ++i) workers.emplace_back([this] { work(); });
    for (auto& w : workers) w.join();
    return tell();
  }

 private:
  void work() {
    try {
      node_client node(url_, key_);
      question q;
      std::string why;
      while (!stopped()) {
        const auto read = questions_.next(q, why);
        if (read == question_file::result::end) return;
        if (read == question_file::result::unreadable) {
          complain(unreadable_, q.line, why);
        } else {
          ask(node, q);
        }
      }
    } catch (const std::exception& e) {
      stop(e.what());
    }
  }

  void ask(node_client& node, const question& q) {
    for (int tries = 1;; ++tries) {
      const outcome o = node.ask(q);
      if (o.error != httplib::Error::Success) {
        if (o.error == httplib::Error::Connection || o.error == httplib::Error::ConnectionTimeout) {
          stop("no node can be reached at " + url_ + " (line " + std::to_string(q.line) +
               "); start one with `millrace serve`, or name it with --url");
        } else {
          complain(failed_, q.line, "no whole answer: " + httplib::to_string(o.error));
        }
        return;
      }
      if (o.status >= 200 && o.status < 300) {
        count(q, o);
        return;
      }
      if (o.status == 401) {
        stop("the node does not know the key (401); name the variable that holds it with --key-env");
        return;
      }
      const bool no_room = (o.status == 429 || o.status == 503) && o.may_retry && o.pause <= longest_pause;
      if (no_room && tries < max_tries && !wait(o.pause)) return;
      if (!no_room || tries == max_tries) {
        complain(failed_, q.line, std::to_string(o.status) + " " + error_message(o.body));
        return;
      }
    }
  }

  void count(const question& q, const outcome& o) {
    const auto* const at = std::find(words.begin(), words.end(), o.cache);
    if (at == words.end()) {
      complain(failed_, q.line, "answered without x-millrace-cache: is this a Millrace node?");
      return;
    }
    const std::lock_guard lock(mutex_);
    ++answered_.at(static_cast<std::size_t>(at - words.begin()));
  }

  void complain(std::int64_t& counter, std::size_t line, const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++counter;
    if (++told_ <= max_told) std::fprintf(stderr, "line %zu: %s\n", line, printable(why).c_str());
  }

  bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_.has_value();
  }
  /// No question is asked any more; the first reason is told.
  void stop(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (!stopped_) stopped_ = why;
    stopping_.notify_all();
  }
  /// False when everything stops meanwhile.
  bool wait(std::chrono::seconds pause) {
    std::unique_lock lock(mutex_);
    return !stopping_.wait_for(lock, pause, [this] { return stopped_.has_value(); });
  }

  int tell() const {
    if (told_ > max_told) std::fprintf(stderr, "and %d more lines\n", told_ - max_told);
    std::string summary;
    for (std::size_t i = 0; i < words.size(); ++i)
      summary += std::string(words.at(i)) + " " + std::to_string(answered_.at(i)) + ", ";
    std::printf("%sfailed %lld, unreadable %lld\n", summary.c_str(), static_cast<long long>(failed_),
                static_cast<long long>(unreadable_));
    if (answered_.back() > 0) {
      std::puts(
          "bypass: answered, but not kept; only embeddings and requests with temperature 0 are, unless the "
          "model has `cache: { any_temperature: true }`");
    }
    if (stopped_) std::fprintf(stderr, "millrace cache warm: stopped: %s\n", stopped_->c_str());
    return stopped_ || failed_ + unreadable_ > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
  }

  question_file questions_;
  const std::string url_;
  const std::string key_;
  const int concurrency_;
  std::mutex mutex_;  ///< of everything below
  std::condition_variable stopping_;
  std::optional<std::string> stopped_;
  std::array<std::int64_t, words.size()> answered_{};
  std::int64_t failed_ = 0;
  std::int64_t unreadable_ = 0;
  int told_ = 0;
};

int warm(const warm_arguments& a) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return warming(a, checked_url(a.url), read_key(a.key_env)).run();
  } catch (const std::runtime_error& e) {
    std::fprintf(stderr, "millrace cache warm: %s\n", e.what());
    return EXIT_FAILURE;
  }
}

}  // namespace

void register_cache(CLI::App& app, std::function<int()>& run) {
  CLI::App* cache = app.add_subcommand("cache", "Works with the answer cache of a running node");
  cache->require_subcommand(1);
  auto a = std::make_shared<warm_arguments>();
  CLI::App* command = cache->add_subcommand(
      "warm",
      "Asks a running node every question of a file, in its batch queue, so that it knows the answers");
  command
      ->add_option(
          "FILE", a->file,
          "one JSON object per line: a body for /v1/chat/completions, or {\"route\": ROUTE, \"body\": "
          "BODY}")
      ->required();
  command->add_option("--url", a->url, "the node: http://HOST:PORT")->capture_default_str();
  command->add_option("--key-env", a->key_env,
                      "the environment variable that holds the client key (MILLRACE_KEY, where it is set)");
  command->add_option("--concurrency", a->concurrency, "questions at a time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->callback([a, &run] { run = [a] { return warm(*a); }; });
}

}  // namespace millrace::commands
