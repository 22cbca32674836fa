#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/load.hpp"
#include "bench/request.hpp"
#include "bench/shown.hpp"

/// Drives an HTTP server with one request over and over and prints what it measured as JSON. See --help.
namespace millrace::bench {
namespace {

struct arguments {
  std::string url;
  std::string method = "POST";
  std::string body_file;
  std::string body;
  std::vector<std::string> headers;
  load_options load;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void build_request(arguments& a) {
  if (!a.body_file.empty()) a.body = read_file(a.body_file);
  auto r = request_template::make(a.method, a.url, a.headers, a.body);
  a.load.host = std::move(r.host);
  a.load.port = std::move(r.port);
  a.load.request = std::move(r.bytes);
  a.load.number_at = std::move(r.number_at);
}

nlohmann::json report(const load_result& r, const load_options& o) {
  nlohmann::json status = nlohmann::json::object();
  for (const auto& [code, count] : r.by_status) status[std::to_string(code)] = count;
  return {{"mode", o.rate > 0 ? "open" : "closed"},
          {"connections", o.connections},
          {"rate", o.rate},
          {"seconds", r.seconds},
          {"sent", r.sent},
          {"ok", r.ok},
          {"requests_per_second", r.seconds > 0 ? static_cast<double>(r.finished_in_time) / r.seconds : 0},
          {"status", status},
          {"errors",
           {{"connect", r.connect_failed},
            {"broken", r.broken},
            {"timeout", r.timed_out},
            {"dropped", r.dropped},
            {"unfinished", r.unfinished}}},
          {"latency_us", shown(r.latency)},
          {"service_us", shown(r.service)},
          {"first_byte_us", shown(r.first_byte)},
          {"events", r.events},
          {"first_event_us", shown(r.first_event)},
          {"event_gap_us", shown(r.event_gap)},
          {"event_delay_us", shown(r.event_delay)},
          {"cpu_seconds", r.cpu_seconds}};
}

void declare(CLI::App& app, arguments& a) {
  app.add_option("url", a.url, "http://HOST:PORT/PATH")->required();
  app.add_option("--method", a.method, "of the request")->capture_default_str();
  app.add_option("--body", a.body_file,
                 "file with the body; each run of 12 '@' becomes the request's number");
  app.add_option("--data", a.body, "the body itself")->excludes("--body");
  app.add_option("-H,--header", a.headers, "'Name: value' (repeatable)")->take_all();
  app.add_option("-c,--connections", a.load.connections, "kept alive")
      ->check(CLI::Range(1, 60000))
      ->capture_default_str();
  app.add_option("-r,--rate", a.load.rate,
                 "requests per second, whatever the answers do (open loop); 0: closed loop")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--poisson", a.load.poisson, "open loop with exponential gaps");
  app.add_option("-d,--duration", a.load.duration_s, "measured seconds")->capture_default_str();
  app.add_option("--warmup", a.load.warmup_s, "seconds before, not measured; 0 by default with --requests")
      ->capture_default_str();
  app.add_option("--drain", a.load.drain_s, "seconds to wait for the last answers")->capture_default_str();
  app.add_option("--timeout", a.load.timeout_s, "seconds for one request")->capture_default_str();
  app.add_option("-n,--requests", a.load.max_requests, "stop after so many; 0: when the time is over");
  app.add_option("--seed", a.load.seed, "of --poisson")->capture_default_str();
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Load generator: one request over and over, open or closed loop. Prints JSON, times in microseconds.");
  millrace::bench::arguments a;
  millrace::bench::declare(app, a);
  CLI11_PARSE(app, argc, argv);
  try {
    if (a.load.max_requests > 0 && app.count("--warmup") == 0) a.load.warmup_s = 0;
    millrace::bench::build_request(a);
    const auto result = millrace::bench::run_load(a.load);
    std::printf("%s\n", millrace::bench::report(result, a.load).dump(2).c_str());
    return result.ok > 0 ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "loadgen: %s\n", e.what());
    return 2;
  }
}
