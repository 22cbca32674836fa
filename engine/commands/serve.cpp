#include "engine/commands/serve.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>

#include "engine/commands/node.hpp"
#include "engine/commands/open_files.hpp"
#include "http/proxy.hpp"
#include "http/simulator/simulator.hpp"

namespace millrace::commands {

namespace {

using engine::log_event;
using engine::log_level;

/// A core file would hold every key. PR_SET_DUMPABLE is left alone: it would hide the process's open files
/// from the very user who runs and measures it.
void forbid_core_files() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0)
    throw std::system_error(errno, std::generic_category(), "RLIMIT_CORE");
}

/// Of malloc's arenas one for each core, where glibc makes eight: threads that allocate in turn keep as many
/// half empty. Who runs the node may set another number. To be called before any other thread runs.
void limit_arenas() {
  if (std::getenv("MALLOC_ARENA_MAX") != nullptr) return;  // NOLINT(concurrency-mt-unsafe)
  const int most = static_cast<int>(std::max(2U, std::thread::hardware_concurrency()));
  mallopt(M_ARENA_MAX, most);  // NOLINT(concurrency-mt-unsafe)
}

/// A mistake in them ends the start before there are actors, whose end would be told as a failure of its own.
void check_proxies() {
  const http::proxy_settings read(engine::process_environment);
}

/// Signals are taken by the main thread with sigwait; every thread started later inherits the mask.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, s);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// While the node drains: whoever asks a second time does not want to wait.
class second_signal {
 public:
  second_signal(node& n, const sigset_t& signals)
      : thread_([this, &n, signals] {
          int signal = 0;
          while (sigwait(&signals, &signal) == 0 && !over_) {
            if (signal == SIGHUP) continue;  // what is reloaded would serve nobody
            log_event(log_level::info, "drain_cut_short", {{"signal", signal}});
            n.hurry();
          }
        }) {}
  ~second_signal() {
    over_ = true;
    pthread_kill(thread_.native_handle(), SIGHUP);
    thread_.join();
  }
  second_signal(const second_signal&) = delete;
  second_signal& operator=(const second_signal&) = delete;

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

class program {
 public:
  explicit program(std::string file) : file_(std::move(file)) {}

  int run() {
    const sigset_t signals = block_signals();
    limit_arenas();
    raise_open_file_limit();
    forbid_core_files();
    check_proxies();
    node n(read(nullptr), [this](std::string_view actor, const std::string& why) { fail(actor, why); });
    const auto port = n.start();
    const auto& http = n.config()->http;
    const bool v6 = http.host.find(':') != std::string::npos;
    std::printf("listening http://%s%s%s:%u\n", v6 ? "[" : "", http.host.c_str(), v6 ? "]" : "",
                unsigned{port});
    if (simulator_) {
      std::printf("no provider is configured: answers come from the simulator at http://127.0.0.1:%u\n",
                  unsigned{simulator_->port()});
    }
    std::fflush(stdout);
    log_event(log_level::info, "started", {{"config", n.config()->source}, {"port", port}});
    return wait(n, signals);
  }

 private:
  engine::config_ptr read(const engine::config_ptr& previous) {
    auto c = file_.empty() ? engine::default_config(engine::process_environment, previous)
                           : engine::load_config(file_, engine::process_environment, previous);
    if (!c->wants_simulator) return c;
    if (!simulator_) {
      auto fresh = std::make_unique<http::simulator>(http::simulator_options{});
      fresh->start();
      simulator_ = std::move(fresh);
    }
    return engine::with_simulator(*c, simulator_->port());
  }

  void reload(node& n) {
    try {
      const auto c = read(n.config());
      const auto later = n.apply(c);
      log_event(log_level::info, "reloaded", {{"config", c->source}, {"version", c->version}});
      for (const auto& name : later) {
        log_event(log_level::warn, "needs_restart", {{"setting", name}});
      }
    } catch (const std::exception& e) {  // a lack of open files, say: the node goes on as it was
      log_event(log_level::error, "reload_refused", {{"why", e.what()}, {"version", n.config()->version}});
    }
  }

  /// The main thread is told as it is told of everything else.
  void fail(std::string_view actor, const std::string& why) {
    log_event(
        log_level::error, "actor_failed",
        {{"actor", actor}, {"why", why}, {"message", "the node cannot go on and ends; start it again"}});
    failed_ = true;
    ::kill(::getpid(), SIGTERM);
  }

  int wait(node& n, const sigset_t& signals) {
    while (true) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (signal == SIGHUP) {
        reload(n);
        continue;
      }
      // Without its deciders there is nothing to wait for: the sooner the next start, the better.
      const bool at_once = failed_;
      if (!at_once) log_event(log_level::info, "draining", {{"signal", signal}});
      const second_signal impatience(n, signals);
      const bool clean = n.stop(at_once ? engine::duration::zero() : n.config()->http.drain_timeout);
      log_event(log_level::info, "stopped", {{"clean", clean}});
      return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
    }
  }

  std::string file_;
  std::atomic<bool> failed_{false};
  std::unique_ptr<http::simulator> simulator_;
};

}  // namespace

void register_serve(CLI::App& app, std::function<int()>& run) {
  auto* command = app.add_subcommand("serve", "Runs a node");
  auto file = std::make_shared<std::string>();
  command->add_option("--config,FILE", *file, "The YAML file; without it the embedded default is used");
  command->callback([&run, file] { run = [file] { return program(*file).run(); }; });
}

}  // namespace millrace::commands
