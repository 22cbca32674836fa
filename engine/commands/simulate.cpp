#include "engine/commands/simulate.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include "http/simulator/simulator.hpp"

namespace millrace::commands {
namespace {

/// The options as they were written.
struct simulate_arguments {
  std::string listen = "127.0.0.1:8081";
  std::string latency = "0ms";
  double tokens_per_second = 0;
  std::int64_t tokens = http::model_behaviour{}.tokens;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::vector<std::string> require_keys;
  std::vector<std::string> keys;
  std::vector<std::string> faults;
  std::vector<std::string> models;
  unsigned threads = 1;
  std::uint64_t seed = 1;
};

void read_address(const std::string& listen, http::simulator_options& options) {
  const size_t colon = listen.rfind(':');
  size_t used = 0;
  unsigned long port = 65536;
  if (colon != std::string::npos && colon + 1 < listen.size() && listen[colon + 1] >= '0' &&
      listen[colon + 1] <= '9')
    port = std::stoul(listen.substr(colon + 1, 6), &used);
  if (port > 65535 || colon + 1 + used != listen.size())
    throw std::invalid_argument("--listen '" + listen + "': expected ADDR:PORT");
  options.port = static_cast<std::uint16_t>(port);
  options.host = listen.substr(0, colon);
  if (options.host.size() > 2 && options.host.front() == '[')
    options.host = options.host.substr(1, colon - 2);
}

/// What `read` makes of an option's value; what it complains of begins with the option's name.
template <class Read>
auto named(const char* option, Read read) {
  try {
    return read();
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument(std::string(option) + " " + e.what());
  }
}

http::simulator_options read_options(const simulate_arguments& a) {
  http::simulator_options options;
  read_address(a.listen, options);
  options.threads = a.threads;
  http::simulator_settings& s = options.settings;
  s.behaviour.latency = named("--latency", [&] { return http::parse_latency(a.latency); });
  s.behaviour.tokens_per_second = a.tokens_per_second;
  s.behaviour.tokens = a.tokens;
  for (const auto& f : a.faults)
    s.behaviour.faults.push_back(named("--fault", [&] { return http::parse_fault(f); }));
  if (a.rpm > 0) s.limits.rpm = a.rpm;
  if (a.tpm > 0) s.limits.tpm = a.tpm;
  s.require_keys = a.require_keys;
  s.seed = a.seed;
  for (const auto& m : a.models) named("--model", [&] { http::apply_model_option(s, m); });
  for (const auto& k : a.keys) named("--key", [&] { http::apply_key_option(s, k); });
  return options;
}

/// Thousands of connections need more descriptors than the usual soft limit.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const simulate_arguments& arguments) {
  // Blocked before any thread starts, so that only sigwait takes them.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  try {
    raise_file_limit();
    const auto options = read_options(arguments);
    http::simulator provider(options);
    const std::uint16_t port = provider.start();
    const bool v6 = options.host.find(':') != std::string::npos;
    std::printf("listening http://%s%s%s:%u\n", v6 ? "[" : "", options.host.c_str(), v6 ? "]" : "", port);
    std::fflush(stdout);
    int received = 0;
    sigwait(&ends, &received);
    provider.stop();
    return EXIT_SUCCESS;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "millrace simulate: %s\n", e.what());
    return EXIT_FAILURE;
  }
}

}  // namespace

void register_simulate(CLI::App& app, std::function<int()>& chosen) {
  auto a = std::make_shared<simulate_arguments>();
  CLI::App* command = app.add_subcommand(
      "simulate", "Run a provider to test against (OpenAI's, Anthropic's and Gemini's API)");
  command->add_option("--listen", a->listen, "ADDR:PORT; port 0 is a free one")->capture_default_str();
  command
      ->add_option("--latency", a->latency,
                   "time to first byte: 50ms, 20ms-80ms (uniform), 50ms~0.5 (lognormal)")
      ->capture_default_str();
  command->add_option("--tokens-per-second", a->tokens_per_second, "pace of an answer; 0: unpaced")
      ->check(CLI::Range(0.0, 1e6));
  command
      ->add_option("--tokens", a->tokens,
                   "length of an answer, cut at the request's maximum; 0: that maximum")
      ->check(CLI::Range(std::int64_t{0}, http::max_simulated_tokens))
      ->capture_default_str();
  command->add_option("--rpm", a->rpm, "requests per key in any 60 s; 0: unlimited")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--tpm", a->tpm, "estimated tokens per key in any 60 s; 0: unlimited")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--key", a->keys,
                   "NAME:rpm=N,tpm=N,tpm_input=N,tpm_output=N, limits of one key (repeatable)")
      ->take_all();
  command->add_option("--require-key", a->require_keys, "a key that is accepted; others get 401 (repeatable)")
      ->take_all();
  command
      ->add_option("--fault", a->faults,
                   "KIND[=ARG][:PROBABILITY|:xTIMES] (repeatable); kinds: status=CODE quota reset stall "
                   "stall-stream=N cut=N content-type truncate error-event=N slow-head=TIME slow=TIME "
                   "pause=TIME")
      ->take_all();
  command
      ->add_option(
          "--model", a->models,
          "NAME:key=value,... for one model (repeatable); keys: latency tokens_per_second tokens say "
          "probability stamp usage context refuse fault")
      ->take_all();
  command->add_option("--threads", a->threads, "event loops")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--seed", a->seed, "of latencies and faults")->capture_default_str();
  command->footer(
      "Models named fault-CODE, fault-html or fault-KIND[=ARG][:PROBABILITY] fail that way.\n"
      "GET /stats counts, GET and POST /control read and change the settings while it runs.");
  command->callback([a, &chosen] { chosen = [a] { return run(*a); }; });
}

}  // namespace millrace::commands
